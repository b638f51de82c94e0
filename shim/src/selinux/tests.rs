//! Levels of pods, taken and given back. What the kernel is asked is tested in guests that have SELinux.

use std::collections::BTreeSet;
use std::fs;
use std::sync::mpsc;

use coaming_policy::controls::se_linux::level::{Pairs, Range};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

struct Containers {
    base: TempDir,
    root: TempDir,
}

impl Containers {
    fn none() -> Containers {
        Containers { base: TempDir::new().unwrap(), root: TempDir::new().unwrap() }
    }

    /// As the gate creates one: the level under the lock, then the state, and the runtime's container.
    fn create(&self, id: &str, pod: &str, pairs: &Pairs) -> Result<Range, StateError> {
        let levels = Levels::lock(self.base.path())?;
        let level = levels.of_pod(pod, pairs)?;
        fs::create_dir_all(self.root.path()).unwrap();
        let state = State::of(self.base.path(), self.root.path(), id);
        state.reserve()?;
        Held { pod: pod.to_owned(), level, allocated: true }.write(&state)?;
        // The runtime has it from here on; our own process stands for the one that makes it.
        Ok(level)
    }

    fn delete(&self, id: &str) {
        State::of(self.base.path(), self.root.path(), id).remove();
    }
}

fn few() -> Pairs {
    Pairs::within(&"s0-s0:c1000.c1003".parse().unwrap())
}

#[test]
fn a_pods_containers_share_a_level_until_the_last_is_gone() {
    let containers = Containers::none();
    let first = containers.create("sandbox", "a", &few()).unwrap();
    assert_eq!(containers.create("app", "a", &few()).unwrap(), first);
    let mut others = BTreeSet::new();
    for pod in 1..few().count() {
        others
            .insert(containers.create(&format!("c{pod}"), &format!("pod {pod}"), &few()).unwrap());
    }
    assert!(others.len() == few().count() - 1 && !others.contains(&first), "{first} {others:?}");
    let error = containers.create("late", "late", &few()).unwrap_err().to_string();
    assert!(error.contains("all 6 pairs") && error.contains("spec.seLinux.level"), "{error}");
    containers.delete("sandbox");
    assert!(containers.create("late", "late", &few()).is_err(), "the app has it still");
    containers.delete("app");
    assert_eq!(containers.create("late", "late", &few()).unwrap(), first);
}

#[test]
fn what_a_container_that_died_had_is_free() {
    let containers = Containers::none();
    let first = containers.create("c", "a", &few()).unwrap();
    let state = State::of(containers.base.path(), containers.root.path(), "c");
    // A process that is gone, and no container of the runtime's.
    let gone = format!("{}\n4194304\n1\n", containers.root.path().join("c").display());
    fs::write(state.private.join("owner"), gone).unwrap();
    let levels = Levels::lock(containers.base.path()).unwrap();
    assert!(levels.allocated_to_another("b", &first).is_none());
}

#[test]
fn a_level_that_cannot_be_read_is_not_taken_for_none() {
    let containers = Containers::none();
    containers.create("c", "a", &few()).unwrap();
    let state = State::of(containers.base.path(), containers.root.path(), "c");
    fs::write(state.private.join("level.json"), "{}").unwrap();
    assert!(Levels::lock(containers.base.path()).is_err());
}

#[test]
fn levels_of_other_processes_are_not_given_out() {
    let containers = Containers::none();
    let levels = Levels::lock(containers.base.path()).unwrap();
    let all: BTreeSet<Range> =
        (0..few().count()).map(|number| few().get(number).unwrap().into()).collect();
    for free in &all {
        let mut elsewhere = all.clone();
        elsewhere.remove(free);
        assert_eq!(levels.free("pod", &few(), &elsewhere).unwrap(), *free);
    }
    assert!(levels.free("pod", &few(), &all).is_err());
    let proc = TempDir::new().unwrap();
    for (pid, label) in [
        ("1", "system_u:system_r:init_t:s0\0"),
        ("20", "u:r:container_t:s0:c5,c9\0"),
        ("x", "a:b:c:s0:c1,c2"),
    ] {
        fs::create_dir_all(proc.path().join(pid).join("attr")).unwrap();
        fs::write(proc.path().join(pid).join("attr/current"), label).unwrap();
    }
    let seen: Vec<String> =
        levels::of_processes(proc.path()).iter().map(Range::to_string).collect();
    assert_eq!(seen, ["s0", "s0:c5,c9"]);
}

#[test]
fn creates_at_once_have_levels_of_their_own() {
    const POD: usize = 24;
    let containers = Containers::none();
    let pairs = Pairs::within(&"s0-s0:c0.c7".parse().unwrap());
    assert_eq!(pairs.count(), 28);
    let (told, heard) = mpsc::channel();
    std::thread::scope(|scope| {
        for number in 0..POD * 2 {
            let (told, containers, pairs) = (told.clone(), &containers, &pairs);
            scope.spawn(move || {
                let pod = number % POD;
                let level = containers.create(&format!("c{number}"), &format!("pod {pod}"), pairs);
                told.send((pod, level.unwrap())).unwrap();
            });
        }
    });
    drop(told);
    let all: BTreeSet<(usize, Range)> = heard.into_iter().collect();
    let levels: BTreeSet<&Range> = all.iter().map(|(_, level)| level).collect();
    assert_eq!((all.len(), levels.len()), (POD, POD), "{all:?}");
}

#[test]
fn a_pod_is_named_by_its_sandbox_and_by_one_alone() {
    let pod =
        |annotations: Value| levels::pod(&Facts::of("own", &json!({"annotations": annotations})));
    assert_eq!(pod(json!({})), "container own");
    let containerd = "io.kubernetes.cri.sandbox-id";
    assert_eq!(pod(json!({containerd: "s"})), "sandbox s");
    let both = |other: &str| pod(json!({containerd: "s", "io.kubernetes.cri-o.SandboxID": other}));
    assert_eq!(both("s"), "sandbox s");
    assert_eq!(both("victim"), "container own");
    assert_eq!(pod(json!({containerd: ""})), "container own");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is created and deleted in whatever order: pods that are there differ, and one pod has one level.
    #[test]
    fn no_two_pods_have_one_level(steps in proptest::collection::vec((0..6_u8, 0..2_u8, any::<bool>()), 1..40)) {
        let containers = Containers::none();
        let mut there = std::collections::BTreeMap::new();
        for (pod, container, is_create) in steps {
            let id = format!("{pod}-{container}");
            if !is_create {
                containers.delete(&id);
                there.remove(&id);
            } else {
                let create = || containers.create(&id, &pod.to_string(), &few()).unwrap();
                there.entry(id.clone()).or_insert_with(|| (pod, create()));
            }
            let pairs: BTreeSet<_> = there.values().copied().collect();
            let pods: BTreeSet<u8> = pairs.iter().map(|(pod, _)| *pod).collect();
            let levels: BTreeSet<Range> = pairs.iter().map(|(_, level)| *level).collect();
            prop_assert!(pairs.len() == pods.len() && pods.len() == levels.len(), "{:?}", there);
        }
    }
}
