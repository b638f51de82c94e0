//! A container to exec into: busybox, asleep, under a real runtime.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::unistd::geteuid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// crun refuses the hybrid cgroup layout, which is seen at this mount point alone.
pub(crate) const NO_HYBRID_CGROUPS: &str =
    "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi; ";

const APPLETS: [&str; 8] = ["sh", "sleep", "readlink", "grep", "cat", "env", "sort", "id"];

/// What was printed after the line `BEGIN`: before it stands the test harness' own.
pub(crate) fn after_begin(output: &Output) -> Vec<String> {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let (_, printed) = stdout
        .split_once("BEGIN\n")
        .unwrap_or_else(|| panic!("no BEGIN\nstdout: {stdout}\nstderr: {stderr}"));
    printed.lines().map(str::to_owned).collect()
}

/// A busybox that sleeps, deleted when dropped.
pub(crate) struct Container {
    pub(crate) runtime: String,
    pub(crate) id: &'static str,
    prepare: &'static str,
    pub(crate) dir: TempDir,
}

impl Container {
    pub(crate) fn start(name: &str, prepare: &'static str) -> Option<Self> {
        let runtime = installed(name);
        let busybox = Path::new("/bin/busybox");
        let (Some(runtime), true, true) = (runtime, busybox.exists(), geteuid().is_root()) else {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "cannot run here: {NEEDS}"
            );
            let _ = writeln!(std::io::stderr(), "skipped: {NEEDS}");
            return None;
        };
        let dir = TempDir::new().unwrap();
        let bin = dir.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(dir.path().join("rootfs/dev")).unwrap();
        fs::create_dir(dir.path().join("rootfs/proc")).unwrap();
        fs::copy(busybox, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let runtime = runtime.to_str().unwrap().to_owned();
        let container = Self { runtime, id: "c", prepare, dir };
        let bundle = container.dir.path().to_str().unwrap().to_owned();
        fs::write(container.dir.path().join("config.json"), config().to_string()).unwrap();
        let output = container.run(&["run", "--detach", "--bundle", &bundle, container.id]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(container)
    }

    pub(crate) fn root(&self) -> String {
        self.dir.path().join("state").to_str().unwrap().to_owned()
    }

    pub(crate) fn run(&self, argv: &[&str]) -> Output {
        let mut command = Command::new(&self.runtime);
        command.args(["--root", &self.root()]).args(argv);
        self.within(command)
    }

    /// Runs in a mount namespace of its own. Output goes through files: the container's process
    /// holds its stdio open for as long as it lives.
    pub(crate) fn within(&self, command: Command) -> Output {
        let (out, err) = (self.dir.path().join("out"), self.dir.path().join("err"));
        let mut wrapped = Command::new("unshare");
        wrapped.args(["--mount", "sh", "-c", &format!("{}exec \"$@\"", self.prepare), "sh"]);
        wrapped.arg(command.get_program()).args(command.get_args());
        wrapped.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        wrapped.stdin(Stdio::null());
        wrapped.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
        let status = wrapped.status().unwrap();
        Output { status, stdout: fs::read(out).unwrap(), stderr: fs::read(err).unwrap() }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.run(&["delete", "--force", self.id]);
    }
}

const NEEDS: &str =
    "needs root, /bin/busybox, and runc and crun, which integration/install.sh fetches";

/// The machine's own runtime, or one of those that `integration/install.sh` keeps.
fn installed(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("COAMING_INTEGRATION_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/coaming-integration"), PathBuf::from);
    let kept = ["sid", "trixie", "bookworm"].map(|suite| cache.join(suite).join("bin"));
    ["/usr/bin", "/usr/sbin"]
        .map(PathBuf::from)
        .into_iter()
        .chain(kept)
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
}

/// The soft limit equals the hard one: Go's runtime raises a lower one in runc, at times before it
/// is set. Otherwise a process of which every field that an exec inherits differs from what it
/// would be by default.
pub(crate) fn config() -> Value {
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs"},
        "process": {
            "terminal": false, "cwd": "/bin",
            "user": {"uid": 0, "gid": 3, "additionalGids": [7], "umask": 63},
            "args": ["sleep", "600"], "env": ["PATH=/bin", "HOME=/home"],
            "noNewPrivileges": true,
            "capabilities": {
                "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_KILL"],
                "permitted": ["CAP_KILL", "CAP_CHOWN"],
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 500, "soft": 500}],
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {"namespaces": namespaces},
    })
}
