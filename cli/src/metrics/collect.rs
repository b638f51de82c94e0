//! What there is to tell: the journal's totals, the policies in force, the containers that there are, the runtimes.
//!
//! What cannot be read is left out and said so (`coaming_collect_failed`): a number that is missing is seen, a wrong
//! zero is not.

use std::collections::BTreeMap;
use std::path::Path;

use coaming_policy::document::Moment;
use coaming_policy::facts::Door;
use coaming_policy::snapshot::Kept;
use coaming_shim::config::Node;
use coaming_shim::in_force::{Access, InForce, Since};
use coaming_shim::journal::{self, Totals};
use coaming_shim::record::Record;
use coaming_shim::runtime_probe;
use serde::Serialize;

use super::family::{Families, Sample};
use crate::error::CommandError;
use crate::records;
use crate::status::demanding_more;

/// How long before its end a waiver counts as expiring, in seconds.
const SOON: u64 = 14 * 24 * 60 * 60;

/// All of it, in the text format.
pub(super) fn text(journal: &Path, state: &Path) -> Result<String, CommandError> {
    let mut families = Families::default();
    let version = env!("CARGO_PKG_VERSION");
    families.gauge(
        "coaming_build_info",
        "The version of coaming, as a label of a number that is always 1.",
        [(vec![("version", version)], 1)],
    );
    let mut failed = BTreeMap::new();
    match journal::read::totals(journal) {
        Ok(totals) => counted(&mut families, &totals),
        Err(_) => drop(failed.insert("journal", 1)),
    }
    failed.entry("journal").or_insert(0);
    let policies = policies(&mut families, state, &mut failed);
    failed.insert("policy", u64::from(policies.is_err()));
    families.gauge(
        "coaming_collect_failed",
        "1 where a part of these metrics could not be read, and is missing.",
        failed.iter().map(|(part, failed)| (vec![("part", *part)], *failed)),
    );
    families.text()
}

/// What the journal has counted.
fn counted(families: &mut Families, totals: &Totals) {
    let plain = |value: u64| [(Vec::new(), value)];
    families.counter(
        "coaming_containers_created_total",
        "Containers that were admitted.",
        plain(totals.created),
    );
    families.counter(
        "coaming_processes_executed_total",
        "Processes that were admitted into running containers.",
        plain(totals.executed),
    );
    families.counter(
        "coaming_refusals_total",
        "Requests that were refused.",
        by("operation", &totals.refused),
    );
    families.counter(
        "coaming_refusal_reasons_total",
        "Reasons of refusals, by control; error where it was not policy that refused.",
        by("control", &totals.reasons),
    );
    families.counter(
        "coaming_changes_total",
        "Fields that were brought down to the floor.",
        by("control", &totals.changes),
    );
    families.counter(
        "coaming_degraded_total",
        "Containers and processes with a control that the node could not give.",
        by("control", &totals.degraded),
    );
    families.counter(
        "coaming_waived_total",
        "Containers and processes that were admitted under a waiver.",
        plain(totals.waived),
    );
    families.counter(
        "coaming_audited_total",
        "What audited policies would have changed or refused.",
        plain(totals.audited),
    );
    let mut proofs: Vec<(String, String, u64)> = Vec::new();
    for (stage, outcomes) in &totals.proofs {
        proofs.extend(outcomes.iter().map(|(outcome, count)| (word(stage), word(outcome), *count)));
    }
    families.counter(
        "coaming_proofs_total",
        "Processes that were held against their floor.",
        proofs.iter().map(|(stage, outcome, count)| {
            (vec![("stage", stage.as_str()), ("outcome", outcome.as_str())], *count)
        }),
    );
    families.counter(
        "coaming_proof_mismatches_total",
        "What was wider in a process than it may be.",
        by("control", &totals.mismatches),
    );
    families.counter(
        "coaming_processes_killed_total",
        "Processes that were killed since they were wider than their floor.",
        plain(totals.killed),
    );
    families.counter(
        "coaming_journal_repairs_total",
        "Lines of the journal that were torn and taken off.",
        plain(totals.repaired),
    );
    families.durations(
        "coaming_decision_duration_seconds",
        "How long decisions took.",
        &totals.decisions,
    );
}

fn by<'a>(
    label: &'static str,
    counts: &'a BTreeMap<String, u64>,
) -> impl Iterator<Item = Sample<'a>> {
    counts.iter().map(move |(name, count)| (vec![(label, name.as_str())], *count))
}

/// A word of the journal's.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("other").to_owned()
}

