//! Random numbers, and random profiles as nobody writes them but as an algebra must take them.

use serde_json::{Value, json};

use crate::machine::Machine;

/// SplitMix64: good enough to choose cases with, and the same everywhere for one seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below `limit`; 0 when that is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = self.below(from.len() as u64);
        from.get(usize::try_from(at).ok()?).copied()
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

/// Syscalls that get conditions; multiplexed ones, one that only some architectures have, and young ones among them.
const CONDITIONED: &[&str] = &[
    "socket",
    "clone",
    "ioctl",
    "personality",
    "shmat",
    "read",
    "openat2",
    "socketpair",
    "connect",
    "accept4",
    "semctl",
    "msgrcv",
    "fcntl",
    "prctl",
    "keyctl",
    "ptrace",
    "madvise",
    "futex",
    "mmap",
    "setns",
    "unshare",
    "clone3",
    "arch_prctl",
    "fchmodat2",
    "kill",
    "bpf",
];
/// Constants on which operators, truncation and signs go wrong.
const CONSTANTS: &[u64] = &[
    0,
    1,
    2,
    8,
    0x10,
    17,
    38,
    40,
    0xff,
    0x7e02_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0010,
    0x1_0000_0026,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];
const MASKS: &[u64] =
    &[1, 0xf, 0xff, 0x7e02_0000, 0xffff_ffff, 0xffff_ffff_0000_0000, !0xfff, u64::MAX];
const ACTIONS: &[(&str, u32)] = &[
    ("SCMP_ACT_KILL_PROCESS", 0),
    ("SCMP_ACT_KILL_THREAD", 0),
    ("SCMP_ACT_TRAP", 0),
    ("SCMP_ACT_ERRNO", 1),
    ("SCMP_ACT_ERRNO", 13),
    ("SCMP_ACT_ERRNO", 38),
    ("SCMP_ACT_ERRNO", 1234),
    ("SCMP_ACT_TRACE", 7),
    ("SCMP_ACT_LOG", 0),
    ("SCMP_ACT_ALLOW", 0),
    ("SCMP_ACT_ALLOW", 0),
    ("SCMP_ACT_ALLOW", 0),
];

/// Two OCI sections that have something to do with each other: conditions on the same few syscalls.
pub(crate) fn pair(random: &mut Random) -> (Value, Value) {
    let few: Vec<&str> =
        (0..8 + random.below(6)).filter_map(|_| random.pick(CONDITIONED)).collect();
    let style = random.below(100);
    (profile(random, &few, style), profile(random, &few, style))
}

fn profile(random: &mut Random, few: &[&str], style: u64) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    for _ in 0..random.below(4) {
        // As real profiles have them: where a list of refusals meets a list of grants, what is left beside a few values
        // of two arguments takes hundreds of patterns, and coaming refuses it.
        let conditions = match random.below(30) {
            0..24 => 1,
            24..28 => 0,
            28 => 2,
            _ => 3,
        };
        let names: Vec<&str> = (0..=random.below(2)).filter_map(|_| random.pick(few)).collect();
        let args: Vec<Value> = (0..conditions).map(|_| condition(random)).collect();
        rules.push(rule(random, &names, args));
    }
    let native = Machine::native();
    for _ in 0..random.below(3) {
        let any = (0..1 + random.below(60)).filter_map(|_| {
            let number = u32::try_from(random.below(470)).ok()?;
            native?.name(number)
        });
        let names: Vec<&str> = any.collect();
        if !names.is_empty() {
            rules.push(rule(random, &names, Vec::new()));
        }
    }
    let mut section = serde_json::Map::new();
    let (action, errno) = random.pick(ACTIONS).unwrap_or_default();
    section.insert("defaultAction".to_owned(), action.into());
    if errno != 0 {
        section.insert("defaultErrnoRet".to_owned(), errno.into());
    }
    section.insert("architectures".to_owned(), architectures(random, style));
    section.insert("syscalls".to_owned(), rules.into());
    Value::Object(section)
}

/// Half of the pairs are of one architecture: there the meet has to be exact everywhere.
fn architectures(random: &mut Random, style: u64) -> Value {
    let of: &[&str] = match style {
        0..50 => &[],
        50..60 => {
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64", "SCMP_ARCH_RISCV64", "SCMP_ARCH_MIPSEL64"]
        }
        60..90 => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        _ => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_ARM", "SCMP_ARCH_PPC64LE"],
    };
    of.iter().filter(|_| random.percent(85)).copied().collect()
}

fn rule(random: &mut Random, names: &[&str], args: Vec<Value>) -> Value {
    let (action, errno) = random.pick(ACTIONS).unwrap_or_default();
    let mut rule = json!({"names": names, "action": action, "args": args});
    if let (true, Some(rule)) = (errno != 0, rule.as_object_mut()) {
        rule.insert("errnoRet".to_owned(), errno.into());
    }
    rule
}

/// Mostly what profiles are written with, and now and then each other operator.
fn condition(random: &mut Random) -> Value {
    let value = if random.percent(85) { random.pick(CONSTANTS) } else { None };
    let value = value.unwrap_or_else(|| random.next() >> (random.below(8) * 8));
    let mask = random.pick(MASKS).unwrap_or(u64::MAX);
    let index = if random.percent(94) { 0 } else { random.below(6) };
    let plain = |op: &str| json!({"index": index, "value": value, "op": op});
    match random.below(40) {
        0 | 1 => plain("SCMP_CMP_NE"),
        2 => plain("SCMP_CMP_LT"),
        3 => plain("SCMP_CMP_LE"),
        4 => plain("SCMP_CMP_GE"),
        5 => plain("SCMP_CMP_GT"),
        6..20 => {
            json!({"index": index, "value": mask, "valueTwo": value & mask, "op": "SCMP_CMP_MASKED_EQ"})
        }
        _ => plain("SCMP_CMP_EQ"),
    }
}
