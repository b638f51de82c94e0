//! What a manager does not take is taken back, and what others have written stays.

use coaming_integration::{Containerd, Error, can_run};

use crate::tree::{ALL, CONFIG, clear, files, install, state, world};

const DROP_IN: &str = "/etc/containerd/conf.d/zz-coaming.toml";

fn section(containerd: Containerd) -> (&'static str, &'static str) {
    match containerd {
        Containerd::V2 => ("version = 3", "plugins.'io.containerd.cri.v1.runtime'"),
        _ => ("version = 2", "plugins.\"io.containerd.grpc.v1.cri\""),
    }
}

#[test]
fn what_containerd_does_not_take_is_taken_back() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for containerd in ALL {
        let world = world(containerd)?;
        let (version, cri) = section(containerd);
        // A file that is read after ours and says otherwise: 1.x loses the handler by it, 2.x the default.
        world.write("/etc/coaming/config.toml", "floor = \"node\"\n", 0o644)?;
        world.write(CONFIG, format!("{version}\nimports = [\"/etc/containerd/conf.d/*.toml\", \"/etc/containerd/late.toml\"]\n"), 0o644)?;
        world.write("/etc/containerd/late.toml", format!("{version}\n[{cri}.containerd]\ndefault_runtime_name = \"runc\"\n[{cri}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n"), 0o644)?;
        let before = files(&world)?;
        let done = state(&world, &["--for", "containerd", "--default"], 1, "refused")?;
        let why = done["reasons"].to_string();
        assert!(
            why.contains("another file that is read later")
                && why.contains("all files are as they were"),
            "{why}"
        );
        assert_eq!(files(&world)?, before, "{containerd:?}");

        // One that does not take any file of ours.
        clear(&world)?;
        world.write(CONFIG, format!("{version}\n"), 0o640)?;
        let real = containerd.path();
        let script = format!(
            "#!/bin/sh\n[ ! -e {DROP_IN} ] || {{ echo 'it is too much' >&2; exit 1; }}\nexec {} \"$@\"\n",
            real.display()
        );
        world.run(["rm", "/usr/bin/containerd"])?.ok("rm")?;
        world.write("/usr/bin/containerd", script, 0o755)?;
        let before = files(&world)?;
        let done = state(&world, &["--for", "containerd", "--replace"], 1, "refused")?;
        assert!(done["reasons"].to_string().contains("it is too much"), "{done:#}");
        assert_eq!(files(&world)?, before, "{containerd:?}");

        // Its configuration is wrong already.
        world.write(CONFIG, "version = ", 0o644)?;
        let before = files(&world)?;
        state(&world, &["--for", "containerd", "--replace"], 1, "refused")?;
        assert_eq!(files(&world)?, before);
    }
    Ok(())
}

#[test]
fn what_others_have_written_stays() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = world(Containerd::V2)?;
    let main = "version = 3\n# mine\n";
    world.write(CONFIG, main, 0o644)?;
    let flags = ["--for", "containerd", "--replace"];
    state(&world, &flags, 0, "installed")?;
    let written = world.read(DROP_IN)?;
    let replaced = world.read(CONFIG)?;
    world.write(DROP_IN, format!("{written}# by another\n"), 0o644)?;
    world.write(CONFIG, format!("{replaced}# by another\n"), 0o644)?;
    let changed = files(&world)?;
    let done = state(&world, &flags, 1, "refused")?;
    assert!(done["reasons"].to_string().contains("has been changed since"), "{done:#}");
    for force in [&["--uninstall"][..], &["--uninstall", "--force"]] {
        let done = state(&world, force, 1, "refused")?;
        let why = done["reasons"].to_string();
        assert!(
            why.contains(DROP_IN)
                && why.contains(CONFIG)
                && why.contains("/var/lib/coaming/install/"),
            "{why}"
        );
        assert_eq!(files(&world)?, changed);
    }
    // One of the two is as it was: it goes, and the other stays.
    world.write(CONFIG, &replaced, 0o644)?;
    state(&world, &["--uninstall"], 1, "refused")?;
    assert_eq!(world.read(CONFIG)?, main);
    assert!(world.read(DROP_IN)?.ends_with("# by another\n"));
    // Whoever has changed it takes it away.
    world.run(["rm", DROP_IN])?.ok("rm")?;
    state(&world, &["--uninstall"], 0, "removed")?;
    assert_eq!(
        world.run(["sh", "-c", "find /etc/containerd /var/lib/coaming"])?.stdout,
        "/etc/containerd\n/etc/containerd/config.toml\n"
    );

    // A file of our name that is not ours, and a link in its place.
    world.write(CONFIG, "version = 3\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n", 0o644)?;
    world.write(DROP_IN, "version = 3\n", 0o644)?;
    let before = files(&world)?;
    let done = state(&world, &["--for", "containerd"], 1, "refused")?;
    assert!(done["reasons"].to_string().contains("coaming has not written it"), "{done:#}");
    assert_eq!(files(&world)?, before);
    world.run(["sh", "-c", &format!("rm {DROP_IN}; ln -s /run/target {DROP_IN}")])?.ok("ln")?;
    state(&world, &["--for", "containerd"], 1, "refused")?;
    assert!(!world.run(["test", "-e", "/run/target"])?.success());
    Ok(())
}

