//! Where known escapes are rebuilt: a bundle and the runtime's own command line, with coaming's wrapper or without.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Stdio;

use coaming_integration::{BareRuntime, Bundle, Error, Output, default_spec};
use serde_json::Value;

use crate::drive::Side;
use crate::ground::Ground;

/// The folder of a pod's volumes, from which `baseline` lets containers mount.
pub(crate) const VOLUMES: &str = "/var/lib/kubelet/pods/escape/volumes";

pub(crate) struct Stage<'a> {
    pub(crate) ground: &'a Ground,
    id: String,
    made: Cell<u32>,
    runtime: BareRuntime,
    binary: PathBuf,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(ground: &'a Ground, name: &str, side: Side) -> Stage<'a> {
        let runtime = ground.node.config().runtime;
        let (binary, kind) = match side {
            Side::Stock => (runtime.path(), "stock"),
            Side::Coaming(_) => (runtime.wrapper_path(), "coaming"),
        };
        let id = format!("{name}-{kind}");
        Stage { ground, id, made: Cell::new(0), runtime: BareRuntime::new(&binary), binary }
    }

    /// A bundle whose spec, containerd's default, is changed by `edit`.
    pub(crate) fn bundle(
        &self,
        command: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Bundle<'a>, Error> {
        self.made.set(self.made.get() + 1);
        let id = format!("{}-{}", self.id, self.made.get());
        let mut spec = default_spec(&id, command.iter().copied())?;
        edit(&mut spec);
        Bundle::new(self.ground.node.world(), &id, &spec)
    }

    /// Runs a command to its end in a container of that spec.
    pub(crate) fn run(
        &self,
        command: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Output, Error> {
        self.runtime.run(&self.bundle(command, edit)?, b"")
    }

    /// The same at a terminal, on which all is said: standard error is there too, and told as both.
    pub(crate) fn run_at_terminal(
        &self,
        command: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Output, Error> {
        let bundle = self.bundle(command, |spec| {
            spec["process"]["terminal"] = true.into();
            edit(spec);
        })?;
        let line = format!(
            "{} --root /run/bare run --bundle {} {}",
            self.binary.display(),
            bundle.path().display(),
            bundle.id()
        );
        let world = self.ground.node.world();
        let mut script = world.command_in_cgroups("script");
        let output = script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        let output = output.map_err(|error| Error::Unavailable(format!("script: {error}")))?;
        world.run(["rm", "-rf", &bundle.path().display().to_string()])?.ok("rm")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Output { code: output.status.code().unwrap_or(-1), stdout: said.clone(), stderr: said })
    }

    /// The same with config.json changed as text.
    pub(crate) fn run_text(
        &self,
        command: &[&str],
        edit: impl FnOnce(String) -> String,
    ) -> Result<Output, Error> {
        let bundle = self.bundle(command, |_| {})?;
        let text = self.ground.node.world().read(bundle.path().join("config.json"))?;
        bundle.configure(edit(text))?;
        self.runtime.run(&bundle, b"")
    }

    /// The same with the root file system changed by a shell script that finds it in `$1`.
    pub(crate) fn run_image(
        &self,
        image: &str,
        command: &[&str],
        edit: impl FnOnce(&mut Value),
    ) -> Result<Output, Error> {
        let bundle = self.bundle(command, edit)?;
        let root = bundle.path().join("rootfs").display().to_string();
        self.ground.node.world().run(["sh", "-ec", image, "sh", &root])?.ok(image)?;
        self.runtime.run(&bundle, b"")
    }

    /// A file that the last container left in its root; empty if it left none.
    pub(crate) fn left(&self, file: &str) -> String {
        let (id, number) = (&self.id, self.made.get());
        let path = format!("/run/bundles/{id}-{number}/rootfs/{file}");
        self.ground.node.world().read(path).unwrap_or_default()
    }

    /// An exec by flags into a container of containerd's defaults.
    pub(crate) fn exec(&self, flags: &[&str], command: &[&str]) -> Result<Output, Error> {
        self.beside(|bundle| self.runtime.exec(bundle, flags, command))
    }

    /// An exec by a document.
    pub(crate) fn exec_process(&self, process: &Value) -> Result<Output, Error> {
        self.beside(|bundle| self.runtime.exec_process(bundle, process))
    }

    fn beside(
        &self,
        exec: impl FnOnce(&Bundle<'_>) -> Result<Output, Error>,
    ) -> Result<Output, Error> {
        let bundle = self.bundle(&["/bin/probe", "pause"], |spec| {
            spec["process"]["user"]["uid"] = 1000.into();
        })?;
        self.runtime.start(&bundle)?.ok("run")?;
        let output = exec(&bundle);
        self.runtime.delete(&bundle)?;
        output
    }

    /// Any line of the runtime.
    pub(crate) fn call(&self, line: &[&str]) -> Result<Output, Error> {
        self.runtime.call(self.ground.node.world(), line)
    }

    /// A shell script on the node.
    pub(crate) fn node(&self, script: &str) -> Result<Output, Error> {
        self.ground.node.world().run(["sh", "-c", script])
    }
}
