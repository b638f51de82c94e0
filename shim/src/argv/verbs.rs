//! The verbs, and those that are passed on as they are: they neither start a process in a container
//! nor change what one may do.

use std::ffi::OsString;

use super::flag::{Emit, Flag, Given, Kind, Of, Stop};
use super::{ArgvError, ContainerId, create, exec, update};

/// Every verb that is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the runtimes' own
pub enum Verb {
    Create,
    Run,
    Exec,
    Restore,
    Update,
    Start,
    State,
    Kill,
    Delete,
    Ps,
    List,
    Events,
    Pause,
    Resume,
    Features,
    Spec,
    Checkpoint,
}

const ALL: &[Verb] = &[
    Verb::Create,
    Verb::Run,
    Verb::Exec,
    Verb::Restore,
    Verb::Update,
    Verb::Start,
    Verb::State,
    Verb::Kill,
    Verb::Delete,
    Verb::Ps,
    Verb::List,
    Verb::Events,
    Verb::Pause,
    Verb::Resume,
    Verb::Features,
    Verb::Spec,
    Verb::Checkpoint,
];

const RESTORE: &[Flag] = &[
    Flag::new("bundle", &['b'], Kind::Value, Of::Both),
    Flag::new("console-socket", &[], Kind::Value, Of::Both),
    Flag::new("image-path", &[], Kind::Value, Of::Both),
    Flag::new("work-path", &[], Kind::Value, Of::Both),
    Flag::new("tcp-established", &[], Kind::Bool, Of::Both),
    Flag::new("tcp-close", &[], Kind::Bool, Of::Crun),
    Flag::new("ext-unix-sk", &[], Kind::Bool, Of::Both),
    Flag::new("shell-job", &[], Kind::Bool, Of::Both),
    Flag::new("file-locks", &[], Kind::Bool, Of::Both),
    Flag::new("manage-cgroups-mode", &[], Kind::Value, Of::Both),
    Flag::new("detach", &['d'], Kind::Bool, Of::Both),
    Flag::new("pid-file", &[], Kind::Value, Of::Both),
    Flag::new("no-subreaper", &[], Kind::Bool, Of::Runc),
    Flag::new("no-pivot", &[], Kind::Bool, Of::Runc),
    Flag::new("empty-ns", &[], Kind::Many, Of::Runc),
    Flag::new("auto-dedup", &[], Kind::Bool, Of::Runc),
    Flag::new("lazy-pages", &[], Kind::Bool, Of::Runc),
    Flag::new("lsm-profile", &[], Kind::Value, Of::Both),
    Flag::new("lsm-mount-context", &[], Kind::Value, Of::Both),
];

const CHECKPOINT: &[Flag] = &[
    Flag::new("image-path", &[], Kind::Value, Of::Both),
    Flag::new("work-path", &[], Kind::Value, Of::Both),
    Flag::new("parent-path", &[], Kind::Value, Of::Both),
    Flag::new("leave-running", &[], Kind::Bool, Of::Both),
    Flag::new("tcp-established", &[], Kind::Bool, Of::Both),
    Flag::new("tcp-skip-in-flight", &[], Kind::Bool, Of::Runc),
    Flag::new("link-remap", &[], Kind::Bool, Of::Runc),
    Flag::new("ext-unix-sk", &[], Kind::Bool, Of::Both),
    Flag::new("shell-job", &[], Kind::Bool, Of::Both),
    Flag::new("lazy-pages", &[], Kind::Bool, Of::Runc),
    Flag::new("status-fd", &[], Kind::Value, Of::Runc),
    Flag::new("page-server", &[], Kind::Value, Of::Runc),
    Flag::new("file-locks", &[], Kind::Bool, Of::Both),
    Flag::new("pre-dump", &[], Kind::Bool, Of::Both),
    Flag::new("manage-cgroups-mode", &[], Kind::Value, Of::Both),
    Flag::new("empty-ns", &[], Kind::Many, Of::Runc),
    Flag::new("auto-dedup", &[], Kind::Bool, Of::Runc),
];

const KILL: &[Flag] = &[
    Flag::new("all", &['a'], Kind::Bool, Of::Both),
    Flag::new("regex", &['r'], Kind::Bool, Of::Crun),
];
const DELETE: &[Flag] = &[
    Flag::new("force", &['f'], Kind::Bool, Of::Both),
    Flag::new("regex", &['r'], Kind::Bool, Of::Crun),
];
const PS: &[Flag] = &[Flag::new("format", &['f'], Kind::Value, Of::Both)];
const LIST: &[Flag] = &[
    Flag::new("format", &['f'], Kind::Value, Of::Both),
    Flag::new("quiet", &['q'], Kind::Bool, Of::Both),
];
const EVENTS: &[Flag] = &[
    Flag::new("interval", &[], Kind::Value, Of::Runc),
    Flag::new("stats", &[], Kind::Bool, Of::Runc),
];
const SPEC: &[Flag] = &[
    Flag::new("bundle", &['b'], Kind::Value, Of::Both),
    Flag::new("file", &['f'], Kind::Value, Of::Crun),
    Flag::new("rootless", &[], Kind::Bool, Of::Both),
];