/// Policies, waivers, containers and runtimes: all of which need the configuration.
fn policies(
    families: &mut Families,
    state: &Path,
    failed: &mut BTreeMap<&'static str, u64>,
) -> Result<(), ()> {
    let node = Node::load("coaming-runc").map_err(drop)?;
    runtimes(families, &node);
    let now = Moment::now();
    let in_force = node.in_force(Access::Look);
    let kept = in_force.as_ref().ok().and_then(|set| set.kept.as_ref());
    families.gauge(
        "coaming_policy_in_force",
        "1 where the folder of policies, as it is, is what containers are held to.",
        [(Vec::new(), u64::from(in_force.is_ok() && kept.is_none()))],
    );
    let is = |kind: Kept| u64::from(kept.is_some_and(|Since { refusal, .. }| refusal.kind == kind));
    families.gauge(
        "coaming_policy_not_in_force",
        "Why the folder of policies is not in force: broken, loosens (and nobody has allowed it), signature.",
        [("broken", Kept::Broken), ("loosens", Kept::Loosens), ("signature", Kept::Signature)]
            .map(|(reason, kind)| (vec![("reason", reason)], is(kind))),
    );
    let in_force = in_force.map_err(drop)?;
    let digest = in_force.digest_in_hex();
    families.gauge(
        "coaming_policy_info",
        "The digest of the policies in force (policySet of the journal), as a label of a number that is always 1.",
        digest.iter().map(|digest| (vec![("digest", digest.as_str())], 1)),
    );
    let accepted = in_force.accepted.map(|at| (Vec::new(), at));
    families.gauge(
        "coaming_policy_accepted_timestamp_seconds",
        "When the policies in force came into force.",
        accepted,
    );
    waivers(families, &node, now);
    let containers = containers(families, &node, &in_force, state);
    failed.insert("records", u64::from(containers.is_err()));
    Ok(())
}

fn waivers(families: &mut Families, node: &Node, now: Moment) {
    // What is wrong with the folder has been told.
    if let Ok(directory) = node.policies() {
        let policies = directory.names().count() as u64;
        families.gauge("coaming_policies", "Policies in the folder.", [(Vec::new(), policies)]);
        let (mut active, mut expiring, mut expired) = (0, 0, 0);
        let mut next: Option<u64> = None;
        for (_, waiver) in directory.waivers() {
            let end = waiver.end().0;
            if end <= now.0 {
                expired += 1;
                continue;
            }
            active += 1;
            expiring += u64::from(end - now.0 <= SOON);
            next = Some(next.map_or(end, |next| next.min(end)));
        }
        families.gauge(
            "coaming_waivers",
            "Waivers in the folder of policies; those that are expiring, within 14 days, are active too.",
            [("active", active), ("expiring", expiring), ("expired", expired)]
                .map(|(state, count)| (vec![("state", state)], count)),
        );
        families.gauge(
            "coaming_waiver_next_expiry_timestamp_seconds",
            "When the next of the active waivers ends.",
            next.map(|end| (Vec::new(), end)),
        );
    }
    let (honoured, refused): (Vec<_>, Vec<_>) =
        node.break_glass().into_iter().partition(|waiver| waiver.granted.is_ok());
    families.gauge(
        "coaming_break_glass_waivers",
        "Waivers for emergencies.",
        [("honoured", honoured.len()), ("refused", refused.len())]
            .map(|(state, count)| (vec![("state", state)], count as u64)),
    );
}

fn containers(
    families: &mut Families,
    node: &Node,
    in_force: &InForce,
    state: &Path,
) -> Result<(), ()> {
    let records = records::read_all(&state.join("containers")).map_err(drop)?;
    let mut outdated = 0;
    for record in &records.found {
        outdated += u64::from(is_outdated(record, node, in_force)?);
    }
    let current = (records.found.len() as u64).saturating_sub(outdated);
    families.gauge(
        "coaming_containers",
        "Containers that coaming knows on this node; outdated are those created before the policies of today.",
        [
            ("current", current),
            ("outdated", outdated),
            ("unreadable", records.unreadable.len() as u64),
        ]
        .map(|(state, count)| (vec![("state", state)], count)),
    );
    Ok(())
}

fn is_outdated(record: &Record, node: &Node, in_force: &InForce) -> Result<bool, ()> {
    let own;
    // Each wrapper has its own built-in floor.
    let node = match record.wrapper.as_str() {
        "" | "coaming-runc" => node,
        wrapper => {
            own = Node::load(wrapper).map_err(drop)?;
            &own
        }
    };
    let facts = record.facts_for(Door::Create);
    let today = node.demands_of(in_force, &facts).map_err(drop)?.floor;
    Ok(!demanding_more(&record.floor, &today).is_empty())
}

