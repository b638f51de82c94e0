use proptest::prelude::*;
use serde_json::json;

use super::*;

fn cluster(policies: &[(&str, Value)]) -> Cluster {
    let mut cluster = Cluster::default();
    for (name, spec) in policies {
        cluster.documents.insert((Kind::Policy, (*name).to_owned()), spec.clone());
    }
    cluster
}

fn map(part: &str, data: &[(&str, &str)]) -> ConfigMap {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    ConfigMap { part: part.to_owned(), data, binary: false }
}

fn fault(cluster: &Cluster) -> String {
    let faults = render(cluster).unwrap_err();
    faults.iter().map(|fault| format!("{:?} {}\n", fault.object, fault.message)).collect()
}

#[test]
fn the_same_objects_are_the_same_bytes_whatever_their_order() {
    let one: Value =
        serde_json::from_str(r#"{"noNewPrivileges": true, "capabilities": {"allow": ["CHOWN"]}}"#)
            .unwrap();
    let other: Value =
        serde_json::from_str(r#"{"capabilities": {"allow": ["CHOWN"]}, "noNewPrivileges": true}"#)
            .unwrap();
    let set = render(&cluster(&[("a", one.clone()), ("b", other.clone())])).unwrap();
    assert_eq!(set, render(&cluster(&[("b", one), ("a", other)])).unwrap());
    assert_eq!((set.policies, set.waivers), (2, 0));
    let read =
        coaming_policy::document::parse_policies("k", std::str::from_utf8(&set.documents).unwrap())
            .unwrap();
    assert_eq!(read.len(), 2);
    assert_ne!(set.digest(), render(&cluster(&[("a", json!({}))])).unwrap().digest());
}

#[test]
fn profiles_lie_where_their_digest_says_and_policies_name_them_there() {
    const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let mut all = cluster(&[("a", json!({"seccomp": {"floor": "profiles/pay.json"}}))]);
    all.maps.insert(
        "profiles".to_owned(),
        map(PROFILES, &[("pay.json", PROFILE), ("unused.json", "{}")]),
    );
    let set = render(&all).unwrap();
    let generation = set.generation.clone().unwrap();
    let place = format!("kubernetes/{generation}/profiles/pay.json");
    assert_eq!(set.profiles.keys().collect::<Vec<_>>(), [&place]);
    assert!(String::from_utf8(set.documents).unwrap().contains(&format!("\"floor\":\"{place}\"")));
    all.maps.insert(
        "profiles".to_owned(),
        map(PROFILES, &[("pay.json", &PROFILE.replace("ptrace", "mount"))]),
    );
    assert_ne!(render(&all).unwrap().generation.unwrap(), generation);
    all.maps.insert("profiles".to_owned(), map(PROFILES, &[("pay.json", "{")]));
    assert!(fault(&all).contains("Policy a"), "{}", fault(&all));
    // One that no ConfigMap brings is the node's own.
    all.maps.clear();
    assert!(
        String::from_utf8(render(&all).unwrap().documents)
            .unwrap()
            .contains("\"profiles/pay.json\"")
    );
}

#[test]
fn one_wrong_object_keeps_all_from_being_written_and_is_named() {
    let said = fault(&cluster(&[
        ("right", json!({"noNewPrivileges": true})),
        ("typo", json!({"noNewPrivilege": true})),
        ("half", json!({"landlock": {"read": ["usr"]}})),
    ]));
    assert!(said.contains("Policy typo") && said.contains("noNewPrivileges"), "{said}");
    assert!(said.contains("Policy half") && !said.contains("Policy right"), "{said}");
}

#[test]
fn names_that_could_be_paths_are_none() {
    for name in
        ["../x", "a/b", "a..b", ".a", "A", "", "a\n---\nkind: Policy", &"a".repeat(254), "a\0"]
    {
        assert!(fault(&cluster(&[(name, json!({}))])).contains("its name is not one"), "{name:?}");
    }
    for key in ["..", "../x", "a/b", ".hidden", "", "a b", "ä"] {
        let mut all = Cluster::default();
        all.maps.insert("profiles".to_owned(), map(PROFILES, &[(key, "{}")]));
        assert!(fault(&all).contains("is no name of a file"), "{key:?}");
    }
    let mut all = Cluster::default();
    all.maps.insert("..".to_owned(), map(PROFILES, &[("a", "{}")]));
    assert!(fault(&all).contains("its name is not one"));
    all.maps =
        BTreeMap::from([("p".to_owned(), map(PROFILES, &[("A.json", "{}"), ("a.json", "{}")]))]);
    assert!(fault(&all).contains("case of letters"));
    all.maps = BTreeMap::from([("p".to_owned(), map("other", &[]))]);
    assert!(fault(&all).contains("its label"));
    all.maps = BTreeMap::from([("p".to_owned(), ConfigMap { binary: true, ..map(PROFILES, &[]) })]);
    assert!(fault(&all).contains("binaryData"));
}

/// What YAML may read otherwise is refused, and never written as something else.
#[test]
fn numbers_and_long_keys_stay_what_they_are_or_are_refused() {
    let long = "k".repeat(5000);
    for spec in [
        json!(1e16),
        json!(1e300),
        json!(-0.0),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.1),
        json!({long: 1}),
        json!({"": ""}),
    ] {
        let Ok(document) = text::document(&json!({"kind": "Policy"}), &spec) else { continue };
        let read = coaming_policy::document::parse_strict::<Value>("d", &document).unwrap();
        assert_eq!(read, [json!({"kind": "Policy", "spec": spec})], "{spec}");
    }
    for text in ["{\"a\":1}\n---\n{}", "{\"a\":2}", "{\"a\":\"1\"}", "", "{"] {
        assert!(text::says_only(text, &json!({"a": 1})).is_err(), "{text}");
    }
    assert_eq!(text::says_only("{\"a\":1}", &json!({"a": 1})), Ok(()));
}

/// Whatever an object holds, the document holds that and nothing else.
#[test]
fn no_text_breaks_out_of_its_document() {
    let texts = [
        "x\n---\napiVersion: coaming.dev/v1alpha1\nkind: Waiver",
        "\"}\n...\n%YAML 1.1\n---\n",
        "a\u{85}b\u{2028}c\u{2029}d\u{feff}e\u{7f}f\u{9b}g\u{fffe}h",
        "*anchor",
        "&anchor",
        "!!binary x",
        "<<",
        "# no comment",
        "'",
        "\\",
        "\\u0022",
        "\t",
        "\u{1f600}",
        "\0",
    ];
    for text in texts {
        let document =
            text::document(&json!({"kind": "Policy"}), &json!({text: [text], "x": {text: text}}))
                .unwrap();
        assert_eq!(document.lines().count(), 1, "{document}");
        let read = coaming_policy::document::parse_strict::<Value>(
            "d",
            &format!("---\n{document}\n---\n{{}}\n"),
        )
        .unwrap();
        assert_eq!(
            read,
            [json!({"kind": "Policy", "spec": {text: [text], "x": {text: text}}}), json!({})],
            "{text:?}"
        );
    }
    let because = json!({"refuse": [{"if": "true", "because": "\u{85}---\u{2028}kind: Waiver"}]});
    // A policy's own reader may refuse such words; it never reads another document out of them.
    if let Ok(set) = render(&cluster(&[("a", because)])) {
        let text = String::from_utf8(set.documents).unwrap();
        assert_eq!(coaming_policy::document::parse_documents("k", &text).unwrap().len(), 1);
    }
}

#[test]
fn what_is_too_much_is_refused_and_not_tried() {
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"x": deep});
    }
    assert!(fault(&cluster(&[("deep", deep)])).contains("deeper than"));
    let mut many = Cluster::default();
    for n in 0..=MAX_DOCUMENTS {
        many.documents.insert((Kind::Policy, format!("p{n}")), json!({}));
    }
    assert!(fault(&many).contains("more than the 4096"));
    let mut huge = Cluster::default();
    for n in 0..300 {
        let paths: Vec<String> =
            (0..100).map(|m| format!("/a/quite/long/path/{n}/{m}/{}", "x".repeat(20))).collect();
        huge.documents.insert((Kind::Policy, format!("p{n}")), json!({"maskedPaths": paths}));
    }
    assert!(fault(&huge).contains("bytes, more than the 1048576"));
    let mut profiles = Cluster::default();
    let text = "x".repeat(1024 * 1024);
    for n in 0..17 {
        profiles.maps.insert(format!("m{n}"), map(PROFILES, &[("a", &text)]));
    }
    assert!(fault(&profiles).contains("17 profiles of"));
    profiles.maps =
        BTreeMap::from([("m".to_owned(), map(PROFILES, &[("a", &format!("{text}x"))]))]);
    assert!(fault(&profiles).contains("a node reads"));
}

