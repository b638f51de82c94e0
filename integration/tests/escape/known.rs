//! Escapes that are known by a number or a name, rebuilt: by an image, a volume, a request or an exec.
//!
//! Where no runtime here has the fault any more the row says so, and claims nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use coaming_integration::{Error, Output, Runtime, Suite};
use serde_json::{Value, json};

use crate::ground::FOLDER;
use crate::spec;
use crate::stage::{Stage, VOLUMES};

pub(crate) struct Known {
    /// Short, for names of containers.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) control: &'static str,
    pub(crate) floor: &'static str,
    pub(crate) policy: &'static str,
    /// The runtimes under which it works without coaming.
    pub(crate) works: fn(Runtime) -> bool,
    /// What is said of the others.
    pub(crate) otherwise: &'static str,
    /// Tries it; whether it worked, and what was said.
    pub(crate) act: fn(&Stage<'_>) -> Result<(bool, Output), Error>,
    /// What coaming says, where it refuses; empty where what is started is harmless.
    pub(crate) refused: &'static [&'static str],
}

const fn known(
    name: &'static str,
    title: &'static str,
    control: &'static str,
    act: fn(&Stage<'_>) -> Result<(bool, Output), Error>,
) -> Known {
    Known {
        name,
        title,
        control,
        floor: "baseline",
        policy: "",
        works: |_| true,
        otherwise: "",
        act,
        refused: &[],
    }
}

impl Known {
    const fn refused(self, words: &'static [&'static str]) -> Known {
        Known { refused: words, ..self }
    }

    const fn under(self, works: fn(Runtime) -> bool, otherwise: &'static str) -> Known {
        Known { works, otherwise, ..self }
    }

    const fn with(self, floor: &'static str, policy: &'static str) -> Known {
        Known { floor, policy, ..self }
    }
}

