//! Processes that the kernel killed because a container's memory ran out.
//!
//! v1 signals an eventfd when the limit cannot be kept, just before it kills (admin-guide/cgroup-v1/memory, "OOM
//! Control"). v2 counts kills in memory.events and marks the file as modified, some time later; so whoever is to know
//! before the exit must look, which [`OomWatch::flush`] does.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use containerd_shim_protos::events::task::TaskOOM;
use containerd_shim_protos::topics::TASK_OOM_EVENT_TOPIC;
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::Cgroup;
use super::files::pairs;
use crate::events::Publisher;
use crate::{log, sys};

/// Watches a container's cgroup until it is dropped, or the cgroup is gone.
pub(crate) struct OomWatch {
    watched: Arc<Watched>,
    task: AbortHandle,
}

/// Whether there is anything left to watch.
#[derive(Debug, PartialEq, Eq)]
enum State {
    There,
    Gone,
}

struct Watched {
    source: Source,
    /// v1: how often it was reported. v2: kills that were reported.
    reported: Mutex<u64>,
    report: Box<dyn Fn() + Send + Sync>,
}

/// Where the kernel tells, and the file in which it counts.
enum Source {
    /// An eventfd, and memory.oom_control.
    V1 { event: AsyncFd<OwnedFd>, counter: PathBuf },
    /// An inotify, and memory.events.
    V2 { changes: AsyncFd<OwnedFd>, counter: PathBuf },
}

impl OomWatch {
    /// Publishes `TaskOOM` for this container whenever it happens. To be called within the runtime.
    pub(crate) fn start(
        cgroup: &Cgroup,
        container: String,
        publisher: Publisher,
    ) -> io::Result<OomWatch> {
        let report = move || {
            log::info!(id = &container, "the container ran out of memory");
            let event = TaskOOM { container_id: container.clone(), ..TaskOOM::default() };
            publisher.publish(TASK_OOM_EVENT_TOPIC, event);
        };
        let source = match cgroup {
            Cgroup::V1(group) => Source::v1(group.memory()?)?,
            Cgroup::V2(group) => Source::v2(group.memory_events())?,
        };
        Ok(Self::of(source, Box::new(report)))
    }

    fn of(source: Source, report: Box<dyn Fn() + Send + Sync>) -> OomWatch {
        let watched = Arc::new(Watched { source, reported: Mutex::new(0), report });
        let task = tokio::spawn(watch(watched.clone())).abort_handle();
        OomWatch { watched, task }
    }

    /// What the kernel has already counted is published before this returns.
    pub(crate) async fn flush(&self) {
        self.watched.check(true);
    }
}

impl Drop for OomWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    fn v1(memory: &Path) -> io::Result<Source> {
        let counter = memory.join("memory.oom_control");
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags)?;
        let opened = File::open(&counter)?;
        std::fs::write(
            memory.join("cgroup.event_control"),
            format!("{} {}", event.as_raw_fd(), opened.as_raw_fd()),
        )?;
        Ok(Source::V1 { event: sys::watch(event.into(), Interest::READABLE)?, counter })
    }

    fn v2(counter: PathBuf) -> io::Result<Source> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        changes.add_watch(&counter, AddWatchFlags::IN_MODIFY)?;
        Ok(Source::V2 { changes: sys::watch(changes.into(), Interest::READABLE)?, counter })
    }

    /// Takes what the kernel has told; whether there was anything. What it was is of no interest: an eventfd gives a count,
    /// an inotify the name of the one file.
    fn told(&self) -> bool {
        let (Source::V1 { event: descriptor, .. } | Source::V2 { changes: descriptor, .. }) = self;
        let mut buffer = [0; 1024];
        let mut told = false;
        while nix::unistd::read(descriptor.get_ref(), &mut buffer).is_ok_and(|length| length > 0) {
            told = true;
        }
        told
    }
}

async fn watch(watched: Arc<Watched>) {
    let (Source::V1 { event: descriptor, .. } | Source::V2 { changes: descriptor, .. }) =
        &watched.source;
    while let Ok(mut ready) = descriptor.readable().await {
        let state = watched.check(false);
        ready.clear_ready();
        if state == State::Gone {
            return;
        }
    }
}

