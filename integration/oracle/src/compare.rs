//! One pair of profiles: their merged filter against both, on every syscall of every architecture.

use std::collections::{BTreeMap, BTreeSet};

use coaming_seccomp::{
    Arch, Function, Instruction, Profile, Reading, SeccompError, compile_as_written,
};
use serde::Serialize;
use serde_json::Value;

use crate::answer::{self, KILL_PROCESS, KILL_THREAD, stricter};
use crate::machine::{ALL, MULTIPLEXERS, Machine, SPAN};
use crate::points::Values;
use crate::random::Random;
use crate::rules::{Rule, Rules};
use crate::{Error, bpf, runtime};

/// A merged filter.
pub(crate) struct Merged {
    /// As it goes into config.json.
    pub(crate) section: Value,
    pub(crate) arches: BTreeSet<Arch>,
    /// Programs that are to answer alike; runc's ENOSYS in the first only.
    pub(crate) programs: Vec<Vec<Instruction>>,
}

/// What was found at all points of all pairs so far.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tally {
    pub(crate) pairs: u64,
    /// Pairs for which coaming gives no filter, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) points: u64,
    pub(crate) wrong: u64,
    /// Answers stricter than the minimum: conditions on upper halves where a 32-bit architecture is covered too.
    pub(crate) stricter_conditions: u64,
    /// The same: `socketcall` and `ipc`.
    pub(crate) stricter_multiplexers: u64,
    /// Points on an architecture that was given up for a multiplexer's sake: its calls are killed.
    pub(crate) given_up: u64,
    /// Points on an architecture that only one profile covers and kills the process on: libseccomp kills the thread, and
    /// an OCI section has no way to say otherwise.
    pub(crate) thread_for_process: u64,
    /// Above the highest number that a profile names both answers refuse, and differ in how.
    pub(crate) refused_otherwise: u64,
    /// Programs that a runtime's way of calling libseccomp gives otherwise than coaming's; both were held against.
    pub(crate) compiled_otherwise: u64,
    /// Instructions of the largest program.
    pub(crate) longest: usize,
    /// The first few wrong points.
    pub(crate) examples: Vec<String>,
}

/// coaming's merge of two OCI sections.
pub(crate) fn merge(a: &Value, b: &Value) -> Result<Merged, SeccompError> {
    let function = |section| Function::of(&Profile::from_oci(section)?, Reading::Runtime);
    let met = function(a)?.meet(&function(b)?)?;
    let profile = met.to_profile()?;
    let program = compile_as_written(&profile)?;
    let mut arches = profile.architectures().clone();
    arches.insert(Arch::native());
    Ok(Merged {
        section: profile.to_oci(),
        arches,
        programs: vec![program.instructions().to_vec()],
    })
}

/// The kinds of refusal that a pair may meet; anything else is an error of coaming or of this program.
fn reason(error: &SeccompError) -> Option<&'static str> {
    match error {
        SeccompError::TooComplex { .. } => Some("too complex"),
        SeccompError::TooLong { .. } => Some("too long"),
        SeccompError::Unsupported { .. } => Some("unsupported"),
        SeccompError::Mismatch { .. } => Some("compiled wrong by libseccomp"),
        _ => None,
    }
}

impl Tally {
    /// Holds one pair against its merged filter at about so many points. True when there was one.
    pub(crate) fn pair(
        &mut self,
        (a, b): (&Value, &Value),
        merge: impl Fn(&Value, &Value) -> Result<Merged, SeccompError>,
        points: u64,
        random: &mut Random,
    ) -> Result<Option<Merged>, Error> {
        self.pairs += 1;
        let mut merged = match merge(a, b) {
            Ok(merged) => merged,
            Err(error) => {
                let reason = reason(&error).ok_or(Error::Coaming(error))?;
                *self.refused.entry(reason).or_default() += 1;
                return Ok(None);
            }
        };
        let sides = [Rules::of(a)?, Rules::of(b)?];
        if let [program] = merged.programs.as_slice() {
            let plain = runtime::compile(&merged.section)?;
            if !program.ends_with(&plain) {
                self.compiled_otherwise += 1;
                merged.programs.push(plain);
            }
        }
        self.longest = merged.programs.iter().map(Vec::len).fold(self.longest, usize::max);
        Pair { sides, merged: &merged, tally: self }.compare(points, random);
        Ok(Some(merged))
    }
}

struct Pair<'a> {
    sides: [Rules; 2],
    merged: &'a Merged,
    tally: &'a mut Tally,
}

