//! The set in force through everything that happens to a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coaming_config::{Broken, Loosening, Policy, Signatures};
use coaming_policy::document::BuiltIn;
use coaming_policy::facts::Facts;
use coaming_policy::snapshot::Kept;
use serde_json::json;
use tempfile::TempDir;

use super::{Access, InForce, Keeper, Set};

const STRICT: &str = include_str!("../../../policy/src/snapshot/fixtures/strict.yaml");
const LOOSE: &str = include_str!("../../../policy/src/snapshot/fixtures/loose.yaml");
const STRICT_SUMS: &str = include_str!("../../../policy/src/snapshot/fixtures/strict.sums");
const LOOSE_SUMS: &str = include_str!("../../../policy/src/snapshot/fixtures/loose.sums");
const STRICT_1000: &str = include_str!("../../../policy/src/snapshot/fixtures/strict.1000.minisig");
const LOOSE_2000: &str = include_str!("../../../policy/src/snapshot/fixtures/loose.2000.minisig");
const LOOSE_500: &str = include_str!("../../../policy/src/snapshot/fixtures/loose.500.minisig");
const KEY: &str = include_str!("../../../policy/src/snapshot/fixtures/a.pub");

/// A node's places, in a folder of its own.
struct Node {
    folder: TempDir,
    policy: Policy,
}

impl Node {
    fn new(policy: Policy) -> Node {
        let node = Node { folder: TempDir::new().unwrap(), policy };
        fs::create_dir(node.directory()).unwrap();
        node
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("policy.d")
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join("lib/policy")
    }

    fn keeper(&self) -> Keeper {
        let lock = self.folder.path().join("run/lock");
        Keeper::at(self.directory(), self.policy.clone(), self.kept(), lock)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory().join(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.directory().join(name)).unwrap();
    }

    /// Writes the policy and the manifest of a set, and its signature where there is one.
    fn set(&self, policy: &str, sums: &str, signature: Option<&str>) {
        self.write("a.yaml", policy);
        self.write("SHA256SUMS", sums);
        match signature {
            Some(signature) => self.write("SHA256SUMS.minisig", signature),
            None => drop(fs::remove_file(self.directory().join("SHA256SUMS.minisig"))),
        }
    }

    fn start(&self) -> InForce {
        self.keeper().in_force(Access::Keep).unwrap()
    }

    fn snapshots(&self) -> usize {
        fs::read_dir(self.kept()).map_or(0, |entries| entries.count().saturating_sub(1))
    }
}

/// How much the set demands of a container: 2 of the strict policy, 1 of the loose one, 0 of none.
fn demands(in_force: &InForce) -> usize {
    let facts = Facts::of("c", &json!({}));
    let chosen = in_force.select(&facts, BuiltIn::Node).unwrap();
    assert!(!chosen.beneath.fields().is_empty(), "the built-in floor is always there");
    chosen.selection.policies.iter().map(|(_, floor)| floor.fields().len()).sum()
}

fn kind(in_force: &InForce) -> Option<Kept> {
    in_force.kept.as_ref().map(|since| since.refusal.kind)
}

fn free() -> Policy {
    Policy { loosening: Loosening::Free, ..Policy::default() }
}

fn trusting() -> Policy {
    Policy { trusted_keys: vec![KEY.trim().to_owned()], ..Policy::default() }
}

#[test]
fn a_first_start_makes_the_snapshot_and_others_read_it() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", STRICT);
    let first = node.start();
    assert!(matches!(first.set, Set::Read(_)) && first.notes.is_empty(), "{first:?}");
    assert_eq!((demands(&first), node.snapshots()), (2, 1));
    let next = node.start();
    assert!(matches!(next.set, Set::Kept(_)) && demands(&next) == 2);
    // Long after the change nothing but the times is looked at.
    std::thread::sleep(std::time::Duration::from_secs(4));
    assert_eq!(demands(&node.start()), 2);
    let current = node.keeper().store.current().unwrap().unwrap();
    assert!(current.seen.is_settled() && current.seen.is_current(&node.directory()));
    assert!(node.keeper().unchanged(current.clone()).is_some());
    // Under other rules the same directory is judged again.
    let signed = Node {
        policy: Policy { signatures: Signatures::Required, ..trusting() },
        folder: node.folder,
    };
    assert!(signed.keeper().unchanged(current).is_none());
    assert_eq!(kind(&signed.start()), Some(Kept::Signature));
    // Of a directory that is gone too.
    let empty = Node::new(Policy::default());
    fs::remove_dir(empty.directory()).unwrap();
    assert_eq!((demands(&empty.start()), demands(&empty.start()), empty.snapshots()), (0, 0, 1));
}

