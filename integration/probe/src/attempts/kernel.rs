//! Kernel subsystems that containers rarely need and escapes often use.

use super::{Attempt, plain};
use crate::errno::Errno;
use crate::sys::pack::Pack;
use crate::sys::{Arg, call, call_fd};
use crate::verdict::{Judged, Reading, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("io-uring", "io_uring_setup", io_uring),
    plain("keyctl", "keyctl: make and find the process keyring", keyctl),
    plain("add-key", "add_key to the process keyring, which ends with the process", add_key),
    plain(
        "request-key",
        "request_key of a key that is nowhere: ENOKEY means it was looked for",
        request_key,
    ),
    plain("bpf", "load a socket filter of two instructions", bpf),
    plain("perf-event-open", "count own user-space cpu time", |_| perf_event(true)),
    plain("perf-event-kernel", "count own cpu time, kernel included", |_| perf_event(false)),
    plain("userfaultfd", "userfaultfd for faults from the kernel too", userfaultfd),
    plain("open-by-handle-at", "open a directory by its file handle", open_by_handle),
    plain("fanotify", "fanotify_init with permission events", fanotify),
    plain("syslog", "read the size of the kernel's log", syslog),
];

fn io_uring(_: &[String]) -> Judged {
    let mut params = [0u8; 120];
    let result = call_fd(libc::SYS_io_uring_setup, [Arg::Int(1), Arg::Out(&mut params)]);
    Ok(Reading::OPTIONAL.judge("io_uring_setup", result))
}

const PROCESS_KEYRING: i64 = -2;

fn keyctl(_: &[String]) -> Judged {
    const GET_KEYRING_ID: i64 = 0;
    let result =
        call(libc::SYS_keyctl, [Arg::Int(GET_KEYRING_ID), Arg::Int(PROCESS_KEYRING), Arg::Int(1)]);
    Ok(Reading::OPTIONAL.judge("keyctl get_keyring_id of the process keyring", result))
}

fn add_key(_: &[String]) -> Judged {
    let payload = *b"x";
    let result = call(
        libc::SYS_add_key,
        [
            Arg::Path(c"user"),
            Arg::Path(c"coaming-probe"),
            Arg::In(&payload),
            Arg::Int(1),
            Arg::Int(PROCESS_KEYRING),
        ],
    );
    Ok(Reading::OPTIONAL.judge("add_key to the process keyring", result))
}

fn request_key(_: &[String]) -> Judged {
    let reading = Reading { reached: &[libc::ENOKEY], ..Reading::OPTIONAL };
    let result = call(
        libc::SYS_request_key,
        [Arg::Path(c"user"), Arg::Path(c"coaming-probe-no-such-key"), Arg::Int(0), Arg::Int(0)],
    );
    Ok(reading.judge("request_key", result))
}

fn bpf(_: &[String]) -> Judged {
    const PROG_LOAD: i64 = 5;
    const SOCKET_FILTER: u32 = 1;
    // r0 = 0; exit
    let program = Pack::new().bytes(&[0xb7, 0, 0, 0, 0, 0, 0, 0]).bytes(&[0x95]).pad_to(16).done();
    let license = *b"GPL\0";
    let attr =
        Pack::new().u32(SOCKET_FILTER).u32(2).address(&program).address(&license).pad_to(48).done();
    let result =
        call_fd(libc::SYS_bpf, [Arg::Int(PROG_LOAD), Arg::In(&attr), Arg::Int(attr.len() as i64)]);
    Ok(Reading::OPTIONAL.judge("bpf program load", result))
}

fn perf_event(exclude_kernel: bool) -> Judged {
    const SOFTWARE: u32 = 1;
    const SIZE: u32 = 64; // PERF_ATTR_SIZE_VER0
    const FLAGS_AT: usize = 40;
    // Bits of the flag word: 0 disabled, 5 exclude_kernel, 6 exclude_hv (linux/perf_event.h).
    let flags = if exclude_kernel { 1 | 1 << 5 | 1 << 6 } else { 1 };
    let attr = Pack::new().u32(SOFTWARE).u32(SIZE).pad_to(FLAGS_AT).u64(flags).pad_to(64).done();
    let minus_one = || Arg::Int(-1);
    let result = call_fd(
        libc::SYS_perf_event_open,
        [Arg::In(&attr), Arg::Int(0), minus_one(), minus_one(), Arg::Int(0)],
    );
    let what = if exclude_kernel { "perf_event_open" } else { "perf_event_open, kernel included" };
    Ok(Reading { absent: &[libc::ENODEV], ..Reading::OPTIONAL }.judge(what, result))
}

fn userfaultfd(_: &[String]) -> Judged {
    let result = call_fd(libc::SYS_userfaultfd, [Arg::Int(libc::O_CLOEXEC.into())]);
    Ok(Reading::OPTIONAL.judge("userfaultfd", result))
}

/// Not every filesystem has handles (overlayfs without nfs_export has none), so several are tried; a made-up handle
/// is the last: ESTALE comes after the permission check (fs/fhandle.c).
fn open_by_handle(_: &[String]) -> Judged {
    let reading = Reading { reached: &[libc::ESTALE], ..Reading::OPTIONAL };
    let mut handle = Pack::new().u32(128).pad_to(8 + 128).done();
    let places = [c"/", c"/dev", c"/dev/shm", c"/tmp", c"/sys", c"/proc"];
    let found = places.into_iter().find(|place| {
        let mut mount_id = [0u8; 4];
        let args = [
            Arg::Int(libc::AT_FDCWD.into()),
            Arg::Path(place),
            Arg::Out(&mut handle),
            Arg::Out(&mut mount_id),
            Arg::Int(0),
        ];
        call(libc::SYS_name_to_handle_at, args).is_ok()
    });
    let (place, handle) = match found {
        Some(place) => (place, handle),
        None => (c"/", Pack::new().u32(8).u32(1).u64(u64::MAX).pad_to(8 + 128).done()),
    };
    let flags = i64::from(libc::O_RDONLY | libc::O_CLOEXEC);
    let directory = call_fd(
        libc::SYS_openat,
        [Arg::Int(libc::AT_FDCWD.into()), Arg::Path(place), Arg::Int(flags)],
    );
    let mount = directory.as_ref().map_or(libc::AT_FDCWD, std::os::fd::AsRawFd::as_raw_fd);
    let result = call_fd(
        libc::SYS_open_by_handle_at,
        [Arg::Int(mount.into()), Arg::In(&handle), Arg::Int(flags)],
    );
    let real = if found.is_some() { "a real" } else { "a made-up" };
    Ok(reading.judge(&format!("open {real} handle on {}", place.to_string_lossy()), result))
}

fn fanotify(_: &[String]) -> Judged {
    const CLASS_CONTENT: i64 = 4;
    let result = call_fd(libc::SYS_fanotify_init, [Arg::Int(CLASS_CONTENT), Arg::Int(0)]);
    Ok(Reading::OPTIONAL.judge("fanotify_init with permission events", result))
}

fn syslog(_: &[String]) -> Judged {
    const SIZE_UNREAD: i64 = 9;
    let result: Result<i64, Errno> =
        call(libc::SYS_syslog, [Arg::Int(SIZE_UNREAD), Arg::Int(0), Arg::Int(0)]);
    Ok(match result {
        Ok(bytes) => Verdict::allowed(format!("syslog: {bytes} bytes unread")),
        Err(errno) => Reading::ALWAYS.judge_errno("syslog", errno),
    })
}
