//! The strings that name a process's streams.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| containerd_shim_coaming::fuzzing::stream(data));
