//! The flag tables' vocabulary: how a row is written, parsed and emitted again.
//!
//! Each verb's flags are one table, so that what is accepted and what is known of it stand in one
//! place. clap does the parsing; the rules that both runtimes share and clap does not have by
//! itself are set in [`Given::parse`]: the last of a repeated flag wins, a value may start with a
//! dash, boolean flags take `=true` and `=false` as Go's flag package has it, and abbreviations
//! (which crun's argp would take) are unknown flags.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::builder::OsStringValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction};

use super::ArgvError;

/// Name under which clap keeps the words that are no flags.
const WORDS: &str = "<words>";

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, or `=BOOL`.
    Bool,
    /// One value; the last one given counts.
    Value,
    /// One value each time; all count, in order.
    Many,
}

/// Which runtimes know the flag. Documentation: the runtime itself refuses what it does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// runc and crun.
    Both,
    /// runc alone.
    Runc,
    /// crun alone.
    Crun,
}

/// One row of a verb's table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) shorts: &'static [char],
    pub(super) kind: Kind,
    /// Read by the test that holds the tables against the installed runtimes' help.
    #[cfg_attr(not(test), expect(dead_code, reason = "documentation, checked by a test"))]
    pub(super) of: Of,
}

impl Flag {
    pub(super) const fn new(
        long: &'static str,
        shorts: &'static [char],
        kind: Kind,
        of: Of,
    ) -> Self {
        Self { long, shorts, kind, of }
    }
}

/// `--help` in all its spellings; every verb has it.
pub(super) const HELP: Flag = Flag::new("help", &['h', '?'], Kind::Bool, Of::Both);
/// crun's short help.
pub(super) const USAGE: Flag = Flag::new("usage", &[], Kind::Bool, Of::Crun);

/// Where flags stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Flags may follow words, as in runc (urfave/cli reorders them).
    AtEnd,
    /// The first word ends the flags: what follows belongs to another program.
    AtFirstWord,
}

/// A command line's flags and words, typed no further than their table.
#[derive(Debug)]
pub(super) struct Given {
    verb: &'static str,
    values: BTreeMap<&'static str, Vec<OsString>>,
    pub(super) words: Vec<OsString>,
}

impl Given {
    /// Parses `argv` by the table.
    pub(super) fn parse(
        verb: &'static str,
        table: &'static [Flag],
        stop: Stop,
        argv: &[OsString],
    ) -> Result<Self, ArgvError> {
        refuse_single_dash(verb, table, stop, argv)?;
        let mut matches = grammar(verb, table, stop)
            .try_get_matches_from(argv)
            .map_err(|error| explain(verb, &error))?;
        let words = matches.remove_many::<OsString>(WORDS).into_iter().flatten().collect();
        let mut values = BTreeMap::new();
        for flag in rows(table) {
            if let Some(found) = matches.remove_many::<OsString>(flag.long) {
                values.insert(flag.long, found.collect());
            }
        }
        Ok(Self { verb, values, words })
    }

    pub(super) fn verb(&self) -> &'static str {
        self.verb
    }

    /// `None` when not given, as `runc exec --no-new-privs` tells the two apart.
    pub(super) fn maybe_bool(&self, long: &str) -> Result<Option<bool>, ArgvError> {
        let Some(value) = self.last(long) else {
            return Ok(None);
        };
        go_bool(value)
            .map(Some)
            .ok_or_else(|| self.bad(long, value, "true or false (a flag without value means true)"))
    }

    pub(super) fn bool(&self, long: &str) -> Result<bool, ArgvError> {
        Ok(self.maybe_bool(long)?.unwrap_or(false))
    }

    /// The last value given; an empty one is no value, as in runc.
    pub(super) fn value(&self, long: &str) -> Option<&OsStr> {
        self.last(long).filter(|value| !value.is_empty())
    }

    pub(super) fn owned<T: From<OsString>>(&self, long: &str) -> Option<T> {
        self.value(long).map(|value| value.to_owned().into())
    }

    pub(super) fn many(&self, long: &str) -> Vec<OsString> {
        self.values.get(long).cloned().unwrap_or_default()
    }

    /// A plain decimal number. Go's flag package reads `010` as eight and crun as ten: refused.
    pub(super) fn number(&self, long: &str, max: u32) -> Result<Option<u32>, ArgvError> {
        self.value(long).map(|value| self.as_number(long, value, max)).transpose()
    }

    pub(super) fn as_number(&self, long: &str, value: &OsStr, max: u32) -> Result<u32, ArgvError> {
        value.to_str().and_then(decimal).filter(|n| *n <= max).ok_or_else(|| {
            self.bad(long, value, "a decimal number without sign or leading zero, within range")
        })
    }

    pub(super) fn bad(&self, long: &str, value: &OsStr, expected: &'static str) -> ArgvError {
        ArgvError::BadValue {
            verb: self.verb,
            flag: long.to_owned(),
            value: value.to_string_lossy().into_owned(),
            expected,
        }
    }

    fn last(&self, long: &str) -> Option<&OsStr> {
        self.values.get(long)?.last().map(OsString::as_os_str)
    }
}

