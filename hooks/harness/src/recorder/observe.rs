//! What a hook is given.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use crate::{Phase, Seen, state};

/// The types of namespaces, as /proc names them (namespaces(7)).
pub(crate) const NAMESPACES: [&str; 8] =
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

pub(super) fn observe(state: &[u8], phase: Phase) -> Seen {
    Seen {
        state: state::examine(state, phase),
        namespaces: namespaces("self"),
        cwd: link(Path::new("/proc/self/cwd")),
        root: link(Path::new("/proc/self/root")),
        environment: std::env::vars_os()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.to_string_lossy()))
            .collect(),
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        capabilities: status("CapEff").unwrap_or_default(),
        descriptors: descriptors(),
    }
}

/// The identities of a process's namespaces; of those that cannot be read, none.
pub(crate) fn namespaces(process: &str) -> BTreeMap<String, String> {
    NAMESPACES
        .into_iter()
        .filter_map(|kind| {
            let identity = fs::read_link(format!("/proc/{process}/ns/{kind}")).ok()?;
            Some((kind.to_owned(), identity.display().to_string()))
        })
        .collect()
}

fn link(path: &Path) -> String {
    fs::read_link(path)
        .map_or_else(|error| format!("unknown: {error}"), |to| to.display().to_string())
}

fn status(field: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// The open descriptors, without the one by which they are listed.
fn descriptors() -> BTreeMap<u32, String> {
    let own = format!("/proc/{}/fd", link(Path::new("/proc/self")));
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, link(&entry.path())))
        })
        .filter(|(_, to)| *to != own)
        .collect()
}
