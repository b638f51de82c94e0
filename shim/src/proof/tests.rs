//! What follows from what is seen, at each moment.

use coaming_policy::controls::Node;
use coaming_policy::document::parse_policies;
use coaming_policy::floor::Floor;
use serde_json::{Value, json};

use super::hold::{Against, Held};
use super::{Judged, Look, Moment, Outcome, Place, judge};
use crate::journal::event::{Proof, Word};
use crate::record::Filters;

const SPEC: &str = "
  capabilities: {allow: [CHOWN]}
  noNewPrivileges: true
  maskedPaths: [/proc/keys]
  rlimits: {RLIMIT_CORE: 0}
  user: {runAsNonRoot: true}
  seccomp: {floor: runtime-default}
  landlock: {read: [/]}
";
/// The root and a mask, as `mountinfo` has them.
const MOUNTS: &str = "20 1 0:5 / / ro - overlay overlay rw\n21 20 0:6 / /proc rw - proc proc rw\n\
                      22 21 0:7 /null /proc/keys rw - devtmpfs dev rw\n";

fn floor() -> Floor {
    let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:";
    let policy = parse_policies("p.yaml", &format!("{head}{SPEC}")).unwrap().remove(0);
    policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
}

/// A process that keeps everything.
fn good() -> Look {
    let mut look = Look::default();
    look.seen.read_status(
        "Uid:\t1000\t1000\t1000\t1000\nGid:\t5\t5\t5\t5\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\n\
         Seccomp:\t2\nSeccomp_filters:\t3\n",
    );
    look.seen.read_mountinfo(MOUNTS);
    look.seen.present.insert("/proc/keys".to_owned());
    look.seen.rlimits.insert("RLIMIT_CORE".to_owned(), (0, 0));
    look.seen.host_namespaces = vec!["user".to_owned()];
    for (number, kind) in (1..).zip(["user", "mount", "pid", "network", "ipc", "uts"]) {
        look.namespaces.insert(kind.to_owned(), (0, number));
    }
    look.uid_map = vec![[0, 0, u64::from(u32::MAX)]];
    look.cwd = Some(Place { mount: 20, path: "/".to_owned() });
    look.directories.insert(4, Place { mount: 21, path: "/proc".to_owned() });
    look
}

/// The process as it was given, with more capabilities.
fn given(more: &[&str]) -> Value {
    let mut bounding = vec!["CAP_CHOWN"];
    bounding.extend(more);
    json!({"noNewPrivileges": true, "capabilities": {"bounding": bounding}, "user": {"uid": 1000}})
}

fn judged(look: &Look, process: &Value, moment: Moment<'_>) -> Judged {
    let against = Against {
        floor: &floor(),
        node: &Node { landlock_abi: 7, kernel: (6, 18), ..Node::default() },
        process,
        filters: Some(Filters { inherited: 1, runtime: 0, launcher: 2 }),
        late_filter: false,
        preserved: 1,
    };
    judge(look, against, moment)
}

#[track_caller]
fn of(judged: &Judged, control: &str) -> (Outcome, Word) {
    let held: Option<&Held> = judged.controls.iter().find(|held| held.control == control);
    let held = held.unwrap_or_else(|| panic!("no {control} in {judged:#?}"));
    (held.outcome, held.by)
}

#[test]
fn what_keeps_everything_holds_and_landlock_by_the_launchers_word() {
    let all = judged(&good(), &given(&[]), Moment::Started(None));
    assert_eq!(all.outcome(), Proof::Held, "{all:#?}");
    assert_eq!(of(&all, "landlock"), (Outcome::Held, Word::Launcher));
    assert_eq!(of(&all, "capabilities"), (Outcome::Held, Word::Kernel));
    let created = judged(&good(), &given(&[]), Moment::Created);
    assert_eq!(of(&created, "landlock"), (Outcome::NotYet, Word::None));
}

#[test]
fn a_filter_less_is_a_mismatch_once_all_should_be_there() {
    let mut look = good();
    look.seen.seccomp_filters = 2;
    let started = judged(&look, &given(&[]), Moment::Started(None));
    assert_eq!(of(&started, "seccomp").0, Outcome::Mismatch);
    assert_eq!(of(&started, "landlock"), (Outcome::NotTold, Word::None));
    look.seen.seccomp_mode = 0;
    assert_eq!(
        of(&judged(&look, &given(&[]), Moment::Started(None)), "seccomp").0,
        Outcome::Mismatch
    );
    // The launcher has not run yet.
    assert_eq!(of(&judged(&look, &given(&[]), Moment::Created), "seccomp").0, Outcome::NotYet);
    // Before Linux 5.9 their number is not told.
    look.seen.seccomp_mode = 2;
    look.seen.seccomp_filters = 0;
    assert_eq!(of(&judged(&look, &given(&[]), Moment::Started(None)), "seccomp").0, Outcome::Held);
}

