//! `start`: makes the daemon of a container's group, or finds it, and says where it listens.
//!
//! The socket is bound here and handed to the daemon, so that containerd can dial it as soon as this has answered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use coaming_config::Configuration;
use nix::libc;

use super::VerbError;
use crate::bootstrap::Introduction;
use crate::cgroup;
use crate::flags::Flags;
use crate::options::Options;
use crate::runtime;
use crate::socket::{Address, Claim};
use crate::sys;

/// Annotations that name a container's group, in this order (containerd, cmd/containerd-shim-runc-v2/manager).
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
/// As much of config.json as is read.
const LARGEST_SPEC: u64 = 64 << 20;
const SPEC: &str = "config.json";
/// What containerd 1.6 and 1.7 read after a restart.
const ADDRESS: &str = "address";
/// Leads to the folder of sockets, where containerd chose it.
const SOCKET_DIRECTORY_LINK: &str = "s";

/// The first level of an OCI configuration (runtime-spec, config.md). One that is none would be found out by containerd 2
/// only when it has started the shim, and then it forgets it.
#[derive(serde::Deserialize)]
#[allow(dead_code)]
struct Spec {
    #[serde(rename = "ociVersion")]
    version: Option<String>,
    process: Option<Object>,
    root: Option<Object>,
    hostname: Option<String>,
    mounts: Option<Vec<Object>>,
    hooks: Option<Object>,
    linux: Option<Object>,
    annotations: Option<HashMap<String, String>>,
}

/// An object, whatever is in it.
type Object = HashMap<String, serde::de::IgnoredAny>;

/// The answer to `start`. The working directory is the bundle.
pub(super) fn start(flags: &Flags) -> Result<Vec<u8>, VerbError> {
    let introduction = Introduction::read(io::stdin().lock(), &flags.id, &flags.namespace)?;
    // What is wrong with these would come to light only at the create, or in the daemon's log: it is better said now.
    let configuration = Configuration::load()?;
    let options = Options::decode(introduction.options.as_ref())?;
    runtime::wrapper(&options.binary_name, &configuration, Path::new(coaming_config::PROGRAMS))?;

    let group = group(Path::new(SPEC))?.unwrap_or_else(|| flags.id.clone());
    let containerd = introduction.grpc_address.as_deref().unwrap_or(&flags.address);
    let directory = introduction.socket_directory.as_deref();
    let address = Address::new(directory, containerd, &flags.namespace, &group);
    let url = address.url();
    if let Some(directory) = directory {
        link(directory).map_err(|error| VerbError::io("linking", SOCKET_DIRECTORY_LINK, error))?;
    }
    let claim = address.claim().map_err(|error| VerbError::io("listening on", &url, error))?;
    if let Claim::Bound(listener) = claim {
        let made = make_daemon(flags, &introduction, &options, listener).and_then(|mut daemon| {
            write_address(&url).inspect_err(|_| {
                // Nobody will ever know of this daemon.
                let _ = daemon.kill();
            })
        });
        if let Err(error) = made {
            let _ = address.remove();
            return Err(error);
        }
    } else {
        write_address(&url)?;
    }
    Ok(introduction.reply(&url))
}

/// The group that the container's annotations name.
fn group(spec: &Path) -> Result<Option<String>, VerbError> {
    let mut text = Vec::new();
    File::open(spec)
        .and_then(|file| file.take(LARGEST_SPEC).read_to_end(&mut text))
        .map_err(|error| VerbError::io("reading", spec, error))?;
    group_of(&text).map_err(|error| VerbError::NotASpec { path: spec.to_owned(), error })
}

/// Of a configuration's text.
pub(crate) fn group_of(config: &[u8]) -> serde_json::Result<Option<String>> {
    let spec: Spec = serde_json::from_slice(config)?;
    let mut annotations = spec.annotations.unwrap_or_default();
    Ok(GROUPS.iter().find_map(|name| annotations.remove(*name)))
}

