//! What is attempted in every way in which a process can come into a container.
//!
//! Each line: the probe's words, what stops it, and what it is, for people. Whoever
//! asks, asks for everything: all capabilities, no seccomp profile, no masks; the stock runtime gives it, and there the
//! attempt works.

/// Something that a process in a container attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) words: &'static str,
    /// The control that stops it.
    pub(crate) control: &'static str,
    pub(crate) title: &'static str,
    pub(crate) floor: Floor,
    /// What a kernel, or a machine, may be without: then nothing is shown, and nothing got through.
    pub(crate) needs: Option<&'static str>,
    /// Only what `privileged` brings makes it work at all: devices, writable control groups.
    pub(crate) privileged: bool,
    /// It is aimed at the container's first process, from another one.
    pub(crate) beside: bool,
}

/// Which floor stops it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// The built-in one, with no policy at all.
    Baseline,
    /// With [`STRICT`] besides.
    Strict,
}

/// A policy as an application of its own knowledge could have it.
pub(crate) const STRICT: &str = "noNewPrivileges: true
capabilities:
  allow: [SETGID, SETUID]
seccomp:
  denySyscalls: [chroot, kcmp, memfd_create, modify_ldt, personality, pidfd_getfd, process_madvise, process_vm_readv, process_vm_writev, ptrace]
  denySocketFamilies: [AF_ALG, AF_NETLINK, AF_PACKET, AF_VSOCK]
  architectures: []
  floor: profiles/no-tiocsti.json
landlock:
  read: [/bin, /dev, /proc, /sys, /tmp]
  write: [/dev, /tmp]
  execute: [/bin]
  connect: []
  bind: [7002]";