/// A canonical command line in the making: `--flag=value` words only, so that no value can be
/// taken for a flag by Go's flag package, urfave/cli's reordering or argp.
#[derive(Debug, Default)]
pub(super) struct Emit(Vec<OsString>);

impl Emit {
    pub(super) fn word(&mut self, word: impl Into<OsString>) {
        self.0.push(word.into());
    }

    pub(super) fn words(&mut self, words: &[OsString]) {
        self.0.extend_from_slice(words);
    }

    /// `--flag`, or nothing: crun's boolean flags take no value.
    pub(super) fn bool(&mut self, long: &str, on: bool) {
        if on {
            self.word(format!("--{long}"));
        }
    }

    pub(super) fn value(&mut self, long: &str, value: Option<impl AsRef<OsStr>>) {
        if let Some(value) = value {
            let mut word = OsString::from(format!("--{long}="));
            word.push(value);
            self.0.push(word);
        }
    }

    pub(super) fn many(&mut self, long: &str, values: &[OsString]) {
        for value in values {
            self.value(long, Some(value));
        }
    }

    pub(super) fn into_words(self) -> Vec<OsString> {
        self.0
    }
}

/// Digits only, no leading zero.
pub(super) fn decimal(text: &str) -> Option<u32> {
    let canonical =
        text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    canonical.then(|| text.parse().ok()).flatten()
}

/// strconv.ParseBool's words.
fn go_bool(value: &OsStr) -> Option<bool> {
    match value.to_str()? {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The table's rows and those every verb has.
fn rows(table: &'static [Flag]) -> impl Iterator<Item = Flag> {
    table.iter().copied().chain([HELP, USAGE])
}

fn grammar(verb: &'static str, table: &'static [Flag], stop: Stop) -> clap::Command {
    let words = Arg::new(WORDS)
        .num_args(0..)
        .value_parser(OsStringValueParser::new())
        .trailing_var_arg(stop == Stop::AtFirstWord);
    clap::Command::new(verb)
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(rows(table).map(argument))
        .arg(words)
}

fn argument(flag: Flag) -> Arg {
    let arg = Arg::new(flag.long)
        .long(flag.long)
        .value_parser(OsStringValueParser::new())
        .short(flag.shorts.first().copied())
        .visible_short_aliases(flag.shorts.get(1..).unwrap_or_default().to_vec());
    match flag.kind {
        Kind::Bool => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Kind::Value => arg.action(ArgAction::Set).allow_hyphen_values(true),
        Kind::Many => arg.action(ArgAction::Append).allow_hyphen_values(true),
    }
}

/// Refuses `-bundle`: runc (Go's flag package) reads the long flag, crun (getopt) `-b undle`.
///
/// Walks the words as the grammar does; anything it does not know is left for clap to name.
fn refuse_single_dash(
    verb: &'static str,
    table: &'static [Flag],
    stop: Stop,
    argv: &[OsString],
) -> Result<(), ArgvError> {
    let mut words = argv.iter();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        let takes_next = if bytes == b"--" {
            return Ok(());
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            rows(table).any(|flag| flag.kind != Kind::Bool && flag.long.as_bytes() == long)
        } else if let Some(cluster) = bytes.strip_prefix(b"-").filter(|rest| !rest.is_empty()) {
            let name = cluster.split(|b| *b == b'=').next().unwrap_or_default();
            if let Some(flag) = rows(table).find(|flag| flag.long.as_bytes() == name) {
                return Err(ArgvError::SingleDash {
                    verb,
                    flag: word.to_string_lossy().into_owned(),
                    long: flag.long,
                });
            }
            cluster_takes_next(table, cluster)
        } else if stop == Stop::AtFirstWord {
            return Ok(());
        } else {
            false
        };
        if takes_next {
            words.next();
        }
    }
    Ok(())
}

/// Whether a cluster of short flags ends in one whose value is the next word.
fn cluster_takes_next(table: &'static [Flag], cluster: &[u8]) -> bool {
    let takes_value = |b: u8| {
        rows(table).any(|flag| flag.kind != Kind::Bool && flag.shorts.contains(&char::from(b)))
    };
    cluster.iter().position(|b| takes_value(*b)).is_some_and(|at| at + 1 == cluster.len())
}

/// Puts clap's error into our words, which name the verb and the flag and nothing of clap's usage.
fn explain(verb: &'static str, error: &clap::Error) -> ArgvError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg);
    match (error.kind(), argument) {
        (ErrorKind::UnknownArgument, Some(flag)) => {
            ArgvError::UnknownFlag { verb, flag, like: text(ContextKind::SuggestedArg) }
        }
        (ErrorKind::InvalidValue, Some(flag)) => ArgvError::BadValue {
            verb,
            flag: bare(&flag),
            value: text(ContextKind::InvalidValue).unwrap_or_default(),
            expected: "a value",
        },
        _ => ArgvError::Syntax {
            verb,
            message: error.to_string().lines().next().unwrap_or("not understood").to_owned(),
        },
    }
}

/// `bundle` from clap's `--bundle <bundle>`.
fn bare(shown: &str) -> String {
    let word = shown.split([' ', '[', '=']).next().unwrap_or(shown);
    word.trim_start_matches('-').to_owned()
}