fn make_daemon(
    flags: &Flags,
    introduction: &Introduction,
    options: &Options,
    listener: UnixListener,
) -> Result<Child, VerbError> {
    if std::env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
        sys::create_core_scheduling_group().map_err(|errno| {
            let error = io::Error::from(errno);
            VerbError::Other(format!(
                "SCHED_CORE is set, and the kernel gives no core scheduling: {error}; take sched_core, or \
                 SCHED_CORE=1, from containerd's configuration"
            ))
        })?;
    }
    let program = std::env::current_exe()
        .map_err(|error| VerbError::io("finding", "/proc/self/exe", error))?;
    let mut command = Command::new(&program);
    let containerd = introduction.grpc_address.as_deref().unwrap_or(&flags.address);
    command.args(["-namespace", &flags.namespace, "-id", &flags.id, "-address", containerd]);
    if flags.debug || introduction.debug {
        command.arg("-debug");
    }
    if let Some(address) = &introduction.ttrpc_address {
        command.env("TTRPC_ADDRESS", address);
    }
    // containerd waits for the ends of this verb's streams: the daemon must not hold them.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    let _places = sys::pass_from_three(&mut command, vec![listener.into()])
        .map_err(|error| VerbError::io("handing over the socket to", &program, error))?;
    let mut daemon = command.spawn().map_err(|error| VerbError::io("starting", &program, error))?;
    let placed = place(&daemon, options);
    if placed.is_err() {
        let _ = daemon.kill();
    }
    placed.map(|()| daemon)
}

/// Puts the daemon where it belongs: into the cgroup that was asked for, and before containerd in the order in which the
/// kernel kills for memory.
fn place(daemon: &Child, options: &Options) -> Result<(), VerbError> {
    let pid = daemon.id();
    if !options.shim_cgroup.is_empty() {
        cgroup::join(&options.shim_cgroup, pid)
            .map_err(|error| VerbError::io("moving the shim into", &options.shim_cgroup, error))?;
    }
    let containerd = format!("/proc/{}/oom_score_adj", nix::unistd::getppid());
    let score = std::fs::read_to_string(&containerd)
        .map_err(|error| VerbError::io("reading", &containerd, error))?;
    let score: i32 = score.trim().parse().map_err(|error| {
        VerbError::io("reading", &containerd, io::Error::new(io::ErrorKind::InvalidData, error))
    })?;
    let own = format!("/proc/{pid}/oom_score_adj");
    match std::fs::write(&own, oom_score(score).to_string()) {
        // A lower score than before takes CAP_SYS_RESOURCE, which is missing in a user namespace: as well as can be.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(VerbError::io("writing", own, error))
        }
        _ => Ok(()),
    }
}

/// One more than containerd's, up to the greatest that there is.
fn oom_score(containerd: i32) -> i32 {
    containerd.saturating_add(1).min(1000)
}

/// Whole or not at all, as containerd may read it at any time.
fn write_address(url: &str) -> Result<(), VerbError> {
    let temporary = ".address";
    let write = || {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(temporary)?;
        file.write_all(url.as_bytes())?;
        std::fs::rename(temporary, ADDRESS)
    };
    write().map_err(|error| VerbError::io("writing", ADDRESS, error))
}

fn link(directory: &str) -> io::Result<()> {
    match std::fs::remove_file(SOCKET_DIRECTORY_LINK) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(directory, SOCKET_DIRECTORY_LINK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_first_annotation_that_names_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SPEC);
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            group(&path).ok().flatten()
        };
        assert_eq!(of("{}"), None);
        assert_eq!(of(r#"{"annotations":null,"process":{"x":[1]}}"#), None);
        assert_eq!(
            of(r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod"}}"#).as_deref(),
            Some("pod")
        );
        let both = r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod","io.containerd.runc.v2.group":"g"}}"#;
        assert_eq!(of(both).as_deref(), Some("g"));
        std::fs::write(&path, "{\"annotations\":[]}").unwrap();
        assert!(matches!(group(&path), Err(VerbError::NotASpec { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(group(&path), Err(VerbError::Io { .. })));
    }

    #[test]
    fn the_shim_is_killed_before_containerd() {
        assert_eq!(oom_score(-999), -998);
        assert_eq!(oom_score(0), 1);
        assert_eq!(oom_score(1000), 1000);
    }
}
