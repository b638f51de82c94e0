//! seccomp profiles: whatever is written back means no more than what was read.
#![no_main]

use std::collections::BTreeSet;

use coaming_policy::seccomp::{Function, Reading, Source, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(source) = Source::parse(data) else { return };
    let caps = BTreeSet::from(["CAP_SYS_ADMIN".to_owned()]);
    let Ok(profile) = source.resolve(&Target { caps: &caps, kernel: (6, 18) }) else { return };
    let Ok(function) = Function::of(&profile, Reading::Runtime) else { return };
    if let Ok(written) = function.to_profile() {
        let again = Function::of(&written, Reading::Runtime).expect("what was written is read");
        assert!(again.le(&function));
    }
});
