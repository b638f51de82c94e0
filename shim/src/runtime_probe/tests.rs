use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use coaming_config::Configuration;
use coaming_policy::controls::Node;

use super::store::Store;
use super::verdict::judge;
use super::*;

/// A place that root alone can change up to the root of the tree, with a runtime and a store.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Option<Place> {
        let folder = tempfile::tempdir_in("/var/lib").ok();
        if folder.is_none() {
            assert!(std::env::var_os("CI").is_none(), "these tests must run as root");
            eprintln!("skipped: a runtime is run from a folder of root's alone; run as root");
        }
        let folder = folder?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(Place(folder))
    }

    fn runtime(&self, name: &str, script: &str) -> PathBuf {
        let path = self.0.path().join(name);
        // A new file each time: one that is being executed cannot be written.
        let _ = fs::remove_file(&path);
        fs::write(&path, format!("#!/bin/sh\necho \"$1\" >> {}\n{script}", self.log().display()))
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// How often a runtime was asked for its version.
    fn asked(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().filter(|line| *line == "--version").count()
    }

    fn prober(&self) -> Prober {
        let store = Store::at(&self.0.path().join("kept"));
        Prober { store, patience: Duration::from_millis(600) }
    }
}

const OLD_RUNC: &str = r#"case "$1" in
--version) echo "runc version 1.1.11";;
features) echo '{"ociVersionMax": "1.1.0", "potentiallyUnsafeConfigAnnotations": ["bundle", "x.y."]}';;
esac
"#;

#[test]
fn a_runtime_is_asked_once_for_each_file_that_it_is() {
    let Some(place) = Place::new() else { return };
    let path = place.runtime("runc", OLD_RUNC);
    place.prober().look(&path, 100).unwrap();
    assert!(!place.0.path().join("kept").exists(), "looking leaves nothing behind");
    fs::remove_file(place.log()).unwrap();
    let first = place.prober().probe(&path, 100).unwrap();
    assert_eq!(first.told.version, "1.1.11");
    assert_eq!(first.unsafe_annotations(), ["bundle", "x.y."]);
    assert_eq!(place.prober().probe(&path, 999_999).unwrap(), first);
    assert_eq!(place.prober().look(&path, 999_999).unwrap(), first);
    assert_eq!(place.asked(), 1);
    place.runtime("runc", &OLD_RUNC.replace("1.1.11", "1.3.6"));
    assert_eq!(place.prober().probe(&path, 101).unwrap().told.version, "1.3.6");
    assert_eq!(place.asked(), 2);
}

#[test]
fn a_flag_is_taken_for_supported_where_the_runtime_says_so_or_is_crun() {
    let Some(place) = Place::new() else { return };
    let says = |name: &str, version: &str, flags: &str| {
        let script = format!(
            "case $1 in --version) echo '{version}';;\n\
             features) echo '{{\"linux\": {{\"seccomp\": {{{flags}}}}}}}';; esac\n"
        );
        place.prober().look(&place.runtime(name, &script), 100).unwrap().takes_log()
    };
    let flag = "\"supportedFlags\": [\"SECCOMP_FILTER_FLAG_TSYNC\", \"SECCOMP_FILTER_FLAG_LOG\"]";
    assert_eq!(says("runc", "runc version 1.3.6", flag), Ok(()));
    assert_eq!(says("crun", "crun version 1.28", ""), Ok(()));
    for flags in ["", "\"supportedFlags\": [\"SECCOMP_FILTER_FLAG_TSYNC\"]"] {
        let error = says("runc", "runc version 1.1.5", flags).unwrap_err();
        assert!(error.contains("runc does from 1.2 on"), "{error}");
    }
}

#[test]
fn what_others_could_have_written_is_not_believed() {
    let Some(place) = Place::new() else { return };
    let path = place.runtime("runc", OLD_RUNC);
    let kept = place.0.path().join("kept");
    place.prober().probe(&path, 100).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = fs::read_dir(&kept).unwrap().next().unwrap().unwrap().path();
    assert_eq!((mode(&kept), mode(&file)), (0o700, 0o600));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    place.prober().probe(&path, 100).unwrap();
    assert_eq!(place.asked(), 2, "a file that others can write");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
    place.prober().probe(&path, 100).unwrap();
    assert_eq!(place.asked(), 3, "a folder that others can write");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, "{").unwrap();
    place.prober().probe(&path, 100).unwrap();
    assert_eq!(place.asked(), 4, "half a file");
}

