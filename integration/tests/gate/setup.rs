//! A world with coaming in it, and what tests ask of processes.

use std::ffi::OsStr;

use coaming_integration::{
    BareRuntime, Bundle, Error, NodeConfig, Output, PAIRS, Runtime, World, configuration,
    default_spec,
};
use serde_json::{Value, json};

/// Every runtime once.
pub(crate) fn runtimes() -> [Runtime; 6] {
    PAIRS.map(|(_, runtime)| runtime)
}

/// Installs coaming before this runtime, with a built-in floor and no policy.
pub(crate) fn install(world: &World, runtime: Runtime, floor: &str) -> Result<(), Error> {
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, floor), 0o644)
}

/// The same, with more lines of configuration.
pub(crate) fn install_with(
    world: &World,
    runtime: Runtime,
    floor: &str,
    more: &str,
) -> Result<(), Error> {
    install(world, runtime, floor)?;
    let text = format!("{}{more}\n", configuration(runtime, floor));
    world.write("/etc/coaming/config.toml", text, 0o644)
}

/// For tests in which policies come and go, and which are not about how.
pub(crate) const FREELY: &str = "[policy]\nloosening = \"free\"";

/// Writes a policy, its spec given as the lines below `spec:`, which is line 4 of the file.
pub(crate) fn policy(world: &World, name: &str, spec: &str) -> Result<(), Error> {
    let lines: String = spec.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n{lines}"
    );
    // Whole or not at all, as an operator's tools do: half a file keeps every container from starting.
    let hidden = format!("/etc/coaming/policy.d/.{name}");
    world.write(&hidden, text, 0o644)?;
    let file = format!("/etc/coaming/policy.d/{name}.yaml");
    world.run(["mv", &hidden, &file])?.ok("mv").map(drop)
}

/// Takes a policy away.
pub(crate) fn forget(world: &World, name: &str) -> Result<(), Error> {
    world.run(["rm", &format!("/etc/coaming/policy.d/{name}.yaml")])?.ok("rm").map(drop)
}

/// A world with one runtime, called as it is and through coaming.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) runtime: Runtime,
    pub(crate) stock: BareRuntime,
    pub(crate) gated: BareRuntime,
}

impl Bench {
    pub(crate) fn new(runtime: Runtime, floor: &str) -> Result<Bench, Error> {
        Bench::with(runtime, floor, "")
    }

    /// With more lines of configuration.
    pub(crate) fn with(runtime: Runtime, floor: &str, more: &str) -> Result<Bench, Error> {
        let world = World::new()?;
        install_with(&world, runtime, floor, more)?;
        Ok(Bench {
            world,
            runtime,
            stock: BareRuntime::new(runtime.path()),
            gated: BareRuntime::new(runtime.wrapper_path()),
        })
    }

    pub(crate) fn is_runc(&self) -> bool {
        matches!(self.runtime, Runtime::Runc(_))
    }

    /// A bundle of containerd's defaults, with `change` made to its spec.
    pub(crate) fn bundle(
        &self,
        id: &str,
        args: &[&str],
        change: impl FnOnce(&mut Value),
    ) -> Result<Bundle<'_>, Error> {
        let mut spec = default_spec(id, args.iter().copied())?;
        change(&mut spec);
        Bundle::new(&self.world, id, &spec)
    }

    /// A container that sleeps, under stock and under coaming: `stock-ID` and `gated-ID`.
    pub(crate) fn sleepers(
        &self,
        id: &str,
        change: impl Fn(&mut Value),
    ) -> Result<[Bundle<'_>; 2], Error> {
        let stock = self.bundle(&format!("stock-{id}"), &["sleep", "1000"], &change)?;
        let gated = self.bundle(&format!("gated-{id}"), &["sleep", "1000"], &change)?;
        self.stock.start(&stock)?.ok("stock run")?;
        self.gated.start(&gated)?.ok("gated run")?;
        Ok([stock, gated])
    }

    pub(crate) fn shell(&self, script: &str) -> Result<Output, Error> {
        self.world.run(["sh", "-c", script])
    }

    /// What is left of containers under /run/coaming.
    pub(crate) fn records(&self) -> Result<String, Error> {
        records(&self.world)
    }

    /// The record of the only container that coaming knows.
    pub(crate) fn record(&self) -> Result<Value, Error> {
        let text =
            self.shell("cat /run/coaming/containers/*/record.json")?.ok("cat record")?.stdout;
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

impl Drop for Bench {
    /// A test that failed shows what the prover killed, of which its caller sees a status alone.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let killed = self.shell("grep -hs '\"killed\":true' /var/lib/coaming/journal/*");
            eprintln!("killed: {}", killed.map(|output| output.stdout).unwrap_or_default());
        }
    }
}

