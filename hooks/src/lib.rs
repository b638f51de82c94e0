//! What runs at a container's own life-cycle points.
//!
//! The launcher `coaming-init` becomes the first argument of every process of a container; it
//! restricts itself by the launch [`plan`] that the wrapper wrote on the host, and then becomes the
//! workload. The hook `coaming-hook` checks at create what the launcher would otherwise only find
//! out at start, and clears away at the end. Both look the workload up by the same [`lookup`].

pub mod lookup;
pub mod plan;
pub mod state;
pub mod sys;
