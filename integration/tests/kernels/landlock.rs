//! What each version of Landlock gives of a policy that asks for all: exactly what `coaming doctor` predicts there, and what
//! is said to be enforced is.

use std::collections::BTreeMap;

use coaming_integration::{Error, Guest, Runtime, Suite};
use serde_json::Value;

use crate::setup::{Bench, doctor, is_in, pod, says, unmet};

/// One part of what Landlock can restrict.
struct Part {
    name: &'static str,
    /// The ABI that brought it (landlock(7), "VERSIONS").
    since: u32,
    /// As a policy has it.
    rule: &'static str,
    /// What an exec then cannot do; it ends with 0 where it can. The container's first process is a server on an abstract
    /// socket.
    attack: &'static str,
}

const fn part(name: &'static str, since: u32, rule: &'static str, attack: &'static str) -> Part {
    Part { name, since, rule, attack }
}

const PARTS: [Part; 11] = [
    part("read", 1, "read: [/bin, /dev, /proc]", "cat /etc/passwd"),
    part("write", 1, "rights: [{path: /tmp, access: [MAKE_REG, WRITE_FILE]}]", "echo x >/etc/new"),
    part("execute", 1, "execute: [/bin]", "/usr/probe list"),
    part("refer", 2, "rights: [{path: /run, access: [REFER]}]", "ln /tmp/one/file /tmp/two/file"),
    part(
        "truncate",
        3,
        "rights: [{path: /run, access: [TRUNCATE]}]",
        "is allowed truncate /tmp/one/file",
    ),
    part(
        "connect",
        4,
        "connect: [1]",
        "probe serve 2222 >/dev/null & until probe connect 127.0.0.1 2222 | grep -qE '\"outcome\":\"(allowed|denied)\"'; do :; done; is allowed connect 127.0.0.1 2222; code=$?; kill $!; exit $code",
    ),
    part("bind", 4, "bind: [1]", "is allowed bind 8080"),
    part("ioctl", 5, "rights: [{path: /run, access: [IOCTL_DEV]}]", "stty -F /dev/ptmx"),
    part("signal", 6, "scopes: [signal]", "is allowed kill 1"),
    part("abstract", 6, "scopes: [abstractUnixSocket]", "is allowed abstract-unix coaming"),
    part(
        "everything",
        6,
        "{read: [/bin, /dev, /proc], write: [/tmp, /dev], execute: [/bin], connect: [1], bind: [1], scopes: [signal, abstractUnixSocket]}",
        "",
    ),
];

/// The probe answers in JSON.
const IS: &str = "is() { shift; probe \"$@\" | grep -q '\"outcome\":\"allowed\"'; }";

/// The ABI of each kernel.
fn abi(guest: Option<Guest>) -> u32 {
    match guest {
        Some(Guest::UmlAppArmor | Guest::UmlSeLinux | Guest::UmlNone) => 0,
        Some(Guest::Qemu(Suite::Bookworm)) => 2,
        Some(Guest::Qemu(Suite::Trixie) | Guest::QemuSeLinux) => 6,
        Some(Guest::Qemu(Suite::Sid)) => 10,
        None => 7,
    }
}

#[test]
#[ignore = "runs in guests of QEMU, and in uml-none"]
fn what_it_gives_is_what_the_doctor_predicts() -> Result<(), Error> {
    let qemu = [Suite::Bookworm, Suite::Trixie, Suite::Sid].map(Guest::Qemu);
    let guest = is_in(&[qemu.as_slice(), &[Guest::UmlNone]].concat());
    gives_what_is_predicted(Some(guest))
}

