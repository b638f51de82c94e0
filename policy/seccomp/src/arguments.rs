//! Sets of arguments in words, in the operators of OCI profiles: `domain != 38`, `flags & 0x7e020000 != 0`.

use super::Arch;
use super::cube::{Cube, Pattern};
use super::table::{Table, TooMany};

/// The most conditions that are spelt out for one answer of one syscall.
const SPELT: usize = 8;
/// The most stretches of numbers that make one condition.
const STRETCHES: usize = 8;

const LOW: u64 = 0xffff_ffff;

/// Names of arguments, from the section 2 manual pages; those that filters look at.
const NAMES: &[(&str, &[&str])] = &[
    ("bpf", &["cmd"]),
    ("clone", &["flags"]),
    ("fcntl", &["fd", "op"]),
    ("ioctl", &["fd", "op", "argp"]),
    ("ipc", &["call"]),
    ("kcmp", &["pid1", "pid2", "type"]),
    ("keyctl", &["operation"]),
    ("kill", &["pid", "sig"]),
    ("madvise", &["addr", "size", "advice"]),
    ("mmap", &["addr", "length", "prot", "flags"]),
    ("mount", &["source", "target", "filesystemtype", "mountflags"]),
    ("mprotect", &["addr", "size", "prot"]),
    ("open", &["pathname", "flags", "mode"]),
    ("openat", &["dirfd", "pathname", "flags", "mode"]),
    ("personality", &["persona"]),
    ("prctl", &["op"]),
    ("ptrace", &["op", "pid"]),
    ("setns", &["fd", "nstype"]),
    ("shmat", &["shmid", "shmaddr", "shmflg"]),
    ("socket", &["domain", "type", "protocol"]),
    ("socketcall", &["call"]),
    ("socketpair", &["domain", "type", "protocol"]),
    ("unshare", &["flags"]),
];

/// One condition for each part of the arguments, at most [`SPELT`], and whether there are more. No condition at all: every
/// argument.
pub(super) fn in_words(cubes: &[Cube], syscall: &str, arch: Arch) -> (Vec<String>, bool) {
    let words = Words { syscall, arch };
    let cubes: Vec<Cube> = if arch.is_narrow() {
        cubes.iter().filter_map(Cube::narrow).collect()
    } else {
        cubes.to_vec()
    };
    // The argument that varies most is put last: what the others are is said once for all its values.
    let (last, groups) = (0..6)
        .map(|index| (index, grouped(&cubes, index)))
        .min_by_key(|(index, groups)| (groups.len(), usize::MAX - tests_on(&cubes, *index)))
        .unwrap_or_default();
    let mut spelt = Vec::new();
    let mut more = false;
    for (others, own) in groups {
        let fixed: Vec<String> = (0..6)
            .zip(others.0)
            .filter(|(index, pattern)| *index != last && pattern.mask != 0)
            .map(|(index, pattern)| words.pattern(index, pattern, true))
            .collect();
        let (alternatives, cut) = words.alternatives(last, &own);
        more |= cut;
        spelt.extend(alternatives.into_iter().map(|last| {
            let last = last.map(|last| match last.contains(" or ") && !fixed.is_empty() {
                true if !last.starts_with("not ") => format!("({last})"),
                _ => last,
            });
            let all: Vec<&str> = fixed.iter().chain(&last).map(String::as_str).collect();
            all.join(" and ")
        }));
    }
    if spelt.iter().any(String::is_empty) {
        return (Vec::new(), false);
    }
    more |= spelt.len() > SPELT;
    spelt.truncate(SPELT);
    (spelt, more)
}

/// The patterns of one argument, by what the others are.
fn grouped(cubes: &[Cube], index: usize) -> Vec<(Cube, Vec<Pattern>)> {
    let mut groups: Vec<(Cube, Vec<Pattern>)> = Vec::new();
    for cube in cubes {
        let mut others = *cube;
        let Some(slot) = others.0.get_mut(index) else { continue };
        let own = std::mem::replace(slot, Pattern { mask: 0, value: 0 });
        match groups.iter_mut().find(|(known, _)| *known == others) {
            Some((_, patterns)) => patterns.push(own),
            None => groups.push((others, vec![own])),
        }
    }
    groups
}

fn tests_on(cubes: &[Cube], index: usize) -> usize {
    cubes.iter().filter(|cube| cube.0.get(index).is_some_and(|pattern| pattern.mask != 0)).count()
}