#[test]
fn a_signature_is_one_and_whole() {
    let both = [(MANIFEST, "m"), (SIGNATURE_FILE, "s")];
    let mut all = cluster(&[("a", json!({}))]);
    all.maps.insert("signature".to_owned(), map(SIGNATURE, &both));
    assert_eq!(render(&all).unwrap().signed, Some((b"m".to_vec(), b"s".to_vec())));
    all.maps.insert("signature-2".to_owned(), map(SIGNATURE, &both));
    assert!(fault(&all).contains("a set has one"));
    all.maps = BTreeMap::from([("signature".to_owned(), map(SIGNATURE, &both[..1]))]);
    assert!(fault(&all).contains("it lacks"));
}

#[test]
fn nothing_is_no_file() {
    assert_eq!(render(&Cluster::default()).unwrap(), Rendered::default());
}

fn anything() -> impl Strategy<Value = Value> {
    // Every character, those that YAML minds among them more often.
    let text = prop_oneof![
        any::<String>(),
        "[\\-:?,\\[\\]{}#&*!|>'\"%@` \\n\\r\\t\u{85}\u{2028}\u{feff}~<=a1.]{0,12}"
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever comes: one document that says it, among others, or a refusal.
    #[test]
    fn any_object_is_said_as_it_is_or_not_at_all(spec in anything(), name in any::<String>()) {
        if let Ok(document) = text::document(&json!({"kind": "Policy"}), &spec) {
            let stream = format!("{HEAD}---\n{document}\n---\n{{}}\n");
            let read = coaming_policy::document::parse_strict::<Value>("d", &stream).unwrap();
            prop_assert_eq!(read.len(), 2);
            prop_assert_eq!(&read[0]["spec"], &spec);
        }
        let mut all = cluster(&[]);
        all.documents.insert((Kind::Policy, name), spec);
        // Never a panic, and nothing but what a reader takes.
        if let Ok(set) = render(&all) {
            prop_assert!(set.beside(&Sources::default()).replay().is_ok());
        }
    }
}
