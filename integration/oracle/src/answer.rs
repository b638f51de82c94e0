//! What a filter answers, as the number that the kernel acts on (linux/seccomp.h), and which of two is stricter.

pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
pub(crate) const KILL_THREAD: u32 = 0;
pub(crate) const TRAP: u32 = 0x0003_0000;
pub(crate) const ERRNO: u32 = 0x0005_0000;
pub(crate) const TRACE: u32 = 0x7ff0_0000;
pub(crate) const LOG: u32 = 0x7ffc_0000;
pub(crate) const ALLOW: u32 = 0x7fff_0000;

/// No such syscall: what runc answers above the highest number that a profile names.
pub(crate) const ENOSYS: u32 = ERRNO | 38;

/// The OCI name of an action with its number, where it has one (1, EPERM, when none is given).
pub(crate) fn parse(name: &str, data: Option<u32>) -> Option<u32> {
    let data = data.unwrap_or(1);
    Some(match name {
        "SCMP_ACT_KILL_PROCESS" => KILL_PROCESS,
        "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_KILL" => KILL_THREAD,
        "SCMP_ACT_TRAP" => TRAP,
        "SCMP_ACT_ERRNO" => ERRNO | data,
        "SCMP_ACT_TRACE" => TRACE | data,
        "SCMP_ACT_LOG" => LOG,
        "SCMP_ACT_ALLOW" => ALLOW,
        _ => return None,
    })
}

/// The action without its number. The kernel takes the lowest, compared with its sign (kernel/seccomp.c,
/// `seccomp_run_filters`).
pub(crate) fn action(answer: u32) -> i32 {
    (answer & 0xffff_0000).cast_signed()
}

/// The syscall is not made.
pub(crate) fn refuses(answer: u32) -> bool {
    action(answer) <= action(ERRNO)
}

/// The stricter of two. Of two errnos coaming's choice: ENOSYS, on which libraries fall back, otherwise the lower.
pub(crate) fn stricter(a: u32, b: u32) -> u32 {
    let key = |answer: u32| (action(answer), answer != ENOSYS, answer & 0xffff);
    if key(b) < key(a) { b } else { a }
}
