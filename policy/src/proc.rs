//! What the kernel says of a running process: the text of `/proc/<pid>` files, parsed (proc(5)).
//!
//! Reading the files is the caller's; this module only understands them.

use std::collections::{BTreeMap, BTreeSet};

/// The kernel's view of a process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen {
    /// `NoNewPrivs`.
    pub no_new_privs: bool,
    /// `Seccomp`: 0 none, 1 strict, 2 filter.
    pub seccomp_mode: u32,
    /// `Seccomp_filters`, since Linux 5.9.
    pub seccomp_filters: u32,
    /// `CapBnd`.
    pub cap_bounding: u64,
    /// `CapEff`.
    pub cap_effective: u64,
    /// `CapInh`.
    pub cap_inheritable: u64,
    /// `CapPrm`.
    pub cap_permitted: u64,
    /// `CapAmb`.
    pub cap_ambient: u64,
    /// `Uid`: real, effective, saved, file system, as the host numbers them.
    pub uids: Vec<u32>,
    /// `Gid`, likewise.
    pub gids: Vec<u32>,
    /// `Groups`.
    pub groups: Vec<u32>,
    /// `attr/current`: the AppArmor profile or SELinux context; `None` where no module tells.
    pub label: Option<String>,
    /// `mountinfo`, in order.
    pub mounts: Vec<Mount>,
    /// Paths that are there in the process's own view (`/proc/<pid>/root`): of those that rules name, what whoever
    /// looked found. A path that nobody looked for is taken for absent.
    pub present: BTreeSet<String>,
    /// Soft and hard limits by OCI name (`RLIMIT_CORE`); `u64::MAX` is unlimited.
    pub rlimits: BTreeMap<String, (u64, u64)>,
    /// Namespace types (as the OCI spec names them) that are the host's own.
    pub host_namespaces: Vec<String>,
}

/// A line of `mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number, as `/proc/<pid>/fdinfo` names it too.
    pub id: u64,
    /// Major and minor number of the file system's device (`8:1`).
    pub device: String,
    /// Where it is mounted, as the process sees it.
    pub target: String,
    /// The mount's own options (`ro`, `nosuid`, ...).
    pub options: Vec<String>,
    /// `shared:N`, `master:N`, ...
    pub propagation: Vec<String>,
    /// File system type.
    pub fs_type: String,
    /// Path within the file system that is mounted.
    pub root: String,
}

impl Seen {
    /// Reads the text of `status`.
    pub fn read_status(&mut self, status: &str) {
        for line in status.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            let numbers =
                || value.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let mask = || u64::from_str_radix(value, 16).unwrap_or(u64::MAX);
            match key {
                "NoNewPrivs" => self.no_new_privs = value == "1",
                "Seccomp" => self.seccomp_mode = value.parse().unwrap_or(0),
                "Seccomp_filters" => self.seccomp_filters = value.parse().unwrap_or(0),
                "CapBnd" => self.cap_bounding = mask(),
                "CapEff" => self.cap_effective = mask(),
                "CapInh" => self.cap_inheritable = mask(),
                "CapPrm" => self.cap_permitted = mask(),
                "CapAmb" => self.cap_ambient = mask(),
                "Uid" => self.uids = numbers(),
                "Gid" => self.gids = numbers(),
                "Groups" => self.groups = numbers(),
                _ => {}
            }
        }
    }

    /// Reads the text of `mountinfo`.
    pub fn read_mountinfo(&mut self, mountinfo: &str) {
        self.mounts = mountinfo.lines().filter_map(Mount::parse).collect();
    }

    /// Reads the text of `limits`.
    pub fn read_limits(&mut self, limits: &str) {
        self.rlimits = limits.lines().filter_map(limit).collect();
    }

    /// Whether `path` is covered by a mount of its own that is read-only.
    pub fn is_read_only_mount(&self, path: &str) -> bool {
        self.mount_at(path).is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    }

    /// Whether what is at `path` can be written through no mount: the mount that it is in is read-only.
    pub fn is_in_read_only_mount(&self, path: &str) -> bool {
        let holds = |mount: &&Mount| {
            let rest = path.strip_prefix(mount.target.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // Of mounts at one place, the last is on top.
        let innermost = self.mounts.iter().filter(holds).max_by_key(|mount| mount.target.len());
        innermost.is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
    }

    /// The mount that is on top at exactly this path.
    pub fn mount_at(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.target == path)
    }
}

