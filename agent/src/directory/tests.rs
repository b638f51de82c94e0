use std::os::unix::fs::PermissionsExt;

use coaming_policy::document::read_directory;
use coaming_shim::in_force::{Access, Keeper};
use serde_json::json;

use super::*;
use crate::objects::{Cluster, ConfigMap, Kind, PROFILES};
use crate::set::render;

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]}"#;

struct Folder {
    _kept: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Folder {
        let kept = tempfile::tempdir().unwrap();
        let path = kept.path().join("policy.d");
        make_folder(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Folder { _kept: kept, path }
    }

    fn write(&self, set: &Rendered) -> Written {
        self.write_and_keep(set, Duration::ZERO)
    }

    fn write_and_keep(&self, set: &Rendered, kept_for: Duration) -> Written {
        let directory = Directory::of(&self.path, Policy::default());
        Directory { kept_for, ..directory }.write(set).unwrap()
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        make_folder(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// Every file below, hidden ones too.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, below: &str, found: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let name = format!("{below}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    walk(&entry.path(), &format!("{name}/"), found);
                } else {
                    found.push(name);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path, "", &mut found);
        found.sort();
        found
    }
}

fn set(name: &str, profile: Option<&str>) -> Rendered {
    let mut cluster = Cluster::default();
    let spec = match profile {
        Some(_) => json!({"seccomp": {"floor": "profiles/p.json"}}),
        None => json!({"noNewPrivileges": true}),
    };
    cluster.documents.insert((Kind::Policy, name.to_owned()), spec);
    if let Some(text) = profile {
        let data = [("p.json".to_owned(), text.to_owned())].into();
        let map = ConfigMap { part: PROFILES.to_owned(), data, binary: false };
        cluster.maps.insert("profiles".to_owned(), map);
    }
    render(&cluster).unwrap()
}

fn manifest(set: &Rendered, local: &[(&str, &str)]) -> Vec<u8> {
    let line = |name: &str, bytes: &[u8]| format!("{}  {name}\n", hex(&Sha256::digest(bytes)));
    let mut text: String = local.iter().map(|(name, text)| line(name, text.as_bytes())).collect();
    text.push_str(&line(FILE, &set.documents));
    text.extend(set.profiles.iter().map(|(name, bytes)| line(name, bytes)));
    text.into_bytes()
}

fn refused(written: Written) -> String {
    match written {
        Written::Refused(faults) => faults.into_iter().map(|fault| fault.message).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_set_stands_there_as_a_node_reads_it_and_again_is_nothing() {
    let folder = Folder::new();
    let first = set("a", Some(PROFILE));
    assert_eq!(folder.write(&first), Written::Anew);
    assert_eq!(folder.write(&first), Written::Unchanged);
    assert_eq!(
        read_directory(&folder.path)
            .unwrap()
            .names()
            .map(|(name, _)| name.to_owned())
            .collect::<Vec<_>>(),
        ["a"]
    );
    let none = render(&Cluster::default()).unwrap();
    assert_eq!(folder.write(&none), Written::Anew);
    assert!(!folder.path.join(FILE).exists());
    assert_eq!(folder.write(&none), Written::Unchanged);
}

#[test]
fn the_profiles_of_the_last_set_stay_for_a_start_that_has_just_read_it() {
    let folder = Folder::new();
    let sets: Vec<Rendered> = ["ptrace", "mount", "bpf"]
        .iter()
        .map(|call| set("a", Some(&PROFILE.replace("ptrace", call))))
        .collect();
    let there = |set: &Rendered| set.profiles.keys().all(|name| folder.path.join(name).exists());
    for (at, next) in sets.iter().enumerate() {
        assert_eq!(folder.write(next), Written::Anew);
        let stand: Vec<bool> = sets.iter().map(there).collect();
        let expected: Vec<bool> = (0..3).map(|n| n <= at && n + 1 >= at).collect();
        assert_eq!(stand, expected, "after {at}");
        read_directory(&folder.path).unwrap();
    }
}

#[test]
fn what_others_wrote_stays_and_counts() {
    let folder = Folder::new();
    let local = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: own}\nspec: {noNewPrivileges: true}\n";
    folder.put("own.yaml", local);
    folder.put("profiles/p.json", "not the agent's");
    folder.put(".editing", "x");
    assert_eq!(folder.write(&set("a", Some(PROFILE))), Written::Anew);
    assert_eq!(folder.write(&Rendered::default()), Written::Anew);
    // Of its own the mark, and what a start that has read the last set a moment ago still names.
    let local: Vec<String> =
        folder.files().into_iter().filter(|name| !name.starts_with("kubernetes/")).collect();
    assert_eq!(local, [".editing", "own.yaml", "profiles/p.json"]);
    // The same name twice is an error of the whole directory.
    assert!(refused(folder.write(&set("own", None))).contains("rename one"));
    folder.put("own.yaml", "kind: [");
    assert!(refused(folder.write(&set("a", None))).contains("mended first"));
    assert!(!folder.path.join(FILE).exists());
}

#[test]
fn what_stands_in_its_places_and_is_not_its_own_is_left() {
    let foreign = |name: &str, text: &str, set: &Rendered| {
        let folder = Folder::new();
        folder.put(name, text);
        let error = Directory::of(&folder.path, Policy::default()).write(set).unwrap_err();
        assert!(matches!(error, AgentError::Foreign { .. }), "{error}");
        assert_eq!(folder.files(), [name]);
    };
    foreign(FILE, "apiVersion: coaming.dev/v1alpha1\n", &set("a", None));
    foreign("kubernetes/profile.json", "{}", &set("a", Some(PROFILE)));
    let mut signed = set("a", None);
    signed.signed = Some((manifest(&signed, &[]), b"s".to_vec()));
    foreign(MANIFEST, "", &signed);
    let folder = Folder::new();
    folder.put(MANIFEST, "");
    assert!(refused(folder.write(&set("a", None))).contains("not in SHA256SUMS"));
}

#[test]
fn a_manifest_holds_for_the_whole_directory_or_nothing_is_written() {
    let folder = Folder::new();
    let local = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: own}\nspec: {}\n";
    folder.put("own.yaml", local);
    let mut first = set("a", Some(PROFILE));
    first.signed = Some((manifest(&first, &[]), b"s".to_vec()));
    assert!(refused(folder.write(&first)).contains("own.yaml is not in SHA256SUMS"));
    first.signed = Some((manifest(&first, &[("own.yaml", local)]), b"s".to_vec()));
    assert_eq!(folder.write(&first), Written::Anew);
    assert_eq!(folder.write(&first), Written::Unchanged);
    // The objects changed and the signature has not come yet.
    let mut next = set("b", Some(PROFILE));
    next.signed.clone_from(&first.signed);
    assert!(refused(folder.write(&next)).contains("is not the file that"));
    assert_eq!(folder.write(&first), Written::Unchanged);
    next.signed = Some((manifest(&next, &[("own.yaml", local)]), b"t".to_vec()));
    assert_eq!(folder.write(&next), Written::Anew);
    // Unsigned from now on: the manifest that was the agent's goes.
    assert_eq!(folder.write(&set("b", None)), Written::Anew);
    assert!(!folder.path.join(MANIFEST).exists() && !folder.path.join(SIGNATURE).exists());
}

#[test]
fn a_node_that_wants_signatures_gets_nothing_else() {
    let folder = Folder::new();
    let policy = Policy { signatures: Signatures::Required, ..Policy::default() };
    let directory = Directory::of(&folder.path, policy);
    assert!(refused(directory.write(&set("a", None)).unwrap()).contains("no signature came"));
    let mut forged = set("a", None);
    forged.signed = Some((manifest(&forged, &[]), b"untrusted comment: x\nnothing\n".to_vec()));
    assert!(refused(directory.write(&forged).unwrap()).contains("signature"));
    assert_eq!(folder.files(), Vec::<String>::new());
}

#[test]
fn what_a_power_cut_left_is_mended() {
    let folder = Folder::new();
    let first = set("a", Some(PROFILE));
    assert_eq!(folder.write(&first), Written::Anew);
    let profile = first.profiles.keys().next().unwrap();
    folder.put(profile, "{");
    folder.put(&next(FILE), "half");
    folder.put(&format!("kubernetes/.{}.next/x", first.generation.as_ref().unwrap()), "half");
    assert_eq!(folder.write(&first), Written::Anew);
    assert_eq!(fs::read_to_string(folder.path.join(profile)).unwrap(), PROFILE);
    assert_eq!(folder.files().len(), 3, "{:?}", folder.files());
    // Torn between the manifest and the file.
    let mut signed = set("b", None);
    signed.signed = Some((manifest(&signed, &[]), b"s".to_vec()));
    assert_eq!(folder.write(&signed), Written::Anew);
    folder.put(FILE, std::str::from_utf8(&first.documents).unwrap());
    assert_eq!(folder.write(&signed), Written::Anew);
    assert_eq!(folder.write(&signed), Written::Unchanged);
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let folder = Folder::new();
    let path = folder.path.join("none");
    let error = Directory::of(&path, Policy::default()).write(&set("a", None)).unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

/// Starts while the agent writes: each is held to one whole set, and nobody finds the directory broken.
#[test]
fn no_start_sees_half_a_set() {
    let folder = Folder::new();
    let sets = ["ptrace", "mount", "bpf", "reboot", "acct", "swapon"]
        .map(|call| set("a", Some(&PROFILE.replace("ptrace", call))));
    let policy = Policy { loosening: coaming_config::Loosening::Free, ..Policy::default() };
    let kept = folder.path.with_file_name("kept");
    let keeper = Keeper::at(folder.path.clone(), policy, kept, folder.path.with_file_name("lock"));
    let whole: BTreeSet<[u8; 32]> =
        sets.iter().map(|set| set.beside(&Sources::default()).digest()).collect();
    assert_eq!(folder.write(&sets[0]), Written::Anew);
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=60 {
                assert_eq!(folder.write_and_keep(&sets[round % 6], KEPT_FOR), Written::Anew);
                std::thread::sleep(Duration::from_millis(5));
            }
            ended.store(true, std::sync::atomic::Ordering::Release);
        });
        let mut seen = BTreeSet::new();
        while !ended.load(std::sync::atomic::Ordering::Acquire) {
            let set = keeper.in_force(Access::Keep).unwrap();
            assert_eq!(set.kept, None);
            let digest = set.digest.unwrap();
            assert!(whole.contains(&digest), "a set that nobody wrote");
            seen.insert(digest);
        }
        assert!(seen.len() > 1, "the writer and the starts never met");
    });
}

#[test]
fn profiles_that_nobody_names_are_few() {
    let folder = Folder::new();
    for n in 0..20 {
        let profile = PROFILE
            .replace("ptrace", ["ptrace", "mount", "bpf", "acct", "reboot"][n % 5])
            .replace("ERRNO", ["ERRNO", "LOG", "KILL", "TRAP"][n % 4]);
        assert_eq!(folder.write_and_keep(&set("a", Some(&profile)), KEPT_FOR), Written::Anew);
    }
    let left = fs::read_dir(folder.path.join(FOLDER)).unwrap().flatten();
    let left = left.filter(|entry| is_generation(entry.file_name().to_str().unwrap())).count();
    assert_eq!(left, MAX_LEFT + 2);
}
