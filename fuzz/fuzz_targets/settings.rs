//! The node's configuration, and versions as runtimes tell them: read or refused.
#![no_main]

use coaming_config::Configuration;
use coaming_policy::runtime_versions::Version;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Configuration::parse("config.toml", text);
    if let Some(version) = Version::parse(text) {
        assert!(version == Version::parse(text).expect("the same again"));
        assert!(version.cmp(&version).is_eq());
    }
});
