//! Hands over to `coaming-validator`, the program beside this one that knows the node's policy.
//!
//! This program is static and decides nothing: no variable of its environment reaches code, whoever set
//! it (CVE-2025-23266: `LD_PRELOAD` of an image in a hook). The other is linked dynamically, to libseccomp; so
//! it is executed by its absolute path, in `/`, and with no environment at all.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::HookError;

const PROGRAM: &str = "coaming-validator";

/// Becomes the other program. Returns only when that failed.
pub(crate) fn hand_over(arguments: &[&str]) -> Result<(), HookError> {
    let path = beside()?;
    let error =
        Command::new(&path).arg0(PROGRAM).args(arguments).env_clear().current_dir("/").exec();
    Err(failed(&path, &error.to_string()))
}

/// The program's path: /proc/self/exe is the kernel's word, which neither argv nor the working directory
/// changes.
fn beside() -> Result<PathBuf, HookError> {
    let own = fs::read_link("/proc/self/exe")
        .map_err(|error| failed(Path::new("/proc/self/exe"), &error.to_string()))?;
    let path = own.with_file_name(PROGRAM);
    let metadata =
        fs::symlink_metadata(&path).map_err(|error| failed(&path, &error.to_string()))?;
    if !metadata.is_file() || metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(failed(&path, "it is not a regular file that only root can write"));
    }
    Ok(path)
}

fn failed(path: &Path, cause: &str) -> HookError {
    HookError::Policy { path: path.display().to_string(), cause: cause.to_owned() }
}
