//! Selection: field by field, and where facts contradict each other or are not known.

use super::*;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

use crate::controls::{Joined, Node};
use crate::document::parse_documents;
use serde_json::json;

fn facts(kind: &str, namespace: &str, image: &str) -> Facts {
    Facts::of(
        "c",
        &json!({"annotations": {
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-namespace": namespace,
            "io.kubernetes.cri.image-name": image,
        }}),
    )
}

#[test]
fn every_given_list_must_match() {
    let selector: Match =
        serde_json::from_value(json!({"namespaces": ["payments-*"], "images": ["reg/*"]})).unwrap();
    assert!(selector.selects(&facts("container", "payments-eu", "reg/ledger:1")));
    assert!(!selector.selects(&facts("container", "payments-eu", "other/ledger:1")));
    assert!(!selector.selects(&facts("container", "shop", "reg/ledger:1")));
    assert!(!selector.selects(&facts("sandbox", "payments-eu", "reg/ledger:1")));
    assert!(!selector.selects(&Facts::of("docker", &json!({}))));
}

#[test]
fn contradicting_annotations_select_more_and_loosen_nothing() {
    let forged = |kind: &str| {
        Facts::of(
            "c",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": kind,
                "io.kubernetes.cri-o.ContainerType": "container",
                "io.kubernetes.cri.sandbox-namespace": "payments",
                "io.kubernetes.pod.namespace": "shop",
            }}),
        )
    };
    let of = |namespace: &str| -> Match {
        serde_json::from_value(json!({"namespaces": [namespace]})).unwrap()
    };
    for namespace in ["payments", "shop"] {
        assert!(of(namespace).selects(&forged("container")), "{namespace}");
        assert!(!of(namespace).selects_for_certain(&forged("container")), "{namespace}");
        // A workload that calls itself a sandbox is one of the workloads all the same.
        assert!(of(namespace).selects(&forged("sandbox")), "{namespace}");
    }
    assert!(of("*").selects_for_certain(&forged("container")));
    assert!(of("a").selects_for_certain(&facts("container", "a", "b")));
}

#[test]
fn without_lists_every_workload_is_selected_and_sandboxes_on_request() {
    assert!(Match::workloads().selects(&Facts::of("docker", &json!({}))));
    assert!(!Match::workloads().selects(&facts("sandbox", "a", "b")));
    let both: Match =
        serde_json::from_value(json!({"containerTypes": ["sandbox", "container"]})).unwrap();
    assert!(both.selects(&facts("sandbox", "a", "b")));
}

