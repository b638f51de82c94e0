//! What the journal counted since it began, whatever of it is still kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Decision, Event, Proof, Stage};

/// The most names that one map of the totals keeps; what is beyond counts as `other`.
const MAX_NAMES: usize = 64;

/// Upper bounds of the buckets of [`Durations`], in microseconds; the last bucket has none.
pub const BOUNDS: [u64; 11] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// Counts since the journal began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// When the journal began: RFC 3339, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Containers admitted.
    pub created: u64,
    /// Processes admitted into containers that run.
    pub executed: u64,
    /// Refusals, by operation.
    pub refused: BTreeMap<String, u64>,
    /// Reasons of refusals, by control; `error` where it was not policy that refused.
    pub reasons: BTreeMap<String, u64>,
    /// Fields brought down, by control. What a line left out for its length is not counted.
    pub changes: BTreeMap<String, u64>,
    /// Containers and processes with a control that the node could not give, by control.
    pub degraded: BTreeMap<String, u64>,
    /// Containers and processes under a waiver.
    pub waived: u64,
    /// What audited policies would have changed or refused.
    pub audited: u64,
    /// Proofs, by stage and outcome.
    pub proofs: BTreeMap<Stage, BTreeMap<Proof, u64>>,
    /// What was wider in a process than it may be, by control.
    pub mismatches: BTreeMap<String, u64>,
    /// Processes that were killed for it.
    pub killed: u64,
    /// Lines that were repaired.
    pub repaired: u64,
    /// How long decisions took.
    pub decisions: Durations,
}

/// A histogram of durations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Durations {
    /// How many there were.
    pub count: u64,
    /// Their sum, in microseconds.
    pub sum_micros: u64,
    /// How many were within each of [`BOUNDS`] and not within the one before; the last are beyond all.
    pub buckets: [u64; BOUNDS.len() + 1],
}

impl Totals {
    /// Counts an event. A checkpoint is no event of its own: it says what was counted before it.
    pub fn count(&mut self, event: &Event) {
        match event {
            Event::Created(decision) => {
                add(&mut self.created);
                self.decided(decision);
            }
            Event::Executed(decision) => {
                add(&mut self.executed);
                self.decided(decision);
            }
            Event::Refused(refused) => {
                tally(&mut self.refused, &refused.operation);
                if refused.reasons.is_empty() {
                    tally(&mut self.reasons, "error");
                }
                for reason in &refused.reasons {
                    tally(&mut self.reasons, &reason.control);
                }
                self.decisions.add(refused.decision.decision_micros);
            }
            Event::Proved(proved) => {
                let outcomes = self.proofs.entry(proved.stage).or_default();
                add(outcomes.entry(proved.outcome).or_default());
                for wider in &proved.mismatches {
                    tally(&mut self.mismatches, &wider.control);
                }
                if proved.killed {
                    add(&mut self.killed);
                }
            }
            Event::Repaired(_) => add(&mut self.repaired),
            Event::Checkpoint(_) | Event::Unknown => {}
        }
    }

    fn decided(&mut self, decision: &Decision) {
        for change in &decision.changes {
            tally(&mut self.changes, &change.control);
        }
        for control in &decision.degraded {
            tally(&mut self.degraded, control);
        }
        if !decision.waived.is_empty() {
            add(&mut self.waived);
        }
        self.audited = self.audited.saturating_add(decision.audited);
        self.decisions.add(decision.decision_micros);
    }
}

impl Durations {
    fn add(&mut self, micros: u64) {
        add(&mut self.count);
        self.sum_micros = self.sum_micros.saturating_add(micros);
        let bucket = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            add(bucket);
        }
    }
}

fn add(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

fn tally(map: &mut BTreeMap<String, u64>, name: &str) {
    const OTHER: &str = "other";
    let known = map.contains_key(name) || map.len() < MAX_NAMES;
    let name = if known && name.len() <= MAX_NAMES { name } else { OTHER };
    add(map.entry(name.to_owned()).or_default());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::event::{Because, Changed, Refused};

    #[test]
    fn every_event_is_counted_where_it_belongs() {
        let mut totals = Totals::default();
        let changed = |control: &str| Changed { control: control.to_owned(), ..Changed::default() };
        let decision = Decision {
            changes: vec![changed("capabilities"), changed("capabilities"), changed("seccomp")],
            degraded: vec!["landlock".to_owned()],
            waived: vec!["w".to_owned()],
            audited: 3,
            decision_micros: 900,
            ..Decision::default()
        };
        totals.count(&Event::Created(decision.clone()));
        totals.count(&Event::Executed(decision));
        let reason = Because { control: "hostNamespaces".to_owned(), ..Because::default() };
        let refused = Refused { operation: "create".to_owned(), ..Refused::default() };
        totals.count(&Event::Refused(Refused { reasons: vec![reason], ..refused.clone() }));
        totals.count(&Event::Refused(refused));
        assert_eq!((totals.created, totals.executed, totals.waived, totals.audited), (1, 1, 2, 6));
        assert_eq!(totals.changes["capabilities"], 4);
        assert_eq!(
            totals.reasons,
            [("error".to_owned(), 1), ("hostNamespaces".to_owned(), 1)].into()
        );
        assert_eq!(totals.refused["create"], 2);
        assert_eq!((totals.decisions.count, totals.decisions.sum_micros), (4, 1800));
        assert_eq!((totals.decisions.buckets[0], totals.decisions.buckets[2]), (2, 2));
    }

    #[test]
    fn names_are_bounded() {
        let mut map = BTreeMap::new();
        for name in 0..1000 {
            tally(&mut map, &name.to_string());
        }
        assert!(map.len() <= MAX_NAMES + 1 && map["other"] == 1000 - MAX_NAMES as u64);
    }
}
