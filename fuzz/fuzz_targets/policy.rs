//! Policy documents and the node's configuration: read or refused, never worse.
#![no_main]

use coaming_config::Configuration;
use coaming_policy::document::parse_policies;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Configuration::parse("fuzz.toml", text);
    if let Ok(policies) = parse_policies("fuzz.yaml", text) {
        for policy in policies {
            let _ = policy.floor("fuzz.yaml", &mut |_| Ok(b"{}".to_vec()));
        }
    }
});
