//! Children. The shim is a subreaper (prctl(2), PR_SET_CHILD_SUBREAPER): a container's processes are its children once
//! the runtime that started them has ended, and so is whatever they leave behind.
//!
//! All are waited for in one place. The exit of a child that was spawned here goes to who waits for that [`Child`]; every
//! other one goes to the [`ExitSink`]. A library that waits for its own children would fight with this, so every
//! child of the shim is spawned by [`Reaper::spawn`].

use std::collections::HashMap;
use std::io;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::{log, sys};

/// A process that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The process id; it is free to be taken again.
    pub(crate) pid: i32,
    /// The exit code, or 128 and the number of the signal that ended it.
    pub(crate) status: u32,
    /// When it was reaped.
    pub(crate) at: SystemTime,
}

/// Takes the exits of processes that were not spawned here. It is called in the order in which they were reaped, and
/// before the exit of any child that was reaped later can be seen; it must not block.
pub(crate) trait ExitSink: Send + Sync {
    /// One process has ended.
    fn exited(&self, exit: Exit);
}

/// Spawns children and reaps every process; clones are the same reaper.
#[derive(Clone)]
pub(crate) struct Reaper {
    shared: Arc<Shared>,
}

type Children = HashMap<i32, oneshot::Sender<Exit>>;

struct Shared {
    /// Children that were spawned here. Held from before a spawn until its entry is there, so that no exit is missed.
    children: Mutex<Children>,
    sink: OnceLock<Arc<dyn ExitSink>>,
    /// Tests share their process with others' children, which are not ours to reap.
    only_own: bool,
}

impl Reaper {
    /// Starts to reap; must be called within the runtime, once in a process.
    pub(crate) fn start() -> io::Result<Reaper> {
        Reaper::reaping(false)
    }

    /// Reaps only what it spawned: for tests, which share a process.
    #[cfg(test)]
    pub(crate) fn start_for_own_children() -> io::Result<Reaper> {
        Reaper::reaping(true)
    }

    fn reaping(only_own: bool) -> io::Result<Reaper> {
        let shared =
            Arc::new(Shared { children: Mutex::default(), sink: OnceLock::new(), only_own });
        let mut died = signal(SignalKind::child())?;
        let weak: Weak<Shared> = Arc::downgrade(&shared);
        tokio::spawn(async move {
            // One signal can stand for many children (signal(7)): each time, all are reaped.
            while died.recv().await.is_some() {
                let Some(shared) = weak.upgrade() else { return };
                shared.reap();
            }
        });
        Ok(Reaper { shared })
    }

    /// Who takes the exits of processes that were not spawned here; the first one stays.
    pub(crate) fn deliver_to(&self, sink: Arc<dyn ExitSink>) {
        let _ = self.shared.sink.set(sink);
    }

    /// Starts a child. Its streams are those of the command; nothing of it is kept here but its exit.
    pub(crate) fn spawn(&self, mut command: Command) -> io::Result<Child> {
        // This process has none; what it starts is to be as if containerd had started it.
        sys::huge_pages_as_before(&mut command);
        let (sender, exit) = oneshot::channel();
        let mut children = self.shared.children();
        let pid = command.spawn()?.id().cast_signed();
        children.insert(pid, sender);
        Ok(Child { pid, exit, reaper: self.clone() })
    }
}

impl Shared {
    fn children(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reap(&self) {
        // Delivered when the lock is free: what an exit leads to may spawn.
        for exit in self.reap_all() {
            if let Some(sink) = self.sink.get() {
                sink.exited(exit);
            }
        }
    }

    /// Tells who waits for a child; returns the exits that nobody here waits for.
    fn reap_all(&self) -> Vec<Exit> {
        // Held throughout: a pid that this loop frees cannot be taken by a spawn before its old entry is gone.
        let mut children = self.children();
        let mut others = Vec::new();
        let mut take = |children: &mut Children, pid, status| {
            let exit = Exit::of(pid, status);
            match children.remove(&pid) {
                // That the child was dropped is no error.
                Some(waiting) => drop(waiting.send(exit)),
                None => others.push(exit),
            }
        };
        if self.only_own {
            let own: Vec<i32> = children.keys().copied().collect();
            for pid in own {
                if let Ok(Some((pid, status))) = sys::reap(Some(pid)) {
                    take(&mut children, pid, status);
                }
            }
            return others;
        }
        loop {
            match sys::reap(None) {
                Ok(Some((pid, status))) => take(&mut children, pid, status),
                Ok(None) | Err(Errno::ECHILD) => return others,
                Err(Errno::EINTR) => {}
                Err(error) => {
                    log::error!("cannot wait for children: {error}");
                    return others;
                }
            }
        }
    }
}

impl Exit {
    /// Without WUNTRACED and WCONTINUED only ends are reported (waitpid(2)).
    fn of(pid: i32, status: i32) -> Exit {
        let status = if libc::WIFSIGNALED(status) {
            128_i32.saturating_add(libc::WTERMSIG(status))
        } else {
            libc::WEXITSTATUS(status)
        };
        Exit { pid, status: status.cast_unsigned(), at: SystemTime::now() }
    }
}

/// A child that was spawned by a [`Reaper`].
pub(crate) struct Child {
    pid: i32,
    exit: oneshot::Receiver<Exit>,
    reaper: Reaper,
}

impl Child {
    /// Ends when the child has ended; may be called again after it was cancelled, but not after it has returned.
    pub(crate) async fn wait(&mut self) -> io::Result<Exit> {
        (&mut self.exit).await.map_err(|_| io::Error::other("the reaper of this child is gone"))
    }

    /// Sends a signal, unless the child has been reaped.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        // The entry is there until the child is reaped, and the lock keeps it there: the pid cannot be another's.
        let children = self.reaper.shared.children();
        if children.contains_key(&self.pid) {
            nix::sys::signal::kill(Pid::from_raw(self.pid), signal)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn children_are_waited_for_and_signalled() {
        let reaper = Reaper::start_for_own_children().unwrap();
        let mut quick = reaper.spawn(shell("exit 3")).unwrap();
        let mut slow = reaper.spawn(shell("exec sleep 600")).unwrap();
        assert_eq!(quick.wait().await.unwrap().status, 3);
        let waited = tokio::time::timeout(Duration::from_millis(20), slow.wait()).await;
        assert!(waited.is_err());
        slow.signal(Signal::SIGTERM).unwrap();
        assert_eq!(slow.wait().await.unwrap().status, 143);
        // The pid may be another's by now.
        slow.signal(Signal::SIGKILL).unwrap();
        assert!(reaper.shared.children().is_empty());
        assert!(reaper.spawn(Command::new("/nonexistent")).is_err());
    }

    #[tokio::test]
    async fn what_is_told_to_die_with_its_parent_does() {
        let reaper = Reaper::start_for_own_children().unwrap();
        // On a thread that ends: for the kernel that is the parent.
        let mut child = std::thread::spawn(move || {
            let mut command = shell("exec sleep 600");
            sys::die_with_parent(&mut command);
            reaper.spawn(command).unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(child.wait().await.unwrap().status, 137);
    }
}
