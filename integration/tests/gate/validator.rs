//! `coaming-hook validate`: runtimes that no wrapper stands before, and a hook that refuses what is wider than policy.

use coaming_integration::{
    Bundle, Error, Output, PAIRS, Runtime, can_run, configuration, default_spec,
};
use serde_json::{Value, json};

use crate::preload;
use crate::setup::{Bench, FREELY, forget, in_cgroups, policy, runtimes, says};

pub(crate) const HOOK: &str = "/usr/libexec/coaming/coaming-hook";
const ENFORCED: &str = "noNewPrivileges: true\nreadOnlyRootFilesystem: true";

/// Puts the validator into a spec, as hooks.d and a base runtime spec do.
fn guard(spec: &mut Value, words: &[&str]) {
    let args: Vec<&str> = ["coaming-hook", "validate"].iter().chain(words).copied().collect();
    spec["hooks"]["createRuntime"] =
        json!([{"path": HOOK, "args": args, "env": ["PATH=/bin"], "timeout": 30}]);
}

/// One runtime of each kind.
pub(crate) fn runc_and_crun() -> [Runtime; 2] {
    let [(_, runc), (_, crun), ..] = PAIRS;
    [runc, crun]
}

/// What the wrapper makes of a spec, without what it adds: a spec that is within its policy.
pub(crate) fn admitted(bench: &Bench, id: &str) -> Result<Value, Error> {
    let bundle = bench.bundle(id, &["probe", "ids"], |_| {})?;
    bench.gated.run(&bundle, b"")?.ok("gated run")?;
    let text = bench.world.read(bundle.path().join("config.json"))?;
    let mut spec: Value = serde_json::from_str(&text).unwrap();
    spec.as_object_mut().unwrap().remove("hooks");
    Ok(spec)
}

fn bundle<'a>(bench: &'a Bench, id: &str, spec: &Value) -> Result<Bundle<'a>, Error> {
    Bundle::new(&bench.world, id, spec)
}

/// It does not start, and the runtime's error says why; nothing of it stays. crun shows nobody what a hook writes, so there
/// the hook is asked once more.
#[track_caller]
fn is_refused(bench: &Bench, bundle: &Bundle<'_>, parts: &[&str]) -> Result<(), Error> {
    let output = bench.stock.run(bundle, b"")?;
    assert!(!output.success() && output.stdout.is_empty(), "{parts:?}: {output:?}");
    if bench.is_runc() {
        says(&output.stderr, parts);
    } else {
        let config = bench.world.read(bundle.path().join("config.json"))?;
        let spec: Value = serde_json::from_str(&config).unwrap();
        let hook_of = |list: &str| spec["hooks"][list][0]["args"].as_array().cloned();
        let args = hook_of("createRuntime").or_else(|| hook_of("prestart")).unwrap();
        let words: Vec<&str> = args.iter().skip(2).filter_map(Value::as_str).collect();
        let state = state(bundle.id(), &bundle.path().display().to_string());
        let output = hook(bench, "", &words.join(" "), &state)?;
        assert_eq!(output.code, 1, "{output:?}");
        says(&output.stderr, parts);
    }
    bench.stock.delete(bundle).or_else(|error| match error {
        // The runtime has removed it already.
        Error::Command { stderr, .. } if stderr.contains("does not exist") => Ok(()),
        other => Err(other),
    })
}

#[test]
fn a_runtime_without_wrapper_starts_what_is_within_policy_and_nothing_wider() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let mut spec = admitted(&bench, "pattern")?;

        // Without the hook the runtime starts both.
        let mut wide = default_spec("wide", ["probe", "ids"])?;
        for set in ["bounding", "effective", "permitted"] {
            wide["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN"]);
        }
        bench.stock.run(&bundle(&bench, "wide", &wide)?, b"")?.ok("without the hook")?;
        guard(&mut wide, &[]);
        let parts = [
            "coaming refused container guarded",
            "process.capabilities",
            "CAP_SYS_ADMIN",
            "policy baseline (built-in:",
            "spec.capabilities",
            "start it through coaming-runc",
        ];
        is_refused(&bench, &bundle(&bench, "guarded", &wide)?, &parts)?;

        guard(&mut spec, &[]);
        bench.stock.run(&bundle(&bench, "within", &spec)?, b"")?.ok("within policy")?;
        // It was judged with no record, and none is left.
        assert_eq!(bench.records()?, "");

        policy(&bench.world, "strict", ENFORCED)?;
        let parts = ["/etc/coaming/policy.d/strict.yaml:6", "root.readonly"];
        is_refused(&bench, &bundle(&bench, "stricter", &spec)?, &parts)?;
        spec["root"]["readonly"] = json!(true);
        bench.stock.run(&bundle(&bench, "readonly", &spec)?, b"")?.ok("within both")?;
    }
    Ok(())
}

