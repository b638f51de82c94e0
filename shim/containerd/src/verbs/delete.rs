//! `delete`: cleans up after a daemon that died, from what lies in the bundle.
//!
//! Whatever cannot be cleaned up is told on standard error, which containerd logs; the answer is given all the same, as
//! without it containerd keeps the container.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use coaming_config::{Configuration, PROGRAMS};
use containerd_shim_protos::api::DeleteResponse;
use protobuf::{Message, MessageField};

use super::VerbError;
use crate::cgroup;
use crate::flags::Flags;
use crate::log::{self, Level};
use crate::mounts;
use crate::options::Options;
use crate::runtime;
use crate::socket::Address;
use crate::stdio;

/// containerd kills this verb after 5 s (io.containerd.timeout.shim.cleanup); the rest must get done too.
const RUNTIME_LIMIT: Duration = Duration::from_millis(3_500);
/// 128 + SIGKILL: what the container's processes have died of by the end of this.
const KILLED: u32 = 137;
/// Files of the bundle are short.
const LARGEST_FILE: u64 = 64 << 10;
/// As much of config.json as is read.
const LARGEST_SPEC: u64 = 64 << 20;

/// The answer to `delete`.
pub(super) fn delete(flags: &Flags) -> Result<Vec<u8>, VerbError> {
    let bundle = bundle(flags)?;
    let pid = init_pid(&bundle);
    let warn = |text: String| warn(flags, &text);
    // Without a configuration the mounts and the socket can still be seen to.
    match Configuration::load() {
        Ok(configuration) => {
            if let Err(problem) = delete_container(&configuration, flags, &bundle) {
                warn(format!("the container could not be deleted: {problem}"));
            }
        }
        Err(error) => warn(format!("the container could not be deleted: {error}")),
    }
    if let Some(path) = cgroups_path(&bundle)
        && let Err(error) = cgroup::remove(&path, &flags.id)
    {
        warn(format!("its cgroups at {path} could not be removed: {error}"));
    }
    if let Err(error) = mounts::unmount_all(&bundle.join("rootfs")) {
        warn(format!("its root file system could not be unmounted: {error}"));
    }
    if let Some(address) = read(&bundle, "address").and_then(|url| Address::parse(&url))
        && let Err(error) = address.remove_if_dead()
    {
        warn(format!("the socket {} could not be removed: {error}", address.url()));
    }
    stdio::sweep_consoles();
    mounts::sweep_layers();
    let response = DeleteResponse {
        pid,
        exit_status: KILLED,
        exited_at: MessageField::some(SystemTime::now().into()),
        ..DeleteResponse::default()
    };
    response.write_to_bytes().map_err(|error| VerbError::Other(format!("the answer: {error}")))
}

/// The bundle of the container that is meant: the one given, or the sibling of the working directory that has its id, as
/// the Go shim has it.
fn bundle(flags: &Flags) -> Result<PathBuf, VerbError> {
    if !flags.bundle.is_empty() {
        return Ok(PathBuf::from(&flags.bundle));
    }
    let here = std::env::current_dir().map_err(|error| VerbError::io("finding", ".", error))?;
    Ok(here.parent().unwrap_or(&here).join(&flags.id))
}

/// Kills what runs in the container and removes it, by the runtime that made it.
fn delete_container(
    configuration: &Configuration,
    flags: &Flags,
    bundle: &Path,
) -> Result<(), String> {
    let options = match read(bundle, "options.json") {
        Some(text) => {
            serde_json::from_str(&text).map_err(|error| format!("options.json: {error}"))?
        }
        // The daemon died before the create, or the create was refused: there may be nothing, which is fine too.
        None => Options::default(),
    };
    // The file says which wrapper made it; only a wrapper is ever run, whatever it says.
    let programs = Path::new(PROGRAMS);
    let made_by = read(bundle, "runtime").unwrap_or_else(|| options.binary_name.clone());
    let wrapper = runtime::wrapper(made_by.trim(), configuration, programs)
        .map_err(|error| error.to_string())?;
    let root = runtime::state_directory(&options.root, &flags.namespace);
    let systemd = options.systemd_cgroup(configuration);
    let mut command = runtime::command(&wrapper, &root, &bundle.join("log.json"), systemd);
    command.args(["delete", "--force", &flags.id]);
    run(command, RUNTIME_LIMIT)
}

/// Runs it to its end, or ends it at the limit.
fn run(mut command: Command, limit: Duration) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program} could not be started: {error}"))?;
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{program} had not ended after {limit:?}, and was killed"));
            }
            Err(error) => return Err(format!("{program}: {error}")),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        // Children of it may still hold the pipe: what is in it is enough.
        let mut buffer = [0; 4096];
        if let Ok(length) = stderr.read(&mut buffer) {
            said.extend_from_slice(buffer.get(..length).unwrap_or_default());
        }
    }
    Err(format!("{program} ended with {status}: {}", String::from_utf8_lossy(&said).trim()))
}

/// Where the container's cgroups are, if its configuration says so.
fn cgroups_path(bundle: &Path) -> Option<String> {
    let file = std::fs::File::open(bundle.join("config.json")).ok()?;
    cgroups_path_of(io::BufReader::new(file.take(LARGEST_SPEC)))
}

/// Of a configuration's text.
pub(crate) fn cgroups_path_of(config: impl Read) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Spec {
        linux: Option<Linux>,
    }
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Linux {
        cgroups_path: Option<String>,
    }
    serde_json::from_reader::<_, Spec>(config).ok()?.linux?.cgroups_path
}

fn init_pid(bundle: &Path) -> u32 {
    read(bundle, "init.pid").and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// A short file of the bundle, if it is there.
fn read(bundle: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open(bundle.join(name)).ok()?;
    file.take(LARGEST_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

fn warn(flags: &Flags, text: &str) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let container = Some(flags.id.as_str());
    let line = log::record(now, Level::Warn, &flags.namespace, container, format_args!("{text}"));
    let _ = io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_runtime_that_hangs_is_ended() {
        let before = Instant::now();
        let error = run(shell("sleep 20"), Duration::from_millis(100)).unwrap_err();
        assert!(error.contains("was killed"), "{error}");
        assert!(before.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn a_runtime_that_fails_is_quoted() {
        run(shell("exit 0"), RUNTIME_LIMIT).unwrap();
        let error = run(shell("echo no such thing >&2; exit 3"), RUNTIME_LIMIT).unwrap_err();
        assert!(error.contains("no such thing") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn the_bundle_is_the_one_given_or_the_sibling() {
        let mut flags = Flags::parse(
            ["-namespace", "n", "-id", "c1", "-bundle", "/b/c1", "delete"].map(str::to_owned),
        )
        .unwrap();
        assert_eq!(bundle(&flags).unwrap(), Path::new("/b/c1"));
        flags.bundle.clear();
        let here = std::env::current_dir().unwrap();
        assert_eq!(bundle(&flags).unwrap(), here.parent().unwrap().join("c1"));
    }

    #[test]
    fn the_pid_is_from_the_bundle_or_zero() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(init_pid(directory.path()), 0);
        std::fs::write(directory.path().join("init.pid"), "4711").unwrap();
        assert_eq!(init_pid(directory.path()), 4711);
    }
}
