//! The rule, and what it makes of labels.

use super::*;
use crate::controls::laws::{Generated, enforced, is_within, touches_only};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

fn rule(default: Option<&str>, allow: Option<&[&str]>) -> AppArmor {
    let allow = allow.map(|globs| globs.iter().map(|glob| glob.parse().unwrap()).collect());
    let default = default.map(|name| DefaultProfile::Name(name.to_owned()));
    let document = AppArmorDocument { default, allow, stack: None };
    let none = &mut |_: &str| panic!("no files");
    AppArmor::load(document, "p", &crate::floor::Floor::default(), none).unwrap()
}

fn asking(profile: Value) -> Value {
    json!({"process": {"apparmorProfile": profile}})
}

#[test]
fn being_unconfined_is_asked_in_many_ways() {
    let rule = rule(Some("coaming"), None);
    for asked in [json!(null), json!(""), json!("unconfined"), json!(3)] {
        let after = enforced(&rule, &asking(asked));
        assert_eq!(after["process"]["apparmorProfile"], "coaming");
    }
    assert!(is_within(&rule, &asking(json!("custom"))));
}

#[test]
fn unconfined_must_be_listed_by_name() {
    assert!(!is_within(&rule(None, Some(&["*"])), &asking(json!("unconfined"))));
    assert!(is_within(&rule(None, Some(&["unconfined"])), &asking(json!(null))));
    assert!(!is_within(&rule(None, Some(&["cri-*"])), &asking(json!("other"))));
}

impl Generated for AppArmor {
    const CONTRADICTS: bool = true;

    fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
        let defaults = proptest::option::of(select(vec!["cri-a", "b"]));
        let globs = subsequence(vec!["cri-*", "*", "b", "unconfined"], 0..=4);
        let documents = (defaults, proptest::option::of(globs))
            .prop_map(|(default, allow)| rule(default, allow.as_deref()));
        let rules = prop_oneof![1 => Just(AppArmor::top()), 5 => documents];
        let asked = [json!(null), json!("unconfined"), json!("cri-a"), json!("b"), json!("c")];
        (rules.boxed(), select(asked.to_vec()).prop_map(asking).boxed())
    }
}

#[test]
fn changes_its_own_fields_alone() {
    touches_only(&rule(Some("x"), None), &["process.apparmorProfile"]);
}

#[test]
fn needs_the_module() {
    let mut node = Node { lsms: vec!["capability".into(), "landlock".into()], ..Node::default() };
    assert!(matches!(rule(None, None).support(&node), Support::Partial { .. }));
    assert_eq!(AppArmor::top().support(&node), Support::Full);
    node.lsms.push("apparmor".into());
    assert_eq!(rule(None, None).support(&node), Support::Full);
}

#[test]
fn verify_wants_a_profile_that_enforces() {
    let seen = |label: &str| Seen { label: Some(label.to_owned()), ..Seen::default() };
    let rule = rule(Some("coaming"), Some(&[]));
    assert!(rule.verify(&seen("coaming (enforce)\n")).is_empty());
    for label in ["coaming (complain)", "other (enforce)", "unconfined", ""] {
        assert_eq!(rule.verify(&seen(label)).len(), 1, "{label}");
    }
    assert_eq!(rule.verify(&Seen::default()).len(), 1);
}

fn policy(spec: &str, files: &[(&str, &str)]) -> Result<AppArmor, String> {
    let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n";
    let text = format!("{head}{spec}");
    let policy =
        crate::document::parse_policies("p.yaml", &text).map_err(|e| e.to_string())?.remove(0);
    let floor = policy.floor("p.yaml", &mut |name| {
        let found = files.iter().find(|(file, _)| *file == name);
        Ok(found.unwrap_or_else(|| panic!("no file {name}")).1.as_bytes().to_vec())
    });
    Ok(floor.map_err(|error| error.to_string())?.app_armor.met())
}

fn only_default(rule: &AppArmor) -> (&String, &String) {
    assert_eq!(rule.defaults.len(), 1);
    let (name, text) = rule.profiles.first_key_value().unwrap();
    assert!(rule.defaults.contains(name) && rule.allows(name));
    assert!(text.contains(&format!("profile {name} ")), "{text}");
    (name, text)
}

