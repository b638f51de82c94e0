//! Whether a `match` applies: yes, no, or it cannot be told.

use std::collections::{BTreeMap, BTreeSet};

use super::{Digest, Match};
use crate::controls::glob::Glob;
use crate::expression::Outcome;
use crate::facts::{Fact, Facts};

/// Whether a selector applies. What cannot be told selects a policy, and no waiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Applies {
    No,
    Maybe,
    Yes,
}

impl From<bool> for Applies {
    fn from(told: bool) -> Self {
        if told { Applies::Yes } else { Applies::No }
    }
}

impl Match {
    /// Every field must: the least certain of them decides.
    pub(super) fn applies(&self, facts: &Facts) -> Applies {
        match (self.applies_but_for_the_expression(facts), &self.expression) {
            // The expression is read only where everything else leaves it to decide.
            (Applies::No, _) => Applies::No,
            (told, None) => told,
            (told, Some(expression)) => told.min(match expression.evaluate(facts) {
                Outcome::True => Applies::Yes,
                Outcome::False => Applies::No,
                Outcome::Contradictory | Outcome::Fault(_) => Applies::Maybe,
            }),
        }
    }

    fn applies_but_for_the_expression(&self, facts: &Facts) -> Applies {
        let Match {
            namespaces,
            except_namespaces,
            pods,
            pod_uids,
            containers,
            images,
            except_images,
            image_digests,
            runtimes,
            except_runtimes,
            container_types,
            user_namespace,
            privileged,
            host_network,
            host_pid,
            host_ipc,
            annotations,
            labels,
            doors,
            expression: _,
        } = self;
        let of_labels = |key: &str| match facts.labels() {
            Some(labels) => match labels.get(key) {
                None if !facts.has_all_labels() => None,
                value => Some(value.cloned()),
            },
            None => None,
        };
        let of_annotations =
            |key: &str| facts.annotations.as_ref().map(|annotations| annotations.get(key).cloned());
        [
            container_types.contains(&facts.container_type).into(),
            doors.as_ref().is_none_or(|doors| doors.contains(&facts.door)).into(),
            listed(namespaces.as_deref(), facts.namespace.as_ref(), any_glob),
            listed(pods.as_deref(), facts.pod.as_ref(), any_glob),
            listed(pod_uids.as_ref(), facts.pod_uid.as_ref(), |uids: &BTreeSet<String>, uid| {
                uids.contains(uid)
            }),
            listed(containers.as_deref(), facts.container.as_ref(), any_glob),
            listed(images.as_deref(), facts.image.as_ref(), any_glob),
            listed(image_digests.as_ref(), facts.image_digests.as_ref(), any_digest),
            listed(runtimes.as_deref(), facts.runtime.as_ref(), any_glob),
            spared(except_namespaces.as_deref(), facts.namespace.as_ref()),
            spared(except_images.as_deref(), facts.image.as_ref()),
            spared(except_runtimes.as_deref(), facts.runtime.as_ref()),
            flagged(*user_namespace, Some(facts.user_namespace)),
            flagged(*privileged, facts.privileged),
            flagged(*host_network, facts.host_network),
            flagged(*host_pid, facts.host_pid),
            flagged(*host_ipc, facts.host_ipc),
            keyed(annotations.as_ref(), of_annotations),
            keyed(labels.as_ref(), of_labels),
        ]
        .into_iter()
        .min()
        .unwrap_or(Applies::Yes)
    }
}

/// See [`Match::fault`].
pub(super) fn fault(selector: &Match, facts: &Facts) -> Option<String> {
    let expression = selector.expression.as_ref()?;
    if selector.applies_but_for_the_expression(facts) == Applies::No {
        return None;
    }
    match expression.evaluate(facts) {
        Outcome::Fault(why) => Some(why),
        _ => None,
    }
}

/// A list of which one entry must match. What is not known matches none.
fn listed<L: ?Sized>(
    list: Option<&L>,
    fact: Option<&Fact>,
    matches: impl Fn(&L, &str) -> bool,
) -> Applies {
    let Some(list) = list else { return Applies::Yes };
    let Some(fact) = fact else { return Applies::No };
    match fact.values().filter(|value| matches(list, value)).count() {
        0 => Applies::No,
        some if some == 1 + fact.others.len() => Applies::Yes,
        _ => Applies::Maybe,
    }
}

/// A list that exempts: for certain, or not at all. What is not known may be none of the exempt, or one.
fn spared(list: Option<&[Glob]>, fact: Option<&Fact>) -> Applies {
    match (list, fact) {
        (None, _) => Applies::Yes,
        (Some(_), None) => Applies::Maybe,
        (list, fact) => match listed(list, fact, any_glob) {
            Applies::Yes => Applies::No,
            Applies::Maybe => Applies::Maybe,
            Applies::No => Applies::Yes,
        },
    }
}

fn flagged(wanted: Option<bool>, told: Option<bool>) -> Applies {
    match (wanted, told) {
        (None, _) => Applies::Yes,
        (Some(_), None) => Applies::Maybe,
        (Some(wanted), Some(told)) => (wanted == told).into(),
    }
}

/// Keys with globs for their values. `value` gives `None` where it cannot be told whether there is one.
fn keyed(
    wanted: Option<&BTreeMap<String, Vec<Glob>>>,
    value: impl Fn(&str) -> Option<Option<String>>,
) -> Applies {
    let told = wanted.into_iter().flatten().map(|(key, globs)| match value(key) {
        _ if globs.is_empty() => Applies::No,
        None => Applies::Maybe,
        Some(None) => Applies::No,
        Some(Some(value)) => any_glob(globs, &value).into(),
    });
    told.min().unwrap_or(Applies::Yes)
}

fn any_glob(globs: &[Glob], value: &str) -> bool {
    globs.iter().any(|glob| glob.matches(value))
}

fn any_digest(digests: &BTreeSet<Digest>, value: &str) -> bool {
    digests.iter().any(|digest| digest.as_str() == value)
}
