//! Drives real containerd, runc and crun, each in a private world of its own, for tests and the demo.
//!
//! A [`World`] is a set of fresh namespaces with memory-backed `/run`, `/etc`, `/var/lib` and a bridge; everything in it
//! dies with its value. A [`Node`] is a containerd of a given version in such a world. It is driven with [`Ctr`] or, as
//! the kubelet would, with [`Cri`]. [`BareRuntime`] runs a bundle under runc or crun without containerd.
//!
//! ```no_run
//! use coaming_integration::{Containerd, Node, NodeConfig, Run, Runtime, Suite, images};
//!
//! # fn main() -> Result<(), coaming_integration::Error> {
//! let node = Node::start(NodeConfig::new(Containerd::V1_6, Runtime::Runc(Suite::Bookworm)))?;
//! let output = node.ctr().run(&Run::new(images::BUSYBOX, "hello").args(["echo", "hello"]))?;
//! assert_eq!(output.stdout, "hello\n");
//! # Ok(())
//! # }
//! ```

pub mod binaries;
mod bundle;
pub mod cri;
pub mod crio;
mod ctr;
mod door;
mod engine;
mod error;
mod fresh;
mod grpc;
pub mod guest;
pub mod images;
pub mod leftovers;
mod node;
mod oci_layout;
mod output;
mod readiness;
pub mod residue;
mod runtime;
mod shared;
mod stream;
pub mod task_api;
mod versions;
mod wait;
mod world;

pub use bundle::{Bundle, default_spec};
pub use cri::Cri;
pub use crio::Crio;
pub use ctr::{Ctr, Exec, Run};
pub use door::{Door, SHIM, SHIM_TYPE, configuration};
pub use engine::{Brand, By, ENGINES, Engine, EngineConfig};
pub use error::Error;
pub use fresh::Fresh;
pub use guest::Guest;
pub use node::{Handler, Node, NodeConfig};
pub use output::Output;
pub use readiness::can_run;
pub use runtime::BareRuntime;
pub use shared::shared;
pub use task_api::{Events, Tasks};
pub use versions::{
    Containerd, PAIRS, Runtime, Suite, criu, dockers_profile, podmans_profile, rootless,
};
pub use wait::{PATIENCE, wait_for};
pub use world::World;
