//! Functions from argument tuples to labels, as disjoint patterns with a label each and one label for the rest.
//! Everything that is done to profiles is one operation on such tables: [`combine`].

use std::collections::{BTreeMap, HashMap};

use super::cube::Cube;
use super::profile::{Condition, Test};

/// The most patterns that a table may have. One `SCMP_CMP_NE` needs 64 when its complement must be written out.
pub(super) const LIMIT: usize = 256;
/// The most patterns at work between two simplifications.
const WORK: usize = 4 * LIMIT;

/// A table would pass [`LIMIT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// A total function from argument tuples to labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table<L> {
    /// Disjoint, none labelled as the rest.
    pub(super) pieces: Vec<(Cube, L)>,
    /// The label of everything outside the pieces.
    pub(super) rest: L,
}

impl<L: Copy + Eq> Table<L> {
    pub(super) fn constant(label: L) -> Self {
        Self { pieces: Vec::new(), rest: label }
    }

    pub(super) fn at(&self, args: &[u64; 6]) -> L {
        self.pieces
            .iter()
            .find(|(cube, _)| cube.matches(args))
            .map_or(self.rest, |(_, label)| *label)
    }

    /// The one label, when it does not depend on the arguments.
    pub(super) fn uniform(&self) -> Option<L> {
        self.pieces.is_empty().then_some(self.rest)
    }

    /// All labels that some tuple has.
    pub(super) fn labels(&self) -> impl Iterator<Item = L> + '_ {
        // The pieces never cover everything: `simplify` would have made one of them the rest.
        self.pieces.iter().map(|(_, label)| *label).chain([self.rest])
    }

    /// The patterns alone.
    pub(super) fn cubes(&self) -> Vec<Cube> {
        self.pieces.iter().map(|(cube, _)| *cube).collect()
    }

    /// The function with each label changed.
    pub(super) fn map<M: Copy + Eq>(&self, change: impl Fn(L) -> M) -> Table<M> {
        let rest = change(self.rest);
        let changed = self.pieces.iter().map(|(cube, label)| (*cube, change(*label)));
        Table { pieces: changed.filter(|(_, label)| *label != rest).collect(), rest }
    }

    /// The function on tuples of 32-bit arguments.
    pub(super) fn narrow(&self) -> Result<Self, TooMany> {
        let pieces = self.pieces.iter().filter_map(|(cube, label)| Some((cube.narrow()?, *label)));
        simplify(pieces.collect(), self.rest)
    }

    /// Disjoint cubes that together are everything but the pieces.
    pub(super) fn complement(&self) -> Result<Vec<Cube>, TooMany> {
        without(Cube::ANY, self.pieces.iter().map(|(cube, _)| cube), WORK)
    }

    /// The whole function as disjoint labelled cubes.
    pub(super) fn partition(&self) -> Result<Vec<(Cube, L)>, TooMany> {
        let rest = self.complement()?;
        Ok(self
            .pieces
            .iter()
            .copied()
            .chain(rest.into_iter().map(|cube| (cube, self.rest)))
            .collect())
    }

    /// The cubes of every label but `silent`.
    pub(super) fn without_label(&self, silent: L) -> Result<Vec<(Cube, L)>, TooMany> {
        if self.rest == silent {
            return Ok(self.pieces.clone());
        }
        let mut all = self.partition()?;
        all.retain(|(_, label)| *label != silent);
        Ok(all)
    }
}

impl Table<bool> {
    /// The tuples for which a condition holds. `bits` is 64, or 32 for what libseccomp makes of it on a 32-bit
    /// architecture: constants and argument cut to their lower half.
    pub(super) fn condition(condition: &Condition, bits: u32) -> Self {
        let full = u64::MAX >> (64 - bits);
        let index = condition.index;
        let single = |value: u64, inside: bool| Self {
            pieces: vec![(Cube::on(index, full, value), inside)],
            rest: !inside,
        };
        match condition.test {
            Test::Eq(v) => single(v & full, true),
            Test::Ne(v) => single(v & full, false),
            Test::Lt(v) => below(index, v & full, bits, false),
            Test::Ge(v) => below(index, v & full, bits, true),
            Test::Le(v) if v & full == full => Self::constant(true),
            Test::Gt(v) if v & full == full => Self::constant(false),
            Test::Le(v) => below(index, (v & full) + 1, bits, false),
            Test::Gt(v) => below(index, (v & full) + 1, bits, true),
            Test::MaskedEq { mask, value } if value & !mask & full != 0 => Self::constant(false),
            Test::MaskedEq { mask, .. } if mask & full == 0 => Self::constant(true),
            Test::MaskedEq { mask, value } => Self {
                pieces: vec![(Cube::on(index, mask & full, value & full), true)],
                rest: false,
            },
        }
    }
}

