//! Podman and Docker by an ordinary user: the floor holds, by his leave, and the record and his log say so.

use std::process::Stdio;

use coaming_integration::{
    Brand, Bundle, Engine, EngineConfig, Error, Output, Suite, World, can_run, default_spec,
    images, rootless, wait_for,
};

use crate::setup::{BOUNDING, engines, has_sys_admin, policy, record, records, says};

const UID: &str = "4242";
const STATE: &str = "/run/user/4242/coaming";

#[test]
fn an_ordinary_users_containers_are_held_by_his_leave() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", user)?;
        let world = engine.world();
        policy(world, "landlock", "landlock: {write: [/tmp, /dev]}")?;
        let stock =
            as_user(&engine, run("stock", &["--rm", "--cap-add", "SYS_ADMIN"], BOUNDING, config))?;
        assert!(has_sys_admin(&stock), "{stock:?}");
        let ours = as_user(
            &engine,
            run("coaming", &["--rm", "--cap-add", "SYS_ADMIN"], BOUNDING, config),
        )?;
        assert!(!has_sys_admin(&ours), "{ours:?}");

        let options = ["--detach", "--name", "own"];
        as_user(&engine, run("coaming", &options, &["sleep", "1000"], config))?.ok("run")?;
        let kept = record(world, STATE)?;
        assert_eq!(kept["advisory"], true, "{kept}");
        says(kept["notes"].to_string(), &["advisory", "uid 4242"]);
        // The log that the runtime's caller names.
        let logs = "find /run/user/4242 /home/coamer -name oci-log | xargs cat";
        says(world.run(["sh", "-c", logs])?.stdout, &["warning", "advisory"]);
        let exec = |args: &[&str]| {
            as_user(&engine, [&["podman", "exec", "--privileged", "own"], args].concat())
        };
        assert!(!has_sys_admin(&exec(BOUNDING)?));
        assert!(!exec(&["touch", "/etc/x"])?.success(), "Landlock does not hold");
        exec(&["touch", "/tmp/x"])?.ok("touch")?;

        let status = as_user(&engine, ["/usr/libexec/coaming/coaming", "status"])?;
        says(&status.stdout, &["advisory", "1 container"]);
        // Nothing of the node's is written, and root's status has none of it.
        assert_eq!(records(world, "/run/coaming")?, "");
        assert!(!world.path("/var/lib/coaming/policy").exists());
        says(world.run(["/usr/libexec/coaming/coaming", "status"])?.stdout, &["0 containers"]);

        let refused =
            as_user(&engine, run("coaming", &["--rm", "--pid", "host"], &["true"], config))?;
        assert!(!refused.success());
        says(&refused.stderr, &["coaming refused to create container", "spec.hostNamespaces"]);
        as_user(&engine, ["podman", "rm", "--force", "--time", "0", "own"])?.ok("rm")?;
        assert_eq!(records(world, STATE)?, "");
        assert!(!world.run(["cat", "/proc/self/mounts"])?.stdout.contains(".coaming"));
    }
    Ok(())
}

#[test]
fn a_node_may_have_no_containers_of_ordinary_users() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", user)?;
        let options = ["--detach", "--name", "before"];
        as_user(&engine, run("coaming", &options, &["sleep", "1000"], config))?.ok("run")?;
        let more = coaming_integration::configuration(config.runtime, "baseline");
        let refuse = format!("rootless = \"refuse\"\n{more}");
        engine.world().write("/etc/coaming/config.toml", refuse, 0o644)?;
        let refused = as_user(&engine, run("coaming", &["--rm"], &["true"], config))?;
        assert!(!refused.success(), "{refused:?}");
        says(&refused.stderr, &["rootless is \"refuse\"", "uid 4242"]);
        let exec = as_user(&engine, ["podman", "exec", "before", "true"])?;
        assert!(!exec.success(), "{exec:?}");
        // What runs can be ended.
        as_user(&engine, ["podman", "rm", "--force", "--time", "0", "before"])?.ok("rm")?;
        assert_eq!(records(engine.world(), STATE)?, "");
    }
    Ok(())
}

