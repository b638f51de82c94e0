//! The tests that run on the machine itself: a kernel each.

use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_integration::guest::aarch64;
use coaming_integration::{Error, Guest, Suite, can_run};

use serde_json::Value;

use crate::landlock;

/// What a guest may take: several times what it does, on a machine that is busy.
const MINUTES: u32 = 10;
/// The same of one whose processor is a program.
const QEMU_MINUTES: u32 = 30;

#[test]
fn uml_apparmor() -> Result<(), Error> {
    passes(
        Guest::UmlAppArmor,
        &["apparmor::", "denials::apparmor", "absent::", "node::a_pod_lives_under_runc"],
    )
}

#[test]
fn uml_selinux() -> Result<(), Error> {
    passes(
        Guest::UmlSeLinux,
        &[
            "selinux::",
            "denials::selinux",
            "absent::",
            "node::a_pod_lives_under_crun",
            "--skip=selinux::launched",
        ],
    )
}

/// Landlock as this machine has it, as well.
#[test]
fn this_machine() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    landlock::gives_what_is_predicted(None)
}

#[test]
fn uml_none() -> Result<(), Error> {
    passes(Guest::UmlNone, &["landlock::", "absent::", "node::"])
}

#[test]
#[ignore = "boots QEMU, for make test-kernels"]
fn qemu_6_1() -> Result<(), Error> {
    // One node, of the two that there are: the processor is a program, and takes two minutes for each.
    passes(
        Guest::Qemu(Suite::Bookworm),
        &["landlock::", "absent::", "node::a_pod_lives_under_crun"],
    )
}

#[test]
#[ignore = "boots QEMU, for make test-kernels"]
fn qemu_6_12() -> Result<(), Error> {
    passes(Guest::Qemu(Suite::Trixie), &["landlock::", "absent::", "launcher::"])
}

#[test]
#[ignore = "boots QEMU, for make test-kernels"]
fn qemu_7() -> Result<(), Error> {
    passes(Guest::Qemu(Suite::Sid), &["landlock::", "denials::landlock", "absent::", "launcher::"])
}

#[test]
#[ignore = "boots QEMU, for make test-kernels"]
fn qemu_6_12_selinux() -> Result<(), Error> {
    passes(Guest::QemuSeLinux, &["selinux::launched"])
}

/// What a container may use, beside the stock shim on pure cgroup v2: exhausted memory, metrics, limits and pauses.
#[test]
fn resources_on_cgroup_v2() -> Result<(), Error> {
    life_cycle("out-of-memory,metrics,update,pause-twice,exec-while-paused")
}

/// The whole life cycle there.
#[test]
#[ignore = "takes many minutes, for make test-kernels"]
fn the_life_cycle_on_cgroup_v2() -> Result<(), Error> {
    life_cycle("")
}

/// With runc: crun (1.21), under the stock shim, leaves cgroups behind there.
#[track_caller]
fn life_cycle(scenarios: &str) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let words = ["test", "--no-run", "-p", "coaming-integration", "--test", "lifecycle"];
    let program = program("lifecycle", &words);
    let chosen = std::env::var("COAMING_SCENARIO").unwrap_or_else(|_| scenarios.to_owned());
    let scenarios = format!("COAMING_SCENARIO={chosen}");
    let args = [&scenarios, program.to_str().unwrap(), "--nocapture", "containerd_2"];
    runs(Guest::UmlNone, Path::new("/usr/bin/env"), &args, 45)
}

/// Boots a guest, and has these tests run in it: all whose names have one of the words. Their lines are this test's.
#[track_caller]
fn passes(guest: Guest, tests: &[&str]) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let chosen = std::env::var("COAMING_GUEST_TESTS").ok();
    let tests = chosen.as_deref().map_or(tests.to_vec(), |words| words.split(' ').collect());
    let mut args = vec!["--ignored", "--color=never"];
    if std::env::args().any(|arg| arg == "--nocapture") {
        args.push("--nocapture");
    }
    args.extend(tests);
    let minutes =
        if matches!(guest, Guest::Qemu(_) | Guest::QemuSeLinux) { QEMU_MINUTES } else { MINUTES };
    runs(guest, &std::env::current_exe().unwrap(), &args, minutes)
}

#[track_caller]
fn runs(guest: Guest, program: &Path, args: &[&str], minutes: u32) -> Result<(), Error> {
    let name = guest.name();
    let ended = guest.run(program, args, minutes, |line| eprintln!("{name}: {line}"))?;
    assert_eq!(ended.code, Some(0), "{name}: the guest's tests failed, or it died");
    // A name that nothing has would pass, too.
    let passed = ended.console.iter().find_map(|line| {
        line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse::<u32>().ok()
    });
    assert!(passed.is_some_and(|passed| passed > 0), "{name}: no test ran");
    Ok(())
}

/// The launcher's and seccomp's own tests on a kernel of another architecture, where each denies what it should and the
/// algebra has that architecture's tables as its own.
#[test]
#[ignore = "boots QEMU, for make test-kernels"]
fn qemu_aarch64() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let musl = ["--target", "aarch64-unknown-linux-musl"];
    let gnu = ["--target", "aarch64-unknown-linux-gnu"];
    let hooks = ["-p", "coaming-hooks"];
    let built = |name: &str, words: &[&[&str]]| program(name, &words.concat());
    let files = [
        built("coaming-init", &[&["build", "--release", "--bins"], &hooks, &musl]),
        built("launcher", &[&["test", "--no-run", "--test", "launcher"], &hooks, &musl]),
        built("coaming_seccomp", &[&["test", "--no-run", "-p", "coaming-seccomp", "--lib"], &gnu]),
    ];
    let [_, launcher, seccomp] = [0, 1, 2].map(|at: usize| files[at].file_name().unwrap());
    // Fewer random cases than elsewhere: the processor is a program.
    let script = format!(
        "export CI=true COAMING_BUILT=/job RUST_TEST_THREADS=1 PROPTEST_CASES=8 PROPTEST_RNG_SEED=1\n\
         uname -m; ./{} --color=never && ./{} --color=never\n",
        launcher.display(),
        seccomp.display(),
    );
    let ended = aarch64::run(&files, &script, QEMU_MINUTES, |line| eprintln!("aarch64: {line}"))?;
    assert_eq!(ended.code, Some(0), "its tests failed, or it died");
    assert!(ended.console.iter().any(|line| line == "aarch64"));
    let passed = ended.console.iter().filter(|line| line.starts_with("test result: ok."));
    assert_eq!(passed.count(), 2);
    assert!(!ended.console.iter().any(|line| line.starts_with("skipped")));
    Ok(())
}

/// Of what cargo builds by these words, the program of this name.
fn program(name: &str, words: &[&str]) -> PathBuf {
    let cache = std::env::var_os("COAMING_INTEGRATION_CACHE");
    let cache = cache.map_or_else(|| "/var/cache/coaming-integration".into(), PathBuf::from);
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        // As `make cross` has them.
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld")
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("LIBSECCOMP_LIB_PATH", cache.join("aarch64"))
        .args(words)
        .args(["--quiet", "--locked", "--message-format=json-render-diagnostics"])
        .output()
        .unwrap();
    let said = String::from_utf8(built.stdout).unwrap();
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs =
        messages.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    // Tests have a digest in their names.
    let is = |path: &PathBuf| {
        let rest = path.file_name()?.to_str()?.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('-')).then_some(())
    };
    let stderr = String::from_utf8_lossy(&built.stderr);
    let found = programs.find(|path| is(path).is_some());
    found.unwrap_or_else(|| panic!("cargo built no {name} by {words:?}: {stderr}"))
}
