//! A system that lies in a folder, booted by its own first process: as a node image is.

use std::fs;
use std::path::Path;

use super::{Ended, limited, user_mode, watch};
use crate::Error;
use crate::versions::cache;

/// A Debian with systemd, containerd and runc, as its packages lay it out.
///
/// # Errors
/// When it was not fetched.
pub fn debian() -> Result<std::path::PathBuf, Error> {
    let root = cache().join("image/root");
    if root.join("usr/lib/systemd/systemd").exists() {
        return Ok(root);
    }
    let why = format!("no Debian that boots in {}: run integration/install.sh", root.display());
    Err(Error::Unavailable(why))
}

/// Puts what a guest's kernel needs into an image: its modules, and a unit that loads them.
///
/// # Errors
/// The file system's.
pub fn furnish(root: &Path) -> Result<(), Error> {
    let modules = root.join("usr/lib/uml");
    fs::create_dir_all(&modules).map_err(Error::io("create", modules.display()))?;
    let mut commands = String::new();
    for name in ["overlay", "llc", "stp", "bridge", "veth"] {
        let from = cache().join("kernel/modules").join(format!("{name}.ko"));
        fs::copy(&from, modules.join(format!("{name}.ko")))
            .map_err(Error::io("copy", from.display()))?;
        commands.push_str(&format!("ExecStart=/sbin/insmod /usr/lib/uml/{name}.ko\n"));
    }
    let unit = root.join("etc/systemd/system/uml-modules.service");
    let text = format!(
        "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n[Service]\nType=oneshot\n{commands}\
         [Install]\nWantedBy=sysinit.target\n"
    );
    fs::write(&unit, text).map_err(Error::io("write", unit.display()))?;
    let wants = root.join("etc/systemd/system/sysinit.target.wants");
    fs::create_dir_all(&wants).map_err(Error::io("create", wants.display()))?;
    std::os::unix::fs::symlink("../uml-modules.service", wants.join("uml-modules.service"))
        .map_err(Error::io("link", wants.display()))
}

/// Boots the system in `root` under User-Mode Linux, with no network, all of it read-only and an empty /var in memory, and gives its console
/// line by line. It finds the words in its /proc/cmdline, and ends by saying `coaming job ended with CODE` and switching itself off.
///
/// # Errors
/// When the kernel cannot be started. That the guest died is in [`Ended`].
pub fn boot(
    root: &Path,
    words: &[String],
    minutes: u32,
    line: impl FnMut(&str),
) -> Result<Ended, Error> {
    let folder = tempfile::Builder::new()
        .prefix("uml.")
        .tempdir_in("/tmp")
        .map_err(Error::io("make a folder in", "/tmp"))?;
    let mut kernel = limited(minutes);
    user_mode::start(&mut kernel, folder.path())?;
    kernel
        .args(["mem=2G", "seccomp=on", "quiet", "con=null", "con0=fd:0,fd:1", "console=tty0"])
        .args(["root=/dev/root", "rootfstype=hostfs", "ro", "security=none"])
        .arg(format!("rootflags={}", root.display()))
        .args(["systemd.volatile=state", "systemd.show_status=0", "panic=1"])
        .args(words);
    watch(kernel, "the image", line)
}
