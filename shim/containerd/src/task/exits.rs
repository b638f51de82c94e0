//! Which exit is whose.
//!
//! The exit of a process may be reaped before the runtime's call that started it has returned, and so before its pid
//! is known. So each start watches the exits from before that call, and looks for its own once the start has been
//! announced: no exit is lost, and none is announced before the start.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use nix::errno::Errno;

use super::container::{Container, ExecPlace};
use super::exec::Exec;
use crate::reaper::{Exit, ExitSink};
use crate::{log, sys};

/// The exit status of a process whose status nobody has; containerd's own (client, `UnknownExitStatus`).
const UNKNOWN: u32 = 255;

/// Processes that are expected to exit.
#[derive(Default)]
pub(crate) struct Exits {
    expected: Mutex<Expected>,
}

#[derive(Default)]
struct Expected {
    /// By pid. The kernel gives a pid anew only after its exit was taken here, so there is one process to each, but
    /// for a start that failed to notice an exit; then all are told.
    running: HashMap<i32, Vec<Running>>,
    /// Starts under way, and the exits since that belong to no running process.
    starting: HashMap<u64, Vec<Exit>>,
    next: u64,
}

/// A process that runs, and what its exit ends.
pub(super) enum Running {
    Init(Arc<Container>),
    Exec(Arc<Container>, Arc<Exec>, ExecPlace),
}

/// A start under way. Dropped, it watches no more.
pub(super) struct Starting<'a> {
    exits: &'a Exits,
    number: u64,
}

impl Exits {
    /// To be called before the runtime is.
    pub(super) fn starting(&self) -> Starting<'_> {
        self.expected().starting(self)
    }

    /// The same for the init of a container that is there already: from now on its exit is an early one. `None` when it
    /// has been taken: there is nothing left to start.
    pub(super) fn starting_again(&self, container: &Arc<Container>) -> Option<Starting<'_>> {
        let mut expected = self.expected();
        let pid = container.init.pid();
        let here = expected.running.get_mut(&pid)?;
        let is_it = |running: &mut Running| matches!(running, Running::Init(c) if Arc::ptr_eq(c, container));
        let found = here.extract_if(.., is_it).count() > 0;
        if here.is_empty() {
            expected.running.remove(&pid);
        }
        found.then(|| expected.starting(self))
    }

    fn expected(&self) -> MutexGuard<'_, Expected> {
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is expected or watched.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let expected = self.expected();
        expected.running.is_empty() && expected.starting.is_empty()
    }
}

impl Expected {
    fn starting<'a>(&mut self, exits: &'a Exits) -> Starting<'a> {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.starting.insert(number, Vec::new());
        Starting { exits, number }
    }
}

impl Starting<'_> {
    /// The process runs, or has run, under this pid. To be called after its start was announced.
    pub(super) fn started(self, pid: i32, running: Running) {
        let early = {
            let mut expected = self.exits.expected();
            let seen = expected.starting.remove(&self.number).unwrap_or_default();
            match seen.into_iter().find(|exit| exit.pid == pid).or_else(|| missed(pid)) {
                Some(exit) => Some((running, exit)),
                None => {
                    expected.running.entry(pid).or_default().push(running);
                    None
                }
            }
        };
        if let Some((running, exit)) = early {
            running.ended(exit);
        }
    }
}

/// A process that has gone without its exit coming here: its runtime waited for it. An exit that nobody tells of would be
/// waited for without end. One that has ended and was not reaped is still there (kill(2)).
fn missed(pid: i32) -> Option<Exit> {
    if sys::kill(pid, 0) != Err(Errno::ESRCH) {
        return None;
    }
    log::warn!(
        "process {pid} has ended, and only the runtime knows how: it is taken for a failure"
    );
    Some(Exit { pid, status: UNKNOWN, at: SystemTime::now() })
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.exits.expected().starting.remove(&self.number);
    }
}

impl ExitSink for Exits {
    fn exited(&self, exit: Exit) {
        let ended = {
            let mut expected = self.expected();
            let ended = expected.running.remove(&exit.pid).unwrap_or_default();
            if ended.is_empty() {
                expected.starting.values_mut().for_each(|seen| seen.push(exit));
            }
            ended
        };
        for running in ended {
            running.ended(exit);
        }
    }
}

impl Running {
    fn ended(self, exit: Exit) {
        match self {
            Running::Init(container) => container.init_ended(exit),
            Running::Exec(container, exec, place) => {
                exec.process.set_exited(exit);
                container.announcer.exited(exec.process.id(), exit);
                drop(place);
            }
        }
    }
}
