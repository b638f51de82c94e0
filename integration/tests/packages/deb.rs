//! The deb's whole life on a fresh Debian: installed, used, upgraded under a running container, removed, purged.

use coaming_integration::cri::{ContainerSpec, Pod, Sandbox};
use coaming_integration::{Cri, Error, Fresh, can_run, images};

use crate::made::made;
use crate::node::{BY_SHIM, BY_WRAPPER, differences, inventory, start};

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn a_node_gets_it_uses_it_and_is_rid_of_it() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let fresh = Fresh::new()?;
    let before = inventory(&fresh)?;
    fresh.world().install(made().file(".deb"), "/tmp/coaming.deb", 0o644)?;
    install(&fresh)?;
    is_in_place(&fresh)?;

    start(&fresh)?;
    let cri = fresh.cri()?;
    let pods = [(BY_WRAPPER, "containerd-shim-runc-v2"), (BY_SHIM, "containerd-shim-coaming-v1")]
        .map(|(handler, shim)| runs(&fresh, &cri, handler, shim));
    let pods = pods.into_iter().collect::<Result<Vec<_>, _>>()?;
    is_refused(&cri)?;

    // While containers run: removal is refused, and an upgrade is none of their business.
    let refused = fresh.shell("dpkg --remove coaming")?;
    assert!(!refused.success(), "{refused:?}");
    assert!(refused.text().contains("containers that were started through it"), "{refused:?}");
    fresh.shell("sed -i 's/^floor = .*/floor = \"node\"/' /etc/coaming/config.toml")?.ok("sed")?;
    fresh.shell("touch /usr/bin/coaming.mark && : >/usr/libexec/coaming/coaming-validator")?;
    install(&fresh)?;
    fresh
        .shell("test -s /usr/libexec/coaming/coaming-validator && rm /usr/bin/coaming.mark")?
        .ok("test")?;
    assert!(fresh.world().read("/etc/coaming/config.toml")?.contains("\nfloor = \"node\"\n"));
    for (sandbox, container) in &pods {
        let said = cri.exec_sync(container, ["grep", "Seccomp:", "/proc/self/status"])?;
        assert_eq!(said.stdout, "Seccomp:\t2\n", "{said:?}");
        cri.remove_pod(sandbox)?;
    }
    assert_eq!(fresh.shell("ls -A /run/coaming/containers")?.stdout, "");
    drop(cri);
    fresh.stop_containerd()?;

    fresh.shell("dpkg --remove coaming")?.ok("dpkg --remove")?;
    let kept = "test -e /etc/coaming/config.toml && test -d /var/lib/coaming && test ! -e /usr/bin/coaming \
                && test ! -e /usr/libexec/coaming && test ! -e /usr/share/coaming";
    fresh.shell(kept)?.ok(kept)?;
    fresh.shell("dpkg --purge coaming")?.ok("dpkg --purge")?;
    fresh.shell("rm /tmp/coaming.deb")?.ok("rm")?;
    assert_eq!(differences(&before, &inventory(&fresh)?), Vec::<String>::new());
    Ok(())
}

/// What an administrator wrote is not coaming's to take away.
#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn purging_leaves_an_administrators_policies() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let fresh = Fresh::new()?;
    fresh.world().install(made().file(".deb"), "/tmp/coaming.deb", 0o644)?;
    install(&fresh)?;
    let example = "/usr/share/doc/coaming/examples/payments.yaml";
    let line = format!(
        "test -e {example} && cp {example} /etc/coaming/policy.d/ && coaming load && test -d /var/lib/coaming"
    );
    fresh.shell(&line)?.ok(&line)?;
    // Disabled by hand: an upgrade leaves it so.
    fresh.shell("rm /etc/systemd/system/multi-user.target.wants/coaming-load.path")?.ok("rm")?;
    install(&fresh)?;
    let enabled = "ls /etc/systemd/system/multi-user.target.wants | grep coaming";
    assert_eq!(fresh.shell(enabled)?.stdout, "coaming-load.service\n");
    fresh.shell("dpkg --purge coaming")?.ok("dpkg --purge")?;
    let left =
        fresh.shell("find /etc/coaming /var/lib/coaming /run/coaming 2>/dev/null | sort")?.stdout;
    assert_eq!(left, "/etc/coaming\n/etc/coaming/policy.d\n/etc/coaming/policy.d/payments.yaml\n");
    assert_eq!(fresh.shell(enabled)?.stdout, "");
    Ok(())
}

fn install(fresh: &Fresh) -> Result<(), Error> {
    let said =
        fresh.shell("dpkg --install --force-confold /tmp/coaming.deb")?.ok("dpkg --install")?;
    assert!(!said.text().to_lowercase().contains("warning"), "{said:?}");
    Ok(())
}

fn is_in_place(fresh: &Fresh) -> Result<(), Error> {
    for (line, answer) in [
        (
            "stat -c '%a %U' /etc/coaming/policy.d /etc/coaming/break-glass.d",
            "755 root\n755 root\n",
        ),
        ("readlink /usr/libexec/coaming/coaming-crun", "coaming-runc\n"),
        (
            "ls /etc/systemd/system/multi-user.target.wants | grep coaming",
            "coaming-load.path\ncoaming-load.service\n",
        ),
        // Every file as it was packed.
        ("dpkg --verify coaming", ""),
        (
            "coaming check /usr/share/doc/coaming/examples/payments.yaml >/dev/null && echo fine",
            "fine\n",
        ),
    ] {
        let said = fresh.shell(line)?.ok(line)?;
        assert_eq!(said.stdout, answer, "{line}");
    }
    Ok(())
}

/// A pod of this handler with a container that goes on; it has the floor's filter, which it did not ask for; it is under this shim, and known to `coaming status`.
fn runs(
    fresh: &Fresh,
    cri: &Cri<'_>,
    handler: &str,
    shim: &str,
) -> Result<(Sandbox, String), Error> {
    let sandbox = cri.run_pod(&Pod::new(handler, handler))?;
    let container = ContainerSpec::new("app", images::BUSYBOX, ["sleep", "1000"]);
    let container = cri.launch(&sandbox, &container)?;
    let said = cri.exec_sync(&container, ["grep", "Seccomp:", "/proc/1/status"])?;
    assert_eq!(said.stdout, "Seccomp:\t2\n", "{handler}: {said:?}");
    let line = format!(
        "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -c '{shim} [^/]*-id {}'",
        sandbox.id
    );
    let shims = fresh.shell(&line)?;
    assert_eq!(shims.stdout, "1\n", "{handler}: no {shim}: {shims:?}");
    let status = fresh.shell("coaming status")?.ok("coaming status")?;
    assert!(status.stdout.contains(&container[..12]), "{handler}: {status:?}");
    Ok((sandbox, container))
}

/// By the floor that is installed: no policy was written.
fn is_refused(cri: &Cri<'_>) -> Result<(), Error> {
    for handler in [BY_WRAPPER, BY_SHIM] {
        let pod = Pod { host_pid: true, ..Pod::new("greedy", handler) };
        match cri.run_pod(&pod) {
            Err(Error::Cri { message, .. }) => {
                assert!(message.contains("coaming refused to create"), "{handler}: {message}");
            }
            Err(other) => return Err(other),
            Ok(_) => panic!("{handler}: it was not refused"),
        }
    }
    Ok(())
}
