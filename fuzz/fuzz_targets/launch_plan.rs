//! Launch plans: one plan has one encoding, and nothing else is taken for it.
#![no_main]

use coaming_hooks::plan::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(plan) = Plan::decode(data) {
        assert_eq!(plan.encode().expect("what was decoded is encoded"), data);
    }
});
