//! Throw-away bundles.
//!
//! The root file system is an overlay, whose upper layer shows exactly which files a hook changes, and keeps
//! the changes from a bundle that is not ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use crate::recorder::Order;
use crate::{Phase, Request};

/// The program inside a container.
const INSIDE: &str = "/coaming-hook-test";
/// A library that is nowhere. In the container's environment; a hook that has it would load an image's.
pub(crate) const PRELOAD: &str = "LD_PRELOAD=/coaming-hook-test-canary.so";
/// The largest config.json that is read, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// What all bundles share.
pub(super) struct Tools {
    base: PathBuf,
    /// This program.
    program: PathBuf,
    lower: PathBuf,
    spec: Value,
    /// The program of a bundle of somebody's, below its root file system: ours takes its place, so that
    /// hooks see the `process` that they would see. None where ours has a place of its own.
    entry: Option<PathBuf>,
}

/// A bundle for one container.
pub(super) struct Bundle {
    pub(super) path: PathBuf,
    pub(super) records: PathBuf,
}

impl Tools {
    pub(super) fn prepare(base: &Path, request: &Request) -> Result<Tools, String> {
        let program = base.join("coaming-hook-test");
        copy(Path::new("/proc/self/exe"), &program)?;
        let lower = base.join("lower");
        make(&lower)?;
        let spec = match &request.bundle {
            None => {
                for folder in ["proc", "dev", "sys", "tmp", "etc", "run"] {
                    make(&lower.join(folder))?;
                }
                default_spec()
            }
            Some(bundle) => {
                let (spec, rootfs) = read(bundle)?;
                // By a mount: a path may hold what separates an overlay's options.
                mount(Some(&rootfs), &lower, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                    .map_err(|errno| format!("mounting {}: {errno}", rootfs.display()))?;
                spec
            }
        };
        let entry = request.bundle.is_some().then(|| entry(&spec, &lower)).flatten();
        Ok(Tools { base: base.to_owned(), program, lower, spec, entry })
    }

    /// Makes the bundle of a container in which `phase` has the recorder, in a mode.
    pub(super) fn bundle(
        &self,
        id: &str,
        phase: Phase,
        mode: &str,
        timeout: u32,
        request: &Request,
    ) -> Result<Bundle, String> {
        let path = self.base.join(id);
        let [records, upper, work, rootfs] =
            ["records", "upper", "work", "rootfs"].map(|name| path.join(name));
        for folder in [&records, &upper, &work, &rootfs] {
            make(folder)?;
        }
        let inner = upper.join(INSIDE.trim_start_matches('/'));
        copy(&self.program, &inner)?;
        if let Some(entry) = &self.entry {
            let place = upper.join(entry);
            make(place.parent().unwrap_or(&upper))?;
            copy(&self.program, &place)?;
        }
        if phase == Phase::StartContainer {
            self.place_hook(request, &upper)?;
        }
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            self.lower.display(),
            upper.display(),
            work.display()
        );
        mount(Some("overlay"), &rootfs, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|errno| format!("mounting an overlay as root file system: {errno}"))?;
        let order = Order {
            mode: mode.to_owned(),
            phase,
            records: records.clone(),
            rootfs,
            upper: upper.clone(),
            hook: request.hook.clone(),
        };
        let spec = self.spec(id, &order, timeout, request);
        write(&path.join("config.json"), spec.to_string().as_bytes())?;
        Ok(Bundle { path, records })
    }

    /// A startContainer hook is a file of the image (runtime-spec); where the image has none at its path,
    /// it is put there.
    fn place_hook(&self, request: &Request, upper: &Path) -> Result<(), String> {
        let Some(hook) = request.hook.first() else { return Ok(()) };
        let inside = hook.trim_start_matches('/');
        if self.lower.join(inside).symlink_metadata().is_ok() {
            return Ok(());
        }
        let place = upper.join(inside);
        // A hook's path with `..` in it stays what it is on the host: it is not put anywhere.
        if Path::new(inside).components().any(|part| part.as_os_str() == "..") {
            return Ok(());
        }
        make(place.parent().unwrap_or(upper))?;
        copy(Path::new(hook), &place)
    }