pub(crate) static ALL: &[Known] = &[
    known(
        "dev-null",
        "a volume on /dev in which null is a link: no masks (CVE-2025-31133)",
        "mounts",
        |stage| dev_volume(stage, "/dev", "true"),
    )
    .refused(&["policy baseline", "spec.mounts", "/dev"])
    .under(is_old_runc, "mended in this runtime"),
    known(
        "dev-null-link",
        "the same by a link of the image to /dev (CVE-2025-31133)",
        "mounts",
        |stage| dev_volume(stage, "/data", "ln -s /dev $1/data"),
    )
    .refused(&["policy baseline", "spec.mounts", "/dev"])
    .under(is_old_runc, "mended in this runtime"),
    known(
        "console",
        "a terminal that becomes a link between two calls: /dev/console is a masked file (CVE-2025-52565)",
        "mounts",
        console,
    )
    .refused(&["policy baseline", "spec.mounts", "/dev"])
    .under(is_old_runc, "mended in this runtime; crun never had it"),
    known(
        "proc-volume",
        "a volume on /proc, for labels and masks (CVE-2019-16884, CVE-2019-19921)",
        "mounts",
        |stage| {
            stage.node(&format!("mkdir -p {VOLUMES}/proc/self/attr"))?;
            let output = stage.run(&READ_UPTIME, |spec| volume(spec, "proc", "/proc"))?;
            Ok((!output.success() && output.stdout.contains("ENOENT"), output))
        },
    )
    .refused(&["policy baseline", "spec.mounts", "/proc"])
    .under(|_| false, "mended in every runtime here"),
    known("proc-elsewhere", "a second proc, which has no masks", "mounts", |stage| {
        let command = ["/bin/probe", "read-masked", "/mnt/timer_list"];
        let output = stage.run_image("mkdir $1/mnt", &command, |spec| {
            mount(spec, json!({"destination": "/mnt", "type": "proc", "source": "proc"}));
        })?;
        Ok((allowed(&output), output))
    })
    .refused(&["policy baseline", "spec.mounts", "/mnt"]),
    known(
        "cwd-fd",
        "a working directory behind a descriptor left open (CVE-2024-21626)",
        "none",
        |stage| {
            let mut last = None;
            for number in 3..10 {
                let output = stage.run(&["/bin/probe", "read", FAR_UP], |spec| {
                    spec["process"]["cwd"] = format!("/proc/self/fd/{number}").into();
                })?;
                if allowed(&output) {
                    return Ok((true, output));
                }
                last = Some(output);
            }
            last.map(|output| (false, output))
                .ok_or_else(|| Error::Unavailable("no descriptor".to_owned()))
        },
    )
    .under(|_| false, "mended in every runtime here; coaming leaves none open either"),
    known(
        "hook-preload",
        "a hook that gets the container's LD_PRELOAD (CVE-2025-23266)",
        "hooks",
        |stage| {
            let hook = format!("#!/bin/sh\nexec env >{FOLDER}/hook-env\n");
            stage.ground.node.world().write(format!("{FOLDER}/hook.sh"), hook, 0o755)?;
            stage.node(&format!("rm -f {FOLDER}/hook-env"))?;
            let output = stage.run(&["true"], |spec| {
                spec["process"]["env"] = json!(["PATH=/bin", "LD_PRELOAD=/of-the-image.so"]);
                spec["hooks"] = json!({"createContainer": [{"path": format!("{FOLDER}/hook.sh")}]});
            })?;
            let seen = stage.node(&format!("cat {FOLDER}/hook-env"))?.stdout;
            Ok((seen.contains("LD_PRELOAD"), output))
        },
    )
    .with("node", "hooks:\n  allow: [{path: /run/escape/hook.sh}]")
    .under(is_old_runc, "newer runc, and crun, give hooks another environment"),
    known(
        "exec-cap",
        "exec with a capability that the container has not",
        "capabilities",
        |stage| {
            judged(
                stage.exec(
                    &["--user", "0", "--cap", "CAP_SYS_ADMIN"],
                    &["/bin/probe", "unshare-mount"],
                ),
            )
        },
    ),
    known(
        "exec-process",
        "exec with a document of one's own: all capabilities",
        "capabilities",
        |stage| judged(stage.exec_process(&greedy(&["/bin/probe", "mount"]))),
    ),
    known("exec-root", "exec as root into a container that must not be root's", "user", |stage| {
        let output = stage.exec(&["--user", "0"], &["id", "-u"])?;
        Ok((output.stdout == "0\n", output))
    })
    .with("node", "user:\n  runAsNonRoot: true")
    .refused(&["policy escape", "process.user.uid"]),
    known("key-case", "noNewPrivileges once more in another case", "strict JSON", |stage| {
        new_privileges(stage, |text| {
            text.replacen(NNP, &format!("{NNP},\"NONEWPRIVILEGES\":false"), 1)
        })
    })
    .refused(&["config.json", "NONEWPRIVILEGES"])
    .under(is_runc, "crun does not read keys in another case"),
    known("key-twice", "noNewPrivileges twice", "strict JSON", |stage| {
        new_privileges(stage, |text| {
            text.replacen(NNP, &format!("{NNP},\"noNewPrivileges\":false"), 1)
        })
    })
    .refused(&["config.json", "duplicate key"])
    .under(reads_the_last, "older crun takes the first of two"),
    known(
        "seccomp-bpf-data",
        "run.oci.seccomp_bpf_data: a filter in the place of the spec's",
        "annotations",
        |stage| {
            // One instruction: return SECCOMP_RET_ALLOW.
            judged(stage.run(&["/bin/probe", "keyctl"], |spec| {
                spec["annotations"] = json!({"run.oci.seccomp_bpf_data": "BgAAAAAA/38="});
                spec["linux"]["seccomp"] = json!({
                    "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
                    "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}],
                });
            }))
        },
    )
    .with("node", "")
    .under(|runtime| !is_runc(runtime), "runc knows no such annotation"),
    known(
        "restore",
        "restore from a checkpoint, with its own filters and capabilities",
        "command line",
        |stage| {
            let output = stage.call(&[
                "restore",
                "--image-path",
                "/run/image",
                "--bundle",
                "/run/bundles/x",
                "back",
            ])?;
            Ok((output.success(), output))
        },
    )
    .refused(&["refused to restore"])
    .under(|_| false, "no checkpoint is made here"),
    known(
        "manifests",
        "hostPath to the kubelet's manifests: a static pod of one's own",
        "mounts",
        |stage| {
            stage.node("mkdir -p /etc/kubernetes/manifests; rm -f /etc/kubernetes/manifests/*")?;
            let output = stage.run(&["cp", "/etc/passwd", "/host/pod.yaml"], |spec| {
                bind(spec, "/etc/kubernetes/manifests", "/host")
            })?;
            let made = stage.node("rm /etc/kubernetes/manifests/pod.yaml")?;
            Ok((made.success(), output))
        },
    )
    .refused(&["policy baseline", "spec.mounts", "/etc/kubernetes/manifests"]),
    known("runtime-socket", "the socket of containerd", "mounts", |stage| {
        judged(stage.run(&["/bin/probe", "connect-unix", "/run/c.sock"], |spec| {
            bind(spec, "/run/containerd/containerd.sock", "/run/c.sock");
        }))
    })
    .refused(&["policy baseline", "spec.mounts", "containerd.sock"]),
    known("docker-socket", "docker.sock, by a link", "mounts", |stage| {
        stage.node("ln -sf containerd/containerd.sock /run/docker.sock")?;
        judged(stage.run(&["/bin/probe", "connect-unix", "/run/docker.sock"], |spec| {
            bind(spec, "/run/docker.sock", "/run/docker.sock");
        }))
    })
    .refused(&["policy baseline", "spec.mounts", "docker.sock"]),
    known("node-root", "the node's root directory", "mounts", |stage| {
        secret(stage, "/", "/node/run/escape/secret")
    })
    .refused(&["policy baseline", "spec.mounts"]),
    known(
        "dot-dot",
        "a path that begins in a pod's folder and leaves it by ..",
        "mounts",
        |stage| {
            stage.node(&format!("mkdir -p {VOLUMES}"))?;
            secret(stage, "/var/lib/kubelet/pods/escape/../../../../../run/escape", "/node/secret")
        },
    )
    .refused(&["policy baseline", "spec.mounts"]),
    known("volume-link", "a link to the node in a pod's volume", "mounts", |stage| {
        stage.node(&format!("mkdir -p {VOLUMES}; ln -sfn /run/escape {VOLUMES}/link"))?;
        secret(stage, &format!("{VOLUMES}/link"), "/node/secret")
    })
    .refused(&["policy baseline", "spec.mounts"]),
    known("node-cgroups", "the node's control groups, to be written to", "mounts", |stage| {
        let output = stage.run(&["sh", "-c", MAKE_GROUPS], |spec| {
            bind(spec, "/sys/fs/cgroup", "/groups");
        })?;
        Ok((output.stdout.contains("made"), output))
    })
    .refused(&["policy baseline", "spec.mounts", "/sys/fs/cgroup"]),
    known("node-pids", "the node's processes: nsenter to process 1", "hostNamespaces", |stage| {
        judged(stage.run(&["/bin/probe", "nsenter", "1"], spec::node_namespaces))
    })
    .refused(&["policy baseline", "spec.hostNamespaces", "pid"]),
    known(
        "node-pids-by-path",
        "the node's processes by /proc/1/ns/pid: process 1's root",
        "hostNamespaces",
        |stage| {
            judged(stage.run(&["/bin/probe", "read", "/proc/1/root/run/escape/secret"], |spec| {
                spec::all_capabilities(spec);
                join(spec, "pid", "/proc/1/ns/pid");
            }))
        },
    )
    .refused(&["policy baseline", "spec.hostNamespaces", "pid"]),
    known("shared-mounts", "a volume whose mounts pass to the node", "mounts", |stage| {
        stage.node(&format!("mkdir -p {VOLUMES}/shared"))?;
        let output = stage.run(&["mount", "-t", "tmpfs", "tmpfs", "/data"], |spec| {
            spec::all_capabilities(spec);
            spec["linux"]["rootfsPropagation"] = "rshared".into();
            mount(
                spec,
                json!({
                    "destination": "/data", "type": "bind", "source": format!("{VOLUMES}/shared"),
                    "options": ["rbind", "rshared", "rw"],
                }),
            );
        })?;
        let passed = stage.node(&format!("umount {VOLUMES}/shared"))?;
        Ok((passed.success(), output))
    })
    .refused(&["policy baseline", "spec.mounts"]),
];

