//! What can be wrong with a runtime command line, always naming the word that is wrong.

use thiserror::Error;

/// Why a command line is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ArgvError {
    /// The verb is in neither runtime's grammar.
    #[error(
        "unknown command {verb:?}: coaming passes only the runc and crun commands that it knows"
    )]
    UnknownVerb {
        /// The word found where the verb belongs.
        verb: String,
    },
    /// The verb is known, and there is no way to hold it to the floor.
    #[error("command {verb:?} is refused: {why}")]
    RefusedVerb {
        /// The verb.
        verb: &'static str,
        /// What it would get round.
        why: &'static str,
    },
    /// The flag is in neither runtime's grammar for this verb.
    #[error("{verb}: unknown flag {flag:?}{}", suggestion(.like))]
    UnknownFlag {
        /// The verb, or `global options`.
        verb: &'static str,
        /// The flag as written.
        flag: String,
        /// A known flag that is close to it.
        like: Option<String>,
    },
    /// The flag is known, and there is no way to hold it to the floor.
    #[error("{verb}: flag --{flag} is refused: {why}")]
    RefusedFlag {
        /// The verb.
        verb: &'static str,
        /// The flag's long name.
        flag: &'static str,
        /// What it would get round.
        why: &'static str,
    },
    /// `-bundle`: a long flag to runc, `-b undle` to crun.
    #[error("{verb}: {flag:?} means one thing to runc and another to crun: write --{long} instead")]
    SingleDash {
        /// The verb.
        verb: &'static str,
        /// The flag as written.
        flag: String,
        /// The long name it spells.
        long: &'static str,
    },
    /// Two flags that contradict each other; the runtimes let the later win.
    #[error("{verb}: --{first} and --{second} contradict each other: give one of them")]
    Conflict {
        /// The verb.
        verb: &'static str,
        /// One flag.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A flag's value is not of its type.
    #[error("{verb}: --{flag} {value:?}: expected {expected}")]
    BadValue {
        /// The verb.
        verb: &'static str,
        /// The flag's long name.
        flag: String,
        /// The value as written.
        value: String,
        /// What would have done.
        expected: &'static str,
    },
    /// Too few or too many words after the flags.
    #[error("{verb}: expected {expected}, got {got} argument(s)")]
    Arguments {
        /// The verb.
        verb: &'static str,
        /// What the verb takes.
        expected: &'static str,
        /// How many words there were.
        got: usize,
    },
    /// The container id would not be a safe path component.
    #[error("{verb}: container id {id:?} is refused: {why}")]
    BadId {
        /// The verb.
        verb: &'static str,
        /// The id as written.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Anything else the grammar found, in its words.
    #[error("{verb}: {message}")]
    Syntax {
        /// The verb.
        verb: &'static str,
        /// One line.
        message: String,
    },
}

fn suggestion(like: &Option<String>) -> String {
    like.as_ref().map(|flag| format!(" (did you mean {flag}?)")).unwrap_or_default()
}