/// `argument < bound` (or its negation) as prefixes: one pattern for each set bit of the bound, or for each open one of
/// the complement, whichever are fewer.
fn below(index: usize, bound: u64, bits: u32, negated: bool) -> Table<bool> {
    let full = u64::MAX >> (64 - bits);
    let above_bit = |bit: u32| {
        if bit == 63 { 0 } else { full & (u64::MAX << (bit + 1)) }
    };
    let prefix = |bit: u32| {
        let one = 1_u64 << bit;
        Cube::on(index, above_bit(bit) | one, (bound & above_bit(bit)) | (!bound & one))
    };
    let (inside, set): (bool, u32) =
        if bound.count_ones() <= bits / 2 { (true, 1) } else { (false, 0) };
    let mut pieces: Vec<(Cube, bool)> = (0..bits)
        .filter(|bit| (bound >> bit) & 1 == u64::from(set))
        .map(|bit| (prefix(bit), inside != negated))
        .collect();
    if !inside {
        pieces.push((Cube::on(index, full, bound), negated));
    }
    Table { pieces, rest: inside == negated }
}

/// The pointwise combination of two functions.
pub(super) fn combine<A, B, C>(
    a: &Table<A>,
    b: &Table<B>,
    f: impl Fn(A, B) -> C,
) -> Result<Table<C>, TooMany>
where
    A: Copy + Eq,
    B: Copy + Eq,
    C: Copy + Eq,
{
    let rest = f(a.rest, b.rest);
    let mut pieces = Vec::new();
    for (cube, label) in &a.pieces {
        for (other, theirs) in &b.pieces {
            if let Some(both) = cube.intersect(other) {
                push(&mut pieces, both, f(*label, *theirs), rest)?;
            }
        }
        let alone = f(*label, b.rest);
        if alone != rest {
            for cube in without(*cube, b.pieces.iter().map(|(cube, _)| cube), WORK)? {
                push(&mut pieces, cube, alone, rest)?;
            }
        }
    }
    for (cube, label) in &b.pieces {
        let alone = f(a.rest, *label);
        if alone != rest {
            for cube in without(*cube, a.pieces.iter().map(|(cube, _)| cube), WORK)? {
                push(&mut pieces, cube, alone, rest)?;
            }
        }
    }
    simplify(pieces, rest)
}

fn push<L: Copy + Eq>(
    pieces: &mut Vec<(Cube, L)>,
    cube: Cube,
    label: L,
    rest: L,
) -> Result<(), TooMany> {
    if label != rest {
        pieces.push((cube, label));
    }
    if pieces.len() > WORK { Err(TooMany) } else { Ok(()) }
}

/// Disjoint cubes that make up `cube` without all of `others`; gives up above `limit` cubes.
fn without<'a>(
    cube: Cube,
    others: impl Iterator<Item = &'a Cube>,
    limit: usize,
) -> Result<Vec<Cube>, TooMany> {
    let mut parts = vec![cube];
    for other in others {
        let mut next = Vec::with_capacity(parts.len());
        for part in parts {
            part.subtract(other, &mut next);
            if next.len() > limit {
                return Err(TooMany);
            }
        }
        parts = next;
    }
    Ok(parts)
}

