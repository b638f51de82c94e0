//! Other kernels than this machine's, with this machine's files: tests that run inside them are ordinary test programs.
//!
//! A guest's root file system is the machine's own with memory over it, so that nothing is built or installed for it and
//! nothing that is done in it stays. It has cgroup v2 alone. What it prints comes line by line.

pub mod aarch64;
pub mod image;
mod job;
mod machine;
mod se_linux;
mod user_mode;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Error, Suite};
use job::Job;

/// Names the guest to what runs in it.
pub const GUEST: &str = "COAMING_GUEST";

/// A kernel that tests can be run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// User-Mode Linux with AppArmor: no Landlock, one CPU.
    UmlAppArmor,
    /// User-Mode Linux with SELinux, enforcing a small policy (`integration/kernels/selinux.cil`).
    UmlSeLinux,
    /// User-Mode Linux with neither.
    UmlNone,
    /// QEMU with a suite's kernel: AppArmor and Landlock, as Debian starts them. Bookworm's is 6.1 (ABI 2), trixie's 6.12
    /// (ABI 6), sid's 7.x (ABI 10).
    Qemu(Suite),
    /// QEMU with trixie's kernel, with SELinux in AppArmor's place, enforcing the same policy, and Landlock.
    QemuSeLinux,
}

/// What became of a program in a guest.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The program's own exit code; none when the guest died or took too long.
    pub code: Option<i32>,
    /// All lines that the guest printed, the program's among them.
    pub console: Vec<String>,
}

impl Guest {
    /// All of them.
    pub const ALL: [Guest; 7] = [
        Guest::UmlAppArmor,
        Guest::UmlSeLinux,
        Guest::UmlNone,
        Guest::Qemu(Suite::Bookworm),
        Guest::Qemu(Suite::Trixie),
        Guest::Qemu(Suite::Sid),
        Guest::QemuSeLinux,
    ];

    /// As tests and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Guest::UmlAppArmor => "uml-apparmor",
            Guest::UmlSeLinux => "uml-selinux",
            Guest::UmlNone => "uml-none",
            Guest::Qemu(Suite::Bookworm) => "qemu-6.1",
            Guest::Qemu(Suite::Trixie) => "qemu-6.12",
            Guest::Qemu(Suite::Sid) => "qemu-7",
            Guest::QemuSeLinux => "qemu-6.12-selinux",
        }
    }

    /// The guest that this process runs in; none on the machine itself.
    pub fn current() -> Option<Guest> {
        let name = std::env::var(GUEST).ok()?;
        Guest::ALL.into_iter().find(|guest| guest.name() == name)
    }

    /// Boots it, runs a program in it with `minutes` at most for all, and switches it off. `line` is given each line as it comes.
    ///
    /// # Errors
    /// When coaming's programs do not build, or the kernel cannot be started. That the guest died is in [`Ended`].
    pub fn run(
        self,
        program: &Path,
        args: &[&str],
        minutes: u32,
        line: impl FnMut(&str),
    ) -> Result<Ended, Error> {
        let job = Job::new(self, program, args)?;
        let mut kernel = limited(minutes);
        // Neither module: that by name, or the first of those that are compiled in starts.
        let files = match self {
            Guest::UmlAppArmor => user_mode::complete(&mut kernel, "apparmor", &job).map(|()| None),
            Guest::UmlSeLinux => user_mode::complete(&mut kernel, "selinux", &job).map(|()| None),
            Guest::UmlNone => user_mode::complete(&mut kernel, "none", &job).map(|()| None),
            Guest::Qemu(suite) => machine::complete(&mut kernel, suite, "", &job).map(Some),
            Guest::QemuSeLinux => {
                let chosen = "security=selinux enforcing=0";
                machine::complete(&mut kernel, Suite::Trixie, chosen, &job).map(Some)
            }
        }?;
        let ended = watch(kernel, self.name(), line);
        drop(files);
        ended
    }
}

/// The start of a kernel's command line. Its processes must not outlive the test, however it ends; timeout passes the
/// signal on to all of them.
fn limited(minutes: u32) -> Command {
    let mut kernel = Command::new("setpriv");
    kernel
        .args(["--pdeathsig", "TERM", "timeout", "--kill-after=10", &format!("{minutes}m")])
        .args(["taskset", "-c", &cpu().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    kernel
}

/// Boots, and reads the console to its end.
fn watch(mut kernel: Command, name: &str, mut line: impl FnMut(&str)) -> Result<Ended, Error> {
    let mut child = kernel.spawn().map_err(Error::io("boot", name))?;
    let mut ended = Ended { code: None, console: Vec::new() };
    if let Some(output) = child.stdout.take() {
        for bytes in BufReader::new(output).split(b'\n') {
            let bytes = bytes.map_err(Error::io("read the console of", name))?;
            let text = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned();
            match text.strip_prefix(job::ENDED) {
                Some(code) => ended.code = code.trim().parse().ok(),
                None => line(&text),
            }
            ended.console.push(text);
        }
    }
    child.wait().map_err(Error::io("wait for", name))?;
    Ok(ended)
}

/// One CPU for each guest, in turns: unpinned, each switch between the kernel and a process of its wakes another CPU, and all
/// takes several times as long.
fn cpu() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    count - 1 - NEXT.fetch_add(1, Ordering::Relaxed) % count
}

/// The folder of what runs in guests and beside the tests.
fn kernels() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}
