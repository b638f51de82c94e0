//! Builds this workspace's own programs once per test process and says where they are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

use crate::{Error, output};

/// In a guest, which has no cargo: the folders of what was built, with colons between.
pub(crate) const BUILT: &str = "COAMING_BUILT";

const MUSL: &str = "x86_64-unknown-linux-musl";
/// Static too, by `packaging/static.sh`.
const GNU: &str = "x86_64-unknown-linux-gnu";

/// coaming's own programs, as released.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// The OCI runtime wrapper; installed under one name per runtime.
    pub wrapper: PathBuf,
    /// The containerd shim.
    pub shim: PathBuf,
    /// The command line tool.
    pub cli: PathBuf,
    /// The launcher, static.
    pub launcher: PathBuf,
    /// The OCI hook, static.
    pub hook: PathBuf,
    /// The part of the hook that knows the node's policy.
    pub validator: PathBuf,
    /// What asks containerd for labels.
    pub labels: PathBuf,
    /// What `coaming hook-test` runs hooks with, static.
    pub hook_test: PathBuf,
}

/// coaming's own programs.
///
/// # Errors
/// When cargo cannot build them; the error holds what it said.
pub fn binaries() -> Result<&'static Binaries, Error> {
    static BUILT: OnceLock<Result<Binaries, String>> = OnceLock::new();
    once(&BUILT, || {
        // Together, as `make build` does: features of shared dependencies are those of all, and nothing is built twice.
        let with_libc = build(&["coaming-shim", "coaming-cli"], Some(GNU))?;
        let packages =
            ["coaming-hooks", "coaming-hook-harness", "coaming-labels", "containerd-shim-coaming"];
        let small = build(&packages, Some(MUSL))?;
        Ok(Binaries {
            wrapper: find(&with_libc, "coaming-runc")?,
            shim: find(&small, "containerd-shim-coaming-v1")?,
            cli: find(&with_libc, "coaming")?,
            launcher: find(&small, "coaming-init")?,
            hook: find(&small, "coaming-hook")?,
            validator: find(&with_libc, "coaming-validator")?,
            labels: find(&small, "coaming-labels")?,
            hook_test: find(&small, "coaming-hook-test")?,
        })
    })
}

/// The static probe that attempts forbidden things from inside a container.
///
/// # Errors
/// As [`binaries`].
pub fn probe() -> Result<&'static Path, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || find(&build(&["coaming-probe"], Some(MUSL))?, "probe")).map(PathBuf::as_path)
}

/// The program that holds merged seccomp filters against the rules they were merged from.
///
/// # Errors
/// As [`binaries`].
pub fn oracle() -> Result<&'static Path, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || find(&build(&["coaming-oracle"], None)?, "seccomp-oracle"))
        .map(PathBuf::as_path)
}

/// The static reaping PID 1 of worlds and sandboxes.
pub(crate) fn reaper() -> Result<&'static Path, Error> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    once(&BUILT, || find(&build(&["coaming-reaper"], Some(MUSL))?, "reaper")).map(PathBuf::as_path)
}

/// The folders of all programs that tests in a guest need, which are built.
pub(crate) fn folders() -> Result<String, Error> {
    let programs = [binaries()?.wrapper.as_path(), probe()?, reaper()?];
    let folders = programs.map(|program| program.parent().unwrap_or(program).display().to_string());
    Ok(folders.join(":"))
}

fn once<T>(
    cell: &'static OnceLock<Result<T, String>>,
    build: impl FnOnce() -> Result<T, Error>,
) -> Result<&'static T, Error> {
    cell.get_or_init(|| build().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|why| Error::Unavailable(why.clone()))
}

/// Builds packages for release and returns the executables that cargo names; in a guest, all that was built.
fn build(packages: &[&str], target: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    if let Ok(folders) = std::env::var(BUILT) {
        let entries = folders.split(':').filter_map(|folder| std::fs::read_dir(folder).ok());
        return Ok(entries.flatten().filter_map(|entry| Some(entry.ok()?.path())).collect());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = match target {
        Some(GNU) => Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/static.sh")),
        _ => Command::new("env"),
    };
    command
        .arg(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args([
            "build",
            "--release",
            "--quiet",
            "--message-format=json-render-diagnostics",
            "--bins",
        ])
        .args(packages.iter().flat_map(|package| ["-p", package]));
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    let shown = format!("cargo build --release -p {}", packages.join(" -p "));
    let said = output::run(&mut command, b"")?.ok(&shown)?.stdout;
    Ok(said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable").and_then(Value::as_str).map(PathBuf::from))
        .collect())
}

fn find(executables: &[PathBuf], name: &str) -> Result<PathBuf, Error> {
    executables
        .iter()
        .find(|path| path.file_name().is_some_and(|found| found == name))
        .cloned()
        .ok_or_else(|| {
            Error::Unavailable(format!("cargo built no program named {name}, only {executables:?}"))
        })
}
