//! A model of the kernel's answers, and what reducing layers must not change in them.
//!
//! The tree is abstract: a folder may have any parent, and a path may lead to any folder, so that every
//! way in which links and mounts can make strings lie is among the cases.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::layer::Layer;
use super::names::REFER;
use super::reduce::reduce;
use std::collections::{BTreeMap, BTreeSet};

const PATHS: [&str; 6] = ["/", "/a", "/a/b", "/a/b/c", "/d", "/e"];
const READ_FILE: u64 = 1 << 2;
const REMOVE_DIR: u64 = 1 << 4;
const RIGHTS: [u64; 4] = [READ_FILE, 1 << 1, REMOVE_DIR, REFER];
/// Rights that a file can have; the others are a directory's.
const OF_FILES: u64 = 1 | 1 << 1 | READ_FILE | 1 << 14 | 1 << 15;

/// Folder 0 has no parent, and neither has another whose parent is itself; `leads[i]` is the folder
/// that `PATHS[i]` leads to.
#[derive(Debug, Clone)]
struct Tree {
    parents: Vec<usize>,
    leads: Vec<usize>,
}

impl Tree {
    /// Rights that the layer refuses in a folder.
    fn refused(&self, layer: &Layer, folder: usize) -> u64 {
        if layer.handled_fs == 0 {
            return 0;
        }
        let mut refused = layer.handled_fs | REFER;
        let mut at = folder;
        loop {
            for (path, leads) in PATHS.iter().zip(&self.leads) {
                if *leads == at {
                    refused &= !layer.paths.get(*path).unwrap_or(&0);
                }
            }
            if self.parents[at] == at {
                return refused;
            }
            at = self.parents[at];
        }
    }

    /// Every answer of the kernel under these layers: of each right in each folder, and of moving a file
    /// or a directory between each two.
    fn answers<'a>(&self, layers: impl IntoIterator<Item = &'a Layer>) -> (Vec<u64>, Vec<bool>) {
        let folders = self.parents.len();
        let mut refused = vec![0; folders];
        let mut moves = vec![true; folders * folders * 2];
        for layer in layers {
            let each: Vec<u64> = (0..folders).map(|folder| self.refused(layer, folder)).collect();
            refused.iter_mut().zip(&each).for_each(|(all, one)| *all |= one);
            for (index, moved) in moves.iter_mut().enumerate() {
                let (from, to) = (each[index / 2 / folders], each[index / 2 % folders]);
                let compared = if index % 2 == 0 { OF_FILES } else { u64::MAX };
                let gains = from & !to & compared != 0;
                *moved &= !gains && (from | to) & REFER == 0;
            }
        }
        (refused, moves)
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let parents =
        (0usize..2, 0usize..3, 0usize..4, 0usize..5).prop_map(|(b, c, d, e)| vec![0, b, c, d, e]);
    (parents, proptest::collection::vec(0usize..5, PATHS.len()))
        .prop_map(|(parents, leads)| Tree { parents, leads })
}

fn any_layer() -> impl Strategy<Value = Layer> {
    let right = || proptest::option::weighted(0.7, subsequence(PATHS.to_vec(), 0..=3));
    let refer = prop_oneof![Just(Some(vec!["/"])), right()];
    let net = (0u64..4, subsequence(vec![(80u16, 3u64), (81, 1), (82, 2)], 0..=3));
    (right(), right(), right(), refer, net, 0u64..4).prop_map(|(r, w, d, refer, net, scoped)| {
        let mut layer = Layer {
            handled_net: net.0,
            scoped,
            ports: net.1.into_iter().collect(),
            ..Layer::default()
        };
        layer.ports.values_mut().for_each(|rights| *rights &= net.0);
        for (right, paths) in RIGHTS.into_iter().zip([r, w, d, refer]) {
            let Some(paths) = paths else { continue };
            layer.handled_fs |= right;
            paths
                .iter()
                .for_each(|path| *layer.paths.entry((*path).to_owned()).or_default() |= right);
        }
        layer
    })
}

/// A stack as policies give it: some layers are equal in part.
fn any_stack() -> impl Strategy<Value = Vec<Layer>> {
    proptest::collection::vec(any_layer(), 1..=4).prop_flat_map(|pool| {
        let layers = pool.clone();
        proptest::collection::vec((select(layers.clone()), select(layers)), 1..=4).prop_map(
            |pairs| {
                // The files of one and the ports of another.
                pairs
                    .into_iter()
                    .map(|(a, b)| Layer { handled_fs: a.handled_fs, paths: a.paths, ..b })
                    .collect()
            },
        )
    })
}