/// dockerd and its containerd, all an ordinary user's, in namespaces that rootlesskit makes, as Docker's own script starts
/// them.
#[test]
fn an_ordinary_users_docker_is_held_by_his_leave() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    // The script of later versions knows no network of the host's, and others take a /dev/net/tun that users may open.
    let is_meant =
        |config: &EngineConfig| config.brand == Brand::Docker && config.suite == Suite::Bookworm;
    for config in engines().into_iter().filter(is_meant) {
        eprintln!("rootless {config}");
        let world = World::new()?;
        world.install_coaming()?;
        let text = coaming_integration::configuration(config.runtime, "baseline");
        world.write("/etc/coaming/config.toml", text, 0o644)?;
        user(&world)?;
        for name in ["newuidmap", "newgidmap"] {
            world.install(config.programs().join(name), format!("/usr/bin/{name}"), 0o4755)?;
        }
        world.install(config.programs().join("catatonit"), "/usr/bin/docker-init", 0o755)?;
        policy(&world, "landlock", "landlock: {write: [/tmp, /dev]}")?;
        let docker = Rootless::start(&world, config)?;
        let run = |by: &str, more: &[&str], args: &[&str]| {
            let own = ["docker", "run", "--network", "none", "--runtime", by];
            docker.call([&own[..], more, &[images::PROBE], args].concat())
        };

        let ours = config.runtime.wrapper_name();
        let stock = run("stock", &["--rm", "--privileged"], BOUNDING)?;
        assert!(has_sys_admin(&stock), "{stock:?}");
        let held = run(ours, &["--rm", "--privileged"], BOUNDING)?;
        assert!(!has_sys_admin(&held), "{held:?}");
        run(ours, &["--detach", "--name", "own"], &["sleep", "1000"])?.ok("run")?;
        let kept = record(&world, STATE)?;
        assert_eq!(kept["advisory"], true, "{kept}");
        says(kept["notes"].to_string(), &["advisory", "uid 4242"]);
        let exec = |args: &[&str]| {
            docker.call([&["docker", "exec", "--privileged", "own"], args].concat())
        };
        assert!(!has_sys_admin(&exec(BOUNDING)?));
        assert!(!exec(&["touch", "/etc/x"])?.success(), "Landlock does not hold");
        exec(&["touch", "/tmp/x"])?.ok("touch")?;
        let status = docker.call(["/usr/libexec/coaming/coaming", "status"])?;
        says(&status.stdout, &["advisory", "1 container"]);
        assert_eq!(records(&world, "/run/coaming")?, "");
        let refused = run(ours, &["--rm", "--pid", "host"], &["true"])?;
        assert!(!refused.success());
        says(&refused.stderr, &["coaming refused to create container", "spec.hostNamespaces"]);
        docker.call(["docker", "rm", "--force", "own"])?.ok("rm")?;
        wait_for("the record's end", || Ok(records(&world, STATE)?.is_empty().then_some(())))?;
    }
    Ok(())
}

/// A dockerd of the user's, gone with the world.
struct Rootless<'a> {
    world: &'a World,
    path: String,
}

