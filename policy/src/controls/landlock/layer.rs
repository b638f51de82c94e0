//! One ruleset of the kernel, and what a kernel of a given ABI makes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::names::FS_RIGHTS;

/// The ABI that brought the rights over TCP ports (landlock(7), "VERSIONS").
const NET_ABI: u32 = 4;
/// The ABI that brought scopes.
const SCOPE_ABI: u32 = 6;

/// One ruleset of the kernel, with the kernel's bits (include/uapi/linux/landlock.h).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Layer {
    /// `LANDLOCK_ACCESS_FS_*` that are denied unless a path allows them.
    pub handled_fs: u64,
    /// `LANDLOCK_ACCESS_NET_*` that are denied unless a port allows them.
    pub handled_net: u64,
    /// `LANDLOCK_SCOPE_*`.
    pub scoped: u64,
    /// Allowed rights by path.
    pub paths: BTreeMap<String, u64>,
    /// Allowed rights by TCP port.
    pub ports: BTreeMap<u16, u64>,
}

impl Layer {
    /// Whether the layer restricts nothing.
    pub(super) fn asks_nothing(&self) -> bool {
        self.handled_fs == 0 && self.handled_net == 0 && self.scoped == 0
    }

    /// The part of the layer that a kernel of this ABI enforces, and the names of what it does not. Rules
    /// over what is no longer handled are left; reducing drops them.
    pub(super) fn under(&self, abi: u32) -> (Layer, Vec<&'static str>) {
        let mut lost = Vec::new();
        let mut layer = self.clone();
        for (index, (name, since)) in FS_RIGHTS.iter().enumerate() {
            let bit = 1 << index;
            if layer.handled_fs & bit != 0 && abi < *since {
                layer.handled_fs &= !bit;
                lost.push(*name);
            }
        }
        if layer.handled_net != 0 && abi < NET_ABI {
            layer.handled_net = 0;
            lost.push("TCP ports");
        }
        if layer.scoped != 0 && abi < SCOPE_ABI {
            layer.scoped = 0;
            lost.push("scopes");
        }
        (layer, lost)
    }

    /// Whether the layer restricts files.
    pub fn restricts_files(&self) -> bool {
        self.handled_fs != 0
    }

    /// Whether the layer restricts TCP.
    pub fn restricts_tcp(&self) -> bool {
        self.handled_net != 0
    }
}
