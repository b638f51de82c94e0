//! What the kernel denies is told: to which container, by which line of policy, and what would have allowed it.
//!
//! The kernel's records are the whole machine's, and other tests run beside: each asks for its own containers, whose
//! ids nobody else has.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coaming_integration::{Bundle, Error, Output, Runtime, Suite, World, can_run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::setup::{Bench, policy, runtimes, says};

const COAMING: &str = "/usr/libexec/coaming/coaming";
/// A shell that makes the call itself, and lives on: whoever is gone cannot be tied to its container. It ends with it.
const KILL: [&str; 3] = ["sh", "-c", "kill -0 $$; sleep 1000; true"];
/// The same for good; the last command of a script would take the shell's place.
const KILLS: &str = "kill -0 $$; while true; do sleep 1; done";
const DENIES: &str = "seccomp: {denySyscalls: [kill, keyctl]}";

/// `coaming` in a world's mounts and in the machine's own pid and network namespaces, as on a node.
fn on_the_node(world: &World, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command
        .args(["--mount", "--target", &world.pid().to_string(), "--"])
        .args(["unshare", "--mount", "sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh"])
        .args([COAMING, "denials"])
        .args(words)
        .stdin(Stdio::null());
    command
}

fn asked(world: &World, words: &[&str]) -> Output {
    let output = on_the_node(world, words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// `coaming denials --follow`, which is ended by a signal.
struct Following {
    child: Child,
    lines: Receiver<Value>,
}

impl Following {
    fn new(world: &World, words: &[&str]) -> Following {
        let words = [&["--follow", "--output", "json"], words].concat();
        let mut child = on_the_node(world, &words).stdout(Stdio::piped()).spawn().unwrap();
        let (send, lines) = channel();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let line =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let following = Following { child, lines };
        let follows = following.until(|line| line["note"] == "following");
        assert!(follows.is_some(), "it does not follow");
        following
    }

    /// The first line for which it is so, within a minute.
    fn until(&self, is: impl Fn(&Value) -> bool) -> Option<Value> {
        let end = Instant::now() + Duration::from_secs(60);
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let line = self.lines.recv_timeout(left).ok()?;
            if is(&line) {
                return Some(line);
            }
        }
        None
    }

    /// A denial in this container.
    fn denial(&self, id: &str, what: &str) -> Value {
        let of =
            |line: &Value| line["container"]["id"] == id && line["what"].as_str() == Some(what);
        self.until(of).unwrap_or_else(|| panic!("{what} of {id} was not told"))
    }

    /// All that is told within a second, after which it is ended.
    fn rest(mut self, signal: Signal) -> Vec<Value> {
        std::thread::sleep(Duration::from_secs(1));
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
        let ended = self.child.wait().unwrap();
        assert_eq!(ended.code(), Some(0), "{signal}: {ended}");
        self.lines.iter().filter(|line| line["note"].is_null()).collect()
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An id as containerd makes them, and nobody else has.
fn id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{:032x}{:016x}{next:016x}", now.as_nanos(), std::process::id())
}

fn pod<'a>(bench: &'a Bench, id: &str, args: &[&str]) -> Result<Bundle<'a>, Error> {
    bench.bundle(id, args, |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "payments",
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.container-name": "ledger",
        });
    })
}

/// An exec that lives as long as its container.
fn goes_on(bench: &Bench, bundle: &Bundle<'_>, args: &[&str]) -> Result<(), Error> {
    let wrapper = bench.runtime.wrapper_path().display().to_string();
    let quiet = "exec \"$@\" >/dev/null 2>&1";
    let start = ["sh", "-c", quiet, "sh", &wrapper, "--root", "/run/bare", "exec", "--detach"];
    let words = [start.as_slice(), &[bundle.id()], args].concat();
    bench.world.run(words)?.ok("an exec that goes on").map(drop)
}

/// runc takes the flag from 1.2 on.
fn takes_flags(runtime: Runtime) -> bool {
    !matches!(runtime, Runtime::Runc(Suite::Bookworm | Suite::Trixie))
}