fn of(selector: Value) -> Match {
    serde_json::from_value(selector.clone()).unwrap_or_else(|error| panic!("{selector}: {error}"))
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A workload of which everything is known.
fn known() -> Facts {
    let spec = json!({
        "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "payments",
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.sandbox-uid": "u-1",
            "io.kubernetes.cri.container-name": "app",
            "io.kubernetes.cri.image-name": format!("reg/ledger@{DIGEST}"),
            "team": "ledger",
        },
        "linux": {"namespaces": [{"type": "user"}, {"type": "pid", "path": "/proc/7/ns/pid"},
            {"type": "network"}],
            "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}]},
    });
    let joins = [("/proc/7/ns/pid".to_owned(), Joined::Other)];
    let node = Node { joins: joins.into(), ..Node::default() };
    Facts::of("c", &spec).on("coaming-crun", &node, &spec)
}

#[test]
fn each_field_selects_by_its_fact() {
    let facts = known();
    for (field, is, is_not) in [
        ("namespaces", json!(["pay*"]), json!(["shop"])),
        ("exceptNamespaces", json!(["kube-*"]), json!(["pay*"])),
        ("pods", json!(["ledger-*"]), json!(["web-*"])),
        ("podUIDs", json!(["u-0", "u-1"]), json!(["u"])),
        ("containers", json!(["app"]), json!(["ap"])),
        ("images", json!(["reg/*"]), json!(["other/*"])),
        ("exceptImages", json!(["other/*"]), json!(["reg/*"])),
        ("imageDigests", json!([DIGEST]), json!([format!("sha256:{}", "0".repeat(64))])),
        ("runtimes", json!(["*-crun"]), json!(["coaming-runc"])),
        ("exceptRuntimes", json!(["coaming-runc"]), json!(["coaming-crun"])),
        ("containerTypes", json!(["container"]), json!(["sandbox"])),
        ("userNamespace", json!(true), json!(false)),
        ("privileged", json!(false), json!(true)),
        ("hostNetwork", json!(false), json!(true)),
        ("hostPID", json!(false), json!(true)),
        ("hostIPC", json!(true), json!(false)),
        ("annotations", json!({"team": ["led*", "x"]}), json!({"team": ["x"]})),
        ("annotations", json!({}), json!({"other": ["*"]})),
        ("doors", json!(["create", "exec"]), json!(["exec", "update"])),
        ("expression", json!("podNamespace == 'payments'"), json!("userNamespace && hostPID")),
    ] {
        let (is, is_not) = (of(json!({field: is})), of(json!({field: is_not})));
        assert!(is.selects(&facts) && is.selects_for_certain(&facts), "{is:?}");
        assert!(!is_not.selects(&facts) && !is_not.selects_for_certain(&facts), "{is_not:?}");
    }
    let doors = of(json!({"doors": ["exec"]}));
    assert!(doors.selects(&facts.through(Door::Exec)) && doors.tells_doors_apart());
    assert!(of(json!({"expression": "door == 'exec'"})).tells_doors_apart());
    assert!(!of(json!({"expression": "podNamespace == 'door'"})).tells_doors_apart());
}

#[test]
fn labels_that_were_looked_up_decide() {
    let labels = [("tier".to_owned(), "locked".to_owned())];
    let facts = known().labelled(Some(labels.into()));
    for (is, is_not) in [
        (json!({"labels": {"tier": ["lock*"]}}), json!({"labels": {"tier": ["open"]}})),
        (json!({"expression": "labels.tier == 'locked'"}), json!({"labels": {"other": ["*"]}})),
        (json!({"expression": "!has(labels.other)"}), json!({"expression": "has(labels.other)"})),
    ] {
        let (is, is_not) = (of(is), of(is_not));
        assert!(is.selects_for_certain(&facts) && is.goes_by_labels(), "{is:?}");
        assert!(!is_not.selects(&facts) && is_not.goes_by_labels(), "{is_not:?}");
    }
    assert!(!of(json!({"annotations": {"labels": ["*"]}})).goes_by_labels());
}

/// What cannot be told selects a policy and no waiver; what is not known matches no list.
#[test]
fn what_is_not_known_never_loosens() {
    let bare = Facts::of(
        "c",
        &json!({"linux": {"namespaces": [
        {"type": "network", "path": "/run/netns/a"}, {"type": "pid", "path": "/x"}, {"type": "ipc", "path": "/y"}]}}),
    );
    let bare = Facts { privileged: None, annotations: None, ..bare };
    for selector in [
        json!({"exceptNamespaces": ["a"]}),
        json!({"exceptImages": ["*"]}),
        json!({"exceptRuntimes": ["*"]}),
        json!({"privileged": true}),
        json!({"privileged": false}),
        json!({"hostNetwork": true}),
        json!({"hostPID": false}),
        json!({"hostIPC": true}),
        json!({"annotations": {"a": ["b"]}}),
        json!({"labels": {"a": ["b"]}}),
        json!({"expression": "labels.a == 'b'"}),
        json!({"expression": "privileged"}),
    ] {
        let selector = of(selector);
        assert!(selector.selects(&bare) && !selector.selects_for_certain(&bare), "{selector:?}");
    }
    for list in ["namespaces", "pods", "podUIDs", "containers", "images", "runtimes"] {
        assert!(!of(json!({list: ["*"]})).selects(&bare), "{list}");
    }
    assert!(of(json!({"expression": "labels.a == 'b'"})).fault(&bare).unwrap().contains("labels"));
    let elsewhere = of(json!({"namespaces": ["a"], "expression": "labels.a == 'b'"}));
    assert_eq!(elsewhere.fault(&bare), None, "it does not come to the expression");
}

#[test]
fn contradicted_exemptions_do_not_exempt() {
    let facts = Facts::of(
        "c",
        &json!({"annotations": {
            "io.kubernetes.cri.sandbox-namespace": "kube-system", "io.kubernetes.pod.namespace": "shop",
            "io.kubernetes.cri.image-name": "reg/a", "io.kubernetes.cri-o.ImageName": "reg/b",
        }}),
    );
    for selector in [
        json!({"exceptNamespaces": ["kube-*"]}),
        json!({"exceptNamespaces": ["shop"]}),
        json!({"exceptImages": ["reg/a"]}),
        json!({"expression": "podNamespace == 'shop'"}),
        json!({"expression": "!podNamespace.startsWith('kube-')"}),
    ] {
        let selector = of(selector);
        assert!(selector.selects(&facts) && !selector.selects_for_certain(&facts), "{selector:?}");
    }
    assert!(!of(json!({"exceptNamespaces": ["kube-*", "shop"]})).selects(&facts));
    assert!(!of(json!({"exceptImages": ["reg/*"]})).selects(&facts));
}

/// CRI-O's containers have labels of the kubelet's own, and its sandboxes the pod's.
#[test]
fn labels_are_known_as_far_as_crio_tells_them() {
    let with = |kind: &str| {
        Facts::of(
            "c",
            &json!({"annotations": {"io.kubernetes.cri-o.ContainerType": kind,
            "io.kubernetes.cri-o.Labels": r#"{"io.kubernetes.pod.name":"p","app":"ledger"}"#}}),
        )
    };
    let of = |key: &str, value: &str| {
        of(json!({"labels": {key: [value]}, "containerTypes": ["sandbox", "container"]}))
    };
    for kind in ["sandbox", "container"] {
        assert!(of("app", "led*").selects_for_certain(&with(kind)), "{kind}");
        assert!(!of("app", "web").selects(&with(kind)), "{kind}");
    }
    assert!(!of("tier", "*").selects(&with("sandbox")));
    let told = (
        of("tier", "*").selects(&with("container")),
        of("tier", "*").selects_for_certain(&with("container")),
    );
    assert_eq!(told, (true, false), "the pod may have it");
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let document = |lines: &str| {
        format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n{lines}  privileged: false\n"
        )
    };
    for (lines, line, words) in [
        (
            "  match:\n    expression: podNamespace.startWith('a')\n",
            6,
            "did you mean \"startsWith\"",
        ),
        ("  match:\n    namespaces: [a]\n    expression: \"a ==\"\n", 7, "column"),
        ("  match: {imageDigests: [latest]}\n", 5, "64 lower-case hexadecimal digits"),
        ("  match: {doors: [restore]}\n", 5, "restore"),
        ("  match: {podUids: [a]}\n", 5, "podUIDs"),
        (
            "  match: {doors: [exec]}\n  landlock: {write: [/tmp]}\n",
            6,
            "spec.match.doors leaves create out",
        ),
        ("  match: {doors: [update]}\n  seccomp: {denySyscalls: [acct]}\n", 6, "leaves create out"),
    ] {
        let error = parse_documents("p.yaml", &document(lines)).unwrap_err().to_string();
        assert!(error.contains(words) && error.starts_with(&format!("p.yaml:{line}:")), "{error}");
    }
    let fine = "  match: {doors: [create, exec]}\n  landlock: {write: [/tmp]}\n";
    assert!(parse_documents("p.yaml", &document(fine)).is_ok());
}

/// Selectors of a few fields each, over few values, so that they often meet.
fn any_match() -> BoxedStrategy<Match> {
    let globs = || {
        let names = vec![json!("a"), json!("b"), json!("a*"), json!("*")];
        subsequence(names, 0..=2).prop_map(Value::from)
    };
    let flag = || any::<bool>().prop_map(Value::from);
    let expressions = vec![
        json!("podNamespace == 'a'"),
        json!("pod.startsWith('a') || privileged"),
        json!("!hostPID && door == 'exec'"),
        json!("annotations.k == 'a'"),
        json!("labels.k == 'a'"),
    ];
    let doors = subsequence(vec![json!("create"), json!("exec"), json!("update")], 1..=3);
    let one = prop_oneof![
        4 => (select(vec!["namespaces", "exceptNamespaces", "pods", "containers", "images", "exceptImages",
            "runtimes", "exceptRuntimes", "podUIDs"]), globs()).prop_map(|(key, value)| (key, value)),
        2 => (select(vec!["userNamespace", "privileged", "hostNetwork", "hostPID", "hostIPC"]), flag()),
        1 => (select(vec!["annotations", "labels"]), globs()).prop_map(|(key, globs)| (key, json!({"k": globs}))),
        1 => doors.prop_map(|doors| ("doors", Value::from(doors))),
        1 => select(expressions).prop_map(|text| ("expression", text)),
        1 => Just(("containerTypes", json!(["sandbox", "container"]))),
    ];
    proptest::collection::vec(one, 0..4)
        .prop_map(|fields| {
            let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
            of(Value::Object(fields.collect()))
        })
        .boxed()
}

fn any_facts() -> BoxedStrategy<Facts> {
    let name = || select(vec![json!("a"), json!("ab"), json!("c"), Value::Null]);
    let path = || select(vec![Value::Null, json!("/host"), json!("/pod"), json!("/unknown")]);
    let annotations = (
        (name(), name(), name(), name()),
        (name(), name(), name(), name()),
        select(vec![json!("sandbox"), json!("container"), json!("container")]),
        select(vec![Value::Null, json!("{\"k\":\"a\"}"), json!("{}")]),
    );
    let door = select(vec![Door::Create, Door::Exec, Door::Update]);
    (annotations, (path(), path()), any::<bool>(), door, 0_u8..8)
        .prop_map(|(((ns, ns2, pod, pod2), (c, image, uid, k), kind, labels), (net, pid), user, door, lacks)| {
            let user = if user { "user" } else { "mount" };
            let spec = json!({
                "annotations": {
                    "io.kubernetes.cri.sandbox-namespace": ns, "io.kubernetes.pod.namespace": ns2,
                    "io.kubernetes.cri.sandbox-name": pod, "io.kubernetes.pod.name": pod2,
                    "io.kubernetes.cri.container-name": c, "io.kubernetes.cri.image-name": image,
                    "io.kubernetes.cri.sandbox-uid": uid, "k": k,
                    "io.kubernetes.cri.container-type": kind, "io.kubernetes.cri-o.Labels": labels,
                },
                "linux": {"namespaces": [{"type": "network", "path": net}, {"type": "pid", "path": pid},
                    {"type": user}]},
            });
            let joins = [("/host".to_owned(), Joined::Host), ("/pod".to_owned(), Joined::Other)];
            let node = Node { joins: joins.into(), ..Node::default() };
            let facts = Facts::of("c", &spec).on("a", &node, &spec).through(door);
            match lacks {
                0 => Facts { annotations: None, privileged: None, ..facts },
                1 => Facts { runtime: None, host_ipc: None, ..facts },
                _ => facts,
            }
        })
        .boxed()
}

#[test]
fn the_laws_of_selection() {
    let reached = [(); 4].map(|()| std::cell::Cell::new(0_u32));
    let count = |index: usize, is: bool| {
        let cell: &std::cell::Cell<u32> = &reached[index];
        cell.set(cell.get() + u32::from(is));
    };
    let inputs = (any_match(), any_match(), any_facts());
    proptest!(ProptestConfig::with_cases(4096), |((wide, narrow, facts) in inputs)| {
        let (selects, certain) = (wide.selects(&facts), wide.selects_for_certain(&facts));
        prop_assert!(!certain || selects);
        count(0, selects && !certain);
        count(1, certain);

        let text = serde_json::to_string(&wide).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Match>(&text).unwrap(), &wide);

        let covers = wide.covers(&narrow);
        prop_assert!(!covers || !narrow.selects(&facts) || selects, "{narrow:?} selects what {wide:?} does not");
        prop_assert!(wide.covers(&wide));
        count(2, covers && narrow.selects(&facts) && wide != narrow);

        // One more field selects no more, and is no more certain.
        let fewer = Match { pods: None, expression: None, except_namespaces: None, ..wide.clone() };
        prop_assert!(!selects || fewer.selects(&facts));
        prop_assert!(!certain || fewer.selects_for_certain(&facts));
        prop_assert!(wide.selects_any() || !selects);
        count(3, !selects && fewer.selects(&facts));
    });
    let reached = reached.map(std::cell::Cell::into_inner);
    assert!(reached.iter().all(|cases| *cases > 64), "hardly reached: {reached:?}");
}

#[test]
fn a_user_namespace_in_which_root_is_the_hosts_is_none() {
    let mapped = |host: u64| json!([{"containerID": 0, "hostID": host, "size": 65536}]);
    let of = |linux: serde_json::Value| Facts::of("c", &json!({"linux": linux}));
    let namespaces = json!([{"type": "user", "path": "/proc/7/ns/user"}]);
    let own = of(json!({"namespaces": namespaces, "uidMappings": mapped(65536)}));
    let selector = |wanted: bool| -> Match {
        serde_json::from_value(json!({"userNamespace": wanted})).unwrap()
    };
    assert!(selector(true).selects(&own) && !selector(false).selects(&own));
    for linux in [
        json!({}),
        json!({"namespaces": namespaces}),
        json!({"namespaces": namespaces, "uidMappings": mapped(0)}),
        json!({"namespaces": namespaces, "uidMappings": [{"containerID": 0, "size": 9}]}),
        json!({"uidMappings": mapped(65536)}),
    ] {
        let facts = of(linux);
        assert!(selector(false).selects(&facts) && !selector(true).selects(&facts));
        assert!(Match::workloads().selects(&facts));
    }
}

/// The page on selection names every field of `match` and every variable, and its examples are read.
#[test]
fn the_page_on_selection_is_true() {
    let page = include_str!("../../../../docs/selection.md");
    let full = json!({
        "namespaces": [], "exceptNamespaces": [], "pods": [], "podUIDs": [], "containers": [], "images": [],
        "exceptImages": [], "imageDigests": [], "runtimes": [], "exceptRuntimes": [], "containerTypes": [],
        "userNamespace": true, "privileged": true, "hostNetwork": true, "hostPID": true, "hostIPC": true,
        "annotations": {}, "labels": {}, "doors": [], "expression": "true",
    });
    let written = serde_json::to_value(of(full.clone())).unwrap();
    assert_eq!(written.as_object().unwrap().len(), full.as_object().unwrap().len());
    let schema = serde_json::to_value(schemars::schema_for!(Match)).unwrap();
    for field in schema["properties"].as_object().unwrap().keys() {
        assert!(full.get(field).is_some(), "{field} is not among the fields of this test");
        assert!(page.contains(&format!("`{field}`")), "{field} is not on the page");
    }
    let every = "[id, podNamespace, pod, podUID, container, image, containerType, runtime, door].size() == 9 \
                 && userNamespace && privileged && hostNetwork && hostPID && hostIPC \
                 && imageDigests.size() == 0 && annotations.size() == 0 && labels.size() == 0";
    let every = FactsExpression::parse(every).unwrap();
    let variables = every.variables();
    assert_eq!(variables.len(), 17);
    for variable in variables {
        assert!(page.contains(&format!("`{variable}`")), "{variable} is not on the page");
    }
    let (mut policies, mut expressions) = (0, 0);
    for block in page.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0) {
        if block.starts_with("spec:") {
            let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\n";
            let read = parse_documents("selection.md", &format!("{head}{block}"));
            policies += read.unwrap_or_else(|error| panic!("{error}:\n{block}")).len();
        } else {
            for line in block.lines() {
                let read: Result<Match, _> = serde_saphyr::from_str(line);
                assert!(read.unwrap().expression.is_some(), "{line}");
                expressions += 1;
            }
        }
    }
    assert_eq!((policies, expressions), (2, 3));
}