const ALLOWED: &str = "\"outcome\":\"allowed\"";

const NNP: &str = "\"noNewPrivileges\":true";

const FAR_UP: &str = "../../../../../../../../run/escape/secret";

const MAKE_GROUPS: &str =
    "for group in /groups/*/; do mkdir $group/escaped && rmdir $group/escaped && echo made; done";

const READ_UPTIME: [&str; 3] = ["/bin/probe", "read", "/proc/uptime"];

fn is_runc(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Runc(_))
}

/// Of two keys: crun since it reads JSON by json-c.
fn reads_the_last(runtime: Runtime) -> bool {
    is_runc(runtime) || runtime == Runtime::Crun(Suite::Sid)
}

/// Before 1.2.8 and 1.3.3.
fn is_old_runc(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Runc(Suite::Bookworm | Suite::Trixie))
}

fn allowed(output: &Output) -> bool {
    output.stdout.contains(ALLOWED)
}

fn judged(output: Result<Output, Error>) -> Result<(bool, Output), Error> {
    output.map(|output| (allowed(&output), output))
}

fn mount(spec: &mut Value, mount: Value) {
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.push(mount);
    }
}

fn bind(spec: &mut Value, source: &str, destination: &str) {
    let options = json!(["rbind", "rw"]);
    mount(
        spec,
        json!({"destination": destination, "type": "bind", "source": source, "options": options}),
    );
}

