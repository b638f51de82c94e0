//! `coaming journal`: what the gate decided and proved on this node, line by line.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use coaming_shim::config;
use coaming_shim::journal::JournalError;
use coaming_shim::journal::chain::{self, Broken, Whole};
use coaming_shim::journal::event::{Container, Decision, Event, Line, Proof, Stage};
use coaming_shim::journal::read::{self, JournalFile};
use serde::Serialize;

use crate::error::CommandError;
use crate::output::{self, Format, Outcome, count};

/// How often --follow looks.
const PAUSE: Duration = Duration::from_millis(250);

/// Show the journal of this node: what was created, refused, executed and proved.
///
/// With --output json each line is printed as it was written (JSON lines). --verify walks the chain: every
/// line carries the SHA-256 of the line before it, and the first that does not fit is named. Lines cut off at
/// the end leave no trace in the journal itself: keep the number and digest that --verify prints elsewhere.
/// Exit codes: 0 all is well, 1 the chain is broken, 2 there is no answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Go on with lines as they are written.
    #[arg(long, short, conflicts_with = "verify")]
    follow: bool,
    /// Only lines from this time on: RFC 3339 (2026-01-31T12:00:00Z), or how long ago (90s, 15m, 2h, 7d).
    #[arg(long, value_name = "TIME", conflicts_with = "verify", value_parser = since)]
    since: Option<SystemTime>,
    /// Only lines of the container of this id, or whose id begins so.
    #[arg(long, value_name = "ID", conflicts_with = "verify")]
    container: Option<String>,
    /// Walk the chain instead, and say whether it is whole.
    #[arg(long)]
    verify: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Where the journal lies.
    #[arg(long, value_name = "DIR", default_value_os_t = config::journal(), hide = true)]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    if arguments.verify {
        return verify(arguments, out);
    }
    let mut reader = Reader { folder: &arguments.folder, file: None, done: 0 };
    loop {
        reader.lines(&mut |bytes| arguments.show(bytes, out))?;
        if !arguments.follow {
            return Ok(Outcome::Fine);
        }
        output::finish(out)?;
        std::thread::sleep(PAUSE);
    }
}

/// What --verify found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "chain")]
enum Chain {
    Whole(Whole),
    Broken(Broken),
}

fn verify(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let (chain, outcome) = match chain::verify(&arguments.folder)? {
        Ok(whole) => (Chain::Whole(whole), Outcome::Fine),
        Err(broken) => (Chain::Broken(broken), Outcome::Findings),
    };
    match (&chain, arguments.output) {
        (chain, Format::Json) => output::json(chain, out)?,
        (Chain::Broken(broken), Format::Text) => writeln!(out, "broken: {broken}")?,
        (Chain::Whole(Whole { files: 0, .. }), Format::Text) => {
            writeln!(
                out,
                "{} has no journal: nothing was written yet",
                arguments.folder.display()
            )?;
        }
        (Chain::Whole(whole), Format::Text) => {
            let Whole { files, first, last, head, unfinished_bytes, .. } = whole;
            let files = count(*files, "file", "files");
            writeln!(
                out,
                "whole: {files}, lines {first} to {last}; SHA-256 of line {last}: {head}"
            )?;
            if *unfinished_bytes > 0 {
                writeln!(
                    out,
                    "{unfinished_bytes} bytes behind line {last} are a line that is being written, or was \
                     torn; the next line repairs it"
                )?;
            }
        }
    }
    Ok(outcome)
}

impl Arguments {
    fn show(&self, bytes: &[u8], out: &mut dyn Write) -> Result<(), CommandError> {
        let line = match read::parse(bytes) {
            Ok(line) => line,
            Err(why) => {
                // Said where people look; what reads JSON lines is given lines alone.
                if self.output == Format::Text && self.container.is_none() {
                    writeln!(out, "a line that is not understood ({why}); see --verify")?;
                }
                return Ok(());
            }
        };
        let is_wanted = self.container.as_ref().is_none_or(|wanted| {
            container(&line.event).is_some_and(|container| container.id.starts_with(wanted))
        });
        let is_late = self.since.is_none_or(|since| {
            humantime::parse_rfc3339_weak(&line.at).map_or(true, |at| at >= since)
        });
        if !is_wanted || !is_late {
            return Ok(());
        }
        match self.output {
            Format::Json => {
                out.write_all(bytes)?;
                Ok(out.write_all(b"\n")?)
            }
            Format::Text => Ok(writeln!(out, "{}", output::printable(&in_words(&line)))?),
        }
    }
}

/// Reads on from where it was.
struct Reader<'a> {
    folder: &'a Path,
    /// The file that was read last, and how many bytes of it.
    file: Option<JournalFile>,
    done: usize,
}

