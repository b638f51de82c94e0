//! What a row of the table says.

use coaming_integration::Runtime;
use coaming_integration::cri::{ContainerSpec, Pod};
use serde_json::Value;

/// Cases that share a container under the stock runtime and one under coaming.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// The built-in floor beneath the policy. `node` denies next to nothing: what fails there, fails by the policy.
    pub(crate) floor: &'static str,
    /// The policy's `spec`, in YAML; empty for the built-in floor alone.
    pub(crate) policy: &'static str,
    pub(crate) ask: Ask,
    pub(crate) cases: &'static [Case],
}

/// How the container asks for what it shall not have.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// By a runtime spec: containerd's default without a seccomp section, edited. Through containerd and its shim
    /// (`ctr run --config`), so it can ask for all that there is.
    Spec(fn(&mut Value)),
    /// By flags of ctr.
    Ctr(&'static [&'static str]),
    /// By CRI, as the kubelet does.
    Cri(fn(&mut Pod, &mut ContainerSpec)),
}

/// One thing that a control forbids.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) control: &'static str,
    pub(crate) see: See,
    pub(crate) stock: Stock,
    pub(crate) ours: Ours,
    pub(crate) places: Places,
    pub(crate) runtimes: fn(Runtime) -> bool,
}

/// Where its effect is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum See {
    /// The probe's words; `~` stands for a space within one, `{outsider}` and the like for what `Ground` knows.
    Probe(&'static str),
    /// On the node, once the container has started: does this file hold this text?
    Node(&'static str, &'static str),
}

/// What the stock runtime gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stock {
    /// It works.
    Allowed,
    /// Absent on this kernel, or nothing that a stock container has: the kernel's own answer. That coaming's differs
    /// shows who answered.
    Answers(&'static str),
    /// As [`Stock::Answers`], where coaming cannot be told from the kernel: here for kernels that have it.
    NotHere(&'static str),
}

/// What coaming gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// This error, or one of these with `|` between them.
    Answers(&'static str),
    /// The filter kills the attempting process.
    Killed,
    /// Told by effect: nothing is there.
    Hidden,
    /// It still works: the control forbids no more than it says.
    Kept,
}

/// Which of a container's processes attempt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Places {
    Both,
    /// The first process alone.
    Init,
    /// An exec alone.
    Exec,
}

/// `attempt` works under the stock runtime, and fails with `answer` under coaming.
pub(crate) const fn forbids(
    control: &'static str,
    attempt: &'static str,
    answer: &'static str,
) -> Case {
    case(control, attempt, Stock::Allowed, Ours::Answers(answer))
}

/// As [`forbids`], told by effect.
pub(crate) const fn hides(control: &'static str, attempt: &'static str) -> Case {
    case(control, attempt, Stock::Allowed, Ours::Hidden)
}

/// As [`forbids`], with the attempting process killed.
pub(crate) const fn kills(control: &'static str, attempt: &'static str) -> Case {
    case(control, attempt, Stock::Allowed, Ours::Killed)
}

/// What `attempt` needs is not in this kernel, which `stock` says; under coaming the answer is another.
pub(crate) const fn absent(
    control: &'static str,
    attempt: &'static str,
    stock: &'static str,
    ours: Ours,
) -> Case {
    case(control, attempt, Stock::Answers(stock), ours)
}

/// `attempt` works under both.
pub(crate) const fn keeps(control: &'static str, attempt: &'static str) -> Case {
    case(control, attempt, Stock::Allowed, Ours::Kept)
}

/// The container's start makes `file` of the node hold `text` under the stock runtime, and not under coaming.
pub(crate) const fn spares(control: &'static str, file: &'static str, text: &'static str) -> Case {
    Case {
        see: See::Node(file, text),
        places: Places::Init,
        ..case(control, "", Stock::Allowed, Ours::Hidden)
    }
}

pub(crate) const fn case(
    control: &'static str,
    attempt: &'static str,
    stock: Stock,
    ours: Ours,
) -> Case {
    Case {
        control,
        see: See::Probe(attempt),
        stock,
        ours,
        places: Places::Both,
        runtimes: |_| true,
    }
}

impl Case {
    pub(crate) const fn only(self, places: Places) -> Case {
        Case { places, ..self }
    }

    pub(crate) const fn under(self, runtimes: fn(Runtime) -> bool) -> Case {
        Case { runtimes, ..self }
    }
}

/// What the probe or the node said, with its evidence.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) outcome: String,
    pub(crate) errno: String,
    pub(crate) detail: String,
}

impl Told {
    pub(crate) fn by_probe(line: &Value) -> Told {
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Told { outcome: text("outcome"), errno: text("errno"), detail: line.to_string() }
    }

    pub(crate) fn by_effect(there: bool, detail: String) -> Told {
        Told {
            outcome: if there { "allowed" } else { "denied" }.to_owned(),
            errno: String::new(),
            detail,
        }
    }

    pub(crate) fn is_stock(&self, stock: Stock) -> bool {
        match stock {
            Stock::Allowed => self.outcome == "allowed",
            Stock::Answers(errno) | Stock::NotHere(errno) => self.failed_with(errno),
        }
    }

    pub(crate) fn is_ours(&self, ours: Ours) -> bool {
        match ours {
            Ours::Answers(errnos) => errnos.split('|').any(|errno| self.failed_with(errno)),
            Ours::Killed => self.outcome == "killed",
            Ours::Hidden => {
                let nothing = self.errno.is_empty() || self.errno == "ENOENT";
                nothing && (self.outcome == "denied" || self.outcome == "unsupported")
            }
            Ours::Kept => self.outcome == "allowed",
        }
    }

    /// `unsupported` is the probe's word for errors that absence gives too (ENOSYS, ENOENT).
    fn failed_with(&self, errno: &str) -> bool {
        (self.outcome == "denied" || self.outcome == "unsupported") && self.errno == errno
    }
}
