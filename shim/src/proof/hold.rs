//! Holding what was seen of a process against its floor, and against what was enforced.

use std::collections::BTreeSet;

use coaming_policy::controls::capabilities::Capability;
use coaming_policy::controls::{Mismatch, Node, Rule, Scope, Support};
use coaming_policy::floor::{Bound, Floor, Visitor};
use coaming_policy::spec::view;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::look::{Look, Place};
use crate::journal::event::{Proof as Whole, Wider, Word};
use crate::record::Filters;

/// Controls of which the kernel tells nothing through a process's files.
const NOT_TOLD: [&str; 11] = [
    "logDenials",
    "exec",
    "refuse",
    "mounts",
    "devices",
    "sysctls",
    "rootfsPropagation",
    "hooks",
    "annotations",
    "resources",
    "fields",
];
/// Controls whose state comes with the execve of the workload.
const AT_EXECVE: [&str; 2] = ["appArmor", "seLinux"];
const LANDLOCK: &str = "landlock";
const SECCOMP: &str = "seccomp";
const CAPABILITIES: &str = "capabilities";
const USER: &str = "user";
const RLIMITS: &str = "rlimits";
const NO_NEW_PRIVILEGES: &str = "noNewPrivileges";
/// What no control is, and is looked at all the same.
const WORKING_DIRECTORY: &str = "workingDirectory";
const DESCRIPTORS: &str = "descriptors";
const NAMESPACES: &str = "namespaces";
const SETS: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

/// When a process is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// Its container was created, and it waits for `start`.
    Created,
    /// It has executed its workload. With what was seen of it when it was created, if it was seen.
    Started(Option<&'a Look>),
    /// It is an exec's. With what was seen of the container's first process, if that still runs.
    Executed(Option<&'a Look>),
    /// It runs, and may have changed what it is allowed to change.
    Now,
}

/// What a process is held against.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    /// The floor.
    pub floor: &'a Floor,
    /// The node on which it was enforced.
    pub node: &'a Node,
    /// The OCI `process` as enforced.
    pub process: &'a Value,
    /// The filters that were loaded; none where an earlier version did not note it.
    pub filters: Option<Filters>,
    /// Whether the runtime loads its filter only after `start`: crun does, with `noNewPrivileges`.
    pub late_filter: bool,
    /// How many descriptors the caller hands on beyond stdio.
    pub preserved: u32,
}

/// What came of it, control by control.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judged {
    /// Each control that the floor has, and what is looked at besides.
    pub controls: Vec<Held>,
}

/// One control, held against the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The control, or what is looked at besides: `workingDirectory`, `descriptors`, `namespaces`.
    pub control: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Whose word it is.
    pub by: Word,
    /// In what the process is wider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Wider>,
    /// What there is to say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What came of one control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Nothing that is told is wider than the rule.
    Held,
    /// Something is.
    Mismatch,
    /// Something is that the process may have changed by itself, with privileges that it was given.
    Unproven,
    /// It comes into force with the execve of the workload.
    NotYet,
    /// Nobody tells.
    NotTold,
}

impl Judged {
    /// What came of all together.
    pub fn outcome(&self) -> Whole {
        let any = |outcome| self.controls.iter().any(|held| held.outcome == outcome);
        match (any(Outcome::Mismatch), any(Outcome::Unproven)) {
            (true, _) => Whole::Mismatch,
            (false, true) => Whole::Unproven,
            (false, false) => Whole::Held,
        }
    }

    /// Everything in which the process is wider.
    pub fn mismatches(&self) -> Vec<Wider> {
        let wider = self.controls.iter().filter(|held| held.outcome == Outcome::Mismatch);
        wider.flat_map(|held| held.mismatches.iter().cloned()).collect()
    }

    /// The same in words.
    pub fn in_words(&self) -> String {
        let mismatches = self.mismatches();
        let words: Vec<String> = mismatches.iter().map(Wider::to_string).collect();
        words.join("; ")
    }

