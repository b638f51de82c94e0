use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{GUEST, Guest, se_linux};
use crate::Error;
use crate::binaries::{self, BUILT};

/// What `guest.sh` says in the end, with the exit code after it.
pub(super) const ENDED: &str = "coaming job ended with ";

/// Has tests of the life cycle tell how long each play took, in a guest too.
const TIMES: &str = "COAMING_TIMES";

/// A folder that a guest finds as `/run/job`: what it is to do, and what that needs.
pub(super) struct Job {
    folder: tempfile::TempDir,
}

impl Job {
    pub(super) fn new(guest: Guest, program: &Path, args: &[&str]) -> Result<Job, Error> {
        // Short: a kernel's path must fit into 27 bytes, see user_mode.rs.
        let folder = tempfile::Builder::new()
            .prefix("uml.")
            .tempdir_in("/tmp")
            .map_err(Error::io("make a folder in", "/tmp"))?;
        let job = Job { folder };
        fs::create_dir(job.path("job")).map_err(Error::io("create", "job"))?;
        let words: Vec<String> = std::iter::once(program.display().to_string())
            .chain(args.iter().map(|&arg| arg.to_owned()))
            .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
            .collect();
        let mut script = format!(
            "export CI=true RUST_BACKTRACE=0 RUST_TEST_THREADS=1 {GUEST}={} {BUILT}='{}'\n",
            guest.name(),
            binaries::folders()?
        );
        if std::env::var_os(TIMES).is_some() {
            let _ = writeln!(script, "export {TIMES}=1");
        }
        let _ = writeln!(script, "exec {}", words.join(" "));
        job.write("run.sh", script.as_bytes(), 0o755)?;
        if matches!(guest, Guest::UmlSeLinux | Guest::QemuSeLinux) {
            let base = se_linux::base()?;
            job.write("base.cil", base.as_bytes(), 0o644)?;
            se_linux::compile(&job.path("job/base.cil"), &job.path("job/policy"))?;
        }
        Ok(job)
    }

    /// A path of the machine, in the job's own folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Error> {
        let path = self.path("job").join(name);
        fs::write(&path, bytes).map_err(Error::io("write", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(Error::io("chmod", path.display()))
    }
}
