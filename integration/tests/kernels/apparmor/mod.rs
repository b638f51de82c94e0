//! On a kernel with AppArmor.

mod brought;
mod defaults;
mod replaced;
mod stacks;

use coaming_integration::{Error, Guest, Runtime, Suite};

use crate::setup::{Bench, is_in, says};

const GUESTS: &[Guest] = &[Guest::UmlAppArmor];

const PROFILE: &str = "profile no-secrets flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal,
  ptrace,
  audit deny /etc/passwd r,
}
";

#[test]
#[ignore = "runs in uml-apparmor"]
fn a_file_is_denied_by_the_profile() -> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.world.write("/run/no-secrets", PROFILE, 0o644)?;
    bench.world.run(["apparmor_parser", "-rK", "/run/no-secrets"])?.ok("apparmor_parser")?;
    for (profile, can_read) in [(None, true), (Some("no-secrets"), false)] {
        let script = "cat /proc/self/attr/current; cat /etc/passwd";
        let bundle = bench.bundle("one", &["sh", "-c", script], |spec| {
            if let Some(profile) = profile {
                spec["process"]["apparmorProfile"] = profile.into();
            }
        })?;
        let said = bench.gated.run(&bundle, b"")?;
        assert_eq!(said.stdout.contains("root:"), can_read, "{said:?}");
        if let Some(profile) = profile {
            says(&said.stdout, &[profile, "(enforce)"]);
            says(&said.stderr, &["Permission denied"]);
        }
        bench.world.run(["rm", "-rf", "/run/bundles/one"])?;
    }
    Ok(())
}

const COAMING: &str = "/usr/libexec/coaming/coaming";

/// Adds a profile to the policies, and gives its name in the kernel. All worlds of a guest have one kernel: tests
/// call theirs differently.
fn bring(bench: &Bench, name: &str, rules: &str) -> Result<String, Error> {
    let text =
        format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{\n{rules}}}\n");
    let path = format!("/etc/coaming/policy.d/profiles/{name}.aa");
    bench.world.write(&path, text, 0o644)?;
    let shown = bench.world.run([COAMING, "apparmor", "show", &path])?.ok("apparmor show")?.stdout;
    let known = shown.split_whitespace().nth(1).map(str::to_owned);
    Ok(known.unwrap_or_else(|| panic!("no name in {shown}")))
}

/// What the kernel has of a profile: its folder's name (which another number ends when it is another load), and the
/// digest of what was loaded.
fn loaded(bench: &Bench, name: &str) -> Result<String, Error> {
    let script = format!(
        "cd /sys/kernel/security/apparmor/policy/profiles && for at in {name}.[0-9]*; do \
         echo $at $(cat $at/raw_sha256) $(cat $at/mode); done"
    );
    Ok(bench.world.run(["sh", "-c", &script])?.stdout)
}

/// The label that the last proof of a container tells.
fn proved(bench: &Bench) -> Result<String, Error> {
    let said = bench.world.run([COAMING, "status", "--output", "json"])?;
    Ok(said.stdout)
}

/// Takes the parser away from a world.
fn without_parser(bench: &Bench) -> Result<(), Error> {
    let script = "mount --bind /dev/null /usr/sbin/apparmor_parser";
    bench.world.run(["sh", "-c", script])?.ok(script)?;
    Ok(())
}
