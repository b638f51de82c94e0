//! Input that nobody would write: whatever it is, it is read or refused.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::oracle::cases;
use super::{Function, Reading, Source, Target};

/// What profiles are made of, and what YAML is feared for.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ": ",
    "\n",
    "\n  ",
    "\n    - ",
    "---\n",
    "&a ",
    "*a",
    "? ",
    "| ",
    "!!binary ",
    "# ",
    "<<: ",
    "\"",
    "'",
    "null",
    "true",
    "0",
    "-1",
    "18446744073709551616",
    "1e999",
    "\u{0}",
    "\u{feff}",
    "\\ud800",
    "\"defaultAction\"",
    "defaultAction",
    "\"SCMP_ACT_ERRNO\"",
    "SCMP_ACT_ALLOW",
    "\"syscalls\"",
    "syscalls",
    "\"names\"",
    "names",
    "\"read\"",
    "[read]",
    "\"args\"",
    "args",
    "\"op\"",
    "SCMP_CMP_MASKED_EQ",
    "index",
    "\"value\"",
    "apiVersion",
    "\"apiVersion\"",
    "security-profiles-operator.x-k8s.io/v1beta1",
    "kind",
    "SeccompProfile",
    "spec",
    "metadata",
    "labels",
    "\"archMap\"",
    "\"includes\"",
    "\"caps\"",
    "\"minKernel\"",
    "\"flags\"",
];

const WHOLE: &[&str] = &[
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "flags": [], "syscalls": [{"names": ["read",
        "socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    r#"{"defaultAction": "SCMP_ACT_ERRNO", "archMap": [{"architecture": "SCMP_ARCH_X86_64"}], "syscalls": [{"name": "read",
        "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"], "minKernel": "4.8", "arches": ["amd64"]}}]}"#,
    "apiVersion: security-profiles-operator.x-k8s.io/v1\nkind: SeccompProfile\nmetadata: {name: a}\nspec:\n  \
     defaultAction: SCMP_ACT_KILL\n  syscalls:\n  - names: [read]\n    action: SCMP_ACT_ALLOW\n    args:\n    - {index: 0, \
     value: 1, op: SCMP_CMP_GT}\n",
];

/// Reads it, and does with it what is done with profiles.
fn read(bytes: &[u8]) -> bool {
    let Ok(source) = Source::parse(bytes) else { return false };
    let caps = BTreeSet::from(["CAP_BPF".to_owned()]);
    let Ok(profile) = source.resolve(&Target { caps: &caps, kernel: (6, 1) }) else { return false };
    for reading in [Reading::Runtime, Reading::Policy] {
        if let Ok(function) = Function::of(&profile, reading) {
            assert!(function.le(&function) && function.diff(&function).is_empty());
            let _ = (function.normal(), function.to_profile(), function.join(&function));
        }
    }
    true
}

#[test]
fn what_is_whole_is_read() {
    assert!(WHOLE.iter().all(|text| read(text.as_bytes())));
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn words_in_any_order_are_read_or_refused(tokens in proptest::collection::vec(proptest::sample::select(TOKENS), 0..24)) {
        read(tokens.concat().as_bytes());
    }

    #[test]
    fn bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        read(&bytes);
    }

    /// A profile with a piece taken out and another put in.
    #[test]
    fn profiles_that_were_damaged_are_read_or_refused(
        whole in proptest::sample::select(WHOLE),
        (at, length) in (any::<proptest::sample::Index>(), 0..8_usize),
        put in proptest::sample::select(TOKENS),
    ) {
        let bytes = whole.as_bytes();
        let start = at.index(bytes.len());
        let end = (start + length).min(bytes.len());
        let damaged = [&bytes[..start], put.as_bytes(), &bytes[end..]].concat();
        read(&damaged);
    }
}
