//! One container of a real runtime, with the launcher and the hook placed as the wrapper places them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use coaming_hooks::plan::Plan;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{binaries, find_tool, make_root};

/// Both runtimes; each test runs on each.
pub(crate) const RUNTIMES: [&str; 2] = ["runc", "crun"];
/// Who the container is: what is special about its user.
pub(crate) const USERS: [User; 3] = [User::Root, User::Thousand, User::Mapped];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Thousand,
    /// Root of a user namespace.
    Mapped,
}

/// A bundle, and what the wrapper would have written below /run/coaming.
pub(crate) struct Bundle {
    folder: TempDir,
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) spec: Value,
    check: Value,
    plan: Plan,
}

pub(crate) struct Ended {
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bundle {
    /// A container that shall run `arguments`.
    pub(crate) fn new(user: User, plan: &Plan, arguments: &[&str]) -> Self {
        use std::os::unix::fs::PermissionsExt;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        // As containerd's are: to be passed through by a container's mapped root.
        let passable = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(folder.path(), passable).unwrap();
        make_root(&folder.path().join("rootfs"));
        let key = format!("{number:064x}");
        let id = format!("coaming-hooks-{}-{number}", std::process::id());
        let uid = if user == User::Thousand { 1000 } else { 0 };
        let mut bundle = Self {
            check: json!({
                "arg0": arguments[0], "path": "/nosuch:/bin", "cwd": "/", "uid": uid, "gid": uid,
                "additionalGids": [], "rulePaths": plan.layers.iter().flat_map(|layer| &layer.paths)
                    .map(|rule| String::from_utf8(rule.path.clone()).unwrap()).collect::<Vec<_>>(),
            }),
            spec: spec(&folder.path().join("rootfs"), uid, arguments),
            folder,
            key,
            id,
            plan: plan.clone(),
        };
        if user == User::Mapped {
            let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            let linux = &mut bundle.spec["linux"];
            linux["uidMappings"] = mapping.clone();
            linux["gidMappings"] = mapping;
            linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        }
        bundle
    }

    /// Gives the container's user these groups too.
    pub(crate) fn add_groups(&mut self, groups: &[u32]) {
        self.spec["process"]["user"]["additionalGids"] = json!(groups);
        self.check["additionalGids"] = json!(groups);
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    /// Puts the launcher, its mounts and the hooks in, as the wrapper does.
    pub(crate) fn with_launcher(mut self) -> Self {
        let (launch, record) = (self.launch(), self.record());
        let hook = "/usr/libexec/coaming/coaming-hook";
        let mut arguments = vec![json!("/dev/.coaming/init"), json!("plan")];
        arguments.extend(self.spec["process"]["args"].as_array().unwrap().clone());
        self.spec["process"]["args"] = json!(arguments);
        self.spec["mounts"].as_array_mut().unwrap().extend([
            json!({"destination": "/dev/.coaming", "type": "bind", "source": launch,
                // noexec, because in a user namespace a bind of a noexec mount must stay noexec, and
                // runc 1.1.5 does not add it by itself (mount: operation not permitted).
                "options": ["bind", "ro", "nosuid", "nodev", "noexec"]}),
            json!({"destination": "/dev/.coaming/init", "type": "bind",
                "source": "/usr/libexec/coaming/coaming-init",
                "options": ["bind", "ro", "nosuid", "nodev"]}),
        ]);
        self.spec["hooks"] = json!({
            "createContainer": [{"path": hook, "env": [], "args": ["coaming-hook", "create-container",
                "--launch", launch, "--report", format!("{record}/hook.json")]}],
            "poststop": [{"path": hook, "env": [], "args": ["coaming-hook", "poststop",
                "--record", record, "--launch", launch]}],
        });
        self
    }

    /// Writes the file `name` of a process that shall join the container, for `exec --process`: inline
    /// arguments would not do, because crun does not give those the container's no_new_privs.
    pub(crate) fn exec(&self, name: &str, arguments: &[&str]) {
        let mut process = self.spec["process"].clone();
        let launcher = ["/dev/.coaming/init", "plan"];
        process["args"] = json!([&launcher, arguments].concat());
        std::fs::write(self.folder.path().join(name), process.to_string()).unwrap();
    }

    pub(crate) fn launch(&self) -> String {
        format!("/run/coaming/launch/{}", self.key)
    }

    pub(crate) fn record(&self) -> String {
        format!("/run/coaming/containers/{}", self.key)
    }

    /// Runs shell commands in a world of their own, with $RT the runtime, $ID the container and the
    /// bundle as working directory; /run is noexec, as it is on Debian. All of it ends with them.
    pub(crate) fn shell(&self, runtime: &str, commands: &str) -> Ended {
        let folder = self.folder.path();
        std::fs::write(folder.join("config.json"), self.spec.to_string()).unwrap();
        std::fs::write(folder.join("check.json"), self.check.to_string()).unwrap();
        std::fs::write(folder.join("plan"), self.plan.encode().unwrap()).unwrap();
        let script = format!(
            "set -e
            mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs /run
            # crun 1.8 refuses cgroups in hybrid mode.
            umount /sys/fs/cgroup/unified 2> /dev/null || true
            mount -t tmpfs -o mode=755 tmpfs /usr/libexec
            mkdir -p /usr/libexec/coaming $LAUNCH $RECORD
            chmod 711 /run/coaming; chmod 700 $RECORD
            cp $INIT $HOOK /usr/libexec/coaming/
            cp plan check.json $LAUNCH/; : > $LAUNCH/init; chmod 444 $LAUNCH/*
            wait_until() {{
                n=0; until eval \"$1\"; do n=$((n + 1)); test $n -lt 600 || return 1; sleep 0.05; done
            }}
            set +e; trap '$RT delete -f $ID > /dev/null 2>&1' EXIT
            {commands}"
        );
        // pdeathsig: if the test is killed, unshare is, and with it the whole world.
        let output = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare"])
            .args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["--propagation", "private", "sh", "-c", &script])
            .current_dir(folder)
            .env("RT", find_tool(runtime).unwrap())
            .env("ID", &self.id)
            .env("LAUNCH", self.launch())
            .env("RECORD", self.record())
            .env("INIT", &binaries().init)
            .env("HOOK", &binaries().hook)
            .output()
            .unwrap();
        Ended {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn spec(rootfs: &std::path::Path, uid: u32, arguments: &[&str]) -> Value {
    let capabilities = if uid == 0 { json!(["CAP_KILL"]) } else { json!([]) };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": uid}, "args": arguments, "cwd": "/",
            "env": ["PATH=/nosuch:/bin", "KEPT=yes"], "noNewPrivileges": true,
            "capabilities": {"bounding": capabilities, "effective": capabilities,
                "permitted": capabilities},
        },
        "root": {"path": rootfs, "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "nodev", "mode=1777"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
        },
    })
}
