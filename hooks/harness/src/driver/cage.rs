//! Namespaces in which the runtimes run: when their first process ends, so does every process in them, and
//! every mount is gone.

use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{geteuid, mkdtemp};

use crate::sys;

/// A folder that is empty on the host, and the worker's own in its namespaces.
pub(super) struct Cage {
    base: PathBuf,
}

impl Cage {
    pub(super) fn new() -> Result<Cage, String> {
        if !geteuid().is_root() {
            return Err("only root can create containers; run this as root".to_owned());
        }
        let base = mkdtemp("/run/coaming-hook-test-XXXXXX")
            .map_err(|errno| format!("making a folder in /run: {errno}"))?;
        Ok(Cage { base })
    }

    /// Runs `work` as the first process of the namespaces, with the folder; its exit code.
    pub(super) fn run(self, work: impl FnOnce(&Path) -> i32) -> Result<i32, String> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)
            .map_err(|errno| format!("making namespaces (unshare(2)): {errno}"))?;
        let base = self.base.clone();
        let code = sys::in_child(move || match furnish(&base) {
            Ok(()) => work(&base),
            Err(why) => {
                super::complain(&why);
                super::IMPOSSIBLE
            }
        });
        code.map_err(|error| format!("starting a process: {error}"))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Empty but for a mount in these namespaces, which hides that.
        let _ = nix::mount::umount2(&self.base, nix::mount::MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir(&self.base);
    }
}

fn furnish(base: &Path) -> Result<(), String> {
    let none = None::<&str>;
    let at = |what: &'static str| move |errno| format!("mounting {what}: {errno}");
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(at("the root privately"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(at("/proc"))?;
    // /run is noexec on some systems; containers' programs are below this.
    mount(Some("tmpfs"), base, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=256m"))
        .map_err(at("a tmpfs"))
}
