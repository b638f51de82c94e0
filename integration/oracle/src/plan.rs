//! Syscalls to try under a merged filter, for real, and what each is to meet.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use coaming_seccomp::{Instruction, Profile, compile_as_written};
use serde_json::{Value, json};

use crate::answer::{self, ENOSYS, stricter};
use crate::compare::{Merged, merge};
use crate::machine::{Machine, SPAN};
use crate::points::Values;
use crate::random::{self, Random};
use crate::rules::Rules;
use crate::{Error, bpf, real, runtime};

/// No descriptor, no address, no process, no size, no flag: what a syscall that is let through makes of it is nothing.
const NOTHING: u64 = 0xdead_beef_dead_0001;
/// Entries into an x86-64 kernel, and the architecture that a filter sees.
const ENTRIES: [(&str, &str); 3] =
    [("x86_64", "SCMP_ARCH_X86_64"), ("i386", "SCMP_ARCH_X86"), ("x32", "SCMP_ARCH_X32")];
/// uretprobe and uprobe, which the kernel does not show to filters (6.14 and later, kernel/seccomp.c,
/// `seccomp_uprobe_exception`).
const UNSEEN: [u32; 2] = [335, 336];
/// Not tried where they are let through: they end, split or stop the process, or take long, whatever the arguments.
const NEVER: &[&str] = &[
    "exit",
    "exit_group",
    "fork",
    "vfork",
    "clone",
    "clone3",
    "pause",
    "rt_sigreturn",
    "sigreturn",
    "sigsuspend",
    "sync",
    "ssetmask",
    "sigprocmask",
    "idle",
    "nice",
];
/// Calls on which every argument may be tried: with all descriptors closed and no addresses they do nothing.
const HARMLESS: &[&str] = &[
    "socket",
    "socketpair",
    "personality",
    "ioctl",
    "fcntl",
    "read",
    "write",
    "openat2",
    "accept4",
    "connect",
    "lseek",
    "keyctl",
    "fchmodat2",
    "bpf",
    "setns",
];
/// CLONE_SIGHAND without CLONE_VM: EINVAL from whatever clone(2) gets that far.
const IMPOSSIBLE_CLONE: u64 = 0x800;

pub(crate) fn write(out: &Path, profiles: &[PathBuf], distinct: bool) -> Result<Value, Error> {
    let sections = sections(profiles)?;
    let sections: Vec<Value> = if distinct {
        [1000, 2000]
            .iter()
            .zip(&sections)
            .map(|(base, section)| distinguished(section, *base))
            .collect()
    } else {
        sections
    };
    let merged = match sections.as_slice() {
        [a, b] => merge(a, b)?,
        [one] => merge(one, one)?,
        _ => return Err(Error::Section { what: "one or two, not more".to_owned() }),
    };
    let sides = sections.iter().map(Rules::of).collect::<Result<Vec<_>, _>>()?;
    // What the section on its own gives is the same program: a check of the way by the file.
    let again = compile_as_written(&Profile::from_oci(&merged.section)?)?;
    let Merged { section, programs, .. } = &merged;
    let program = programs.first().map(Vec::as_slice).unwrap_or_default();
    if again.instructions() != program {
        return Err(Error::Section { what: "read again it compiles otherwise".to_owned() });
    }
    let bare = runtime::compile(section)?;
    let mut plan =
        Plan { bare: &bare, tries: String::new(), wants: String::new(), count: 0, odd: 0 };
    let mut random = Random::new(1);
    for (entry, oci) in ENTRIES {
        if let Some(machine) = Machine::named(oci) {
            plan.all_of(entry, machine, &sides, program, &mut random)?;
        }
    }
    crate::write(&out.join("section.json"), section.to_string().as_bytes())?;
    crate::write(&out.join("program"), &code(program))?;
    crate::write(&out.join("both"), &code(&bare))?;
    for (name, section) in ["one", "other"].iter().zip(&sections) {
        // A runtime may refuse a profile of its own, where coaming takes it: two rules with one condition.
        if let Ok(program) = runtime::compile(section) {
            crate::write(&out.join(name), &code(&program))?;
        }
    }
    crate::write(&out.join("tries"), plan.tries.as_bytes())?;
    crate::write(&out.join("wants"), plan.wants.as_bytes())?;
    Ok(json!({"tries": plan.count, "stricter": plan.odd, "instructions": program.len()}))
}

