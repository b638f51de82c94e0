//! What an administrator of the machine does: modules, kexec, reboot, swap, clock, name.
//!
//! None of these could succeed in a way that changes the machine: each passes arguments that the kernel refuses after
//! its permission check, or the value that is there already.

use super::{Attempt, plain};
use crate::errno::Errno;
use crate::state::has_capability;
use crate::sys::pack::Pack;
use crate::sys::{self, Arg, call};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("init-module", "init_module of garbage: ENOEXEC means the check passed", init_module),
    plain(
        "finit-module",
        "finit_module of no descriptor: EBADF means the check passed",
        finit_module,
    ),
    plain(
        "delete-module",
        "delete_module of no such module: ENOENT means the check passed",
        delete_module,
    ),
    plain(
        "kexec-load",
        "kexec_load with impossible flags: EINVAL means the check passed",
        kexec_load,
    ),
    plain(
        "kexec-file-load",
        "kexec_file_load with impossible flags: EINVAL means the check passed",
        kexec_file_load,
    ),
    plain("reboot", "reboot with wrong magic: EINVAL means the check passed", reboot),
    plain("swapon", "swapon of no such file: ENOENT means the check passed", |_| {
        swap(libc::SYS_swapon, "swapon")
    }),
    plain("swapoff", "swapoff of no such file: ENOENT means the check passed", |_| {
        swap(libc::SYS_swapoff, "swapoff")
    }),
    plain("acct", "acct into no such file: ENOENT means the check passed", acct),
    plain(
        "quotactl",
        "quotactl of no such device: the call was let through (the kernel asks for rights later)",
        quotactl,
    ),
    plain("settimeofday", "settimeofday setting neither time nor zone", settimeofday),
    plain(
        "clock-settime",
        "clock_settime to an invalid time: EINVAL, and CAP_SYS_TIME is held",
        clock_settime,
    ),
    plain("adjtimex", "set the length of the tick to what it is", adjtimex),
    plain("sethostname", "set the host's name to what it is", sethostname),
    plain("setdomainname", "set the domain's name to what it is", setdomainname),
    plain("iopl", "raise this process's I/O privilege level to 3", iopl),
    plain("ioperm", "ask for I/O port 0x80", ioperm),
    plain("nice", "raise this process's own priority", nice),
];

fn init_module(_: &[String]) -> Judged {
    let garbage = *b"not a module";
    let result = call(
        libc::SYS_init_module,
        [Arg::In(&garbage), Arg::Int(garbage.len() as i64), Arg::Path(c"")],
    );
    let reading = Reading { reached: &[libc::ENOEXEC], ..Reading::OPTIONAL };
    Ok(reading.judge("init_module of garbage", result))
}

fn finit_module(_: &[String]) -> Judged {
    let result = call(libc::SYS_finit_module, [Arg::Int(-1), Arg::Path(c""), Arg::Int(0)]);
    let reading = Reading { reached: &[libc::EBADF, libc::ENOEXEC], ..Reading::OPTIONAL };
    Ok(reading.judge("finit_module of no descriptor", result))
}

fn delete_module(_: &[String]) -> Judged {
    let flags = Arg::Int(libc::O_NONBLOCK.into());
    let result = call(libc::SYS_delete_module, [Arg::Path(c"coaming_no_such_module"), flags]);
    let reading = Reading { reached: &[libc::ENOENT], ..Reading::OPTIONAL };
    Ok(reading.judge("delete_module of no such module", result))
}

/// Unknown flags are refused before anything is loaded (kernel/kexec.c, kexec_load_check).
fn kexec_load(_: &[String]) -> Judged {
    const NO_SUCH_FLAG: i64 = 0x8000;
    let zero = || Arg::Int(0);
    let result = call(libc::SYS_kexec_load, [zero(), zero(), zero(), Arg::Int(NO_SUCH_FLAG)]);
    let reading = Reading { reached: &[libc::EINVAL], ..Reading::OPTIONAL };
    Ok(reading.judge("kexec_load with impossible flags", result))
}

fn kexec_file_load(_: &[String]) -> Judged {
    const NO_SUCH_FLAG: i64 = 0x4000_0000;
    let none = || Arg::Int(-1);
    let result = call(
        libc::SYS_kexec_file_load,
        [none(), none(), Arg::Int(1), Arg::Path(c""), Arg::Int(NO_SUCH_FLAG)],
    );
    let reading = Reading { reached: &[libc::EINVAL, libc::EBADF], ..Reading::OPTIONAL };
    Ok(reading.judge("kexec_file_load with impossible flags", result))
}

/// Without both magic numbers nothing can happen; CAP_SYS_BOOT is asked for first (kernel/reboot.c).
fn reboot(_: &[String]) -> Judged {
    let zero = || Arg::Int(0);
    let result = call(libc::SYS_reboot, [zero(), zero(), zero(), zero()]);
    let reading = Reading { reached: &[libc::EINVAL], ..Reading::ALWAYS };
    Ok(reading.judge("reboot with wrong magic", result))
}

