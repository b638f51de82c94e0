use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Error, Output, binaries, leftovers, output};

/// What a command in a world may take at most, in seconds. A container that hangs must not hang the tests.
const COMMAND_LIMIT: &str = "120";

const PROGRAMS: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A private machine within the machine: mount, network, PID, IPC, UTS and cgroup namespaces of its own, with
/// memory-backed `/run`, `/tmp`, `/var/lib`, and writable private views of `/etc`, `/usr/bin`, `/usr/libexec` and `/var/log`.
///
/// Dropping the value kills and removes all of it, and so does the end of the test process, however it comes: PID 1 of
/// the world ends when the pipe to the test process closes.
pub struct World {
    name: String,
    pid: u32,
    keeper: Child,
    daemons: Mutex<Vec<Child>>,
}

impl World {
    /// Makes a world; some 200 ms.
    ///
    /// # Errors
    /// When the kernel refuses one of its parts.
    pub fn new() -> Result<World, Error> {
        World::make(None)
    }

    /// A world in which this folder's system is seen in the place of the machine's, with everything that it has, and written to
    /// in memory. Nothing of the machine's is in it but its devices.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn of_root(root: &Path) -> Result<World, Error> {
        World::make(Some(root))
    }

    /// This machine itself, for tests that run inside a guest which is what they are about. Nothing of it is made, and nothing removed.
    ///
    /// # Errors
    /// When a process that stands for it cannot be started.
    pub fn of_machine() -> Result<World, Error> {
        let keeper = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(Error::io("start", "cat"))?;
        Ok(World { name: "machine".to_owned(), pid: 1, keeper, daemons: Mutex::default() })
    }

    fn make(root: Option<&Path>) -> Result<World, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "coaming-world-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let mut keeper = Command::new("sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/world.sh"))
            .args(["outside", &name])
            .arg(binaries::reaper()?)
            .args(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("start", "world.sh"))?;
        let mut pid = String::new();
        if let Some(stdout) = keeper.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut pid)
                .map_err(Error::io("read from", "world.sh"))?;
        }
        match pid.trim().parse() {
            Ok(pid) => Ok(World { name, pid, keeper, daemons: Mutex::default() }),
            Err(_) => {
                let mut stderr = String::new();
                drop(keeper.stdin.take());
                if let Some(mut pipe) = keeper.stderr.take() {
                    pipe.read_to_string(&mut stderr).map_err(Error::io("read from", "world.sh"))?;
                }
                let code =
                    keeper.wait().map_err(Error::io("wait for", "world.sh"))?.code().unwrap_or(-1);
                Err(Error::Command { command: "world.sh".to_owned(), code, stdout: pid, stderr })
            }
        }
    }

    /// A name that no other world on the machine has; its cgroups are named so on the host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's PID of the world's PID 1.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where the host sees a path of the world. Absolute symbolic links on the way lead into the host, and so does
    /// canonicalising it: use it as it is, for paths without links.
    pub fn path(&self, inside: impl AsRef<Path>) -> PathBuf {
        let inside = inside.as_ref();
        Path::new("/proc")
            .join(self.pid.to_string())
            .join("root")
            .join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// Writes a file of the world, with its parent folders, under `mode`.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(
        &self,
        inside: impl AsRef<Path>,
        contents: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<(), Error> {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::io("create", parent.display()))?;
        }
        let shown = path.display().to_string();
        // A new file each time: an executable that runs cannot be written to, and hard links must not follow.
        let _ = fs::remove_file(&path);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(Error::io("create", &shown))?;
        file.write_all(contents.as_ref()).map_err(Error::io("write", &shown))?;
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("chmod", &shown))
    }

    /// Copies a file of the host into the world, under `mode`.
    ///
    /// # Errors
    /// The file system's.
    pub fn install(
        &self,
        from: impl AsRef<Path>,
        inside: impl AsRef<Path>,
        mode: u32,
    ) -> Result<(), Error> {
        let from = from.as_ref();
        self.write(inside, fs::read(from).map_err(Error::io("read", from.display()))?, mode)
    }

    /// Reads a text file of the world.
    ///
    /// # Errors
    /// The file system's, or that it is not UTF-8.
    pub fn read(&self, inside: impl AsRef<Path>) -> Result<String, Error> {
        let path = self.path(inside);
        fs::read_to_string(&path).map_err(Error::io("read", path.display()))
    }

    /// Builds coaming's programs and installs them at the paths where packages put them: the shim at [`crate::SHIM`], the
    /// others under `/usr/libexec/coaming`.
    /// Configuration and policies are the test's own: `/etc/coaming` holds an empty `policy.d` only.
    ///
    /// # Errors
    /// When they do not build.
    pub fn install_coaming(&self) -> Result<(), Error> {
        let built = binaries::binaries()?;
        let folder = Path::new("/usr/libexec/coaming");
        for (from, name) in [
            (&built.wrapper, "coaming-runc"),
            (&built.wrapper, "coaming-crun"),
            (&built.launcher, "coaming-init"),
            (&built.hook, "coaming-hook"),
            (&built.validator, "coaming-validator"),
            (&built.labels, "coaming-labels"),
            (&built.hook_test, "coaming-hook-test"),
            (&built.cli, "coaming"),
        ] {
            self.install(from, folder.join(name), 0o755)?;
        }
        self.install(&built.shim, crate::SHIM, 0o755)
    }

    /// A command that runs in the world with an empty environment but for `PATH`, and is killed after two minutes.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.enter();
        command
            .args(["timeout", "--foreground", "--kill-after=5", COMMAND_LIMIT])
            .arg(program.as_ref());
        command
    }

    /// Runs a program in the world to its end.
    ///
    /// # Errors
    /// When it cannot be started; how it ends is in the output.
    pub fn run<A: AsRef<std::ffi::OsStr>>(
        &self,
        argv: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        let mut argv = argv.into_iter();
        let program =
            argv.next().ok_or_else(|| Error::malformed("a command")("it is empty".to_owned()))?;
        output::run(self.command(program.as_ref()).args(argv), b"")
    }

    /// Sends a signal, such as `KILL`, to processes by the world's PIDs. By the shell: a small Debian has no kill program.
    ///
    /// # Errors
    /// As [`World::run`]; that a process is gone is in the output.
    pub fn kill<P: AsRef<str>>(
        &self,
        signal: &str,
        pids: impl IntoIterator<Item = P>,
    ) -> Result<Output, Error> {
        let pids: Vec<P> = pids.into_iter().collect();
        let line = ["sh", "-c", "kill -s \"$0\" -- \"$@\"", signal];
        self.run(line.into_iter().chain(pids.iter().map(AsRef::as_ref)))
    }

    /// As [`World::command`], but the process also lives in the world's cgroups, which costs some milliseconds for each
    /// hierarchy: for what puts containers below its own cgroup.
    pub fn command_in_cgroups(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.enter();
        command
            .args([
                "timeout",
                "--foreground",
                "--kill-after=5",
                COMMAND_LIMIT,
                "sh",
                "-c",
                JOIN_CGROUPS,
                "sh",
            ])
            .arg(program.as_ref());
        command
    }

    /// Starts a process that lives as long as the world, in its cgroups; what it says goes to `log` in the world.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn<A: AsRef<std::ffi::OsStr>>(
        &self,
        log: &str,
        path: &str,
        argv: impl IntoIterator<Item = A>,
    ) -> Result<(), Error> {
        let child = self
            .enter()
            .args([
                &format!("PATH={path}"),
                "sh",
                "-c",
                &format!("exec >>{log} 2>&1\n{JOIN_CGROUPS}"),
                "sh",
            ])
            .args(argv)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("start", log))?;
        self.daemons.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(child);
        Ok(())
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--mount",
                "--net",
                "--pid",
                "--ipc",
                "--uts",
                "--cgroup",
                "--target",
                &self.pid.to_string(),
            ])
            .args(["--", "env", "-i", PROGRAMS, &format!("{}={}", leftovers::MARK, self.name)]);
        command
    }
}

/// 0 stands for the writer (cgroups(7)). The world's cgroup v2 keeps processes in a leaf: see world.sh.
const JOIN_CGROUPS: &str = "
if [ -e /sys/fs/cgroup/init ]; then echo 0 >/sys/fs/cgroup/init/cgroup.procs
else for group in /sys/fs/cgroup/*/cgroup.procs; do echo 0 >$group; done; fi
exec \"$@\"";

impl Drop for World {
    fn drop(&mut self) {
        // Closing the pipe ends PID 1, with it all else; the keeper then removes the cgroups and ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let daemons = self.daemons.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        for mut daemon in daemons.drain(..) {
            let _ = daemon.wait();
        }
    }
}
