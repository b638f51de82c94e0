//! What the runtime made of this process, as the kernel tells it.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

use crate::sys::{Arg, call};

/// For `probe list`.
pub(crate) const LIST: &[(&str, &str, &str)] = &[
    ("all", "[--json]", "every attempt that needs no argument, a line each"),
    ("each", "<command...> [-- <command...>]...", "several commands, one after another"),
    ("list", "", "this list"),
    ("status", "", "the state of this process as JSON"),
    ("ids", "", "user, group and effective capabilities as JSON"),
];

/// Everything that a test may want to compare. What /proc does not tell is null.
pub(crate) fn status(argv0: &str) -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| field(&status, name);
    let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
    let ids = |name: &str| {
        field(name).map(|value| {
            value.split_whitespace().filter_map(|id| id.parse::<u32>().ok()).collect::<Vec<_>>()
        })
    };
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    json!({
        "argv0": argv0,
        "pid": std::process::id(),
        "ppid": std::os::unix::process::parent_id(),
        "capabilities": {
            "bounding": field("CapBnd").map(capability_names),
            "effective": field("CapEff").map(capability_names),
            "permitted": field("CapPrm").map(capability_names),
            "inheritable": field("CapInh").map(capability_names),
            "ambient": field("CapAmb").map(capability_names),
        },
        "noNewPrivs": number("NoNewPrivs"),
        "seccomp": number("Seccomp"),
        "seccompFilters": number("Seccomp_filters"),
        "uid": ids("Uid"),
        "gid": ids("Gid"),
        "groups": ids("Groups"),
        "umask": field("Umask"),
        "signalsIgnored": field("SigIgn"),
        "signalsBlocked": field("SigBlk"),
        "cwd": link("/proc/self/cwd"),
        "root": link("/proc/self/root"),
        "exe": link("/proc/self/exe"),
        "init": init_arguments(),
        "fds": descriptors(),
        "rlimits": limits(),
        "oomScoreAdj": fs::read_to_string("/proc/self/oom_score_adj").ok().map(|s| s.trim().to_owned()),
        "namespaces": namespaces(),
        "lsm": fs::read("/proc/self/attr/current").ok().map(|label| lossy(&label)),
        "environment": std::env::vars_os().count(),
        "hostname": crate::sys::uname_field(1),
        "rootReadOnly": root_read_only(&mountinfo),
        "coamingMounts": mountinfo.lines().filter(|line| line.contains("/.coaming")).collect::<Vec<_>>(),
        "cgroup": fs::read_to_string("/proc/self/cgroup").ok().map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()),
    })
}

/// Who this is, for a set-user-ID copy to tell.
pub(crate) fn ids() -> Value {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let id = |nr| call(nr, []).ok();
    json!({
        "uid": id(libc::SYS_getuid),
        "euid": id(libc::SYS_geteuid),
        "gid": id(libc::SYS_getgid),
        "egid": id(libc::SYS_getegid),
        "effective": field(&status, "CapEff"),
    })
}

pub(crate) fn effective_uid() -> Option<u32> {
    call(libc::SYS_geteuid, []).ok().and_then(|uid| uid.try_into().ok())
}

/// Whether capability `number` is effective; None when /proc does not tell.
pub(crate) fn has_capability(number: u32) -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let set = u64::from_str_radix(field(&status, "CapEff")?, 16).ok()?;
    Some(set & 1 << number != 0)
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

/// "CAP_CHOWN" and so on; a capability newer than the crate by its number.
fn capability_names(set: &str) -> Vec<String> {
    let set = u64::from_str_radix(set, 16).unwrap_or(0);
    let known: BTreeMap<u8, String> =
        caps::all().iter().map(|name| (name.index(), name.to_string())).collect();
    (0..64u8)
        .filter(|bit| set & 1 << bit != 0)
        .map(|bit| known.get(&bit).cloned().unwrap_or_else(|| format!("CAP_{bit}")))
        .collect()
}

fn link(path: &str) -> Option<String> {
    fs::read_link(path).ok().map(|target| target.to_string_lossy().into_owned())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches(['\0', '\n']).to_owned()
}

fn init_arguments() -> Option<Vec<String>> {
    let bytes = fs::read("/proc/1/cmdline").ok()?;
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
    Some(bytes.split(|byte| *byte == 0).map(lossy).collect())
}

/// Open descriptors, but for the one that looks.
fn descriptors() -> Map<String, Value> {
    let names: Vec<_> = fs::read_dir("/proc/self/fd")
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default();
    names
        .into_iter()
        .filter_map(|name| {
            let name = name.to_string_lossy().into_owned();
            link(&format!("/proc/self/fd/{name}")).map(|target| (name, target.into()))
        })
        .collect()
}

/// "Max open files" to [soft, hard], as /proc/self/limits has them, in columns of fixed width.
fn limits() -> Map<String, Value> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let (name, rest) = line.split_at_checked(26)?;
            let mut values = rest.split_whitespace();
            let pair = json!([values.next()?, values.next()?]);
            Some((name.trim_end().to_owned(), pair))
        })
        .collect()
}

fn namespaces() -> Map<String, Value> {
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"]
        .into_iter()
        .filter_map(|kind| Some((kind.to_owned(), link(&format!("/proc/self/ns/{kind}"))?.into())))
        .collect()
}

/// The flags of the last mount on `/`.
fn root_read_only(mountinfo: &str) -> Option<bool> {
    let line = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    Some(line.split(' ').nth(5)?.split(',').any(|flag| flag == "ro"))
}

/// Terminal size by TIOCGWINSZ: rows and columns, or None when `fd` is no terminal.
pub(crate) fn terminal(fd: i64) -> Option<(u16, u16)> {
    const TIOCGWINSZ: i64 = 0x5413;
    let mut size = [0u8; 8];
    call(libc::SYS_ioctl, [Arg::Int(fd), Arg::Int(TIOCGWINSZ), Arg::Out(&mut size)]).ok()?;
    let [a, b, c, d, ..] = size;
    Some((u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_by_their_bits() {
        assert_eq!(capability_names("0000000000200001"), ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
        assert_eq!(capability_names("8000000000000000"), ["CAP_63"]);
    }

    #[test]
    fn the_last_mount_on_the_root_counts() {
        let table =
            "1 0 0:1 / / rw,relatime - rootfs none rw\n2 1 0:2 / / ro,nodev - overlay o rw\n";
        assert_eq!(root_read_only(table), Some(true));
        assert_eq!(root_read_only(""), None);
    }
}
