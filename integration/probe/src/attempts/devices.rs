//! Device nodes: the ones that are there, and new ones.

use super::{Attempt, c_path, number, plain, text, with};
use crate::errno::Errno;
use crate::sys::{Arg, call, call_fd, child};
use crate::verdict::{Judged, Outcome, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("mknod-char", "[dir]", (0, 1), "make a character device (1,11), then remove it", |args| {
        make(args.first(), Device::KMSG, false)
    }),
    with("mknod-block", "[dir]", (0, 1), "make a block device (7,0), then remove it", |args| {
        make(args.first(), Device { block: true, major: 7, minor: 0 }, false)
    }),
    with(
        "mknod-open",
        "[c|b major minor [dir]]",
        (0, 4),
        "make that device (c 1 11) and open it: what the device cgroup allows",
        make_and_open,
    ),
    with("open-device", "<path>", (1, 1), "open that device, reading or writing nothing", |args| {
        device(text(args, 0, ""))
    }),
    plain("dev-mem", "open /dev/mem", |_| device("/dev/mem")),
    plain("dev-kmem", "open /dev/kmem", |_| device("/dev/kmem")),
    plain("dev-kmsg", "open /dev/kmsg", |_| device("/dev/kmsg")),
    plain("dev-fuse", "open /dev/fuse", |_| device("/dev/fuse")),
    plain("tun", "open /dev/net/tun, or a device node made for it", tun),
];

#[derive(Clone, Copy)]
struct Device {
    block: bool,
    major: u32,
    minor: u32,
}

impl Device {
    const KMSG: Device = Device { block: false, major: 1, minor: 11 };
    const TUN: Device = Device { block: false, major: 10, minor: 200 };
    /// Opening this one starts the countdown to a reboot.
    const WATCHDOG: (u32, u32) = (10, 130);
    const WATCHDOGS: std::ops::RangeInclusive<u32> = 234..=254;
}

/// The permission check, by capability and device cgroup, comes before the search for a driver.
const OPENED: Reading = Reading {
    reached: &[libc::ENXIO, libc::ENODEV, libc::ENOMEDIUM, libc::EBUSY],
    absent: &[libc::ENOENT],
    unclear: &[],
    since: Some((0, 0)),
};

fn make_and_open(args: &[String]) -> Judged {
    if args.is_empty() {
        return make(None, Device::KMSG, true);
    }
    let block = match text(args, 0, "") {
        "c" => false,
        "b" => true,
        other => return Err(Stop::Usage(format!("{other} is neither c nor b"))),
    };
    if args.len() < 3 {
        return Err(Stop::Usage("a device needs its major and minor number".to_owned()));
    }
    let device = Device { block, major: number(args, 1, 0)?, minor: number(args, 2, 0)? };
    // 234 to 254 are given out dynamically, and the newer watchdogs are among them.
    let watchdog = (device.major, device.minor) == Device::WATCHDOG
        || Device::WATCHDOGS.contains(&device.major);
    if watchdog && !block {
        return Err(Stop::Usage("this may be a watchdog, which reboots once opened".to_owned()));
    }
    make(args.get(3), device, true)
}

/// Tries each place until one works: a read-only or nodev mount says nothing about the device.
fn make(dir: Option<&String>, device: Device, open: bool) -> Judged {
    let places: Vec<&str> = match dir {
        Some(dir) => vec![dir],
        None => vec!["/tmp", "/", "/dev", "/run", "/var/tmp", "/dev/shm"],
    };
    let mut first: Option<Verdict> = None;
    for place in places {
        let verdict = make_in(place, device, open)?;
        if verdict.outcome == Outcome::Allowed {
            return Ok(verdict);
        }
        let refused = |verdict: &Verdict| {
            verdict.outcome == Outcome::Denied && verdict.errno == Some(Errno(libc::EPERM))
        };
        if first.as_ref().is_none_or(|first| refused(&verdict) && !refused(first)) {
            first = Some(verdict);
        }
    }
    first.ok_or_else(|| Stop::Unclear("nowhere to make a device".to_owned()))
}

fn make_in(dir: &str, device: Device, open: bool) -> Judged {
    let Device { block, major, minor } = device;
    let letter = if block { 'b' } else { 'c' };
    let path = format!("{}/.coaming-probe-{}", dir.trim_end_matches('/'), child::own_pid());
    let c_path = c_path(&path)?;
    let mode = if block { libc::S_IFBLK } else { libc::S_IFCHR } | 0o600;
    let number = libc::makedev(major, minor);
    let what = format!("mknod {letter} {major} {minor} in {dir}");
    let here = || Arg::Int(libc::AT_FDCWD.into());
    let reading = Reading { absent: &[libc::ENOENT], unclear: &[libc::EROFS], ..Reading::ALWAYS };
    let made = call(
        libc::SYS_mknodat,
        [here(), Arg::Path(&c_path), Arg::Int(mode.into()), Arg::Int(number as i64)],
    );
    if let Err(errno) = made {
        return Ok(reading.judge_errno(&what, errno));
    }
    let verdict = if open {
        OPENED.judge(&format!("{what}, open"), open_device(&c_path))
    } else {
        Verdict::allowed(what)
    };
    let _ = call(libc::SYS_unlinkat, [here(), Arg::Path(&c_path), Arg::Int(0)]);
    Ok(verdict)
}

fn device(path: &str) -> Judged {
    if path.contains("watchdog") {
        return Err(Stop::Usage("a watchdog reboots once opened".to_owned()));
    }
    let c_path = c_path(path)?;
    // A regular file in the place of a device would open too, and prove nothing.
    if let Ok(metadata) = std::fs::metadata(path) {
        use std::os::unix::fs::FileTypeExt;
        let kind = metadata.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(Stop::Unclear(format!("{path} is no device")));
        }
    }
    Ok(OPENED.judge(&format!("open {path}"), open_device(&c_path)))
}

/// For reading, else for writing (/dev/kmsg may only be written by some), without waiting for a line or a medium.
fn open_device(path: &std::ffi::CStr) -> Result<(), Errno> {
    let open = |access: i32| {
        let flags = access | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let here = Arg::Int(libc::AT_FDCWD.into());
        call_fd(libc::SYS_openat, [here, Arg::Path(path), Arg::Int(flags.into())]).map(drop)
    };
    open(libc::O_RDONLY).or_else(|first| open(libc::O_WRONLY).map_err(|_| first))
}

fn tun(_: &[String]) -> Judged {
    match OPENED.judge("open /dev/net/tun", open_device(c"/dev/net/tun")) {
        verdict if verdict.outcome == Outcome::Unsupported => make(None, Device::TUN, true),
        verdict => Ok(verdict),
    }
}
