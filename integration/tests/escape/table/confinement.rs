//! Landlock: files, TCP ports, and what may not cross from the container to outside it.

use crate::case::{Ask, Group, Ours, Places, absent, forbids, hides, keeps};
use crate::spec;

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "landlock",
        floor: "node",
        policy: "landlock:
  read: [/bin, /dev, /proc, /sys, /tmp]
  write: [/dev, /tmp]
  execute: [/bin]
  connect: [7001]
  bind: [7002]",
        // On the node's network, where a server listens.
        ask: Ask::Spec(spec::node_network),
        cases: &[
            forbids("landlock", "exec /opt/tool list", "EACCES"),
            forbids("landlock", "read /var/file", "EACCES"),
            forbids("landlock", "read /etc", "EACCES"),
            forbids("landlock", "write /var/file", "EACCES"),
            forbids("landlock", "truncate /var/file", "EACCES"),
            forbids("landlock", "unlink /var/file", "EACCES"),
            forbids("landlock", "create /var/new", "EACCES"),
            forbids("landlock", "mkdir /new", "EACCES"),
            forbids("landlock", "write /bin/busybox", "EACCES"),
            keeps("landlock", "exec /bin/probe list"),
            keeps("landlock", "create /tmp/new"),
            forbids("landlock", "connect 127.0.0.1 7007", "EACCES"),
            forbids("landlock", "connect-mptcp 127.0.0.1 7007", "EACCES"),
            forbids("landlock", "sendto-fastopen 127.0.0.1 7007", "EACCES"),
            forbids("landlock", "bind 7008", "EACCES"),
            forbids("landlock", "bind-mptcp 7008", "EACCES"),
            // Ways to the same sockets past the checks: without the calls, or with their arguments out of a filter's sight.
            forbids("landlock", "io-uring", "EACCES|EPERM"),
            forbids("landlock", "i386-socketcall 1", "EACCES|EPERM|ENOSYS"),
            keeps("landlock", "bind 7002"),
            forbids("landlock", "mount", "EPERM"),
            forbids("landlock", "mount-new-api", "EPERM"),
            forbids("landlock", "umount /proc/keys", "EPERM"),
            forbids("landlock", "remount-rw /proc/sys", "EPERM"),
            hides("landlock", "setuid-gain /bin/probe-setuid"),
            // An exec is a domain of its own, and traces nobody outside it.
            forbids("landlock", "ptrace-pid 1", "EPERM").only(Places::Exec),
            // The launcher and its plan lie in a folder that is allowed here.
            absent("landlock", "write /dev/.coaming/init", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "unlink /dev/.coaming/init", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "write /dev/.coaming/plan", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "unlink /dev/.coaming/plan", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "create /dev/.coaming/new", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "chmod /dev/.coaming/plan", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "umount /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "umount /dev/.coaming/init", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "remount-rw /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "mount /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "mount-bind /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
        ],
    },
    Group {
        name: "landlock-scopes",
        floor: "node",
        policy: "landlock:\n  scopes: [signal, abstractUnixSocket]",
        ask: Ask::Spec(spec::node_namespaces),
        cases: &[
            forbids("landlock", "kill {outsider}", "EPERM"),
            forbids("landlock", "ptrace-pid {outsider}", "EPERM"),
            forbids("landlock", "process-vm-readv {outsider}", "EPERM"),
            forbids("landlock", "proc-mem {outsider}", "EACCES|EPERM"),
            forbids("landlock", "abstract-unix coaming-escape", "EPERM"),
            keeps("landlock", "connect 127.0.0.1 7007"),
        ],
    },
    // Layers without rights to files would let the container mount, over the launcher too: an exec must not come out
    // of the floor by it.
    Group {
        name: "launcher",
        floor: "node",
        policy: "landlock:\n  bind: [7002]",
        ask: Ask::Spec(spec::all_capabilities),
        cases: &[
            forbids("landlock", "bind 7008", "EACCES"),
            forbids("landlock", "mount", "EPERM"),
            forbids("landlock", "mount-new-api", "EPERM"),
            absent("landlock", "write /dev/.coaming/init", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "unlink /dev/.coaming/init", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "create /dev/.coaming/new", "ENOENT", Ours::Answers("EROFS")),
            absent("landlock", "umount /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "umount /dev/.coaming/init", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "remount-rw /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
            absent("landlock", "mount-bind /dev/.coaming", "ENOENT", Ours::Answers("EPERM")),
        ],
    },
    Group {
        name: "landlock-cri",
        floor: "baseline",
        policy: "landlock:
  read: [/bin, /dev, /proc, /tmp]
  write: [/dev, /tmp]
  execute: [/bin/probe]
  connect: []
  bind: []",
        ask: Ask::Cri(|_, _| {}),
        cases: &[
            forbids("landlock", "exec /bin/busybox true", "EACCES"),
            forbids("landlock", "read /etc/passwd", "EACCES"),
            forbids("landlock", "create /var/new", "EACCES"),
            forbids("landlock", "bind 7008", "EACCES"),
            forbids("landlock", "bind-mptcp 7008", "EACCES"),
            forbids("landlock", "ptrace-pid 1", "EPERM").only(Places::Exec),
            keeps("landlock", "create /tmp/new"),
        ],
    },
];
