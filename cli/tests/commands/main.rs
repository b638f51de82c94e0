//! The commands, run as the program that is installed.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod admission;
mod app_armor;
mod check;
mod check_together;
mod diff;
mod doctor;
mod explain;
mod explain_manifest;
mod hook_test;
mod import;
mod include;
mod install;
mod journal;
mod metrics;
mod sarif;
mod schema;
mod score;
mod seccomp;
mod sets;
mod shells;
mod status;
mod test;

use std::fs;
use std::path::Path;
use std::process::Command;

/// What a command said.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn coaming(arguments: &[&str]) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_coaming")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    // Whatever the umask: files that others can write are refused.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path.display().to_string()
}

/// A policy named `x` with this `spec`, which begins on line 5.
fn policy(spec: &str) -> String {
    format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: x}}\nspec:\n{spec}\n"
    )
}
