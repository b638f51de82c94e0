//! Lints of `appArmor`: profiles that come with a policy and deny what the policy allows, or what a start needs.

use coaming_policy::controls::app_armor::Says;

use super::{Lints, seccomp};

/// System calls, and the kinds of AppArmor rules without one of which they are denied.
const MEDIATED: [(&str, &str); 5] = [
    ("mount", "mount"),
    ("umount2", "umount"),
    ("pivot_root", "pivot_root"),
    ("ptrace", "ptrace"),
    ("socket", "network"),
];

pub(super) fn lint(lints: &mut Lints<'_>) {
    let Some(line) = lints.document.spec.app_armor.as_ref().map(|at| at.line) else { return };
    let launched = lints.document.spec.landlock.is_some();
    for (name, text) in lints.floor.app_armor.met().profiles {
        let says = Says::of(&text);
        if !says.executes && !says.includes {
            let message = format!(
                "the AppArmor profile {name} lets nothing be executed (no rule with ix): a container's first program \
                 starts, and can start no other"
            );
            match launched {
                false => lints.warn(line, message),
                true => lints.fail(
                    line,
                    format!("{message}; with spec.landlock the first is coaming's launcher, so that no container starts"),
                ),
            }
        }
        if launched && !says.launches && !says.includes {
            lints.fail(
                line,
                format!(
                    "the AppArmor profile {name} does not let coaming's launcher read its plan, which spec.landlock \
                     needs: add /dev/.coaming/* mr,"
                ),
            );
        }
        let left = left_by_seccomp(lints);
        let denied: Vec<&str> = left
            .into_iter()
            .filter(|(_, kind)| !says.includes && !says.kinds.contains(*kind))
            .map(|(call, _)| call)
            .collect();
        if !denied.is_empty() {
            lints.warn(
                line,
                format!(
                    "spec.seccomp leaves {}, and the AppArmor profile {name} has no rule for it and denies it: give the                      rule if it is needed; if not, deny the call in spec.seccomp too, which says so where a profile is                      compared",
                    denied.join(", ")
                ),
            );
        }
        let allowed = lints.floor.capabilities.met().allow.unwrap_or_default();
        let denied: Vec<String> = allowed
            .iter()
            .map(ToString::to_string)
            .filter(|capability| !says.gives(capability))
            .collect();
        if !denied.is_empty() {
            lints.warn(
                line,
                format!(
                    "spec.capabilities allows {}, and the AppArmor profile {name} does not give it: to have the \
                     capability is of no use then",
                    denied.join(", ")
                ),
            );
        }
    }
}

/// The calls that the policy's own seccomp profile leaves, of those that AppArmor looks at.
fn left_by_seccomp(lints: &Lints<'_>) -> Vec<(&'static str, &'static str)> {
    if lints.document.spec.seccomp.is_none() {
        return Vec::new();
    }
    match seccomp::filter(lints.floor, &lints.floor.seccomp.met()) {
        Ok(Some(filter)) => {
            let left = |(call, _): &(&str, &str)| !seccomp::is_refused(&filter, call);
            MEDIATED.into_iter().filter(left).collect()
        }
        _ => Vec::new(),
    }
}
