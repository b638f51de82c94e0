//! Capabilities (capabilities(7)): all that a process of the container could have in any set.

use super::Measured;
use crate::score::subject::Subject;

/// The first few each lead to the node alone: by mounts, modules, raw devices, any file of the file
/// system below (`open_by_handle_at`), the kernel's memory. The others do with something besides.
const KERNEL: [&str; 12] = [
    "CAP_SYS_ADMIN",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_DAC_READ_SEARCH",
    "CAP_BPF",
    "CAP_SYS_PTRACE",
    "CAP_PERFMON",
    "CAP_SYS_BOOT",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_SYSLOG",
    "CAP_CHECKPOINT_RESTORE",
];
/// How many of those above are wide open by themselves; the others are so by half.
const WHOLE: usize = 5;
const FILES: [&str; 6] =
    ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_SETFCAP", "CAP_MKNOD"];
const IDENTITY: [&str; 3] = ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"];
const OTHER: [&str; 18] = [
    "CAP_KILL",
    "CAP_SYS_CHROOT",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
];

pub(crate) fn kernel(subject: &Subject) -> Measured {
    let found = among(subject, &KERNEL);
    let whole = found.iter().any(|name| KERNEL.iter().take(WHOLE).any(|known| known == name));
    let named = found.join(", ");
    let measured = match (found.is_empty(), whole) {
        (true, _) => Measured::new(0, "none of them"),
        (false, true) => Measured::new(100, named),
        (false, false) => Measured::new(50, named),
    };
    measured.in_user_namespace(subject.has_user_namespace())
}

pub(crate) fn network(subject: &Subject) -> Measured {
    let admin = subject.has_capability("CAP_NET_ADMIN");
    let raw = subject.has_capability("CAP_NET_RAW");
    let measured = match (admin, raw) {
        (true, true) => Measured::new(100, "CAP_NET_ADMIN, CAP_NET_RAW"),
        (true, false) => Measured::new(90, "CAP_NET_ADMIN"),
        (false, true) => Measured::new(50, "CAP_NET_RAW"),
        (false, false) => Measured::new(0, "none of them"),
    };
    measured.in_user_namespace(subject.has_user_namespace())
}

pub(crate) fn files(subject: &Subject) -> Measured {
    of(subject, &FILES)
}

pub(crate) fn identity(subject: &Subject) -> Measured {
    of(subject, &IDENTITY)
}

pub(crate) fn other(subject: &Subject) -> Measured {
    of(subject, &OTHER)
}

fn of(subject: &Subject, group: &'static [&'static str]) -> Measured {
    Measured::part(&among(subject, group), group.len(), "none of them")
        .in_user_namespace(subject.has_user_namespace())
}

fn among(subject: &Subject, group: &'static [&'static str]) -> Vec<&'static str> {
    group.iter().copied().filter(|name| subject.has_capability(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_stands_in_one_group() {
        let network = ["CAP_NET_ADMIN", "CAP_NET_RAW"];
        let mut all: Vec<&str> = [&KERNEL[..], &FILES, &IDENTITY, &OTHER, &network].concat();
        let number = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!((number, all.len()), (41, 41));
        for name in all {
            let known = format!("{{allow: [{}]}}", name.trim_start_matches("CAP_"));
            let policy = format!(
                "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec: {{capabilities: {known}}}\n"
            );
            coaming_policy::document::parse_policies("p.yaml", &policy).unwrap();
        }
    }
}
