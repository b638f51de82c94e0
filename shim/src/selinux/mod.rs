//! What the gate does where the node's kernel has SELinux: levels for pods, and the kernel's word on whether
//! what was decided can work, before the runtime finds out in its own words.

pub mod kernel;
pub mod levels;

mod check;
mod labels;
#[cfg(test)]
mod tests;

use std::path::Path;

use coaming_policy::controls::Node;
use coaming_policy::controls::se_linux::context::Context;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::spec::view;
use coaming_policy::verdict::Reason;
use serde_json::{Value, json};

pub use check::ahead;
pub(crate) use check::check;
pub(crate) use labels::of_launch;

use self::levels::{Held, Levels};
use crate::state::{State, StateError};

const LABEL: &str = "process.selinuxLabel";

/// Whether SELinux is among the node's modules.
pub(crate) fn is_active(node: &Node) -> bool {
    node.lsms.iter().any(|module| module == "selinux")
}

/// The levels of pods while a container is created. Until it is dropped, no other create takes one.
#[derive(Debug)]
pub(crate) struct Levelled {
    levels: Levels,
    pod: String,
    allocated: bool,
}

impl Levelled {
    /// Nothing where no policy asks for levels of pods. Else waits for its turn, and gives `node` the level
    /// of the container's pod if the container has none.
    pub(crate) fn of(
        base: &Path,
        facts: &Facts,
        floor: &Floor,
        spec: &Value,
        node: &mut Node,
    ) -> Result<Option<Levelled>, StateError> {
        let rule = floor.se_linux.met();
        if !rule.pod_level || !is_active(node) {
            return Ok(None);
        }
        let levels = Levels::lock(base)?;
        let pod = levels::pod(facts);
        let context = view::text(spec, LABEL).and_then(Context::parse);
        let own = context.is_some_and(|context| rule.allows_level(context.level));
        let mut allocated = false;
        if rule.allocate && !own {
            let level = levels.of_pod(&pod, &rule.pairs())?;
            node.se_linux.pod_level = Some(level);
            allocated = true;
        }
        Ok(Some(Levelled { levels, pod, allocated }))
    }

    /// Why a container may not have the level that it asked for: it was allocated to another pod.
    pub(crate) fn refuses(&self, enforced: &Value) -> Option<Reason> {
        if self.allocated {
            return None;
        }
        let label = view::text(enforced, LABEL)?;
        let level = Context::parse(label)?.range()?;
        let other = self.levels.allocated_to_another(&self.pod, &level)?;
        Some(Reason {
            control: "seLinux".to_owned(),
            field: LABEL.to_owned(),
            asked: json!(label),
            allowed: format!(
                "a level that is not another pod's: {level} was allocated to {other}, whose files it would \
                 give access to; leave the level out (seLinuxOptions.level), or name another"
            ),
            policy: None,
        })
    }

    /// Notes the level that the container has, for as long as its state is there.
    pub(crate) fn keep(self, state: &State, enforced: &Value) -> Result<(), StateError> {
        let label = view::text(enforced, LABEL).and_then(Context::parse);
        let Some(level) = label.and_then(|label| label.range()) else { return Ok(()) };
        Held { pod: self.pod, level, allocated: self.allocated }.write(state)
    }
}
