//! User-Mode Linux: a kernel that is a program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::job::Job;
use super::kernels;
use crate::Error;
use crate::versions::cache;

/// What starts the programs of every Debian, as it is named in them.
const LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2";

/// Puts the kernel, with its arguments, behind the command that limits it.
pub(super) fn complete(command: &mut Command, security: &str, job: &Job) -> Result<(), Error> {
    let kernel = cache().join("kernel");
    start(command, &job.path(""))?;
    command
        // seccomp=on: twice as fast as by ptrace, and no protection against its own processes, which are the tests.
        .args(["mem=3G", "seccomp=on", "quiet", "con=null", "con0=fd:0,fd:1"])
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"])
        .arg(format!("security={security}"))
        .arg("enforcing=0")
        .arg(pair("init", &kernels().join("guest.sh")))
        .arg(pair("coaming_modules", &kernel.join("modules")))
        .arg(pair("coaming_mac", &cache().join("mac")))
        .arg(pair("coaming_job", &job.path("job")));
    Ok(())
}

/// Puts the kernel itself behind the command that limits it. What it needs for itself is put into `folder`.
pub(super) fn start(command: &mut Command, folder: &Path) -> Result<(), Error> {
    let kernel = cache().join("kernel");
    let program = folder.join("linux");
    let own = folder.join("ld");
    symlink(kernel.join("lib/ld-linux-x86-64.so.2"), &own)
        .map_err(Error::io("link", own.display()))?;
    loadable(&kernel.join("linux"), &own, &program)?;
    let home = folder.join("home");
    fs::create_dir(&home).map_err(Error::io("create", home.display()))?;
    command
        // For the kernel alone. TMPDIR: the guest's memory, which must be executable.
        .args(["env", "TMPDIR=/dev/shm", &pair("HOME", &home)])
        .arg(pair("LD_LIBRARY_PATH", &kernel.join("lib")))
        .arg(program);
    Ok(())
}

fn pair(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// The kernel is linked against a newer libc than stable Debian's. What loads it is named in it, in 27 bytes; to start the
/// loader by hand does not do, since the kernel maps memory where that would lie.
fn loadable(from: &Path, loader: &Path, to: &Path) -> Result<(), Error> {
    let mut bytes = fs::read(from).map_err(Error::io("read", from.display()))?;
    let own = loader.as_os_str().as_encoded_bytes();
    let start = bytes.windows(LOADER.len()).position(|window| window == LOADER);
    let place = start.and_then(|start| bytes.get_mut(start..start + LOADER.len()));
    let Some(place) = place.filter(|_| own.len() <= LOADER.len()) else {
        let why = format!("{} cannot be named as its loader", loader.display());
        return Err(Error::malformed(from.display())(why));
    };
    let padding = std::iter::repeat(&0);
    place.iter_mut().zip(own.iter().chain(padding)).for_each(|(byte, new)| *byte = *new);
    fs::write(to, bytes).map_err(Error::io("write", to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        .map_err(Error::io("chmod", to.display()))
}
