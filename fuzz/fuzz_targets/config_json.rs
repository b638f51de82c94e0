//! `config.json`: whatever is admitted is within the floor, and admitted again unchanged.
#![no_main]

use coaming_policy::builtin;
use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::document::BuiltIn;
use coaming_policy::facts::Facts;
use coaming_policy::json;
use coaming_policy::verdict::Verdict;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = json::parse_process(data);
    let _ = json::parse_resources(data);
    let Ok(spec) = json::parse_spec(data) else { return };
    let facts = Facts::of("fuzz", &spec);
    let node = Node { landlock_abi: 7, kernel: (6, 18), ..Node::default() };
    let floor = builtin::floor(BuiltIn::Baseline).expect("the built-in floor is read");
    let ask = |spec| {
        let request =
            Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
        decide(&request, &floor)
    };
    if let Verdict::Admit(admission) = ask(&spec) {
        match ask(&admission.spec) {
            Verdict::Admit(again) => assert_eq!(again.spec, admission.spec),
            Verdict::Refuse(refusal) => panic!("admitted, then refused: {refusal}"),
        }
    }
});
