//! A container under coaming has one filter, whatever it asked for and whatever the floor is: the kernel's own count.

use coaming_integration::{
    BareRuntime, Bundle, Containerd, Error, PAIRS, World, can_run, configuration, default_spec,
};
use coaming_policy::seccomp::{Function, Profile, Reading, Target, builtin};
use serde_json::Value;

use crate::profiles;

#[test]
fn two_profiles_are_one_filter() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let [containerd, admin] = profiles::containerds(folder.path(), Containerd::V2)?;
    let [(_, runtime), ..] = PAIRS;
    let world = World::new()?;
    world.install_coaming()?;
    // One floor after the other, of which none is within the last.
    let freely = format!("{}[policy]\nloosening = \"free\"\n", configuration(runtime, "node"));
    world.write("/etc/coaming/config.toml", freely, 0o644)?;
    let floors = "/etc/coaming/policy.d";
    world.install(&containerd, format!("{floors}/profiles/containerd.json"), 0o644)?;
    world.install(
        profiles::own("no-devices"),
        format!("{floors}/profiles/no-devices.json"),
        0o644,
    )?;
    for (asked, floor) in [
        (&containerd, "runtime-default"),
        (&admin, "profiles/containerd.json"),
        (&containerd, "profiles/no-devices.json"),
    ] {
        let policy = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: floor}}\nspec:\n  seccomp: {{floor: {floor}}}\n"
        );
        world.write(format!("{floors}/floor.yaml"), policy, 0o644)?;
        let mut spec = default_spec("one", ["grep", "Seccomp", "/proc/self/status"])?;
        let section = std::fs::read(asked).unwrap();
        spec["linux"]["seccomp"] = serde_json::from_slice::<Value>(&section).unwrap();
        let bundle = Bundle::new(&world, "one", &spec)?;
        let filters = |binary: std::path::PathBuf| -> Result<String, Error> {
            Ok(BareRuntime::new(binary).run(&bundle, b"")?.ok("run")?.stdout)
        };
        for said in [filters(runtime.path())?, filters(runtime.wrapper_path())?] {
            let words: Vec<&str> = said.split_whitespace().collect();
            assert_eq!(words, ["Seccomp:", "2", "Seccomp_filters:", "1"], "floor {floor}");
        }
        // What was loaded is within both.
        let config = world.read(bundle.path().join("config.json"))?;
        let config: Value = serde_json::from_str(&config).unwrap();
        let enforced = function(&config["linux"]["seccomp"]);
        let floor = match floor.strip_prefix("profiles/") {
            Some(_) => serde_json::from_str(&world.read(format!("{floors}/{floor}"))?).unwrap(),
            None => built_in(&spec),
        };
        assert!(
            enforced.le(&function(&floor)) && enforced.le(&function(&spec["linux"]["seccomp"]))
        );
        assert!(!function(&floor).le(&enforced), "the floor alone");
        world.run(["rm", "-r", &bundle.path().to_string_lossy()])?.ok("rm")?;
    }
    Ok(())
}

fn function(section: &Value) -> Function {
    Function::of(&Profile::from_oci(section).unwrap(), Reading::Runtime).unwrap()
}

/// As it applies to a container with these capabilities.
fn built_in(spec: &Value) -> Value {
    let bounding = spec["process"]["capabilities"]["bounding"].as_array().unwrap();
    let caps = bounding.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let target = Target { caps: &caps, kernel: (6, 1) };
    builtin("runtime-default").unwrap().resolve(&target).unwrap().to_oci()
}
