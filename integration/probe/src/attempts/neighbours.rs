//! Processes of others: what /proc and pidfds give of them beyond their memory.

use std::os::fd::AsRawFd;

use super::{Attempt, needed, number, plain, with};
use crate::errno::Errno;
use crate::sys::child::{self, Companion};
use crate::sys::pack::Pack;
use crate::sys::{Arg, call, call_fd};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with("proc-root", "<pid>", (1, 1), "list the root directory of that process", proc_root),
    with("proc-environ", "<pid>", (1, 1), "read the environment of that process", proc_environ),
    with(
        "nsenter",
        "<pid>",
        (1, 1),
        "join the mount, uts, ipc and network namespaces of that process by a pidfd",
        nsenter,
    ),
    plain("process-vm-writev", "write the memory of an own child", write_memory),
    plain("kcmp", "compare an own child's files with one's own", kcmp),
    plain("process-madvise", "advise the kernel on an own child's memory", process_madvise),
];

const PROCESS: Reading = Reading { absent: &[libc::ESRCH, libc::ENOENT], ..Reading::ALWAYS };

/// Following the link asks what ptrace asks (fs/proc/base.c, proc_fd_access_allowed).
fn proc_root(args: &[String]) -> Judged {
    let path = format!("/proc/{}/root/", number::<i32>(args, 0, 0)?);
    let listed = std::fs::read_dir(&path).map(Iterator::count).map_err(Errno::from);
    Ok(PROCESS.judge(&format!("list {path}"), listed))
}

fn proc_environ(args: &[String]) -> Judged {
    let path = format!("/proc/{}/environ", number::<i32>(args, 0, 0)?);
    let read = std::fs::read(&path).map_err(Errno::from);
    Ok(PROCESS.judge(&format!("read {path}"), read))
}

/// The attempt's own process moves, and ends.
fn nsenter(args: &[String]) -> Judged {
    let pid: i32 = number(args, 0, 0)?;
    let reading = Reading { since: Some((5, 8)), ..PROCESS };
    let pidfd = match call_fd(libc::SYS_pidfd_open, [Arg::Int(pid.into()), Arg::Int(0)]) {
        Ok(pidfd) => pidfd,
        Err(errno) => return Ok(reading.judge_errno(&format!("pidfd_open {pid}"), errno)),
    };
    let kinds = libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWNET;
    let result =
        call(libc::SYS_setns, [Arg::Int(pidfd.as_raw_fd().into()), Arg::Int(i64::from(kinds))]);
    Ok(reading.judge(&format!("setns to the namespaces of {pid}"), result))
}

/// A fork has the same memory at the same address: what is written there is the child's alone.
fn write_memory(_: &[String]) -> Judged {
    let mut place = *b"untouched";
    let companion = needed("start a child", Companion::start())?;
    let words = *b"escaped!!";
    let local = Pack::new().address(&words).u64(words.len() as u64).done();
    let length = place.len() as u64;
    let remote = Pack::new().address_mut(&mut place).u64(length).done();
    let (one, also_one) = (Arg::Int(1), Arg::Int(1));
    let pid = Arg::Int(companion.pid().into());
    let result = call(
        libc::SYS_process_vm_writev,
        [pid, Arg::In(&local), one, Arg::In(&remote), also_one, Arg::Int(0)],
    );
    Ok(PROCESS.judge("write a child's memory", result))
}

fn kcmp(_: &[String]) -> Judged {
    const KCMP_FILES: i64 = 2;
    let companion = needed("start a child", Companion::start())?;
    let own = Arg::Int(child::own_pid().into());
    let result = call(
        libc::SYS_kcmp,
        [own, Arg::Int(companion.pid().into()), Arg::Int(KCMP_FILES), Arg::Int(0), Arg::Int(0)],
    );
    Ok(Reading { since: None, ..PROCESS }.judge("kcmp of a child's files", result))
}

/// MADV_COLD only moves pages; the range is a page of the child's stack, which it has too.
fn process_madvise(_: &[String]) -> Judged {
    const MADV_COLD: i64 = 20;
    const PAGE: u64 = 4096;
    let mark = [0u8; 8];
    let companion = needed("start a child", Companion::start())?;
    let reading = Reading { since: Some((5, 10)), ..PROCESS };
    let pid = Arg::Int(companion.pid().into());
    let pidfd = match call_fd(libc::SYS_pidfd_open, [pid, Arg::Int(0)]) {
        Ok(pidfd) => pidfd,
        Err(errno) => return Ok(reading.judge_errno("pidfd_open of a child", errno)),
    };
    let page = mark.as_ptr() as u64 & !(PAGE - 1);
    let range = Pack::new().u64(page).u64(PAGE).done();
    let fd = Arg::Int(pidfd.as_raw_fd().into());
    let result = call(
        libc::SYS_process_madvise,
        [fd, Arg::In(&range), Arg::Int(1), Arg::Int(MADV_COLD), Arg::Int(0)],
    );
    match result {
        Err(Errno(libc::EINVAL)) => {
            Err(Stop::Unclear("process_madvise: EINVAL, this advice is not for others".to_owned()))
        }
        result => Ok(reading.judge("process_madvise of a child", result)) as Result<Verdict, Stop>,
    }
}
