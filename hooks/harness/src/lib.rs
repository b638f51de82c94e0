//! Tests OCI hooks, anyone's, against real runtimes.
//!
//! A hook is given to a runtime wrapped in a recorder, in a throw-away container, in each phase that is asked
//! for; [`test`] says what the hook was given, what it did and changed, and what the runtime does when a
//! hook of that phase fails or hangs. [`findings::of`] judges it.
//!
//! All of it happens in the program `coaming-hook-test`, which is static and has three roles: it drives the
//! runtimes from within PID and mount namespaces of its own, so that nothing outlives it; it is the recorder
//! in front of the hook; and it is the container's only process. Root alone can do this.
//!
//! ```no_run
//! use coaming_hook_harness::{Phase, Request, findings, test};
//!
//! # fn main() -> Result<(), coaming_hook_harness::HarnessError> {
//! let request = Request::new(["/usr/bin/runc"], [Phase::CreateRuntime], ["/usr/libexec/my-hook", "run"]);
//! let report = test("/usr/libexec/coaming/coaming-hook-test".as_ref(), &request)?;
//! for finding in findings::of(&report) {
//!     println!("{finding}");
//! }
//! # Ok(())
//! # }
//! ```

mod client;
pub mod driver;
pub mod findings;
pub mod recorder;
mod report;
mod request;
mod state;
mod sys;

pub use client::{HarnessError, test};
pub use report::{
    Call, Case, Changed, Changes, Did, OnFailure, OnHang, Program, Report, Seen, StateSeen,
};
pub use request::{Phase, Request};
