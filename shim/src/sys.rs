//! What needs unsafe code: SIGPIPE's disposition as it was before main, and a system call that no
//! library of ours wraps.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Run by the loader before main. Rust's runtime ignores SIGPIPE (library/std, `sys::init`), an
/// ignored signal stays ignored across execve (signal(7)), and so every process of every
/// container would get EPIPE in place of the signal. What the caller had set is known only now.
// SAFETY: the loader calls the functions in .init_array with (argc, argv, envp), which a C function
// may leave unread; this one calls nothing but sigaction(2) and touches one atomic.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note_sigpipe;

/// Gives SIGPIPE back the disposition that the caller passed on to us.
pub(crate) fn restore_sigpipe() -> nix::Result<()> {
    if SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the default action replaces no handler that other code relies on: the only one to
    // touch SIGPIPE is Rust's runtime, and the caller is about to leave this program by execve.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

extern "C" fn note_sigpipe() {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads; `now` is large enough, and all zeroes are a valid
    // sigaction.
    let ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// The kernel's Landlock ABI; 0 where it has none (landlock_create_ruleset(2), "version" flag).
pub(crate) fn landlock_abi() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel reads no memory: the attribute must be null and its size 0.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(abi).unwrap_or(0)
}
