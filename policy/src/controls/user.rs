//! `user`: as whom processes run (runtime-spec, `process.user`; credentials(7)).
//!
//! What a policy judges is the numeric id that the runtime is given; names in an image's
//! `/etc/passwd` are resolved before, by the caller.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id_ranges::IdRanges;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

/// The users and groups that processes may have, ids as the container numbers them. A user or group
/// that is not allowed is refused, since files in the image belong to it; a supplemental group is
/// taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct User {
    /// Refuses user 0. A container that names no user runs as 0.
    #[serde(default)]
    pub run_as_non_root: bool,
    /// The user ids that a process may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<IdRanges>,
    /// The primary group ids that a process may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_group: Option<IdRanges>,
    /// The supplemental group ids that a process may have; the primary group may stand among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supplemental_groups: Option<IdRanges>,
}

const UID: &str = "process.user.uid";
const GID: &str = "process.user.gid";
const GROUPS: &str = "process.user.additionalGids";

impl Rule for User {
    const CONTROL: &'static str = "user";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        User::default()
    }

    fn meet(&self, other: &Self) -> Self {
        User {
            run_as_non_root: self.run_as_non_root || other.run_as_non_root,
            run_as_user: meet(self.run_as_user.as_ref(), other.run_as_user.as_ref()),
            run_as_group: meet(self.run_as_group.as_ref(), other.run_as_group.as_ref()),
            supplemental_groups: meet(
                self.supplemental_groups.as_ref(),
                other.supplemental_groups.as_ref(),
            ),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let users = self.run_as_user.as_ref();
        if users.is_some_and(|users| !users.has_any(u32::from(self.run_as_non_root))) {
            return Some("no user id is allowed".to_owned());
        }
        let none = self.run_as_group.as_ref().is_some_and(|groups| !groups.has_any(0));
        none.then(|| "no group id is allowed".to_owned())
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let uid = id(asked.spec, UID);
        if self.run_as_non_root && uid.is_none_or(|uid| uid == 0) {
            findings.push(refused(asked.spec, UID, "a user other than 0".to_owned()));
        }
        if let Some(ranges) = &self.run_as_user
            && !uid.is_some_and(|uid| ranges.contain(uid))
        {
            findings.push(refused(asked.spec, UID, ranges.to_string()));
        }
        let gid = id(asked.spec, GID);
        if let Some(ranges) = &self.run_as_group
            && !gid.is_some_and(|gid| ranges.contain(gid))
        {
            findings.push(refused(asked.spec, GID, ranges.to_string()));
        }
        if let Some(ranges) = &self.supplemental_groups {
            // containerd lists the primary group among the supplemental ones (CVE-2023-25173).
            let groups = view::items(asked.spec, GROUPS);
            let (kept, lost): (Vec<&Value>, Vec<&Value>) = groups.iter().partition(|group| {
                let group = group.as_u64().and_then(|id| u32::try_from(id).ok());
                group.is_some_and(|group| ranges.contain(group) || gid == Some(group))
            });
            if !lost.is_empty() {
                let kept: Vec<Value> = kept.into_iter().cloned().collect();
                findings.push(Finding {
                    field: GROUPS.to_owned(),
                    asked: groups.into(),
                    allowed: ranges.to_string(),
                    remedy: Some(vec![Edit::Set(GROUPS.to_owned(), kept.into())]),
                });
            }
        }
        findings
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        let mut mismatches = Vec::new();
        let mut mismatch = |what: &str, found: u32, allowed: String| {
            mismatches.push(Mismatch { what: what.to_owned(), found: found.to_string(), allowed });
        };
        // The real ids: a setuid program changes the effective ones alone. The kernel reports them as
        // the reader's user namespace numbers them, so ranges can be compared only where the process
        // is in the host's; the host's own root is never right for a non-root container.
        let (uid, gid) = (seen.uids.first(), seen.gids.first());
        if self.run_as_non_root && uid == Some(&0) {
            mismatch("Uid", 0, "not 0".to_owned());
        }
        if !seen.host_namespaces.iter().any(|name| name == "user") {
            return mismatches;
        }
        if let (Some(ranges), Some(uid)) = (&self.run_as_user, uid)
            && !ranges.contain(*uid)
        {
            mismatch("Uid", *uid, ranges.to_string());
        }
        if let (Some(ranges), Some(gid)) = (&self.run_as_group, gid)
            && !ranges.contain(*gid)
        {
            mismatch("Gid", *gid, ranges.to_string());
        }
        if let Some(ranges) = &self.supplemental_groups {
            let wide = seen.groups.iter().find(|id| !ranges.contain(**id) && Some(*id) != gid);
            if let Some(group) = wide {
                mismatch("Groups", *group, ranges.to_string());
            }
        }
        mismatches
    }
}

