//! When one rule is known to demand at least what another does.

use std::any::Any;
use std::collections::BTreeMap;

use crate::controls::log_denials::LogDenials;
use crate::controls::seccomp::Seccomp;
use crate::controls::{Rule, socket_family};
use crate::seccomp::{Arch, Function, Reading, SeccompError, Source, deny_profile};

/// The order of rules by which two sets are compared.
///
/// It is [`Rule::at_least_as_strict_as`], which goes by what rules say; and for `seccomp`, where a profile
/// is a file that may have been written anew, what profiles answer.
pub(super) trait Order: Rule + Any {
    /// Whether everything that this rule allows, the other is known to allow.
    fn is_within(&self, other: &Self) -> bool {
        // What is logged and what not, denies nothing.
        if (self as &dyn Any).is::<LogDenials>() {
            return true;
        }
        if self.at_least_as_strict_as(other) {
            return true;
        }
        match (as_seccomp(self), as_seccomp(other)) {
            (Some(ours), Some(theirs)) => answers_within(ours, theirs).unwrap_or(false),
            _ => false,
        }
    }

    /// Where the rule goes beyond the other, where that can be told by an example.
    fn example_beyond(&self, other: &Self) -> Option<String> {
        let ours = as_seccomp(self)?;
        let theirs = as_seccomp(other)?;
        let known = known_answers(ours, true).ok()??;
        let theirs = known_answers(theirs, true).ok()??;
        known.exceeds(&theirs).map(|excess| excess.to_string())
    }
}

impl<R: Rule + Any> Order for R {}

pub(super) fn as_seccomp(rule: &dyn Any) -> Option<&Seccomp> {
    rule.downcast_ref()
}