impl Rootless<'_> {
    const SOCKET: &'static str = "unix:///run/user/4242/docker.sock";
    const LOG: &'static str = "/run/rootless.log";

    fn start(world: &World, config: EngineConfig) -> Result<Rootless<'_>, Error> {
        // The set-user-ID programs before those of the folders.
        let path = format!("/usr/bin:{}:{}", rootless(config.suite).display(), config.path());
        let docker = Rootless { world, path: path.clone() };
        let runtime = config.runtime.path().display().to_string();
        let daemon = serde_json::json!({"runtimes": {
            "stock": {"path": runtime},
            "coaming-runc": {"path": "/usr/libexec/coaming/coaming-runc"},
            "coaming-crun": {"path": "/usr/libexec/coaming/coaming-crun"},
        }});
        world.write("/run/daemon.json", daemon.to_string(), 0o644)?;
        // No network of its own: that takes a /dev/net/tun that users may open.
        let line = ["setpriv", "--reuid", UID, "--regid", UID, "--clear-groups", "env"]
            .into_iter()
            .chain(["HOME=/home/coamer", "XDG_RUNTIME_DIR=/run/user/4242"])
            .chain(["DOCKERD_ROOTLESS_ROOTLESSKIT_NET=host"])
            .chain(["DOCKERD_ROOTLESS_ROOTLESSKIT_PORT_DRIVER=none"])
            .chain(["dockerd-rootless.sh", "--config-file=/run/daemon.json"])
            .chain(["--init-path=/usr/bin/docker-init", "--host", Rootless::SOCKET])
            .chain(["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"])
            .chain(["--storage-driver=vfs"]);
        let line: Vec<&str> = line.collect();
        world.spawn(Rootless::LOG, &path, line)?;
        let up = wait_for("rootless dockerd", || {
            Ok(docker.call(["docker", "version"])?.success().then_some(()))
        });
        up.map_err(|_| Error::NotReady {
            what: format!("rootless {config}"),
            seconds: coaming_integration::PATIENCE.as_secs(),
            log: world.read(Rootless::LOG).unwrap_or_default(),
        })?;
        // As one layer.
        world.write("/run/probe.tar", images::rootfs()?, 0o644)?;
        docker.call(["docker", "import", "/run/probe.tar", images::PROBE])?.ok("import")?;
        Ok(docker)
    }

    fn call<A: AsRef<std::ffi::OsStr>>(
        &self,
        words: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        let own = [format!("DOCKER_HOST={}", Rootless::SOCKET), format!("PATH={}", self.path)];
        Ok(in_session(self.world, &own, words))
    }
}

/// Without a runtime directory there is no place for the record that execs are held to.
#[test]
fn without_a_runtime_directory_nothing_starts() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [config, ..] = podmans()[..] else { unreachable!("there is one") };
    let engine = Engine::start_with(config, "baseline", user)?;
    let world = engine.world();
    let bundle = Bundle::new(world, "mine", &default_spec("mine", ["true"])?)?;
    world.run(["chown", "-R", UID, "/run/bundles"])?.ok("chown")?;
    world.run(["mv", "/run/user/4242", "/run/user/elsewhere"])?.ok("mv")?;
    let wrapper = config.runtime.wrapper_path();
    let words = [wrapper.to_str().unwrap(), "create", "--bundle", "/run/bundles/mine", "mine"];
    let refused = as_user(&engine, words)?;
    assert_eq!(refused.code, 1, "{refused:?}");
    says(&refused.stderr, &["/run/user/4242", "enable-linger"]);
    drop(bundle);
    Ok(())
}

/// Whatever namespaces root makes, what he starts is never taken for a user's.
#[test]
fn root_is_never_advisory() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [config, ..] = podmans()[..] else { unreachable!("there is one") };
    let engine = Engine::start_with(config, "baseline", user)?;
    let world = engine.world();
    let bundle = Bundle::new(world, "roots", &default_spec("roots", ["true"])?)?;
    world
        .run(["mkdir", "-p", "-m", "0700", "/run/user/0", "/run/user/7", "/run/user/65534"])?
        .ok("mkdir")?;
    let wrapper = config.runtime.wrapper_path();
    let wrapper = wrapper.to_str().unwrap();
    // As himself, under another name, mapped to no one, and mapped once more to uid 0 from another name.
    for script in [
        "exec unshare --user --map-root-user \"$@\"",
        "exec unshare --user --map-user=7 \"$@\"",
        "exec unshare --user \"$@\"",
        "exec unshare --user --map-user=7 --map-group=7 unshare --user --map-root-user \"$@\"",
    ] {
        let words = [
            "sh",
            "-c",
            script,
            "sh",
            wrapper,
            "create",
            "--bundle",
            "/run/bundles/roots",
            "roots",
        ];
        let output = world.run(words)?;
        let users = world.run(["sh", "-c", "find /run/user -path '*coaming*'"])?.stdout;
        assert_eq!(users, "", "{script}: {output:?}");
        let all =
            world.run(["sh", "-c", "cat /run/coaming/containers/*/record.json; true"])?.stdout;
        assert!(!all.contains("advisory"), "{script}: {all}");
        assert!(!output.stderr.contains("advisory"), "{script}: {output:?}");
        // As himself he is judged as ever, and under no other name.
        let judged = script.contains("--map-root-user");
        assert!(judged || output.stderr.contains("/proc/self/uid_map"), "{script}: {output:?}");
    }
    drop(bundle);
    Ok(())
}