/// As seccomp(2) takes it.
fn code(program: &[Instruction]) -> Vec<u8> {
    let bytes = |i: &Instruction| {
        let ([c0, c1], [k0, k1, k2, k3]) = (i.code.to_ne_bytes(), i.k.to_ne_bytes());
        [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
    };
    program.iter().flat_map(bytes).collect()
}

fn sections(profiles: &[PathBuf]) -> Result<Vec<Value>, Error> {
    if let [one] = profiles
        && let Some(seed) = one.to_str().and_then(|name| name.strip_prefix("random:"))
    {
        let seed = seed.parse().map_err(|_| Error::Section { what: format!("seed {seed}") })?;
        // The first from there on that coaming takes.
        for seed in seed..seed + 20 {
            let (a, b) = random::pair(&mut Random::new(seed));
            if merge(&a, &b).is_ok() {
                return Ok(vec![a, b]);
            }
        }
    }
    profiles.iter().map(|path| real::read(path)).collect()
}

/// The profile with errnos of its own: `base` above those it has. ENOSYS stays, since runc's does.
fn distinguished(section: &Value, base: u64) -> Value {
    let mut section = section.clone();
    let change = |place: &mut Value, action: &str, errno: &str| {
        let Some(place) = place.as_object_mut() else { return };
        if place.get(action).and_then(Value::as_str) == Some("SCMP_ACT_ERRNO") {
            let old = place.get(errno).and_then(Value::as_u64).unwrap_or(1);
            if old != 38 && old < 1000 {
                place.insert(errno.to_owned(), (base + old).into());
            }
        }
    };
    change(&mut section, "defaultAction", "defaultErrnoRet");
    for rule in section.get_mut("syscalls").and_then(Value::as_array_mut).into_iter().flatten() {
        change(rule, "action", "errnoRet");
    }
    section
}

struct Plan<'a> {
    bare: &'a [Instruction],
    tries: String,
    wants: String,
    count: u64,
    /// Points at which the filter is stricter than the minimum of the profiles.
    odd: u64,
}

impl Plan<'_> {
    fn all_of(
        &mut self,
        entry: &str,
        machine: &'static Machine,
        sides: &[Rules],
        program: &[Instruction],
        random: &mut Random,
    ) -> Result<(), Error> {
        let names: BTreeSet<&str> = sides.iter().flat_map(Rules::conditional).collect();
        let covered = sides.iter().all(|side| side.covers(machine));
        // Of an architecture that is not covered a few say it all.
        let span = if covered { SPAN } else { 8 };
        for nr in (machine.base..machine.base + span)
            .filter(|nr| entry != "x86_64" || !UNSEEN.contains(nr))
        {
            let name = machine.name(nr).unwrap_or_default();
            let rules: Vec<_> = sides.iter().map(|side| side.on(name)).collect();
            let mut points = vec![[NOTHING; 6]];
            if names.contains(name) && covered {
                let values = Values::of(&rules);
                points.extend((0..48).map(|_| {
                    let point = values.point(random);
                    let only = values.conditioned();
                    let mut args = [NOTHING; 6];
                    for ((arg, value), _) in
                        args.iter_mut().zip(point).zip(only).filter(|(_, conditioned)| *conditioned)
                    {
                        *arg = value;
                    }
                    args
                }));
            }
            if name == "clone" {
                let flag = |bit: u32| {
                    [IMPOSSIBLE_CLONE | 1 << bit, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING]
                };
                points.extend((16..32).filter(|bit| *bit != 20).map(flag));
            }
            for args in points {
                self.at(entry, machine, nr, args, sides, program)?;
            }
        }
        Ok(())
    }

    fn at(
        &mut self,
        entry: &str,
        machine: &'static Machine,
        nr: u32,
        args: [u64; 6],
        sides: &[Rules],
        program: &[Instruction],
    ) -> Result<(), Error> {
        let args = if entry == "i386" { args.map(|arg| arg & 0xffff_ffff) } else { args };
        let got = bpf::run(program, machine.token, nr, &args)
            .ok_or_else(|| Error::Library("a program that cannot be followed".to_owned()))?;
        // What a runtime without runc's ENOSYS makes of it.
        let bare = bpf::run(self.bare, machine.token, nr, &args).unwrap_or(got);
        let answers = sides.iter().map(|side| side.answer(machine, nr, args));
        let want = answers.reduce(stricter).unwrap_or(got);
        if got != want {
            // What `compare` counts as stricter; wrong ones do not come this far.
            self.odd += 1;
        }
        let name = machine.name(nr).unwrap_or_default();
        let through = !answer::refuses(got) && got & 0xffff_0000 != answer::TRACE;
        let harmless = args.map(|arg| arg & 0xffff_ffff) == [NOTHING & 0xffff_ffff; 6]
            && !NEVER.contains(&name);
        let [first, ..] = args;
        let no_clone = name == "clone" && first & IMPOSSIBLE_CLONE != 0 && first & 0x100 == 0;
        if through && !harmless && !HARMLESS.contains(&name) && !no_clone {
            return Ok(());
        }
        let [a, b, c, d, e, f] = args;
        let _ = writeln!(self.tries, "{entry} {nr} {a} {b} {c} {d} {e} {f}");
        let _ = writeln!(self.wants, "{}\t{}\t{name}", word(got), word(bare));
        self.count += 1;
        Ok(())
    }
}

fn word(answer: u32) -> String {
    match answer & 0xffff_0000 {
        answer::KILL_PROCESS | answer::KILL_THREAD => "killed".to_owned(),
        answer::TRAP => format!("trapped {}", answer & 0xffff),
        answer::ERRNO => format!("errno {}", answer & 0xffff),
        // Without a tracer (seccomp(2)).
        answer::TRACE => format!("errno {}", ENOSYS & 0xffff),
        _ => "passed".to_owned(),
    }
}
