//! Command lines: whatever is taken is taken again from its canonical form, and means the same.
#![no_main]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use coaming_shim::argv::Invocation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let argv: Vec<OsString> =
        data.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    if let Ok(invocation) = Invocation::parse(&argv) {
        assert_eq!(Invocation::parse(&invocation.to_argv()).as_ref(), Ok(&invocation));
    }
});