fn swap(nr: i64, name: &str) -> Judged {
    let result = call(nr, [Arg::Path(c"/coaming-no-such-swap"), Arg::Int(0)]);
    let reading = Reading { reached: &[libc::ENOENT], ..Reading::OPTIONAL };
    Ok(reading.judge(&format!("{name} of no such file"), result))
}

/// Never with a null path, which would turn accounting off.
fn acct(_: &[String]) -> Judged {
    let result = call(libc::SYS_acct, [Arg::Path(c"/coaming-no-such-file")]);
    let reading = Reading { reached: &[libc::ENOENT], ..Reading::OPTIONAL };
    Ok(reading.judge("acct into no such file", result))
}

fn quotactl(_: &[String]) -> Judged {
    const GET_FORMAT: i64 = 0x80_0004 << 8;
    let mut format = [0u8; 4];
    let result = call(
        libc::SYS_quotactl,
        [
            Arg::Int(GET_FORMAT),
            Arg::Path(c"/coaming-no-such-device"),
            Arg::Int(0),
            Arg::Out(&mut format),
        ],
    );
    let reading =
        Reading { reached: &[libc::ENOENT, libc::ENOTBLK, libc::ENODEV], ..Reading::OPTIONAL };
    Ok(reading.judge("quotactl of no such device", result))
}

/// With two null pointers the kernel asks for CAP_SYS_TIME and then has nothing to do (kernel/time/time.c).
fn settimeofday(_: &[String]) -> Judged {
    let result = call(libc::SYS_settimeofday, [Arg::Int(0), Arg::Int(0)]);
    Ok(Reading::ALWAYS.judge("settimeofday setting nothing", result))
}

/// The kernel looks at the time before the capability, so EINVAL shows the filter only and the capability is looked up.
fn clock_settime(_: &[String]) -> Judged {
    const CAP_SYS_TIME: u32 = 25;
    let invalid = Pack::new().u64(0).u64(u64::MAX).done();
    let what = "clock_settime to an invalid time";
    match call(libc::SYS_clock_settime, [Arg::Int(libc::CLOCK_REALTIME.into()), Arg::In(&invalid)])
    {
        Err(Errno(libc::EINVAL)) if has_capability(CAP_SYS_TIME) == Some(true) => {
            Ok(Verdict::allowed(format!("{what}: EINVAL, and CAP_SYS_TIME is held")))
        }
        Err(Errno(libc::EINVAL)) => Ok(Verdict::denied(
            Some(Errno(libc::EPERM)),
            format!("{what}: the call is let through, but CAP_SYS_TIME is not held"),
        )),
        Err(errno) => Ok(Reading::ALWAYS.judge_errno(what, errno)),
        Ok(_) => Err(Stop::Unclear(format!("{what}: success"))),
    }
}

/// Reading needs no capability, so whoever refuses it refuses setting too.
fn adjtimex(_: &[String]) -> Judged {
    const SET_TICK: u32 = 0x4000;
    let mut timex = [0u8; 208];
    if let Err(errno) = call(libc::SYS_adjtimex, [Arg::Out(&mut timex)]) {
        return Ok(Reading::ALWAYS.judge_errno("adjtimex read", errno));
    }
    if let Some(modes) = timex.get_mut(..4) {
        modes.copy_from_slice(&SET_TICK.to_ne_bytes());
    }
    let result = call(libc::SYS_adjtimex, [Arg::Out(&mut timex)]);
    Ok(Reading::ALWAYS.judge("adjtimex to the same tick", result))
}

fn sethostname(_: &[String]) -> Judged {
    let name = sys::uname_field(1);
    set_name(libc::SYS_sethostname, "sethostname", &name)
}

fn setdomainname(_: &[String]) -> Judged {
    let name = sys::uname_field(5);
    set_name(libc::SYS_setdomainname, "setdomainname", &name)
}

fn set_name(nr: i64, call_name: &str, name: &str) -> Judged {
    if name.is_empty() {
        return Err(Stop::Unclear("the name that is there cannot be read".to_owned()));
    }
    let result = call(nr, [Arg::In(name.as_bytes()), Arg::Int(name.len() as i64)]);
    Ok(Reading::ALWAYS.judge(&format!("{call_name} to the same name, {name}"), result))
}

fn iopl(_: &[String]) -> Judged {
    Ok(Reading::OPTIONAL.judge("iopl 3", call(libc::SYS_iopl, [Arg::Int(3)])))
}

fn ioperm(_: &[String]) -> Judged {
    let result = call(libc::SYS_ioperm, [Arg::Int(0x80), Arg::Int(1), Arg::Int(1)]);
    Ok(Reading::OPTIONAL.judge("ioperm of port 0x80", result))
}

fn nice(_: &[String]) -> Judged {
    let (process, own, minus_one) = (Arg::Int(0), Arg::Int(0), Arg::Int(-1));
    let result = call(libc::SYS_setpriority, [process, own, minus_one]);
    Ok(Reading::ALWAYS.judge("setpriority to -1", result))
}
