//! What the container's filters leave of the system calls (seccomp(2)).

use super::Measured;
use crate::score::subject::{Filters, Subject};

/// Calls that change the kernel, look into it or into others' memory, or pass by the paths of files.
/// containerd's and Docker's default profiles allow each with the capability for it alone, or not at
/// all.
const KERNEL: [&str; 20] = [
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "open_by_handle_at",
    "process_vm_writev",
    "kcmp",
    "reboot",
    "swapon",
    "iopl",
    "ioperm",
    "syslog",
    "settimeofday",
    "acct",
    "keyctl",
    "add_key",
];
const MOUNTS: [&str; 9] = [
    "mount",
    "umount2",
    "pivot_root",
    "move_mount",
    "fsopen",
    "fsmount",
    "open_tree",
    "mount_setattr",
    "setns",
];
const IO_URING: [&str; 3] = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
/// include/linux/socket.h.
const FAMILIES: [(u64, &str); 8] = [
    (38, "AF_ALG"),
    (40, "AF_VSOCK"),
    (15, "AF_KEY"),
    (17, "AF_PACKET"),
    (21, "AF_RDS"),
    (30, "AF_TIPC"),
    (43, "AF_SMC"),
    (44, "AF_XDP"),
];
const CLONE_NEWUSER: u64 = 0x1000_0000;

pub(crate) fn filter(subject: &Subject) -> Measured {
    match subject.filters() {
        Filters::None => Measured::new(100, "no filter"),
        Filters::NotUnderstood => Measured::new(100, "a filter that is not understood"),
        Filters::Some(functions) => {
            let refuses = functions.iter().any(|filter| filter.default_action().is_refusal());
            if refuses {
                Measured::new(0, "what is not listed is refused")
            } else {
                Measured::new(50, "what is not listed is allowed")
            }
        }
    }
}

pub(crate) fn kernel(subject: &Subject) -> Measured {
    let open = allowed(subject, &KERNEL);
    Measured::part(&open, KERNEL.len(), "none of them is allowed")
}

pub(crate) fn namespaces(subject: &Subject) -> Measured {
    let mut open = allowed(subject, &MOUNTS);
    for name in ["unshare", "clone"] {
        if subject.allows(name, [CLONE_NEWUSER, 0, 0, 0, 0, 0]) {
            open.push(name);
        }
    }
    Measured::part(&open, MOUNTS.len() + 2, "none of them is allowed")
}

pub(crate) fn io_uring(subject: &Subject) -> Measured {
    Measured::part(&allowed(subject, &IO_URING), IO_URING.len(), "not allowed")
}

pub(crate) fn sockets(subject: &Subject) -> Measured {
    let open: Vec<&str> = FAMILIES
        .iter()
        .filter(|(number, _)| subject.allows("socket", [*number, 1, 0, 0, 0, 0]))
        .map(|(_, name)| *name)
        .collect();
    Measured::part(&open, FAMILIES.len(), "none of them is allowed")
}

pub(crate) fn architectures(subject: &Subject) -> Measured {
    match subject.foreign_architectures() {
        None => Measured::new(100, "all that the kernel has"),
        Some(names) if names.is_empty() => Measured::new(0, "the machine's own alone"),
        Some(names) => {
            let x32 = names.contains(&"SCMP_ARCH_X32");
            Measured::new(if x32 { 80 } else { 50 }, names.join(", "))
        }
    }
}

fn allowed(subject: &Subject, names: &'static [&'static str]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| subject.allows(name, [0; 6])).collect()
}