/// The profile that [`STRICT`] names: a terminal's input is not to be typed by ioctl.
pub(crate) const NO_TIOCSTI: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{
  "names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
  "args": [{"index": 1, "value": 4294967295, "valueTwo": 21522, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;

const fn base(words: &'static str, control: &'static str, title: &'static str) -> Attempt {
    let floor = Floor::Baseline;
    Attempt { words, control, title, floor, needs: None, privileged: false, beside: false }
}

const fn strict(words: &'static str, control: &'static str, title: &'static str) -> Attempt {
    Attempt { floor: Floor::Strict, ..base(words, control, title) }
}

impl Attempt {
    const fn needs(self, what: &'static str) -> Attempt {
        Attempt { needs: Some(what), ..self }
    }

    const fn privileged(self) -> Attempt {
        Attempt { privileged: true, ..self }
    }

    const fn beside(self) -> Attempt {
        Attempt { beside: true, ..self }
    }
}

pub(crate) static ALL: &[Attempt] = &[
    // Mounts.
    base("mount", "capabilities", "mount a tmpfs"),
    base("mount-proc", "capabilities", "mount a fresh proc, which has no masks"),
    base("mount-bind", "capabilities", "bind / elsewhere"),
    base("mount-new-api", "capabilities", "fsopen, fsmount, move_mount"),
    base("fsopen", "capabilities", "a file system context (fsopen)"),
    base("fspick", "capabilities", "reconfigure the root's file system (fspick)"),
    base("open-tree", "capabilities", "a detached copy of the root (open_tree)"),
    base("mount-setattr", "capabilities", "change a mount's attributes (mount_setattr)"),
    base("mount-overlay", "capabilities", "mount an overlay"),
    base("mount-block", "capabilities", "mount a block device made for it").needs("ext4"),
    base("umount /dev/shm", "capabilities", "take a mount away"),
    base("pivot-root", "capabilities", "pivot_root"),
    // Namespaces.
    base("unshare-user", "seccomp", "unshare the user namespace"),
    base("clone-user", "seccomp", "clone into a user namespace"),
    base("clone3-user", "seccomp", "clone3 into a user namespace"),
    base("userns-mount", "seccomp", "a user namespace, and a mount in it"),
    base("userns-netfilter", "seccomp", "a user namespace, and netfilter in it")
        .needs("netfilter netlink"),
    base("unshare-mount", "capabilities", "unshare the mount namespace"),
    base("unshare-net", "capabilities", "unshare the network namespace"),
    base("setns", "capabilities", "setns by a file of /proc"),
    base("nsenter 1", "capabilities", "setns by a pidfd, as nsenter does"),
    // The kernel's subsystems.
    base("io-uring", "seccomp", "io_uring"),
    base("keyctl", "seccomp", "the kernel's keyrings (keyctl)"),
    base("keyring-join", "seccomp", "join a session keyring by its name"),
    base("add-key", "seccomp", "add_key"),
    base("request-key", "seccomp", "request_key"),
    base("bpf", "seccomp", "load a BPF program"),
    base("perf-event-open", "seccomp", "perf events"),
    base("perf-event-kernel", "seccomp", "perf events of the kernel"),
    base("userfaultfd", "seccomp", "userfaultfd"),
    base("open-by-handle-at", "seccomp", "open by file handle (shocker)"),
    base("fanotify", "seccomp", "fanotify with permission events"),
    base("syslog", "seccomp", "the kernel's log"),
    // What is the machine's administrator's.
    base("reboot", "seccomp", "reboot"),
    base("swapon", "seccomp", "swapon"),
    base("swapoff", "seccomp", "swapoff"),
    base("acct", "seccomp", "process accounting (acct)"),
    base("quotactl", "seccomp", "quotactl"),
    base("settimeofday", "seccomp", "settimeofday"),
    base("clock-settime", "seccomp", "clock_settime"),
    base("adjtimex", "capabilities", "adjtimex"),
    base("sethostname", "capabilities", "sethostname"),
    base("setdomainname", "capabilities", "setdomainname"),
    base("vhangup", "seccomp", "vhangup"),
    base("nice", "capabilities", "raise one's priority"),
    base("iopl", "seccomp", "iopl").needs("iopl"),
    base("ioperm", "seccomp", "ioperm").needs("ioperm"),
    base("init-module", "seccomp", "init_module").needs("modules"),
    base("finit-module", "seccomp", "finit_module").needs("modules"),
    base("delete-module", "seccomp", "delete_module").needs("modules"),
    base("kexec-load", "seccomp", "kexec_load").needs("kexec"),
    base("kexec-file-load", "seccomp", "kexec_file_load").needs("kexec"),
    // Other tables of system calls.
    base("personality-exec", "seccomp", "personality READ_IMPLIES_EXEC"),
    base("personality-aslr", "seccomp", "personality ADDR_NO_RANDOMIZE"),
    base("x32", "seccomp", "any x32 call").needs("x32"),
    base("x32-call mount", "seccomp", "mount by its x32 number").needs("x32"),
    base("x32-call bpf", "seccomp", "bpf by its x32 number").needs("x32"),
    base("i386-call bpf", "seccomp", "bpf by int 0x80"),
    base("i386-call fsopen", "seccomp", "fsopen by int 0x80"),
    base("i386-call io_uring_setup", "seccomp", "io_uring by int 0x80"),
    base("i386-call keyctl", "seccomp", "keyctl by int 0x80"),
    base("i386-call mount", "seccomp", "mount by int 0x80"),
    base("i386-call mount_setattr", "seccomp", "mount_setattr by int 0x80"),
    base("i386-call open_by_handle_at", "seccomp", "open_by_handle_at by int 0x80"),
    base("i386-call perf_event_open", "seccomp", "perf events by int 0x80"),
    base("i386-call pivot_root", "seccomp", "pivot_root by int 0x80"),
    base("i386-call quotactl", "seccomp", "quotactl by int 0x80"),
    base("i386-call reboot", "seccomp", "reboot by int 0x80"),
    base("i386-call request_key", "seccomp", "request_key by int 0x80"),
    base("i386-call setns", "seccomp", "setns by int 0x80"),
    base("i386-call settimeofday", "seccomp", "settimeofday by int 0x80"),
    base("i386-call swapon", "seccomp", "swapon by int 0x80"),
    base("i386-call syslog", "seccomp", "the kernel's log by int 0x80"),
    base("i386-call umount2", "seccomp", "umount2 by int 0x80"),
    base("i386-call unshare", "seccomp", "a user namespace by int 0x80"),
    base("i386-call userfaultfd", "seccomp", "userfaultfd by int 0x80"),
    base("i386-call init_module", "seccomp", "init_module by int 0x80").needs("modules"),
    base("i386-call kexec_load", "seccomp", "kexec_load by int 0x80").needs("kexec"),
    // Sockets.
    base("af-alg", "seccomp", "AF_ALG").needs("AF_ALG"),
    base("i386-socketcall", "seccomp", "AF_ALG by the i386 socketcall").needs("AF_ALG"),
    base("i386-socket", "seccomp", "AF_ALG by int 0x80").needs("AF_ALG"),
    base("af-vsock", "seccomp", "AF_VSOCK"),
    base("af-packet", "capabilities", "AF_PACKET"),
    base("raw-icmp", "capabilities", "a raw IP socket"),
    // Devices, /proc and /sys.
    base("mknod-open b 7 0", "devices", "mknod of a disk, and open it").privileged(),
    base("mknod-open c 1 1", "devices", "mknod of /dev/mem, and open it")
        .privileged()
        .needs("/dev/mem"),
    base("mknod-open c 10 229", "devices", "mknod of FUSE, and open it").privileged(),
    base("proc-sys", "readonlyPaths", "write to /proc/sys"),
    base("core-pattern", "readonlyPaths", "open core_pattern for writing"),
    base("modprobe-path", "readonlyPaths", "open the path of modprobe for writing")
        .needs("modules"),
    base("binfmt-misc", "readonlyPaths", "register a binary format").needs("binfmt_misc, mounted"),
    base("sysrq", "readonlyPaths", "write to sysrq-trigger").needs("sysrq"),
    base("uevent-helper", "privileged", "open uevent_helper for writing")
        .privileged()
        .needs("uevent_helper"),
    base("release-agent", "mounts", "write release_agent")
        .privileged()
        .needs("a root of cgroup v1"),
    base("cgroup-mkdir", "privileged", "make a control group")
        .privileged()
        .needs("control groups, mounted"),
    base("kcore", "maskedPaths", "read /proc/kcore").needs("kcore"),
    base("kallsyms", "capabilities", "kernel addresses in /proc/kallsyms").needs("kallsyms"),
    base("read-masked /proc/keys", "maskedPaths", "read /proc/keys"),
    base("read-masked /proc/interrupts", "maskedPaths", "read /proc/interrupts"),
    base("read-masked /proc/timer_list", "maskedPaths", "read /proc/timer_list")
        .needs("timer_list"),
    base("read-masked /sys/firmware", "maskedPaths", "list /sys/firmware"),
    // Above the built-in floor, by a policy.
    strict("ptrace", "seccomp", "ptrace a child"),
    strict("process-vm-readv", "seccomp", "read a child's memory"),
    strict("process-vm-writev", "seccomp", "write a child's memory"),
    strict("process-madvise", "seccomp", "process_madvise"),
    strict("pidfd-getfd", "seccomp", "take a descriptor by pidfd_getfd"),
    strict("kcmp", "seccomp", "kcmp"),
    strict("proc-mem", "landlock", "open a child's /proc/PID/mem for writing"),
    strict("ptrace-pid 1", "landlock", "ptrace the neighbour").beside(),
    strict("process-vm-readv 1", "landlock", "read the neighbour's memory").beside(),
    strict("proc-mem 1", "landlock", "open the neighbour's /proc/PID/mem").beside(),
    strict("proc-root 1", "landlock", "list the neighbour's root by /proc/PID/root").beside(),
    strict("proc-environ 1", "landlock", "read the neighbour's environment").beside(),
    strict("pidfd-getfd 1", "landlock", "take the neighbour's descriptor").beside(),
    strict("chroot", "capabilities", "chroot"),
    strict("chroot-breakout", "capabilities", "leave a chroot by a second one"),
    strict("mknod-char", "capabilities", "make a character device"),
    strict("mknod-block", "capabilities", "make a block device"),
    strict("securebits", "capabilities", "set securebits"),
    strict("setuid-own", "noNewPrivileges", "gain by a set-user-ID program of one's own"),
    strict("exec-dropped", "landlock", "run a program dropped to /tmp"),
    strict("exec-memfd", "seccomp", "run a program from memory (memfd)"),
    strict("read /etc/passwd", "landlock", "read what is not allowed"),
    strict("write /etc/passwd", "landlock", "write what is not allowed"),
    strict("create /var/new", "landlock", "make a file where it is not allowed"),
    strict("mkdir /new", "landlock", "make a directory where it is not allowed"),
    strict("truncate /etc/passwd", "landlock", "truncate what is not allowed"),
    strict("bind 7008", "landlock", "listen on a port that is not allowed"),
    strict("bind-mptcp 7008", "landlock", "the same by MPTCP").needs("MPTCP"),
    strict("af-netlink", "seccomp", "AF_NETLINK"),
    strict("af-netlink-xfrm", "seccomp", "AF_NETLINK to IPsec").needs("IPsec"),
    strict("af-netfilter", "seccomp", "AF_NETLINK to netfilter").needs("netfilter netlink"),
    strict("i386", "seccomp", "any i386 call"),
    strict("i386-socket 1", "seccomp", "a socket by int 0x80"),
    strict("i386-socketcall 1", "seccomp", "a socket by the i386 socketcall"),
    strict("i386-call ptrace", "seccomp", "ptrace by int 0x80"),
    strict("i386-call process_vm_readv", "seccomp", "process_vm_readv by int 0x80"),
    strict("i386-call modify_ldt", "seccomp", "modify_ldt by int 0x80"),
    strict("tiocsti", "seccomp", "type into a terminal (TIOCSTI)"),
    strict("modify-ldt", "seccomp", "modify_ldt"),
];
