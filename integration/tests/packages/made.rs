//! The packages, made once for all tests of this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use coaming_integration::{Error, binaries};
use tempfile::TempDir;

pub(crate) struct Made {
    folder: PathBuf,
    /// Held for as long as the tests run.
    _made: Option<TempDir>,
}

impl Made {
    /// The one file that ends so, with its name.
    #[track_caller]
    pub(crate) fn file(&self, end: &str) -> PathBuf {
        let mut found: Vec<PathBuf> = files(&self.folder);
        found.retain(|path| path.to_string_lossy().ends_with(end));
        assert_eq!(found.len(), 1, "files that end with {end}: {found:?}");
        found.remove(0)
    }
}

/// All packages of the programs that were built; or those in the folder that COAMING_PACKAGES names, such as released ones.
pub(crate) fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        if let Some(folder) = std::env::var_os("COAMING_PACKAGES") {
            return Made { folder: folder.into(), _made: None };
        }
        let folder = tempfile::tempdir().unwrap();
        make(&repository(), folder.path(), "1790000000").unwrap_or_else(|error| panic!("{error}"));
        Made { folder: folder.path().to_owned(), _made: Some(folder) }
    })
}

/// Calls `packaging/packages.sh` of a tree.
pub(crate) fn make(tree: &Path, output: &Path, time: &str) -> Result<(), Error> {
    run(Command::new(tree.join("packaging/packages.sh"))
        .arg(output)
        .env("TARGET", target()?)
        .env("SOURCE_DATE_EPOCH", time))
    .map(drop)
}

/// cargo's target folder, where the release programs are.
pub(crate) fn target() -> Result<PathBuf, Error> {
    // TARGET/TRIPLE/release/coaming
    let target = binaries::binaries()?.cli.ancestors().nth(3);
    Ok(target.map(Path::to_owned).unwrap_or_default())
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command of the machine's that has to succeed, and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|source| Error::Io {
        operation: "run",
        object: shown.clone(),
        source,
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(Error::Command {
            command: shown,
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        });
    }
    Ok(text(&output.stdout))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