impl Verb {
    /// The word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Run => "run",
            Self::Exec => "exec",
            Self::Restore => "restore",
            Self::Update => "update",
            Self::Start => "start",
            Self::State => "state",
            Self::Kill => "kill",
            Self::Delete => "delete",
            Self::Ps => "ps",
            Self::List => "list",
            Self::Events => "events",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Features => "features",
            Self::Spec => "spec",
            Self::Checkpoint => "checkpoint",
        }
    }

    pub(super) fn find(word: &std::ffi::OsStr) -> Result<Self, ArgvError> {
        if word == "mounts" {
            return Err(ArgvError::RefusedVerb {
                verb: "mounts",
                why: "it would mount into a container that has already been judged",
            });
        }
        ALL.iter()
            .copied()
            .find(|verb| word == verb.name())
            .ok_or_else(|| ArgvError::UnknownVerb { verb: word.to_string_lossy().into_owned() })
    }

    pub(super) fn flags(self) -> &'static [Flag] {
        match self {
            Self::Create => create::CREATE,
            Self::Run => create::RUN,
            Self::Exec => exec::FLAGS,
            Self::Restore => RESTORE,
            Self::Update => update::FLAGS,
            Self::Kill => KILL,
            Self::Delete => DELETE,
            Self::Ps => PS,
            Self::List => LIST,
            Self::Events => EVENTS,
            Self::Spec => SPEC,
            Self::Checkpoint => CHECKPOINT,
            Self::Start | Self::State | Self::Pause | Self::Resume | Self::Features => &[],
        }
    }

    pub(super) fn stop(self) -> Stop {
        match self {
            Self::Exec | Self::Ps => Stop::AtFirstWord,
            _ => Stop::AtEnd,
        }
    }
}

/// A verb with its flags and words, typed no further than the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// The verb.
    pub verb: Verb,
    /// Flags given, in the table's order; a boolean one has no value, and is there only when true.
    pub flags: Vec<(&'static str, Option<OsString>)>,
    /// The container, for the verbs that name one (not with crun's `--regex`).
    pub id: Option<ContainerId>,
    /// Words after the id: kill's signal, ps' options; the pattern with `--regex`.
    pub words: Vec<OsString>,
}

impl Plain {
    pub(super) fn from_given(verb: Verb, given: &Given) -> Result<Self, ArgvError> {
        let (least, most, expected) = match verb {
            Verb::List | Verb::Features | Verb::Spec => (0, 0, "no argument"),
            Verb::Kill => (1, 2, "a container id and at most a signal"),
            Verb::Ps => (1, usize::MAX, "a container id"),
            _ => (1, 1, "one container id"),
        };
        let got = given.words.len();
        if got < least || got > most {
            return Err(ArgvError::Arguments { verb: verb.name(), expected, got });
        }
        let mut flags = Vec::new();
        for flag in verb.flags() {
            match flag.kind {
                Kind::Bool if given.bool(flag.long)? => flags.push((flag.long, None)),
                Kind::Bool => {}
                Kind::Value => flags.extend(given.owned(flag.long).map(|v| (flag.long, Some(v)))),
                Kind::Many => {
                    flags.extend(given.many(flag.long).into_iter().map(|v| (flag.long, Some(v))));
                }
            }
        }
        let pattern = flags.iter().any(|(long, _)| *long == "regex");
        let (id, words) = match given.words.split_first() {
            Some((id, words)) if !pattern => {
                (Some(ContainerId::parse(verb.name(), id)?), words.to_vec())
            }
            _ => (None, given.words.clone()),
        };
        let plain = Self { verb, flags, id, words };
        plain.check_words()?;
        Ok(plain)
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        for (long, value) in &self.flags {
            match value {
                None => out.bool(long, true),
                Some(value) => out.value(long, Some(value)),
            }
        }
        if let Some(id) = &self.id {
            out.word(id.as_str());
        }
        out.words(&self.words);
    }

    /// A word after `--` could start with a dash, and would be a flag in the canonical line.
    /// ps' options may: both parsers have stopped by then.
    fn check_words(&self) -> Result<(), ArgvError> {
        use std::os::unix::ffi::OsStrExt;
        if self.verb == Verb::Ps {
            return Ok(());
        }
        match self.words.iter().find(|word| word.as_bytes().starts_with(b"-")) {
            None => Ok(()),
            Some(word) => Err(ArgvError::UnknownFlag {
                verb: self.verb.name(),
                flag: word.to_string_lossy().into_owned(),
                like: None,
            }),
        }
    }
}