/// The same on this machine's own kernel.
pub(crate) fn gives_what_is_predicted(guest: Option<Guest>) -> Result<(), Error> {
    let bench = Bench::new(Runtime::Crun(Suite::Sid), "node")?;
    for part in &PARTS {
        let rule = match part.rule.starts_with('{') {
            true => format!("landlock: {}", part.rule),
            false => format!("landlock: {{{}}}", part.rule),
        };
        let name = part.name;
        let log = "logDenials: [landlock]";
        bench.policy(name, &format!("match: {{namespaces: [{name}]}}\n{rule}\n{log}"))?;
        let best = format!("{name}-best");
        bench.policy(
            &best,
            &format!("match: {{namespaces: [{best}]}}\n{rule}\nbestEffort: [landlock]\n{log}"),
        )?;
    }
    let report = doctor(&bench.world)?;
    let abi_now = report["kernel"]["trials"]["landlockAbi"].as_u64();
    if guest.is_some() {
        assert_eq!(abi_now, Some(u64::from(abi(guest))), "{}", report["kernel"]);
    }
    let abi = u32::try_from(abi_now.unwrap_or_default()).unwrap();
    let unmet = unmet(&report);

    let mut free = BTreeMap::new();
    let bundle = pod(&bench, "stock", "stock", &SERVER)?;
    bench.stock.start(&bundle)?.ok("the stock runtime")?;
    for part in &PARTS {
        free.insert(part.name, bench.stock.exec(&bundle, &[], &["sh", "-c", &script(part)])?);
    }
    bench.stock.delete(&bundle)?;
    for part in &PARTS {
        let stock = &free[part.name];
        assert!(stock.success(), "{} is denied without a policy: {stock:?}", part.name);
        let lost = unmet.get(&format!("{}.yaml", part.name));
        let lost_best = unmet.get(&format!("{}-best.yaml", part.name));
        assert_eq!(lost, lost_best, "{}: the doctor tells two stories", part.name);
        assert_eq!(lost.is_none(), part.since <= abi, "{} on ABI {abi}: {lost:?}", part.name);
        holds(&bench, part, lost, abi)?;
        eprintln!("ABI {abi}, {}: {}", part.name, lost.map_or("enforced", String::as_str));
    }
    Ok(())
}

const SERVER: [&str; 3] = ["probe", "serve-abstract", "coaming"];

fn script(part: &Part) -> String {
    format!(
        "{IS}; mkdir -p /tmp/one /tmp/two; [ -e /tmp/one/file ] || echo x >/tmp/one/file; [ -e /usr/probe ] || cp /bin/probe /usr/probe; {}",
        part.attack
    )
}

/// What is lost keeps a container from starting, unless by best effort: then the record says what is lost, in the doctor's
/// words, and the rest holds.
fn holds(bench: &Bench, part: &Part, lost: Option<&String>, abi: u32) -> Result<(), Error> {
    let required = pod(bench, part.name, part.name, &SERVER)?;
    let started = bench.gated.start(&required)?;
    let bundle = match lost {
        None => {
            started.ok(part.name)?;
            required
        }
        Some(lost) => {
            assert_ne!(started.code, 0, "{} started without {lost}", part.name);
            says(started.text(), &[lost, "landlock", &format!("{}.yaml", part.name)]);
            let best = format!("{}-best", part.name);
            let bundle = pod(bench, &best, &best, &SERVER)?;
            bench.gated.start(&bundle)?.ok(&best)?;
            bundle
        }
    };
    let record = bench.record(bundle.id())?;
    let degraded: Vec<&Value> = record["degraded"].as_array().unwrap().iter().collect();
    match lost {
        None => assert_eq!(degraded, Vec::<&Value>::new()),
        Some(lost) => {
            assert_eq!(degraded.len(), 1, "{degraded:?}");
            assert_eq!(degraded[0]["control"], "landlock");
            assert_eq!(degraded[0]["lost"].as_str(), Some(lost.as_str()));
        }
    }
    // A log is no protection: where there is none, the record says so. With nothing left of Landlock there is nothing to log.
    let logs = record["notes"].to_string().contains("logs from ABI 7 on");
    assert_eq!(logs, (1..7).contains(&abi) && !record["plan"].is_null(), "{}", record["notes"]);
    // Prepared by the runtime itself: the container could not.
    let ready = script(part);
    let root = bundle.path().join("rootfs");
    let prepare = format!(
        "cd {} && mkdir -p tmp/one tmp/two && echo x >tmp/one/file && cp bin/probe usr/probe",
        root.display()
    );
    bench.world.run(["sh", "-c", &prepare])?.ok("prepare")?;
    let attacked = bench.gated.exec(&bundle, &[], &["sh", "-c", &ready])?;
    if !part.attack.is_empty() {
        assert_eq!(attacked.success(), lost.is_some(), "{} on ABI {abi}: {attacked:?}", part.name);
    }
    bench.gated.delete(&bundle)
}
