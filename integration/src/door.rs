use crate::Runtime;

/// Where coaming's shim is installed in a world: containerd finds it by its type in its PATH.
pub const SHIM: &str = "/usr/bin/containerd-shim-coaming-v1";

/// The type of coaming's shim.
pub const SHIM_TYPE: &str = "io.containerd.coaming.v1";

/// A way from containerd to coaming's gate; each has a CRI handler on every node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// The stock shim, with coaming's wrapper as its OCI runtime.
    Wrapper,
    /// coaming's shim in the place of the stock one: the stock type with `runtime_path`.
    ShimPath,
    /// coaming's shim by its own type, `io.containerd.coaming.v1`.
    ShimType,
}

impl Door {
    /// All of them.
    pub const ALL: [Door; 3] = [Door::Wrapper, Door::ShimPath, Door::ShimType];

    /// Those that a test on the pair of this number in [`crate::PAIRS`] goes through: the stock shim's, and one of the two
    /// to coaming's own, in turns. All, where `COAMING_DOORS=all`.
    pub fn of_pair(number: usize) -> Vec<Door> {
        if std::env::var_os("COAMING_DOORS").is_some_and(|value| value == "all") {
            return Door::ALL.to_vec();
        }
        // Pairs come by two for each containerd: each has both, one with runc and one with crun.
        let turn = (number + number / 2).is_multiple_of(2);
        vec![Door::Wrapper, if turn { Door::ShimPath } else { Door::ShimType }]
    }

    /// The name of its CRI handler.
    pub fn handler(self) -> &'static str {
        match self {
            Door::Wrapper => "coaming",
            Door::ShimPath => "coaming-shim",
            Door::ShimType => "coaming-type",
        }
    }

    /// Whether it leads through coaming's own shim.
    pub fn is_shim(self) -> bool {
        self != Door::Wrapper
    }

    /// How `ctr run` is told to take none: the stock shim with the real runtime.
    pub fn none(runtime: Runtime) -> Vec<String> {
        stock_flags(&runtime.path().display().to_string())
    }

    /// How `ctr run` is told to take it. By the shim's own type ctr passes no options, so that the shim's configuration
    /// has to name the runtime.
    pub fn ctr_flags(self, runtime: Runtime) -> Vec<String> {
        match self {
            Door::Wrapper => stock_flags(&runtime.wrapper_path().display().to_string()),
            Door::ShimPath => vec!["--runtime".to_owned(), SHIM.to_owned()],
            Door::ShimType => vec!["--runtime".to_owned(), SHIM_TYPE.to_owned()],
        }
    }
}

/// The stock shim with this OCI runtime, in ctr's words.
pub(crate) fn stock_flags(binary: &str) -> Vec<String> {
    ["--runtime", "io.containerd.runc.v2", "--runc-binary", binary].map(str::to_owned).to_vec()
}

/// coaming's configuration for a node that has one runtime behind it, which also coaming's shim calls when it is told
/// of none.
pub fn configuration(runtime: Runtime, floor: &str) -> String {
    let (name, path) = (runtime.wrapper_name(), runtime.path());
    format!(
        "floor = {floor:?}\n[runtimes.{name}]\npath = {path:?}\n[shim]\ndefault_runtime = {name:?}\n"
    )
}