/// Ids that both allow; ranges left out allow all.
fn meet(ours: Option<&IdRanges>, theirs: Option<&IdRanges>) -> Option<IdRanges> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours.meet(theirs)),
        (ours, theirs) => ours.or(theirs).cloned(),
    }
}

/// The id at a place, 0 where it is absent as it is for the runtimes; `None` for what is no id.
fn id(spec: &Value, field: &str) -> Option<u32> {
    match view::at(spec, field) {
        None => Some(0),
        Some(value) => value.as_u64().and_then(|id| u32::try_from(id).ok()),
    }
}

fn refused(spec: &Value, field: &str, allowed: String) -> Finding {
    Finding {
        field: field.to_owned(),
        asked: view::at(spec, field).cloned().unwrap_or(Value::Null),
        allowed,
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::id_ranges::IdRange;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::json;

    fn range(min: u32, max: u32) -> Option<IdRanges> {
        Some(IdRanges::of([IdRange { min, max }]))
    }

    #[test]
    fn root_is_refused_by_number_and_by_absence() {
        let rule = User { run_as_non_root: true, ..User::default() };
        for user in
            [json!({"uid": 0}), json!({}), json!(null), json!({"uid": "1"}), json!({"uid": -1})]
        {
            assert!(!is_within(&rule, &json!({"process": {"user": user}})), "{user}");
        }
        assert!(is_within(&rule, &json!({"process": {"user": {"uid": 1}}})));
    }

    #[test]
    fn supplemental_groups_go_but_for_the_primary_one() {
        let rule = User { supplemental_groups: range(2000, 2999), ..User::default() };
        let spec = json!({"process": {"user": {"gid": 7, "additionalGids": [7, 0, 2000, -1]}}});
        let after = enforced(&rule, &spec);
        assert_eq!(after["process"]["user"]["additionalGids"], json!([7, 2000]));
    }

    impl Generated for User {
        const CONTRADICTS: bool = true;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let ranges = || {
                let bounds = select(vec![(0, 0), (0, 9), (5, 20), (5, 20), (1, 30), (10, 10)]);
                proptest::option::weighted(
                    0.3,
                    bounds.prop_map(|(min, max)| IdRanges::of([IdRange { min, max }])),
                )
            };
            let rules = (proptest::bool::weighted(0.2), ranges(), ranges(), ranges()).prop_map(
                |(run_as_non_root, run_as_user, run_as_group, supplemental_groups)| User {
                    run_as_non_root,
                    run_as_user,
                    run_as_group,
                    supplemental_groups,
                },
            );
            let id = || {
                let ids = [json!(0), json!(7), json!(7), json!(15), json!(null), json!(-1)];
                select(ids.to_vec())
            };
            let groups = subsequence(vec![0, 5, 10, 15, 30], 0..=5);
            let specs = (id(), id(), groups).prop_map(|(uid, gid, groups)| {
                json!({"process": {"user": {"uid": uid, "gid": gid, "additionalGids": groups}}})
            });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        let rule = User { supplemental_groups: range(2000, 2000), ..User::default() };
        touches_only(&rule, &["process.user.additionalGids"]);
    }

    #[test]
    fn verify_compares_ranges_where_ids_are_the_hosts() {
        let rule = User { run_as_non_root: true, run_as_user: range(5, 9), ..User::default() };
        let mut seen = Seen { uids: vec![100_000; 4], gids: vec![0; 4], ..Seen::default() };
        assert!(rule.verify(&seen).is_empty());
        seen.host_namespaces = vec!["user".into()];
        assert_eq!(rule.verify(&seen).len(), 1);
        seen.uids = vec![0, 5, 5, 5];
        assert_eq!(rule.verify(&seen).len(), 2);
        let groups = User { supplemental_groups: range(5, 9), ..User::default() };
        seen.groups = vec![0, 5];
        assert!(groups.verify(&seen).is_empty(), "the primary group may be among them");
        seen.groups = vec![4];
        assert_eq!(groups.verify(&seen)[0].found, "4");
    }
}
