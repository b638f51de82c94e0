//! runc's and crun's command lines: one grammar, parsed into types and emitted again canonically.
//!
//! The callers are containerd's go-runc, dockerd, conmon (Podman, CRI-O) and people. What is judged
//! must be what the runtime reads, and the two runtimes read differently: Go's flag package (runc
//! 1.1 to 1.5) and argp (crun 1.8 to 1.29) disagree about `-bundle`, abbreviations, flags after
//! words, numbers with a leading zero. So the runtime never gets the caller's words: it gets
//! [`Invocation::to_argv`], in which every flag is `--long=value` and stands before the words.
//! Where the two would disagree about what the caller meant, the line is refused.
//!
//! Flags of either runtime are accepted (`Of` in each table says whose they are); one
//! that the configured runtime lacks is refused by that runtime.

mod create;
mod error;
mod exec;
mod flag;
mod global;
mod id;
mod update;
mod verbs;

use std::ffi::OsString;

pub use self::create::{Create, Run};
pub use self::error::ArgvError;
pub use self::exec::{Exec, Inline, ProcessSource, User};
pub use self::global::{Global, LogFormat};
pub use self::id::ContainerId;
pub use self::update::{Resources, Update};
pub use self::verbs::{Plain, Verb};

use self::flag::{Emit, Given, HELP, USAGE};
use self::global::Instead;

/// A whole command line, without the program's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The options before the verb.
    pub global: Global,
    /// The verb and what follows it.
    pub command: Command,
}

/// What the runtime is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Create a container.
    Create(Create),
    /// Create and start one.
    Run(Run),
    /// Start a process in one.
    Exec(Exec),
    /// Bring back a checkpointed one.
    Restore(Plain),
    /// Change a running one's limits.
    Update(Update),
    /// Anything that is passed on as it is.
    Pass(Plain),
    /// Print the version.
    Version,
    /// Print help, of the verb if one is named.
    Help(Option<Verb>),
}

impl Invocation {
    /// Parses a command line; `argv` does not have the program's name.
    ///
    /// # Errors
    /// Whatever is not in the grammar, named.
    pub fn parse(argv: &[OsString]) -> Result<Self, ArgvError> {
        let (global, instead, words) = Global::split(argv)?;
        let command = match (instead, words.split_first()) {
            (Some(Instead::Version), _) => Command::Version,
            (Some(Instead::Help), _) | (None, None) => Command::Help(None),
            (None, Some((verb, rest))) => Command::parse(verb, rest)?,
        };
        Ok(Self { global, command })
    }

    /// The canonical command line, without the program's name. Parsing it gives `self` again.
    pub fn to_argv(&self) -> Vec<OsString> {
        let mut out = Emit::default();
        self.global.emit(&mut out);
        self.command.emit(&mut out);
        out.into_words()
    }
}

impl Command {
    fn parse(word: &OsString, rest: &[OsString]) -> Result<Self, ArgvError> {
        if word == "help" || word == "h" {
            return Ok(Self::Help(rest.first().map(|verb| Verb::find(verb)).transpose()?));
        }
        let verb = Verb::find(word)?;
        let given = Given::parse(verb.name(), verb.flags(), verb.stop(), rest)?;
        if given.bool(HELP.long)? || given.bool(USAGE.long)? {
            return Ok(Self::Help(Some(verb)));
        }
        Ok(match verb {
            Verb::Create => Self::Create(Create::from_given(&given)?),
            Verb::Run => Self::Run(Run::from_given(&given)?),
            Verb::Exec => Self::Exec(Exec::from_given(&given)?),
            Verb::Update => Self::Update(Update::from_given(&given)?),
            Verb::Restore => Self::Restore(Plain::from_given(verb, &given)?),
            _ => Self::Pass(Plain::from_given(verb, &given)?),
        })
    }

    fn emit(&self, out: &mut Emit) {
        match self {
            Self::Create(create) => {
                out.word(Verb::Create.name());
                create.emit(out);
            }
            Self::Run(run) => {
                out.word(Verb::Run.name());
                run.emit(out);
            }
            Self::Exec(exec) => {
                out.word(Verb::Exec.name());
                exec.emit(out);
            }
            Self::Update(update) => {
                out.word(Verb::Update.name());
                update.emit(out);
            }
            Self::Restore(plain) | Self::Pass(plain) => {
                out.word(plain.verb.name());
                plain.emit(out);
            }
            Self::Version => out.bool("version", true),
            Self::Help(verb) => {
                if let Some(verb) = verb {
                    out.word(verb.name());
                }
                out.bool(HELP.long, true);
            }
        }
    }
}

/// The one word of a verb that takes a container id and nothing else.
fn only_id(given: &Given) -> Result<ContainerId, ArgvError> {
    match given.words.as_slice() {
        [id] => ContainerId::parse(given.verb(), id),
        words => Err(ArgvError::Arguments {
            verb: given.verb(),
            expected: "one container id",
            got: words.len(),
        }),
    }
}

#[cfg(test)]
mod tests;
