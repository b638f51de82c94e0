//! Whatever is wrong with the launch, the workload does not start.

use std::process::Command;

use coaming_hooks::plan::{Layer, Plan};

use crate::needs_root;
use crate::root::{Ended, Root};
use crate::seccomp::allow_all;

fn refused(ended: &Ended, words: &str) {
    assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
    assert!(ended.err.starts_with("coaming-init: ") && ended.err.contains(words), "{}", ended.err);
    assert_eq!(ended.err.matches('\n').count(), 1, "{:?}", ended.err);
}

#[test]
fn a_plan_that_is_damaged_starts_nothing() {
    needs_root!();
    let good = Plan { filters: vec![allow_all()], ..Plan::default() }.encode().unwrap();
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    let cases = [
        (vec![], "magic"),
        (flipped, "magic"),
        (good[..good.len() - 1].to_vec(), "ends inside"),
        ([&good[..], b"x"].concat(), "follow"),
        ([&good[..], &vec![0; 2 << 20]].concat(), "at most"),
    ];
    for (bytes, words) in cases {
        refused(&Root::with_plan_bytes(&bytes).run(&["echo", "started"]).end(), words);
    }
    assert_eq!(Root::with_plan_bytes(&good).run(&["true"]).end().code, 0);
}

#[test]
fn no_new_privs_must_be_set_unless_nothing_is_asked() {
    needs_root!();
    let layers = Plan { layers: vec![Layer { scoped: 1, ..Layer::default() }], ..Plan::default() };
    let filters = Plan { filters: vec![allow_all()], ..Plan::default() };
    for plan in [layers, filters] {
        let root = Root::new(&plan);
        refused(&root.run(&["echo", "started"]).without_no_new_privs().end(), "no_new_privs");
        assert_eq!(root.run(&["true"]).end().code, 0);
    }
    let ended = Root::new(&Plan::default()).run(&["true"]).without_no_new_privs().end();
    assert_eq!(ended.code, 0, "{}", ended.err);
}

#[test]
fn only_a_plain_name_of_a_plain_file_is_read() {
    needs_root!();
    let root = Root::new(&Plan::default());
    let launch = root.path().join("dev/.coaming");
    std::fs::copy(launch.join("plan"), root.path().join("tmp/plan")).unwrap();
    std::os::unix::fs::symlink("plan", launch.join("link")).unwrap();
    std::fs::create_dir(launch.join("folder")).unwrap();
    assert!(Command::new("mkfifo").arg(launch.join("pipe")).status().unwrap().success());
    let start = |name| root.direct(&["/dev/.coaming/init", name, "echo", "started"]).end();
    assert_eq!(start("plan").code, 0);
    for name in ["../../tmp/plan", "/tmp/plan", "./plan", "", ".", "..", "Plan", "pl an"] {
        refused(&start(name), "name");
    }
    for name in ["link", "nosuch"] {
        refused(&start(name), "opening");
    }
    for name in ["folder", "pipe"] {
        refused(&start(name), "not a regular file");
    }
}

#[test]
fn a_launch_directory_that_is_a_symlink_is_not_followed() {
    needs_root!();
    let root = Root::new(&Plan::default());
    let dev = root.path().join("dev");
    std::fs::rename(dev.join(".coaming"), dev.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", dev.join(".coaming")).unwrap();
    refused(&root.run(&["echo", "started"]).end(), "opening");
}

#[test]
fn too_few_arguments_start_nothing() {
    needs_root!();
    let root = Root::new(&Plan::default());
    for arguments in [&["/dev/.coaming/init"][..], &["/dev/.coaming/init", "plan"]] {
        refused(&root.direct(arguments).end(), "usage");
    }
}
