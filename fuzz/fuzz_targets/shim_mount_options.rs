//! The options of a root file system's mounts.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| containerd_shim_coaming::fuzzing::mount_options(data));
