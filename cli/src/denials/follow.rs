//! Denials as they happen.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coaming_audit::{Assembler, Event};
use coaming_shim::record::Record;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::cause::Causes;
use super::process::Processes;
use super::report::Found;
use super::sources::{Received, Stream};
use super::tie::Ties;
use super::{Arguments, silent};
use crate::error::CommandError;
use crate::output::{self, Format};
use crate::records;

/// How long the records of one event are waited for; the kernel writes them together.
const TOGETHER: Duration = Duration::from_millis(100);
/// The most records that are read before signals are looked for.
const AT_ONCE: usize = 256;
/// How long after its folder appeared a record may still be written.
const SETTLED: Duration = Duration::from_secs(2);

/// Shows denials until a signal ends it. Nothing is left behind: there is a socket, and no more.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<(), CommandError> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGINT);
    ends.add(Signal::SIGTERM);
    ends.thread_block().map_err(std::io::Error::from)?;
    let signals = SignalFd::with_flags(&ends, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(std::io::Error::from)?;
    let stream = Stream::open().map_err(|error| {
        CommandError::Usage(format!(
            "cannot listen to the kernel's audit records: {error}; --follow takes CAP_AUDIT_READ, and a kernel with \
             CONFIG_AUDIT, in the node's own user and network namespaces"
        ))
    })?;
    let mut following = Following {
        arguments,
        containers: records::read_all(&arguments.state.join("containers"))?.found,
        changed: None,
        ties: Ties::over(Processes::at(&arguments.proc)),
        causes: Causes::default(),
        assembler: Assembler::default(),
    };
    for note in silent(&following.containers, arguments) {
        following.note(&note, out)?;
    }
    following.note("following", out)?;
    loop {
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(stream.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::try_from(TOGETHER).unwrap_or(PollTimeout::ZERO)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        let ended = fds.first().is_some_and(|fd| fd.any() == Some(true));
        // Many wait where many were denied; each process is looked at before the next record is read. Signals are
        // heard in between.
        for _ in 0..AT_ONCE {
            match stream.read()? {
                Received::Message(Some(record)) => following.take(record, out)?,
                Received::Message(None) => {}
                Received::Nothing => break,
                Received::Lost => following
                    .note("the kernel had more records than were read; some are lost", out)?,
            }
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let before = now.saturating_sub(if ended { Duration::ZERO } else { TOGETHER }).as_millis();
        for event in following.assembler.before(u64::try_from(before).unwrap_or(u64::MAX)) {
            following.show(&event, out)?;
        }
        if ended {
            return Ok(());
        }
    }
}

struct Following<'a> {
    arguments: &'a Arguments,
    containers: Vec<Record>,
    /// When the folder of records had changed, as it was read last.
    changed: Option<SystemTime>,
    ties: Ties,
    causes: Causes,
    assembler: Assembler,
}

impl Following<'_> {
    fn take(
        &mut self,
        record: coaming_audit::Record,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        if let Some(pid) = record.pid()
            && !self.ties.see(pid, record.stamp, &self.containers)
            && self.read_anew()?
        {
            self.ties.see(pid, record.stamp, &self.containers);
        }
        match self.assembler.push(record) {
            Some(event) => self.show(&event, out),
            None => Ok(()),
        }
    }

    /// Reads the records again where containers may have come or gone; whether they have.
    fn read_anew(&mut self) -> Result<bool, CommandError> {
        let folder = self.arguments.state.join("containers");
        let changed = std::fs::metadata(&folder).and_then(|meta| meta.modified()).ok();
        let settled = changed.is_none_or(|at| at.elapsed().is_ok_and(|ago| ago > SETTLED));
        if settled && changed == self.changed {
            return Ok(false);
        }
        self.changed = changed.filter(|_| settled);
        let found = records::read_all(&folder)?.found;
        if found == self.containers {
            return Ok(false);
        }
        // Places among the records change with them.
        self.ties.moved(&self.containers, &found);
        self.causes = Causes::default();
        self.containers = found;
        Ok(true)
    }

    fn show(&mut self, event: &Event, out: &mut dyn Write) -> Result<(), CommandError> {
        self.ties.learn(event, &self.containers);
        for denial in event.denials() {
            let tie = self.ties.of(&denial, &self.containers);
            if !self.arguments.wants(&tie, &self.containers) {
                continue;
            }
            let found = Found::of(denial, &tie, &self.containers, &mut self.causes);
            match self.arguments.output {
                Format::Text => found.show(None, out)?,
                Format::Json => {
                    let document = found.document().map_err(std::io::Error::from)?;
                    writeln!(out, "{document}")?;
                }
            }
            output::finish(out)?;
        }
        Ok(())
    }

    fn note(&self, note: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        match self.arguments.output {
            Format::Text => writeln!(out, "{}", output::printable(note))?,
            Format::Json => writeln!(out, "{}", serde_json::json!({"note": note}))?,
        }
        output::finish(out)
    }
}
