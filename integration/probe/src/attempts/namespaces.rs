//! New namespaces, other namespaces, and whether the ones here are the host's.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::{Attempt, c_path, needed, number, plain, text, with};
use crate::errno::Errno;
use crate::sys::pack::Pack;
use crate::sys::{Arg, call, call_fd, child};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("unshare-user", "unshare(CLONE_NEWUSER)", |_| unshare(libc::CLONE_NEWUSER, "user")),
    plain("unshare-mount", "unshare(CLONE_NEWNS)", |_| unshare(libc::CLONE_NEWNS, "mnt")),
    plain("unshare-net", "unshare(CLONE_NEWNET)", |_| unshare(libc::CLONE_NEWNET, "net")),
    plain("clone-user", "clone(CLONE_NEWUSER)", clone_user),
    plain("clone3", "clone3 of a plain child", |_| clone3(0, "clone3 of a plain child")),
    plain("clone3-user", "clone3(CLONE_NEWUSER)", |_| {
        clone3(libc::CLONE_NEWUSER as u64, "clone3 of a child in a new user namespace")
    }),
    with(
        "setns",
        "[pid [type]]",
        (0, 2),
        "join the uts namespace of this process, or another's (type: mnt, net, ...)",
        setns,
    ),
    with(
        "host-namespace",
        "<type> [inode]",
        (1, 2),
        "is this namespace the machine's first one, or the one with that inode?",
        host_namespace,
    ),
    plain("host-pids", "are kernel threads, and so the host's processes, to be seen?", host_pids),
];

/// Since 3.8 every kernel has the calls; a namespace type may be left out, which shows as EINVAL.
const NAMESPACES: Reading = Reading { absent: &[libc::EINVAL], ..Reading::ALWAYS };

fn unshare(flag: i32, kind: &str) -> Judged {
    let what = format!("unshare of the {kind} namespace");
    let before = namespace(kind);
    if let Err(errno) = call(libc::SYS_unshare, [Arg::Int(flag.into())]) {
        // ENOSPC: the limit in /proc/sys/user/max_*_namespaces (namespaces(7)), which is a denial too.
        return Ok(NAMESPACES.judge_errno(&what, errno));
    }
    match (before, namespace(kind)) {
        (Some(before), Some(after)) if before == after => {
            Err(Stop::Unclear(format!("{what}: success, but the namespace is the same")))
        }
        _ => Ok(Verdict::allowed(what)),
    }
}

fn clone_user(_: &[String]) -> Judged {
    let flags = i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD);
    let zero = || Arg::Int(0);
    let result = call(libc::SYS_clone, [Arg::Int(flags), zero(), zero(), zero(), zero()]);
    Ok(after_clone("clone of a child in a new user namespace", NAMESPACES, result))
}

fn clone3(flags: u64, what: &str) -> Judged {
    const EXIT_SIGNAL_AT: usize = 32;
    let exit_signal = libc::SIGCHLD as u64;
    let args = Pack::new().u64(flags).pad_to(EXIT_SIGNAL_AT).u64(exit_signal).pad_to(64).done();
    let result = call(libc::SYS_clone3, [Arg::In(&args), Arg::Int(args.len() as i64)]);
    Ok(after_clone(what, Reading { since: Some((5, 3)), ..NAMESPACES }, result))
}

/// The child of a clone like a fork's comes here too, and ends; the parent waits for it.
fn after_clone(what: &str, reading: Reading, result: Result<i64, Errno>) -> Verdict {
    match result {
        Ok(0) => loop {
            let _ = call(libc::SYS_exit_group, [Arg::Int(0)]);
        },
        Ok(pid) => {
            let _ = i32::try_from(pid).map(child::wait);
            Verdict::allowed(what)
        }
        Err(errno) => reading.judge_errno(what, errno),
    }
}

/// Joining the namespace one is in asks for the same rights as joining another (kernel/utsname.c, utsns_install).
fn setns(args: &[String]) -> Judged {
    let (pid, kind) = (text(args, 0, "self"), text(args, 1, "uts"));
    let what = format!("setns to the {kind} namespace of {pid}");
    let path = format!("/proc/{pid}/ns/{kind}");
    let c_path = c_path(&path)?;
    let flags = i64::from(libc::O_RDONLY | libc::O_CLOEXEC);
    let reading = Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS };
    let fd = call_fd(
        libc::SYS_openat,
        [Arg::Int(libc::AT_FDCWD.into()), Arg::Path(&c_path), Arg::Int(flags)],
    );
    match fd {
        Err(errno) => Ok(reading.judge_errno(&format!("open {path}"), errno)),
        Ok(fd) => {
            let result = call(libc::SYS_setns, [Arg::Int(fd.as_raw_fd().into()), Arg::Int(0)]);
            Ok(Reading::ALWAYS.judge(&what, result))
        }
    }
}

fn host_namespace(args: &[String]) -> Judged {
    let kind = text(args, 0, "");
    let first: u64 = match args.get(1) {
        Some(_) => number(args, 1, 0)?,
        // include/linux/proc_ns.h; mnt and net have had fixed numbers only since 6.18, so give an inode for them.
        None => match kind {
            "ipc" => 0xefff_ffff,
            "uts" => 0xefff_fffe,
            "user" => 0xefff_fffd,
            "pid" => 0xefff_fffc,
            "cgroup" => 0xefff_fffb,
            "time" => 0xefff_fffa,
            _ => {
                return Err(Stop::Usage(format!("{kind} needs the inode number to compare with")));
            }
        },
    };
    let link = namespace(kind)
        .ok_or_else(|| Stop::Unclear(format!("/proc/self/ns/{kind} cannot be read")))?;
    let link = link.to_string_lossy().into_owned();
    if link == format!("{kind}:[{first}]") {
        Ok(Verdict::allowed(format!("shares {link}")))
    } else {
        Ok(Verdict::denied(None, format!("is in {link}, not in {first}")))
    }
}

/// kthreadd is process 2 of the machine's first pid namespace and of no other.
fn host_pids(_: &[String]) -> Judged {
    needed("/proc", std::fs::symlink_metadata("/proc/self"))?;
    let name = std::fs::read_to_string("/proc/2/comm").unwrap_or_default();
    if name.trim_end() == "kthreadd" {
        Ok(Verdict::allowed("/proc/2 is kthreadd"))
    } else {
        Ok(Verdict::denied(None, format!("/proc/2 is {:?}, not kthreadd", name.trim_end())))
    }
}

fn namespace(kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/ns/{kind}")).ok()
}
