//! Which files are coaming's own.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coaming_config::{Configuration, PROGRAMS};
use sha2::{Digest, Sha256};

use super::Root;
use super::tree::Document;

/// The shim as packages install it.
const SHIM: &str = "/usr/bin/containerd-shim-coaming-v1";
/// The largest program whose content is compared, in bytes.
const MOST: u64 = 64 * 1024 * 1024;

/// The wrapper and the shim, whatever they are called.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    wrappers: Vec<Program>,
    shims: Vec<Program>,
    /// The path by which configuration should name the wrapper.
    pub(crate) wrapper_path: String,
}

/// A program, known by the file that it is or by what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Program {
    file: (u64, u64),
    size: u64,
    content: Vec<u8>,
}

impl Ours {
    pub(crate) fn on(root: &Root, configuration: &Configuration) -> Ours {
        let mut names: Vec<&str> = configuration.wrappers().collect();
        names.sort_unstable_by_key(|name| *name != configuration.shim.default_runtime);
        let path = |name: &&str| format!("{PROGRAMS}/{name}");
        let paths: Vec<String> = names.iter().map(path).collect();
        let is_there = |path: &&String| root.at(path).exists();
        Ours {
            wrappers: paths.iter().filter_map(|path| Program::at(&root.at(path))).collect(),
            shims: Program::at(&root.at(SHIM)).into_iter().collect(),
            wrapper_path: paths
                .iter()
                .find(is_there)
                .cloned()
                .unwrap_or_else(|| format!("{PROGRAMS}/coaming-runc")),
        }
    }

    /// Whether it is the wrapper, or the NVIDIA runtime with the wrapper behind it.
    pub(crate) fn is_wrapper(&self, root: &Root, path: &str) -> bool {
        let is = |path: &str| is_among(&self.wrappers, &root.at(path));
        is(path) || behind_nvidias(root, path).is_some_and(|behind| is(&behind))
    }

    pub(crate) fn is_shim(&self, root: &Root, path: &str) -> bool {
        is_among(&self.shims, &root.at(path))
    }
}

/// The runtime that the NVIDIA container runtime calls: the first of its list that is there
/// (nvidia-container-toolkit, internal/config, `nvidia-container-runtime.runtimes`).
fn behind_nvidias(root: &Root, path: &str) -> Option<String> {
    const CONFIG: &str = "/etc/nvidia-container-runtime/config.toml";
    let name = path.rsplit('/').next()?;
    if !name.starts_with("nvidia-container-runtime") {
        return None;
    }
    let document = Document::read(root, CONFIG).and_then(Result::ok)?;
    let list = document.get(&["nvidia-container-runtime", "runtimes"])?;
    list.items().iter().filter_map(|item| item.text()).find_map(|name| root.in_path(name, &[]))
}

fn is_among(programs: &[Program], path: &Path) -> bool {
    // A file of another size is not read.
    let Ok(metadata) = fs::metadata(path) else { return false };
    let file = (metadata.dev(), metadata.ino());
    if programs.iter().any(|program| program.file == file) {
        return true;
    }
    programs.iter().any(|program| program.size == metadata.len())
        && Program::at(path)
            .is_some_and(|other| programs.iter().any(|program| program.content == other.content))
}

impl Program {
    fn at(path: &Path) -> Option<Program> {
        let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
        if metadata.len() == 0 || metadata.len() > MOST {
            return None;
        }
        let mut content = Vec::new();
        File::open(path).ok()?.take(MOST).read_to_end(&mut content).ok()?;
        Some(Program {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.len(),
            content: Sha256::digest(&content).to_vec(),
        })
    }
}
