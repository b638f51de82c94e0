//! What of CEL may be used, what it comes to, and that no expression runs away.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

fn facts() -> Facts {
    let spec = json!({"annotations": {
        "io.kubernetes.cri.sandbox-namespace": "payments",
        "io.kubernetes.cri.sandbox-name": "ledger-0",
        "io.kubernetes.cri.image-name": "reg/ledger:1",
        "team": "ledger",
    }, "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}]}});
    Facts::of("c", &spec)
}

fn of_facts(text: &str) -> Outcome {
    FactsExpression::parse(text)
        .unwrap_or_else(|error| panic!("{text}: {error}"))
        .evaluate(&facts())
}

fn of_spec(text: &str, spec: &Value) -> Outcome {
    let read = SpecExpression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    read.evaluate(&facts(), spec)
}

#[test]
fn facts_are_asked_by_their_names() {
    for text in [
        "podNamespace.startsWith('pay') && !userNamespace",
        "podNamespace == \"payments\" && pod.endsWith('-0') && image.contains('ledger')",
        "containerType == 'container' && door == 'create' && id == 'c'",
        "annotations['team'] == 'ledger' && annotations.team == 'ledger'",
        "'team' in annotations && has(annotations.team) && !has(annotations.other)",
        "podNamespace in ['shop', 'payments']",
        "annotations.exists(key, key.startsWith('io.kubernetes.cri.'))",
        "size(imageDigests) == 0 && imageDigests.size() < 1 && !imageDigests.exists(d, d == 'x')",
        "runtime == '' && container == '' && podUID == ''",
        "!hostNetwork && !hostPID && !hostIPC && !privileged",
        "podNamespace.size() >= 8 && size(podNamespace) <= 8 && podNamespace > 'a'",
        "userNamespace ? false : true",
        "['a', 'b'].all(x, x != 'c') && ['a', 'b'].exists_one(x, x == 'a')",
        "['a', 'b', 'a'].filter(x, x == 'a').size() == 2 && ['x'][0] == 'x'",
    ] {
        assert_eq!(of_facts(text), Outcome::True, "{text}");
    }
    for text in
        ["podNamespace == 'shop'", "pod.contains('x') || privileged", "[1, 2].all(x, x > 1)"]
    {
        assert_eq!(of_facts(text), Outcome::False, "{text}");
    }
}

#[test]
fn the_spec_is_asked_by_its_fields() {
    let spec = json!({"process": {"user": {"uid": 0}, "args": ["sh", "-c"]}, "linux": {"seccomp": null,
        "namespaces": [{"type": "pid", "path": "/proc/1/ns/pid"}, {"type": "ipc"}]}});
    for text in [
        "spec.linux.namespaces.exists(n, n.type == 'pid' && has(n.path))",
        "spec.process.user.uid == 0 && spec.process.args[0] == 'sh'",
        "!has(spec.linux.seccomp) && !has(spec.hooks) && has(spec.process)",
        "spec.process.args == ['sh', '-c'] && 'sh' in spec.process.args",
        "spec.linux.namespaces[1] != spec.linux.namespaces[0]",
        "spec.linux.namespaces.filter(n, has(n.path)).size() == 1 && podNamespace == 'payments'",
    ] {
        assert_eq!(of_spec(text, &spec), Outcome::True, "{text}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_a_fault_unless_another_side_decides() {
    let spec = json!({"a": {"b": 1.5, "s": "x"}, "list": [{"v": 1}, {}]});
    for (text, words) in [
        ("spec.hooks.poststop == 'x'", "no hooks"),
        ("annotations['none'] == 'x'", "no none"),
        ("spec.a.b == 1", "whole number"),
        ("spec.a.s", "true or false"),
        ("spec.a.startsWith('x')", "a text"),
        ("spec.list[2].v == 1", "element 2"),
        ("spec.list.all(e, e.v == 1)", "no v"),
        ("labels.app == 'x'", "labels is not known"),
        ("spec.list.exists_one(e, e.v == 2)", "no v"),
    ] {
        let outcome = of_spec(text, &spec);
        let Outcome::Fault(why) = &outcome else { panic!("{text}: {outcome:?}") };
        assert!(why.contains(words), "{text}: {why}");
    }
    for text in [
        "spec.none.x == 1 || true",
        "true || spec.none.x == 1",
        "!(spec.none.x == 1 && false)",
        "spec.list.exists(e, e.v == 1)",
        "!spec.list.all(e, e.v == 2)",
    ] {
        assert_eq!(of_spec(text, &spec), Outcome::True, "{text}");
    }
}

#[test]
fn values_that_contradict_each_other_are_each_taken() {
    let spec = json!({"annotations": {
        "io.kubernetes.cri.sandbox-namespace": "payments", "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.cri.sandbox-name": "a", "io.kubernetes.pod.name": "b",
    }});
    let facts = Facts::of("c", &spec);
    let outcome = |text: &str| FactsExpression::parse(text).unwrap().evaluate(&facts);
    assert_eq!(outcome("podNamespace == 'shop'"), Outcome::Contradictory);
    assert_eq!(outcome("podNamespace == 'shop' && pod == 'a'"), Outcome::Contradictory);
    assert_eq!(outcome("podNamespace == 'shop' || podNamespace == 'payments'"), Outcome::True);
    assert_eq!(outcome("podNamespace == 'shop' && podNamespace == 'payments'"), Outcome::False);
    assert_eq!(outcome("id == 'c'"), Outcome::True);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, words) in [
        ("", "empty"),
        ("podNamespace ==", "column"),
        (
            "podNamespace == 'a' &&\n  pods == 'b'",
            "line 2, column 3 of the expression: unknown variable \"pods\"; did you mean \"pod\"?",
        ),
        ("podNamespace", "column 1 of the expression: the expression gives a text"),
        ("namespace == 'a'", "the pod's namespace is podNamespace"),
        ("1", "gives a whole number"),
        (
            "podNamespace == 1",
            "column 14 of the expression: a text and a whole number are never equal",
        ),
        ("podNamespace.startsWith(1)", "startsWith needs a text"),
        ("podNamespace.beginsWith('a')", "unknown function \"beginsWith\""),
        ("podNamespace.matches('a+')", "regular expressions are not supported"),
        ("podNamespace + 'a' == 'b'", "arithmetic is not supported"),
        ("['a'].map(x, x) == ['a']", "map() is not supported"),
        ("['a'].map(x, x == 'a', x == 'b').size() == 1", "map() is not supported"),
        ("['a', 1].size() == 2", "cannot hold"),
        ("userNamespace < true", "compares numbers or texts"),
        ("!podNamespace", "! needs true or false"),
        ("podNamespace.foo == 'a'", "has no field foo"),
        ("annotations.team.x == 'a'", "has no field x"),
        ("spec.process.terminal", "spec.refuse can ask for it"),
        ("podNamespace == null", "has()"),
        ("podNamespace in 'abc'", "is never in"),
        ("1.5 > 1.0", "whole"),
        ("{'a': 'b'}.a == 'b'", "maps cannot be written"),
        ("podNamespace.exists(x, x == 'a')", "no elements"),
        ("size(userNamespace) == 1", "has no size"),
        ("podNamespace.size(1) == 1", "not called like this"),
        ("has(podNamespace)", "column"),
        ("annotations.?team == 'a'", "column"),
    ] {
        let error = FactsExpression::parse(text).expect_err(text);
        assert!(error.contains(words), "{text}: {error}");
        assert!(text.is_empty() || error.contains("column"), "{text}: {error}");
    }
}

#[test]
fn length_depth_parts_and_loops_are_limited() {
    let deep = |open: &str, close: &str, times: usize| {
        format!("{}true{}", open.repeat(times), close.repeat(times))
    };
    let nested = |loops: usize| {
        (0..loops).fold("true".to_owned(), |body, n| format!("[1].all(x{n}, {body})"))
    };
    assert!(FactsExpression::parse(&nested(MAX_LOOPS)).is_ok());
    assert!(FactsExpression::parse(&nested(MAX_LOOPS + 1)).unwrap_err().contains("nested 2 deep"));
    assert!(FactsExpression::parse(&deep("(", ")", 20)).is_ok());
    let long = format!("podNamespace == '{}'", "a".repeat(MAX_LENGTH));
    assert!(FactsExpression::parse(&long).unwrap_err().contains("2048 are allowed"));
    let fill = |part: &str| part.repeat(MAX_LENGTH / part.len() - 2);
    for text in [
        deep("(", ")", 1000),
        deep("[", "]", 1000),
        deep("!(", ")", 600),
        format!("{}true", fill("!")),
        format!("{}1 == 1", fill("-")),
        format!("annotations{} == 'x'", ".a".repeat(900)),
        format!("annotations{} == 'x'", "[\"a\"]".repeat(300)),
        format!("true{}", "&&true".repeat(300)),
        format!("true{}", "||true".repeat(300)),
        format!("[{}1].size() == 1", "1,".repeat(900)),
        format!("{}1", fill("true?1:")),
        fill("{"),
        fill("[{"),
        fill("a.b("),
        fill("'"),
        fill("!{[("),
        fill("a?b:"),
        fill("[x].all(x,"),
    ] {
        // On a stack that is much smaller than a program's own.
        let error = std::thread::Builder::new()
            .stack_size(1024 * 1024)
            .spawn(move || (FactsExpression::parse(&text).is_err(), text))
            .unwrap()
            .join()
            .unwrap();
        // Parentheses and signs leave nothing in the tree, and chains are balanced.
        let fits = ["((", "&&", "||", "!!", "--"].iter().any(|part| error.1.contains(part));
        assert!(error.0 || fits, "{}", error.1);
    }
}

/// The dearest that the limits admit, over the largest annotations that are kept: it ends in a fault, and
/// soon.
#[test]
fn the_worst_expression_over_the_largest_annotations_ends() {
    let few: serde_json::Map<String, Value> =
        (0..2).map(|n| (format!("k{n}"), Value::String("a".repeat(120 * 1024)))).collect();
    let many: serde_json::Map<String, Value> =
        (0..20_000).map(|n| (format!("k{n:05}"), Value::String("aa".to_owned()))).collect();
    let body = "annotations[a].contains('b') || annotations[b].contains(a) || ".repeat(20);
    let loops = format!("annotations.exists(a, annotations.exists(b, {body} false))");
    let equal = format!(
        "annotations.all(a, annotations.all(b, {} annotations == annotations))",
        "annotations == annotations && ".repeat(30)
    );
    for (annotations, text) in [
        (&few, &loops),
        (&many, &loops),
        (&many, &"annotations.all(a, annotations.all(b, a.size() == b.size()))".to_owned()),
        (&many, &equal),
        (&few, &equal),
    ] {
        let facts = Facts::of("c", &json!({"annotations": annotations}));
        assert!(facts.annotations.is_some());
        let expression = FactsExpression::parse(text).unwrap();
        let started = Instant::now();
        let outcome = expression.evaluate(&facts);
        assert!(started.elapsed() < Duration::from_secs(5), "{text}: {:?}", started.elapsed());
        let ran_out = matches!(&outcome, Outcome::Fault(why) if why.contains("200000 steps"));
        assert!(ran_out, "{text}: {outcome:?}");
    }
}

/// What a client writes costs steps even where nothing comes of it: nulls, and keys that are long.
#[test]
fn nulls_and_long_keys_are_not_free() {
    let nulls: serde_json::Map<String, Value> =
        (0..300_000).map(|n| (n.to_string(), Value::Null)).collect();
    let long = json!({"k".repeat(2_000_000): 1});
    let spec = json!({"nulls": nulls, "long": long, "key": "k".repeat(2_000_000), "list": vec![0; 10_000]});
    for text in [
        "spec.nulls.exists(n, true)",
        "spec.list.all(e, !spec.nulls.exists(n, true))",
        "spec.list.all(e, spec.long == spec.long)",
        "spec.list.all(e, spec.key in spec.long)",
        "spec.list.all(e, spec.long[spec.key] == 1)",
        "spec.list.all(e, 'k'.contains(spec.key) || true)",
        "spec.list.all(e, spec.key != 'k')",
    ] {
        let started = Instant::now();
        let outcome = of_spec(text, &spec);
        assert!(started.elapsed() < Duration::from_secs(5), "{text}: {:?}", started.elapsed());
        assert!(
            matches!(&outcome, Outcome::Fault(why) if why.contains("steps")),
            "{text}: {outcome:?}"
        );
    }
}

/// Running out of steps is final: no other side makes up for it.
#[test]
fn running_out_of_steps_decides() {
    let spec = json!({"list": (0..2000).collect::<Vec<u32>>(), "long": "a".repeat(200_000)});
    let long = "spec.list.all(a, spec.list.all(b, a >= 0 && b >= 0))";
    for text in [long.to_owned(), format!("{long} || true"), format!("false && {long} || {long}")] {
        let outcome = of_spec(&text, &spec);
        assert!(matches!(&outcome, Outcome::Fault(why) if why.contains("steps")), "{outcome:?}");
    }
    assert_eq!(of_spec(&format!("true || {long}"), &spec), Outcome::True);
    // Where what was too dear leaves enough for what is cheap.
    let dear = "spec.list.all(a, !spec.long.contains('b'))";
    for text in [format!("{dear} || true"), format!("!({dear} && false)")] {
        let outcome = of_spec(&text, &spec);
        assert!(matches!(&outcome, Outcome::Fault(why) if why.contains("steps")), "{outcome:?}");
    }
}

/// Random expressions over a small spec, with errors in them.
fn any_expression() -> BoxedStrategy<String> {
    let text = select(vec!["'a'", "'b'", "''", "spec.s", "spec.t", "spec.none"]);
    let whole = select(vec![
        "0",
        "1",
        "2",
        "spec.n",
        "spec.m",
        "spec.none",
        "size(spec.list)",
        "spec.list[0]",
    ]);
    let compare = select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        Just("true".to_owned()),
        Just("false".to_owned()),
        select(vec![
            "has(spec.s)",
            "has(spec.none)",
            "spec.yes",
            "spec.none.x == 1",
            "spec.n.startsWith('a')"
        ])
        .prop_map(str::to_owned),
        (text.clone(), compare.clone(), text.clone()).prop_map(|(a, c, b)| format!("{a} {c} {b}")),
        (whole.clone(), compare, whole).prop_map(|(a, c, b)| format!("{a} {c} {b}")),
        (text.clone(), select(vec!["startsWith", "endsWith", "contains"]), text.clone())
            .prop_map(|(a, f, b)| format!("{a}.{f}({b})")),
        (text, select(vec!["['a', 'b']", "spec.texts", "spec.map"]))
            .prop_map(|(a, b)| format!("{a} in {b}")),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        let list = select(vec!["spec.list", "[1, 2]", "spec.none", "spec.objects", "spec.map"]);
        let part = select(vec!["e == 1", "e > 1", "e.v == 1", "has(e.v)", "e == 'a'"]);
        let asked = select(vec!["all", "exists", "exists_one"]);
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} && {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (list.clone(), asked, part, inner.clone())
                .prop_map(|(list, asked, part, a)| format!("{list}.{asked}(e, {part} && {a})")),
            (list, inner).prop_map(|(list, a)| format!("{list}.filter(e, {a}).size() == 2")),
        ]
    })
    .boxed()
}

