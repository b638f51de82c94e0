//! `probe cost`: what a few system calls cost under seccomp filters.

use std::io::Write;

use serde_json::json;

use crate::errno::Errno;
use crate::sys::{self, Arg, call, filter};

/// For `probe list`.
pub(crate) const LIST: &[(&str, &str, &str)] = &[(
    "cost",
    "<times> [filter...]",
    "nanoseconds of a few calls, each made so many times, under these filters, as JSON",
)];

/// Runs it; an error is a usage error.
pub(crate) fn run(args: &[String]) -> Result<u8, String> {
    let [times, filters @ ..] = args else {
        return Err("usage: probe cost <times> [filter...]".to_owned());
    };
    let times: u32 = times.parse().map_err(|_| format!("{times} is no number"))?;
    let mut programs = Vec::new();
    for path in filters {
        programs.push(std::fs::read(path).map_err(|error| format!("{path}: {error}"))?);
    }
    let said = |errno: Errno| format!("not measured: {errno}");
    let zero = std::fs::File::open("/dev/zero").map_err(|error| error.to_string())?;
    let zero = std::os::fd::AsRawFd::as_raw_fd(&zero);
    if !programs.is_empty() {
        filter::no_new_privs().map_err(said)?;
    }
    for program in &programs {
        filter::load(program).map_err(said)?;
    }
    let mut byte = [0];
    let getpid = each(times, || call(libc::SYS_getpid, []))?;
    let read = each(times, || {
        call(libc::SYS_read, [Arg::Int(zero.into()), Arg::Out(&mut byte), Arg::Int(1)])
    })?;
    let open = each(times / 4, || {
        let at = Arg::Int(libc::AT_FDCWD.into());
        let fd = call(libc::SYS_openat, [at, Arg::Path(c"/dev/null"), Arg::Int(0)])?;
        call(libc::SYS_close, [Arg::Int(fd)])
    })?;
    // 0xffffffff asks, and changes nothing (personality(2)).
    let personality = each(times, || call(libc::SYS_personality, [Arg::Int(0xffff_ffff)]))?;
    let report =
        json!({"getpid": getpid, "read": read, "openat+close": open, "personality": personality});
    writeln!(std::io::stdout(), "{report}").map_err(|error| error.to_string())?;
    Ok(0)
}

/// In how many bursts the calls are made.
const BURSTS: u32 = 20;

/// Nanoseconds of one: the middle of several bursts, in the processor's time of this thread, so that what else the
/// machine does counts little.
fn each(times: u32, mut once: impl FnMut() -> Result<i64, Errno>) -> Result<f64, String> {
    once().map_err(|errno| format!("a call that is measured fails: {errno}"))?;
    let times = (times / BURSTS).max(1);
    let mut bursts: Vec<u64> = (0..BURSTS)
        .map(|_| {
            let start = sys::thread_time();
            for _ in 0..times {
                let _ = once();
            }
            sys::thread_time().saturating_sub(start)
        })
        .collect();
    bursts.sort_unstable();
    let middle = bursts.get(bursts.len() / 2).copied().unwrap_or_default();
    Ok(middle as f64 / f64::from(times))
}