#[test]
fn the_floor_may_be_chosen_and_prestart_will_do() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runc_and_crun() {
        let bench = Bench::new(runtime, "node")?;
        let mut spec = admitted(&bench, "pattern")?;
        guard(&mut spec, &["--floor", "node"]);
        bench.stock.run(&bundle(&bench, "node", &spec)?, b"")?.ok("within the node's floor")?;
        guard(&mut spec, &["--floor", "baseline"]);
        is_refused(&bench, &bundle(&bench, "base", &spec)?, &["policy baseline (built-in:"])?;
        let hook = spec["hooks"]["createRuntime"].take();
        spec["hooks"] = json!({"prestart": hook});
        is_refused(&bench, &bundle(&bench, "old", &spec)?, &["policy baseline (built-in:"])?;
    }
    Ok(())
}

#[test]
fn what_needs_the_launcher_is_refused_unless_it_may_be_left_out() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    const LANDLOCK: &str = "landlock:\n  read: [/]\n  execute: [/]";
    for runtime in runc_and_crun() {
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let mut spec = admitted(&bench, "pattern")?;
        guard(&mut spec, &[]);
        policy(&bench.world, "files", LANDLOCK)?;
        let parts = ["policy.d/files.yaml:6", "needs coaming's launcher"];
        is_refused(&bench, &bundle(&bench, "files", &spec)?, &parts)?;
        policy(&bench.world, "files", &format!("{LANDLOCK}\nbestEffort: [landlock]"))?;
        bench.stock.run(&bundle(&bench, "best", &spec)?, b"")?.ok("bestEffort")?;
    }
    Ok(())
}

/// A wrapper behind coaming's (as the one for GPUs) puts hooks.d's validator in; what the launcher has changed would not
/// be admitted if it were judged once more.
#[test]
fn what_crossed_the_wrapper_passes() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runc_and_crun() {
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let added =
            json!({"path": HOOK, "args": ["coaming-hook", "validate"], "env": ["PATH=/bin"]});
        let script = format!(
            "#!/bin/sh\nfor word; do case $word in --bundle=*)\n  \
             sed -i 's|\"poststop\":|\"createRuntime\":[{added}],\"poststop\":|' \"${{word#*=}}/config.json\"\n  \
             grep -o '\"validate\"' \"${{word#*=}}/config.json\" >>/run/added ;;\nesac; done\nexec {} \"$@\"\n",
            runtime.path().display()
        );
        bench.world.write("/usr/libexec/behind", script, 0o755)?;
        let text = configuration(runtime, "baseline");
        let behind = text.replace(&runtime.path().display().to_string(), "/usr/libexec/behind");
        assert_ne!(behind, text);
        bench.world.write("/etc/coaming/config.toml", behind, 0o644)?;
        policy(&bench.world, "files", "landlock:\n  read: [/]\n  execute: [/]")?;
        let bundle = bench.bundle("chained", &["probe", "ids"], |_| {})?;
        bench.gated.run(&bundle, b"")?.ok("through both")?;
        assert_eq!(bench.world.read("/run/added")?, "\"validate\"\n");
        // The same config.json under another id has not crossed.
        let config = bench.world.read(bundle.path().join("config.json"))?;
        says(&config, &["/dev/.coaming"]);
        let other = bench.bundle("other", &["probe", "ids"], |_| {})?;
        other.configure(config)?;
        let output = hook(&bench, "", "", &state("other", &other.path().display().to_string()))?;
        assert_eq!(output.code, 1, "{runtime}: {output:?}");
        says(&output.stderr, &["coaming refused container other", "/dev/.coaming"]);
    }
    Ok(())
}

fn state(id: &str, bundle: &str) -> String {
    json!({"ociVersion": "1.0.2", "id": id, "status": "creating", "pid": 1, "bundle": bundle})
        .to_string()
}

/// Runs the hook itself, with a state on its standard input.
fn hook(bench: &Bench, before: &str, words: &str, state: &str) -> Result<Output, Error> {
    bench.world.write("/run/state.json", state, 0o600)?;
    let line = format!("{before} {HOOK} validate {words} </run/state.json");
    in_cgroups(&bench.world, ["sh", "-c", &line])
}