/// A volume of the pod in the place of whatever the spec mounts there.
fn volume(spec: &mut Value, name: &str, destination: &str) {
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.retain(|mount| {
            !mount["destination"].as_str().is_some_and(|at| at.starts_with(destination))
        });
    }
    bind(spec, &format!("{VOLUMES}/{name}"), destination);
}

fn join(spec: &mut Value, kind: &str, path: &str) {
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        for namespace in namespaces.iter_mut().filter(|namespace| namespace["type"] == kind) {
            namespace["path"] = path.into();
        }
    }
}

/// A volume, filled by an earlier container of the pod, that comes to lie on /dev.
fn dev_volume(stage: &Stage<'_>, at: &str, image: &str) -> Result<(bool, Output), Error> {
    let fill = format!(
        "rm -rf {0} && mkdir -p {0}/pts {0}/shm {0}/mqueue && ln -s /etc/passwd {0}/null",
        format!("{VOLUMES}/dev")
    );
    stage.node(&fill)?.ok("fill the volume")?;
    // runc before 1.2 takes its own outputs for the null device that it finds here, and leads them elsewhere.
    let look = ["sh", "-c", "probe read-masked /proc/timer_list >/tmp/said"];
    let output = stage.run_image(image, &look, |spec| {
        if at == "/dev" {
            volume(spec, "dev", at);
        } else {
            bind(spec, &format!("{VOLUMES}/dev"), at);
        }
    })?;
    Ok((stage.left("tmp/said").contains(ALLOWED), output))
}

/// A volume on /dev that another container of the pod writes to: while runc mounts the terminal on /dev/console, and then
/// opens it, its name leads to a masked file and to a terminal in turns.
fn console(stage: &Stage<'_>) -> Result<(bool, Output), Error> {
    const LOOK: [&str; 3] =
        ["sh", "-c", "grep -q ' /uptime /dev/console ' /proc/self/mountinfo && echo through"];
    let folder = format!("{VOLUMES}/console");
    let fill = format!(
        "rm -rf {folder} && mkdir -p {folder}/pts {folder}/real {folder}/shm {folder}/mqueue && cd {folder} && \
         mknod -m 666 null c 1 3 && ln -s real/ptmx ptmx && ln -s ../real/0 pts/0"
    );
    stage.node(&fill)?.ok("fill the volume")?;
    // Of those that have the fault one in twenty or so gets through.
    let tries = if is_old_runc(stage.ground.node.config().runtime) { 300 } else { 5 };
    let pts = stage.ground.node.world().path(format!("{folder}/pts"));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for target in ["/proc/uptime", "../real/0"] {
                    let _ = std::os::unix::fs::symlink(target, pts.join("next"));
                    let _ = std::fs::rename(pts.join("next"), pts.join("0"));
                }
            }
        });
        let tried = || {
            let mut last = None;
            for _ in 0..tries {
                let output = stage.run_at_terminal(&LOOK, |spec| {
                    volume(spec, "console", "/dev");
                    let devpts = json!(["newinstance", "ptmxmode=0666", "mode=0620"]);
                    mount(
                        spec,
                        json!({"destination": "/dev/real", "type": "devpts", "source": "devpts",
                        "options": devpts}),
                    );
                    spec["linux"]["maskedPaths"] = json!(["/proc/uptime"]);
                })?;
                let through = output.stdout.contains("through");
                if through || output.stdout.contains("coaming refused") {
                    return Ok((through, output));
                }
                last = Some(output);
            }
            last.map(|output| (false, output))
                .ok_or_else(|| Error::Unavailable("no try".to_owned()))
        };
        let tried = tried();
        over.store(true, Ordering::Relaxed);
        tried
    })
}

fn secret(stage: &Stage<'_>, source: &str, file: &str) -> Result<(bool, Output), Error> {
    judged(stage.run(&["/bin/probe", "read", file], |spec| bind(spec, source, "/node")))
}

fn new_privileges(stage: &Stage<'_>, edit: fn(String) -> String) -> Result<(bool, Output), Error> {
    judged(stage.run_text(&["/bin/probe", "status-has", "/noNewPrivs", "0"], edit))
}

fn greedy(command: &[&str]) -> Value {
    let all: Vec<String> =
        spec::own_capabilities().into_iter().map(|name| format!("CAP_{name}")).collect();
    json!({
        "args": command, "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
        "capabilities": {"bounding": all, "effective": all, "permitted": all},
        "noNewPrivileges": false,
    })
}