/// What is left of containers under /run/coaming.
pub(crate) fn records(world: &World) -> Result<String, Error> {
    let find = "cd /run/coaming && find containers launch -mindepth 1 2>/dev/null; true";
    Ok(world.run(["sh", "-c", find])?.stdout)
}

/// The JSON that `probe` printed.
pub(crate) fn parsed(output: &Output) -> Value {
    let line = output.stdout.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// `allowed`, `denied`, ...: how an attempt of `probe` ended.
pub(crate) fn outcome(output: &Output) -> String {
    parsed(output)["outcome"].as_str().unwrap_or_default().to_owned()
}

/// The text of a CRI refusal.
pub(crate) fn refusal<T>(result: Result<T, Error>) -> String {
    match result {
        Ok(_) => panic!("it was not refused"),
        Err(Error::Cri { message, .. }) => message,
        Err(other) => panic!("no answer of CRI: {other}"),
    }
}

/// Asserts that a text holds every part.
#[track_caller]
pub(crate) fn says(text: impl AsRef<str>, parts: &[&str]) {
    for part in parts {
        assert!(text.as_ref().contains(part), "no {part:?} in: {}", text.as_ref());
    }
}

pub(crate) const SETS: [&str; 5] = ["bounding", "effective", "permitted", "inheritable", "ambient"];

/// Every capability set of a status, which may hold none but these.
#[track_caller]
pub(crate) fn no_capability_but(status: &Value, allowed: &[&str]) {
    for set in SETS {
        for capability in status["capabilities"][set].as_array().into_iter().flatten() {
            let name = capability.as_str().unwrap_or_default();
            assert!(allowed.contains(&name), "{name} in {set}: {status}");
        }
    }
}

/// A process that asks for all capabilities, and to gain more.
pub(crate) fn greedy(args: &[&str]) -> Value {
    let all: Vec<String> =
        ["CHOWN", "KILL", "SYS_ADMIN", "SYS_PTRACE", "NET_ADMIN", "NET_RAW", "SYS_CHROOT"]
            .map(|name| format!("CAP_{name}"))
            .into();
    let sets: serde_json::Map<String, Value> =
        SETS.iter().map(|set| ((*set).to_owned(), json!(all))).collect();
    json!({
        "args": args,
        "cwd": "/",
        "env": ["PATH=/bin"],
        "user": {"uid": 0, "gid": 0},
        "capabilities": sets,
        "noNewPrivileges": false,
    })
}

/// Any command line of a runtime in a world, with a shell's redirections before it.
pub(crate) fn with_shell<A: AsRef<OsStr>>(
    world: &World,
    before: &str,
    runtime: &std::path::Path,
    args: impl IntoIterator<Item = A>,
) -> Result<Output, Error> {
    let mut line: Vec<std::ffi::OsString> = vec![
        "sh".into(),
        "-c".into(),
        format!("{before}\nexec \"$@\"").into(),
        "sh".into(),
        runtime.into(),
        "--root".into(),
        "/run/bare".into(),
    ];
    line.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    in_cgroups(world, line)
}

/// The pair that stands for all where runtime and containerd make no difference.
pub(crate) fn plain_pair() -> NodeConfig {
    let [(containerd, runtime), ..] = PAIRS;
    NodeConfig::new(containerd, runtime)
}

/// Runs a program of a world in its cgroups, as what starts containers needs.
pub(crate) fn in_cgroups<A: AsRef<OsStr>>(
    world: &World,
    argv: impl IntoIterator<Item = A>,
) -> Result<Output, Error> {
    let mut command = world.command_in_cgroups("env");
    let output = command.args(argv).stdin(std::process::Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Output {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    })
}