#[test]
fn a_runtime_that_hangs_is_killed_with_its_children_and_left_alone_for_a_while() {
    let Some(place) = Place::new() else { return };
    let children = place.0.path().join("children");
    let script = format!("sleep 300 &\necho $! $$ > {}\nwait\n", children.display());
    let path = place.runtime("runc", &script);
    let begun = Instant::now();
    let probed = place.prober().probe(&path, 1000).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(probed.failed.as_ref().unwrap().contains("no answer in time"), "{probed:?}");
    // The signal has been sent; on a busy machine it takes its time.
    let lives = |pid: &str| {
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z")
    };
    for pid in fs::read_to_string(children).unwrap().split_whitespace() {
        while lives(pid) {
            assert!(begun.elapsed() < Duration::from_secs(15), "{pid} lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    place.prober().probe(&path, 1000 + AGAIN).unwrap();
    assert_eq!(place.asked(), 1);
    place.prober().probe(&path, 1001 + AGAIN).unwrap();
    assert_eq!(place.asked(), 2, "it is asked again in time");
}

#[test]
fn an_answer_is_bounded_and_the_environment_empty() {
    let Some(place) = Place::new() else { return };
    let endless = place.runtime("endless", "yes runc version 1.2.3\n");
    let probed = place.prober().probe(&endless, 1).unwrap();
    assert!(probed.failed.as_ref().unwrap().contains("more than"), "{probed:?}");
    let failing = place.runtime("failing", "echo runc version 1.2.3; exit 3\n");
    assert!(place.prober().probe(&failing, 1).unwrap().failed.unwrap().contains("exit status: 3"));
    let mute = place.runtime("mute", "exit 0\n");
    assert!(place.prober().probe(&mute, 1).unwrap().failed.unwrap().contains("names no version"));
    // A shell sets some variables of its own.
    let curious =
        place.runtime("curious", "echo runc version 1.2.3-$(env | grep -c CARGO)-$(pwd)\n");
    assert_eq!(place.prober().probe(&curious, 1).unwrap().told.version, "1.2.3-0-/");
}

#[test]
fn a_runtime_without_features_is_none_the_worse() {
    let Some(place) = Place::new() else { return };
    let path = place.runtime("crun", "[ $1 = --version ] || exit 1\necho crun version 1.8.1\n");
    let probed = place.prober().probe(&path, 1).unwrap();
    assert_eq!((probed.features.as_ref(), probed.failed.as_ref()), (None, None));
    assert!(probed.unsafe_annotations().is_empty());
}

#[test]
fn what_a_version_means_is_configured() {
    let Some(place) = Place::new() else { return };
    let path = place.runtime("runc", OLD_RUNC);
    let mute = place.runtime("mute", "exit 0\n");
    let meaning = |path: &Path, text: &str| {
        let configuration = Configuration::parse("c.toml", text).unwrap();
        let mut node = Node::default();
        let probed = place.prober().probe(path, 1);
        let judged = judge(&configuration, "coaming-runc", path, probed, &mut node);
        (judged.map_err(|error| error.to_string()), node.unsafe_annotations)
    };
    let (warned, annotations) = meaning(&path, "");
    let warned = warned.unwrap();
    assert_eq!((annotations.len(), warned.version.as_deref()), (2, Some("runc 1.1.11")));
    let note = warned.notes.concat();
    assert!(note.contains("CVE-2024-21626") && note.contains("fixed in 1.1.12"), "{note}");
    let refused = meaning(&path, "vulnerable_runtimes = \"refuse\"").0.unwrap_err();
    for word in ["runc 1.1.11", "CVE-2025-31133", "fixed in 1.2.8", "update it", "config.toml"] {
        assert!(refused.contains(word), "{word}: {refused}");
    }
    assert!(meaning(&path, "vulnerable_runtimes = \"ignore\"").0.unwrap().notes.is_empty());
    let mut all: Vec<String> = Vec::new();
    for advisory in coaming_policy::runtime_versions::advisories::ALL {
        all.push(format!("{:?}", advisory.cve));
    }
    let own = |fixed: &str| {
        format!(
            "[runtimes.coaming-runc]\npath = \"/x\"\nvulnerable = \"refuse\"\nfixed = [{fixed}]\n"
        )
    };
    assert!(meaning(&path, &own(&all.join(","))).0.unwrap().notes.is_empty());
    assert!(meaning(&path, &own("\"CVE-2024-21626\"")).0.is_err());
    // What does not say its version may be anything.
    assert!(meaning(&mute, "").0.unwrap().notes.concat().contains("not say its version"));
    assert!(meaning(&mute, "vulnerable_runtimes = \"refuse\"").0.is_err());
    let youki = place.runtime("youki", "echo youki version 0.5.4\n");
    let admitted = meaning(&youki, "vulnerable_runtimes = \"refuse\"").0.unwrap();
    assert_eq!(admitted.version.as_deref(), Some("youki 0.5.4"), "of others there is no table");
}