    /// What could not be judged, in words; none where there is nothing.
    pub fn unproven(&self) -> Option<String> {
        let unproven = self.controls.iter().filter(|held| held.outcome == Outcome::Unproven);
        let words: Vec<String> = unproven
            .map(|held| format!("{}: {}", held.control, held.why.as_deref().unwrap_or_default()))
            .collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    fn add(&mut self, held: Held) {
        match self.controls.iter_mut().find(|other| other.control == held.control) {
            None => self.controls.push(held),
            Some(other) if held.outcome == Outcome::Mismatch => {
                other.outcome = Outcome::Mismatch;
                for wider in held.mismatches {
                    if !other.mismatches.iter().any(|known| known.what == wider.what) {
                        other.mismatches.push(wider);
                    }
                }
            }
            Some(other) if held.outcome == Outcome::Unproven && other.outcome == Outcome::Held => {
                *other = held;
            }
            Some(_) => {}
        }
    }
}

impl std::fmt::Display for Wider {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Wider { control, what, found, allowed } = self;
        write!(formatter, "{control}: {what} is {found}, allowed is {allowed}")
    }
}

/// Holds a process against its floor and what was enforced.
pub fn judge(look: &Look, against: Against<'_>, moment: Moment<'_>) -> Judged {
    let mut judge = Judge { look, against, moment, judged: Judged::default() };
    against.floor.visit(&mut judge);
    judge.enforced();
    judge.places();
    judge.judged
}

struct Judge<'a> {
    look: &'a Look,
    against: Against<'a>,
    moment: Moment<'a>,
    judged: Judged,
}

impl Visitor for Judge<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let elsewhere = matches!(self.moment, Moment::Executed(_))
            && R::SCOPE == Scope::Container
            && R::CONTROL != SECCOMP;
        if bound.is_empty() || elsewhere {
            return;
        }
        // What this node cannot enforce was left out by leave of the policy, and is in the record.
        let met = bound.clauses().iter().fold(R::top(), |met, clause| {
            match clause.rule.support(self.against.node) {
                Support::Partial { rule, .. } if clause.best_effort => met.meet(&rule),
                _ => met.meet(&clause.rule),
            }
        });
        if R::CONTROL == LANDLOCK {
            return self.landlock();
        }
        let mismatches = met.verify(&self.look.seen);
        if mismatches.is_empty() && NOT_TOLD.contains(&R::CONTROL) {
            return self.judged.add(Held::of(R::CONTROL, Outcome::NotTold, Word::None));
        }
        self.hold(R::CONTROL, mismatches);
    }
}