#[test]
fn a_profile_comes_with_the_policy_under_a_name_that_carries_its_digest() {
    let text = "# Ours.\nprofile payments flags=(attach_disconnected) {\n  file,\n  signal peer=@{profile_name},\n}\n";
    let rule = policy("  appArmor: {default: {file: profiles/p.aa}}\n", &[("profiles/p.aa", text)])
        .unwrap();
    let (name, renamed) = only_default(&rule);
    assert!(
        name.starts_with("coaming.payments-") && name.len() == "coaming.payments-".len() + 32,
        "{name}"
    );
    assert_eq!(renamed.replace(name, "payments"), text);
    let weaker = text.replace("file,", "file, capability,");
    let other = policy("  appArmor: {default: {file: a.aa}}\n", &[("a.aa", &weaker)]).unwrap();
    assert_ne!(only_default(&other).0, name);
    assert!(!other.allows(name) || other.allow.allow(|glob| glob.as_str() == "*"));
}

#[test]
fn the_built_in_profile_is_known_by_its_name_and_is_read() {
    let rule = policy("  appArmor: {default: coaming-default, allow: []}\n", &[]).unwrap();
    let (name, _) = only_default(&rule);
    assert!(name.starts_with("coaming.default-"), "{name}");
    assert!(!rule.allows("coaming-default") && !rule.allows("cri-containerd.apparmor.d"));
    let loaded = policy("  appArmor: {default: of-the-node}\n", &[]).unwrap();
    assert!(loaded.profiles.is_empty() && loaded.allows("of-the-node"));
}

#[test]
fn a_default_is_a_name_a_file_or_generated() {
    for (default, words) in [
        ("{}", "either"),
        ("{file: a.aa, generated: true}", "either"),
        ("{fil: a.aa}", "fil"),
        ("[a]", "a profile's name"),
    ] {
        let error = policy(&format!("  appArmor: {{default: {default}}}\n"), &[]).unwrap_err();
        assert!(error.starts_with("p.yaml:5:") && error.contains(words), "{error}");
    }
}

