//! AppArmor profiles and Landlock files that come with policies: read or refused; a profile that is taken is taken again
//! under the name that it has in the kernel, and no other name stands in its text.
#![no_main]

use coaming_policy::controls::app_armor::{Brought, check};
use coaming_policy::controls::landlock::parse_profile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(brought) = Brought::read(text) {
        let name = check(&brought.text).expect("what was taken is taken under its other name");
        assert_eq!(name.text, brought.kernel_name);
        assert_eq!(brought.text.len(), text.len() + brought.kernel_name.len() - brought.name.len());
    }
    let _ = parse_profile("fuzz.yaml", text.as_bytes());
});