#[test]
fn a_denied_call_is_told_with_its_pod_and_line() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        for (loader, landlock) in [("runtime", ""), ("launcher", "landlock: {bind: []}\n")] {
            eprintln!("{runtime}, loaded by the {loader}");
            let bench = Bench::new(runtime, "node")?;
            policy(
                &bench.world,
                "payments",
                &format!("{landlock}logDenials: [seccomp]\n{DENIES}"),
            )?;
            let line = 6 + landlock.lines().count();
            let (id, other) = (id(), id());
            let following = Following::new(&bench.world, &["--namespace", "payments"]);
            let bundle = pod(&bench, &id, &["sh", "-c", KILLS])?;
            bench.gated.start(&bundle)?.ok("start")?;
            let record = bench.record()?;
            if landlock.is_empty() && !takes_flags(runtime) {
                // Started, and said: a log is no protection.
                says(
                    record["notes"].to_string(),
                    &["does not take the flag", "spec.logDenials", "1.2"],
                );
                let said = asked(&bench.world, &["--container", &id]);
                says(&said.stdout, &["0 denials", "does not take the flag"]);
                assert_eq!(following.rest(Signal::SIGTERM), Vec::<Value>::new());
                bench.gated.delete(&bundle)?;
                continue;
            }
            assert!(!record["notes"].to_string().contains("logDenials"), "{record}");
            // By the first process, by an exec, and in a container beside.
            let first = following.denial(&id, "kill denied");
            assert_eq!(first["container"]["pod"], "ledger-0");
            let cause = &first["cause"];
            assert_eq!(cause["policies"][0]["policy"], "payments", "{first:#}");
            assert_eq!(cause["policies"][0]["line"], line, "{first:#}");
            assert_eq!(cause["changes"][0]["fragment"], "denySyscalls: [keyctl]");
            let beside = pod(&bench, &other, &["sleep", "1000"])?;
            bench.gated.start(&beside)?.ok("start")?;
            goes_on(&bench, &beside, &KILL)?;
            let exec = following.denial(&other, "kill denied");
            assert_ne!(exec["pid"], first["pid"]);
            goes_on(&bench, &bundle, &KILL)?;
            let again = following.denial(&id, "kill denied");
            assert!(again["pid"] != first["pid"] && again["pid"] != exec["pid"]);
            assert_eq!(following.rest(Signal::SIGINT), Vec::<Value>::new(), "each is told once");
            bench.gated.delete(&bundle)?;
            bench.gated.delete(&beside)?;
        }
    }
    Ok(())
}

#[test]
fn what_nobody_asked_for_is_not_logged_and_others_are_not_ours() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    policy(&bench.world, "payments", DENIES)?;
    let (silent, stranger) = (id(), id());
    let following = Following::new(&bench.world, &["--all"]);
    let bundle = pod(&bench, &silent, &["sleep", "1000"])?;
    bench.gated.start(&bundle)?.ok("start")?;
    goes_on(&bench, &bundle, &KILL)?;
    let said = asked(&bench.world, &["--container", &silent]);
    says(&said.stdout, &["0 denials", "no policy asks for more (logDenials: [seccomp])"]);
    // A container of the runtime's own, which did not come through the gate; its program has a name of its own.
    let program = format!("busybox-{}", &stranger[26..32]);
    let theirs =
        bench.bundle(&stranger, &[&format!("/bin/{program}"), "sh", "-c", KILLS], |spec| {
            spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO"}]});
        })?;
    let bin = theirs.path().join("rootfs/bin");
    bench.shell(&format!("cd {} && cp busybox {program}", bin.display()))?.ok("cp")?;
    bench.stock.start(&theirs)?.ok("stock run")?;
    let is_theirs = |line: &Value| line["comm"] == program.as_str();
    let told = following.until(is_theirs).expect("the stranger's denial was not told");
    assert_eq!((&told["container"]["state"], &told["cause"]), (&json!("none"), &Value::Null));
    for line in following.rest(Signal::SIGTERM) {
        assert!(line["container"]["id"].is_null(), "of nobody's: {line}");
    }
    bench.stock.delete(&theirs)?;

    // The kernel's own buffer, which it fills at a limited rate: until one is in it.
    policy(&bench.world, "logged", "logDenials: [seccomp]")?;
    let heard = id();
    let logged = pod(&bench, &heard, &["sh", "-c", "while true; do kill -0 $$; sleep 1; done"])?;
    bench.gated.start(&logged)?.ok("start")?;
    let end = Instant::now() + Duration::from_secs(60);
    let shown = loop {
        let shown = asked(&bench.world, &["--pod", "ledger-0", "--since", "5m"]).stdout;
        if shown.contains(&heard) || Instant::now() > end {
            break shown;
        }
        std::thread::sleep(Duration::from_secs(1));
    };
    says(
        &shown,
        &[
            &format!("payments/ledger-0/ledger/{heard}"),
            "kill denied",
            "denied by  policy payments (/etc/coaming/policy.d/payments.yaml:5, spec.seccomp)",
            "denySyscalls: [keyctl]",
            "read from the kernel's ring buffer",
        ],
    );
    eprintln!("{shown}");
    bench.gated.delete(&logged)?;
    bench.gated.delete(&bundle)
}

