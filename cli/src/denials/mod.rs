//! `coaming denials`: what the kernel denied, to which container, by which line of policy, and what would have
//! allowed it.
//!
//! It reads what the kernel wrote and changes nothing. No container waits for it.

mod calls;
mod cause;
mod danger;
mod files;
mod follow;
mod process;
mod report;
mod sources;
mod tie;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_audit::{Assembler, Event, Record as AuditRecord};
use coaming_policy::controls::log_denials::Logged;
use coaming_policy::facts::Fact;
use coaming_shim::config::STATE;
use coaming_shim::record::Record;

use crate::error::CommandError;
use crate::output::{self, Format, Outcome};
use crate::records::{self, Records};
use cause::Causes;
use process::Processes;
use report::{Found, Report};
use tie::{Tie, Ties};

/// Show what the kernel denied to containers: by which line of which policy, and what would have allowed it.
///
/// Denials are logged where a policy asks for it (`logDenials`). They are read from the kernel's ring buffer (/dev/kmsg)
/// and, where auditd runs, from its log; with --follow from the kernel itself, from now on. What a process was
/// can be told only while it runs, or where --follow saw it running. Exit codes: 0 there is an answer, 2
/// there is none.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Go on, with denials as they happen, until SIGINT or SIGTERM. Takes CAP_AUDIT_READ in the node's own
    /// network and user namespaces.
    #[arg(long, conflicts_with_all = ["since", "audit_log"])]
    follow: bool,
    /// Only what was denied since then: a time (2027-03-31T12:00:00Z), or how long ago (15m, 2h).
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,
    /// Only of this container, by its id or the beginning of it.
    #[arg(long, value_name = "ID")]
    container: Option<String>,
    /// Only of containers of pods in this namespace.
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Only of this pod's containers.
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Read this log of auditd's, and nothing else.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// Show denials of processes that are in no container, too.
    #[arg(long)]
    all: bool,
    /// Where coaming keeps its records.
    #[arg(long, value_name = "DIR", default_value = STATE, hide = true)]
    state: PathBuf,
    /// Where the node's processes are.
    #[arg(long, value_name = "DIR", default_value = "/proc", hide = true)]
    proc: PathBuf,
    /// The form of the answer; with --follow and json, a document on each line.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    if arguments.follow {
        follow::run(arguments, out)?;
        return Ok(Outcome::Fine);
    }
    let mut notes = Vec::new();
    let read = read(arguments.audit_log.as_deref(), &mut notes)?;
    let Records { found: containers, unreadable } =
        records::read_all(&arguments.state.join("containers"))?;
    notes.extend(unreadable.iter().map(|file| format!("not understood: {file}")));
    let mut assembler = Assembler::default();
    let mut events: Vec<Event> =
        read.into_iter().filter_map(|record| assembler.push(record)).collect();
    events.extend(assembler.rest());
    events.sort_by_key(|event| event.stamp);

    let mut ties = Ties::over(Processes::at(&arguments.proc));
    // Who made a domain is told once, by the first denial in it.
    events.iter().for_each(|event| ties.learn(event, &containers));
    let mut report = Report::default();
    let mut causes = Causes::default();
    for denial in events.iter().flat_map(Event::denials) {
        if arguments.since.is_some_and(|since| denial.stamp.millis < since) {
            continue;
        }
        let tie = ties.of(&denial, &containers);
        if arguments.wants(&tie, &containers) {
            report.add(Found::of(denial, &tie, &containers, &mut causes));
        } else if tie == Tie::Outside {
            report.outside += 1;
        }
    }
    notes.extend(silent(&containers, arguments));
    report.notes = notes;
    match arguments.output {
        Format::Text => report.show(out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(Outcome::Fine)
}

impl Arguments {
    fn selects(&self) -> bool {
        self.container.is_some() || self.namespace.is_some() || self.pod.is_some()
    }

    fn wants(&self, tie: &Tie, containers: &[Record]) -> bool {
        match tie {
            Tie::Container(place) => {
                containers.get(*place).is_some_and(|record| self.names(record))
            }
            Tie::Outside => self.all && !self.selects(),
            Tie::Unknown(_) => !self.selects(),
        }
    }

    fn names(&self, record: &Record) -> bool {
        let is = |asked: &Option<String>, fact: &Option<Fact>| {
            asked.as_ref().is_none_or(|asked| {
                fact.as_ref().is_some_and(|fact| fact.values().any(|value| value == asked))
            })
        };
        self.container.as_ref().is_none_or(|id| record.id.starts_with(id))
            && is(&self.namespace, &record.facts.namespace)
            && is(&self.pod, &record.facts.pod)
    }
}

/// What there is to read. A source that is not there is told, and where none is, there is no answer.
fn read(file: Option<&Path>, notes: &mut Vec<String>) -> Result<Vec<AuditRecord>, CommandError> {
    if let Some(file) = file {
        return sources::audit_log(file)
            .map_err(|error| CommandError::Path { path: file.to_owned(), error });
    }
    let log = sources::audit_log(Path::new(sources::AUDIT_LOG));
    let buffer = sources::kernel_buffer();
    match (log, buffer) {
        (Ok(mut records), buffer) => {
            match buffer {
                // What the daemon had not taken up yet, or what was before it.
                Ok(more) => records.extend(more),
                Err(error) => notes.push(format!("{} was not read: {error}", sources::KMSG)),
            }
            // A record that is in both is one.
            records.sort_by_key(|record| (record.stamp, record.kind));
            records.dedup();
            Ok(records)
        }
        (Err(_), Ok(records)) => {
            notes.push(format!(
                "read from the kernel's ring buffer, which forgets and which the kernel writes at a limited rate; \
                 with auditd, {} has more",
                sources::AUDIT_LOG
            ));
            Ok(records)
        }
        (Err(_), Err(error)) => {
            Err(CommandError::Path { path: PathBuf::from(sources::KMSG), error })
        }
    }
}

/// Why of some containers nothing is heard.
fn silent(containers: &[Record], arguments: &Arguments) -> Vec<String> {
    let mut notes = Vec::new();
    let named: Vec<&Record> = containers.iter().filter(|record| arguments.names(record)).collect();
    let unasked = |logged: Logged, applies: &dyn Fn(&Record) -> bool| {
        named
            .iter()
            .filter(|record| applies(record) && !record.floor.log_denials.met().has(logged))
            .count()
    };
    let calls = unasked(Logged::Seccomp, &|record| record.seccomp.is_some());
    if calls > 0 {
        notes.push(format!(
            "of {calls} of {} containers denied calls are logged only where they kill: no policy asks for more \
             (logDenials: [seccomp])",
            named.len()
        ));
    }
    let confined = |record: &Record| !record.floor.landlock.is_empty();
    let files = unasked(Logged::Landlock, &confined);
    if files > 0 {
        notes.push(format!(
            "of {files} of {} containers nothing that Landlock denies is logged: no policy asks for it \
             (logDenials: [landlock])",
            named.len()
        ));
    }
    // What was asked for and cannot be had is in the containers' records.
    for record in &named {
        let own = record.notes.iter().filter(|note| note.contains("asks for a log of"));
        notes.extend(own.map(|note| format!("container {}: {note}", record.id)));
    }
    let asked = named
        .iter()
        .any(|record| confined(record) && record.floor.log_denials.met().has(Logged::Landlock));
    if asked && sources::is_auditing() == Some(false) {
        notes.push(
            "auditing is off, and the kernel logs nothing that Landlock denies: switch it on with `auditctl -e 1` or \
             audit=1 on the kernel's command line"
                .to_owned(),
        );
    }
    notes
}

/// A time, or how long ago, as milliseconds since 1970.
fn since(text: &str) -> Result<u64, String> {
    let now = SystemTime::now();
    let time = match humantime::parse_duration(text) {
        Ok(ago) => now.checked_sub(ago).unwrap_or(UNIX_EPOCH),
        Err(_) => humantime::parse_rfc3339_weak(text).map_err(|_| {
            "neither a time such as 2027-03-31T12:00:00Z nor how long ago, such as 15m".to_owned()
        })?,
    };
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
