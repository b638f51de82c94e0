//! The rule on contexts; its laws are run by `floor/laws.rs`.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::controls::Executing;
use crate::controls::laws::{Generated, enforced, is_within, request, touches_only};

fn rule(document: Value) -> SeLinux {
    SeLinux::of(serde_json::from_value(document).unwrap(), &BTreeMap::new()).unwrap()
}

fn asking(label: &Value) -> Value {
    json!({"process": {"selinuxLabel": label}})
}

fn label(spec: &Value) -> &str {
    spec["process"]["selinuxLabel"].as_str().unwrap()
}

#[test]
fn a_type_that_is_not_allowed_is_replaced_and_the_level_stays() {
    let rule = rule(json!({"types": ["container_t"], "default": "container_t"}));
    let after = enforced(&rule, &asking(&json!("system_u:system_r:spc_t:s0:c1,c2")));
    assert_eq!(label(&after), "system_u:system_r:container_t:s0:c1,c2");
    for asked in [json!(null), json!(""), json!("spc_t"), json!(3)] {
        assert_eq!(label(&enforced(&rule, &asking(&asked))), "system_u:system_r:container_t:s0");
    }
}

#[test]
fn without_a_default_there_is_no_remedy() {
    let rule = rule(json!({"types": ["container_t"]}));
    let (facts, node) = request();
    let spec = asking(&json!("system_u:system_r:spc_t:s0"));
    let asked = Asked::of(&spec, &facts, &node);
    assert!(rule.tighten(&asked)[0].remedy.is_none());
    assert!(is_within(&rule, &asking(&json!("a:b:container_t"))));
}

#[test]
fn no_privileged_type_is_allowed_though_it_is_listed_and_nothing_is_pinned() {
    let alone = rule(json!({"privilegedTypes": false}));
    let listed = rule(json!({"types": ["spc_t", "container_t"], "privilegedTypes": false}));
    for kind in ["spc_t", "unconfined_t", "unconfined_service_t", "container_runtime_t", "kernel_t"]
    {
        let spec = asking(&json!(format!("system_u:system_r:{kind}:s0:c1,c2")));
        assert!(!is_within(&alone, &spec) && !is_within(&listed, &spec), "{kind}");
    }
    let own = asking(&json!("system_u:system_r:payments.process:s0:c1,c2"));
    assert!(is_within(&alone, &own) && !is_within(&listed, &own));
    // Nothing to put in its place, and no context at all is not a confined one.
    assert!(!is_within(&alone, &asking(&json!(null))));
    assert!(rule(json!({"types": ["spc_t"], "privilegedTypes": false})).contradiction().is_some());
    let seen = Seen { label: Some("system_u:system_r:spc_t:s0".to_owned()), ..Seen::default() };
    assert_eq!(alone.verify(&seen).len(), 1);
}

#[test]
fn a_level_is_compared_as_a_set_and_a_range_over_everything_is_wider() {
    let rule = rule(json!({"level": "s0:c1,c2"}));
    for same in ["s0:c1,c2", "s0:c2,c1", "s0:c1.c2", "s0:c1,c2-s0:c1,c2"] {
        assert!(is_within(&rule, &asking(&json!(format!("u:r:container_t:{same}")))), "{same}");
    }
    for other in
        ["s0", "s0-s0:c0.c1023", "s0:c1,c2,c3", "s0:c1,c2-s0:c0.c1023", "s1:c1,c2", "x", ""]
    {
        let spec = asking(&json!(format!("u:r:container_t:{other}")));
        assert!(!is_within(&rule, &spec), "{other}");
        assert_eq!(label(&enforced(&rule, &spec)), "u:r:container_t:s0:c1,c2");
    }
    let met =
        rule.meet(&SeLinux { levels: Some(["s0:c1".parse().unwrap()].into()), ..SeLinux::top() });
    assert!(met.contradiction().is_some());
    let wrong = serde_json::from_value::<SeLinuxDocument>(json!({"level": "c1,c2"})).unwrap_err();
    assert!(wrong.to_string().contains("s0:c1,c2"), "{wrong}");
}

#[test]
fn a_pods_level_is_two_categories_kept_or_allocated() {
    let required = rule(json!({"podLevel": "required"}));
    let allocate = rule(json!({"podLevel": "allocate"}));
    let kept = asking(&json!("system_u:system_r:container_t:s0:c7,c9"));
    assert!(is_within(&required, &kept) && is_within(&allocate, &kept));
    let (facts, mut node) = request();
    node.se_linux.pod_level = Some("s0:c3,c4".parse().unwrap());
    for asked in ["s0", "s0:c1", "s0-s0:c0.c1023", "s0:c1.c3"] {
        let spec = asking(&json!(format!("system_u:system_r:container_init_t:{asked}")));
        let request = Asked::of(&spec, &facts, &node);
        assert!(required.tighten(&request)[0].remedy.is_none(), "{asked}");
        let remedy = allocate.tighten(&request)[0].remedy.clone().unwrap();
        let expected = json!("system_u:system_r:container_init_t:s0:c3,c4");
        assert_eq!(remedy, [Edit::Set(FIELD.to_owned(), expected)], "{asked}");
    }
    // Where nobody allocates, as when a policy is tried; and a container without any context.
    assert_eq!(
        label(&enforced(&allocate, &asking(&json!(null)))),
        "system_u:system_r:container_t:s0:c0,c1"
    );
    let bounded = rule(json!({"podLevel": "allocate", "level": "s0-s0:c512.c1023"}));
    assert_eq!(label(&enforced(&bounded, &kept)), "system_u:system_r:container_t:s0:c512,c513");
    assert!(rule(json!({"podLevel": "allocate", "level": "s0"})).contradiction().is_some());
}