impl Watched {
    /// Looks at what the kernel says now, and reports what is new. `last`: nothing will come after this.
    fn check(&self, last: bool) -> State {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let told = self.source.told();
        match &self.source {
            Source::V1 { counter, .. } => {
                // The end of the cgroup is signalled too.
                let Some(kills) = kills(counter) else { return State::Gone };
                // A kill from before the eventfd was in place is in the counter alone. Later the counter is no help: it
                // grows after the signal, which was reported already.
                if told || (last && *reported == 0 && kills > 0) {
                    *reported = reported.saturating_add(1);
                    (self.report)();
                }
            }
            Source::V2 { counter, .. } => {
                let Some(kills) = kills(counter) else { return State::Gone };
                if kills > *reported {
                    *reported = kills;
                    (self.report)();
                }
            }
        }
        State::There
    }
}

/// The counter `oom_kill` of this file; none where the cgroup is gone. A kernel before 4.13 has no such counter in v1.
fn kills(file: &Path) -> Option<u64> {
    match pairs(file) {
        Ok(found) => Some(found.get("oom_kill").copied().unwrap_or_default()),
        // An open of before answers ENODEV where a new one answers ENOENT.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::ENODEV as i32) =>
        {
            None
        }
        Err(error) => {
            log::warn!("{}: {error}", file.display());
            Some(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    fn counter() -> (Arc<AtomicU32>, Box<dyn Fn() + Send + Sync>) {
        let count = Arc::new(AtomicU32::new(0));
        let counted = count.clone();
        let report = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        (count, Box::new(report))
    }

    async fn reaches(count: &AtomicU32, wanted: u32) {
        for _ in 0..500 {
            if count.load(Ordering::SeqCst) >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(count.load(Ordering::SeqCst), wanted);
    }

    #[tokio::test]
    async fn v2_reports_growing_kills_once() {
        let directory = tempfile::tempdir().unwrap();
        let events = directory.path().join("memory.events");
        std::fs::write(&events, "low 0\noom 0\noom_kill 0\n").unwrap();
        let (count, report) = counter();
        let watch = OomWatch::of(Source::v2(events.clone()).unwrap(), report);
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 0);
        // As the kernel changes it: in place.
        let change = |text: &str| {
            let mut file = std::fs::OpenOptions::new().write(true).open(&events).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        change("low 0\noom 1\noom_kill 0\n");
        change("low 0\noom 1\noom_kill 1\n");
        reaches(&count, 1).await;
        change("low 1\noom 1\noom_kill 1\n");
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        // Flushed before the watching task has had its turn.
        change("low 1\noom 2\noom_kill 3\n");
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
        reaches(&count, 2).await;
        std::fs::remove_file(&events).unwrap();
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    /// A memory cgroup of version 1 below this test's own; none where there is no v1 or it may not be made.
    struct Limited(PathBuf);

    impl Limited {
        fn new(name: &str) -> Option<Self> {
            let own = i32::try_from(std::process::id()).unwrap();
            let Cgroup::V1(group) = Cgroup::of_process(own).unwrap() else { return None };
            let folder = group.memory().ok()?.join(format!("coaming-{own}-{name}"));
            std::fs::create_dir(&folder).ok()?;
            std::fs::write(folder.join("memory.limit_in_bytes"), "8388608").unwrap();
            Some(Limited(folder))
        }

        /// Allocates in the cgroup until it is killed.
        fn run_out(&self) {
            let mut child = Command::new("/bin/sh")
                .args(["-c", "read go; exec dd if=/dev/zero of=/dev/null bs=100M count=1"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            std::fs::write(self.0.join("cgroup.procs"), child.id().to_string()).unwrap();
            child.stdin.take().unwrap().write_all(b"go\n").unwrap();
            let status = child.wait().unwrap();
            assert!(!status.success(), "{status}");
        }

        fn remove(&self) {
            for _ in 0..100 {
                if std::fs::remove_dir(&self.0).is_ok() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    impl Drop for Limited {
        fn drop(&mut self) {
            self.remove();
        }
    }

    #[tokio::test]
    async fn v1_reports_each_time_and_not_the_end_of_the_cgroup() {
        let Some(limited) = Limited::new("watch") else { return };
        let (count, report) = counter();
        let watch = OomWatch::of(Source::v1(&limited.0).unwrap(), report);
        limited.run_out();
        // Nothing was awaited since: only a flush can have seen it.
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
        watch.flush().await;
        limited.run_out();
        reaches(&count, 2).await;
        limited.remove();
        tokio::time::sleep(Duration::from_millis(50)).await;
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 2);
        assert!(watch.task.is_finished());
    }

    #[tokio::test]
    async fn v1_finds_what_happened_before_it_watched() {
        let Some(limited) = Limited::new("early") else { return };
        limited.run_out();
        let (count, report) = counter();
        let watch = OomWatch::of(Source::v1(&limited.0).unwrap(), report);
        tokio::time::sleep(Duration::from_millis(20)).await;
        watch.flush().await;
        watch.flush().await;
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
