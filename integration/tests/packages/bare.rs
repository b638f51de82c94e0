//! `packaging/install.sh` in a root that has nothing but the least packages, and containerd.

use std::path::Path;
use std::process::Command;

use coaming_integration::{Error, Fresh, can_run};

use crate::made::{repository, run, target};
use crate::node::{differences, inventory};

/// ctr asks for no filter: the floor brings it.
const TRY: &str = "ctr run --rm --runc-binary /usr/libexec/coaming/coaming-runc localhost/coaming/busybox:1 try \
                   grep Seccomp: /proc/self/status";

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn the_script_needs_nothing_else() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let fresh = Fresh::new()?;
    let before = inventory(&fresh)?;
    bring(&fresh)?;
    let call = |what: &str| {
        fresh.shell(&format!("TARGET=/tmp/source/target /tmp/source/packaging/install.sh {what}"))
    };
    call("install")?.ok("install.sh install")?;
    fresh
        .shell("echo '# mine' >>/etc/coaming/config.toml; rm /usr/libexec/coaming/coaming-crun")?;
    // A file that no version has any more.
    fresh.shell("echo /usr/share/coaming/old >>/usr/share/coaming/installed-files; : >/usr/share/coaming/old")?;
    call("install")?.ok("install.sh install, again")?;
    let line = "tail -n1 /etc/coaming/config.toml; readlink /usr/libexec/coaming/coaming-crun; ls /usr/share/coaming/old";
    assert_eq!(fresh.shell(line)?.stdout, "# mine\ncoaming-runc\n");

    fresh.start_containerd("version = 2\n")?;
    fresh.shell("ctr images import /run/images.tar")?.ok("ctr images import")?;
    let said = fresh.shell(TRY)?.ok(TRY)?;
    assert!(said.stdout.contains("Seccomp:\t2"), "{said:?}");
    fresh.stop_containerd()?;

    call("uninstall")?.ok("install.sh uninstall")?;
    call("uninstall")?.ok("install.sh uninstall, again")?;
    // /etc/coaming stays, as the script says, and the state.
    fresh.shell("rm -r /etc/coaming /var/lib/coaming /run/coaming")?.ok("rm")?;
    assert_eq!(differences(&before, &inventory(&fresh)?), Vec::<String>::new());
    Ok(())
}

/// The parts of a checkout that the script reads, and what was built.
fn bring(fresh: &Fresh) -> Result<(), Error> {
    let base = tempfile::tempdir().unwrap();
    let tar = base.path().join("source.tar");
    let add = |folder: &Path, names: &[&str], prefix: &str| {
        run(Command::new("tar")
            .args(["--append", "--file"])
            .arg(&tar)
            .args(["--transform", &format!("s|^|{prefix}|")])
            .arg("-C")
            .arg(folder)
            .args(names))
    };
    add(&repository(), &["packaging", "CHANGELOG.md"], "source/")?;
    let with_libc = ["coaming", "coaming-runc", "coaming-validator"]
        .map(|name| format!("x86_64-unknown-linux-gnu/release/{name}"));
    let small = [
        "coaming-init",
        "coaming-hook",
        "coaming-hook-test",
        "coaming-labels",
        "containerd-shim-coaming-v1",
    ]
    .map(|name| format!("x86_64-unknown-linux-musl/release/{name}"));
    let names: Vec<&str> = with_libc.iter().chain(&small).map(String::as_str).collect();
    add(&target()?, &names, "source/target/")?;
    fresh.world().install(&tar, "/tmp/source.tar", 0o644)?;
    fresh.shell("tar -xf /tmp/source.tar -C /tmp")?.ok("tar").map(drop)
}
