//! What two sets of policies are found to differ in.

use super::*;

fn policy(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
    )
}

fn waiver(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: {name}}}\nspec:\n  owner: o\n  \
         reason: r\n{spec}\n"
    )
}

fn between(old: &str, new: &str) -> Vec<String> {
    let read = |file: &str, text: &str| Directory::of_text(file, text).unwrap();
    let comparison = compare(&read("old.yaml", old), &read("new.yaml", new));
    comparison.differences().iter().map(Difference::to_string).collect()
}

/// Holds that what `difference` says is found from the first to the second, and the opposite on the way
/// back.
fn differs(old: &str, new: &str, looser: &[&str], tighter: &[&str]) {
    let found = |old: &str, new: &str, word: &str| -> Vec<String> {
        let word = format!("{word}: ");
        let all = between(old, new);
        all.iter().filter_map(|text| text.strip_prefix(&word)).map(str::to_owned).collect()
    };
    let check = |found: Vec<String>, wanted: &[&str], way: &str| {
        assert_eq!(found.len(), wanted.len(), "{way}: {found:#?}");
        for (found, wanted) in found.iter().zip(wanted) {
            for words in wanted.split(" ... ") {
                assert!(found.contains(words), "{way}: {found:?} has not {words:?}");
            }
        }
    };
    check(found(old, new, "looser"), looser, "looser");
    check(found(old, new, "tighter"), tighter, "tighter");
    assert_eq!(found(new, old, "tighter").len(), looser.len(), "{:#?}", between(new, old));
    assert_eq!(found(new, old, "looser").len(), tighter.len(), "{:#?}", between(new, old));
}

const NNP: &str = "  noNewPrivileges: true";

#[test]
fn what_says_the_same_is_no_difference() {
    let two = format!("{}{}", policy("a", NNP), policy("b", "  privileged: false"));
    let turned = format!("# moved\n{}{}", policy("b", "  privileged: false"), policy("a", NNP));
    assert!(between(&two, &turned).is_empty());
    let merged = policy("c", &format!("{NNP}\n  privileged: false"));
    for (old, new) in [(&two, &merged), (&merged, &two)] {
        let all = between(old, new);
        assert!(
            all.len() == 3 && all.iter().all(|text| text.starts_with("no effect: ")),
            "{all:#?}"
        );
    }
    // A rule in two halves, and a selector in two.
    let whole =
        policy("a", "  match: {namespaces: [x, y]}\n  maskedPaths: [/proc/kcore, /proc/keys]");
    let halves = format!(
        "{}{}{}",
        policy("a", "  match: {namespaces: [x]}\n  maskedPaths: [/proc/kcore]"),
        policy("b", "  match: {namespaces: [x]}\n  maskedPaths: [/proc/keys]"),
        policy("c", "  match: {namespaces: ['y*']}\n  maskedPaths: [/proc/keys, /proc/kcore]"),
    );
    let found = between(&whole, &halves);
    assert!(found.iter().all(|text| !text.starts_with("looser")), "{found:#?}");
    assert!(between(&halves, &whole).iter().any(|text| text.starts_with("looser")));
}

#[test]
fn rules_differ_by_what_they_allow() {
    let with = |rules: &str| policy("a", &format!("  match: {{namespaces: [pay]}}\n{rules}"));
    differs(
        &with("  capabilities: {allow: [KILL]}"),
        &with("  capabilities: {allow: [KILL, NET_ADMIN]}"),
        &[
            "policy a, spec.capabilities (old.yaml:7, now new.yaml:7): allow adds NET_ADMIN; for containers of \
           namespace pay",
        ],
        &[],
    );
    differs(
        &with("  noNewPrivileges: true\n  privileged: false"),
        &with("  privileged: false"),
        &["spec.noNewPrivileges ... is no longer stated"],
        &[],
    );
    differs(
        &with("  landlock: {read: [/usr]}"),
        &with("  privileged: false"),
        &["spec.landlock"],
        &["spec.privileged"],
    );
    let found = between(
        &with("  capabilities: {allow: [KILL]}"),
        &with("  capabilities: {allow: [CHOWN]}"),
    );
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("not comparable: policy a, spec.capabilities"), "{found:?}");
    assert!(found[0].contains("adds CHOWN and drops KILL"), "{found:?}");
}

