//! Arguments at which filters go wrong: at, beside and a bit away from the constants of the rules, and in the wrong half.

use crate::random::Random;
use crate::rules::Rule;

/// For each argument the values that the rules on a syscall make interesting.
pub(crate) struct Values([Vec<u64>; 6]);

impl Values {
    pub(crate) fn of(rules: &[&[Rule]]) -> Values {
        let mut values: [Vec<u64>; 6] = [const { Vec::new() }; 6];
        for test in rules.iter().copied().flatten().flat_map(|rule| &rule.tests) {
            let Some(values) = values.get_mut(test.index) else { continue };
            let (v, two) = (test.value, test.value_two);
            for value in [v, two, two | !v] {
                values.extend([value, value.wrapping_sub(1), value.wrapping_add(1)]);
                values.extend([
                    value & LOW,
                    value | 1 << 32,
                    value ^ 1 << 31,
                    value ^ 1 << 63,
                    !value,
                ]);
            }
        }
        for values in &mut values {
            values.sort_unstable();
            values.dedup();
        }
        Values(values)
    }

    /// The arguments that the rules look at.
    pub(crate) fn conditioned(&self) -> [bool; 6] {
        self.0.each_ref().map(|values| !values.is_empty())
    }

    /// One point: for each argument an interesting value, one a bit away from it, or anything.
    pub(crate) fn point(&self, random: &mut Random) -> [u64; 6] {
        self.0.each_ref().map(|values| {
            let Some(value) = random.pick(values) else {
                return random.next() >> (random.below(8) * 9);
            };
            match random.below(8) {
                0 => value ^ 1 << random.below(64),
                1 => value & LOW | random.next() << 32,
                2 => random.next(),
                _ => value,
            }
        })
    }
}

const LOW: u64 = 0xffff_ffff;

/// Every interesting value of each argument, all others at one choice of theirs: what reaches each rule at least once.
pub(crate) fn corners(rules: &[&[Rule]]) -> Vec<[u64; 6]> {
    let values = Values::of(rules);
    let mut random = Random::new(1);
    (0..512).map(|_| values.point(&mut random)).collect()
}
