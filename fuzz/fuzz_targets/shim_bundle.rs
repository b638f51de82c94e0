//! What the shim reads from a bundle.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| containerd_shim_coaming::fuzzing::bundle(data));