/// Auditing, which is the whole machine's, switched on for as long as this lives.
struct Auditing {
    was: bool,
    _alone: MutexGuard<'static, ()>,
}

static AUDITING: Mutex<()> = Mutex::new(());

impl Auditing {
    fn on() -> Auditing {
        let alone = AUDITING.lock().unwrap_or_else(PoisonError::into_inner);
        let was = audit(None);
        audit(Some(true));
        Auditing { was, _alone: alone }
    }
}

impl Drop for Auditing {
    fn drop(&mut self) {
        audit(Some(self.was));
    }
}

/// Asks whether auditing is on, or switches it (`AUDIT_GET`, `AUDIT_SET` of linux/audit.h).
fn audit(switch: Option<bool>) -> bool {
    use nix::sys::socket::*;
    use std::os::fd::AsRawFd;
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )
    .unwrap();
    let status: Vec<u8> = match switch {
        // struct audit_status: mask (AUDIT_STATUS_ENABLED), enabled, and nothing else that counts.
        Some(on) => [1_u32, u32::from(on)]
            .iter()
            .chain(&[0; 9])
            .flat_map(|word| word.to_ne_bytes())
            .collect(),
        None => Vec::new(),
    };
    let (kind, flags): (u16, u16) = if switch.is_some() { (1001, 1 | 4) } else { (1000, 1) };
    let mut message = u32::try_from(16 + status.len()).unwrap().to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend([1_u32, 0].iter().flat_map(|word| word.to_ne_bytes()));
    message.extend(status);
    sendto(fd.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty()).unwrap();
    let mut answer = [0; 1024];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    assert!(length >= 24, "an answer of {length} bytes");
    u32::from_ne_bytes(answer[20..24].try_into().unwrap()) != 0
}

#[test]
fn what_landlock_denies_is_told_with_its_line() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let _auditing = Auditing::on();
    for runtime in [Runtime::Runc(Suite::Bookworm), Runtime::Crun(Suite::Sid)] {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "node")?;
        let rules = "landlock: {read: [/bin, /dev, /proc, /probe], execute: [/], connect: [443]}\n";
        policy(&bench.world, "files", &format!("{rules}logDenials: [landlock]"))?;
        let id = id();
        let bundle = pod(&bench, &id, &["sleep", "1000"])?;
        bench.gated.start(&bundle)?.ok("start")?;
        let following = Following::new(&bench.world, &["--container", &id]);
        // The reader is gone at once; who made its domain lives on.
        let script = "cat /etc/passwd; probe connect 127.0.0.1 80; sleep 1000";
        goes_on(&bench, &bundle, &["sh", "-c", script])?;
        let file = following.denial(&id, "fs.read_file /etc/passwd denied");
        eprintln!("{file:#}");
        assert_eq!(file["cause"]["policies"][0]["line"], 5);
        assert_eq!(file["cause"]["policies"][0]["policy"], "files");
        says(file["cause"]["changes"][0].to_string(), &["files.yaml:5", "read: [/etc/passwd]"]);
        let port = following.denial(&id, "net.connect_tcp port 80 denied");
        says(port["cause"]["changes"][0].to_string(), &["connect: [80]"]);
        following.rest(Signal::SIGTERM);
        bench.gated.delete(&bundle)?;

        // Not asked for, nothing is logged.
        policy(&bench.world, "files", rules)?;
        let silent = self::id();
        let bundle = pod(&bench, &silent, &["sleep", "1000"])?;
        bench.gated.start(&bundle)?.ok("start")?;
        let following = Following::new(&bench.world, &["--container", &silent]);
        goes_on(&bench, &bundle, &["sh", "-c", script])?;
        assert_eq!(following.rest(Signal::SIGTERM), Vec::<Value>::new());
        let said = asked(&bench.world, &["--container", &silent]);
        says(&said.stdout, &["0 denials", "no policy asks for it (logDenials: [landlock])"]);
        bench.gated.delete(&bundle)?;
    }
    Ok(())
}