/// What ports and scopes a stack leaves.
fn beside_files<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> (u64, Vec<bool>) {
    let mut scoped = 0;
    let mut allowed = vec![true; 8];
    for layer in layers {
        scoped |= layer.scoped;
        for (index, answer) in allowed.iter_mut().enumerate() {
            let (port, right) = (80 + (index / 2) as u16, 1 << (index % 2));
            let granted = layer.ports.get(&port).is_some_and(|rights| rights & right != 0);
            *answer &= layer.handled_net & right == 0 || granted;
        }
    }
    (scoped, allowed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_kernel_answers_alike(tree in any_tree(), stack in any_stack()) {
        let reduced = reduce(&stack);
        prop_assert!(reduced.len() <= stack.len());
        prop_assert_eq!(tree.answers(&reduced), tree.answers(&stack));
        prop_assert_eq!(beside_files(&reduced), beside_files(&stack));
    }

    #[test]
    fn the_order_of_policies_and_of_meeting_does_not_show(
        stack in any_stack(), more in any_stack(),
    ) {
        let reduced = reduce(&stack);
        prop_assert_eq!(&reduce(&reduced), &reduced);
        prop_assert_eq!(&reduce(stack.iter().rev()), &reduced);
        prop_assert_eq!(reduce(reduced.iter().chain(&more)), reduce(stack.iter().chain(&more)));
    }

    #[test]
    fn what_a_kernel_refuses_to_take_is_not_there(stack in any_stack()) {
        for layer in reduce(&stack) {
            prop_assert!(!layer.asks_nothing());
            for rights in layer.paths.values() {
                prop_assert!(*rights != 0 && rights & !layer.handled_fs == 0);
            }
            for rights in layer.ports.values() {
                prop_assert!(*rights != 0 && rights & !layer.handled_net == 0);
            }
        }
    }
}

/// Merges as one would who takes strings for places: of two rules, the one that is spelled below.
fn by_spelling(stack: &[Layer]) -> BTreeSet<Layer> {
    let below = |path: &str, above: &str| {
        let rest = path.strip_prefix(above.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let met = stack.iter().fold(None, |met: Option<Layer>, layer| {
        let Some(met) = met else { return Some(layer.clone()) };
        let mut paths = BTreeMap::new();
        for right in RIGHTS {
            let granted = |layer: &Layer, path: &str| {
                layer.handled_fs & right == 0
                    || layer.paths.iter().any(|(p, rights)| rights & right != 0 && below(path, p))
            };
            for path in met.paths.keys().chain(layer.paths.keys()) {
                if granted(&met, path) && granted(layer, path) {
                    *paths.entry(path.clone()).or_default() |= right;
                }
            }
        }
        Some(Layer { handled_fs: met.handled_fs | layer.handled_fs, paths, ..Layer::default() })
    });
    met.into_iter().collect()
}

fn grants(rules: &[(&str, u64)]) -> Layer {
    Layer {
        handled_fs: rules.iter().fold(0, |bits, (_, rights)| bits | rights),
        paths: rules.iter().map(|(path, rights)| ((*path).to_owned(), *rights)).collect(),
        ..Layer::default()
    }
}

#[test]
fn the_model_catches_who_takes_strings_for_places() {
    let stack = [grants(&[("/a", READ_FILE)]), grants(&[("/a/b", READ_FILE)])];
    // /a/b is a link to folder 2, which is beside /a.
    let tree = Tree { parents: vec![0, 0, 0, 0, 0], leads: vec![0, 1, 2, 3, 4, 3] };
    assert_eq!(tree.answers(&reduce(&stack)), tree.answers(&stack));
    assert_ne!(tree.answers(&by_spelling(&stack)), tree.answers(&stack));
}

#[test]
fn the_model_catches_who_forgets_what_a_moved_file_gains() {
    let both = [("/", REFER), ("/a", READ_FILE), ("/d", READ_FILE)];
    let stack = [grants(&both), grants(&both[..2])];
    let tree = Tree { parents: vec![0, 0, 0, 0, 0], leads: vec![0, 1, 3, 3, 2, 3] };
    assert_eq!(reduce(&stack).len(), 2);
    assert_eq!(tree.answers(&reduce(&stack)), tree.answers(&stack));
    assert_ne!(tree.answers([&stack[1]]), tree.answers(&stack));
    // Where nothing moves, the smaller set is enough.
    let fixed = stack.map(|layer| Layer { handled_fs: layer.handled_fs & !REFER, ..layer });
    assert_eq!(reduce(&fixed), [grants(&[("/a", READ_FILE)])].into());
}

#[test]
fn policies_on_one_application_are_one_layer() {
    let read =
        |paths: &[&str]| grants(&paths.iter().map(|path| (*path, READ_FILE)).collect::<Vec<_>>());
    let ports = |ports: &[u16]| Layer {
        handled_net: 2,
        ports: ports.iter().map(|port| (*port, 2)).collect(),
        ..Layer::default()
    };
    let (many, few) = (read(&["/usr", "/lib", "/etc"]), read(&["/usr", "/lib"]));
    let reduced = reduce([&many, &few, &ports(&[80, 443]), &ports(&[443, 53])]);
    let met = Layer { handled_net: 2, ports: [(443, 2)].into(), ..few };
    assert_eq!(reduced, [met].into());
    assert_eq!(reduce([&read(&["/usr"]), &read(&["/lib"])]).len(), 2);
}
