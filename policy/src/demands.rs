//! What policies demand of one container: enforced, audited, waived.

use crate::document::{Directory, Moment, SOON, Terms, Waived, WaiverDocument};
use crate::facts::Facts;
use crate::floor::Floor;

/// The demands upon one container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demands {
    /// What is enforced.
    pub floor: Floor,
    /// What is audited: the record says what it would have changed.
    pub audit: Floor,
    /// What does not count, by leave of a waiver.
    pub waived: Vec<Waived>,
    /// What an operator should know of the waivers: which end soon, and which have ended.
    pub notes: Vec<String>,
    /// What an operator must hear at once: a start under it is told of in the node's log too.
    pub alarms: Vec<String>,
}

/// What selects one container, wherever it was kept: in a directory, or in its snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// The policies, with everything that they state.
    pub policies: Vec<(Terms, Floor)>,
    /// The waivers.
    pub waivers: Vec<Granted>,
    /// What an operator should know of how they were chosen.
    pub notes: Vec<String>,
}

impl Selection {
    /// One more policy, or a part of one; `fault` is why its expression had no value for the container.
    pub(crate) fn take(&mut self, terms: Terms, floor: Floor, fault: Option<String>) {
        if let Some(why) = fault {
            let note = format!(
                "spec.match.expression of policy {} has no value here, so that the policy applies: {why}",
                terms.name
            );
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        self.policies.push((terms, floor));
    }
}

/// Of a waiver whose expression had no value for a container.
pub(crate) fn fault_of_waiver(name: &str, file: &str, why: &str) -> String {
    format!(
        "spec.match.expression of waiver {name} ({file}) has no value here, so that it waives nothing: \
         {why}"
    )
}

/// A waiver for a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// Its file.
    pub file: String,
    /// The waiver.
    pub waiver: WaiverDocument,
    /// The key that signed it, where it serves by its own signature.
    pub break_glass: Option<String>,
}

impl Demands {
    /// What a directory's policies, and the built-in floor of this name beneath them, demand of a
    /// container at a moment.
    pub fn upon(
        facts: &Facts,
        directory: &Directory,
        beneath: (&str, Floor),
        now: Moment,
    ) -> Demands {
        Demands::of(facts, directory.select(facts), beneath, now)
    }

    /// The same of what was selected for the container before.
    pub fn of(
        facts: &Facts,
        selection: Selection,
        (built_in, beneath): (&str, Floor),
        now: Moment,
    ) -> Demands {
        let mut demands = Demands { notes: selection.notes, ..Demands::default() };
        let mut waivers: Vec<Alive<'_>> = Vec::new();
        for granted in &selection.waivers {
            demands.notes.extend(ending(&granted.file, &granted.waiver, now));
            if granted.waiver.is_alive(now) {
                waivers.push(Alive { granted, waived: Vec::new() });
            }
        }
        demands.floor = waive(&mut waivers, built_in, true, beneath);
        for (terms, stated) in selection.policies {
            let (enforced, audited) = terms.split(stated, facts);
            let enforced = waive(&mut waivers, &terms.name, false, enforced);
            demands.floor = demands.floor.meet(&enforced);
            demands.audit = demands.audit.meet(&audited);
        }
        demands.waived = waivers.into_iter().filter_map(Alive::report).collect();
        demands.alarms = demands.waived.iter().filter_map(broken_glass).collect();
        demands
    }
}

fn broken_glass(waived: &Waived) -> Option<String> {
    let key = waived.break_glass.as_ref()?;
    let Waived { waiver, file, owner, reason, expires, .. } = waived;
    let controls = waived.waived.join(", ");
    Some(format!(
        "break-glass: waiver {waiver} ({file}, signed by {key}) of {owner} waives {controls} until \
         {expires}: {reason}"
    ))
}

/// A waiver that counts, and what it has waived so far.
struct Alive<'a> {
    granted: &'a Granted,
    waived: Vec<String>,
}

