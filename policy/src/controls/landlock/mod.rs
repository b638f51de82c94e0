//! `landlock`: what files a process reaches and which TCP ports it uses, by the kernel's Landlock
//! (landlock(7)), applied by the launcher in the last instant before the workload's execve.
//!
//! The kernel enforces every layer of a stack, so the meet of two policies is both their layers, in as few as
//! say the same (see [`mod@reduce`]); up to 16 are possible (`LANDLOCK_MAX_NUM_LAYERS`).
//!
//! A domain with file rights cannot mount. `mount_setattr` is the exception that Landlock does not
//! cover, and the rules over TCP can be gone around by MPTCP and TCP Fast Open: whoever composes a
//! floor adds the seccomp rules that close both (see [`crate::floor`]).

mod layer;
#[cfg(test)]
mod model;
pub(crate) mod names;
mod profile;
mod reduce;

pub use layer::Layer;
pub use names::{AbsolutePath, FsRight, ScopeName};
pub use profile::parse_profile;

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope, Support};
use crate::proc::Seen;
use names::{EXECUTE, READ, WRITE};
use reduce::reduce;

/// What a policy writes. A list that is left out restricts nothing; a list that is given, even an
/// empty one, denies everything that it does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LandlockDocument {
    /// A file of rules that several policies share: a path below the policy's directory, in a folder of it
    /// (`landlock/nginx.yaml`). It has the fields of `landlock`, this one apart. What stands here besides
    /// is met with it, as two policies are: what is allowed is what both allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Paths below which files may be read and directories listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<BTreeSet<AbsolutePath>>,
    /// Paths below which files may be written, truncated, created, linked, renamed and removed, and
    /// device nodes be given ioctl commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<BTreeSet<AbsolutePath>>,
    /// Paths below which files may be executed. A dynamic program needs its loader's folder too
    /// (`/lib64` or `/lib`): the kernel executes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execute: Option<BTreeSet<AbsolutePath>>,
    /// TCP ports that may be connected to. UDP is not covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<BTreeSet<u16>>,
    /// TCP ports that may be bound. `listen` without a bind takes a free port and is not covered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bind: Option<BTreeSet<u16>>,
    /// What may not cross from the container's domain to outside it. Note that every exec is a
    /// domain of its own: with `signal`, an exec'd process cannot signal the first one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<ScopeName>,
    /// Single rights by the kernel's names, for what the lists above are too coarse for: each named
    /// right is restricted to the paths that list it (here and above).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rights: Vec<PathRights>,
}

/// Single rights of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRights {
    /// The path below which the rights are allowed.
    pub path: AbsolutePath,
    /// The rights, as the kernel names them: `EXECUTE`, `WRITE_FILE`, `READ_FILE`, `READ_DIR`,
    /// `REMOVE_DIR`, `REMOVE_FILE`, `MAKE_CHAR`, `MAKE_DIR`, `MAKE_REG`, `MAKE_SOCK`, `MAKE_FIFO`,
    /// `MAKE_BLOCK`, `MAKE_SYM`, `REFER`, `TRUNCATE`, `IOCTL_DEV`.
    #[schemars(with = "Vec<String>")]
    pub access: BTreeSet<FsRight>,
}

/// The rule: what every policy that has one demands, in the fewest layers. The kernel enforces each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Landlock {
    layers: BTreeSet<Layer>,
}

impl Landlock {
    /// The rule of these layers together.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a Layer>) -> Landlock {
        Landlock { layers: reduce(layers) }
    }
}

impl<'de> Deserialize<'de> for Landlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::<Layer>::deserialize(deserializer).map(|layers| Landlock::of(&layers))
    }
}

/// The kernel's limit on stacked layers, and so ours.
pub const MAX_LAYERS: usize = 16;

const BIND_TCP: u64 = 1;
const CONNECT_TCP: u64 = 1 << 1;

