//! One Landlock ruleset per layer, every right of it a hard requirement.
//!
//! The crate `landlock` makes the calls, so only rights that it knows can be handled (0.4.7: ABI 9). A
//! bit it does not know is refused rather than passed on raw: which rights a file, not a directory, may
//! carry is known only for rights that are known, and the policy's names for rights come from the same
//! crate. A newer right takes a newer crate on both sides.

use coaming_hooks::plan::Layer;
use coaming_hooks::sys;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

use crate::failure::Failure;

/// The newest ABI whose rights the crate names.
const NEWEST: ABI = ABI::V9;

pub(crate) fn restrict(layers: &[Layer], log_denials: bool) -> Result<(), Failure> {
    let log = log_denials && !layers.is_empty() && can_log_after_exec();
    layers.iter().enumerate().try_for_each(|(index, layer)| apply(index, layer, log))
}

fn apply(index: usize, layer: &Layer, log: bool) -> Result<(), Failure> {
    let failed = |source| Failure::Landlock { layer: index, source };
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if layer.handled_fs != 0 {
        ruleset =
            ruleset.handle_access(known::<AccessFs>(index, layer.handled_fs)?).map_err(failed)?;
    }
    if layer.handled_net != 0 {
        ruleset =
            ruleset.handle_access(known::<AccessNet>(index, layer.handled_net)?).map_err(failed)?;
    }
    if layer.scoped != 0 {
        ruleset = ruleset.scope(known::<Scope>(index, layer.scoped)?).map_err(failed)?;
    }
    let mut created = ruleset.create().map_err(failed)?;
    for rule in &layer.paths {
        created = allow_beneath(index, created, rule.access, &rule.path)?;
    }
    for rule in &layer.ports {
        let access = known::<AccessNet>(index, rule.access)?;
        created = created.add_rule(NetPort::new(rule.port, access)).map_err(failed)?;
    }
    let status = created
        // It is set already; the launcher changes nothing that the runtime prepared.
        .no_new_privs(false)
        .log_new_exec(log)
        .and_then(RulesetCreated::restrict_self)
        .map_err(failed)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        _ => Err(Failure::Partial { layer: index }),
    }
}

fn allow_beneath(
    index: usize,
    ruleset: RulesetCreated,
    access: u64,
    path: &[u8],
) -> Result<RulesetCreated, Failure> {
    let failed = |source| Failure::RulePath {
        layer: index,
        path: String::from_utf8_lossy(path).into_owned(),
        source,
    };
    let mut access = known::<AccessFs>(index, access)?;
    let Some(fd) = sys::open_rule_path(path).map_err(failed)? else {
        return Ok(ruleset);
    };
    let file = sys::file(fd);
    if !file.metadata().map_err(failed)?.is_dir() {
        // The kernel answers EINVAL to a directory's right on a file.
        access &= AccessFs::from_file(NEWEST);
    }
    if access.is_empty() {
        return Ok(ruleset);
    }
    ruleset
        .add_rule(PathBeneath::new(file, access))
        .map_err(|source| Failure::Landlock { layer: index, source })
}

fn known<T: Access<Numeric = u64>>(layer: usize, rights: u64) -> Result<BitFlags<T>, Failure> {
    BitFlags::from_bits(rights).map_err(|_| Failure::UnknownRight { layer, rights })
}

/// Whether denials can be logged after the execve, without which audit would never hear of the
/// workload (ABI 7). Asked of a ruleset that is thrown away: a flag that is missing on an older kernel
/// is no lack of enforcement, and must not look like one.
fn can_log_after_exec() -> bool {
    let probe = || -> Result<RulesetCreated, RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Execute)?
            .create()?
            .log_new_exec(true)
    };
    probe().is_ok()
}