#[test]
fn more_than_was_enforced_is_a_mismatch_at_every_moment() {
    let init = good();
    let moments =
        [Moment::Created, Moment::Started(Some(&init)), Moment::Executed(Some(&init)), Moment::Now];
    for moment in moments {
        let mut look = good();
        look.seen.no_new_privs = false;
        look.seen.cap_bounding |= 1 << 21;
        let found = judged(&look, &given(&["CAP_SYS_CHROOT"]), moment);
        assert_eq!(of(&found, "noNewPrivileges").0, Outcome::Mismatch, "{moment:?}");
        assert_eq!(of(&found, "capabilities").0, Outcome::Mismatch, "{moment:?}");
        assert!(found.in_words().contains("CapBnd is 0000000000200001"), "{}", found.in_words());
    }
    let mut look = good();
    look.seen.uids = vec![1001; 4];
    assert_eq!(of(&judged(&look, &given(&[]), Moment::Created), "user").0, Outcome::Mismatch);
}

#[test]
fn what_a_process_may_do_by_itself_is_no_mismatch() {
    let before = good();
    let mut look = good();
    look.seen.read_mountinfo(MOUNTS.lines().take(2).collect::<Vec<_>>().join("\n").as_str());
    let outcome = |process: &Value, moment| of(&judged(&look, process, moment), "maskedPaths").0;
    let admin = given(&["CAP_SYS_ADMIN"]);
    // It held before the workload began.
    assert_eq!(outcome(&admin, Moment::Started(Some(&before))), Outcome::Held);
    // Nobody looked before.
    assert_eq!(outcome(&admin, Moment::Started(None)), Outcome::Unproven);
    assert_eq!(outcome(&given(&[]), Moment::Started(None)), Outcome::Mismatch);
    // Before the workload, and for who asks now, there is no excuse.
    assert_eq!(outcome(&admin, Moment::Created), Outcome::Mismatch);
    assert_eq!(outcome(&admin, Moment::Now), Outcome::Mismatch);

    // In a user namespace of its own it has every capability.
    let mut look = good();
    look.seen.cap_bounding = u64::MAX >> 23;
    look.seen.cap_effective = u64::MAX >> 23;
    look.namespaces.insert("user".to_owned(), (0, 99));
    let moment = Moment::Started(Some(&before));
    assert_eq!(of(&judged(&look, &given(&[]), moment), "capabilities").0, Outcome::Unproven);
    look.namespaces.insert("user".to_owned(), (0, 1));
    assert_eq!(of(&judged(&look, &given(&[]), moment), "capabilities").0, Outcome::Mismatch);

    // Limits, where it may raise them.
    let mut look = good();
    look.seen.rlimits.insert("RLIMIT_CORE".to_owned(), (7, 7));
    let outcome =
        |process: &Value| of(&judged(&look, process, Moment::Executed(None)), "rlimits").0;
    assert_eq!(outcome(&given(&["CAP_SYS_RESOURCE"])), Outcome::Unproven);
    assert_eq!(outcome(&given(&[])), Outcome::Mismatch);
}

#[test]
fn directories_that_lead_out_are_found_beyond_what_the_caller_hands_on() {
    let outside = Place { mount: 900, path: "/etc".to_owned() };
    let mut look = good();
    look.directories.insert(3, outside.clone());
    let of_look =
        |look: &Look, control: &str, moment| of(&judged(look, &given(&[]), moment), control).0;
    let init = good();
    let executed = Moment::Executed(Some(&init));
    assert_eq!(of_look(&look, "descriptors", executed), Outcome::Held, "3 was handed on");
    look.directories.insert(7, outside.clone());
    assert_eq!(of_look(&look, "descriptors", executed), Outcome::Mismatch);
    assert_eq!(of_look(&look, "descriptors", Moment::Started(None)), Outcome::Mismatch);
    // The runtime's own, which its execve closes.
    let created = judged(&look, &given(&[]), Moment::Created);
    assert!(created.controls.iter().all(|held| held.control != "descriptors"));
    look.cwd = Some(outside);
    for moment in [Moment::Created, executed, Moment::Started(None)] {
        assert_eq!(of_look(&look, "workingDirectory", moment), Outcome::Mismatch, "{moment:?}");
    }
    // An exec that is not in the container.
    look.namespaces.insert("network".to_owned(), (0, 77));
    assert_eq!(of_look(&look, "namespaces", executed), Outcome::Mismatch);
}