/// Both evaluations of the same expressions: ours, and that of the crate, which has no limits.
#[test]
fn it_is_as_the_crate_evaluates() {
    let spec = json!({"s": "a", "t": "ab", "n": 1, "m": 2, "yes": true, "list": [1, 2, 3],
        "texts": ["a", "c"], "map": {"a": "x", "b": "y"}, "objects": [{"v": 1}, {"w": 2}]});
    let (mut told, mut faults) = (0_u32, 0_u32);
    let counted = std::cell::RefCell::new((&mut told, &mut faults));
    proptest!(ProptestConfig::with_cases(1024), |(text in any_expression())| {
        let Ok(expression) = SpecExpression::parse(&text) else { return Ok(()) };
        let ours = expression.evaluate(&facts(), &spec);
        let mut context = cel::Context::default();
        context.add_variable("spec", &spec).unwrap();
        let tree = cel::parser::PrattParser::new().parse(&text).unwrap();
        let theirs = match cel::Value::resolve(&tree, &context) {
            Ok(cel::Value::Bool(true)) => Some(Outcome::True),
            Ok(cel::Value::Bool(false)) => Some(Outcome::False),
            _ => None,
        };
        let mut counted = counted.borrow_mut();
        match (ours, theirs) {
            (Outcome::Fault(_), None) => *counted.1 += 1,
            (ours, Some(theirs)) if ours == theirs => *counted.0 += 1,
            (ours, theirs) => prop_assert!(false, "{text}: {ours:?}, and the crate {theirs:?}"),
        }
    });
    assert!(told > 200 && faults > 50, "{told} had a value, {faults} none");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Whatever is written is read or refused, and evaluated without a panic.
    #[test]
    fn anything_may_be_written(
        words in proptest::collection::vec(select(vec![
            "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "!", "-", "&&", "||", "==", "<", " in ", "'", "\"",
            "\\", "0x", "1", "9223372036854775808", "1u", "1e9", ".5", "r'", "b'", "'''", "\n", "//", "é", "\u{0}",
            "spec", "pod", "x", "has", "size", "all", "exists", "map", "filter", "true", "null", "`", "@", "$",
            "spec.all(x, ", "has(spec.", "pod.startsWith(", "[?", ".?",
        ]), 0..24),
        odd in ".{0,40}",
    ) {
        for text in [words.concat(), words.join(" "), odd] {
            if let Ok(expression) = SpecExpression::parse(&text) {
                let _ = expression.evaluate(&facts(), &json!({"x": [1, null, {"y": "z"}]}));
            }
        }
    }
}
