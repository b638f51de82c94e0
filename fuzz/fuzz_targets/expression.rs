//! Expressions: read or refused, and evaluated over annotations and a spec in a bounded number of steps.
#![no_main]

use coaming_policy::expression::{FactsExpression, SpecExpression};
use coaming_policy::facts::Facts;
use coaming_policy::json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (text, document) = input;
    // Most random bytes are no spec; the expressions are to be evaluated all the same.
    let spec = json::parse_spec(document).unwrap_or_else(|_| {
        serde_json::json!({
            "annotations": {"a": text, "b": "b"},
            "process": {"args": ["sh", text], "user": {"uid": 0}},
            "linux": {"namespaces": [{"type": "pid"}, {"type": "user", "path": text}]},
        })
    });
    let facts = Facts::of("fuzz", &spec);
    if let Ok(expression) = FactsExpression::parse(text) {
        assert!(SpecExpression::parse(text).is_ok(), "what speaks of facts alone speaks of more");
        assert_eq!(expression.evaluate(&facts), expression.evaluate(&facts));
        let kept = serde_json::to_string(&expression).expect("text is written");
        assert_eq!(serde_json::from_str::<FactsExpression>(&kept).expect("and read again"), expression);
    }
    if let Ok(expression) = SpecExpression::parse(text) {
        let _ = expression.evaluate(&facts, &spec);
    }
});
