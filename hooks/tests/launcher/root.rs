//! A place to run the launcher in: a root file system of its own, in namespaces of its own.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use coaming_hooks::plan::Plan;
use tempfile::TempDir;

use crate::support::{binaries, find_tool, make_root};

/// The tools a [`Run`] is made of.
pub(crate) const TOOLS: [&str; 7] =
    ["busybox", "chroot", "env", "ip", "mount", "setpriv", "unshare"];

/// A root file system with the launcher and a plan at /dev/.coaming.
pub(crate) struct Root {
    folder: TempDir,
}

impl Root {
    pub(crate) fn new(plan: &Plan) -> Self {
        let root = Self::with_plan_bytes(&plan.encode().unwrap());
        std::fs::copy(&binaries().init, root.path().join("dev/.coaming/init")).unwrap();
        root
    }

    pub(crate) fn with_plan_bytes(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_root(folder.path());
        std::fs::copy(&binaries().init, folder.path().join("dev/.coaming/init")).unwrap();
        std::fs::write(folder.path().join("dev/.coaming/plan"), bytes).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file with this content and mode.
    pub(crate) fn file(&self, path: &str, content: &str, mode: u32) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Through the launcher.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run<'_> {
        let launcher = ["/dev/.coaming/init", "plan"];
        self.chain([&launcher, arguments].concat())
    }

    /// Without it: what the same process would see.
    pub(crate) fn direct(&self, arguments: &[&str]) -> Run<'_> {
        self.chain(arguments.to_vec())
    }

    fn chain(&self, arguments: Vec<&str>) -> Run<'_> {
        Run {
            root: self,
            arguments: arguments.into_iter().map(str::to_owned).collect(),
            environment: vec!["PATH=/bin".to_owned()],
            no_new_privs: true,
            user: None,
            before: String::new(),
        }
    }
}

/// One process in that place.
pub(crate) struct Run<'a> {
    root: &'a Root,
    arguments: Vec<String>,
    environment: Vec<String>,
    no_new_privs: bool,
    user: Option<u32>,
    before: String,
}

/// How it ended and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The exit code, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run<'_> {
    pub(crate) fn environment(mut self, variables: &[&str]) -> Self {
        self.environment = variables.iter().map(|variable| (*variable).to_owned()).collect();
        self
    }

    pub(crate) fn without_no_new_privs(mut self) -> Self {
        self.no_new_privs = false;
        self
    }

    pub(crate) fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// Shell commands to run first, outside, in the same process, with $R the root.
    pub(crate) fn before(mut self, commands: &str) -> Self {
        self.before = commands.to_owned();
        self
    }

    pub(crate) fn end(self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let prepare = format!(
            "set -e; ip link set lo up; mount -t proc proc \"$R/proc\"; {}\nexec \"$@\"",
            self.before
        );
        // pdeathsig: if the test is killed, so is the process.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare"]);
        command.args(["--mount", "--net", "--propagation", "private", "--", "sh", "-c", &prepare]);
        command.args(["sh", "env", "-i"]).args(&self.environment);
        // By absolute path: the PATH is the workload's already.
        command.arg(find_tool("setpriv").unwrap());
        if self.no_new_privs {
            command.arg("--no-new-privs");
        }
        command.arg(find_tool("chroot").unwrap());
        if let Some(id) = self.user {
            command.arg(format!("--userspec={id}:{id}"));
        }
        command.arg(self.root.path()).args(&self.arguments).env("R", self.root.path());
        let output = command.output().unwrap();
        let status = output.status;
        Ended {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap()),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}