#[test]
fn what_would_break_is_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = world(Containerd::V1_7)?;
    let (version, cri) = section(Containerd::V1_7);
    let imports = "imports = [\"/etc/containerd/conf.d/*.toml\"]";
    let refused = |config: &str, flags: &[&str], part: &str| -> Result<(), Error> {
        clear(&world)?;
        world.write(CONFIG, config, 0o644)?;
        let before = files(&world)?;
        let done = state(&world, &[&["--for", "containerd"][..], flags].concat(), 1, "refused")?;
        assert!(done["reasons"].to_string().contains(part), "{part}: {done:#}");
        assert_eq!(files(&world)?, before, "{part}");
        Ok(())
    };
    let plain = format!("{version}\n{imports}\n");
    refused(&plain, &["--default"], "its floor is baseline")?;
    let nvidia = format!(
        "{plain}[{cri}.containerd]\ndefault_runtime_name = \"nvidia\"\n[{cri}.containerd.runtimes.nvidia]\nruntime_type = \"io.containerd.runc.v2\"\n[{cri}.containerd.runtimes.nvidia.options]\nBinaryName = \"/usr/bin/nvidia-container-runtime\"\n"
    );
    refused(&nvidia, &["--default"], "the default handler is nvidia")?;
    refused(&nvidia, &["--handler", "nvidia"], "handler nvidia of another kind")?;
    refused(&format!("{plain}disabled_plugins = [\"cri\"]\n"), &[], "disables its CRI plugin")?;
    let ours = format!(
        "{plain}[{cri}.containerd.runtimes.coaming]\nruntime_type = \"io.containerd.runc.v2\"\n[{cri}.containerd.runtimes.coaming.options]\nBinaryName = \"/usr/libexec/coaming/coaming-runc\"\n"
    );
    refused(&ours, &[], "it ends at coaming")?;
    // Under another name meanwhile: the first would be gone under what runs by it.
    clear(&world)?;
    world.write(CONFIG, &plain, 0o644)?;
    state(&world, &["--for", "containerd"], 0, "installed")?;
    let done = state(&world, &["--for", "containerd", "--handler", "other"], 1, "refused")?;
    assert!(done["reasons"].to_string().contains("take it away first"), "{done:#}");
    // 1.x: what other files say of CRI is in ours, and follows them when it is installed again.
    let more = format!("{plain}[{cri}]\nenable_selinux = true\n");
    world.write(CONFIG, &more, 0o644)?;
    state(&world, &["--for", "containerd", "--dry-run"], 1, "installed")?;
    state(&world, &["--for", "containerd"], 0, "installed")?;
    assert!(crate::tree::dump(&world, CONFIG)?.contains("enable_selinux = true"));
    state(&world, &["--uninstall"], 0, "removed")?;
    assert_eq!(world.read(CONFIG)?, more);
    let (code, _) = install(&world, &["--uninstall"])?;
    assert_eq!(code, 0);
    Ok(())
}
