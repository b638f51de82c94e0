//! QEMU, without the processor's help: kernels as Debian ships them, with their own Landlock.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::job::Job;
use super::kernels;
use crate::versions::{Suite, cache};
use crate::{Error, wait_for};

/// What gives the guest this machine's files; ended with the value.
pub(super) struct Files(Child);

impl Drop for Files {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Puts the machine, with its arguments, behind the command that limits it. `security` is said to the kernel besides.
pub(super) fn complete(
    command: &mut Command,
    suite: Suite,
    security: &str,
    job: &Job,
) -> Result<Files, Error> {
    let (qemu, kernel) = (cache().join("qemu"), cache().join("kernels").join(suite.to_string()));
    if !kernel.join("versions").exists() || !qemu.join("versions").exists() {
        let why =
            "QEMU or its kernels are not there; integration/install.sh --kernels fetches them";
        return Err(Error::Unavailable(why.to_owned()));
    }
    let socket = job.path("files");
    let files = share(&qemu.join("bin/virtiofsd"), &socket)?;
    let pair = |name: &str, path: &Path| format!("{name}={}", path.display());
    let words = [
        // quiet: the console is slow. What is tried at boot and of no use here is left out.
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable random.trust_cpu=on no_timer_check".to_owned(),
        // audit: without it Landlock logs nothing.
        "cryptomgr.notests initcall_blacklist=jent_mod_init audit=1".to_owned(),
        security.to_owned(),
        pair("coaming_init", &kernels().join("guest.sh")),
        pair("coaming_mac", &cache().join("mac")),
        pair("coaming_job", &job.path("job")),
    ];
    command
        .arg(qemu.join("bin/qemu-system-x86_64"))
        .arg("-L")
        .arg(qemu.join("share"))
        .args(["-M", "pc", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,la57=off"])
        .args(["-smp", "1", "-m", "2G", "-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-serial", "stdio", "-no-reboot"])
        .args(["-object", "memory-backend-memfd,id=memory,size=2G,share=on"])
        .args(["-numa", "node,memdev=memory"])
        .arg("-chardev")
        .arg(format!("socket,id=files,path={}", socket.display()))
        .args(["-device", "vhost-user-fs-pci,chardev=files,tag=coaming"])
        .arg("-kernel")
        .arg(kernel.join("linux"))
        .arg("-initrd")
        .arg(kernel.join("initrd"))
        .args(["-append", &words.join(" ")]);
    Ok(files)
}

fn share(program: &Path, socket: &Path) -> Result<Files, Error> {
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .arg("--socket-path")
        .arg(socket)
        .args(["--shared-dir", "/", "--sandbox", "none", "--cache", "always", "--readonly"])
        // An overlay takes no part of a file system that says it is a mount of its own.
        .arg("--no-announce-submounts")
        .args(["--log-level", "error"])
        .stdin(Stdio::null())
        .spawn()
        .map_err(Error::io("start", program.display()))?;
    let files = Files(child);
    wait_for("the guest's files", || Ok(socket.exists().then_some(())))?;
    Ok(files)
}