impl Alive<'_> {
    /// Nothing for one that waived nothing.
    fn report(self) -> Option<Waived> {
        let Granted { file, waiver, break_glass } = self.granted;
        let spec = &waiver.spec;
        (!self.waived.is_empty()).then(|| Waived {
            waiver: waiver.metadata.value.name.clone(),
            file: file.clone(),
            line: waiver.metadata.line,
            waived: self.waived,
            owner: spec.owner.value.clone(),
            reason: spec.reason.value.clone(),
            expires: waiver.end().to_string(),
            break_glass: break_glass.clone(),
        })
    }
}

fn waive(waivers: &mut [Alive<'_>], policy: &str, built_in: bool, floor: Floor) -> Floor {
    waivers.iter_mut().fold(floor, |floor, alive| {
        let (left, waived) = alive.granted.waiver.take_from(policy, built_in, floor);
        alive.waived.extend(waived);
        left
    })
}

fn ending(file: &str, waiver: &WaiverDocument, now: Moment) -> Option<String> {
    let name = &waiver.metadata.value.name;
    let (owner, end) = (&waiver.spec.owner.value, waiver.end());
    if end <= now {
        return Some(format!(
            "waiver {name} ({file}) of {owner} ended at {end} and waives nothing"
        ));
    }
    (waiver.is_alive(now) && end.0 - now.0 <= SOON)
        .then(|| format!("waiver {name} ({file}) of {owner} ends at {end}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::document::BuiltIn;
    use serde_json::json;

    const POLICIES: &str = "
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: payments}
spec:
  noNewPrivileges: true
  readOnlyRootFilesystem: true
  landlock: {read: [/usr]}
";

    fn waiver(spec: &str) -> String {
        format!(
            "---\napiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: w}}\nspec:\n  owner: team\n  \
             reason: because\n{spec}"
        )
    }

    const OF_LEDGER: &str = "  match: {namespaces: [pay], containers: [ledger]}\n";

    fn container(namespace: &str, name: &str) -> Facts {
        Facts::of(
            "c",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.sandbox-namespace": namespace,
                "io.kubernetes.cri.container-name": name,
            }}),
        )
    }

    fn upon(text: &str, facts: &Facts, now: u64) -> Demands {
        let directory = Directory::of_text("p.yaml", text).unwrap();
        let beneath = builtin::floor(BuiltIn::Node).unwrap();
        Demands::upon(facts, &directory, ("node", beneath), Moment(now))
    }

    const DAY: u64 = 86_400;
    /// 2027-03-31, midnight.
    const LAST_DAY: u64 = 1_806_451_200;

    #[test]
    fn a_waiver_serves_whom_it_names_until_its_last_day_has_passed() {
        let text = format!(
            "{POLICIES}{}",
            waiver(&format!(
                "{OF_LEDGER}  waives: [readOnlyRootFilesystem]\n  expires: 2027-03-31\n"
            ))
        );
        let free =
            |facts: &Facts, now| upon(&text, facts, now).floor.read_only_root_filesystem.is_empty();
        let ledger = container("pay", "ledger");
        assert!(free(&ledger, LAST_DAY + DAY - 1));
        assert!(!free(&ledger, LAST_DAY + DAY), "ended");
        for other in
            [container("pay", "web"), container("shop", "ledger"), Facts::of("c", &json!({}))]
        {
            assert!(!free(&other, LAST_DAY));
        }
        let demands = upon(&text, &ledger, LAST_DAY);
        let waived = demands.waived.first().unwrap();
        assert_eq!(waived.waived, ["readOnlyRootFilesystem of payments"]);
        assert_eq!(
            (waived.owner.as_str(), waived.expires.as_str()),
            ("team", "2027-04-01T00:00:00Z")
        );
        assert!(demands.notes.first().unwrap().contains("ends at 2027-04-01"));
        let after = upon(&text, &ledger, LAST_DAY + DAY);
        assert!(after.waived.is_empty() && after.notes.first().unwrap().contains("waives nothing"));
        assert!(upon(&text, &ledger, LAST_DAY - 60 * DAY).notes.is_empty());
    }

    /// CRI-O hands on what a pod's author annotates, containerd's own keys too.
    #[test]
    fn a_namespace_that_annotations_contradict_claims_no_waiver() {
        let text = format!(
            "{POLICIES}{}",
            waiver(&format!(
                "{OF_LEDGER}  waives: [readOnlyRootFilesystem]\n  expires: 2027-03-31\n"
            ))
        );
        let claimed = |namespace: &str| {
            let facts = Facts::of(
                "c",
                &json!({"annotations": {
                    "io.kubernetes.cri.sandbox-namespace": "pay",
                    "io.kubernetes.pod.namespace": namespace,
                    "io.kubernetes.container.name": "ledger",
                }}),
            );
            upon(&text, &facts, LAST_DAY).floor.read_only_root_filesystem.is_empty()
        };
        assert!(claimed("pay") && !claimed("shop"));
    }

    #[test]
    fn what_landlock_implies_goes_with_it_and_with_it_alone() {
        let with = |waives: &str| {
            let end = "  expires: 2027-03-31T12:00:00Z\n";
            let text =
                format!("{POLICIES}{}", waiver(&format!("{OF_LEDGER}  waives: [{waives}]\n{end}")));
            upon(&text, &container("pay", "ledger"), LAST_DAY).floor
        };
        let of_payments = |floor: &Floor| {
            floor
                .no_new_privileges
                .clauses()
                .iter()
                .filter(|c| c.source.policy == "payments")
                .count()
        };
        let floor = with("noNewPrivileges");
        assert!(of_payments(&floor) == 1 && !floor.landlock.is_empty());
        let floor = with("landlock");
        assert!(of_payments(&floor) == 1 && floor.landlock.is_empty());
        assert_eq!(of_payments(&with("landlock, noNewPrivileges")), 0);
    }

    #[test]
    fn the_built_in_floor_is_waived_only_by_its_name() {
        let with = |policies: &str| {
            let text = format!(
                "{POLICIES}{}",
                waiver(&format!(
                    "{OF_LEDGER}  waives: [seccomp, annotations]\n{policies}  starts: 2027-03-31T00:00:00Z\n  \
                     duration: 12h\n"
                ))
            );
            upon(&text, &container("pay", "ledger"), LAST_DAY + 60).floor.annotations.is_empty()
        };
        assert!(!with("") && !with("  policies: [payments]\n"));
        assert!(with("  policies: [node]\n"));
    }

    #[test]
    fn a_duration_counts_from_its_start() {
        let text = format!(
            "{POLICIES}{}",
            waiver(&format!(
                "{OF_LEDGER}  waives: [readOnlyRootFilesystem]\n  starts: 2027-03-31T00:00:00Z\n  duration: 12h\n"
            ))
        );
        let free = |now| {
            let demands = upon(&text, &container("pay", "ledger"), now);
            demands.floor.read_only_root_filesystem.is_empty()
        };
        assert!(!free(LAST_DAY - 1) && free(LAST_DAY) && free(LAST_DAY + DAY / 2 - 1));
        assert!(!free(LAST_DAY + DAY / 2));
    }

    #[test]
    fn audited_policies_and_controls_are_not_in_the_floor() {
        let with = |line: &str| {
            upon(
                &POLICIES.replace("spec:\n", &format!("spec:\n{line}")),
                &container("pay", "ledger"),
                0,
            )
        };
        let all = with("  mode: audit\n");
        assert!(all.floor.landlock.is_empty() && !all.audit.landlock.is_empty());
        let one = with("  audit: [landlock]\n");
        assert!(one.floor.landlock.is_empty() && !one.floor.read_only_root_filesystem.is_empty());
        let implied = one.audit.no_new_privileges.clauses();
        assert!(
            !one.audit.landlock.is_empty()
                && implied.first().unwrap().source.field == "spec.landlock"
        );
        assert!(one.audit.read_only_root_filesystem.is_empty());
        let none = with("  rollout: {percentage: 0}\n");
        assert!(none.floor.landlock.is_empty() && !none.audit.landlock.is_empty());
        let every = with("  rollout: {percentage: 100}\n");
        assert!(!every.floor.landlock.is_empty() && every.audit == Floor::default());
    }

    /// Never silent: an expression without a value is told, and what it came to.
    #[test]
    fn an_expression_without_a_value_applies_a_policy_and_no_waiver() {
        let matched = "spec:\n  match: {expression: \"labels.app == 'a'\"}\n";
        let of_policy = upon(&POLICIES.replace("spec:\n", matched), &container("pay", "ledger"), 0);
        assert!(!of_policy.floor.read_only_root_filesystem.is_empty());
        let told = of_policy.notes.first().unwrap();
        assert!(told.contains("policy payments") && told.contains("applies"), "{told}");

        let narrowed = "  match: {namespaces: [pay], expression: \"labels.app == 'a'\"}\n";
        let text = format!(
            "{POLICIES}{}",
            waiver(&format!(
                "{narrowed}  waives: [readOnlyRootFilesystem]\n  expires: 2027-03-31\n"
            ))
        );
        let of_waiver = upon(&text, &container("pay", "ledger"), 0);
        assert!(!of_waiver.floor.read_only_root_filesystem.is_empty());
        assert!(of_waiver.notes.first().unwrap().contains("waives nothing"));
        assert!(upon(&text, &container("shop", "ledger"), 0).notes.is_empty());
    }

    /// What loosens must hold for certain, whatever it goes by.
    #[test]
    fn what_cannot_be_told_claims_no_waiver() {
        let with = |field: &str, facts: &Facts| {
            let matched = format!("  match: {{namespaces: [pay], {field}}}\n");
            let rest = "  waives: [readOnlyRootFilesystem]\n  expires: 2027-03-31\n";
            let text = format!("{POLICIES}{}", waiver(&format!("{matched}{rest}")));
            upon(&text, facts, 0).floor.read_only_root_filesystem.is_empty()
        };
        let facts = container("pay", "ledger");
        assert!(with("hostNetwork: true", &facts) && with("privileged: false", &facts));
        let uncertain = Facts { host_network: None, privileged: None, ..facts.clone() };
        assert!(!with("hostNetwork: true", &uncertain) && !with("hostNetwork: false", &uncertain));
        assert!(!with("privileged: false", &uncertain) && !with("runtimes: ['*']", &facts));
        assert!(!with("exceptRuntimes: [other]", &facts), "no runtime is known");
    }

    #[test]
    fn waivers_that_are_too_wide_or_without_end_are_refused() {
        for (spec, words) in [
            (
                "  match: {containers: [ledger]}\n  waives: [landlock]\n  expires: 2027-03-31\n",
                "namespaces",
            ),
            (
                "  match: {namespaces: ['*']}\n  waives: [landlock]\n  expires: 2027-03-31\n",
                "without * in front",
            ),
            (&format!("{OF_LEDGER}  waives: []\n  expires: 2027-03-31\n"), "empty"),
            (&format!("{OF_LEDGER}  waives: [landlok]\n  expires: 2027-03-31\n"), "\"landlock\""),
            (&format!("{OF_LEDGER}  waives: [landlock]\n"), "end"),
            (&format!("{OF_LEDGER}  waives: [landlock]\n  duration: 12h\n"), "end"),
            (&format!("{OF_LEDGER}  waives: [landlock]\n  expires: never\n"), "2027-03-31"),
            (&format!("{OF_LEDGER}  waives: [landlock]\n  expires: 2027-02-30\n"), "2027-02-30"),
        ] {
            let error = Directory::of_text("p.yaml", &waiver(spec)).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let unowned = waiver(&format!("{OF_LEDGER}  waives: [landlock]\n  expires: 2027-03-31\n"))
            .replace("owner: team", "owner: ' '");
        assert!(Directory::of_text("p.yaml", &unowned).unwrap_err().to_string().contains("owner"));
    }
}
