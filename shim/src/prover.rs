//! The prover: a process of its own beside the runtime, which lives until the workload has been
//! executed, looks at it once, kills it where it is wider than its floor, and writes down what it saw.
//!
//! The wrapper becomes the runtime by execve, and nobody would be there to look. Nobody waits for the
//! prover: it holds none of the caller's descriptors and is nobody's child ([`sys::beside`]).

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use coaming_policy::floor::Floor;
use nix::fcntl::OFlag;
use serde_json::Value;

use crate::argv::Global;
use crate::journal::event::{Container, Proof as Outcome, Stage};
use crate::journal::{Event, Journal};
use crate::proof::hold::Against;
use crate::proof::{Look, Moment, Process, ProgramFile, Proof, Proofs, judge};
use crate::record::Filters;
use crate::state::State;
use crate::{host, refusal_log, sys};

/// How long the runtime may take to execute the workload once it is told to: as long as a loaded node
/// may take, and more. The clock stands still while the machine sleeps.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a runtime that has ended may have been telling the process to go on.
const GRACE: Duration = Duration::from_secs(2);
/// How long a runtime may take to name its process, as long as it lives.
const CREATION: Duration = Duration::from_secs(3600);

/// What a prover needs to know.
#[derive(Debug)]
pub(crate) struct Prover {
    pub(crate) stage: Stage,
    pub(crate) subject: Subject,
    pub(crate) container: Container,
    pub(crate) state: State,
    /// The runtime's folder of the container.
    pub(crate) runtime_folder: PathBuf,
    pub(crate) floor: Floor,
    /// The OCI `process` as enforced.
    pub(crate) process: Value,
    pub(crate) filters: Option<Filters>,
    /// The launcher's files, where the process goes through it.
    pub(crate) launchers: Vec<ProgramFile>,
    pub(crate) preserved: u32,
    pub(crate) journal: Journal,
}

/// Which process is looked at.
#[derive(Debug)]
pub(crate) enum Subject {
    /// One that is known, with what was seen of it when it was created, if it was seen.
    Known(Process, Option<Box<Look>>),
    /// One whose number the runtime will write.
    Named(PidFile),
}

/// A file for a process's number.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    /// The file that was there before.
    before: Option<[i64; 5]>,
    /// Nobody asked for it, and it goes when it has been read.
    ours: bool,
}

impl PidFile {
    /// The caller's, or one of our own.
    pub(crate) fn new(given: Option<&Path>, ours: PathBuf) -> PidFile {
        let (path, ours) = match given {
            Some(given) => (std::path::absolute(given).unwrap_or_else(|_| given.to_owned()), false),
            None => (ours, true),
        };
        if ours {
            // Of a process of our number, before.
            let _ = fs::remove_file(&path);
        }
        PidFile { before: stamp(&path), path, ours }
    }

    /// Where the runtime is to write.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The process, once it is written; one that is older than `since` is not the runtime's.
    fn read(&self, since: u64) -> Option<Process> {
        let now = stamp(&self.path)?;
        if Some(now) == self.before {
            return None;
        }
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&self.path).ok()?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::Read::take(file, 32), &mut text).ok()?;
        let pid = text.trim().parse().ok()?;
        // One that has ended by now has no start; it is found to have ended.
        let process = Process::of(pid).unwrap_or(Process { pid, start: u64::MAX });
        (process.start >= since).then_some(process)
    }

    fn remove(&self) {
        if self.ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Tells a file from the one that was there before under the same name.
fn stamp(path: &Path) -> Option<[i64; 5]> {
    let meta = fs::symlink_metadata(path).ok()?;
    let inode = i64::from_ne_bytes(meta.ino().to_ne_bytes());
    let size = i64::try_from(meta.size()).unwrap_or(i64::MAX);
    Some([inode, size, meta.mtime(), meta.mtime_nsec(), meta.ctime_nsec()])
}

/// Who tells the process to go on.
enum Starter {
    /// The runtime that this process is about to become.
    Runtime(Runtime),
    /// A runtime that is called later, if ever: what it has not started by then is not looked at.
    Later(Duration),
}

/// The runtime that this process is about to become.
struct Runtime {
    fd: Option<OwnedFd>,
    process: Process,
}

impl Runtime {
    fn runs(&self) -> bool {
        self.process.runs()
    }

    /// Waits for a while, or until the runtime ends.
    fn wait(&self, pause: Duration) {
        match &self.fd {
            Some(fd) if self.runs() => sys::wait_for_end(fd, pause),
            _ => std::thread::sleep(pause),
        }
    }
}

/// Longer and longer, so that what takes long costs little.
struct Pause(Duration);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (self.0 * 3 / 2).min(Duration::from_millis(25));
        pause
    }
}