#[test]
fn a_profile_that_a_process_could_leave_or_that_is_no_profile_of_ours_is_not_taken() {
    for (text, words) in [
        ("", "no profile"),
        ("/usr/bin/x { file, }", "no profile with a name"),
        ("profile /usr/bin/x { file, }", "no name for a profile"),
        ("profile x /usr/bin/x { file, }", "attach it"),
        ("profile :ns:x { file, }", "no name for a profile"),
        ("profile x flags=(complain) { file, }", "\"complain\""),
        ("profile x flags=(attach_disconnected, complain){ file, }", "\"complain\""),
        ("profile x flags=(unconfined) { file, }", "\"unconfined\""),
        ("profile x xattrs=(a=b) { file, }", "attach it"),
        ("profile x {\n file,\n", "no end"),
        ("profile x { file, }\nprofile y { file, }", "after the profile's end"),
        ("profile x {\n file,\n profile y { file, }\n}", "line 3"),
        ("profile x {\n ^hat { file, }\n}", "line 2"),
        ("profile x {\n /bin/sh Ux,\n}", "\"Ux\""),
        ("profile x {\n owner /bin/sh rux,\n}", "\"rux\""),
        ("profile x {\n rPx /bin/sh -> other,\n}", "\"rPx\""),
        ("profile x {\n file cix \"/bin/a b\",\n}", "\"cix\""),
        ("profile x {\n audit change_profile -> y,\n}", "change_profile"),
        ("profile x {\n pivot_root /a -> y,\n}", "pivot_root"),
        ("profile x {\n signal (send, receive) peer=x,\n}", "profile_name"),
        ("profile x {\n /a\" b r,\n}", "quoted"),
        ("alias /a -> /b,\nprofile x { file, }", "before the profile"),
    ] {
        let error = Brought::read(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
    for text in [
        "abi <abi/3.0>,\n#include <tunables/global>\n@{A}=/a /b\n@{A}+=/c\nprofile x {\n  include <abstractions/base>\n  @{A}/** rw,\n  deny /bin/** Ux,\n deny change_profile,\n /b{in,} rix, # Ux\n}\n",
        "profile x flags=(attach_disconnected,mediate_deleted){\n  signal (send, receive) peer=y,\n capability sys_ptrace,\n}",
    ] {
        assert_eq!(Brought::read(text).unwrap().name, "x", "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_fail_otherwise_than_by_saying_so(
        text in "(profile|x|\\{|\\}|,|\"|#|@\\{A\\}|/bin/sh|Ux|ix|\\(|\\)|flags=\\(|é|\n| ){0,24}",
    ) {
        if let Ok(read) = Brought::read(&text) {
            prop_assert!(read.text.contains(&read.kernel_name));
            prop_assert_eq!(read.text.replacen(&read.kernel_name, &read.name, 1), text.clone());
            prop_assert!(!read.text.contains("Ux") || text.contains('#') || text.contains("profile Ux") , "{}", read.text);
        }
    }
}

#[test]
fn what_is_asked_for_and_not_allowed_is_stacked_below_the_default_or_replaced() {
    let ours = rule(Some("ours"), Some(&["cri-*"]));
    let after = |rule: &AppArmor, asked: &str| {
        enforced(rule, &asking(json!(asked)))["process"]["apparmorProfile"].clone()
    };
    assert_eq!(after(&ours, "theirs"), "ours//&theirs");
    assert_eq!(after(&ours, "unconfined"), "ours");
    assert_eq!(after(&ours, "a//&unconfined"), "ours");
    assert_eq!(after(&ours, ":ns:cri-a"), "ours");
    assert_eq!(after(&ours, "a//&b"), "a//&b//&ours");
    assert!(is_within(&ours, &asking(json!("theirs//&cri-a"))));
    let replacing = AppArmor { stack: false, ..ours.clone() };
    assert_eq!(after(&replacing, "theirs"), "ours");
    // Two policies, each with its own: both confine.
    let both = ours.meet(&rule(Some("b"), Some(&[])));
    assert_eq!(after(&both, "unconfined"), "b//&ours");
    assert_eq!(both.contradiction(), None);
}

#[test]
fn where_the_kernel_cannot_stack_it_is_refused_and_says_so() {
    let rule = rule(Some("ours"), Some(&[]));
    let (facts, node) = crate::controls::laws::request();
    let node = Node { stacks_app_armor: false, ..node };
    let findings = |asked| rule.tighten(&Asked::of(&asking(json!(asked)), &facts, &node));
    let [finding] = findings("theirs").try_into().unwrap();
    assert!(finding.remedy.is_none() && finding.allowed.contains("domain/stack"), "{finding:?}");
    assert!(findings("unconfined").first().unwrap().remedy.is_some());
}

#[test]
fn verify_understands_stacks() {
    let seen = |label: &str| Seen { label: Some(label.to_owned()), ..Seen::default() };
    let rule = rule(Some("ours"), Some(&[]));
    for label in ["ours//&theirs (enforce)", "a//&ours (enforce)\n"] {
        assert!(rule.verify(&seen(label)).is_empty(), "{label}");
    }
    for label in [
        "ours//&theirs (mixed)",
        "ours//&unconfined (enforce)",
        "ours//child (enforce)",
        "oursx//&y (enforce)",
    ] {
        assert_eq!(rule.verify(&seen(label)).len(), 1, "{label}");
    }
}

#[test]
fn a_profile_is_made_of_the_policys_own_rules() {
    let spec = "  landlock: {read: [/usr, /etc, \"/a{b\"], write: [/tmp, /var/run/app], execute: [/bin]}\n  \
                capabilities: {allow: [NET_BIND_SERVICE]}\n  seccomp: {denySocketFamilies: [AF_PACKET, AF_UNSPEC]}\n  \
                appArmor: {default: {generated: true}, allow: []}\n";
    let rule = policy(spec, &[]).unwrap();
    let (name, text) = only_default(&rule);
    assert!(name.starts_with("coaming.p-"));
    for line in [
        "  capability net_bind_service,",
        "  audit deny network packet,",
        "  \"/usr{,/**}\" kmr,",
        "  \"/a\\{b{,/**}\" kmr,",
        "  \"/tmp{,/**}\" klw,",
        "  \"/run/app{,/**}\" klw,",
        "  \"/bin{,/**}\" ix,",
        "  \"/usr/bin{,/**}\" ix,",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(
        !text.contains("  capability,") && !text.contains("  /** ") && !text.contains("unspec"),
        "{text}"
    );
    let open = policy("  appArmor: {default: {generated: true}}\n", &[]).unwrap();
    assert!(only_default(&open).1.contains("  /** klmrwix,"), "{}", only_default(&open).1);
    let wrong = "  landlock: {read: ['/a\"b']}\n  appArmor: {default: {generated: true}}\n";
    assert!(policy(wrong, &[]).unwrap_err().contains("by hand"));
}
