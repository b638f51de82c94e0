//! A runtime, called with a time limit.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::Call;

/// In the runtime's environment; where a hook has it, it has what the runtime was started with.
pub(crate) const CANARY: &str = "COAMING_HOOK_TEST_RUNTIME";
/// How much of what a runtime writes is kept, in bytes.
const MOST: u64 = 16 << 10;

pub(super) struct Runtime {
    pub(super) path: PathBuf,
    pub(super) version: String,
    base: PathBuf,
    /// Its state directory.
    root: PathBuf,
}

impl Runtime {
    pub(super) fn open(path: &Path, base: &Path) -> Result<Runtime, String> {
        let shown = path.display();
        if !path.is_absolute() {
            return Err(format!("the runtime {shown}: its path must be absolute"));
        }
        let output = Command::new(path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("the runtime {shown}: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.lines().next().unwrap_or_default().to_owned();
        if !output.status.success() || version.is_empty() {
            return Err(format!("the runtime {shown} does not say its version"));
        }
        let name = path.display().to_string().replace('/', "_");
        let (base, root) = (base.to_owned(), base.join("state").join(name));
        fs::create_dir_all(&root).map_err(|error| format!("{}: {error}", root.display()))?;
        Ok(Runtime { path: path.to_owned(), version, base, root })
    }

    /// Calls a verb, and waits for it at most `limit`.
    pub(super) fn call(&self, words: &[&str], limit: Duration) -> Result<Call, String> {
        let (stdout, stderr) = (self.base.join("stdout"), self.base.join("stderr"));
        let verb = words.first().copied().unwrap_or_default().to_owned();
        let failed = |error: std::io::Error| format!("{} {verb}: {error}", self.path.display());
        // Files, and no pipes: the container inherits them, and would keep a pipe open.
        let output = |path: &Path| File::create(path).map(Stdio::from);
        let started = Instant::now();
        let mut child = Command::new(&self.path)
            .arg("--root")
            .arg(&self.root)
            .args(words)
            .current_dir(&self.base)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env(CANARY, "1")
            .stdin(Stdio::null())
            .stdout(output(&stdout).map_err(failed)?)
            .stderr(output(&stderr).map_err(failed)?)
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let status = loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                break Some(status);
            }
            if started.elapsed() >= limit {
                let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
                let _ = child.wait();
                break None;
            }
            thread::sleep(Duration::from_millis(2));
        };
        Ok(Call {
            code: status.and_then(|status| status.code()),
            hung: status.is_none(),
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            stderr: beginning(&stderr),
            verb,
        })
    }

    /// The container's status; none where the runtime does not know it.
    pub(super) fn status(&self, id: &str, limit: Duration) -> Result<Option<String>, String> {
        if self.call(&["state", id], limit)?.code != Some(0) {
            return Ok(None);
        }
        let state: Option<serde_json::Value> =
            serde_json::from_str(&beginning(&self.base.join("stdout"))).ok();
        let status = state.as_ref().and_then(|state| state.get("status")?.as_str());
        Ok(Some(status.unwrap_or("unknown").to_owned()))
    }

    /// What the runtime keeps of a container.
    pub(super) fn kept(&self, id: &str) -> Option<PathBuf> {
        Some(self.root.join(id)).filter(|folder| folder.exists())
    }
}

fn beginning(path: &Path) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(MOST).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
