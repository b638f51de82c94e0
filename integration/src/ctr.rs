use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::{Error, Node, Output, output};

/// A node's `ctr`, in one containerd namespace.
#[derive(Clone, Copy)]
pub struct Ctr<'a> {
    node: &'a Node,
    namespace: &'a str,
}

/// What `ctr run` is asked for.
#[derive(Clone, Debug)]
pub struct Run {
    image: String,
    id: String,
    runtime: Option<PathBuf>,
    flags: Vec<OsString>,
    args: Vec<OsString>,
    stdin: Vec<u8>,
    tty: bool,
}

/// What `ctr tasks exec` is asked for.
#[derive(Clone, Debug)]
pub struct Exec {
    id: String,
    flags: Vec<OsString>,
    args: Vec<OsString>,
    stdin: Vec<u8>,
    tty: bool,
}

impl<'a> Ctr<'a> {
    pub(crate) fn new(node: &'a Node) -> Ctr<'a> {
        Ctr {
            node,
            namespace: "default",
        }
    }

    /// The same in another containerd namespace; CRI's is `k8s.io`.
    #[must_use]
    pub fn namespace(self, namespace: &'a str) -> Ctr<'a> {
        Ctr { namespace, ..self }
    }

    /// Any `ctr` command.
    ///
    /// # Errors
    /// When `ctr` cannot be started; how it ends is in the output.
    pub fn raw<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Output, Error> {
        let args: Vec<_> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        self.call(&args, b"", false)
    }

    /// `ctr run --rm`: the container's outputs and exit code, or 1 and ctr's own message when it did not start.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn run(&self, run: &Run) -> Result<Output, Error> {
        self.call(&run.command_line(self.node, &["--rm"]), &run.stdin, run.tty)
    }

    /// `ctr run --detach`: returns when the container has started; the output is ctr's own.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn start(&self, run: &Run) -> Result<Output, Error> {
        self.call(&run.command_line(self.node, &["--detach"]), b"", false)
    }

    /// `ctr tasks exec`.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn exec(&self, exec: &Exec) -> Result<Output, Error> {
        let mut line: Vec<OsString> = ["tasks", "exec", "--exec-id"].map(OsString::from).to_vec();
        line.push(format!("exec-{}", unique()).into());
        line.extend(exec.tty.then(|| "--tty".into()));
        line.extend(exec.flags.iter().cloned());
        line.push((&exec.id).into());
        line.extend(exec.args.iter().cloned());
        self.call(&line, &exec.stdin, exec.tty)
    }

    /// Kills and removes a container that [`Ctr::start`] started.
    ///
    /// # Errors
    /// When it is still there afterwards.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        self.raw(["tasks", "delete", "--force", id])?;
        self.raw(["containers", "delete", id])?
            .ok(&format!("ctr containers delete {id}"))
            .map(drop)
    }

    /// The host's PID of a running container's init.
    ///
    /// # Errors
    /// When there is no such task.
    pub fn pid(&self, id: &str) -> Result<u32, Error> {
        let list = self.raw(["tasks", "list"])?.ok("ctr tasks list")?.stdout;
        list.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .find_map(|columns| match columns.as_slice() {
                [found, pid, ..] if *found == id => pid.parse().ok(),
                _ => None,
            })
            .ok_or_else(|| Error::malformed("ctr tasks list")(format!("no task {id} in:\n{list}")))
    }

    fn call(&self, args: &[OsString], stdin: &[u8], tty: bool) -> Result<Output, Error> {
        let ctr = self.node.config().containerd.suite().programs().join("ctr");
        let mut line: Vec<OsString> = vec!["--namespace".into(), self.namespace.into()];
        line.extend(args.iter().cloned());
        if !tty {
            return output::run(
                self.node
                    .world()
                    .command("env")
                    .arg(QUIET)
                    .arg(ctr)
                    .args(line),
                stdin,
            );
        }
        line.splice(0..0, ["env".into(), QUIET.into(), ctr.into()]);
        // ctr wants a terminal of its own for --tty; script(1) gives it one. What it types arrives in the output as well.
        let line = line
            .iter()
            .map(|word| quote(&word.to_string_lossy()))
            .collect::<Vec<_>>()
            .join(" ");
        output::run(
            self.node
                .world()
                .command("script")
                .args(["-qefc", &line, "/dev/null"]),
            stdin,
        )
    }
}

impl Run {
    /// The image's own command in a container of this ID, under the node's real runtime.
    pub fn new(image: &str, id: &str) -> Run {
        Run {
            image: image.to_owned(),
            id: id.to_owned(),
            runtime: None,
            flags: Vec::new(),
            args: Vec::new(),
            stdin: Vec::new(),
            tty: false,
        }
    }

    /// This command instead of the image's.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Run {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// One of ctr's flags, such as `--privileged` or `--cap-add=CAP_SYS_ADMIN`; with a value in the same word or the next.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Run {
        self.flags.push(flag.into());
        self
    }

    /// Under this OCI runtime binary.
    #[must_use]
    pub fn runtime(mut self, binary: impl AsRef<Path>) -> Run {
        self.runtime = Some(binary.as_ref().to_owned());
        self
    }

    /// With this standard input, which does not end: `ctr run` never closes it (1.6 to 2.1).
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Run {
        self.stdin = stdin.into();
        self
    }

    /// On a terminal: both outputs come as standard output, with carriage returns and an echo of the input.
    #[must_use]
    pub fn tty(mut self) -> Run {
        self.tty = true;
        self
    }

    fn command_line(&self, node: &Node, flags: &[&str]) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["run".into()];
        line.extend(flags.iter().map(OsString::from));
        let binary = self
            .runtime
            .clone()
            .unwrap_or_else(|| node.config().runtime.path());
        line.extend([
            "--runtime".into(),
            "io.containerd.runc.v2".into(),
            "--runc-binary".into(),
            binary.into(),
        ]);
        line.extend(self.tty.then(|| "--tty".into()));
        line.extend(self.flags.iter().cloned());
        line.extend([(&self.image).into(), (&self.id).into()]);
        line.extend(self.args.iter().cloned());
        line
    }
}

impl Exec {
    /// A command in the running container of this ID.
    pub fn new<A: Into<OsString>>(id: &str, args: impl IntoIterator<Item = A>) -> Exec {
        Exec {
            id: id.to_owned(),
            flags: Vec::new(),
            args: args.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            tty: false,
        }
    }

    /// One of ctr's flags, such as `--user=0` or `--cwd=/tmp`.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<OsString>) -> Exec {
        self.flags.push(flag.into());
        self
    }

    /// With this standard input, to its end.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Exec {
        self.stdin = stdin.into();
        self
    }

    /// On a terminal: as [`Run::tty`].
    #[must_use]
    pub fn tty(mut self) -> Exec {
        self.tty = true;
        self
    }
}

/// ctr of containerd 2.x warns of the daemon's deprecated settings, on the standard error of whatever it runs.
const QUIET: &str = "CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1";

fn unique() -> u32 {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// For sh(1).
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