/// Whether the profiles of one rule answer nothing more permissively than those of another, for containers
/// with a profile of their own and for those without.
///
/// What a profile answers may depend on the container's capabilities and the node's kernel. Such a
/// profile is within itself, and no more is known of it.
fn answers_within(ours: &Seccomp, theirs: &Seccomp) -> Result<bool, SeccompError> {
    let architectures = match (&ours.architectures, &theirs.architectures) {
        (_, None) => true,
        (Some(ours), Some(theirs)) => ours.is_subset(theirs),
        (None, Some(_)) => false,
    };
    for unconfined in [false, true] {
        let known = known_answers(ours, unconfined)?;
        let has = |source: &Source| {
            let defaults = ours.defaults.values().filter(|_| unconfined);
            architectures && ours.floors.values().chain(defaults).any(|own| own == source)
        };
        let within = |function: Function| {
            let function = restricted(function, theirs);
            known.as_ref().is_some_and(|known| known.le(&function))
        };
        let defaults = theirs.defaults.values().filter(|_| unconfined);
        for source in theirs.floors.values().chain(defaults) {
            let known = match source {
                _ if has(source) => true,
                Source::Oci(profile) => within(Function::of(profile, Reading::Policy)?),
                Source::Docker(_) | Source::BuiltIn(_) => false,
            };
            if !known {
                return Ok(false);
            }
        }
        if let Some(denied) = denied(theirs, unconfined)?
            && !within(denied)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a rule answers at most, by those of its parts that answer alike for every container.
fn known_answers(rule: &Seccomp, unconfined: bool) -> Result<Option<Function>, SeccompError> {
    let defaults = rule.defaults.values().filter(|_| unconfined);
    let mut functions: Vec<Function> = Vec::new();
    for source in rule.floors.values().chain(defaults) {
        if let Source::Oci(profile) = source {
            functions.push(Function::of(profile, Reading::Policy)?);
        }
    }
    functions.extend(denied(rule, unconfined)?);
    let mut functions = functions.into_iter();
    let Some(first) = functions.next() else { return Ok(None) };
    let met = functions.try_fold(first, |met, function| met.meet(&function))?;
    Ok(Some(restricted(met, rule)))
}

/// What a rule denies by name. Where it has architectures and no profile, it denies no more than those.
fn denied(rule: &Seccomp, unconfined: bool) -> Result<Option<Function>, SeccompError> {
    let named = !rule.deny_syscalls.is_empty() || !rule.deny_socket_families.is_empty();
    let profiles = !rule.floors.is_empty() || unconfined && !rule.defaults.is_empty();
    let alone = rule.architectures.is_some() && !profiles;
    if !named && !alone {
        return Ok(None);
    }
    let names: Vec<&str> = rule.deny_syscalls.iter().map(String::as_str).collect();
    let families: Vec<u64> = rule.deny_socket_families.iter().copied().collect();
    Function::of(&deny_profile(&names, &families)?, Reading::Policy).map(Some)
}

fn restricted(function: Function, rule: &Seccomp) -> Function {
    match &rule.architectures {
        Some(names) => {
            function.restrict_to(&names.iter().filter_map(|name| Arch::parse(name)).collect())
        }
        None => function,
    }
}

/// What a seccomp rule says, without the text of its profiles.
pub(super) fn seccomp_in_brief(rule: &Seccomp) -> serde_json::Value {
    // A file's key ends in its digest, of which the beginning is enough to tell two apart.
    let names = |profiles: &BTreeMap<String, Source>| {
        let brief = |key: &String| match key.split_once("@sha256:") {
            Some((name, digest)) => {
                format!("{name} (sha256 {})", digest.get(..12).unwrap_or(digest))
            }
            None => key.clone(),
        };
        (!profiles.is_empty()).then(|| profiles.keys().map(brief).collect::<Vec<_>>())
    };
    let families = socket_family::names(&rule.deny_socket_families).collect::<Vec<_>>();
    serde_json::json!({
        "default": names(&rule.defaults),
        "floor": names(&rule.floors),
        "denySyscalls": (!rule.deny_syscalls.is_empty()).then_some(&rule.deny_syscalls),
        "denySocketFamilies": (!families.is_empty()).then_some(families),
        "architectures": rule.architectures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::landlock::Landlock;
    use crate::controls::{Node, Support};
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::json;

    fn seccomp(document: serde_json::Value) -> Seccomp {
        let document = serde_json::from_value(document).unwrap();
        let mut profile = |name: &str| {
            let denied = match name {
                "none" => json!(["acct"]),
                "some" => json!(["keyctl"]),
                "more" | "copy-of-more" => json!(["keyctl", "bpf"]),
                other => panic!("no profile {other}"),
            };
            let rules = json!([{"names": denied, "action": "SCMP_ACT_ERRNO"}]);
            Ok(json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules})
                .to_string()
                .into_bytes())
        };
        Seccomp::load(document, &mut profile).unwrap()
    }

    #[test]
    fn profiles_compare_by_what_they_answer() {
        let within = |ours, theirs| seccomp(ours).is_within(&seccomp(theirs));
        for (narrow, wide) in [
            (json!({"floor": "more"}), json!({"floor": "some"})),
            (json!({"floor": "more"}), json!({"default": "some"})),
            (json!({"default": "more"}), json!({"default": "some"})),
            (json!({"floor": "more", "denySyscalls": ["acct"]}), json!({"floor": "some"})),
        ] {
            assert!(within(narrow.clone(), wide.clone()), "{narrow} {wide}");
            assert!(!within(wide, narrow));
        }
        let (a, b) = (json!({"floor": "more"}), json!({"floor": "copy-of-more"}));
        assert!(within(a.clone(), b.clone()) && within(b, a));
        // The denials of names are on 32-bit x86 too, and the profile is not.
        let denied = json!({"denySyscalls": ["keyctl"], "architectures": []});
        assert!(within(json!({"floor": "some"}), denied.clone()));
        assert!(!within(json!({"floor": "none"}), denied));
        // What a profile with conditions answers is not known, but that it is itself.
        let default = json!({"floor": "runtime-default", "denySyscalls": ["bpf"]});
        assert!(within(default.clone(), json!({"floor": "runtime-default"})));
        assert!(!within(json!({"floor": "runtime-default"}), default.clone()));
        assert!(!within(json!({"floor": "some"}), json!({"floor": "runtime-default"})));
        let native = json!({"floor": "runtime-default", "architectures": []});
        assert!(
            !within(default.clone(), native.clone())
                && within(native, json!({"floor": "runtime-default"}))
        );
        assert!(!within(json!({"default": "more"}), json!({"floor": "some"})));
    }

    #[test]
    fn an_example_is_a_call_that_can_be_tried() {
        let example =
            seccomp(json!({"floor": "some"})).example_beyond(&seccomp(json!({"floor": "more"})));
        assert!(example.unwrap().starts_with("bpf("));
    }

    /// Rules of rights of several ABIs: reading, writing, `REFER`, `TRUNCATE`, `IOCTL_DEV`.
    fn landlock() -> impl Strategy<Value = Landlock> {
        let rights = subsequence(vec![1u64 << 2, 1 << 1, 1 << 13, 1 << 14, 1 << 15], 0..=5);
        let granted = (0u64..1 << 16, 0u64..1 << 16);
        let net = (0u64..4, 0u64..4, 0u64..4);
        (rights, granted, net).prop_map(|(rights, (on_a, on_b), (handled_net, port, scoped))| {
            let handled: u64 = rights.iter().sum();
            serde_json::from_value(json!([{
                "handledFs": handled, "handledNet": handled_net, "scoped": scoped,
                "paths": {"/a": on_a & handled, "/b": on_b & handled},
                "ports": {"80": port & handled_net},
            }]))
            .unwrap()
        })
    }

    proptest! {
        /// On a node that lacks something, what is left of a stricter rule is stricter than what is left of
        /// the rule: a policy that lists a control under bestEffort is held to that.
        #[test]
        fn what_a_node_leaves_keeps_the_order(a in landlock(), b in landlock(), abi in 0u32..8) {
            let node = Node { landlock_abi: abi, ..Node::default() };
            let left = |rule: &Landlock| match rule.support(&node) {
                Support::Full => rule.clone(),
                Support::Partial { rule, .. } => rule,
            };
            let met = a.meet(&b);
            prop_assert!(left(&met).is_within(&left(&a)));
        }
    }
}
