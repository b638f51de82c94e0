//! Is one table nowhere weaker than another? Decided by looking for a place where it is, which is also the answer that
//! people need. Nothing is combined into a third table: that may need more patterns than are allowed, where the
//! question itself is easy.

use super::Action;
use super::cube::Cube;
use super::table::Table;

/// Patterns compared for one question, at most.
const STEPS: usize = 1 << 20;

/// The question takes more than [`STEPS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Pointwise `a <= b` by precedence. A question that takes too long is answered with no.
pub(super) fn le(a: &Table<Action>, b: &Table<Action>) -> bool {
    weaker_at(a, b) == Ok(None)
}

/// Arguments at which `a` is weaker than `b`, if there are any.
pub(super) fn weaker_at(a: &Table<Action>, b: &Table<Action>) -> Result<Option<[u64; 6]>, TooLong> {
    place(a, b, |own, theirs| own.strength() > theirs.strength())
}

/// Arguments at which the two labels are related as asked, if there are any.
pub(super) fn place<A: Copy + Eq, B: Copy + Eq>(
    a: &Table<A>,
    b: &Table<B>,
    related: impl Fn(A, B) -> bool,
) -> Result<Option<[u64; 6]>, TooLong> {
    let mut steps = STEPS;
    let (own, theirs) = (a.cubes(), b.cubes());
    for (cube, label) in &a.pieces {
        for (other, _) in b.pieces.iter().filter(|(_, other)| related(*label, *other)) {
            if let Some(both) = cube.intersect(other) {
                return Ok(Some(both.first()));
            }
        }
        if related(*label, b.rest)
            && let Some(args) = member(*cube, &theirs, &mut steps)?
        {
            return Ok(Some(args));
        }
    }
    for (cube, _) in b.pieces.iter().filter(|(_, other)| related(a.rest, *other)) {
        if let Some(args) = member(*cube, &own, &mut steps)? {
            return Ok(Some(args));
        }
    }
    if related(a.rest, b.rest) {
        return member(Cube::ANY, &[own, theirs].concat(), &mut steps);
    }
    Ok(None)
}

/// Some arguments of a pattern that none of the others holds, if there are any.
pub(super) fn member(
    inside: Cube,
    outside: &[Cube],
    steps: &mut usize,
) -> Result<Option<[u64; 6]>, TooLong> {
    *steps = steps.checked_sub(1 + outside.len()).ok_or(TooLong)?;
    let near: Vec<Cube> =
        outside.iter().filter(|cube| inside.intersect(cube).is_some()).copied().collect();
    // The pattern that comes nearest to holding everything decides soonest.
    let Some(cube) = near.iter().min_by_key(|cube| inside.open_bits(cube)) else {
        return Ok(Some(inside.first()));
    };
    let Some((without, within)) = inside.split(cube) else {
        // It holds all of them.
        return Ok(None);
    };
    if let Some(args) = member(without, &near, steps)? {
        return Ok(Some(args));
    }
    member(within, &near, steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSE: Action = Action::Errno(1);

    fn table(pieces: Vec<(Cube, Action)>, rest: Action) -> Table<Action> {
        Table { pieces, rest }
    }

    #[test]
    fn the_place_where_one_is_weaker_is_named() {
        let all = table(Vec::new(), Action::Allow);
        let but_five = table(vec![(Cube::on(0, u64::MAX, 5), REFUSE)], Action::Allow);
        assert_eq!(weaker_at(&but_five, &all), Ok(None));
        assert_eq!(weaker_at(&all, &but_five), Ok(Some([5, 0, 0, 0, 0, 0])));
        // Errnos are equal among themselves.
        let other = table(vec![(Cube::on(0, u64::MAX, 5), Action::Errno(38))], Action::Allow);
        assert!(le(&but_five, &other) && le(&other, &but_five));
    }

    #[test]
    fn pieces_that_together_are_everything_leave_no_rest() {
        let halves = vec![(Cube::on(1, 1, 0), REFUSE), (Cube::on(1, 1, 1), REFUSE)];
        let none = table(Vec::new(), REFUSE);
        assert!(le(&table(halves.clone(), Action::Allow), &none));
        assert!(!le(&table(halves.get(..1).unwrap().to_vec(), Action::Allow), &none));
    }

    #[test]
    fn many_patterns_do_not_make_a_hard_question() {
        // Of 40 single values in each of two arguments the combination has thousands of pieces.
        let single = |index, action| -> Vec<(Cube, Action)> {
            (0..40_u64).map(|v| (Cube::on(index, u64::MAX, v * 0x1_0001), action)).collect()
        };
        let (a, b) =
            (table(single(0, REFUSE), Action::Allow), table(single(1, REFUSE), Action::Allow));
        assert!(matches!(weaker_at(&a, &b), Ok(Some(_))));
        assert!(le(&a, &a));
    }
}
