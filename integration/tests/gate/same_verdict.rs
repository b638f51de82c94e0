//! The command line tool and the node give one verdict: `coaming explain` of a bundle, then the wrapper's create of it.
//!
//! Two hundred bundles with random requests, under policies with modes and a waiver. The runtime behind the
//! wrapper is a script that keeps what it was given.

use std::collections::BTreeMap;
use std::fmt::Write;

use coaming_integration::{Bundle, Error, World, can_run, default_spec};
use coaming_policy::verdict::{Reason, Refusal};
use serde_json::{Value, json};

use crate::setup::policy;

const BUNDLES: usize = 200;
const FAKE: &str = "/usr/libexec/fake/runc";
const HOOK: &str = "/usr/libexec/coaming/coaming-hook";
const LAUNCHER: &str = "/dev/.coaming";

/// Keeps the words and the config.json of a create.
const KEEPER: &str = r#"#!/bin/sh
case $1 in --version) echo "runc version 99.0.0"; exit;; features) exit 1;; esac
for word; do case $word in --bundle=*) bundle=${word#--bundle=};; esac; done
printf '%s\n' "$@" >"$bundle/words"
cp "$bundle/config.json" "$bundle/given.json"
"#;

/// For each bundle: what the tool says of it, then what the wrapper does with it, and what it keeps.
const BOTH: &str = r#"
for bundle; do
  coaming=/usr/libexec/coaming/coaming
  $coaming explain --bundle $bundle --output json >$bundle/told.json 2>$bundle/told.err
  $coaming explain --bundle $bundle --output json --policy /etc/coaming/policy.d --floor node \
    >$bundle/other.json 2>/dev/null
  /usr/libexec/coaming/coaming-runc create --bundle $bundle ${bundle##*/} 2>$bundle/refusal
  echo $? >$bundle/code
  cat /run/coaming/containers/*/record.json >$bundle/record.json 2>/dev/null
  rm -rf /run/coaming/containers /run/coaming/launch
done"#;

fn policies(world: &World) -> Result<(), Error> {
    for (name, spec) in [
        ("all", "rlimits: {RLIMIT_NOFILE: 2048}\nannotations: {deny: [\"example.com/*\"]}"),
        (
            "payments",
            "match: {namespaces: [payments]}\nactions: {default: refuse, capabilities: tighten}\n\
             user: {runAsNonRoot: true}\nnoNewPrivileges: true\ncapabilities: {allow: [KILL]}",
        ),
        (
            "shop",
            "match: {namespaces: [shop]}\nreadOnlyRootFilesystem: true\n\
             landlock: {read: [/], execute: [/bin], write: [/tmp], connect: [443]}\nbestEffort: [landlock]",
        ),
        (
            "tried",
            "mode: audit\nuser: {runAsNonRoot: true}\ncapabilities: {allow: []}\n\
             seccomp: {denySyscalls: [chroot, uname, ptrace], log: true}",
        ),
        ("staged", "rollout: {percentage: 50}\nmaskedPaths: [/proc/version, /proc/kcore]"),
        (
            "half",
            "match: {namespaces: [batch]}\naudit: [seccomp]\n\
             seccomp: {denySocketFamilies: [AF_NETLINK], log: true}\nhooks: {allow: []}",
        ),
        (
            "labelled",
            "match: {namespaces: [batch]}\nappArmor: {default: cri-containerd.apparmor.d}\nbestEffort: [appArmor]",
        ),
    ] {
        policy(world, name, spec)?;
    }
    let waiver = "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {name: ledger}\nspec:\n  \
         match: {namespaces: [payments], containers: [ledger]}\n  waives: [user, noNewPrivileges]\n  \
         owner: team\n  reason: as it is\n  starts: 2020-01-01T00:00:00Z\n  duration: 36500days\n";
    world.write("/etc/coaming/policy.d/waiver.yaml", waiver, 0o644)
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn seldom(&mut self) -> bool {
        self.below(14) == 0
    }
}

/// A request that is within the built-in floor, and wishes for more now and then.
fn request(id: &str, random: &mut Random) -> Result<Value, Error> {
    let mut spec = default_spec(id, ["sh", "-c", "true"])?;
    spec["root"]["path"] = json!("/run/bundles/all/rootfs");
    spec["process"]["env"] = json!(["PATH=/bin"]);
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(["CAP_CHOWN", "CAP_KILL"]);
    }
    spec["process"]["user"] = json!({"uid": random.one(&[0, 1000]), "gid": 0});
    let allowed = ["read", "write", "execve", "exit_group", "openat", "ptrace", "uname"];
    spec["linux"]["seccomp"] = match random.below(4) {
        0 => json!(null),
        1 => json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO"}]}),
        _ => json!({"defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]}),
    };
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/version",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    spec["linux"]["maskedPaths"] = json!(masked);
    let namespace = *random.one(&["payments", "payments", "shop", "batch", "default", "none"]);
    if namespace != "none" {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": random.one(&["container", "container", "sandbox"]),
            "io.kubernetes.cri.sandbox-namespace": namespace,
            "io.kubernetes.cri.sandbox-uid": format!("uid-{}", random.below(40)),
            "io.kubernetes.cri.container-name": random.one(&["ledger", "web"]),
        });
    }
    for wish in WISHES {
        if random.seldom() {
            wish(&mut spec, random);
        }
    }
    Ok(spec)
}

fn push(spec: &mut Value, list: &str, item: Value) {
    let list = spec.pointer_mut(list).unwrap();
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

const WISHES: &[fn(&mut Value, &mut Random)] = &[
    // As CRI's privileged makes it.
    |spec, _| {
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] =
                json!(["CAP_SYS_ADMIN", "CAP_NET_RAW", "CAP_CHOWN"]);
        }
        spec["linux"]["maskedPaths"] = json!([]);
        spec["linux"]["readonlyPaths"] = json!(null);
        spec["linux"]["seccomp"] = json!(null);
        spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    },
    |spec, random| {
        let more = random.one(&["CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_UNHEARD_OF", "cap_chown"]);
        push(spec, "/process/capabilities/bounding", json!(more));
    },
    |spec, _| spec["process"]["capabilities"] = json!(null),
    |spec, _| {
        spec["process"]["capabilities"]["ambient"] = json!(["CAP_NET_BIND_SERVICE"]);
    },
    |spec, random| {
        let path = *random.one(&["/proc/1/ns/net", "/proc/self/ns/net", "/run/netns/none"]);
        for namespace in spec["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(path);
            }
        }
    },
    |spec, random| {
        let gone = *random.one(&["pid", "ipc", "network"]);
        spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != gone);
    },
    |spec, random| {
        let host = random.one(&[0, 100_000]);
        push(spec, "/linux/namespaces", json!({"type": "user"}));
        for mappings in ["uidMappings", "gidMappings"] {
            spec["linux"][mappings] = json!([{"containerID": 0, "hostID": host, "size": 65536}]);
        }
    },
    |spec, random| {
        let source =
            *random.one(&["/etc", "/run/containerd/containerd.sock", "/var/lib/kubelet/pods/x"]);
        let option = *random.one(&["rprivate", "rslave", "rshared"]);
        push(
            spec,
            "/mounts",
            json!({"destination": "/data", "type": "bind", "source": source,
            "options": ["rbind", option]}),
        );
    },
    |spec, _| push(spec, "/mounts", json!({"destination": "/dev/.coaming/x", "type": "tmpfs"})),
    |spec, random| {
        let key =
            *random.one(&["run.oci.handler", "org.systemd.property.X", "example.com/a", "other"]);
        spec["annotations"][key] = json!("x");
    },
    |spec, random| {
        let key =
            *random.one(&["kernel.core_pattern", "net.ipv4.ip_forward", "net.ipv4.tcp_syncookies"]);
        spec["linux"]["sysctl"] = json!({key: "1"});
    },
    |spec, random| {
        spec["linux"]["seccomp"] = random.one(&[
            json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x.sock"}),
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]}),
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["socket"],
                "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_NE"}]}]}),
            json!({"defaultAction": "SCMP_ACT_NONE"}),
        ]).clone();
    },
    |spec, _| spec["process"]["noNewPrivileges"] = json!(false),
    |spec, _| spec["process"]["user"] = json!({"uid": 5, "gid": 0, "additionalGids": [0, 7]}),
    |spec, random| {
        let path = *random.one(&["/tmp/hook", "/bin/true"]);
        spec["hooks"] = json!({"prestart": [{"path": path}], "poststop": [{"path": "/bin/true"}]});
    },
    |spec, random| {
        let hard = random.one(&[1024, 4096]);
        spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "hard": hard, "soft": 10}]);
    },
    |spec, _| spec["process"]["apparmorProfile"] = json!("unconfined"),
    |spec, _| spec["linux"]["intelRdt"] = json!({"closID": "x"}),
    |spec, _| spec["unheardOf"] = json!({"of": 1}),
    |spec, _| spec["root"]["readonly"] = json!(true),
    |spec, _| push(spec, "/linux/maskedPaths", json!("/proc/stat")),
];

/// The spec that the runtime was given, without what is the gate's own.
fn given(mut spec: Value) -> Value {
    if let Some(hooks) = spec["hooks"].as_object_mut() {
        for list in hooks.values_mut() {
            list.as_array_mut().unwrap().retain(|hook| hook["path"] != HOOK);
        }
    }
    let own = |mount: &Value| {
        let at = mount["destination"].as_str().unwrap_or_default();
        at == LAUNCHER || at == "/dev/.coaming/init"
    };
    spec["mounts"].as_array_mut().unwrap().retain(|mount| !own(mount));
    let args = spec["process"]["args"].as_array_mut().unwrap();
    if args[0] == "/dev/.coaming/init" {
        args.drain(..2);
    }
    without_empty_hooks(spec)
}

fn without_empty_hooks(mut spec: Value) -> Value {
    if let Some(hooks) = spec["hooks"].as_object_mut() {
        hooks.retain(|_, list| list.as_array().is_none_or(|list| !list.is_empty()));
        if hooks.is_empty() {
            spec.as_object_mut().unwrap().remove("hooks");
        }
    } else {
        spec.as_object_mut().unwrap().remove("hooks");
    }
    spec
}

/// What the node did with a bundle.
struct Done {
    code: String,
    refusal: String,
    record: Value,
    given: Value,
}

fn parsed(world: &World, file: &str) -> Value {
    world.read(file).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn done(world: &World, bundle: &str) -> Result<Done, Error> {
    Ok(Done {
        code: world.read(format!("{bundle}/code"))?.trim().to_owned(),
        refusal: world.read(format!("{bundle}/refusal"))?,
        record: parsed(world, &format!("{bundle}/record.json")),
        given: parsed(world, &format!("{bundle}/given.json")),
    })
}

/// Where what the tool told differs from what the node did.
fn differences(id: &str, told: &Value, done: &Done) -> Vec<String> {
    let mut found = Vec::new();
    let mut same = |what: &str, told: &Value, done: &Value| {
        if told != done {
            found.push(format!("{what}: told {told:#}, done {done:#}"));
        }
    };
    if told.is_null() {
        // What is no spec at all is no verdict either, for both.
        same("an error", &json!("1"), &json!(done.code));
        same("a spec", &json!(null), &done.given);
        return found;
    }
    if told["verdict"] == "refused" {
        let reasons: Vec<Reason> = serde_json::from_value(told["reasons"].clone()).unwrap();
        let text = format!("refused to create container {id}: {}", Refusal { reasons });
        same("the code", &json!("1"), &json!(done.code));
        if !done.refusal.contains(&text) {
            same("the reasons", &json!(text), &json!(done.refusal));
        }
        same("a record", &json!(null), &done.record);
        same("a spec", &json!(null), &done.given);
        return found;
    }
    same("the code", &json!("0"), &json!(done.code));
    for field in ["changes", "degraded", "waived", "audit", "facts", "floor"] {
        same(field, &told[field], &done.record[field]);
    }
    let sorted = |notes: &Value| {
        let mut notes: Vec<String> = serde_json::from_value(notes.clone()).unwrap_or_default();
        notes.sort();
        json!(notes)
    };
    same("notes", &sorted(&told["notes"]), &sorted(&done.record["notes"]));
    same("the launcher's plan", &told["plan"], &done.record["plan"]);
    if !done.given.is_null() {
        let enforced = without_empty_hooks(told["enforced"].clone());
        same("the spec", &enforced, &given(done.given.clone()));
    } else {
        same("the spec", &told["enforced"], &done.given);
    }
    found
}

#[test]
fn the_tool_and_the_node_give_one_verdict() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let seed = std::env::var("COAMING_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    eprintln!("COAMING_SEED={seed} runs these bundles again");
    let mut random = Random(seed);
    let world = World::new()?;
    world.install_coaming()?;
    world.write(FAKE, KEEPER, 0o755)?;
    let configuration = format!("floor = \"baseline\"\n[runtimes.coaming-runc]\npath = {FAKE:?}\n");
    world.write("/etc/coaming/config.toml", configuration, 0o644)?;
    policies(&world)?;
    // One root file system for all.
    Bundle::new(&world, "all", &json!({}))?;

    let mut asked = BTreeMap::new();
    for number in 0..BUNDLES {
        let id = format!("b{number}");
        let spec = request(&id, &mut random)?;
        world.write(format!("/run/bundles/{id}/config.json"), spec.to_string(), 0o644)?;
        asked.insert(id, spec);
    }
    let bundles: Vec<String> = asked.keys().map(|id| format!("/run/bundles/{id}")).collect();
    for some in bundles.chunks(25) {
        let line = ["sh", "-c", BOTH, "sh"].into_iter().map(str::to_owned);
        world.run(line.chain(some.iter().cloned()))?.ok("explain and create")?;
    }

    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut wrong, mut noticed) = (String::new(), 0);
    for (id, spec) in &asked {
        let bundle = format!("/run/bundles/{id}");
        let done = done(&world, &bundle)?;
        let told = parsed(&world, &format!("{bundle}/told.json"));
        for difference in differences(id, &told, &done) {
            let _ = writeln!(wrong, "{id}: {difference}\nof {spec}");
        }
        // A tool that knew another floor would be found out.
        let other = parsed(&world, &format!("{bundle}/other.json"));
        noticed += usize::from(!differences(id, &other, &done).is_empty());
        let has = |pointer: &str| match told.pointer(pointer) {
            Some(Value::Array(items)) => !items.is_empty(),
            Some(value) => !value.is_null() && *value != json!(false),
            None => false,
        };
        let admitted = told["verdict"] == "admitted";
        for (kind, reached) in [
            ("no spec", told.is_null()),
            ("refused", told["verdict"] == "refused"),
            ("changed", admitted && has("/changes")),
            ("as asked", admitted && !has("/changes")),
            ("behind the launcher", has("/launcher")),
            ("degraded", has("/degraded")),
            ("waived", has("/waived")),
            ("audited changes", has("/audit/changes")),
            ("audited refusals", has("/audit/refusals")),
            ("logged by the kernel", has("/audit/kernelLog")),
        ] {
            *kinds.entry(kind).or_default() += usize::from(reached);
        }
    }
    eprintln!("of {BUNDLES} bundles {kinds:?}; with another floor {noticed} differ");
    assert!(wrong.is_empty(), "COAMING_SEED={seed}\n{wrong}");
    assert!(noticed > BUNDLES / 2, "another floor is hardly noticed: {noticed}");
    for (kind, count) in kinds {
        // A fixed kernel may have all that policies ask for.
        let least = match kind {
            "degraded" | "no spec" => 0,
            _ => 5,
        };
        assert!(count >= least, "COAMING_SEED={seed}: only {count} bundles are {kind}");
    }
    Ok(())
}