    fn spec(&self, id: &str, order: &Order, timeout: u32, request: &Request) -> Value {
        let mut spec = self.spec.clone();
        let program = match order.phase {
            Phase::StartContainer => INSIDE.to_owned(),
            _ => self.program.display().to_string(),
        };
        let mut args = vec!["coaming-hook-test".to_owned()];
        args.extend(order.to_words());
        let mut hook = json!({"path": program, "args": args, "timeout": timeout});
        if let (Some(env), Some(hook)) = (&request.env, hook.as_object_mut()) {
            hook.insert("env".to_owned(), json!(env));
        }
        set(&mut spec, "hooks", json!({order.phase.name(): [hook]}));
        set(&mut spec, "root", json!({"path": "rootfs", "readonly": false}));
        if let Some(process) = spec.get_mut("process") {
            if self.entry.is_none() {
                set(process, "args", json!([INSIDE, "wait"]));
            }
            set(process, "terminal", json!(false));
            set(process, "cwd", json!("/"));
            let theirs = process.get("env").and_then(Value::as_array).cloned().unwrap_or_default();
            let env: Vec<Value> = theirs.into_iter().chain([json!(PRELOAD)]).collect();
            set(process, "env", json!(env));
        }
        if let Some(linux) = spec.get_mut("linux") {
            // By process ID: runs at the same time have cgroups of their own.
            set(linux, "cgroupsPath", json!(format!("/{}", cgroup(&self.base, id))));
        }
        let mut mounts = spec.get("mounts").and_then(Value::as_array).cloned().unwrap_or_default();
        // The recorder writes and looks there from inside, under the same names.
        for (folder, mode) in [(&order.records, "rw"), (&order.upper, "ro")] {
            mounts.push(json!({"destination": folder, "source": folder, "type": "bind",
                "options": ["bind", mode]}));
        }
        set(&mut spec, "mounts", json!(mounts));
        spec
    }

    /// Clears the bundle away.
    pub(super) fn remove(&self, bundle: &Bundle) {
        let _ = nix::mount::umount2(&bundle.path.join("rootfs"), nix::mount::MntFlags::MNT_DETACH);
        let _ = fs::remove_dir_all(&bundle.path);
    }

    /// The name of a container's cgroup.
    pub(super) fn cgroup(&self, id: &str) -> String {
        cgroup(&self.base, id)
    }
}

fn cgroup(base: &Path, id: &str) -> String {
    let name = base.file_name().unwrap_or_default().to_string_lossy();
    format!("{name}-{id}")
}

/// A bundle of somebody's: its spec, and where its root file system is.
fn read(bundle: &Path) -> Result<(Value, PathBuf), String> {
    use std::io::Read;
    let path = bundle.join("config.json");
    let failed = |error: String| format!("the bundle's {}: {error}", path.display());
    let mut text = Vec::new();
    let file = fs::File::open(&path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_CONFIG).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    let spec: Value = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    let root = spec.pointer("/root/path").and_then(Value::as_str);
    let root = root.ok_or_else(|| failed("it names no root.path".to_owned()))?;
    if !spec.get("process").is_some_and(Value::is_object) {
        return Err(failed("it has no process".to_owned()));
    }
    let rootfs = bundle.join(root);
    let rootfs = rootfs.canonicalize().map_err(|error| failed(format!("{root}: {error}")))?;
    Ok((spec, rootfs))
}

/// Where a spec's program is, if that can be said without following a symbolic link.
fn entry(spec: &Value, lower: &Path) -> Option<PathBuf> {
    let program = Path::new(spec.pointer("/process/args/0")?.as_str()?);
    let inside = program.strip_prefix("/").ok()?;
    let is_plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let folders = inside.parent()?.ancestors().map(|folder| lower.join(folder));
    let is_linked = |folder: PathBuf| folder.symlink_metadata().is_ok_and(|meta| !meta.is_dir());
    (is_plain && inside.file_name().is_some() && !folders.into_iter().any(is_linked))
        .then(|| inside.to_owned())
}

fn default_spec() -> Value {
    let namespaces = ["pid", "ipc", "uts", "mount", "network"].map(|kind| json!({"type": kind}));
    let none = "nosuid,noexec,nodev";
    let mounts = [
        ("/proc", "proc", "proc", none),
        ("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        ("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
    ]
    .map(|(destination, kind, source, options)| {
        let options: Vec<&str> = options.split(',').collect();
        json!({"destination": destination, "type": kind, "source": source, "options": options})
    });
    json!({
        // crun 1.8 knows no later one.
        "ociVersion": "1.0.2",
        "root": {},
        "process": {
            "args": [], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces,
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    })
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(key.to_owned(), value);
    }
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("making {}: {error}", folder.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|error| format!("writing {}: {error}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error| format!("copying {} to {}: {error}", from.display(), to.display());
    fs::copy(from, to).map_err(failed)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_takes_the_place_of_a_program_that_no_link_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("usr/sbin")).unwrap();
        std::os::unix::fs::symlink("usr/sbin", folder.path().join("sbin")).unwrap();
        let at =
            |program: &str| entry(&json!({"process": {"args": [program, "x"]}}), folder.path());
        assert_eq!(at("/usr/sbin/init"), Some(PathBuf::from("usr/sbin/init")));
        assert_eq!(at("/new/init"), Some(PathBuf::from("new/init")));
        for program in ["/sbin/init", "init", "/usr/../init", "/", ""] {
            assert_eq!(at(program), None, "{program}");
        }
    }
}