impl Judge<'_> {
    /// What follows from mismatches at this moment.
    fn hold(&mut self, control: &str, mismatches: Vec<Mismatch>) {
        if mismatches.is_empty() {
            return self.judged.add(Held::of(control, Outcome::Held, Word::Kernel));
        }
        let created = matches!(self.moment, Moment::Created);
        let late = control == SECCOMP && self.filters_now().is_none_or(|filters| filters == 0);
        if created && (AT_EXECVE.contains(&control) || late) {
            return self.judged.add(Held::of(control, Outcome::NotYet, Word::None));
        }
        if let Some((outcome, why)) = self.lawful(control) {
            let held = Held { why: Some(why), ..Held::of(control, outcome, Word::Kernel) };
            return self.judged.add(held);
        }
        let mismatches = mismatches
            .into_iter()
            .map(|Mismatch { what, found, allowed }| Wider {
                control: control.to_owned(),
                what,
                found,
                allowed,
            })
            .collect();
        self.judged.add(Held { mismatches, ..Held::of(control, Outcome::Mismatch, Word::Kernel) });
    }

    /// Whether the workload may have come to it by itself, and what is to be said then.
    fn lawful(&self, control: &str) -> Option<(Outcome, String)> {
        let (before, alone) = match self.moment {
            Moment::Created | Moment::Now => return None,
            Moment::Started(before) => (before.is_some(), before.is_none()),
            Moment::Executed(init) => (false, init.is_none()),
        };
        let moved = |kind: &str| self.moved(kind);
        let power = match control {
            // None but what a process can neither take nor be given by itself.
            SECCOMP | NO_NEW_PRIVILEGES => return None,
            CAPABILITIES if moved("user") => {
                "its capabilities are those of a user namespace of its own"
            }
            CAPABILITIES => return None,
            control if AT_EXECVE.contains(&control) => return None,
            // Its descriptors were the runtime's then.
            control if before && control != DESCRIPTORS => {
                let why =
                    "it held when the workload had not begun; the workload changed it by itself";
                return Some((Outcome::Held, why.to_owned()));
            }
            RLIMITS if self.may("CAP_SYS_RESOURCE") => "it has CAP_SYS_RESOURCE",
            RLIMITS => return None,
            USER if self.may("CAP_SETUID") || self.may("CAP_SETGID") => {
                "it has CAP_SETUID or CAP_SETGID"
            }
            USER if !self.no_new_privileges() => "it may execute set-user-ID programs",
            USER => return None,
            _ if self.may("CAP_SYS_ADMIN") => "it has CAP_SYS_ADMIN",
            // From a root of its own it sees fewer mounts than there are.
            DESCRIPTORS | WORKING_DIRECTORY if alone && self.may("CAP_SYS_CHROOT") => {
                "it has CAP_SYS_CHROOT"
            }
            _ if moved("user") || moved("mount") => "it is in a namespace of its own",
            _ => return None,
        };
        Some((
            Outcome::Unproven,
            format!("wider than it may be, and {power}: it may have changed it by itself"),
        ))
    }

    /// Whether it is in another namespace than the one that it was put into.
    fn moved(&self, kind: &str) -> bool {
        let now = self.look.namespaces.get(kind);
        match self.moment {
            Moment::Started(Some(before)) | Moment::Executed(Some(before)) => {
                now != before.namespaces.get(kind)
            }
            // Of a user namespace that is not the host's, nobody told whose it is.
            _ => kind == "user" && !self.look.seen.host_namespaces.iter().any(|name| name == kind),
        }
    }

    /// Whether it was given a capability.
    fn may(&self, capability: &str) -> bool {
        let place = |set: &str| format!("capabilities.{set}");
        view::at(self.against.process, "capabilities").is_none()
            || SETS.iter().any(|set| {
                // In any case, as crun takes them.
                let place = place(set);
                view::strings(self.against.process, &place)
                    .any(|name| name.eq_ignore_ascii_case(capability))
            })
    }

    fn no_new_privileges(&self) -> bool {
        view::at(self.against.process, "noNewPrivileges") == Some(&Value::Bool(true))
    }

    /// The fewest filters that must be loaded at this moment, besides what the runtime inherited; none
    /// where it was not noted.
    fn filters_now(&self) -> Option<u32> {
        let filters = self.against.filters?;
        Some(match self.moment {
            Moment::Created if self.against.late_filter => 0,
            Moment::Created => filters.runtime,
            _ => filters.runtime.saturating_add(filters.launcher),
        })
    }

    /// By the launcher's word: it loads its filters after its layers and executes nothing without either,
    /// so a process that has them is past the layers too.
    fn landlock(&mut self) {
        let held = match (self.moment, self.against.filters) {
            (Moment::Created, _) => Held::of(LANDLOCK, Outcome::NotYet, Word::None),
            (_, Some(filters)) if filters.launcher > 0 && self.missing_filters().is_none() => {
                Held::of(LANDLOCK, Outcome::Held, Word::Launcher)
            }
            _ => Held::of(LANDLOCK, Outcome::NotTold, Word::None),
        };
        self.judged.add(held);
    }

    fn missing_filters(&self) -> Option<Mismatch> {
        let expected = self.filters_now().filter(|filters| *filters > 0)?;
        let seen = &self.look.seen;
        if seen.seccomp_mode != 2 {
            return Some(Mismatch {
                what: "Seccomp".to_owned(),
                found: seen.seccomp_mode.to_string(),
                allowed: "2 (filter)".to_owned(),
            });
        }
        let inherited = self.against.filters.map_or(0, |filters| filters.inherited);
        let least = expected.saturating_add(inherited);
        // Before Linux 5.9 their number is not told.
        (seen.seccomp_filters > 0 && seen.seccomp_filters < least).then(|| Mismatch {
            what: "Seccomp_filters".to_owned(),
            found: seen.seccomp_filters.to_string(),
            allowed: format!("{least} or more, as were loaded"),
        })
    }

    /// What was enforced, where the floor alone says too little.
    fn enforced(&mut self) {
        if let Some(filters) = self.against.filters
            && filters.runtime + filters.launcher > 0
        {
            let missing: Vec<Mismatch> = self.missing_filters().into_iter().collect();
            if self.filters_now() == Some(0) {
                self.judged.add(Held::of(SECCOMP, Outcome::NotYet, Word::None));
            } else {
                self.hold(SECCOMP, missing);
            }
        }
        if self.no_new_privileges() {
            let missing = (!self.look.seen.no_new_privs).then(|| Mismatch {
                what: "NoNewPrivs".to_owned(),
                found: "0".to_owned(),
                allowed: "1, as was enforced".to_owned(),
            });
            self.hold(NO_NEW_PRIVILEGES, missing.into_iter().collect());
        }
        if view::at(self.against.process, "capabilities").is_some() {
            let wider = self.capabilities_beyond();
            self.hold(CAPABILITIES, wider);
        }
        if let (Some(uid), false) = (view::at(self.against.process, "user.uid"), self.is_now())
            && let Some(uid) = uid.as_u64().and_then(|uid| self.look.outside(uid))
        {
            let found = self.look.seen.uids.first().copied();
            let other = found.filter(|found| u64::from(*found) != uid).map(|found| Mismatch {
                what: "Uid".to_owned(),
                found: found.to_string(),
                allowed: format!("{uid}, as was enforced"),
            });
            self.hold(USER, other.into_iter().collect());
        }
    }

    fn is_now(&self) -> bool {
        matches!(self.moment, Moment::Now)
    }

    /// Capabilities that were not given. After an execve, root's other sets are filled from its bounding
    /// set (capabilities(7)), so they are held against all that was given in any.
    fn capabilities_beyond(&self) -> Vec<Mismatch> {
        let mask = |set: &str| {
            view::strings(self.against.process, &format!("capabilities.{set}"))
                .filter_map(|name| name.parse::<Capability>().ok())
                .fold(0, |mask, capability| mask | capability.bit())
        };
        let all = SETS.iter().fold(0, |all, set| all | mask(set));
        let seen = &self.look.seen;
        [
            ("CapBnd", seen.cap_bounding, mask("bounding")),
            ("CapEff", seen.cap_effective, all),
            ("CapPrm", seen.cap_permitted, all),
            ("CapInh", seen.cap_inheritable, all),
            ("CapAmb", seen.cap_ambient, all),
        ]
        .into_iter()
        .filter(|(_, held, given)| held & !given != 0)
        .map(|(set, held, given)| Mismatch {
            what: set.to_owned(),
            found: format!("{held:016x}"),
            allowed: format!("{given:016x}, as was enforced"),
        })
        .collect()
    }

    /// Whether something leads out of the container: its working directory, an open directory, and for an
    /// exec its namespaces.
    fn places(&mut self) {
        if self.is_now() {
            return;
        }
        let mut inside = self.look.mounts();
        if let Moment::Started(Some(before)) | Moment::Executed(Some(before)) = self.moment {
            inside.extend(before.mounts());
        }
        let leaves = |place: &&Place| !inside.contains(&place.mount);
        let cwd = self.look.cwd.as_ref().filter(leaves).map(|cwd| Mismatch {
            what: "working directory".to_owned(),
            found: format!("{}, outside of the container", cwd.path),
            allowed: "one of its mounts".to_owned(),
        });
        self.hold(WORKING_DIRECTORY, cwd.into_iter().collect());
        // Before its execve the runtime has descriptors of its own, which it closes by it.
        if !matches!(self.moment, Moment::Created) {
            let own = 3_u32.saturating_add(self.against.preserved)..;
            let leaked = self.look.directories.range(own).filter(|(_, place)| leaves(place));
            let leaked: Vec<Mismatch> = leaked
                .map(|(number, place)| Mismatch {
                    what: format!("descriptor {number}"),
                    found: format!("the directory {}, outside of the container", place.path),
                    allowed: "directories of its mounts".to_owned(),
                })
                .collect();
            self.hold(DESCRIPTORS, leaked);
        }
        if let Moment::Executed(Some(init)) = self.moment {
            let other: BTreeSet<&String> = (init.namespaces.iter())
                .filter(|(kind, theirs)| {
                    // runc and crun join these; a time namespace takes effect with the next fork.
                    !["time", "cgroup"].contains(&kind.as_str())
                        && self.look.namespaces.get(*kind) != Some(*theirs)
                })
                .map(|(kind, _)| kind)
                .collect();
            let other: Vec<Mismatch> = other
                .into_iter()
                .map(|kind| Mismatch {
                    what: format!("{kind} namespace"),
                    found: "another than the container's".to_owned(),
                    allowed: "the container's".to_owned(),
                })
                .collect();
            self.hold(NAMESPACES, other);
        }
    }
}

impl Held {
    fn of(control: &str, outcome: Outcome, by: Word) -> Held {
        Held { control: control.to_owned(), outcome, by, mismatches: Vec::new(), why: None }
    }
}
