//! Reduced Landlock layers beside the stack that they stand for, on this machine's kernel: the same request, the same
//! answer.
//!
//! Landlock binds a thread, so each trial is a thread of its own, with a mount namespace, a file system and a network of
//! its own, which end with it.

// All of this file is tests, helpers included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod ground;

use std::collections::{BTreeMap, BTreeSet};

use coaming_integration::can_run;
use coaming_policy::controls::Rule;
use coaming_policy::controls::landlock::{Landlock, Layer};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::TestRunner;

use answers::Answers;
use ground::{BASE, PLACES, trial};

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE: u64 = 1 << 4 | 1 << 5;
const MAKE: u64 = 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;

fn answers(layers: &[Layer]) -> Answers {
    let layers = layers.to_vec();
    trial(move || {
        let prepared = answers::prepare();
        ground::restrict(&layers);
        answers::ask(&prepared)
    })
}

/// The layers in the order in which the launcher applies them.
fn reduced(stack: &[Layer]) -> Vec<Layer> {
    Landlock::of(stack).layers().into_iter().collect()
}

fn compare(one: &Answers, other: &Answers) -> Vec<String> {
    let differ = one.iter().filter(|(what, answer)| other.get(*what) != Some(answer));
    differ.map(|(what, answer)| format!("{what}: {answer}, or {:?}", other.get(what))).collect()
}

fn layer(rules: &[(&str, u64)]) -> Layer {
    Layer {
        handled_fs: rules.iter().fold(0, |bits, (_, rights)| bits | rights),
        paths: rules.iter().map(|(path, rights)| (at(path), *rights)).collect(),
        ..Layer::default()
    }
}

fn at(path: &str) -> String {
    if path.is_empty() { BASE.to_owned() } else { format!("{BASE}/{path}") }
}

/// Layers such as policies give, and layers that differ in one right.
fn any_layer() -> impl Strategy<Value = Layer> {
    let paths = || {
        let some = subsequence(PLACES.to_vec(), 1..=3);
        proptest::option::weighted(0.5, prop_oneof![2 => some, 1 => Just(vec![""])])
    };
    let lists = (paths(), paths(), paths(), paths(), paths(), paths());
    let ports = subsequence(answers::PORTS.to_vec(), 0..=2);
    (lists, 0u64..4, ports, 0u64..4).prop_map(|((x, w, r, d, m, f), net, ports, scoped)| {
        let mut layer = Layer { handled_net: net, scoped, ..Layer::default() };
        let rights = [EXECUTE, WRITE_FILE | TRUNCATE, READ_FILE, READ_DIR, MAKE | REMOVE, REFER];
        for (rights, paths) in rights.into_iter().zip([x, w, r, d, m, f]) {
            let Some(paths) = paths else { continue };
            layer.handled_fs |= rights;
            paths.iter().for_each(|path| *layer.paths.entry(at(path)).or_default() |= rights);
        }
        if net != 0 {
            layer.ports = ports.into_iter().map(|port| (port, net)).collect();
        }
        layer
    })
}

fn any_stack() -> impl Strategy<Value = Vec<Layer>> {
    let handles = |layer: &Layer| layer.handled_fs | layer.handled_net | layer.scoped != 0;
    let stack = proptest::collection::vec(any_layer(), 2).prop_flat_map(|pool| {
        // Policies often agree on some lists: the second takes rights over from the first.
        let same = subsequence((0..16u64).collect::<Vec<_>>(), 0..=16);
        (Just(pool), same, select(vec![true, false])).prop_map(|(mut pool, same, takes)| {
            let taken = same.into_iter().fold(0, |bits, index| bits | 1 << index);
            if takes && let [first, second] = pool.as_mut_slice() {
                take_over(second, first, taken);
            }
            pool
        })
    });
    // The kernel takes no ruleset that handles nothing.
    stack.prop_filter("handles nothing", move |stack| stack.iter().all(handles))
}

fn take_over(into: &mut Layer, from: &Layer, taken: u64) {
    into.handled_fs = into.handled_fs & !taken | from.handled_fs & taken;
    into.paths.values_mut().for_each(|rights| *rights &= !taken);
    for (path, rights) in &from.paths {
        *into.paths.entry(path.clone()).or_default() |= rights & taken;
    }
    into.paths.retain(|_, rights| *rights != 0);
}