fn runtimes(families: &mut Families, node: &Node) {
    let configuration = node.configuration();
    let mut found = Vec::new();
    for wrapper in configuration.wrappers() {
        let Some(path) = configuration.runtime(wrapper) else { continue };
        let probed = runtime_probe::look(&path).ok();
        let told = probed.as_ref().map(|probed| probed.told.clone()).unwrap_or_default();
        let known = probed
            .as_ref()
            .map_or(0, |probed| runtime_probe::known(probed, configuration, wrapper).len());
        found.push((wrapper.to_owned(), told, known as u64));
    }
    families.gauge(
        "coaming_runtime_info",
        "The runtime behind each wrapper, with its version, as labels of a number that is always 1.",
        found.iter().map(|(wrapper, told, _)| {
            let labels =
                vec![("wrapper", wrapper.as_str()), ("name", told.name.as_str()), ("version", told.version.as_str())];
            (labels, 1)
        }),
    );
    families.gauge(
        "coaming_runtime_vulnerabilities",
        "Known ways out of containers in the runtime behind each wrapper.",
        found.iter().map(|(wrapper, _, known)| (vec![("wrapper", wrapper.as_str())], *known)),
    );
}

#[cfg(test)]
mod tests {
    use super::super::exposition::Exposition;
    use super::*;
    use coaming_shim::journal::event::{
        Because, Changed, Decision, Event, Proof, Proved, Refused, Stage,
    };

    fn exposition(totals: &Totals) -> Exposition {
        let mut families = Families::default();
        counted(&mut families, totals);
        Exposition::read(&families.text().unwrap()).unwrap()
    }

    #[test]
    fn what_the_journal_counted_is_told() {
        let mut totals = Totals::default();
        let changed = Changed { control: "capabilities".to_owned(), ..Changed::default() };
        let decision = Decision {
            changes: vec![changed.clone(), changed],
            degraded: vec!["landlock".to_owned()],
            decision_micros: 700,
            ..Decision::default()
        };
        totals.count(&Event::Created(decision.clone()));
        totals.count(&Event::Created(Decision { decision_micros: 9_000_000, ..decision.clone() }));
        totals.count(&Event::Executed(decision));
        let reasons = vec![Because { control: "we\"ird\\\n".to_owned(), ..Because::default() }];
        let refused = Refused { operation: "create".to_owned(), reasons, ..Refused::default() };
        totals.count(&Event::Refused(refused));
        totals.count(&Event::Proved(Proved {
            container: Default::default(),
            stage: Stage::Created,
            outcome: Proof::Mismatch,
            pid: 7,
            mismatches: Vec::new(),
            by: BTreeMap::new(),
            why: None,
            killed: true,
            cut: false,
        }));
        let told = exposition(&totals);
        assert_eq!(told.value("coaming_containers_created_total", &[]), Some(2.0));
        assert_eq!(told.value("coaming_processes_executed_total", &[]), Some(1.0));
        assert_eq!(told.value("coaming_refusals_total", &[("operation", "create")]), Some(1.0));
        // Whatever a name is, it is one label of one line.
        assert_eq!(
            told.value("coaming_refusal_reasons_total", &[("control", "we\"ird\\\n")]),
            Some(1.0)
        );
        assert_eq!(told.value("coaming_changes_total", &[("control", "capabilities")]), Some(6.0));
        assert_eq!(told.value("coaming_degraded_total", &[("control", "landlock")]), Some(3.0));
        let proof = [("outcome", "mismatch"), ("stage", "created")];
        assert_eq!(told.value("coaming_proofs_total", &proof), Some(1.0));
        assert_eq!(told.value("coaming_processes_killed_total", &[]), Some(1.0));
        let bucket =
            |le: &str| told.value("coaming_decision_duration_seconds_bucket", &[("le", le)]);
        // The refusal took no time that is known.
        assert_eq!((bucket("0.00025"), bucket("0.001")), (Some(1.0), Some(3.0)));
        assert_eq!((bucket("1"), bucket("+Inf")), (Some(3.0), Some(4.0)));
        assert_eq!(told.value("coaming_decision_duration_seconds_count", &[]), Some(4.0));
        assert_eq!(told.value("coaming_decision_duration_seconds_sum", &[]), Some(9.0014));
    }

    #[test]
    fn an_empty_journal_has_zeroes_and_a_broken_one_no_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let read =
            |journal: &Path| Exposition::read(&text(journal, folder.path()).unwrap()).unwrap();
        let told = read(&folder.path().join("none"));
        assert_eq!(told.value("coaming_containers_created_total", &[]), Some(0.0));
        assert_eq!(told.value("coaming_collect_failed", &[("part", "journal")]), Some(0.0));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let told = read(&file);
        assert_eq!(told.value("coaming_containers_created_total", &[]), None);
        assert_eq!(told.value("coaming_collect_failed", &[("part", "journal")]), Some(1.0));
    }
}
