//! New limits for a container.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| containerd_shim_coaming::fuzzing::resources(data));
