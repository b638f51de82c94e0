//! Calls that an audited policy would deny are made, and the kernel says so.

use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use coaming_integration::{Bundle, Error, can_run};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde_json::{Value, json};

use crate::setup::{Bench, policy, runtimes, says};

/// AUDIT_NLGRP_READLOG (linux/audit.h): the kernel's audit records, whether a daemon reads them or not.
const READLOG: u32 = 1;
/// AUDIT_SECCOMP
const SECCOMP: u16 = 1326;

/// The kernel's records of seccomp from now on.
struct Log(std::os::fd::OwnedFd);

impl Log {
    /// `None`, loudly, where the kernel has no audit log to read.
    fn open() -> Option<Log> {
        let opened = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkAudit,
        )
        .and_then(|fd| {
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, READLOG))?;
            setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(200))?;
            setsockopt(&fd, sockopt::RcvBuf, &(4 << 20))?;
            Ok(fd)
        });
        match opened {
            Ok(fd) => Some(Log(fd)),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "the kernel's audit log: {error}");
                eprintln!(
                    "skipped: the kernel's audit log cannot be read ({error}); that calls are made is tested all the same"
                );
                None
            }
        }
    }

    /// The records of two programs until one of the second is there, or half a minute has passed.
    fn of(&self, programs: [&str; 2]) -> Vec<String> {
        let mut records = Vec::new();
        let [first, last] = programs.map(|program| format!("comm=\"{program}\""));
        let end = Instant::now() + Duration::from_secs(30);
        let mut buffer = vec![0; 16 * 1024];
        while Instant::now() < end {
            let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
                continue;
            };
            let Some((header, text)) = buffer[..length].split_at_checked(16) else { continue };
            if u16::from_ne_bytes([header[4], header[5]]) != SECCOMP {
                continue;
            }
            let text = String::from_utf8_lossy(text).into_owned();
            let found = text.contains(&last);
            if found || text.contains(&first) {
                records.push(text);
            }
            if found {
                break;
            }
        }
        records
    }
}

/// Runs sync(2), which no policy minds, and chroot(2), which the container may make.
fn attempts(bench: &Bench, bundle: &Bundle<'_>) -> Result<(), Error> {
    bench.gated.exec(bundle, &[], &["sync"])?.ok("sync")?;
    let chroot = bench.gated.exec(bundle, &[], &["chroot", "/", "true"])?;
    chroot.ok("chroot, which is audited and not denied").map(drop)
}

#[test]
fn what_would_be_denied_is_made_and_logged() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        for (under, enforced) in [
            ("no Landlock", ""),
            ("Landlock", "landlock: {read: [/], execute: [/], write: [/tmp, /dev, /proc]}\n"),
        ] {
            eprintln!("{runtime} under {under}");
            let bench = Bench::new(runtime, "node")?;
            if !enforced.is_empty() {
                policy(&bench.world, "held", enforced)?;
            }
            // Without the switch nothing is loaded that was not asked for.
            let tried = "mode: audit\nseccomp: {denySyscalls: [chroot, keyctl]";
            policy(&bench.world, "tried", &format!("{tried}}}\n"))?;
            let silent = bench.bundle("silent", &["sleep", "1000"], |_| {})?;
            bench.gated.start(&silent)?.ok("start")?;
            let record = bench.record()?;
            assert_eq!(record["audit"]["kernelLog"], Value::Null, "{record}");
            let plan = record["plan"].clone();
            bench.gated.delete(&silent)?;

            policy(&bench.world, "tried", &format!("{tried}, log: true}}\n"))?;
            let bundle = bench.bundle("logged", &["sleep", "1000"], |_| {})?;
            bench.gated.start(&bundle)?.ok("start")?;
            let record = bench.record()?;
            let log = &record["audit"]["kernelLog"];
            let names = log["syscalls"].to_string();
            says(&names, &["chroot"]);
            assert!(!names.contains("sync"), "{log}");
            assert_eq!(log["policies"][0]["policy"], "tried");
            assert_eq!(record["plan"], plan, "an exec is held to what was decided: {record}");
            let listening = Log::open();
            attempts(&bench, &bundle)?;
            if let Some(listening) = listening {
                // On x86_64 chroot is 161.
                let records = listening.of(["sync", "chroot"]);
                assert_eq!(records.len(), 1, "{records:?}");
                says(&records[0], &["syscall=161 ", "code=0x7ffc0000", "comm=\"chroot\""]);
            }
            bench.gated.delete(&bundle)?;

            // Enforced, the same denies it.
            policy(&bench.world, "tried", "seccomp: {denySyscalls: [chroot, keyctl], log: true}")?;
            let bundle = bench.bundle("denied", &["sleep", "1000"], |_| {})?;
            bench.gated.start(&bundle)?.ok("start")?;
            let refused = bench.gated.exec(&bundle, &[], &["chroot", "/", "true"])?;
            assert_ne!(refused.code, 0, "{refused:?}");
            assert_eq!(bench.record()?["audit"]["changes"], json!([]));
            bench.gated.delete(&bundle)?;
        }
    }
    Ok(())
}
