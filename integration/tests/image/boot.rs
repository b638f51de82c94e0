//! A baked Debian, booted: all of it read-only, /var empty, no network.

use std::fs;
use std::path::Path;
use std::process::Command;

use coaming_integration::{Error, can_run, guest, images};

use crate::root::Image;

/// Several times what it takes, on a machine that is busy.
const MINUTES: u32 = 10;

const CONTAINERD: &str = "version = 2\nimports = [\"/etc/containerd/conf.d/*.toml\"]\n\
    disabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\"]\n\
    [plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"localhost/coaming/pause:1\"\n\
    restrict_oom_score_adj = true\n\
    [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\nconf_dir = \"/etc/cni/net.d\"\n\
    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n";

const CNI: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
"#;

/// What will be asked for first, by which its filter is compiled ahead.
const MANIFEST: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: ledger-0, namespace: payments}\nspec:\n  containers:\n  - {name: ledger, image: probe}\n";

/// Runs this program's tests of the inside, and switches the guest off.
const PROOF: &str = "#!/bin/sh
word() { sed -n \"s/.*$1=\\([^ ]*\\).*/\\1/p\" /proc/cmdline; }
program=$(word coaming_program)
mkdir -p /run/tests
mount -t hostfs -o \"${program%/*}\" none /run/tests || exit
systemd-analyze time
CI=true RUST_BACKTRACE=0 \"/run/tests/${program##*/}\" --ignored --color=never --nocapture inside::
code=$?
[ $code = 0 ] || journalctl -b --no-pager -u containerd -u coaming-load | tail -n 40
echo \"coaming job ended with $code\"
echo o >/proc/sysrq-trigger
sleep 10
";

const PROOF_UNIT: &str = "[Unit]\nAfter=containerd.service\nWants=containerd.service\n\
    [Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sh -c 'exec /usr/lib/proof >/dev/console 2>&1'\n";

#[test]
fn a_baked_debian_enforces_from_its_first_container_on() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let image = Image::new()?;
    lay_out(&image)?;
    let given = image.given();
    let mut arguments: Vec<&str> = given.iter().map(String::as_str).collect();
    let manifest = image.path("ledger.yaml");
    fs::write(&manifest, MANIFEST).unwrap();
    arguments.extend(["--default", "--manifest", manifest.to_str().unwrap()]);
    let (code, answer) = image.bake(&arguments);
    assert_eq!(code, 0, "{answer:#}");
    assert_eq!(answer["managers"]["runtimes"][0]["state"], "installed", "{answer:#}");
    let checked = [&arguments[..], &["--check"]].concat();
    assert_eq!(image.bake(&checked).0, 0, "baked and current");

    let before = image.inventory();
    let program = std::env::current_exe().unwrap();
    let words = [format!("coaming_program={}", program.display())];
    let ended =
        guest::image::boot(&image.root(), &words, MINUTES, |line| eprintln!("image: {line}"))?;
    assert_eq!(ended.code, Some(0), "its tests failed, or it died");
    // A name that nothing has would pass, too.
    let passed = ended.console.iter().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok()
    });
    assert_eq!(passed, Some(1));
    assert_eq!(image.inventory(), before, "nothing was written to the image");
    Ok(())
}

/// Debian with systemd, containerd and runc, as its packages bring them; what a cluster's makers add; and the tests.
fn lay_out(image: &Image) -> Result<(), Error> {
    let root = image.root();
    fs::remove_dir_all(&root).unwrap();
    let copied =
        Command::new("cp").arg("-a").arg(guest::image::debian()?).arg(&root).status().unwrap();
    assert!(copied.success());
    guest::image::furnish(&root)?;
    let write = |path: &str, text: &str, mode| {
        use std::os::unix::fs::PermissionsExt;
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("etc/containerd/config.toml", CONTAINERD, 0o644);
    write("etc/cni/net.d/10-pods.conflist", CNI, 0o644);
    write("etc/hostname", "image\n", 0o644);
    write("etc/resolv.conf", "", 0o644);
    write("etc/fstab", "", 0o644);
    write("etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444);
    write("usr/lib/proof", PROOF, 0o755);
    write("etc/systemd/system/proof.service", PROOF_UNIT, 0o644);
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::create_dir_all(&wants).unwrap();
    std::os::unix::fs::symlink("../proof.service", wants.join("proof.service")).unwrap();
    fs::copy(images::tar()?, root.join("usr/share/images.tar")).unwrap();
    assert!(Path::new(&root.join("usr/sbin/runc")).exists() || root.join("usr/bin/runc").exists());
    Ok(())
}