#[test]
fn what_cannot_be_judged_does_not_start() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [runtime, _] = runc_and_crun();
    let bench = Bench::new(runtime, "baseline")?;
    let mut spec = admitted(&bench, "pattern")?;
    guard(&mut spec, &[]);
    let bundle = bundle(&bench, "judged", &spec)?;
    let good = state("judged", "/run/bundles/judged");
    let passes = |before: &str| hook(&bench, before, "", &good)?.ok("a good state").map(drop);
    passes("")?;

    let refused = |state: &str, parts: &[&str]| -> Result<(), Error> {
        let output = hook(&bench, "", "", state)?;
        assert_eq!((output.code, output.stderr.lines().count()), (1, 1), "{state:.99}: {output:?}");
        says(&output.stderr, parts);
        Ok(())
    };
    refused("", &["state on stdin", "EOF"])?;
    refused("[]", &["state on stdin"])?;
    refused(&good[..good.len() - 1], &["state on stdin", "EOF"])?;
    refused(&good.replacen("\"id\"", "\"id\":\"x\",\"id\"", 1), &["duplicate field"])?;
    refused(&format!("{good}{}", " ".repeat(5 << 20)), &["larger than"])?;
    refused(&state("../judged", "/run/bundles/judged"), &["a id that no runtime writes"])?;
    refused(&state("judged", "run/bundles/judged"), &["a bundle that no runtime writes"])?;
    refused(&state("judged", "/nowhere"), &["/nowhere", "ENOENT"])?;
    bench.shell("ln -s judged /run/bundles/link")?.ok("ln")?;
    refused(&state("judged", "/run/bundles/link"), &["/run/bundles/link"])?;
    bench.shell("chmod 777 /run/bundles/judged")?.ok("chmod")?;
    refused(&good, &["/run/bundles/judged", "0777"])?;
    bench.shell("chmod 755 /run/bundles/judged")?.ok("chmod")?;
    bundle.configure("{\"Process\":{},\"process\":{}}")?;
    refused(&good, &["config.json", "Process"])?;
    bundle.configure(spec.to_string())?;
    passes("")?;

    // A policy that cannot be read, where none was in force; a configuration that cannot be read.
    bench.shell("rm -rf /var/lib/coaming /run/coaming")?.ok("rm")?;
    policy(&bench.world, "broken", "noSuchControl: true")?;
    refused(&good, &["cannot read its policy", "noSuchControl"])?;
    forget(&bench.world, "broken")?;
    bench.world.write("/etc/coaming/config.toml", "floor = \"none\"", 0o644)?;
    refused(&good, &["cannot read its policy", "config.toml"])?;
    bench.world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    passes("")?;

    // The part that knows the policy is not there, or not root's.
    let validator = "/usr/libexec/coaming/coaming-validator";
    bench.shell(&format!("chmod 777 {validator}"))?.ok("chmod")?;
    refused(&good, &["coaming-validator", "only root can write"])?;
    bench.shell(&format!("chmod 755 {validator}; mv {validator} /run/away"))?.ok("mv")?;
    refused(&good, &["coaming-validator", "No such file"])?;
    bench.shell(&format!("mv /run/away {validator}"))?.ok("mv")?;
    passes("")
}

/// The policy allows the folder, and a link in it leads to what the policy does not allow.
#[test]
fn a_mount_is_judged_as_what_its_source_leads_to() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runc_and_crun() {
        let bench = Bench::new(runtime, "baseline")?;
        let volume = "/var/lib/kubelet/pods/9f/volumes/kubernetes.io~empty-dir/shared";
        let script = format!(
            "mkdir -p {volume}/plain /run/secret; echo taken >/run/secret/token; ln -s /run/secret {volume}/link"
        );
        bench.shell(&script)?.ok("a volume")?;
        let mut spec = admitted(&bench, "pattern")?;
        spec["process"]["args"] = json!(["cat", "/mnt/token"]);
        let mounting = |name: &str| {
            let source = format!("{volume}/{name}");
            let mount = json!({"type": "bind", "source": source, "destination": "/mnt",
                "options": ["bind", "ro"]});
            let mut spec = spec.clone();
            spec["mounts"].as_array_mut().unwrap().push(mount);
            spec
        };
        // Nobody guards this one.
        let open = bundle(&bench, "open", &mounting("link"))?;
        assert_eq!(bench.stock.run(&open, b"")?.stdout, "taken\n", "{runtime}");
        let mut linked = mounting("link");
        guard(&mut linked, &[]);
        is_refused(&bench, &bundle(&bench, "linked", &linked)?, &["/run/secret", "host paths"])?;
        let mut plain = mounting("plain");
        guard(&mut plain, &[]);
        plain["process"]["args"] = json!(["probe", "ids"]);
        bench.stock.run(&bundle(&bench, "plain", &plain)?, b"")?.ok("a folder of the pod's own")?;
    }
    Ok(())
}

#[test]
fn no_environment_reaches_the_validator() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [runtime, _] = runc_and_crun();
    let bench = Bench::new(runtime, "baseline")?;
    let mut spec = admitted(&bench, "pattern")?;
    guard(&mut spec, &[]);
    let _bundle = bundle(&bench, "judged", &spec)?;
    let state = state("judged", "/run/bundles/judged");
    bench.world.install(preload::library(), "/run/library.so", 0o755)?;
    let marked = || Ok::<bool, Error>(bench.shell("rm /run/preloaded")?.success());

    // It does get into a program that is linked dynamically.
    bench.shell("LD_PRELOAD=/run/library.so /usr/bin/id")?.ok("id")?;
    assert!(marked()?, "the library does nothing");
    // Not into the validator, which is static, and which does not serve whoever gives it an environment.
    let direct = "LD_PRELOAD=/run/library.so /usr/libexec/coaming/coaming-validator validate </run/state.json";
    bench.world.write("/run/state.json", &state, 0o600)?;
    let output = bench.shell(direct)?;
    assert!(!marked()?, "{output:?}");
    assert_eq!(output.code, 1);
    says(&output.stderr, &["coaming-hook has not called it"]);

    let hostile = "cd /run/bundles/judged/rootfs; LD_PRELOAD=/run/library.so LD_LIBRARY_PATH=/run LD_AUDIT=/run/library.so";
    hook(&bench, hostile, "", &state)?.ok("with a hostile environment")?;
    assert!(!marked()?);
    Ok(())
}
