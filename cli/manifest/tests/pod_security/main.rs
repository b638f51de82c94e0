//! Kubernetes' own fixtures for Pod Security, on a node that includes `pss/baseline` or `pss/restricted`.
//!
//! Each pod is made into the specs that containerd would make of it, and each spec is decided as the gate
//! decides it. The verdict must be Pod Security's, but for what `fixtures.yaml` says a node cannot see; and
//! that list must be exact: what a node begins to see fails here until the list is mended.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod documentation;
mod fixtures;
mod node;

use std::collections::BTreeSet;

use fixtures::{Fixture, Fixtures, Level, Verdict};
use node::{Kind, Node};

/// What a node must say of a fixture, in words where it does not.
fn judge(fixtures: &Fixtures, fixture: &Fixture, level: Level) -> Vec<String> {
    let pod = fixtures.pod(fixture, level);
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let node = Node { kind, image_of_root: fixture.image.is_some(), level };
        let refused = match node.decide(&pod) {
            Ok(refused) => refused,
            Err(problem) => {
                wrong.push(format!("{level:?} {} on {kind:?}: {problem}", fixture.name()));
                continue;
            }
        };
        if let Some(problem) = disagreement(fixture, level, kind, &refused) {
            wrong.push(format!("{level:?} {} on {kind:?}: {problem}", fixture.name()));
        }
    }
    wrong
}

/// Where the controls that refuse are not those that should.
fn disagreement(
    fixture: &Fixture,
    level: Level,
    kind: Kind,
    refused: &Option<BTreeSet<String>>,
) -> Option<String> {
    if fixture.unseen.as_deref() == Some("windows") {
        return refused.as_ref().map(|_| "a Linux node runs it".to_owned());
    }
    let Some(refused) = refused else { return Some("no Linux node runs it".to_owned()) };
    let elsewhere = fixture.on.is_some_and(|on| on != kind);
    if fixture.verdict == Verdict::Pass || fixture.is_unseen_at(level) || elsewhere {
        return (!refused.is_empty()).then(|| format!("refused by {refused:?}, not admitted"));
    }
    let missing: Vec<&String> =
        fixture.by.iter().filter(|control| !refused.contains(*control)).collect();
    (!missing.is_empty() || fixture.by.is_empty())
        .then(|| format!("refused by {refused:?}, not by {:?}", fixture.by))
}

#[test]
fn the_node_says_what_pod_security_says() {
    let fixtures = Fixtures::read();
    let mut wrong = Vec::new();
    let mut judged = 0;
    for fixture in fixtures.fixtures.iter().chain(&fixtures.ours) {
        for level in &fixture.levels {
            wrong.extend(judge(&fixtures, fixture, *level));
            judged += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {judged}:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{judged} pods were judged on {} kinds of node each", Kind::ALL.len());
}

/// Nobody mounts the volumes of the fixtures. Where a container does, `hostPath` is seen, and no other type.
#[test]
fn of_volumes_that_are_mounted_a_hosts_path_is_seen_and_no_type() {
    let fixtures = Fixtures::read();
    let mut judged = 0;
    for fixture in &fixtures.fixtures {
        for level in &fixture.levels {
            let pod = fixtures.with_volumes_mounted(fixtures.pod(fixture, *level));
            let Some(pod) = pod else { continue };
            let node = Node { kind: Kind::Plain, image_of_root: false, level: *level };
            let refused: Vec<String> = node.decide(&pod).unwrap().unwrap().into_iter().collect();
            assert_eq!(refused, fixture.mounted, "{level:?} {}", fixture.name());
            judged += 1;
        }
    }
    // The volumes of two checks of baseline and restricted, and what restricted lets pass.
    assert_eq!(judged, 2 * 2 + 20 + 1);
}
