//! The profiles that are compiled in: reviewed data in `builtin/seccomp/`.

use std::sync::OnceLock;

use super::Source;

/// What containerd's and Docker's default profiles allow, less io_uring, x32 and the socket families AF_ALG and AF_VSOCK.
const RUNTIME_DEFAULT: &str = include_str!("../builtin/seccomp/runtime-default.json");

/// A built-in profile by name; the only one is `runtime-default`.
pub fn builtin(name: &str) -> Option<&'static Source> {
    static PROFILE: OnceLock<Option<Source>> = OnceLock::new();
    match name {
        // A test reads the text, so that it always parses.
        "runtime-default" => PROFILE
            .get_or_init(|| Source::parse(RUNTIME_DEFAULT.as_bytes()).ok())
            .as_ref(),
        _ => None,
    }
}