struct Words<'a> {
    syscall: &'a str,
    arch: Arch,
}

impl Words<'_> {
    /// `clone` has its flags second on s390 (clone(2), "C library/kernel differences").
    fn name(&self, index: usize) -> String {
        let swapped = self.syscall == "clone" && matches!(self.arch, Arch::S390 | Arch::S390X);
        let names = NAMES.iter().find(|(name, _)| *name == self.syscall).map(|(_, names)| *names);
        match names.and_then(|names| names.get(index)).filter(|_| !swapped) {
            Some(name) => (*name).to_owned(),
            None => format!("arg{index}"),
        }
    }

    fn full(&self) -> u64 {
        if self.arch.is_narrow() { LOW } else { u64::MAX }
    }

    /// The values of one argument that some pattern holds: `None` for all of them, one condition for each part.
    fn alternatives(&self, index: usize, patterns: &[Pattern]) -> (Vec<Option<String>>, bool) {
        if patterns.iter().any(|pattern| pattern.mask == 0) {
            return (vec![None], false);
        }
        if let [one] = patterns {
            return (vec![Some(self.pattern(index, *one, true))], false);
        }
        let outside = complement(patterns, self.full());
        if outside.as_ref().is_ok_and(Vec::is_empty) {
            return (vec![None], false);
        }
        if let Ok([one]) = outside.as_deref() {
            return (vec![Some(self.pattern(index, *one, false))], false);
        }
        // What the kernel takes for 32 bits is often held against the lower half alone.
        let lower = patterns.iter().all(|pattern| pattern.mask & !LOW == 0);
        let (name, full) = match self.name(index) {
            name if lower && self.full() != LOW => (format!("{name} & {LOW:#x}"), LOW),
            name => (name, self.full()),
        };
        if let Some(stretches) = stretches(patterns, full) {
            return (vec![Some(in_order(&name, full, &stretches))], false);
        }
        if let Some(holes) = outside.ok().and_then(|outside| stretches(&outside, full)) {
            return (vec![Some(format!("not ({})", in_order(&name, full, &holes)))], false);
        }
        let all =
            patterns.iter().take(SPELT).map(|p| Some(self.pattern(index, *p, true))).collect();
        (all, patterns.len() > SPELT)
    }

    fn pattern(&self, index: usize, pattern: Pattern, inside: bool) -> String {
        let (name, operator) = (self.name(index), if inside { "=" } else { "!=" });
        let Pattern { mask, value } = pattern;
        if mask == self.full() {
            return format!("{name} {operator} {}", number(value));
        }
        format!(
            "{name} & {mask:#x} {operator} {}",
            if value == 0 { "0".to_owned() } else { format!("{value:#x}") }
        )
    }
}

/// Stretches of an argument's values, from the lowest on.
fn in_order(name: &str, full: u64, stretches: &[(u64, u64)]) -> String {
    let one = |(low, high): &(u64, u64)| match (*low, *high) {
        (low, high) if low == high => format!("{name} = {}", number(low)),
        (0, high) => format!("{name} <= {}", number(high)),
        (low, high) if high == full => format!("{name} >= {}", number(low)),
        (low, high) => format!("{} <= {name} <= {}", number(low), number(high)),
    };
    stretches.iter().map(one).collect::<Vec<_>>().join(" or ")
}

fn number(value: u64) -> String {
    if value < 4096 { value.to_string() } else { format!("{value:#x}") }
}

/// What no pattern holds, as patterns over the bits of `full`.
fn complement(patterns: &[Pattern], full: u64) -> Result<Vec<Pattern>, TooMany> {
    let on = |pattern: &Pattern| (Cube::on(0, pattern.mask & full, pattern.value & full), true);
    let table = Table { pieces: patterns.iter().map(on).collect(), rest: false };
    let outside = table.complement()?;
    Ok(outside.into_iter().filter_map(|cube| cube.0.first().copied()).collect())
}

