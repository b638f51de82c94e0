//! The kernel, raw. The only module with unsafe code.
#![allow(unsafe_code)]

pub(crate) mod abi;
pub(crate) mod call;
pub(crate) mod child;
pub(crate) mod entry;
pub(crate) mod filter;
pub(crate) mod pack;
pub(crate) mod trial;

pub(crate) use call::{Arg, call, call_fd};

/// "SIGSYS" for 31.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGILL => "SIGILL",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Nanoseconds of processor time that this thread has had.
pub(crate) fn thread_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the struct is ours to write; the clock is the calling thread's own, which always is.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}

/// The two first numbers of the kernel's release; (0, 0) when it does not say.
pub(crate) fn kernel_version() -> (u32, u32) {
    let release = uname_field(2);
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A field of `struct new_utsname` (uname(2)): 1 is the node's name, 2 the release.
pub(crate) fn uname_field(index: usize) -> String {
    const FIELD: usize = 65;
    let mut buffer = [0u8; FIELD * 6];
    if call(libc::SYS_uname, [Arg::Out(&mut buffer)]).is_err() {
        return String::new();
    }
    let field = buffer.chunks(FIELD).nth(index).unwrap_or_default();
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}
