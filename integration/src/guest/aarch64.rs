//! A machine of another architecture, which runs none of this machine's programs: its root file system is Debian's for
//! arm64, small and in memory, and what runs in it is brought along.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Ended, kernels, limited, watch};
use crate::Error;
use crate::versions::cache;

const NAME: &str = "qemu-aarch64";

/// Boots it, and has a shell run `script` in a folder with these files, with `minutes` at most for all.
///
/// # Errors
/// When the machine cannot be started. That it died is in [`Ended`].
pub fn run(
    files: &[PathBuf],
    script: &str,
    minutes: u32,
    line: impl FnMut(&str),
) -> Result<Ended, Error> {
    let folder = cache().join("aarch64-guest");
    if !folder.join("versions").exists() {
        let why = "QEMU for aarch64 is not there; integration/install.sh --kernels fetches it";
        return Err(Error::Unavailable(why.to_owned()));
    }
    let job = tempfile::tempdir().map_err(Error::io("make a folder in", "/tmp"))?;
    let own = job.path().join("own");
    fs::create_dir_all(own.join("job")).map_err(Error::io("create", own.display()))?;
    let executable = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("chmod", path.display()))
    };
    let copy = |from: &Path, to: &Path| {
        fs::copy(from, to).map_err(Error::io("copy", from.display()))?;
        executable(to)
    };
    copy(&kernels().join("aarch64.sh"), &own.join("init"))?;
    for file in files {
        copy(file, &own.join("job").join(file.file_name().unwrap_or_default()))?;
    }
    let path = own.join("job/run.sh");
    fs::write(&path, script).map_err(Error::io("write", path.display()))?;
    // The kernel unpacks one after the other.
    let first = job.path().join("initrd");
    let archive = File::create(&first).map_err(Error::io("create", first.display()))?;
    for tree in [folder.join("root"), own] {
        let mut pack = Command::new("sh");
        pack.args(["-c", "find . | busybox cpio -o -H newc 2>/dev/null"]).current_dir(&tree);
        let out = archive.try_clone().map_err(Error::io("write", first.display()))?;
        let packed = pack.stdin(Stdio::null()).stdout(out).status();
        let packed = packed.map_err(Error::io("pack", tree.display()))?;
        if !packed.success() {
            return Err(Error::Unavailable(format!("{} cannot be packed", tree.display())));
        }
    }
    let mut machine = limited(minutes);
    machine
        .arg(folder.join("bin/qemu-system-aarch64"))
        .args(["-M", "virt", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "cortex-a57"])
        .args(["-smp", "1", "-m", "2G", "-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(folder.join("linux"))
        .arg("-initrd")
        .arg(&first)
        .args([
            "-append",
            "console=ttyAMA0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on",
        ]);
    watch(machine, NAME, line)
}