/// Joins neighbours (two cubes of one label that differ in one fixed bit), and lets the label with the most cubes be the
/// rest where nothing else is, or when that is shorter.
fn simplify<L: Copy + Eq>(pieces: Vec<(Cube, L)>, rest: L) -> Result<Table<L>, TooMany> {
    let mut table = Table { pieces: join(pieces), rest };
    if is_everything(&table.pieces) {
        if let Some(common) = most_common(&table.pieces) {
            table.pieces.retain(|(_, label)| *label != common);
            table.rest = common;
        }
    } else if table.pieces.len() > 2
        && let Ok(outside) =
            without(Cube::ANY, table.pieces.iter().map(|(cube, _)| cube), 2 * table.pieces.len())
        && let Some(common) = most_common(&table.pieces)
    {
        let outside = join(outside.into_iter().map(|cube| (cube, rest)).collect());
        let others = table.pieces.iter().filter(|(_, label)| *label != common).count();
        if outside.len() + others < table.pieces.len() {
            table.pieces.retain(|(_, label)| *label != common);
            table.pieces.extend(outside);
            table.rest = common;
        }
    }
    if table.pieces.len() > LIMIT { Err(TooMany) } else { Ok(table) }
}

/// Whether disjoint cubes leave nothing out: by the parts of the whole that they are, 1 in 2 to the power of the bits that
/// they fix.
fn is_everything<L>(pieces: &[(Cube, L)]) -> bool {
    let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
    for (cube, _) in pieces {
        *parts.entry(Cube::ANY.open_bits(cube)).or_default() += 1;
    }
    while let Some((bits, count)) = parts.pop_last() {
        match bits.checked_sub(1) {
            // Two halves are a whole.
            Some(fewer) if count % 2 == 0 => *parts.entry(fewer).or_default() += count / 2,
            Some(_) => return false,
            None => return true,
        }
    }
    false
}

fn most_common<L: Copy + Eq>(pieces: &[(Cube, L)]) -> Option<L> {
    let count = |label: L| pieces.iter().filter(|(_, l)| *l == label).count();
    let mut labels: Vec<L> = Vec::new();
    for (_, label) in pieces {
        if !labels.contains(label) {
            labels.push(*label);
        }
    }
    labels.into_iter().max_by_key(|label| count(*label))
}

fn join<L: Copy + Eq>(pieces: Vec<(Cube, L)>) -> Vec<(Cube, L)> {
    let mut slots: Vec<Option<(Cube, L)>> = pieces.into_iter().map(Some).collect();
    // By hash; every hit is compared in full, so a collision only leaves two cubes apart.
    let mut places: HashMap<u64, usize> = slots
        .iter()
        .enumerate()
        .filter_map(|(i, p)| p.as_ref().map(|p| (p.0.digest(), i)))
        .collect();
    let mut next = 0;
    while let Some(slot) = slots.get(next) {
        if let Some((cube, label)) = *slot {
            let twin = neighbours(&cube).find_map(|(digest, twin, joined)| {
                let at = *places.get(&digest)?;
                (*slots.get(at)? == Some((twin, label))).then_some((at, joined))
            });
            if let Some((at, joined)) = twin {
                for gone in [next, at] {
                    if let Some(slot) = slots.get_mut(gone) {
                        *slot = None;
                    }
                }
                // The joined cube goes to the end, and is looked at again.
                places.insert(joined.digest(), slots.len());
                slots.push(Some((joined, label)));
            }
        }
        next += 1;
    }
    slots.into_iter().flatten().collect()
}