impl Landlock {
    /// What is written in a document itself, whatever profile it names.
    fn written(document: &LandlockDocument) -> Landlock {
        let mut layer = Layer::default();
        let lists =
            [(&document.read, READ), (&document.write, WRITE), (&document.execute, EXECUTE)];
        for (paths, rights) in lists {
            let Some(paths) = paths else { continue };
            layer.handled_fs |= rights;
            for path in paths {
                *layer.paths.entry(path.0.clone()).or_default() |= rights;
            }
        }
        for entry in &document.rights {
            let rights = entry.access.iter().fold(0, |bits, right| bits | right.bit());
            layer.handled_fs |= rights;
            *layer.paths.entry(entry.path.0.clone()).or_default() |= rights;
        }
        for (ports, right) in [(&document.connect, CONNECT_TCP), (&document.bind, BIND_TCP)] {
            let Some(ports) = ports else { continue };
            layer.handled_net |= right;
            for port in ports {
                *layer.ports.entry(*port).or_default() |= right;
            }
        }
        layer.scoped = document.scopes.iter().fold(0, |bits, scope| bits | scope.bit());
        Landlock::of([&layer])
    }
}

impl Rule for Landlock {
    const CONTROL: &'static str = "landlock";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        Landlock::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Landlock::of(self.layers.iter().chain(&other.layers))
    }

    fn contradiction(&self) -> Option<String> {
        (self.layers.len() > MAX_LAYERS).then(|| {
            format!(
                "they need {} Landlock layers, and the kernel stacks {MAX_LAYERS}",
                self.layers.len()
            )
        })
    }

    fn support(&self, node: &super::Node) -> Support<Self> {
        let mut lost = BTreeSet::new();
        let mut layers = Vec::new();
        for layer in &self.layers {
            let (layer, missing) = layer.under(node.landlock_abi);
            lost.extend(missing);
            layers.push(layer);
        }
        if lost.is_empty() {
            return Support::Full;
        }
        let lost: Vec<&str> = lost.into_iter().collect();
        let kernel = match node.landlock_abi {
            0 => {
                let active = node.lsms.join(", ");
                format!("Landlock is not active in the node's kernel (active: {active})")
            }
            abi => format!("this kernel's Landlock has ABI {abi}"),
        };
        let rule = Landlock::of(&layers);
        Support::Partial { rule, lost: format!("{} cannot be enforced: {kernel}", lost.join(", ")) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        // Nothing in the spec asks for less or more Landlock: the layers go into the launch plan.
        // What can be wrong is the number of layers, and a process that the launcher cannot start.
        let refuse = |field: &str, asked: Value, allowed: &str| Finding {
            field: field.to_owned(),
            asked,
            allowed: allowed.to_owned(),
            remedy: None,
        };
        if self.layers.len() > MAX_LAYERS {
            return vec![refuse(
                "process",
                json!(format!("{} Landlock layers", self.layers.len())),
                "at most 16 layers, which is as many as the kernel stacks; policies whose lists of paths \
                 are equal, or one of which restricts moving files (REFER), combine in fewer",
            )];
        }
        let process = asked.spec.get("process");
        if !self.layers.is_empty() && process.is_some_and(|p| first_argument(p).is_none()) {
            return vec![refuse("process.args", Value::Null, "a command that can be launched")];
        }
        Vec::new()
    }

    fn layers(&self) -> BTreeSet<Layer> {
        self.layers.clone()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // The kernel tells no one of a process's Landlock domain; the launcher exits with 125 where
        // a layer is not fully enforced, so that the workload's running is its own word for it.
        Vec::new()
    }
}