#[test]
fn an_exec_has_its_containers_context() {
    let (facts, mut node) = request();
    let own = "system_u:system_r:container_t:s0:c3,c4";
    node.se_linux.container = Some(own.to_owned());
    // What was allocated for another create is nothing to an exec.
    node.se_linux.pod_level = Some("s0:c8,c9".parse().unwrap());
    let rule = rule(json!({"default": "container_t", "podLevel": "allocate"}));
    let exec = Some(Executing { bounding: &[], stdin: false });
    let findings = |spec: &Value| rule.tighten(&Asked { exec, ..Asked::of(spec, &facts, &node) });
    assert!(findings(&asking(&json!(null))).is_empty());
    assert!(findings(&asking(&json!(own))).is_empty());
    for asked in ["a:b:spc_t:s0:c3,c4", "a:b:container_t:s0:c1,c2", "a:b:container_t:s0", "x"] {
        let findings = findings(&asking(&json!(asked)));
        let [Finding { remedy: Some(remedy), .. }] = findings.as_slice() else {
            panic!("{findings:?}")
        };
        let [Edit::Set(field, enforced)] = remedy.as_slice() else { panic!("{remedy:?}") };
        let enforced = enforced.as_str().unwrap();
        assert_eq!(field, FIELD);
        assert!(enforced.ends_with(":container_t:s0:c3,c4"), "{asked}: {enforced}");
    }
    // A container from before the demand has no such level, and none can be given to it.
    node.se_linux.container = Some("system_u:system_r:container_t:s0".to_owned());
    let spec = asking(&json!(null));
    let findings = rule.tighten(&Asked { exec, ..Asked::of(&spec, &facts, &node) });
    assert!(findings[0].remedy.is_none());
}

#[test]
fn the_mounts_context_is_judged_where_there_is_one() {
    let rule = rule(json!({"mountTypes": ["container_file_t"]}));
    let spec = |label: &str| json!({"linux": {"mountLabel": label}});
    assert!(is_within(&rule, &spec("")));
    assert!(is_within(&rule, &spec("system_u:object_r:container_file_t:s0")));
    assert!(!is_within(&rule, &spec("system_u:object_r:shadow_t:s0")));
}

#[test]
fn the_mounts_context_follows_the_process_where_its_files_stay_readable() {
    let rule = rule(json!({"default": "container_t", "podLevel": "allocate"}));
    let spec = |process: &str, mounts: Value| {
        json!({"process": {"selinuxLabel": format!("system_u:system_r:{process}")},
               "linux": {"mountLabel": mounts}})
    };
    let mounts = |spec: &Value| enforced(&rule, spec)["linux"]["mountLabel"].clone();
    // None given: /dev and /dev/shm would be nobody's.
    let own = json!("system_u:object_r:container_file_t:s0:c0,c1");
    assert_eq!(mounts(&spec("spc_t:s0", json!(null))), own);
    assert_eq!(mounts(&json!({"process": {}})), own);
    // What all may read the pod may read, too.
    assert_eq!(
        mounts(&spec("container_t:s0", json!("system_u:object_r:container_file_t:s0"))),
        own
    );
    // Given by the runtime's client, with a level that is kept.
    let theirs = "system_u:object_r:container_file_t:s0:c7,c9";
    assert_eq!(mounts(&spec("spc_t:s0:c7,c9", json!(theirs))), json!(theirs));
    assert!(is_within(&rule, &spec("container_t:s0:c7,c9", json!(null))));
    // The root is mounted for a level that is not kept.
    let (facts, node) = request();
    for process in ["container_t:s0", "container_t:s0-s0:c0.c1023"] {
        let spec = spec(process, json!(theirs));
        let findings = rule.tighten(&Asked::of(&spec, &facts, &node));
        let refused: Vec<&Finding> =
            findings.iter().filter(|finding| finding.remedy.is_none()).collect();
        assert_eq!(refused.len(), 1, "{findings:?}");
        assert!(refused[0].field == MOUNTS && refused[0].allowed.contains("could not read"));
    }
}

impl Generated for SeLinux {
    const CONTRADICTS: bool = true;

    fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
        let types = proptest::option::of(subsequence(vec!["container_t", "spc_t"], 0..=2));
        let default = proptest::option::of(select(vec!["container_t", "init_t", "x_t"]));
        let user = proptest::option::of(select(vec!["system_u", "user_u"]));
        let level =
            select(vec!["s0-s0:c0.c1023", "s0-s0:c0.c9", "s0-s0:c2.c9", "s0:c1,c2", "s0:c1", "s0"]);
        let level = prop_oneof![2 => Just(None), 3 => level.prop_map(Some)];
        let pod =
            prop_oneof![2 => Just(None), 1 => Just(Some("required")), 2 => Just(Some("allocate"))];
        let unprivileged = proptest::option::of(any::<bool>());
        let rules = (types, default, user, level, pod, unprivileged).prop_map(
            |(types, default, user, level, pod, unprivileged)| {
                rule(json!({"types": types, "default": default, "user": user, "level": level,
                            "podLevel": pod, "privilegedTypes": unprivileged}))
            },
        );
        let rules = prop_oneof![1 => Just(SeLinux::top()), 8 => rules];
        let labels = [
            "",
            "system_u:r:container_t:s0",
            "system_u:r:container_t:s0:c1,c2",
            "user_u:r:spc_t:s0:c1",
            "system_u:r:container_t:s0:c2,c1",
            "system_u:r:container_t:s0-s0:c0.c1023",
            "x:y:init_t",
            "x",
        ];
        let mounts =
            ["", "system_u:object_r:container_file_t:s0", "u:object_r:container_file_t:s0:c1.c2"];
        let specs = (select(labels.to_vec()), select(mounts.to_vec())).prop_map(|(label, mounts)| {
            json!({"process": {"selinuxLabel": label}, "linux": {"mountLabel": mounts}})
        });
        (rules.boxed(), specs.boxed())
    }

    fn strict() -> Vec<Self> {
        vec![rule(json!({"mountTypes": ["container_file_t"]}))]
    }
}

#[test]
fn changes_its_own_fields_alone() {
    touches_only(&rule(json!({"default": "container_t"})), &[FIELD, MOUNTS]);
}

#[test]
fn needs_the_module_and_that_it_enforces() {
    let mut node = Node { lsms: vec!["selinux".into()], ..Node::default() };
    let some = rule(json!({"level": "s0"}));
    assert_eq!(some.support(&node), Support::Full);
    assert!(matches!(some.support(&Node::default()), Support::Partial { .. }));
    assert_eq!(SeLinux::top().support(&Node::default()), Support::Full);
    node.se_linux.permissive = true;
    let Support::Partial { rule, lost } = some.support(&node) else { panic!("permissive is full") };
    assert!(rule == some && lost.contains("setenforce"), "{lost}");
    assert_eq!(SeLinux::top().support(&node), Support::Full);
}

#[test]
fn verify_reads_the_context() {
    let seen = |label: &str| Seen { label: Some(label.to_owned()), ..Seen::default() };
    let rule = rule(json!({"types": ["container_t"], "podLevel": "required"}));
    assert!(rule.verify(&seen("system_u:system_r:container_t:s0:c1,c2\0")).is_empty());
    for wider in ["spc_t:s0:c1,c2", "container_t:s0", "container_t:s0-s0:c0.c1023"] {
        assert_eq!(rule.verify(&seen(&format!("system_u:system_r:{wider}\0"))).len(), 1, "{wider}");
    }
    assert_eq!(rule.verify(&Seen::default())[0].found, "none");
}

#[test]
fn types_of_modules_are_known_by_what_the_modules_say() {
    let document = json!({"modules": ["profiles/pay.cil"], "default": "pay.process",
        "types": ["container_t"], "mountTypes": ["pay.file"]});
    let rule = |text: &str| {
        let files = [("profiles/pay.cil".to_owned(), text.as_bytes().to_vec())].into();
        SeLinux::of(serde_json::from_value(document.clone()).unwrap(), &files).unwrap()
    };
    let one = rule("(type process) (type file)");
    let block = one.modules.first_key_value().unwrap().0;
    assert!(one.defaults.contains(&format!("{block}.process")));
    assert_eq!(one.mount_types, Some([format!("{block}.file")].into()));
    assert!(one.types.as_ref().unwrap().contains("container_t"));
    // Another text, another type: neither allows the other's.
    let other = rule("(type process) (type file) (typepermissive process)");
    assert!(!one.types.as_ref().unwrap().is_superset(other.types.as_ref().unwrap()));
    assert_eq!(one.meet(&other).modules.len(), 2);
}

#[test]
fn rules_of_older_records_are_read() {
    let old = json!({"users": null, "roles": null, "types": ["container_t"], "levels": ["s0:c1,c2"],
                     "defaults": ["container_t"], "mountTypes": null});
    let read: SeLinux = serde_json::from_value(old.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), old);
}
