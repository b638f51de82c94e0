use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use crate::door::{Door, stock_flags};
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
    door: Option<Door>,
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
        Ctr { node, namespace: "default" }
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
        self.call(args.into_iter().map(|arg| arg.as_ref().to_owned()).collect(), b"", false)
    }

    /// `ctr run --rm`: the container's outputs and exit code, or 1 and ctr's own message when it did not start.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn run(&self, run: &Run) -> Result<Output, Error> {
        self.task(&["run", "--rm"], run.words(self.node), &run.stdin, run.tty)
    }

    /// `ctr run --detach`: returns when the container has started; the output is ctr's own.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn start(&self, run: &Run) -> Result<Output, Error> {
        let mut line = vec!["run".into(), "--detach".into()];
        line.extend(run.words(self.node));
        self.call(line, b"", false)
    }

    /// `ctr tasks exec`.
    ///
    /// # Errors
    /// As [`Ctr::raw`].
    pub fn exec(&self, exec: &Exec) -> Result<Output, Error> {
        let mut words: Vec<OsString> =
            vec!["--exec-id".into(), format!("exec-{}", unique()).into()];
        words.extend(exec.flags.iter().cloned());
        words.push((&exec.id).into());
        words.extend(exec.args.iter().cloned());
        self.task(&["tasks", "exec"], words, &exec.stdin, exec.tty)
    }

    /// Kills and removes a container that [`Ctr::start`] started.
    ///
    /// # Errors
    /// When it is still there afterwards.
    pub fn remove(&self, id: &str) -> Result<(), Error> {
        self.raw(["tasks", "delete", "--force", id])?;
        self.raw(["containers", "delete", id])?.ok(&format!("ctr containers delete {id}")).map(drop)
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

    /// Runs a task. Its outputs come by [`LOGGER`], which takes neither an input nor a terminal: with those, by ctr itself.
    fn task(
        &self,
        verb: &[&str],
        rest: Vec<OsString>,
        stdin: &[u8],
        tty: bool,
    ) -> Result<Output, Error> {
        let mut line: Vec<OsString> = verb.iter().map(OsString::from).collect();
        if tty || !stdin.is_empty() {
            line.extend(tty.then(|| "--tty".into()));
            line.extend(rest);
            return self.call(line, stdin, tty);
        }
        let folder = format!("/run/world-logs/{}", unique());
        let world = self.node.world();
        for file in ["stdout", "stderr"] {
            world.write(format!("{folder}/{file}"), "", 0o600)?;
        }
        line.extend(["--log-uri".into(), format!("binary://{LOGGER_PATH}?folder={folder}").into()]);
        line.extend(rest);
        let said = self.call(line, b"", false)?;
        let read = |file: &str| {
            let path = world.path(format!("{folder}/{file}"));
            let bytes = fs::read(&path).map_err(Error::io("read", path.display()))?;
            Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Output {
            code: said.code,
            stdout: read("stdout")? + &said.stdout,
            stderr: read("stderr")? + &said.stderr,
        })
    }

    fn call(&self, args: Vec<OsString>, stdin: &[u8], tty: bool) -> Result<Output, Error> {
        let world = self.node.world();
        let ctr = self.node.config().containerd.suite().programs().join("ctr");
        let mut line: Vec<OsString> =
            vec![QUIET.into(), ctr.into(), "--namespace".into(), self.namespace.into()];
        line.extend(args);
        if !tty {
            return output::run(world.command("env").args(line), stdin);
        }
        // ctr wants a terminal of its own for --tty; script(1) gives it one.
        line.insert(0, "env".into());
        let line =
            line.iter().map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
        output::run(world.command("script").args(["-qefc", &line, "/dev/null"]), stdin)
    }
}

/// Where [`LOGGER`] is in a node's world.
pub(crate) const LOGGER_PATH: &str = "/run/world-logger";

/// The shim's logging binary (containerd, runtime/v2/README.md, "Logging"), called as `world-logger folder FOLDER`: the
/// outputs come as descriptors 3 and 4, closing 5 says that it is ready. The shim ends it with SIGTERM and waits: by
/// then the outputs are closed, and it ends by itself once it has read them.
///
/// ctr's own way, FIFOs, loses the output of a container that ends before ctr's reader was scheduled: the client cancels
/// FIFOs that are not yet open when the task is deleted (task.go, 1.6 to 2.1).
pub(crate) const LOGGER: &str = "#!/bin/sh
trap '' TERM
cat <&3 >$2/stdout 5>&- &
cat <&4 >$2/stderr 5>&- &
exec 3<&- 4<&- 5>&-
wait
";

impl Run {
    /// The image's own command in a container of this ID, under the node's real runtime.
    pub fn new(image: &str, id: &str) -> Run {
        Run {
            image: image.to_owned(),
            id: id.to_owned(),
            runtime: None,
            door: None,
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

    /// Through coaming.
    #[must_use]
    pub fn through(mut self, door: Door) -> Run {
        self.door = Some(door);
        self
    }

    /// Under the stock shim with this OCI runtime binary.
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

    fn words(&self, node: &Node) -> Vec<OsString> {
        let runtime = node.config().runtime;
        let flags = if let Some(door) = self.door {
            door.ctr_flags(runtime)
        } else {
            let binary = self.runtime.clone().unwrap_or_else(|| runtime.path());
            stock_flags(&binary.to_string_lossy())
        };
        let mut words: Vec<OsString> = flags.into_iter().map(Into::into).collect();
        words.extend(self.flags.iter().cloned());
        words.extend([(&self.image).into(), (&self.id).into()]);
        words.extend(self.args.iter().cloned());
        words
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