#[test]
fn what_tightens_is_taken_at_once_and_what_loosens_waits_for_a_word() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", LOOSE);
    assert_eq!(demands(&node.start()), 1);
    node.write("b.yaml", &STRICT.replace("held", "more"));
    assert_eq!(demands(&node.start()), 3);
    node.remove("b.yaml");
    for _ in 0..3 {
        let kept = node.start();
        assert_eq!((demands(&kept), kind(&kept)), (3, Some(Kept::Loosens)));
        let alarm = kept.alarm().unwrap();
        assert!(alarm.contains("--loosen") && alarm.contains("more"), "{alarm}");
    }
    let asked = node.keeper().load(false).unwrap();
    assert!(!asked.in_force && !asked.refused.unwrap().looser.is_empty());
    assert_eq!(demands(&node.start()), 3);
    let taken = node.keeper().load(true).unwrap();
    assert!(taken.in_force && !taken.unchanged && !taken.looser.is_empty(), "{taken:?}");
    let after = node.start();
    assert_eq!((demands(&after), kind(&after)), (1, None), "a removal is not undone");
    assert!(node.keeper().load(true).unwrap().unchanged);
    assert!(node.snapshots() <= 2, "the last one and the one before");
}

#[test]
fn while_the_directory_is_broken_the_last_good_set_holds() {
    let node = Node::new(free());
    node.write("a.yaml", STRICT);
    node.start();
    for broken in ["kind: Policy\n", "\u{0}", &STRICT.replace("held", "Not A Name")] {
        node.write("a.yaml", broken);
        let kept = node.start();
        assert_eq!((demands(&kept), kind(&kept)), (2, Some(Kept::Broken)));
        assert!(kept.alarm().unwrap().contains("a.yaml"), "{:?}", kept.alarm());
        let since = node.start().kept.unwrap();
        assert_eq!(since.since, kept.kept.unwrap().since, "told from when it began");
    }
    // A link that somebody put there.
    node.remove("a.yaml");
    std::os::unix::fs::symlink("/etc/hostname", node.directory().join("a.yaml")).unwrap();
    assert_eq!(kind(&node.start()), Some(Kept::Broken));
    node.remove("a.yaml");
    node.write("a.yaml", LOOSE);
    let mended = node.start();
    assert_eq!((demands(&mended), kind(&mended)), (1, None));
}

#[test]
fn a_broken_directory_refuses_where_that_is_configured_or_nothing_is_kept() {
    let mut node = Node::new(free());
    node.write("a.yaml", "kind: Policy\n");
    let error = node.keeper().in_force(Access::Keep).unwrap_err().to_string();
    assert!(error.contains("a.yaml:"), "{error}");
    node.write("a.yaml", STRICT);
    node.start();
    node.policy.broken = Broken::Refuse;
    node.write("a.yaml", "kind: Policy\n");
    for _ in 0..2 {
        assert!(node.keeper().in_force(Access::Keep).is_err());
    }
    node.write("a.yaml", STRICT);
    assert_eq!(demands(&node.start()), 2);
}

#[test]
fn a_set_with_a_manifest_is_taken_whole_or_not_at_all() {
    let node = Node::new(free());
    node.set(STRICT, STRICT_SUMS, None);
    assert_eq!(demands(&node.start()), 2);
    node.write("a.yaml", LOOSE);
    let half = node.start();
    assert_eq!((demands(&half), kind(&half)), (2, Some(Kept::Broken)));
    node.write("SHA256SUMS", LOOSE_SUMS);
    assert_eq!(demands(&node.start()), 1);
    node.remove("a.yaml");
    let torn = node.start();
    assert_eq!((demands(&torn), kind(&torn)), (1, Some(Kept::Broken)), "a file was taken away");
}

#[test]
fn a_signature_lets_a_set_loosen_and_an_older_one_is_not_taken_back() {
    let node = Node::new(trusting());
    node.set(STRICT, STRICT_SUMS, Some(STRICT_1000));
    assert_eq!(node.start().signed.unwrap().timestamp, 1000);
    node.set(LOOSE, LOOSE_SUMS, Some(LOOSE_500));
    let replayed = node.start();
    assert_eq!((demands(&replayed), kind(&replayed)), (2, Some(Kept::Loosens)));
    assert!(replayed.alarm().unwrap().contains("older"), "{:?}", replayed.alarm());
    node.set(LOOSE, LOOSE_SUMS, Some(&LOOSE_2000.replace("timestamp:2000", "timestamp:2001")));
    let forged = node.start();
    assert_eq!((demands(&forged), kind(&forged)), (2, Some(Kept::Loosens)));
    node.set(LOOSE, LOOSE_SUMS, Some(LOOSE_2000));
    let signed = node.start();
    assert_eq!(
        (demands(&signed), kind(&signed), signed.signed.unwrap().timestamp),
        (1, None, 2000)
    );
    // The strict set again, unsigned, and then the loose one as it was signed before the strict one.
    node.set(STRICT, STRICT_SUMS, None);
    assert_eq!(demands(&node.start()), 2);
    node.set(LOOSE, LOOSE_SUMS, Some(LOOSE_500));
    assert_eq!(demands(&node.start()), 2, "the latest signature is remembered");
}