/// The program of an OCI process, if it has one.
fn first_argument(process: &Value) -> Option<&str> {
    process.get("args")?.as_array()?.first()?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::Node;
    use crate::controls::laws::{Generated, is_within};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn rule(document: Value) -> Landlock {
        Landlock::written(&serde_json::from_value(document).unwrap())
    }

    #[test]
    fn lists_become_a_layer_with_the_kernels_bits() {
        let rule = rule(json!({"read": ["/usr"], "execute": ["/usr/bin"], "write": [],
            "connect": [443], "rights": [{"path": "/dev", "access": ["IOCTL_DEV"]}]}));
        let layer = rule.layers.first().unwrap();
        assert_eq!(layer.handled_fs, (1 << 16) - 1);
        assert_eq!(layer.paths["/usr"], 0b1100);
        assert_eq!(layer.paths["/usr/bin"], 1);
        assert_eq!(layer.paths["/dev"], 1 << 15);
        assert_eq!((layer.handled_net, layer.ports[&443]), (2, 2));
    }

    #[test]
    fn a_list_left_out_restricts_nothing_and_an_empty_one_everything() {
        assert!(rule(json!({})).layers.is_empty());
        assert_eq!(rule(json!({"write": []})).layers.first().unwrap().handled_fs, WRITE);
    }

    #[test]
    fn an_older_kernel_gives_less_and_says_what() {
        let rule = rule(json!({"write": ["/tmp"], "bind": [80], "scopes": ["signal"]}));
        let under = |abi| rule.support(&Node { landlock_abi: abi, ..Node::default() });
        assert_eq!(under(7), Support::Full);
        let Support::Partial { rule: left, lost } = under(2) else { panic!("ABI 2 gives all") };
        assert_eq!(left.layers.first().unwrap().handled_fs, WRITE & !(1 << 14 | 1 << 15));
        assert_eq!(left.layers.first().unwrap().handled_net, 0);
        // The kernel takes no rule over rights that its ruleset does not handle.
        let layer = left.layers.first().unwrap();
        assert!(layer.ports.is_empty() && layer.paths["/tmp"] == layer.handled_fs);
        for missing in ["TRUNCATE", "IOCTL_DEV", "TCP ports", "scopes", "ABI 2"] {
            assert!(lost.contains(missing), "{lost}");
        }
        let Support::Partial { rule: left, .. } = under(0) else { panic!("ABI 0 gives all") };
        assert_eq!(left, Landlock::top());
    }

    #[test]
    fn paths_and_rights_are_checked() {
        for path in ["usr", "/a/../b", "/a//b", "/a/", ""] {
            let document = json!({"read": [path]});
            assert!(serde_json::from_value::<LandlockDocument>(document).is_err(), "{path}");
        }
        let document = json!({"rights": [{"path": "/", "access": ["READ_FIL"]}]});
        let error = serde_json::from_value::<LandlockDocument>(document).unwrap_err();
        assert!(error.to_string().contains("did you mean \"READ_FILE\""), "{error}");
    }

    #[test]
    fn a_process_without_a_command_and_a_seventeenth_layer_are_refused() {
        let one = rule(json!({"read": []}));
        assert!(!is_within(&one, &json!({"process": {"args": []}})));
        let many = (0..17)
            .fold(Landlock::top(), |all, n| all.meet(&rule(json!({"read": [format!("/{n}")]}))));
        assert!(!is_within(&many, &json!({"process": {"args": ["a"]}})));
        assert!(many.contradiction().is_some_and(|why| why.contains("17 Landlock layers")));
    }

    impl Generated for Landlock {
        const TIGHTENS: bool = false;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let list = || {
                let paths = ["/usr", "/usr/bin", "/tmp", "/dev"];
                proptest::option::of(subsequence(paths.to_vec(), 0..3))
            };
            let ports = || proptest::option::of(subsequence(vec![80, 443], 0..2));
            let scopes = subsequence(vec!["signal", "abstractUnixSocket"], 0..2);
            let rules = (list(), list(), list(), ports(), ports(), scopes).prop_map(
                |(r, w, x, connect, bind, scopes)| {
                    rule(json!({"read": r, "write": w, "execute": x, "connect": connect,
                        "bind": bind, "scopes": scopes}))
                },
            );
            let args = select(vec![json!(["a"]), json!(["a"]), json!([])]);
            (rules.boxed(), args.prop_map(|args| json!({"process": {"args": args}})).boxed())
        }
    }
}
