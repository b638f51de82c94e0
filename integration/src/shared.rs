use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::{Error, Node, NodeConfig};

/// The node of this configuration that all tests of the process share; started by the first that asks.
///
/// It is never dropped: the world ends when the process does, and its keeper then removes the cgroups.
///
/// # Errors
/// As [`Node::start`]; a node that failed to start fails every test that asks, without another attempt.
pub fn shared(config: NodeConfig) -> Result<&'static Node, Error> {
    static NODES: Mutex<BTreeMap<NodeConfig, Result<&'static Node, String>>> =
        Mutex::new(BTreeMap::new());
    let mut nodes = NODES.lock().unwrap_or_else(PoisonError::into_inner);
    nodes
        .entry(config)
        .or_insert_with_key(|config| {
            Node::start(config.clone())
                .map(|node| &*Box::leak(Box::new(node)))
                .map_err(|error| error.to_string())
        })
        .clone()
        .map_err(Error::Unavailable)
}
