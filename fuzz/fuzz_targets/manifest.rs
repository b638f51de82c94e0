//! Kubernetes manifests: read or refused, and what is planned is a spec that the gate reads and judges.
#![no_main]

use coaming_manifest::read;
use coaming_policy::builtin;
use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::document::BuiltIn;
use coaming_policy::facts::Facts;
use coaming_policy::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(manifests) = read("fuzz.yaml", text) else { return };
    let floor = builtin::floor(BuiltIn::Baseline).expect("the built-in floor is read");
    for planned in manifests.pods.iter().flat_map(|pod| &pod.containers) {
        let bytes = planned.spec.to_string();
        let spec = json::parse_spec(bytes.as_bytes()).expect("a planned spec is one");
        assert_eq!(spec, planned.spec);
        let facts = Facts::of("fuzz", &spec);
        assert!(facts.namespace.is_some() && facts.pod.is_some());
        let node = Node { landlock_abi: 7, kernel: (6, 18), ..Node::default() };
        let request = Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
        let _ = decide(&request, &floor);
    }
});
