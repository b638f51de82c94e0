//! The laws that every control keeps, as one suite: a control joins with a line in its tests.

use proptest::prelude::*;
use serde_json::Value;

use super::{Asked, Node, Rule};
use crate::facts::Facts;

/// Facts and a node for requests in tests.
pub(crate) fn request() -> (Facts, Node) {
    let facts = Facts::of("test", &Value::Null);
    let node = Node { landlock_abi: 7, kernel: (6, 18), ..Node::default() };
    (facts, node)
}

/// The spec after every remedy of `rule` is applied; panics where one has none.
pub(crate) fn enforced<R: Rule>(rule: &R, spec: &Value) -> Value {
    let (facts, node) = request();
    let mut after = spec.clone();
    for finding in rule.tighten(&Asked { spec, facts: &facts, node: &node, bounding: None }) {
        for edit in finding.remedy.unwrap_or_else(|| panic!("{} only refuses", finding.field)) {
            edit.apply(&mut after);
        }
    }
    after
}

/// Whether the request is within the rule.
pub(crate) fn is_within<R: Rule>(rule: &R, spec: &Value) -> bool {
    let (facts, node) = request();
    rule.tighten(&Asked { spec, facts: &facts, node: &node, bounding: None }).is_empty()
}

/// Holds `meet` and `tighten` to their laws on random rules and requests:
///
/// - `meet` is commutative, associative, idempotent, and `top` is its unit and asks nothing;
/// - a tightened request is within the rule, and tightening it again changes nothing;
/// - a request within `a.meet(b)` is within `a` and within `b`, so adding a policy widens nothing;
/// - a rule survives the record (serialising and reading back).
pub(crate) fn hold<R: Rule>(rules: impl Strategy<Value = R> + Clone, specs: impl Strategy<Value = Value>) {
    let inputs = (rules.clone(), rules.clone(), rules, specs);
    proptest!(ProptestConfig::with_cases(256), |((a, b, c, spec) in inputs)| {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(&a.meet(&a), &a);
        prop_assert_eq!(&a.meet(&R::top()), &a);
        prop_assert!(is_within(&R::top(), &spec));

        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&serde_json::from_str::<R>(&text).unwrap(), &a);

        let both = a.meet(&b);
        let (facts, node) = request();
        let asked = Asked { spec: &spec, facts: &facts, node: &node, bounding: None };
        let findings = both.tighten(&asked);
        if findings.iter().all(|finding| finding.remedy.is_some()) {
            let after = enforced(&both, &spec);
            prop_assert!(is_within(&both, &after), "not within after tightening: {after}");
            prop_assert_eq!(&enforced(&both, &after), &after);
            prop_assert!(is_within(&a, &after), "within the meet but not within a: {after}");
            prop_assert!(is_within(&b, &after), "within the meet but not within b: {after}");
        } else {
            prop_assert!(!is_within(&a, &spec) || !is_within(&b, &spec));
        }
        // What both allow, the meet allows: no stricter than it need be.
        if is_within(&a, &spec) && is_within(&b, &spec) {
            prop_assert!(is_within(&both, &spec), "both allow, the meet does not: {spec}");
        }
    });
}
