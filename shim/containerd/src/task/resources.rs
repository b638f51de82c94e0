//! New limits, as containerd sends them: an OCI `linux.resources` object.
//!
//! runc refuses one of the wrong types, and crun takes what it understands; the client is told the same by both.

// Read to be checked, and passed on as they came.
#![allow(dead_code)]

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// What is wrong with them.
pub(crate) fn check(resources: &[u8]) -> Result<(), String> {
    // All of it is text, what is not looked at too: it is handed on.
    let text = std::str::from_utf8(resources).map_err(|error| error.to_string())?;
    serde_json::from_str::<Resources>(text).map(drop).map_err(|error| error.to_string())
}

/// The types of the runtime specification (config-linux.md, "Control groups"). Null is absent, as for Go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resources {
    devices: Option<Vec<Map<String, Value>>>,
    memory: Option<Memory>,
    cpu: Option<Cpu>,
    pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    block_io: Option<Map<String, Value>>,
    hugepage_limits: Option<Vec<HugepageLimit>>,
    network: Option<Map<String, Value>>,
    rdma: Option<HashMap<String, Map<String, Value>>>,
    unified: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    limit: Option<i64>,
    reservation: Option<i64>,
    swap: Option<i64>,
    kernel: Option<i64>,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Option<i64>,
    swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller")]
    disable_oom_killer: Option<bool>,
    use_hierarchy: Option<bool>,
    check_before_update: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    shares: Option<u64>,
    quota: Option<i64>,
    burst: Option<u64>,
    period: Option<u64>,
    realtime_runtime: Option<i64>,
    realtime_period: Option<u64>,
    cpus: Option<String>,
    mems: Option<String>,
    idle: Option<i64>,
}

#[derive(Deserialize)]
struct Pids {
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HugepageLimit {
    page_size: Option<String>,
    limit: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_specification() {
        for good in [
            "{}",
            r#"{"memory":{"limit":-1,"swap":null},"cpu":{"shares":2,"cpus":"0-1"},"new":{"x":1}}"#,
            r#"{"unified":{"memory.high":"1"},"pids":{"limit":5},"devices":[{"allow":false}]}"#,
        ] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in [
            "",
            "[]",
            "7",
            r#"{"memory":{"limit":"much"}}"#,
            r#"{"cpu":{"shares":-1}}"#,
            r#"{"unified":{"memory.high":1}}"#,
            r#"{"devices":{}}"#,
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
