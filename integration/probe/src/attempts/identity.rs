//! Who the process is, and becoming more than that.

use super::{Attempt, number, plain, text, with};
use crate::errno::Errno;
use crate::state;
use crate::sys::child::{self, Exit};
use crate::sys::pack::{Pack, u32_at};
use crate::sys::{Arg, call};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("setuid", "[uid]", (0, 1), "become another user (default 65533)", setuid),
    with("setgid", "[gid]", (0, 1), "become another group (default 65533)", setgid),
    with(
        "setgroups",
        "[gid]",
        (0, 1),
        "have that one supplementary group (default 65533)",
        setgroups,
    ),
    plain("capset-raise", "make every capability effective", capset_raise),
    plain("ambient-raise", "raise an ambient capability, of any that is permitted", ambient_raise),
    plain("securebits", "set SECBIT_NO_SETUID_FIXUP", securebits),
    with(
        "setuid-gain",
        "<path>",
        (1, 1),
        "as a plain user run `<path> ids`, path being this probe set-user-ID",
        setuid_gain,
    ),
];

const NOBODY: i64 = 65534;

fn setuid(args: &[String]) -> Judged {
    let uid: u32 = number(args, 0, 65533)?;
    let id = || Arg::Int(uid.into());
    let result = call(libc::SYS_setresuid, [id(), id(), id()]);
    effect(&format!("setresuid to {uid}"), result, || state::effective_uid() == Some(uid))
}

fn setgid(args: &[String]) -> Judged {
    let gid: u32 = number(args, 0, 65533)?;
    let id = || Arg::Int(gid.into());
    let result = call(libc::SYS_setresgid, [id(), id(), id()]);
    effect(&format!("setresgid to {gid}"), result, || call(libc::SYS_getegid, []) == Ok(gid.into()))
}

fn setgroups(args: &[String]) -> Judged {
    let gid: u32 = number(args, 0, 65533)?;
    let list = gid.to_ne_bytes();
    let result = call(libc::SYS_setgroups, [Arg::Int(1), Arg::In(&list)]);
    effect(&format!("setgroups to {gid}"), result, || {
        let mut now = [0u8; 4];
        call(libc::SYS_getgroups, [Arg::Int(1), Arg::Out(&mut now)]) == Ok(1) && now == list
    })
}

fn effect(what: &str, result: Result<i64, Errno>, happened: impl FnOnce() -> bool) -> Judged {
    match result {
        Err(errno) => Ok(Reading::ALWAYS.judge_errno(what, errno)),
        Ok(_) if happened() => Ok(Verdict::allowed(what)),
        Ok(_) => Ok(Verdict::denied(None, format!("{what}: success, but without effect"))),
    }
}

/// struct __user_cap_header_struct, version 3, this process.
fn capability_header() -> Vec<u8> {
    Pack::new().u32(0x2008_0522).u32(0).done()
}

/// Effective, permitted and inheritable, each a low and a high word.
fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let (header, sets) = (capability_header(), [effective, permitted, inheritable]);
    let low = sets.iter().fold(Pack::new(), |pack, set| pack.u32(*set as u32));
    let data = sets.iter().fold(low, |pack, set| pack.u32((*set >> 32) as u32)).done();
    call(libc::SYS_capset, [Arg::In(&header), Arg::In(&data)]).map(drop)
}

fn capget() -> Result<[u64; 3], Errno> {
    let (header, mut data) = (capability_header(), [0u8; 24]);
    call(libc::SYS_capget, [Arg::In(&header), Arg::Out(&mut data)])?;
    let set = |at| u64::from(u32_at(&data, at)) | u64::from(u32_at(&data, at + 12)) << 32;
    Ok([set(0), set(4), set(8)])
}

/// Every capability up to the kernel's last: found by asking whether the bounding set could hold it.
fn every_capability() -> u64 {
    (0..64)
        .filter(|cap| prctl(libc::PR_CAPBSET_READ, *cap, 0).is_ok())
        .fold(0, |set, cap| set | 1 << cap)
}

fn capset_raise(_: &[String]) -> Judged {
    let all = every_capability();
    let what = "capset of every capability";
    match capset(all, all, all) {
        Err(errno) => Ok(Reading::ALWAYS.judge_errno(what, errno)),
        Ok(()) => match capget() {
            Ok([effective, ..]) if effective & all == all => Ok(Verdict::allowed(what)),
            _ => Ok(Verdict::denied(None, format!("{what}: success, but without effect"))),
        },
    }
}