#[test]
fn the_kernel_answers_the_reduced_layers_as_it_answers_the_stack() {
    if !can_run().unwrap() {
        return;
    }
    let cases = std::env::var("COAMING_LANDLOCK_CASES").map_or(200, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    });
    let reached = std::cell::Cell::new([0u32; 3]);
    runner
        .run(&any_stack(), |stack| {
            // A layer without files refuses moves beside one with them, which nobody asked: see the test of that.
            let files = stack.iter().filter(|layer| layer.handled_fs != 0).count();
            prop_assume!(files == 0 || files == stack.len());
            let fewer = reduced(&stack);
            let (stacked, merged) = (answers(&stack), answers(&fewer));
            let differ = compare(&stacked, &merged);
            prop_assert!(differ.is_empty(), "{fewer:#?} answer otherwise: {differ:#?}");
            let allowed = |what: &str| {
                stacked.iter().any(|(asked, answer)| asked.contains(what) && answer == "allowed")
            };
            let [combined, moved, refused] = reached.get();
            let some_refused = stacked.values().any(|answer| answer != "allowed");
            reached.set([
                combined + u32::from(fewer.len() < stack.len()),
                moved + u32::from(allowed("rename")),
                refused + u32::from(some_refused),
            ]);
            Ok(())
        })
        .unwrap();
    let [combined, moved, refused] = reached.get();
    eprintln!(
        "of {cases} stacks {combined} combined, {moved} let something move, {refused} refused something"
    );
    assert!(combined * 10 > cases && moved * 20 > cases && refused * 2 > cases);
}

#[test]
fn a_link_shows_who_takes_strings_for_places() {
    if !can_run().unwrap() {
        return;
    }
    // a/l is a link to d. By its spelling it is below a, and both would allow what is in it.
    let stack = [layer(&[("a", READ_FILE)]), layer(&[("a/l", READ_FILE)])];
    let by_spelling = layer(&[("a/l", READ_FILE)]);
    let stacked = answers(&stack);
    assert_eq!(compare(&stacked, &answers(&reduced(&stack))), Vec::<String>::new());
    let differ = compare(&stacked, &answers(&[by_spelling]));
    assert!(differ.iter().any(|what| what.starts_with("read d/f")), "{differ:?}");
}

#[test]
fn a_move_shows_who_forgets_what_a_file_gains() {
    if !can_run().unwrap() {
        return;
    }
    let (many, few) = (
        layer(&[("", REFER | MAKE | REMOVE), ("a", WRITE_FILE), ("d", WRITE_FILE)]),
        layer(&[("", REFER | MAKE | REMOVE), ("a", WRITE_FILE)]),
    );
    let stack = [many, few.clone()];
    let stacked = answers(&stack);
    assert_eq!(reduced(&stack).len(), 2);
    assert_eq!(compare(&stacked, &answers(&reduced(&stack))), Vec::<String>::new());
    let differ = compare(&stacked, &answers(&[few]));
    assert!(differ.iter().any(|what| what.starts_with("rename e to d")), "{differ:?}");
}

/// The oddity that is not kept: where both policies let a file be moved, or say nothing of it, it can be.
#[test]
fn ports_alone_keep_nothing_from_moving() {
    if !can_run().unwrap() {
        return;
    }
    let ports = Layer { handled_net: 1, ..Layer::default() };
    let files = layer(&[("", REFER | MAKE | REMOVE)]);
    let moves = |layers: &[Layer]| answers(layers)["rename a to d"] == "allowed";
    assert!(moves(std::slice::from_ref(&ports)) && moves(std::slice::from_ref(&files)));
    let stack = [ports, files];
    assert!(moves(&reduced(&stack)));
    if moves(&stack) {
        eprintln!(
            "NOTICED: this kernel lets files move under a layer of ports beside one of files"
        );
    }
}

/// Even the root is not above everything that a process can reach.
#[test]
fn a_descriptor_from_elsewhere_is_not_below_the_root() {
    if !can_run().unwrap() {
        return;
    }
    let read = |layers: &[&[&str]]| {
        let rules = |paths: &&[&str]| Layer {
            handled_fs: READ_FILE,
            paths: paths
                .iter()
                .map(|path| ((*path).to_owned(), READ_FILE))
                .collect::<BTreeMap<_, _>>(),
            ..Layer::default()
        };
        let layers: Vec<Layer> = layers.iter().map(rules).collect();
        trial(move || {
            let outside = ground::open(&at("d"));
            ground::bind(&at("d"), &at("a/b"));
            ground::enter(&at("a"));
            ground::restrict(&layers);
            [("f".to_owned(), answers::read_at(&outside, "f"))].into()
        })
    };
    // a is the root, a/b is d, and d is open.
    let allowed = |answers: &Answers| answers.values().all(|answer| answer == "allowed");
    assert!(allowed(&read(&[&["/b"]])) && !allowed(&read(&[&["/"]])));
    assert!(!allowed(&read(&[&["/"], &["/b"]])), "so the two are not the second alone");
    let stack: BTreeSet<Layer> = Landlock::of(&[layer_at("/"), layer_at("/b")]).layers();
    assert_eq!(stack.len(), 2);
}

fn layer_at(path: &str) -> Layer {
    Layer {
        handled_fs: READ_FILE,
        paths: [(path.to_owned(), READ_FILE)].into(),
        ..Layer::default()
    }
}
