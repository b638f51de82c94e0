//! What policy costs a start, in CPU time: with one policy and with thousands, from the directory and from its
//! snapshot. Part of `make bench`.

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use coaming_config::Policy;
use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, decide_with};
use coaming_policy::demands::Demands;
use coaming_policy::document::{BuiltIn, Moment};
use coaming_policy::facts::Facts;
use coaming_policy::memory::{Forgetful, Memory};
use coaming_shim::in_force::{Access, Keeper};
use coaming_shim::memory::Remembered;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::{Value, json};

const STARTS: u32 = 200;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout();
    writeln!(out, "CPU time of policy in one start, in microseconds (mean of {STARTS})\n")?;
    writeln!(
        out,
        "  {:<34} {:>10} {:>10} {:>10} {:>12}",
        "", "look", "+ demands", "+ verdict", "(first time)"
    )?;
    for (name, count, spread) in [
        ("1 policy", 1, Spread::Namespaces),
        ("1,000, each for a namespace", 1000, Spread::Namespaces),
        ("1,000, each for a prefix of one", 1000, Spread::Prefixes),
        ("1,000, each for an image", 1000, Spread::Images),
        ("1,000 in one file", 1000, Spread::Files),
        ("10,000 in ten files", 10_000, Spread::Files),
    ] {
        measure(name, count, spread)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Spread {
    Namespaces,
    Prefixes,
    Images,
    /// Each for a namespace, and a thousand to a file.
    Files,
}

fn measure(name: &str, count: usize, spread: Spread) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let directory = folder.path().join("policy.d");
    fs::create_dir(&directory)?;
    write(&directory, count, spread)?;
    let path = |name: &str| folder.path().join(name);
    let keeper = Keeper::at(directory.clone(), Policy::default(), path("kept"), path("lock"));
    let before = cpu()?;
    keeper.load(false)?;
    let first = cpu()? - before;
    // Until a change would have another time.
    std::thread::sleep(Duration::from_secs(4));
    keeper.in_force(Access::Keep)?;

    let spec = spec();
    let facts = Facts::of("c", &spec);
    let node = Node {
        landlock_abi: 7,
        lsms: vec!["landlock".to_owned()],
        kernel: (6, 12),
        ..Node::default()
    };
    let memory = Remembered::in_folder(&path("filters"));
    let mut costs = [0; 4];
    for (stage, cost) in costs.iter_mut().enumerate() {
        let before = cpu()?;
        for _ in 0..STARTS {
            let in_force = keeper.in_force(Access::Keep)?;
            if stage == 0 {
                continue;
            }
            let chosen = in_force.select(&facts, BuiltIn::Baseline)?;
            let beneath = ("baseline", chosen.beneath);
            let demands = Demands::of(&facts, chosen.selection, beneath, Moment(0));
            if demands.floor.read_only_root_filesystem.is_empty() {
                return Err("the policy does not select the container".into());
            }
            if stage >= 2 {
                let request = Request {
                    door: Door::Create,
                    spec: &spec,
                    facts: &facts,
                    node: &node,
                    exec: None,
                };
                let memory: &dyn Memory = if stage == 2 { &memory } else { &Forgetful };
                std::hint::black_box(decide_with(&request, &demands.floor, memory));
            }
        }
        *cost = (cpu()? - before) / i64::from(STARTS);
    }
    let [look, demands, verdict, anew] = costs;
    writeln!(
        std::io::stdout(),
        "  {name:<34} {look:>10} {demands:>10} {verdict:>10} {anew:>12}   (read and kept once: {first})"
    )?;
    Ok(())
}

fn write(directory: &Path, count: usize, spread: Spread) -> std::io::Result<()> {
    let mut file = String::new();
    for number in 0..count {
        let selector = match spread {
            Spread::Namespaces | Spread::Files => format!("namespaces: [team-{number}]"),
            Spread::Prefixes => format!("namespaces: ['team-{number}*']"),
            Spread::Images => format!("images: ['registry/team-{number}/*']"),
        };
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: policy-{number}}}\nspec:\n  \
             match: {{{selector}}}\n  readOnlyRootFilesystem: true\n  noNewPrivileges: true\n  \
             capabilities: {{allow: [NET_BIND_SERVICE, KILL]}}\n  seccomp: {{denySyscalls: [keyctl, bpf]}}\n  \
             landlock: {{read: [/usr, /etc, /proc], write: [/tmp, /dev], execute: [/usr/bin]}}\n"
        );
        if spread == Spread::Files {
            file.push_str(&format!("---\n{text}"));
            if number % 1000 == 999 {
                fs::write(directory.join(format!("{number:05}.yaml")), std::mem::take(&mut file))?;
            }
        } else {
            fs::write(directory.join(format!("{number:04}.yaml")), text)?;
        }
    }
    Ok(())
}

/// A container as containerd asks for one, in the namespace of the first policy.
fn spec() -> Value {
    json!({
        "ociVersion": "1.1.0",
        "annotations": {
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "team-0",
            "io.kubernetes.cri.sandbox-name": "web-0",
            "io.kubernetes.cri.container-name": "web",
            "io.kubernetes.cri.image-name": "registry/team-0/web:1",
        },
        "root": {"path": "rootfs"},
        "process": {
            "args": ["web"], "cwd": "/", "user": {"uid": 1000, "gid": 1000},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": [], "permitted": []},
        },
        "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network"}]},
    })
}

/// User and system time of this process, in microseconds.
fn cpu() -> nix::Result<i64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok(usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
}
