//! How the runtime is called: by which wrapper, and with which global flags.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_config::{CONFIG_FILE, Configuration};
use thiserror::Error;

use crate::sys;

/// Where runc keeps its state for containerd, unless the options say otherwise (containerd
/// cmd/containerd-shim-runc-v2/process/utils.go, `RuncRoot`).
const ROOT: &str = "/run/containerd/runc";

/// Of a name that is refused, more is not repeated.
const LONGEST_NAME: usize = 300;

/// The client named a runtime that this node does not have.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "BinaryName {name:?} is no runtime that this node allows: it may be empty, {allowed}; the runtimes are \
     configured in {CONFIG_FILE}, [runtimes]"
)]
pub(crate) struct BinaryNameError {
    name: String,
    allowed: String,
}

/// The wrapper that judges for what the client names as `BinaryName`: nothing, for the default; a wrapper, by its name or
/// path; or a real runtime that is behind a wrapper, by its name or path. Never a program that does not judge.
/// `programs` is the folder of the wrappers.
pub(crate) fn wrapper(
    name: &str,
    configuration: &Configuration,
    programs: &Path,
) -> Result<PathBuf, BinaryNameError> {
    let default = configuration.shim.default_runtime.as_str();
    if name.is_empty() {
        return Ok(programs.join(default));
    }
    // Where two wrappers share a runtime, the default one is meant.
    let others = configuration.wrappers().filter(|wrapper| *wrapper != default);
    let wrappers: Vec<&str> = std::iter::once(default).chain(others).collect();
    // Wrappers are compared by their names alone: they are links to one program.
    let by_itself =
        |wrapper: &&&str| name == **wrapper || Path::new(name) == programs.join(wrapper);
    let by_runtime = |wrapper: &&&str| {
        configuration.runtime(wrapper).is_some_and(|path| is_runtime(name, &path))
    };
    match wrappers.iter().find(by_itself).or_else(|| wrappers.iter().find(by_runtime)) {
        Some(wrapper) => Ok(programs.join(wrapper)),
        None => {
            let name = name.chars().take(LONGEST_NAME).collect();
            Err(BinaryNameError { name, allowed: allowed(configuration, &wrappers) })
        }
    }
}

/// A path may lead to the runtime by another way, as /usr/sbin/runc does to /usr/bin/runc where the two are one folder.
/// That decides nothing about what is run: it is the wrapper in any case.
fn is_runtime(name: &str, runtime: &Path) -> bool {
    if !name.contains('/') {
        return runtime.file_name() == Some(OsStr::new(name));
    }
    let named = Path::new(name);
    named == runtime
        || (named.is_absolute()
            && matches!((named.canonicalize(), runtime.canonicalize()), (Ok(a), Ok(b)) if a == b))
}

fn allowed(configuration: &Configuration, wrappers: &[&str]) -> String {
    let mut names: Vec<String> = wrappers.iter().map(|&wrapper| wrapper.to_owned()).collect();
    names.extend(
        wrappers
            .iter()
            .filter_map(|wrapper| configuration.runtime(wrapper))
            .map(|path| path.display().to_string()),
    );
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// The runtime's state directory for the containers of a namespace.
pub(crate) fn state_directory(root: &str, namespace: &str) -> PathBuf {
    Path::new(if root.is_empty() { ROOT } else { root }).join(namespace)
}

/// A call of the runtime up to its verb. It is killed with the thread that spawns it, and its log is `log`, as JSON.
pub(crate) fn command(wrapper: &Path, root: &Path, log: &Path, systemd_cgroup: bool) -> Command {
    let mut command = Command::new(wrapper);
    command.arg("--root").arg(root).arg("--log").arg(log).args(["--log-format", "json"]);
    if systemd_cgroup {
        command.arg("--systemd-cgroup");
    }
    // It would change what runc does, and is meant for containerd alone (go-runc, command_linux.go).
    command.env_remove("NOTIFY_SOCKET");
    sys::die_with_parent(&mut command);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAMS: &str = "/usr/libexec/coaming";

    fn configuration() -> Configuration {
        Configuration::parse(
            "config.toml",
            "[runtimes.coaming-runc]\npath = \"/opt/runc/runc\"\n\
             [runtimes.coaming-crun]\npath = \"/opt/crun/bin/crun\"\n\
             [runtimes.coaming-second]\npath = \"/opt/runc/runc\"\n\
             [shim]\ndefault_runtime = \"coaming-second\"\n",
        )
        .unwrap()
    }

    fn resolve(name: &str) -> Result<PathBuf, BinaryNameError> {
        wrapper(name, &configuration(), Path::new(PROGRAMS))
    }

    #[test]
    fn a_wrapper_is_named_by_nothing_itself_or_the_runtime_behind_it() {
        for (name, wrapper) in [
            ("", "coaming-second"),
            ("coaming-runc", "coaming-runc"),
            ("/usr/libexec/coaming/coaming-crun", "coaming-crun"),
            ("crun", "coaming-crun"),
            ("/opt/crun/bin/crun", "coaming-crun"),
            // Behind two wrappers: the default one.
            ("runc", "coaming-second"),
            ("/opt/runc/runc", "coaming-second"),
        ] {
            assert_eq!(resolve(name), Ok(Path::new(PROGRAMS).join(wrapper)), "{name}");
        }
    }

    #[test]
    fn nothing_else_is_run() {
        for name in [
            "youki",
            "/tmp/runc",
            "/usr/bin/runc",
            "../coaming-runc",
            "/usr/libexec/coaming/coaming-init",
            "/usr/libexec/coaming/../../bin/runc",
            "coaming-runc ",
            "/",
            ".",
        ] {
            let text = resolve(name).unwrap_err().to_string();
            assert!(text.contains(&format!("{name:?}")), "{text}");
            assert!(text.contains("coaming-runc") && text.contains("/opt/crun/bin/crun"), "{text}");
            assert!(text.contains("/etc/coaming/config.toml"), "{text}");
        }
    }

    #[test]
    fn another_way_to_the_same_runtime_is_that_runtime() {
        let directory = tempfile::tempdir().unwrap();
        let real = directory.path().join("runc");
        let link = directory.path().join("other");
        std::fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let text = format!("[runtimes.coaming-runc]\npath = {real:?}\n");
        let configuration = Configuration::parse("config.toml", &text).unwrap();
        let found = wrapper(link.to_str().unwrap(), &configuration, Path::new(PROGRAMS));
        assert_eq!(found, Ok("/usr/libexec/coaming/coaming-runc".into()));
    }

    #[test]
    fn calls_carry_the_global_flags() {
        let command = command(
            Path::new("/w/coaming-runc"),
            &state_directory("", "k8s.io"),
            Path::new("/b/log.json"),
            true,
        );
        let args: Vec<_> = command.get_args().filter_map(OsStr::to_str).collect();
        assert_eq!(
            args,
            [
                "--root",
                "/run/containerd/runc/k8s.io",
                "--log",
                "/b/log.json",
                "--log-format",
                "json",
                "--systemd-cgroup"
            ]
        );
        assert_eq!(state_directory("/r", "n"), Path::new("/r/n"));
    }
}