#[test]
fn selectors_modes_and_rollouts_count() {
    let with = |head: &str| policy("a", &format!("{head}\n{NNP}\n  privileged: false"));
    differs(
        &with("  match: {namespaces: [a, b]}"),
        &with("  match: {namespaces: [b, c]}"),
        &["spec.match ... no longer selects them; for containers of namespace a"],
        &["spec.match ... selects them now; for containers of namespace c"],
    );
    let found =
        between(&with("  match: {namespaces: ['a*']}"), &with("  match: {namespaces: [ab]}"));
    assert!(
        found[0].ends_with("for containers of namespace a*, except containers of namespace ab"),
        "{found:#?}"
    );
    differs(
        &with("  mode: enforce"),
        &with("  mode: audit"),
        &["spec.mode ... was enforced, is audited"],
        &[],
    );
    differs(
        &with("  rollout: {percentage: 50}"),
        &with("  rollout: {percentage: 10}"),
        &["spec.rollout ... was enforced for 50 % of the pods, is enforced for 10 % of the pods"],
        &[],
    );
    differs(
        &with(""),
        &with("  audit: [privileged]"),
        &["spec.audit ... privileged audited and no longer enforced"],
        &[],
    );
    differs(
        &with("  actions: {default: refuse}"),
        &with("  actions: {privileged: refuse}"),
        &["spec.actions ... noNewPrivileges tightened where it was refused"],
        &[],
    );
    // The pods of a rollout are chosen by the policy's name.
    let renamed = |name: &str| policy(name, &format!("  rollout: {{percentage: 50}}\n{NNP}"));
    differs(&renamed("a"), &renamed("b"), &["policy a ... is gone"], &["policy b ... is new"]);
    let landlock = |head: &str| policy("a", &format!("{head}\n  landlock: {{bind: [80]}}"));
    differs(
        &landlock(""),
        &landlock("  bestEffort: [landlock]"),
        &["spec.bestEffort ... landlock left out where a node cannot enforce it"],
        &[],
    );
}

#[test]
fn waivers_count_for_whom_they_name_and_as_long() {
    let set = |waivers: &str| format!("{}{waivers}", policy("a", NNP));
    let with = |lines: &str| set(&waiver("w", lines));
    let plain = "  match: {namespaces: [x]}\n  waives: [noNewPrivileges]\n  expires: 2030-01-01";
    differs(
        &set(""),
        &with(plain),
        &["waiver w (new.yaml:10): is new and waives noNewPrivileges of a"],
        &[],
    );
    let longer = plain.replace("2030", "2031");
    differs(&with(plain), &with(&longer), &["waiver w, spec.expires ... is prolonged"], &[]);
    let wider = plain.replace("[x]", "[x, 'x-*']");
    differs(&with(plain), &with(&wider), &["waiver w, spec.match ... is widened"], &[]);
    let void = plain.replace("noNewPrivileges", "hooks");
    assert!(between(&set(""), &with(&void))[0].contains("waives nothing that is enforced"));
    // One after another, and under another name, is as long as at once.
    let halves = format!(
        "{}{}",
        waiver("v", &plain.replace("2030", "2029")),
        waiver(
            "u",
            &plain.replace(
                "  expires: 2030-01-01",
                "  starts: 2029-01-02T00:00:00Z\n  duration: 365days"
            )
        ),
    );
    differs(&set(&halves), &with(plain), &[], &[]);
    // The built-in floors are there, whatever the directory holds.
    let built_in = plain.replace("noNewPrivileges]", "seccomp]\n  policies: [baseline]");
    differs(&set(""), &with(&built_in), &["waives seccomp of baseline"], &[]);
    // A waiver for containers that the policy does not select waives nothing of it.
    let narrow = |waivers: &str| {
        format!("{}{waivers}", policy("a", &format!("  match: {{namespaces: [y]}}\n{NNP}")))
    };
    differs(&narrow(""), &narrow(&waiver("w", plain)), &[], &[]);
}
