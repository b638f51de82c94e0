//! `update`: new resource limits for a running container.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::flag::{Emit, Flag, Given, Kind, Of};
use super::{ArgvError, ContainerId, only_id};

pub(super) const FLAGS: &[Flag] = &[
    Flag::new("resources", &['r'], Kind::Value, Of::Both),
    Flag::new("blkio-weight", &[], Kind::Value, Of::Both),
    Flag::new("cpu-period", &[], Kind::Value, Of::Both),
    Flag::new("cpu-quota", &[], Kind::Value, Of::Both),
    Flag::new("cpu-burst", &[], Kind::Value, Of::Runc),
    Flag::new("cpu-share", &[], Kind::Value, Of::Both),
    Flag::new("cpu-rt-period", &[], Kind::Value, Of::Both),
    Flag::new("cpu-rt-runtime", &[], Kind::Value, Of::Both),
    Flag::new("cpu-idle", &[], Kind::Value, Of::Runc),
    Flag::new("cpuset-cpus", &[], Kind::Value, Of::Both),
    Flag::new("cpuset-mems", &[], Kind::Value, Of::Both),
    Flag::new("kernel-memory", &[], Kind::Value, Of::Both),
    Flag::new("kernel-memory-tcp", &[], Kind::Value, Of::Both),
    Flag::new("memory", &[], Kind::Value, Of::Both),
    Flag::new("memory-reservation", &[], Kind::Value, Of::Both),
    Flag::new("memory-swap", &[], Kind::Value, Of::Both),
    Flag::new("pids-limit", &[], Kind::Value, Of::Both),
    Flag::new("l3-cache-schema", &[], Kind::Value, Of::Both),
    Flag::new("mem-bw-schema", &[], Kind::Value, Of::Both),
];

/// `update`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The container.
    pub id: ContainerId,
    /// `--resources`: an OCI `linux.resources` object. runc then ignores every limit but
    /// `l3-cache-schema` and `mem-bw-schema`.
    pub resources: Option<Resources>,
    /// The limits given as flags, by the flag's name (`memory`, `pids-limit`, ...), as written.
    pub limits: BTreeMap<&'static str, OsString>,
}

/// Where the resources are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resources {
    /// `-`: standard input, which can be read once; hand the runtime a file instead.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl Update {
    pub(super) fn from_given(given: &Given) -> Result<Self, ArgvError> {
        let resources = given.value("resources").map(|value| match value.to_str() {
            Some("-") => Resources::Stdin,
            _ => Resources::File(value.into()),
        });
        let limits = FLAGS
            .iter()
            .filter(|flag| flag.long != "resources")
            .filter_map(|flag| Some((flag.long, given.value(flag.long)?.to_owned())))
            .collect();
        Ok(Self { id: only_id(given)?, resources, limits })
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        match &self.resources {
            None => {}
            Some(Resources::Stdin) => out.value("resources", Some("-")),
            Some(Resources::File(path)) => out.value("resources", Some(path)),
        }
        for (long, value) in &self.limits {
            out.value(long, Some(value));
        }
        out.word(self.id.as_str());
    }
}