/// The values as stretches from one to another, if every pattern is one stretch and they join to a few.
fn stretches(patterns: &[Pattern], full: u64) -> Option<Vec<(u64, u64)>> {
    let mut all = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let open = full & !pattern.mask;
        // The open bits are the lowest ones: the values are a stretch.
        if open & open.wrapping_add(1) != 0 {
            return None;
        }
        all.push((pattern.value, pattern.value | open));
    }
    all.sort_unstable();
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (low, high) in all {
        match joined.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(low) => *end = high,
            _ => joined.push((low, high)),
        }
    }
    (joined.len() <= STRETCHES).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Condition, Test};

    fn words(conditions: &[(usize, Test)], syscall: &str, arch: Arch) -> String {
        let bits = if arch.is_narrow() { 32 } else { 64 };
        let mut table = Table::constant(true);
        for (index, test) in conditions {
            let one = Table::condition(&Condition { index: *index, test: *test }, bits);
            table = crate::table::combine(&table, &one, |a, b| a && b).unwrap();
        }
        let (words, more) = in_words(&inside(&table), syscall, arch);
        assert!(!more);
        words.join("; ")
    }

    fn inside(table: &Table<bool>) -> Vec<Cube> {
        table.without_label(false).unwrap().into_iter().map(|(cube, _)| cube).collect()
    }

    #[test]
    fn conditions_read_as_they_were_written() {
        let masked = Test::MaskedEq { mask: 0x7e02_0000, value: 0 };
        for (test, expected) in [
            (Test::Eq(38), "domain = 38"),
            (Test::Ne(38), "domain != 38"),
            (Test::Lt(38), "domain <= 37"),
            (Test::Le(38), "domain <= 38"),
            (Test::Ge(38), "domain >= 38"),
            (Test::Gt(0x1_0000_0000), "domain >= 0x100000001"),
            (masked, "domain & 0x7e020000 = 0"),
        ] {
            assert_eq!(words(&[(0, test)], "socket", Arch::X86_64), expected);
        }
        assert_eq!(words(&[(0, Test::Ne(38))], "socket", Arch::X86), "domain != 38");
        assert_eq!(words(&[(0, masked)], "clone", Arch::S390X), "arg0 & 0x7e020000 = 0");
        assert_eq!(words(&[], "socket", Arch::X86_64), "");
        let both = [(0, Test::Eq(2)), (2, Test::Ne(262))];
        assert_eq!(words(&both, "socket", Arch::X86_64), "domain = 2 and protocol != 262");
        let range = [(0, Test::Ge(5)), (0, Test::Lt(9)), (1, Test::Eq(1))];
        assert_eq!(words(&range, "uname", Arch::X86_64), "arg1 = 1 and 5 <= arg0 <= 8");
        let holes = [(0, Test::Ne(38)), (0, Test::Ne(40))];
        let expected = "domain <= 37 or domain = 39 or domain >= 41";
        assert_eq!(words(&holes, "socket", Arch::X86_64), expected);
    }

    #[test]
    fn a_mask_that_must_not_be_zero_is_one_condition() {
        let zero = Cube::on(0, 0x7e02_0000, 0);
        let table = Table { pieces: vec![(zero, false)], rest: true };
        let (words, _) = in_words(&inside(&table), "clone", Arch::X86_64);
        assert_eq!(words, ["flags & 0x7e020000 != 0"]);
    }

    #[test]
    fn a_lower_half_is_in_order_too() {
        let low = Table::condition(&Condition { index: 0, test: Test::Gt(5) }, 32);
        let (words, _) = in_words(&inside(&low), "socket", Arch::X86_64);
        assert_eq!(words, ["domain & 0xffffffff >= 6"]);
    }

    #[test]
    fn parts_that_are_everything_need_no_condition() {
        let parts = [(1, 1), (3, 0), (3, 2)].map(|(mask, value)| Cube::on(0, mask, value));
        assert_eq!(in_words(&parts, "socket", Arch::X86_64), (Vec::new(), false));
        let most = parts.get(..2).unwrap();
        let (words, _) = in_words(most, "socket", Arch::X86_64);
        assert_eq!(words, ["domain & 0x3 != 0x2"]);
    }

    #[test]
    fn many_parts_are_cut_and_said_to_be() {
        let cubes: Vec<Cube> = (0..64_u64).map(|v| Cube::on(0, 0x7e, v << 1)).take(40).collect();
        let cubes: Vec<Cube> = cubes
            .into_iter()
            .zip(0..)
            .map(|(c, n)| c.intersect(&Cube::on(1, u64::MAX, n)).unwrap())
            .collect();
        let (words, more) = in_words(&cubes, "ioctl", Arch::X86_64);
        assert_eq!((words.len(), more), (SPELT, true));
    }
}
