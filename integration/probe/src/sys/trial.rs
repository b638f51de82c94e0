//! Calls under a filter that may refuse, trap or kill: made one after the other in a child that makes no others, and told
//! to the parent through memory that the two share.

use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use super::call::last;
use super::child;
use crate::errno::Errno;

/// By which door a call enters an x86-64 kernel. x32 comes by the first, with bit 30 of the number set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Syscall,
    Int80,
}

/// One call to make. Its arguments are numbers that are no addresses of this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trial {
    pub(crate) entry: Entry,
    pub(crate) nr: u32,
    pub(crate) args: [u64; 6],
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It returned: an errno below 0, as the kernel gives it.
    Returned(i64),
    /// SIGSYS to a handler, with si_errno.
    Trapped(i64),
    /// The process died of a signal.
    Signal(i32),
    /// The process ended by itself.
    Exited,
    /// It did not come back within a second.
    Hung,
}

/// No answer yet, and a trap's: values that no call returns.
const OPEN: i64 = i64::MIN;
const TRAPPED: i64 = i64::MIN + (1 << 32);
/// Words before the answers: which call is being made.
const HEAD: usize = 1;

/// Where the handler finds the answers.
static SHARED: AtomicPtr<AtomicI64> = AtomicPtr::new(std::ptr::null_mut());

/// Makes each call. `confine` comes first in each child, which has no descriptors then.
pub(crate) fn all(
    trials: &[Trial],
    confine: impl Fn() -> Result<(), Errno>,
) -> Result<Vec<End>, Errno> {
    let answers = share(HEAD + trials.len())?;
    let [current, answers @ ..] = answers else { return Err(Errno(libc::ENOMEM)) };
    child::block_sigchld();
    let mut ends = Vec::with_capacity(trials.len());
    while ends.len() < trials.len() {
        let from = ends.len();
        current.store(-1, Ordering::Relaxed);
        let pid = child::fork(|| {
            let prepared = prepare().and_then(|()| confine());
            let Ok(()) = prepared else { return 1 };
            for (at, (trial, answer)) in trials.iter().zip(answers).enumerate().skip(from) {
                current.store(at as i64, Ordering::Relaxed);
                answer.store(enter(trial), Ordering::Relaxed);
            }
            // Not by exit(2), which the filter may answer with anything.
            stop()
        })?;
        let end = outlive(pid, current)?;
        let reached = usize::try_from(current.load(Ordering::Relaxed)).map_err(|_| {
            // It could not even be confined.
            Errno(libc::EPERM)
        })?;
        for answer in answers.iter().take(reached + 1).skip(from) {
            ends.push(match answer.load(Ordering::Relaxed) {
                OPEN => end,
                trapped if trapped & TRAPPED_MASK == TRAPPED => End::Trapped(trapped - TRAPPED),
                value => End::Returned(value),
            });
        }
    }
    Ok(ends)
}

const TRAPPED_MASK: i64 = !0xffff_ffff;

/// How the child ended; killed when it makes no progress.
fn outlive(pid: i32, current: &AtomicI64) -> Result<End, Errno> {
    let mut seen = None;
    loop {
        child::await_sigchld(1);
        if let Some(exit) = child::try_wait(pid)? {
            return Ok(match exit {
                child::Exit::Signal(libc::SIGKILL) if seen == Some(i64::MAX) => End::Hung,
                child::Exit::Signal(signal) => End::Signal(signal),
                child::Exit::Code(_) => End::Exited,
            });
        }
        let now = current.load(Ordering::Relaxed);
        if seen == Some(now) {
            child::kill(pid, libc::SIGKILL)?;
            seen = Some(i64::MAX);
        } else if seen != Some(i64::MAX) {
            seen = Some(now);
        }
    }
}

/// Zeroed memory that children share, filled with [`OPEN`].
fn share(words: usize) -> Result<&'static [AtomicI64], Errno> {
    // SAFETY: a fresh anonymous mapping of the right size and alignment, never unmapped; atomics of any bits are valid.
    let words = unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            words * size_of::<AtomicI64>(),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page == libc::MAP_FAILED {
            return Err(last());
        }
        SHARED.store(page.cast(), Ordering::Relaxed);
        std::slice::from_raw_parts(page.cast::<AtomicI64>(), words)
    };
    words.iter().for_each(|word| word.store(OPEN, Ordering::Relaxed));
    Ok(words)
}

/// No terminal, no core file, no descriptor to hit by chance; traps are written down.
fn prepare() -> Result<(), Errno> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the action is zeroed before its two fields are set; all pointers are to locals.
    let result = unsafe {
        libc::setsid();
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = trapped as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    if result == -1 { Err(last()) } else { Ok(()) }
}

/// The handler: returning would be a call (sigreturn), so it does not.
extern "C" fn trapped(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    const SYS_SECCOMP: libc::c_int = 1;
    let shared = SHARED.load(Ordering::Relaxed);
    // SAFETY: the kernel gives a valid siginfo; the shared words were mapped before the handler was installed, and the
    // first of them is an index into the rest.
    unsafe {
        if (*info).si_code == SYS_SECCOMP
            && let Ok(at) = usize::try_from((*shared).load(Ordering::Relaxed))
        {
            let answer = &*shared.add(HEAD + at);
            answer.store(TRAPPED + i64::from((*info).si_errno), Ordering::Relaxed);
        }
    }
    stop()
}

/// Ends the process without a call: SIGILL.
fn stop() -> ! {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: an invalid instruction by definition, at which the process ends.
    unsafe {
        core::arch::asm!("ud2", options(noreturn))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::process::abort()
}

#[cfg(target_arch = "x86_64")]
fn enter(trial: &Trial) -> i64 {
    let [a, b, c, d, e, f] = trial.args;
    match trial.entry {
        Entry::Syscall => {
            let result: i64;
            // SAFETY: the planner lets no call through that touches this process's memory or ends it; the kernel
            // clobbers rcx and r11.
            unsafe {
                core::arch::asm!(
                    "syscall",
                    inlateout("rax") i64::from(trial.nr) => result,
                    in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
                    lateout("rcx") _, lateout("r11") _,
                );
            }
            result
        }
        Entry::Int80 => {
            let args = trial.args.map(|arg| arg as u32);
            let result: u64;
            // SAFETY: as above; rbx and rbp, which the compiler keeps for itself, are saved and restored; r8 to r11 are
            // declared lost (kernels before 4.17 clear them on this path).
            unsafe {
                core::arch::asm!(
                    "push rbx",
                    "push rbp",
                    "mov ebx, dword ptr [r12]",
                    "mov ecx, dword ptr [r12 + 4]",
                    "mov edx, dword ptr [r12 + 8]",
                    "mov esi, dword ptr [r12 + 12]",
                    "mov edi, dword ptr [r12 + 16]",
                    "mov ebp, dword ptr [r12 + 20]",
                    "int 0x80",
                    "pop rbp",
                    "pop rbx",
                    in("r12") args.as_ptr(),
                    inlateout("rax") u64::from(trial.nr) => result,
                    out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            // The 32-bit entry gives a 32-bit result.
            i64::from(result as u32 as i32)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn enter(_: &Trial) -> i64 {
    i64::from(-libc::ENOSYS)
}
