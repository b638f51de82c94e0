//! System calls by number, with memory that the borrow checker knows of.

use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

use crate::errno::Errno;

/// One argument. Memory goes in as a borrow, never as an integer, except inside a packed struct (sys::pack), whose
/// maker keeps what it points at alive for the call.
pub(crate) enum Arg<'a> {
    Int(i64),
    Path(&'a CStr),
    In(&'a [u8]),
    Out(&'a mut [u8]),
}

/// Calls `nr`. Callers never pass a call that changes this process's own memory map.
pub(crate) fn call<const N: usize>(nr: i64, args: [Arg<'_>; N]) -> Result<i64, Errno> {
    let mut words = [0i64; 6];
    for (word, arg) in words.iter_mut().zip(args) {
        *word = match arg {
            Arg::Int(value) => value,
            Arg::Path(path) => path.as_ptr() as i64,
            Arg::In(bytes) => bytes.as_ptr() as i64,
            Arg::Out(bytes) => bytes.as_mut_ptr() as i64,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: every address among the arguments is a borrow that outlives the call, of the size the caller tells the
    // kernel; calls that touch other memory of this process are excluded by the contract above.
    let result = unsafe { libc::syscall(nr, a, b, c, d, e, f) };
    if result == -1 { Err(last()) } else { Ok(result) }
}

/// Calls `nr`, which returns a new descriptor.
pub(crate) fn call_fd<const N: usize>(nr: i64, args: [Arg<'_>; N]) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(call(nr, args)?).map_err(|_| Errno(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The error number of the libc call that just failed.
pub(crate) fn last() -> Errno {
    Errno::from(std::io::Error::last_os_error())
}
