//! Patterns over the six arguments of a syscall: sets of argument tuples that fix some bits and leave the others open.

/// A pattern over one argument: the bits of `mask` must be those of `value`. Always `value & !mask == 0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pattern {
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// A pattern over all six arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Cube(pub(super) [Pattern; 6]);

const LOW: u64 = 0xffff_ffff;

impl Pattern {
    const ANY: Self = Self { mask: 0, value: 0 };

    fn intersect(self, other: Self) -> Option<Self> {
        if (self.value ^ other.value) & self.mask & other.mask != 0 {
            return None;
        }
        Some(Self { mask: self.mask | other.mask, value: self.value | other.value })
    }
}

impl Pattern {
    /// A hash, for one argument's place. Cubes are hashed by the thousand, one changed pattern at a time.
    pub(super) fn digest(self, index: usize) -> u64 {
        let seed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed =
            (self.mask ^ seed).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(31) ^ self.value;
        let mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 29)
    }
}

impl Cube {
    /// Everything.
    pub(super) const ANY: Self = Self([Pattern::ANY; 6]);

    /// One argument fixed in the bits of `mask`.
    pub(super) fn on(index: usize, mask: u64, value: u64) -> Self {
        let mut cube = Self::ANY;
        if let Some(pattern) = cube.0.get_mut(index) {
            *pattern = Pattern { mask, value: value & mask };
        }
        cube
    }

    pub(super) fn digest(&self) -> u64 {
        self.0.iter().enumerate().fold(0, |digest, (index, pattern)| digest ^ pattern.digest(index))
    }

    pub(super) fn matches(&self, args: &[u64; 6]) -> bool {
        self.0.iter().zip(args).all(|(pattern, arg)| arg & pattern.mask == pattern.value)
    }

    pub(super) fn intersect(&self, other: &Self) -> Option<Self> {
        let mut both = *self;
        for (pattern, other) in both.0.iter_mut().zip(&other.0) {
            *pattern = pattern.intersect(*other)?;
        }
        Some(both)
    }

    /// Pushes disjoint cubes that make up `self` without `other`: one for each bit that only `other` fixes, upper bits first.
    pub(super) fn subtract(&self, other: &Self, out: &mut Vec<Self>) {
        if self.intersect(other).is_none() {
            out.push(*self);
            return;
        }
        let mut rest = *self;
        for index in 0..6 {
            let (Some(own), Some(taken)) = (self.0.get(index), other.0.get(index)) else {
                continue;
            };
            let mut open = taken.mask & !own.mask;
            while open != 0 {
                let bit = 1 << (63 - open.leading_zeros());
                open &= !bit;
                let mut outside = rest;
                if let (Some(outside), Some(rest)) =
                    (outside.0.get_mut(index), rest.0.get_mut(index))
                {
                    outside.mask |= bit;
                    outside.value |= !taken.value & bit;
                    rest.mask |= bit;
                    rest.value |= taken.value & bit;
                }
                out.push(outside);
            }
        }
    }

    /// One of its tuples.
    pub(super) fn first(&self) -> [u64; 6] {
        self.0.map(|pattern| pattern.value)
    }

    /// How many bits `other` fixes that `self` leaves open.
    pub(super) fn open_bits(&self, other: &Self) -> u32 {
        self.0.iter().zip(&other.0).map(|(own, other)| (other.mask & !own.mask).count_ones()).sum()
    }

    /// The two halves of `self` by the first bit that `other` fixes and `self` leaves open: outside of `other`, and on
    /// its side. `None` when there is no such bit.
    pub(super) fn split(&self, other: &Self) -> Option<(Self, Self)> {
        for (index, (own, taken)) in self.0.iter().zip(&other.0).enumerate() {
            let open = taken.mask & !own.mask;
            if open == 0 {
                continue;
            }
            let bit = 1 << (63 - open.leading_zeros());
            let side = |value: u64| {
                let mut half = *self;
                if let Some(pattern) = half.0.get_mut(index) {
                    pattern.mask |= bit;
                    pattern.value |= value & bit;
                }
                half
            };
            return Some((side(!taken.value), side(taken.value)));
        }
        None
    }

    /// All tuples of 32-bit arguments.
    pub(super) fn narrow_arguments() -> Self {
        Self([Pattern { mask: !LOW, value: 0 }; 6])
    }

    /// The tuples whose upper halves are all zero, as patterns over the lower halves.
    pub(super) fn narrow(&self) -> Option<Self> {
        self.0.iter().all(|p| p.value & !LOW == 0).then(|| self.truncate())
    }

    /// What libseccomp makes of the pattern on a 32-bit architecture: the upper half is dropped, whatever it says
    /// (libseccomp 2.5.4, db.c, `_db_rule_gen_32`).
    pub(super) fn truncate(&self) -> Self {
        Self(self.0.map(|p| Pattern { mask: p.mask & LOW, value: p.value & LOW }))
    }

    /// Some pattern looks at an upper half.
    pub(super) fn is_wide(&self) -> bool {
        self.0.iter().any(|p| p.mask & !LOW != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern() -> impl Strategy<Value = (u64, u64)> {
        (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(a, b, v)| (a & b & 0xf_0000_000f, v))
    }

    fn cube() -> impl Strategy<Value = Cube> {
        (pattern(), pattern()).prop_map(|(a, b)| {
            Cube::on(0, a.0, a.1).intersect(&Cube::on(3, b.0, b.1)).unwrap_or(Cube::ANY)
        })
    }

    proptest! {
        #[test]
        fn difference_and_intersection_partition(a in cube(), b in cube(), x: u64, y: u64) {
            let args = [x & 0xf_0000_000f, 1, 2, y & 0xf_0000_000f, 4, 5];
            let mut parts = Vec::new();
            a.subtract(&b, &mut parts);
            parts.extend(a.intersect(&b));
            let hits = parts.iter().filter(|c| c.matches(&args)).count();
            prop_assert_eq!(hits, usize::from(a.matches(&args)));
        }
    }

    #[test]
    fn narrowing_keeps_what_32_bits_can_hold() {
        assert_eq!(Cube::on(0, u64::MAX, 40).narrow(), Some(Cube::on(0, LOW, 40)));
        assert_eq!(Cube::on(0, u64::MAX, 1 << 32 | 40).narrow(), None);
        assert_eq!(Cube::on(0, u64::MAX, 1 << 32 | 40).truncate(), Cube::on(0, LOW, 40));
    }
}
