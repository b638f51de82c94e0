//! The meet of Landlock rules: many layers brought down to few that the kernel answers alike.
//!
//! The kernel enforces every layer, so stacking what each policy demands is exact; but it takes 16 layers
//! and no more, the workload's own included. What combines exactly is combined here.
//!
//! **What a layer says of one right does not depend on what it says of another.** A request for
//! several rights is granted when every layer grants each of them, from some rule at or above the file
//! (kernel, `security/landlock/ruleset.c`, `landlock_unmask_layers`). So a stack is, for each right, a
//! family of sets of paths, and how the families are dealt out among layers does not show. A set that
//! contains another demands nothing beside it: what is below one of few paths is below one of more.
//! Ports and scopes have no hierarchy, so their families come down to one intersection and one union.
//!
//! **Moving and linking between directories compares rights**, layer by layer: the kernel refuses what
//! would gain a right by its new place (`fs.c`, `no_more_access`). A layer that grants `REFER` on `/`,
//! `WRITE_FILE` on `/a` and `/b`, and one that grants `WRITE_FILE` on `/a`, refuse together to move a
//! file from `/c` to `/b`, where the first would let it be written; by the smaller set, `/a`, it gains
//! nothing. So where `REFER` is granted, sets that contain others are kept, and only equal ones
//! combine. A layer that restricts any file right and does not grant `REFER` refuses it everywhere
//! (landlock(7)): beside such a layer nothing moves between directories and the smaller sets are enough.
//!
//! **That one path is spelled below another proves nothing.** Paths are opened when the container starts:
//! `/lib` is a link to `/usr/lib`, a volume is mounted twice. `/a/b` may be a link out of `/a`, so that what
//! both of two layers allow is neither below the one nor the other. Not even `/` is above everything:
//! a file reached by a descriptor from outside has no `/` above it. Nor would it help to look at start
//! (`openat2(2)` with `RESOLVE_BENEATH`): how many layers there are would then depend on an image, and
//! `coaming check` could not tell. What does not compare as a set of strings is stacked.
//!
//! Two spellings of one inode are two strings, and then stacked, which is right as well. One oddity of the
//! kernel is not kept: a layer of ports or scopes alone, which restricts no file where it stands alone,
//! refuses `REFER` everywhere when it stands beside a layer with file rights (seen on Linux 6.18;
//! landlock(7): `REFER` is denied by any ruleset that does not grant it). No policy asked for that.

use std::collections::{BTreeMap, BTreeSet};

use super::layer::Layer;
use super::names::REFER;

/// The paths that one layer grants one right on.
type Grants<'a> = BTreeSet<&'a str>;

/// The fewest layers, in an order of their own, that the kernel answers as it answers these together.
///
/// Fewest without knowing the file system that the paths lead to. The result does not depend on how
/// the layers were combined before: what is reduced once and stacked with more reduces to the same.
pub(super) fn reduce<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> BTreeSet<Layer> {
    let layers: Vec<&Layer> = layers.into_iter().collect();
    let mut reduced = deal_files(&layers);
    let beside = ports_and_scopes(&layers);
    match reduced.first_mut() {
        Some(first) => {
            first.handled_net = beside.handled_net;
            first.ports = beside.ports;
            first.scoped = beside.scoped;
        }
        None => reduced.push(beside),
    }
    reduced.into_iter().filter(|layer| !layer.asks_nothing()).collect()
}

/// The layers' demands on files, in as many layers as the right with most sets has.
fn deal_files(layers: &[&Layer]) -> Vec<Layer> {
    let layers: Vec<&&Layer> = layers.iter().filter(|layer| layer.restricts_files()).collect();
    let handled = layers.iter().fold(0, |bits, layer| bits | layer.handled_fs);
    let refer = smallest(layers.iter().map(|layer| granted(layer, REFER)).collect());
    let moves = refer.iter().all(|grants| !grants.is_empty());
    let mut dealt: BTreeMap<usize, Layer> = BTreeMap::new();
    for right in bits(handled & !REFER) {
        let sets = layers.iter().filter(|layer| layer.handled_fs & right != 0);
        let sets: BTreeSet<Grants<'_>> = sets.map(|layer| granted(layer, right)).collect();
        let sets = if moves { sets } else { smallest(sets) };
        for (index, grants) in sets.iter().enumerate() {
            grant(dealt.entry(index).or_default(), right, grants);
        }
    }
    if handled & REFER != 0 {
        for (index, grants) in refer.iter().enumerate() {
            grant(dealt.entry(index).or_default(), REFER, grants);
        }
    }
    if moves {
        // A layer without it would refuse it everywhere.
        for layer in dealt.values_mut() {
            if let (0, Some(grants)) = (layer.handled_fs & REFER, refer.last()) {
                grant(layer, REFER, grants);
            }
        }
    }
    dealt.into_values().collect()
}

/// The one layer of what all of them say of ports and scopes.
fn ports_and_scopes(layers: &[&Layer]) -> Layer {
    let mut met = Layer::default();
    for layer in layers {
        met.scoped |= layer.scoped;
        for right in bits(layer.handled_net) {
            let first = met.handled_net & right == 0;
            met.handled_net |= right;
            let ports = layer.ports.iter().filter(|(_, rights)| *rights & right != 0);
            let ports: BTreeSet<u16> = ports.map(|(port, _)| *port).collect();
            if first {
                ports.iter().for_each(|port| *met.ports.entry(*port).or_default() |= right);
            } else {
                let lost = met.ports.iter_mut().filter(|(port, _)| !ports.contains(port));
                lost.for_each(|(_, rights)| *rights &= !right);
            }
        }
    }
    met.ports.retain(|_, rights| *rights != 0);
    met
}

/// Those that contain no other.
fn smallest(sets: BTreeSet<Grants<'_>>) -> BTreeSet<Grants<'_>> {
    let contains_another =
        |set: &Grants<'_>| sets.iter().any(|other| other.len() < set.len() && other.is_subset(set));
    sets.iter().filter(|set| !contains_another(set)).cloned().collect()
}

fn granted(layer: &Layer, right: u64) -> Grants<'_> {
    let granting = layer.paths.iter().filter(|(_, rights)| **rights & right != 0);
    granting.filter(|_| layer.handled_fs & right != 0).map(|(path, _)| path.as_str()).collect()
}

fn grant(layer: &mut Layer, right: u64, grants: &Grants<'_>) {
    layer.handled_fs |= right;
    for path in grants {
        *layer.paths.entry((*path).to_owned()).or_default() |= right;
    }
}

fn bits(of: u64) -> impl Iterator<Item = u64> {
    (0..u64::BITS).map(|index| 1 << index).filter(move |bit| of & bit != 0)
}