impl Pair<'_> {
    fn compare(&mut self, points: u64, random: &mut Random) {
        let before = self.tally.points;
        for machine in ALL {
            for nr in machine.base..machine.base + SPAN {
                self.at(machine, nr, [0; 6].map(|_: u64| random.next()));
            }
            // Between the architectures' numbers, and at the ends.
            for above in [SPAN, 999, 4999, 9999, 0xffff_ffff] {
                self.at(machine, machine.base + above.min(machine.limit), [0; 6]);
            }
        }
        let places = self.conditional();
        let left = points.saturating_sub(self.tally.points - before);
        let each = left.checked_div(places.len() as u64).unwrap_or(0) + 1;
        for (machine, nr, values) in &places {
            for _ in 0..each {
                self.at(machine, *nr, values.point(random));
            }
        }
    }

    /// Where arguments matter: syscalls that either profile has conditions on, and what stands for such calls.
    fn conditional(&self) -> Vec<(&'static Machine, u32, Values)> {
        let names = |rules: &Rules| rules.conditional().into_iter().map(str::to_owned).collect();
        let [a, b] = &self.sides;
        let own: BTreeSet<String> = names(a);
        let all: BTreeSet<String> = own.union(&names(b)).cloned().collect();
        let mut places = Vec::new();
        for machine in ALL.iter().filter(|m| a.covers(m) && b.covers(m)) {
            for name in &all {
                if let Some(nr) = machine.number(name) {
                    places.push((machine, nr, Values::of(&[a.on(name), b.on(name)])));
                }
            }
            let selectors = |calls: &[(u64, &str)]| -> Vec<Rule> {
                let used = calls.iter().filter(|(_, name)| all.contains(*name));
                used.map(|(number, _)| Rule::selecting(*number)).collect()
            };
            for (name, _, calls) in MULTIPLEXERS.iter().filter(|_| machine.multiplexes) {
                if let Some(nr) = machine.number(name) {
                    places.push((machine, nr, Values::of(&[&selectors(calls)])));
                }
            }
        }
        places
    }

    fn at(&mut self, machine: &'static Machine, nr: u32, args: [u64; 6]) {
        // 32-bit arguments come zero-extended. x32 has all 64 bits, of which libseccomp looks at half.
        let args =
            if machine.narrow && machine.base == 0 { args.map(|arg| arg & LOW) } else { args };
        let [a, b] = &self.sides;
        let want = stricter(a.answer(machine, nr, args), b.answer(machine, nr, args));
        // Above every number that has a name, too: where no profile names any, coaming begins there.
        let beyond = a.is_beyond(machine, nr) || b.is_beyond(machine, nr) || nr > machine.highest();
        for (place, program) in self.merged.programs.iter().enumerate() {
            // What runc puts before the program that it gets from libseccomp.
            if place > 0 && beyond {
                continue;
            }
            self.tally.points += 1;
            let got = bpf::run(program, machine.token, nr, &args);
            if got != Some(want) {
                self.judge(machine, nr, args, want, got, beyond);
            }
        }
    }

    fn judge(
        &mut self,
        machine: &'static Machine,
        nr: u32,
        args: [u64; 6],
        want: u32,
        got: Option<u32>,
        beyond: bool,
    ) {
        let tally = &mut *self.tally;
        let name = machine.name(nr);
        let covered = self.merged.arches.iter().any(|arch| arch.oci() == machine.oci);
        let both_cover = self.sides.iter().all(|side| side.covers(machine));
        let multiplexer = |name| MULTIPLEXERS.iter().any(|(mux, _, _)| *mux == name);
        // Even if it is given up in the end.
        let narrow = ALL.iter().any(|m| m.narrow && self.sides.iter().all(|side| side.covers(m)));
        let no_weaker = got.is_some_and(|got| answer::action(got) <= answer::action(want));
        let looks_up = |name: &str| {
            let rules = self.sides.iter().flat_map(|side| side.on(name));
            rules.flat_map(|rule| &rule.tests).any(crate::rules::Test::is_wide)
        };
        let counter = if !both_cover && got == Some(KILL_THREAD) && want == KILL_PROCESS {
            &mut tally.thread_for_process
        } else if both_cover && !covered && got == Some(KILL_THREAD) && machine.may_be_given_up() {
            &mut tally.given_up
        } else if beyond && got.is_some_and(answer::refuses) && answer::refuses(want) {
            &mut tally.refused_otherwise
        } else if no_weaker && machine.multiplexes && name.is_some_and(multiplexer) {
            &mut tally.stricter_multiplexers
        } else if no_weaker && narrow && name.is_some_and(looks_up) {
            &mut tally.stricter_conditions
        } else {
            if tally.examples.len() < 5 {
                let name = name.unwrap_or("-");
                tally.examples.push(format!(
                    "pair {}: {} {nr} {name} {args:x?}: {got:x?}, not {want:#x}",
                    tally.pairs - 1,
                    machine.oci
                ));
            }
            &mut tally.wrong
        };
        *counter += 1;
    }
}

const LOW: u64 = 0xffff_ffff;