impl Prover {
    /// Sets it to work beside this process, which is about to become the runtime.
    ///
    /// # Errors
    /// There cannot be another process.
    pub(crate) fn launch(self) -> nix::Result<()> {
        let runtime = Process::of(std::process::id());
        sys::beside(c"coaming-prover", move || {
            if let Some(process) = runtime {
                let fd = sys::pidfd_open(process.pid).ok();
                self.work(&Starter::Runtime(Runtime { fd, process }));
            }
        })
    }

    /// Sets it to work beside this process, for a container that is created and that its runtime may start
    /// later.
    ///
    /// # Errors
    /// There cannot be another process.
    pub(crate) fn launch_for_later(self) -> nix::Result<()> {
        sys::beside(c"coaming-prover", move || drop(self.work(&Starter::Later(PATIENCE))))
    }

    /// Looks, in this process, once the workload has been executed; nothing where that takes longer than
    /// `most`.
    pub(crate) fn look_within(&self, most: Duration) -> Option<Proof> {
        self.work(&Starter::Later(most))
    }

    /// What came of it, written down; nothing where the workload was not started.
    fn work(&self, starter: &Starter) -> Option<Proof> {
        let proof = self.prove(starter)?;
        self.tell(proof.clone());
        Some(proof)
    }

    fn prove(&self, starter: &Starter) -> Option<Proof> {
        let node = host::examine(&Value::Null);
        let without = |process, outcome, why: &str| {
            Proof::without(self.stage, process, outcome, why.to_owned(), &node)
        };
        let (process, before) = match &self.subject {
            Subject::Known(process, before) => (*process, before.as_deref()),
            Subject::Named(file) => {
                let named = match starter {
                    Starter::Runtime(runtime) => named(file, runtime),
                    Starter::Later(_) => return None,
                };
                file.remove();
                match named {
                    Ok(process) => (process, None),
                    Err((outcome, why)) => return Some(without(None, outcome, why)),
                }
            }
        };
        let Ok(handle) = process.hold() else {
            return Some(without(Some(process), Outcome::Ended, ENDED));
        };
        match self.executed(&process, starter) {
            Executed::Yes => {}
            // The start failed, as its caller is told, or was not asked for; the container is as it was.
            Executed::NotStarted => return None,
            Executed::Ended => return Some(without(Some(process), Outcome::Ended, ENDED)),
            Executed::Late => {
                let killed = handle.kill().is_ok();
                let why = format!(
                    "the process had not executed its workload {} seconds after it was told to",
                    PATIENCE.as_secs()
                );
                let proof = without(Some(process), Outcome::Unproven, &why);
                return Some(Proof { killed, ..proof });
            }
        }
        process.settle();
        let init = match self.stage {
            Stage::Executed => self.init(),
            Stage::Created | Stage::Started => None,
        };
        let moment = match self.stage {
            Stage::Executed => Moment::Executed(init.as_ref()),
            Stage::Created | Stage::Started => Moment::Started(before),
        };
        let look = Look::at(&process, &self.floor);
        // Another may have been given its number while it was looked at.
        if !process.runs() {
            return Some(without(Some(process), Outcome::Ended, ENDED));
        }
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                let why = format!("/proc/{} cannot be read: {error}", process.pid);
                return Some(without(Some(process), Outcome::Unproven, &why));
            }
        };
        let against = Against {
            floor: &self.floor,
            node: &node,
            process: &self.process,
            filters: self.filters,
            late_filter: false,
            preserved: self.preserved,
        };
        let mut proof = Proof::of(self.stage, process, &look, judge(&look, against, moment), &node);
        if proof.outcome == Outcome::Mismatch {
            proof.killed = handle.kill().is_ok();
        }
        Some(proof)
    }

    /// The container's first process, if it runs.
    fn init(&self) -> Option<Look> {
        let init = Process::of_container(&self.runtime_folder)?;
        let look = Look::at(&init, &self.floor).ok();
        look.filter(|_| init.runs())
    }

    /// Waits until the process has executed its workload.
    fn executed(&self, process: &Process, starter: &Starter) -> Executed {
        let begun = Instant::now();
        let mut pause = Pause(Duration::from_micros(500));
        loop {
            // In this order: a runtime that has ended will not open its FIFO any more.
            let runtime_runs = match starter {
                Starter::Runtime(runtime) => runtime.runs(),
                Starter::Later(_) => true,
            };
            let Some(stat) = process.stat() else { return Executed::Ended };
            let launching = process.executes(&self.launchers);
            if !stat.not_executed && !launching {
                return Executed::Yes;
            }
            let waits = stat.not_executed && self.runtime_folder.join("exec.fifo").exists();
            let hopeless = !runtime_runs && waits && self.stage == Stage::Started;
            if hopeless && begun.elapsed() > GRACE {
                return Executed::NotStarted;
            }
            match starter {
                Starter::Later(most) if begun.elapsed() > *most => return Executed::NotStarted,
                Starter::Runtime(_) if begun.elapsed() > PATIENCE => return Executed::Late,
                _ => std::thread::sleep(pause.next()),
            }
        }
    }

    /// Writes down what came of it: in the journal, beside the record, and where it is bad, in the node's
    /// log.
    fn tell(&self, proof: Proof) {
        let now = SystemTime::now();
        let told = self.journal.append(Event::Proved(proof.event(self.container.clone())), now);
        let log = |message: &str| {
            refusal_log::warn(&Global::default(), message, now, &mut std::io::sink());
        };
        if let Err(error) = told {
            log(&format!("coaming cannot write its journal: {error}"));
        }
        if proof.killed {
            log(&self.in_words(&proof));
        }
        if self.stage != Stage::Executed {
            self.keep(proof);
        }
    }

    fn in_words(&self, proof: &Proof) -> String {
        let what = match self.stage {
            Stage::Executed => "a process that was executed in",
            Stage::Created | Stage::Started => "the first process of",
        };
        let why = match proof.outcome {
            Outcome::Mismatch => format!("it is wider than its floor: {}", proof.in_words()),
            _ => proof.why.clone().unwrap_or_default(),
        };
        let pid = proof.process.map_or(0, |process| process.pid);
        format!("coaming killed {what} container {} (pid {pid}): {why}", self.container.id)
    }

    fn keep(&self, proof: Proof) {
        // A container that ended at once has been deleted, perhaps, and its folder is going.
        let is_there = || self.state.private.join(crate::record::FILE).exists();
        if !is_there() {
            return;
        }
        let proofs = Proofs::read(&self.state).unwrap_or_default();
        let _ = Proofs { started: Some(proof), ..proofs }.write(&self.state);
        if !is_there() {
            let _ = fs::remove_file(self.state.private.join(crate::proof::report::FILE));
            let _ = fs::remove_dir(&self.state.private);
        }
    }
}

/// What became of waiting for the workload.
enum Executed {
    Yes,
    NotStarted,
    Ended,
    Late,
}

const ENDED: &str = "the process had ended before it could be looked at";

/// Waits for the runtime to name its process.
fn named(file: &PidFile, runtime: &Runtime) -> Result<Process, (Outcome, &'static str)> {
    let begun = Instant::now();
    let mut pause = Pause(Duration::from_millis(2));
    loop {
        // In this order: what it has written is there when it has ended.
        let runs = runtime.runs();
        if let Some(process) = file.read(runtime.process.start) {
            return Ok(process);
        }
        if !runs {
            return Err((Outcome::Ended, "the runtime ended and named no process"));
        }
        if begun.elapsed() > CREATION {
            return Err((Outcome::Unproven, "the runtime named no process within an hour"));
        }
        runtime.wait(pause.next());
    }
}
