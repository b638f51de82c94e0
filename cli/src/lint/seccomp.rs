//! What a floor's seccomp rules leave.

use std::collections::BTreeSet;

use coaming_policy::controls::capabilities::Capability;
use coaming_policy::controls::seccomp::Seccomp;
use coaming_policy::controls::{Asked, Node, Rule};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::seccomp::{Arch, Function, Profile, Reading, deny_profile};
use coaming_policy::spec::edit::Edit;
use serde_json::{Value, json};

/// The filter of a container that asks for one which allows everything, and has every capability that
/// the floor allows; `None` where the rule denies it nothing. No container is denied less.
pub(super) fn filter(floor: &Floor, rule: &Seccomp) -> Result<Option<Function>, String> {
    let allow: BTreeSet<Capability> = match floor.capabilities.met().allow {
        Some(allow) => allow,
        None => Capability::all().collect(),
    };
    let bounding: Vec<String> = allow.iter().map(|name| format!("CAP_{name}")).collect();
    let everything = deny_profile(&[], &[]).map_err(|error| error.to_string())?.to_oci();
    let spec = json!({
        "process": {"capabilities": {"bounding": bounding}},
        "linux": {"seccomp": everything},
    });
    let facts = Facts::of("", &spec);
    // A kernel newer than any condition in a profile.
    let node = Node { kernel: (u32::MAX, 0), ..Node::default() };
    let asked = Asked::of(&spec, &facts, &node);
    let Some(finding) = rule.tighten(&asked).into_iter().next() else {
        return Ok(None);
    };
    let Some(Edit::Set(_, section)) = finding.remedy.as_deref().and_then(<[Edit]>::first) else {
        return Err(finding.allowed);
    };
    read(section).map(Some)
}

/// Whether the filter refuses a call, whatever its arguments.
pub(super) fn is_refused(function: &Function, call: &str) -> bool {
    function.always(call).is_some_and(|action| action.is_refusal())
        || !function.architectures().contains(&Arch::native())
}

fn read(section: &Value) -> Result<Function, String> {
    Profile::from_oci(section)
        .and_then(|profile| Function::of(&profile, Reading::Runtime))
        .map_err(|error| error.to_string())
}
