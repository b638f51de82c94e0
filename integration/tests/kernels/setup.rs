//! What tests in guests share: a world with coaming in it.

use std::collections::BTreeMap;

use coaming_integration::{
    BareRuntime, Bundle, Error, Guest, Runtime, World, configuration, default_spec,
};
use serde_json::{Value, json};

/// Fails a test that was started on the machine itself, or in another guest.
#[track_caller]
pub(crate) fn is_in(guests: &[Guest]) -> Guest {
    let here = Guest::current();
    here.filter(|guest| guests.contains(guest))
        .unwrap_or_else(|| panic!("runs in {guests:?}, and this is {here:?}: see main.rs"))
}

/// A world with one runtime, called as it is and through coaming's wrapper.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) stock: BareRuntime,
    pub(crate) gated: BareRuntime,
}

impl Bench {
    pub(crate) fn new(runtime: Runtime, floor: &str) -> Result<Bench, Error> {
        let world = World::new()?;
        world.install_coaming()?;
        world.write("/etc/coaming/config.toml", configuration(runtime, floor), 0o644)?;
        Ok(Bench {
            world,
            stock: BareRuntime::new(runtime.path()),
            gated: BareRuntime::new(runtime.wrapper_path()),
        })
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

    /// Writes a policy, its spec given as the lines below `spec:`, which is line 4 of the file.
    pub(crate) fn policy(&self, name: &str, spec: &str) -> Result<(), Error> {
        policy(&self.world, name, spec)
    }

    /// The record of a container that runs.
    pub(crate) fn record(&self, id: &str) -> Result<Value, Error> {
        let script = "cat /run/coaming/containers/*/record.json";
        let said = self.world.run(["sh", "-c", script])?.ok(script)?.stdout;
        let records = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
        let found = records.map(Result::unwrap).find(|record| record["id"] == id);
        Ok(found.unwrap_or_else(|| panic!("no record of {id} in {said}")))
    }
}

/// Writes a policy of a world, as [`Bench::policy`].
pub(crate) fn policy(world: &World, name: &str, spec: &str) -> Result<(), Error> {
    let lines: String = spec.trim_matches('\n').lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n{lines}"
    );
    world.write(format!("/etc/coaming/policy.d/{name}.yaml"), text, 0o644)
}

/// The bundle of a pod's container in a namespace of Kubernetes.
pub(crate) fn pod<'a>(
    bench: &'a Bench,
    namespace: &str,
    id: &str,
    args: &[&str],
) -> Result<Bundle<'a>, Error> {
    bench.bundle(id, args, |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": namespace,
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.container-name": "ledger",
        });
    })
}

/// `coaming doctor`'s report.
pub(crate) fn doctor(world: &World) -> Result<Value, Error> {
    let said = world.run(["/usr/libexec/coaming/coaming", "doctor", "--output", "json"])?;
    Ok(serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}")))
}

/// What it says that policies demand and the node cannot give, by the policy's file.
pub(crate) fn unmet(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let unmet = report["unmet"].as_array().unwrap().iter();
    unmet
        .map(|unmet| {
            let file = text(&unmet["file"]);
            (file.rsplit('/').next().unwrap().to_owned(), text(&unmet["lost"]))
        })
        .collect()
}

/// Asserts that a text holds every part.
#[track_caller]
pub(crate) fn says(text: impl AsRef<str>, parts: &[&str]) {
    for part in parts {
        assert!(text.as_ref().contains(part), "no {part:?} in: {}", text.as_ref());
    }
}
