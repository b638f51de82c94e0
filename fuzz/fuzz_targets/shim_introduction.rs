//! What containerd says to the shim's `start` on standard input.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| containerd_shim_coaming::fuzzing::introduction(data));