fn ambient_raise(_: &[String]) -> Judged {
    let Ok([effective, permitted, _]) = capget() else {
        return Err(Stop::Unclear("capget failed".to_owned()));
    };
    let Some(cap) = (0..64).find(|cap| permitted & 1 << cap != 0) else {
        return Ok(Verdict::denied(None, "no capability is permitted, so none can be ambient"));
    };
    let what = format!("ambient capability {cap}");
    if let Err(errno) = capset(effective, permitted, 1 << cap) {
        return Ok(Reading::ALWAYS.judge_errno(&format!("{what}: inheritable"), errno));
    }
    const RAISE: i64 = 2;
    Ok(Reading::ALWAYS.judge(&what, prctl(libc::PR_CAP_AMBIENT, RAISE, cap)))
}

fn securebits(_: &[String]) -> Judged {
    const NO_SETUID_FIXUP: i64 = 1 << 2;
    let bits = prctl(libc::PR_GET_SECUREBITS, 0, 0).unwrap_or(0);
    let result = prctl(libc::PR_SET_SECUREBITS, bits | NO_SETUID_FIXUP, 0);
    Ok(Reading::ALWAYS.judge("SECBIT_NO_SETUID_FIXUP", result))
}

/// Root gains nothing by a set-user-ID file, so root becomes nobody first.
fn setuid_gain(args: &[String]) -> Judged {
    gain(text(args, 0, ""))
}

/// Whether the set-user-ID program at `path` gives a plain user anything.
pub(super) fn gain(path: &str) -> Judged {
    if state::effective_uid() == Some(0) {
        become_nobody()
            .map_err(|errno| Stop::Unclear(format!("root could not become nobody: {errno}")))?;
    }
    let reading = Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS };
    match child::execute(path, &["ids".to_owned()]) {
        Err(errno) => Ok(reading.judge_errno(&format!("execute {path}"), errno)),
        Ok((_, Exit::Signal(signal))) => {
            Err(Stop::Unclear(format!("{path} died by signal {signal}")))
        }
        Ok((output, Exit::Code(_))) => {
            let ids: serde_json::Value = serde_json::from_slice(&output).unwrap_or_default();
            let Some(euid) = ids.get("euid").and_then(serde_json::Value::as_u64) else {
                return Err(Stop::Unclear(format!("{path} ids did not answer")));
            };
            let effective = ids.get("effective").and_then(serde_json::Value::as_str);
            let powerless = effective.is_none_or(|set| set.bytes().all(|digit| digit == b'0'));
            if euid == 0 || !powerless {
                Ok(Verdict::allowed(format!("{path} ran as {ids}")))
            } else {
                Ok(Verdict::denied(None, format!("{path} ran as {ids}")))
            }
        }
    }
}

/// uid and gid 65534, no groups, no capability.
pub(crate) fn become_nobody() -> Result<(), Errno> {
    let id = || Arg::Int(NOBODY);
    call(libc::SYS_setgroups, [Arg::Int(0), Arg::Int(0)])?;
    call(libc::SYS_setresgid, [id(), id(), id()])?;
    call(libc::SYS_setresuid, [id(), id(), id()])?;
    // After a change of user the process is undumpable and its /proc entry root's (prctl(2)), which /proc attempts need.
    prctl(libc::PR_SET_DUMPABLE, 1, 0).map(drop)
}

/// Empties the bounding set and then the others.
pub(crate) fn drop_all_capabilities() -> Result<(), Errno> {
    for cap in (0..64).filter(|cap| prctl(libc::PR_CAPBSET_READ, *cap, 0) == Ok(1)) {
        prctl(libc::PR_CAPBSET_DROP, cap, 0)?;
    }
    const CLEAR_ALL: i64 = 4;
    prctl(libc::PR_CAP_AMBIENT, CLEAR_ALL, 0)?;
    capset(0, 0, 0)
}

fn prctl(option: i32, second: i64, third: i64) -> Result<i64, Errno> {
    let zero = || Arg::Int(0);
    call(
        libc::SYS_prctl,
        [Arg::Int(option.into()), Arg::Int(second), Arg::Int(third), zero(), zero()],
    )
}
