use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{Bundle, Error, Output, World, output, wait_for};

/// The runtimes' state folder in the world.
const STATE: &str = "/run/bare";
/// What a container's process executes before its program, where it has Landlock rules.
const LAUNCHER: &[u8] = b"/dev/.coaming/init";

/// An OCI runtime (runc, crun, or coaming's wrapper) called as containerd's shim would call it, without containerd.
#[derive(Clone, Debug)]
pub struct BareRuntime {
    binary: PathBuf,
}

impl BareRuntime {
    /// The runtime at this path of the world.
    pub fn new(binary: impl Into<PathBuf>) -> BareRuntime {
        BareRuntime { binary: binary.into() }
    }

    /// Its path in the world.
    pub fn path(&self) -> &Path {
        &self.binary
    }

    /// `run`: to the container's end, then removed.
    ///
    /// # Errors
    /// When the runtime cannot be started; how it ends is in the output.
    pub fn run(&self, bundle: &Bundle<'_>, stdin: &[u8]) -> Result<Output, Error> {
        let path = bundle.path();
        let args: [&OsStr; 4] =
            ["run".as_ref(), "--bundle".as_ref(), path.as_ref(), bundle.id().as_ref()];
        output::run(self.command(bundle.world()).args(args), stdin)
    }

    /// `run --detach`: returns once the container's own program runs. The output is the runtime's and what the container has written
    /// by then; the rest goes to the same files, `stdout` and `stderr` of the bundle.
    ///
    /// # Errors
    /// As [`BareRuntime::run`].
    pub fn start(&self, bundle: &Bundle<'_>) -> Result<Output, Error> {
        let path = bundle.path();
        let pid_file = path.join("pid");
        let program = bundle.program();
        let redirect = format!("exec \"$@\" >{0}/stdout 2>{0}/stderr", path.display());
        let mut command = bundle.world().command_in_cgroups("sh");
        command
            .args(["-c", &redirect, "sh"])
            .arg(&self.binary)
            .args(["--root", STATE, "run", "--detach", "--pid-file"])
            .arg(&pid_file)
            .arg("--bundle");
        let ended = output::run(command.arg(&path).arg(bundle.id()), b"")?;
        if ended.success() {
            wait_for_program(bundle.world(), &pid_file, program.as_deref())?;
        }
        let stdout = bundle.world().read(path.join("stdout"))?;
        let stderr = bundle.world().read(path.join("stderr"))?;
        Ok(Output { stdout, stderr, ..ended })
    }

    /// `exec` with a process of its own: the `process` object of a runtime spec.
    ///
    /// # Errors
    /// As [`BareRuntime::run`].
    pub fn exec_process(&self, bundle: &Bundle<'_>, process: &Value) -> Result<Output, Error> {
        let file = bundle.path().join("process.json");
        bundle.world().write(&file, process.to_string(), 0o600)?;
        let args: [&OsStr; 4] =
            ["exec".as_ref(), "--process".as_ref(), file.as_ref(), bundle.id().as_ref()];
        self.call(bundle.world(), args)
    }

    /// `exec` with a command, after any of the runtime's flags.
    ///
    /// # Errors
    /// As [`BareRuntime::run`].
    pub fn exec(
        &self,
        bundle: &Bundle<'_>,
        flags: &[&str],
        args: &[&str],
    ) -> Result<Output, Error> {
        self.call(bundle.world(), [&["exec"], flags, &[bundle.id()], args].concat())
    }

    /// `delete --force`.
    ///
    /// # Errors
    /// When the container is still there.
    pub fn delete(&self, bundle: &Bundle<'_>) -> Result<(), Error> {
        self.call(bundle.world(), ["delete", "--force", bundle.id()])?
            .ok("delete --force")
            .map(drop)
    }

    /// Any command line after `--root`.
    ///
    /// # Errors
    /// As [`BareRuntime::run`].
    pub fn call<A: AsRef<OsStr>>(
        &self,
        world: &World,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        output::run(self.command(world).args(args), b"")
    }

    fn command(&self, world: &World) -> std::process::Command {
        let mut command = world.command_in_cgroups(&self.binary);
        command.args(["--root", STATE]);
        command
    }
}

/// The runtimes return when the container's first process is about to become its program: until then it is the runtime's
/// own, with the runtime's name and, in part, its privileges.
fn wait_for_program(world: &World, pid_file: &Path, program: Option<&[u8]>) -> Result<(), Error> {
    let (Ok(pid), Some(program)) = (world.read(pid_file), program) else {
        return Ok(());
    };
    let folder = world.path("/proc").join(pid.trim());
    wait_for("the container's program", || {
        // It may have ended by now, too, or become another: the last command of a shell takes its place.
        let seen = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        let is_past = || !seen.starts_with(LAUNCHER) && has_executed(&folder);
        Ok((seen.is_empty() || seen == program || is_past()).then_some(()))
    })
}

/// Whether a process has executed anything since it was forked: `PF_FORKNOEXEC` of the flags in its `stat`
/// (include/linux/sched.h). A runtime's init is forked and executes nothing before the container's program.
fn has_executed(folder: &Path) -> bool {
    let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let flags = fields.split(' ').nth(6).and_then(|flags| flags.parse::<u64>().ok());
    flags.is_some_and(|flags| flags & 0x40 == 0)
}
