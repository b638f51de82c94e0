//! Reading the plan: one regular file right below one directory, and not a byte too many.

use std::ffi::CStr;
use std::io::Read;

use coaming_hooks::plan::{MAX_SIZE, Plan};
use coaming_hooks::sys;

use crate::failure::Failure;

/// Where the wrapper has the runtime bind-mount the launch directory.
const DIRECTORY: &CStr = c"/dev/.coaming";

pub(crate) fn read(name: &CStr) -> Result<Plan, Failure> {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || !name.to_bytes().iter().all(plain) {
        return Err(Failure::PlanName);
    }
    let directory = sys::open(DIRECTORY, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .map_err(Failure::PlanOpen)?;
    // O_NONBLOCK: a FIFO in its place must be refused, not waited for.
    let flags = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = sys::file(sys::open_at(&directory, name, flags).map_err(Failure::PlanOpen)?);
    if !file.metadata().map_err(Failure::PlanRead)?.is_file() {
        return Err(Failure::PlanType);
    }
    let mut bytes = Vec::new();
    // One byte over the limit is enough for the decoder to refuse it.
    file.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes).map_err(Failure::PlanRead)?;
    Plan::decode(&bytes).map_err(Failure::Plan)
}