impl Reader<'_> {
    fn lines(
        &mut self,
        each: &mut dyn FnMut(&[u8]) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        for file in read::files(self.folder)? {
            let before = self.file.as_ref().map_or(0, |file| file.first);
            if file.first < before {
                continue;
            }
            if file.first > before {
                self.done = 0;
            }
            let bytes = match file.read() {
                // Rotated away meanwhile.
                Err(JournalError::Io { error, .. })
                    if error.kind() == std::io::ErrorKind::NotFound =>
                {
                    continue;
                }
                bytes => bytes?,
            };
            // A torn line that was repaired makes the file shorter.
            let from = self.done.min(bytes.len());
            let fresh = bytes.get(from..).unwrap_or_default();
            let (lines, rest) = read::lines(fresh);
            for line in &lines {
                each(line)?;
            }
            self.done = bytes.len() - rest.len();
            self.file = Some(file);
        }
        Ok(())
    }
}

fn container(event: &Event) -> Option<&Container> {
    match event {
        Event::Created(decision) | Event::Executed(decision) => Some(&decision.container),
        Event::Refused(refused) => Some(&refused.decision.container),
        Event::Proved(proved) => Some(&proved.container),
        Event::Checkpoint(_) | Event::Repaired(_) | Event::Unknown => None,
    }
}

/// A line for people.
fn in_words(line: &Line) -> String {
    let named = container(&line.event).map(name).unwrap_or_default();
    let words = match &line.event {
        Event::Created(decision) => format!("created   {named}{}", changed(decision)),
        Event::Executed(decision) => format!("executed  {named}{}", changed(decision)),
        Event::Refused(refused) => {
            let reasons = refused.reasons.iter().map(|reason| {
                let by = reason.policy.as_deref().unwrap_or("coaming");
                format!("{} ({by})", reason.field)
            });
            let reasons: Vec<String> = reasons.collect();
            let why = refused.error.clone().unwrap_or_else(|| reasons.join(", "));
            format!("refused   {named} to {}: {why}", refused.operation)
        }
        Event::Proved(proved) => {
            let stage = match proved.stage {
                Stage::Created => "created",
                Stage::Started => "started",
                Stage::Executed => "executed",
            };
            let wider: Vec<String> = proved.mismatches.iter().map(ToString::to_string).collect();
            let outcome = match proved.outcome {
                Proof::Held => "held".to_owned(),
                Proof::Mismatch => format!("MISMATCH ({})", wider.join("; ")),
                Proof::Ended => "ended".to_owned(),
                Proof::Unproven => {
                    format!("unproven ({})", proved.why.as_deref().unwrap_or_default())
                }
            };
            let killed = if proved.killed { ", killed" } else { "" };
            format!("proved    {named} {stage}, pid {}: {outcome}{killed}", proved.pid)
        }
        Event::Checkpoint(checkpoint) => {
            let totals = &checkpoint.totals;
            let refused: u64 = totals.refused.values().sum();
            format!(
                "counted   {} created, {refused} refused, {} executed since {}",
                totals.created,
                totals.executed,
                totals.since.as_deref().unwrap_or(&line.at)
            )
        }
        Event::Repaired(repaired) => {
            format!("REPAIRED  {} bytes of a torn line were taken off", repaired.torn_bytes)
        }
        Event::Unknown => "an event of a later version".to_owned(),
    };
    format!("{} {words}", line.at)
}

/// `id (namespace/pod/container)`, as far as it is known.
fn name(container: &Container) -> String {
    const SHORT: usize = 12;
    let id: String = container.id.chars().take(SHORT).collect();
    let parts: Vec<&str> = [&container.namespace, &container.pod, &container.container]
        .into_iter()
        .filter_map(Option::as_deref)
        .collect();
    if parts.is_empty() { id } else { format!("{id} ({})", parts.join("/")) }
}

fn changed(decision: &Decision) -> String {
    let mut notes = Vec::new();
    if !decision.changes.is_empty() {
        let changes: Vec<String> = decision
            .changes
            .iter()
            .map(|change| format!("{} ({})", change.field, change.policy))
            .collect();
        notes.push(format!("changed {}", changes.join(", ")));
    }
    for (what, names) in [("degraded", &decision.degraded), ("waived", &decision.waived)] {
        if !names.is_empty() {
            notes.push(format!("{what} {}", names.join(", ")));
        }
    }
    if decision.audited > 0 {
        notes.push(format!("audited {}", decision.audited));
    }
    if notes.is_empty() { String::new() } else { format!(": {}", notes.join("; ")) }
}

/// A time, or how long ago.
fn since(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let ago = humantime::parse_duration(text)
        .map_err(|_| "neither a time (2026-01-31T12:00:00Z) nor a duration (15m)".to_owned())?;
    SystemTime::now().checked_sub(ago).ok_or_else(|| "longer ago than time goes back".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_ago() {
        let hour = Duration::from_secs(3600);
        let ago = since("1h").unwrap();
        let passed = SystemTime::now().duration_since(ago).unwrap();
        assert!(passed >= hour && passed < hour * 2);
        let at = since("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(humantime::format_rfc3339(at).to_string(), "2026-01-31T12:00:00Z");
        assert!(since("yesterday").is_err() && since("99999999999999999999y").is_err());
    }
}
