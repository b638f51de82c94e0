//! Other processes: their memory, their signals.

use std::os::fd::OwnedFd;

use super::{Attempt, needed, number, plain, with};
use crate::errno::Errno;
use crate::sys::child::{self, Companion};
use crate::sys::pack::Pack;
use crate::sys::{Arg, call, call_fd};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("ptrace", "attach to an own child", |_| {
        let companion = needed("start a child", Companion::start())?;
        seize(companion.pid())
    }),
    with("ptrace-pid", "<pid>", (1, 1), "attach to that process, without stopping it", |args| {
        seize(number(args, 0, 0)?)
    }),
    with(
        "process-vm-readv",
        "[pid]",
        (0, 1),
        "read the memory of an own child, or of pid",
        read_memory,
    ),
    with("proc-mem", "[pid]", (0, 1), "open /proc/PID/mem of an own child, or of pid", proc_mem),
    with(
        "pidfd-getfd",
        "[pid]",
        (0, 1),
        "take descriptor 0 of an own child, or of pid",
        pidfd_getfd,
    ),
    with("kill", "<pid>", (1, 1), "send signal 0 to pid", kill),
    with(
        "kill-term",
        "<pid>",
        (1, 1),
        "send SIGTERM to pid: give only a process that may end",
        kill_term,
    ),
];

const PROCESS: Reading = Reading { absent: &[libc::ESRCH], ..Reading::ALWAYS };

/// PTRACE_SEIZE does not stop its target, and the target is free again when this process ends (ptrace(2)).
fn seize(pid: i32) -> Judged {
    const PTRACE_SEIZE: i64 = 0x4206;
    let what = format!("ptrace seize of {pid}");
    let args = [Arg::Int(PTRACE_SEIZE), Arg::Int(pid.into()), Arg::Int(0), Arg::Int(0)];
    if let Err(errno) = call(libc::SYS_ptrace, args) {
        return Ok(PROCESS.judge_errno(&what, errno));
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    match tracer.map(|tracer| tracer.trim().parse::<i32>()) {
        Some(Ok(tracer)) if tracer != child::own_pid() => {
            Err(Stop::Unclear(format!("{what}: success, but its tracer is {tracer}")))
        }
        _ => Ok(Verdict::allowed(what)),
    }
}

/// A fork has the same memory at the same address. For another process an address that nobody maps is read: EFAULT
/// comes only after the access check (mm/process_vm_access.c).
fn read_memory(args: &[String]) -> Judged {
    let reading = Reading { since: None, ..PROCESS };
    let secret = *b"coaming!";
    if !args.is_empty() {
        let pid = number(args, 0, 0)?;
        let unmapped = Pack::new().u64(1).u64(8).done();
        let reading = Reading { reached: &[libc::EFAULT], ..reading };
        return Ok(reading.judge(&format!("read the memory of {pid}"), copy_from(pid, &unmapped)));
    }
    let companion = needed("start a child", Companion::start())?;
    let remote = Pack::new().address(&secret).u64(secret.len() as u64).done();
    match copy_from(companion.pid(), &remote) {
        Ok(copy) if copy == secret => Ok(Verdict::allowed("read a child's memory")),
        Ok(_) => Err(Stop::Unclear("success, but the bytes are not the child's".to_owned())),
        Err(errno) => Ok(reading.judge_errno("read a child's memory", errno)),
    }
}

/// Eight bytes from where `remote`, a struct iovec, points in `pid`.
fn copy_from(pid: i32, remote: &[u8]) -> Result<[u8; 8], Errno> {
    let mut copy = [0u8; 8];
    let length = copy.len() as u64;
    let local = Pack::new().address_mut(&mut copy).u64(length).done();
    let (one, also_one) = (Arg::Int(1), Arg::Int(1));
    call(
        libc::SYS_process_vm_readv,
        [Arg::Int(pid.into()), Arg::In(&local), one, Arg::In(remote), also_one, Arg::Int(0)],
    )?;
    // The kernel wrote behind the compiler's back, through the packed address.
    Ok(*std::hint::black_box(&mut copy))
}

fn proc_mem(args: &[String]) -> Judged {
    with_target(args, |pid| {
        let path = format!("/proc/{pid}/mem");
        let reading = Reading { absent: &[libc::ENOENT], ..Reading::ALWAYS };
        let result = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        Ok(reading.judge(&format!("open {path} for writing"), result.map_err(Errno::from)))
    })
}

fn pidfd_getfd(args: &[String]) -> Judged {
    with_target(args, |pid| {
        let since_5_6 = Reading { since: Some((5, 6)), ..PROCESS };
        let pidfd = match pidfd_open(pid) {
            Ok(pidfd) => pidfd,
            Err(errno) => return Ok(since_5_6.judge_errno(&format!("pidfd_open {pid}"), errno)),
        };
        let fd = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
        let result =
            call_fd(libc::SYS_pidfd_getfd, [Arg::Int(fd.into()), Arg::Int(0), Arg::Int(0)]);
        // EBADF: the access check passed, and that process has no descriptor 0 (kernel/pid.c).
        let reading = Reading { reached: &[libc::EBADF], ..since_5_6 };
        Ok(reading.judge(&format!("take descriptor 0 of {pid}"), result))
    })
}

fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    call_fd(libc::SYS_pidfd_open, [Arg::Int(pid.into()), Arg::Int(0)])
}

fn with_target(args: &[String], attempt: impl FnOnce(i32) -> Judged) -> Judged {
    if args.is_empty() {
        let companion = needed("start a child", Companion::start())?;
        attempt(companion.pid())
    } else {
        attempt(number(args, 0, 0)?)
    }
}

fn kill(args: &[String]) -> Judged {
    let pid = number(args, 0, 0)?;
    Ok(PROCESS.judge(&format!("signal 0 to {pid}"), child::kill(pid, 0)))
}

fn kill_term(args: &[String]) -> Judged {
    let pid: i32 = number(args, 0, 0)?;
    if pid <= 1 {
        return Err(Stop::Usage("only a single process, and not process 1".to_owned()));
    }
    Ok(PROCESS.judge(&format!("SIGTERM to {pid}"), child::kill(pid, libc::SIGTERM)))
}