/// For each fixed bit: the digest of the cube with that bit flipped, that cube, and the two together.
fn neighbours(cube: &Cube) -> impl Iterator<Item = (u64, Cube, Cube)> {
    let cube = *cube;
    let digest = cube.digest();
    (0..6).flat_map(move |index| {
        let mut open = cube.0.get(index).map_or(0, |p| p.mask);
        std::iter::from_fn(move || {
            let bit = open & open.wrapping_neg();
            open &= !bit;
            let (mut twin, mut joined) = (cube, cube);
            let (own, flipped, both) =
                (cube.0.get(index)?, twin.0.get_mut(index)?, joined.0.get_mut(index)?);
            flipped.value ^= bit;
            both.mask &= !bit;
            both.value &= !bit;
            let moved = digest ^ own.digest(index) ^ flipped.digest(index);
            (bit != 0).then_some((moved, twin, joined))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holds(test: Test, x: u64) -> bool {
        match test {
            Test::Ne(v) => x != v,
            Test::Lt(v) => x < v,
            Test::Le(v) => x <= v,
            Test::Eq(v) => x == v,
            Test::Ge(v) => x >= v,
            Test::Gt(v) => x > v,
            Test::MaskedEq { mask, value } => x & mask == value,
        }
    }

    fn test() -> impl Strategy<Value = Test> {
        let value = prop_oneof![
            any::<u64>(),
            0..70_u64,
            Just(u64::MAX),
            Just(u64::MAX - 1),
            Just(1 << 63),
            (0..64_u32).prop_map(|b| 1 << b)
        ];
        (0..7, value, any::<u64>()).prop_map(|(kind, v, mask)| match kind {
            0 => Test::Ne(v),
            1 => Test::Lt(v),
            2 => Test::Le(v),
            3 => Test::Eq(v),
            4 => Test::Ge(v),
            5 => Test::Gt(v),
            _ => Test::MaskedEq { mask, value: v & mask },
        })
    }

    /// A rest that no arguments reach is none.
    #[test]
    fn pieces_never_cover_everything() {
        let on = |mask, value| Cube::on(1, mask, value);
        let halves = vec![(on(4, 4), 'a'), (on(4, 0), 'b')];
        let thirds = vec![(on(4, 4), 'a'), (on(5, 1), 'b'), (on(5, 0), 'c')];
        for pieces in [vec![(Cube::ANY, 'a')], halves, thirds] {
            let table = simplify(pieces.clone(), 'z').unwrap();
            assert!(!table.labels().any(|label| label == 'z'), "{table:?}");
            for x in 0..8 {
                let args = [0, x, 0, 0, 0, 0];
                assert_eq!(table.at(&args), Table { pieces: pieces.clone(), rest: 'z' }.at(&args));
            }
        }
        let most = vec![(on(4, 4), 'a'), (on(5, 1), 'b')];
        assert!(simplify(most, 'z').unwrap().labels().any(|label| label == 'z'));
    }

    proptest! {
        #[test]
        fn a_condition_is_what_its_operator_says(test in test(), x: u64, bit in 0..64_u32) {
            let constant = match test {
                Test::Ne(v) | Test::Lt(v) | Test::Le(v) | Test::Eq(v) | Test::Ge(v) | Test::Gt(v) => v,
                Test::MaskedEq { value, .. } => value,
            };
            let table = Table::condition(&Condition { index: 2, test }, 64);
            let around = [constant, constant.wrapping_add(1), constant.wrapping_sub(1), constant ^ 1 << bit, 0, u64::MAX];
            for x in around.into_iter().chain([x]) {
                prop_assert_eq!(table.at(&[7, 7, x, 7, 7, 7]), holds(test, x), "{:?} at {}", test, x);
            }
            prop_assert!(table.pieces.len() <= 33);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn combining_is_pointwise(a in test(), b in test(), c in test(), x: u64, near in 0..3_u64) {
            let on = |index, test| Table::condition(&Condition { index, test }, 64);
            let both = combine(&on(0, a), &on(0, b), |a, b| u8::from(a) * 2 + u8::from(b));
            let Ok(all) = both.and_then(|t| combine(&t, &on(1, c), |t, c| t * 2 + u8::from(c))) else {
                return Ok(());
            };
            for x in [x, near, near.wrapping_sub(2)] {
                let want = u8::from(holds(a, x)) * 4 + u8::from(holds(b, x)) * 2 + u8::from(holds(c, near));
                prop_assert_eq!(all.at(&[x, near, 0, 0, 0, 0]), want);
            }
        }
    }

    #[test]
    fn the_complement_of_one_value_stays_short() {
        let ne = |v| Table::condition(&Condition { index: 0, test: Test::Ne(v) }, 64);
        let both = combine(&ne(38), &ne(40), |a, b| a && b).unwrap();
        assert_eq!((both.pieces.len(), both.rest), (2, true));
        let written_out = both.without_label(false).unwrap();
        assert!(written_out.len() <= 128, "{}", written_out.len());
    }

    #[test]
    fn neighbours_join_into_one() {
        let pieces = (0..16).map(|v| (Cube::on(0, 0xf, v), 1)).collect();
        assert_eq!(simplify(pieces, 0), Ok(Table::constant(1)));
    }
}
