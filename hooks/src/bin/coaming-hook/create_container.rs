//! Fails the create when the program cannot be executed, and reports rule paths that are not there.
//!
//! Without this, `create` and `start` succeed and the container dies of the launcher's 127: whoever
//! asked for the container would have to read its log to learn of a typing error. A startContainer
//! hook is no substitute: its failure is reported by neither runtime.

use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use coaming_hooks::lookup::look_path;
use coaming_hooks::sys;

use crate::check::Check;
use crate::{HookError, check, rootfs, state};

pub(crate) fn run(launch: &Path, report: &Path) -> Result<(), HookError> {
    let (check, file) = check::read(&launch.join("check.json"))?;
    let state = state::read(std::io::stdin().lock())?;
    let root = rootfs::find(&state, &file)?;
    // Opened before going where its path leads elsewhere.
    let report = open_report(report);

    let enter = |(call, source)| HookError::Enter { call, source };
    sys::enter_root(&root).map_err(enter)?;
    drop((root, file));
    let in_cwd = std::env::set_current_dir(&check.cwd).is_ok();
    become_user(&check)?;

    if let Some(report) = report {
        write_report(report, &check);
    }
    // The runtime makes a missing working directory, but later: then a name that is relative to it
    // cannot be judged here, and is left to the launcher.
    let relative = check.arg0.contains('/') && !check.arg0.starts_with('/');
    if in_cwd || !relative { look_up(&check) } else { Ok(()) }
}

/// After this the kernel answers every question as it will answer the container's user. The process
/// keeps root's capabilities if that user is root, so that it may find executable what a root without
/// `CAP_DAC_OVERRIDE` does not: the launcher has the last word, and the error just comes later.
fn become_user(check: &Check) -> Result<(), HookError> {
    sys::become_user(check.uid, check.gid, &check.additional_gids)
        .map_err(|(call, source)| HookError::Enter { call, source })
}

fn look_up(check: &Check) -> Result<(), HookError> {
    let path = check.path.as_ref().map(String::as_bytes);
    look_path(check.arg0.as_bytes(), path, |file| {
        sys::executable(&CString::new(file).unwrap_or_default())
    })?;
    Ok(())
}

/// Best effort: a runtime runs the hook in the container's user namespace, where the root-only
/// directory cannot be written.
fn open_report(path: &Path) -> Option<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .ok()
}

fn write_report(mut file: File, check: &Check) {
    let missing: Vec<&String> = check
        .rule_paths
        .iter()
        .filter(|path| matches!(sys::open_rule_path(path.as_bytes()), Ok(None)))
        .collect();
    let report = serde_json::json!({ "missingRulePaths": missing });
    let _ = file.write_all(report.to_string().as_bytes());
}