fn podmans() -> Vec<EngineConfig> {
    engines().into_iter().filter(|config| config.brand == Brand::Podman).collect()
}

/// A user who is logged in, with subordinate uids, and a home of his own.
fn user(world: &World) -> Result<(), Error> {
    let script = r#"
set -e
echo 'coamer:x:4242:4242::/home/coamer:/bin/sh' >>/etc/passwd
echo 'coamer:x:4242:' >>/etc/group
echo 'coamer:300000:65536' >/etc/subuid
echo 'coamer:300000:65536' >/etc/subgid
mount -t tmpfs -o mode=755 tmpfs /home
mkdir -p /run/user/4242 /home/coamer/.config/containers
printf '[storage]\ndriver = "vfs"\n' >/home/coamer/.config/containers/storage.conf
chown -R 4242:4242 /run/user/4242 /home/coamer
chmod 700 /run/user/4242 /home/coamer"#;
    world.run(["sh", "-c", script])?.ok("prepare a user").map(drop)
}

/// `podman run` with the image brought into the user's own store first.
fn run(by: &str, options: &[&str], args: &[&str], config: EngineConfig) -> Vec<String> {
    let runtime = match by {
        "stock" => config.runtime.path().display().to_string(),
        _ => config.runtime.wrapper_name().to_owned(),
    };
    let own = ["podman", "--runtime", &runtime, "run", "--network", "none"];
    own.iter()
        .chain(options)
        .chain(&[images::PROBE])
        .chain(args)
        .map(|word| (*word).to_owned())
        .collect()
}

/// A command as the user runs it in a session of his.
fn as_user<A: AsRef<std::ffi::OsStr>>(
    engine: &Engine,
    words: impl IntoIterator<Item = A>,
) -> Result<Output, Error> {
    let world = engine.world();
    let environment = [
        "PODMAN_IGNORE_CGROUPSV1_WARNING=1".to_owned(),
        format!("PATH=/usr/bin:/bin:{}", engine.path()),
    ];
    let imported = world.path("/home/coamer/imported");
    if !imported.exists() && world.path("/run/user/4242").exists() {
        // From root's store, by a file.
        engine.call(["save", "--output", "/run/probe.tar", images::PROBE])?.ok("save")?;
        world.run(["chmod", "644", "/run/probe.tar"])?.ok("chmod")?;
        let load = ["podman", "load", "--input", "/run/probe.tar"];
        in_session(world, &environment, load).ok("load")?;
        std::fs::write(imported, "").unwrap();
    }
    Ok(in_session(world, &environment, words))
}

/// A command of the user's, with more of an environment.
fn in_session<A: AsRef<std::ffi::OsStr>>(
    world: &World,
    environment: &[String],
    words: impl IntoIterator<Item = A>,
) -> Output {
    let mut command = world.command_in_cgroups("setpriv");
    command
        .args(["--reuid", UID, "--regid", UID, "--clear-groups", "env"])
        .args(["HOME=/home/coamer", "XDG_RUNTIME_DIR=/run/user/4242"])
        .args(environment);
    let output = command.args(words).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