#[test]
fn rules_that_change_judge_the_directory_again() {
    let mut node = Node::new(trusting());
    node.write("a.yaml", STRICT);
    assert_eq!(kind(&node.start()), None);
    node.policy.signatures = Signatures::Required;
    let unsigned = node.start();
    assert_eq!((demands(&unsigned), kind(&unsigned)), (2, Some(Kept::Signature)));
    assert!(!node.keeper().load(true).unwrap().in_force, "a word is no signature");
    node.set(STRICT, STRICT_SUMS, Some(STRICT_1000));
    assert_eq!(kind(&node.start()), None);
    let first = Node::new(node.policy.clone());
    first.write("a.yaml", STRICT);
    let refused = first.keeper().in_force(Access::Keep).unwrap_err().to_string();
    assert!(refused.contains("no signature"), "{refused}");
}

fn snapshot_of(node: &Node) -> PathBuf {
    let current = node.keeper().store.current().unwrap().unwrap();
    node.kept().join(format!("{}.snapshot", current.root))
}

#[test]
fn a_snapshot_that_others_can_write_is_not_read() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", STRICT);
    node.start();
    assert!(matches!(node.start().set, Set::Kept(_)));
    for path in [snapshot_of(&node), node.kept().join("current"), node.kept()] {
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(before.mode() | 0o022)).unwrap();
        let current = node.keeper().store.current();
        let read =
            current.ok().flatten().and_then(|current| node.keeper().store.open(&current.root).ok());
        assert!(read.is_none(), "{}", path.display());
        assert_eq!(demands(&node.start()), 2, "the directory is read");
        if path.exists() {
            fs::set_permissions(&path, before).unwrap();
        }
        assert_eq!(demands(&node.start()), 2);
    }
}

#[test]
fn a_damaged_snapshot_is_made_anew_and_a_lost_one_is_told_of() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", STRICT);
    node.start();
    let path = snapshot_of(&node);
    let good = fs::read(&path).unwrap();
    // A part that the index still names: found when a container needs it.
    let mut damaged = good.clone();
    let index = u64::from_le_bytes(good[8..16].try_into().unwrap()) as usize;
    damaged[64 + index] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let facts = Facts::of("c", &json!({}));
    assert!(node.start().select(&facts, BuiltIn::Baseline).is_err());
    assert_eq!(demands(&node.keeper().anew(Access::Keep).unwrap()), 2);
    assert_eq!(fs::read(&path).unwrap(), good, "written again");
    assert_eq!(demands(&node.start()), 2);
    // The directory loosens meanwhile, and the snapshot's sources are still good.
    node.write("a.yaml", LOOSE);
    let front = 64 + index;
    let mut damaged = good.clone();
    damaged[front] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let kept = node.start();
    assert_eq!((demands(&kept), kind(&kept)), (2, Some(Kept::Loosens)));
    fs::remove_file(snapshot_of(&node)).unwrap();
    let lost = node.start();
    assert_eq!(demands(&lost), 1);
    assert!(lost.notes.iter().any(|note| note.contains("lost")), "{:?}", lost.notes);
}

#[test]
fn without_a_place_to_keep_it_each_start_reads_the_directory_and_says_so() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", STRICT);
    fs::write(node.folder.path().join("lib"), "in the way").unwrap();
    for _ in 0..2 {
        let read = node.start();
        assert_eq!(demands(&read), 2);
        assert!(read.notes.iter().any(|note| note.contains("no snapshot")), "{:?}", read.notes);
    }
    let error = node.keeper().load(false).unwrap_err().to_string();
    assert!(error.contains("cannot write"), "{error}");
}

#[test]
fn whoever_only_looks_writes_nothing() {
    let node = Node::new(Policy::default());
    node.write("a.yaml", STRICT);
    assert_eq!(demands(&node.keeper().in_force(Access::Look).unwrap()), 2);
    assert!(!node.kept().exists() && !node.folder.path().join("run").exists());
    node.start();
    let before = fs::read(node.kept().join("current")).unwrap();
    node.write("a.yaml", LOOSE);
    let kept = node.keeper().in_force(Access::Look).unwrap();
    assert_eq!((demands(&kept), kind(&kept)), (2, Some(Kept::Loosens)));
    assert_eq!(fs::read(node.kept().join("current")).unwrap(), before);
}

/// Written by whoever may write it, and believed by nobody else.
#[test]
fn what_others_could_have_written_is_not_the_set_in_force() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new(free());
    node.write("a.yaml", STRICT);
    node.start();
    let path: &Path = &node.kept().join("current");
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    let told = node.start();
    assert_eq!(demands(&told), 2);
    assert!(told.notes.iter().any(|note| note.contains("chmod")), "{:?}", told.notes);
    assert!(node.start().notes.is_empty(), "written anew");
    fs::set_permissions(node.kept(), fs::Permissions::from_mode(0o777)).unwrap();
    let told = node.start();
    assert!(told.notes.iter().any(|note| note.contains("777")), "{:?}", told.notes);
}

#[test]
fn of_many_starts_one_renews_and_all_have_one_set() {
    let node = Node::new(free());
    node.write("a.yaml", STRICT);
    node.start();
    for round in 0..6 {
        let (policy, expected) = if round % 2 == 0 { (LOOSE, 1) } else { (STRICT, 2) };
        node.write("a.yaml", policy);
        std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| demands(&node.start()))).collect();
            for start in starts {
                assert_eq!(start.join().unwrap(), expected);
            }
        });
        assert!(node.snapshots() <= 2);
    }
}
