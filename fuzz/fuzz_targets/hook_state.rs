//! A container's state on a hook's stdin: what is taken names one container and an absolute bundle.
#![no_main]

use coaming_hooks::state::State;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(state) = State::parse(data) {
        assert!(state.bundle.is_absolute() && state.pid >= 0);
        assert!(!state.id.is_empty() && !state.id.contains('/'));
    }
});