impl Mount {
    /// Reads a line of `mountinfo`; `None` for what is none.
    pub fn parse(line: &str) -> Option<Mount> {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ');
        let id = words.next()?.parse().ok()?;
        let device = words.nth(1)?.to_owned();
        let root = unescape(words.next()?);
        let target = unescape(words.next()?);
        let options = words.next()?.split(',').map(str::to_owned).collect();
        let propagation = words.map(str::to_owned).collect();
        let fs_type = after.split(' ').next()?.to_owned();
        Some(Mount { id, device, target, options, propagation, fs_type, root })
    }
}

/// Undoes the kernel's octal escapes (`\040`), as `mangle_path` makes them for " \t\n\\".
fn unescape(word: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(word.to_owned(), |word, (escape, plain)| word.replace(escape, plain))
}

/// A line of `limits`; its columns have fixed widths (fs/proc/base.c, `proc_pid_limits`).
fn limit(line: &str) -> Option<(String, (u64, u64))> {
    let (name, values) = line.split_at_checked(26)?;
    let oci = LIMITS.iter().find(|(shown, _)| *shown == name.trim())?.1;
    let mut values = values.split_whitespace().map(|value| match value {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((oci.to_owned(), (values.next()??, values.next()??)))
}

/// Names in `/proc/<pid>/limits` and in the OCI spec.
pub const LIMITS: [(&str, &str); 16] = [
    ("Max cpu time", "RLIMIT_CPU"),
    ("Max file size", "RLIMIT_FSIZE"),
    ("Max data size", "RLIMIT_DATA"),
    ("Max stack size", "RLIMIT_STACK"),
    ("Max core file size", "RLIMIT_CORE"),
    ("Max resident set", "RLIMIT_RSS"),
    ("Max processes", "RLIMIT_NPROC"),
    ("Max open files", "RLIMIT_NOFILE"),
    ("Max locked memory", "RLIMIT_MEMLOCK"),
    ("Max address space", "RLIMIT_AS"),
    ("Max file locks", "RLIMIT_LOCKS"),
    ("Max pending signals", "RLIMIT_SIGPENDING"),
    ("Max msgqueue size", "RLIMIT_MSGQUEUE"),
    ("Max nice priority", "RLIMIT_NICE"),
    ("Max realtime priority", "RLIMIT_RTPRIO"),
    ("Max realtime timeout", "RLIMIT_RTTIME"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let mut seen = Seen::default();
        seen.read_status(
            "Name:\tsh\nUid:\t1000\t1000\t1000\t1000\nGroups:\t10 20 \nCapBnd:\t00000000a80425fb\n\
             NoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n",
        );
        assert!(seen.no_new_privs);
        assert_eq!((seen.seccomp_mode, seen.seccomp_filters), (2, 3));
        assert_eq!((seen.cap_bounding, seen.groups.len(), seen.uids[3]), (0xa804_25fb, 2, 1000));

        seen.read_mountinfo(
            "36 35 98:0 /mnt1 /mnt\\0402 ro,noatime master:1 - ext3 /dev/root rw,errors=continue\n",
        );
        assert!(seen.is_read_only_mount("/mnt 2"));
        assert_eq!(seen.mounts[0].propagation, ["master:1"]);

        seen.read_limits(
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max core file size        0                    unlimited            bytes     \n",
        );
        assert_eq!(seen.rlimits["RLIMIT_CORE"], (0, u64::MAX));
    }

    #[test]
    fn a_mask_that_cannot_be_read_is_taken_for_everything() {
        let mut seen = Seen::default();
        seen.read_status("CapEff:\tnonsense\n");
        assert_eq!(seen.cap_effective, u64::MAX);
    }
}
