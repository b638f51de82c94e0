//! The `Policy` document.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::include::Origin;
use super::{ApiVersion, At, DocumentError, Include, Match, Mode, Rollout, Terms};
use crate::controls::Rule;
use crate::controls::annotations::Annotations;
use crate::controls::app_armor::{AppArmor, AppArmorDocument};
use crate::controls::capabilities::Capabilities;
use crate::controls::devices::{Devices, DevicesDocument};
use crate::controls::exec::{Exec, ExecDocument};
use crate::controls::fields::Fields;
use crate::controls::hooks::{Hooks, HooksDocument};
use crate::controls::host_namespaces::HostNamespaces;
use crate::controls::landlock::{Landlock, LandlockDocument};
use crate::controls::log_denials::LogDenials;
use crate::controls::masked_paths::MaskedPaths;
use crate::controls::mounts::{Mounts, MountsDocument};
use crate::controls::no_new_privileges::NoNewPrivileges;
use crate::controls::privileged::Privileged;
use crate::controls::read_only_root::ReadOnlyRootFilesystem;
use crate::controls::readonly_paths::ReadonlyPaths;
use crate::controls::refuse::{Condition, Refuse};
use crate::controls::resources::Resources;
use crate::controls::rlimits::Rlimits;
use crate::controls::rootfs_propagation::RootfsPropagation;
use crate::controls::se_linux::{SeLinux, SeLinuxDocument};
use crate::controls::seccomp::{ProfileError, Seccomp, SeccompDocument};
use crate::controls::sysctls::{Sysctls, SysctlsDocument};
use crate::controls::user::User;
use crate::facts::Door;
use crate::floor::{Action, Bound, Clause, Floor, Source};
use coaming_config::suggest;

/// A policy: what the containers that it selects may do at most.
///
/// Policies only tighten. Every policy that selects a container applies, together with the built-in
/// floor; their order never matters, and adding one never widens anything.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyDocument {
    /// `coaming.dev/v1alpha1`.
    pub api_version: ApiVersion,
    /// `Policy`.
    pub kind: Kind,
    /// The policy's name.
    pub metadata: At<Metadata>,
    /// What is demanded, and of whom.
    pub spec: PolicySpec,
}

/// The kinds that a policy directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum Kind {
    /// A policy.
    Policy,
}

/// The name of a document.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// A name of lower-case letters, digits, `-` and `.`, unique in the directory.
    pub name: String,
}

/// The demands of a policy. A control that is left out demands nothing.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySpec {
    /// The containers that the policy applies to. Left out: every workload container.
    #[serde(default, rename = "match")]
    pub selector: Option<Match>,
    /// Built-in policies whose rules the policy takes as its own, beside those that it states itself:
    /// they apply to the containers that it selects, in its mode, and `actions` and `bestEffort` here
    /// count for them. The strictest of all counts. `coaming policy show NAME` prints them.
    #[serde(default)]
    pub include: Option<Vec<At<Include>>>,
    /// What is done when more is asked than a control allows: `tighten` brings the container within
    /// it, `refuse` does not start it. By control, and `default` for those not named; `tighten` where
    /// nothing is said. Some excesses have no remedy (running as root, a host user namespace) and are
    /// refused under either.
    #[serde(default)]
    pub actions: Option<At<BTreeMap<String, Action>>>,
    /// `enforce`, or `audit`: nothing is changed or refused, and the record says what would have been.
    /// Default: `enforce`.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// Single controls that are audited and not enforced, in a policy that is enforced otherwise.
    #[serde(default)]
    pub audit: Option<At<BTreeSet<String>>>,
    /// The part of the pods for which the policy is enforced; for all others it is audited. Left out:
    /// it is enforced for all.
    #[serde(default)]
    pub rollout: Option<At<Rollout>>,
    /// Controls without which a container may start where the node cannot enforce them. The record
    /// then says `degraded`. Of `landlock`, `appArmor` and `seLinux`.
    #[serde(default)]
    pub best_effort: Option<At<BTreeSet<String>>>,

    /// `false`: no container as CRI's `privileged: true` makes it. One that asks is brought to the
    /// defaults of an unprivileged container: devices, masks, read-only paths and capabilities.
    #[serde(default)]
    pub privileged: Option<At<Privileged>>,
    /// Which of the host's namespaces a container may be in.
    #[serde(default)]
    pub host_namespaces: Option<At<HostNamespaces>>,
    /// A ceiling over all five capability sets.
    #[serde(default)]
    pub capabilities: Option<At<Capabilities>>,
    /// `true`: `no_new_privs` is set on every process, so that setuid programs and file capabilities
    /// give nothing (Kubernetes: `allowPrivilegeEscalation: false`).
    #[serde(default)]
    pub no_new_privileges: Option<At<NoNewPrivileges>>,
    /// As whom processes may run.
    #[serde(default)]
    pub user: Option<At<User>>,
    /// Which processes may join a container that runs: `kubectl exec`, and the probes that are commands.
    #[serde(default)]
    pub exec: Option<At<ExecDocument>>,
    /// Conditions over what a container asks; one for which any is true is refused. An exec is not judged
    /// by them.
    #[serde(default)]
    pub refuse: Option<At<Vec<At<Condition>>>>,
    /// Ceilings on resource limits, by their OCI names.
    #[serde(default)]
    pub rlimits: Option<At<Rlimits>>,
    /// `true`: the container's root file system is read-only.
    #[serde(default)]
    pub read_only_root_filesystem: Option<At<ReadOnlyRootFilesystem>>,
    /// Paths that are masked, whatever the container asks for.
    #[serde(default)]
    pub masked_paths: Option<At<MaskedPaths>>,
    /// Paths that are read-only, whatever the container asks for.
    #[serde(default)]
    pub readonly_paths: Option<At<ReadonlyPaths>>,
    /// What may be mounted, and where.
    #[serde(default)]
    pub mounts: Option<At<MountsDocument>>,
    /// Devices beyond the runtime's defaults.
    #[serde(default)]
    pub devices: Option<At<DevicesDocument>>,
    /// Kernel parameters that may be set.
    #[serde(default)]
    pub sysctls: Option<At<SysctlsDocument>>,
    /// How mounts may propagate out of the root file system.
    #[serde(default)]
    pub rootfs_propagation: Option<At<RootfsPropagation>>,
    /// OCI hooks that may run.
    #[serde(default)]
    pub hooks: Option<At<HooksDocument>>,
    /// Annotations that are taken away, since they steer the runtime.
    #[serde(default)]
    pub annotations: Option<At<Annotations>>,
    /// Ceilings on memory and processes.
    #[serde(default)]
    pub resources: Option<At<Resources>>,
    /// Other fields of the OCI spec that are taken away.
    #[serde(default)]
    pub fields: Option<At<Fields>>,
    /// AppArmor profiles.
    #[serde(default)]
    pub app_armor: Option<At<AppArmorDocument>>,
    /// SELinux contexts.
    #[serde(default)]
    pub se_linux: Option<At<SeLinuxDocument>>,
    /// System calls.
    #[serde(default)]
    pub seccomp: Option<At<SeccompDocument>>,
    /// Files and TCP ports, by the kernel's Landlock. Implies `noNewPrivileges`, and that the
    /// container cannot mount.
    #[serde(default)]
    pub landlock: Option<At<LandlockDocument>>,
    /// Controls whose denials the kernel logs, for `coaming denials`: `seccomp`, `landlock`. It denies
    /// nothing and refuses nothing; where it cannot be had, the record says why.
    #[serde(default)]
    pub log_denials: Option<At<LogDenials>>,
}

/// Every control's field, for the checks of `actions`.
macro_rules! control_names {
    ($($field:ident: $rule:ty,)*) => {
        &[$(<$rule as crate::controls::Rule>::CONTROL,)*]
    };
}
/// The controls, by their names in `spec`.
pub const CONTROLS: &[&str] = crate::for_each_control!(control_names);

/// Controls that depend on what the node's kernel has.
pub const MAY_BE_DEGRADED: [&str; 3] = ["landlock", "appArmor", "seLinux"];

impl Metadata {
    pub(super) fn check(&self, file: &str, line: u64) -> Result<(), DocumentError> {
        let name = &self.name;
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if name.is_empty() || name.len() > 253 || !name.chars().all(allowed) {
            return Err(DocumentError::at(
                file,
                line,
                format!(
                    "metadata.name {name:?} is not a name: 1 to 253 lower-case letters, digits, - and ."
                ),
            ));
        }
        Ok(())
    }
}

impl PolicyDocument {
    pub(super) fn check(&self, file: &str) -> Result<(), DocumentError> {
        self.metadata.value.check(file, self.metadata.line)?;
        self.check_include(file)?;
        if let Some(actions) = &self.spec.actions {
            let unknown = actions
                .value
                .keys()
                .find(|name| *name != "default" && !CONTROLS.contains(&name.as_str()));
            if let Some(name) = unknown {
                let known = CONTROLS.iter().copied().chain(["default"]);
                let message = suggest::unknown("control in spec.actions", name, known);
                return Err(DocumentError::at(file, actions.line, message));
            }
        }
        if let Some(audit) = &self.spec.audit {
            let unknown = audit.value.iter().find(|name| !CONTROLS.contains(&name.as_str()));
            if let Some(name) = unknown {
                let known = CONTROLS.iter().copied();
                let message = suggest::unknown("control in spec.audit", name, known);
                return Err(DocumentError::at(file, audit.line, message));
            }
        }
        if let Some(rollout) = &self.spec.rollout {
            let problem = match self.spec.mode {
                _ if rollout.value.percentage > 100 => {
                    "spec.rollout.percentage is above 100; write 0 to 100"
                }
                Some(Mode::Audit) => {
                    "spec.rollout says for which pods the policy is enforced, and spec.mode that it \
                     is for none; leave one of them out"
                }
                _ => "",
            };
            if !problem.is_empty() {
                return Err(DocumentError::at(file, rollout.line, problem.to_owned()));
            }
        }
        self.check_doors(file)?;
        if let Some(best_effort) = &self.spec.best_effort {
            let unknown =
                best_effort.value.iter().find(|name| !MAY_BE_DEGRADED.contains(&name.as_str()));
            if let Some(name) = unknown {
                let message = suggest::unknown("control in spec.bestEffort", name, MAY_BE_DEGRADED);
                let known = MAY_BE_DEGRADED.join(", ");
                let message = format!("{message}; of {known}, any may be listed");
                return Err(DocumentError::at(file, best_effort.line, message));
            }
        }
        Ok(())
    }

    /// What is loaded into a container cannot be brought into one that runs.
    fn check_doors(&self, file: &str) -> Result<(), DocumentError> {
        let doors = self.spec.selector.as_ref().and_then(|selector| selector.doors.as_ref());
        if doors.is_none_or(|doors| doors.contains(&Door::Create)) {
            return Ok(());
        }
        let loaded = [
            ("landlock", self.spec.landlock.as_ref().map(|at| at.line)),
            ("seccomp", self.spec.seccomp.as_ref().map(|at| at.line)),
        ];
        match loaded.into_iter().find_map(|(name, line)| Some((name, line?))) {
            None => Ok(()),
            Some((name, line)) => Err(DocumentError::at(
                file,
                line,
                format!(
                    "spec.{name} is loaded when a container is created, and spec.match.doors leaves create \
                     out; put it into a policy of its own"
                ),
            )),
        }
    }

    /// The policy's clauses, with those that it includes.
    ///
    /// `profile` gives the bytes of a profile file that the policy names.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`] where a profile is missing or wrong.
    pub fn floor(
        &self,
        file: &str,
        profile: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<Floor, DocumentError> {
        let parts = self.parts(file, profile)?;
        Ok(parts.iter().fold(Floor::default(), |floor, part| floor.meet(&part.floor)))
    }

    /// The clauses that stand in this document itself.
    pub(super) fn own_clauses(
        &self,
        origin: &Origin<'_>,
        profile: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<Floor, DocumentError> {
        let spec = self.spec.clone();
        let mut floor = Floor::default();
        macro_rules! take {
            ($($field:ident,)*) => {
                $(if let Some(at) = spec.$field {
                    floor.$field = Bound::of(self.clause(origin, at.line, at.value.into()));
                })*
            };
        }
        take! {
            privileged, host_namespaces, capabilities, no_new_privileges, user, exec, rlimits,
            read_only_root_filesystem, masked_paths, readonly_paths, mounts, devices, sysctls,
            rootfs_propagation, hooks, annotations, resources, fields, log_denials,
        }
        if let Some(at) = spec.refuse {
            // A clause for each, so that a refusal names its line.
            let clauses: Vec<Clause<Refuse>> = match at.value.is_empty() {
                true => vec![self.clause(origin, at.line, Refuse::top())],
                false => {
                    let conditions = at.value.into_iter();
                    conditions.map(|at| self.clause(origin, at.line, at.value.into())).collect()
                }
            };
            floor.refuse = clauses
                .into_iter()
                .fold(Bound::default(), |bound, clause| bound.meet(&Bound::of(clause)));
        }
        if let Some(at) = spec.seccomp {
            let rule = Seccomp::load(at.value, profile)
                .map_err(|error| of_profile(error, origin.file, at.line))?;
            floor.seccomp = Bound::of(self.clause(origin, at.line, rule));
        }
        if let Some(at) = spec.se_linux {
            let mut files = BTreeMap::new();
            for name in &at.value.modules {
                let bytes = profile(name).map_err(|error| named_at(error, origin.file, at.line))?;
                files.insert(name.clone(), bytes);
            }
            let rule = SeLinux::of(at.value, &files)
                .map_err(|error| DocumentError::at(origin.file, at.line, error.to_string()))?;
            floor.se_linux = Bound::of(self.clause(origin, at.line, rule));
        }
        if let Some(at) = spec.landlock {
            let rule = Landlock::load(&at.value, profile)
                .map_err(|error| named_at(error, origin.file, at.line))?;
            self.add_what_landlock_implies(origin, at.line, &rule, &mut floor);
            floor.landlock = Bound::of(self.clause(origin, at.line, rule));
        }
        // Last: a profile can be made of all the others.
        if let Some(at) = spec.app_armor {
            let policy = &self.metadata.value.name;
            let rule = AppArmor::load(at.value, policy, &floor, profile)
                .map_err(|error| of_profile(error, origin.file, at.line))?;
            floor.app_armor = Bound::of(self.clause(origin, at.line, rule));
        }
        Ok(floor)
    }

    /// Landlock needs `no_new_privs` (landlock_restrict_self(2)), and seccomp closes a way around it:
    /// `mount_setattr` could make the launcher's mounts writable.
    fn add_what_landlock_implies(
        &self,
        origin: &Origin<'_>,
        line: u64,
        rule: &Landlock,
        floor: &mut Floor,
    ) {
        if *rule == Landlock::top() {
            return;
        }
        let clause = self.clause::<NoNewPrivileges>(origin, line, NoNewPrivileges(true));
        let clause = Clause { source: self.source(origin, line, "landlock"), ..clause };
        floor.no_new_privileges = floor.no_new_privileges.meet(&Bound::of(clause));
        let clause = self.clause(origin, line, Seccomp::beneath_landlock());
        let clause = Clause { source: self.source(origin, line, "landlock"), ..clause };
        floor.seccomp = floor.seccomp.meet(&Bound::of(clause));
    }

    fn clause<R: Rule>(&self, origin: &Origin<'_>, line: u64, rule: R) -> Clause<R> {
        let actions = self.spec.actions.as_ref().map(|at| &at.value);
        let action = actions
            .and_then(|actions| actions.get(R::CONTROL).or_else(|| actions.get("default")))
            .copied()
            .unwrap_or_default();
        let best_effort =
            self.spec.best_effort.as_ref().is_some_and(|at| at.value.contains(R::CONTROL));
        Clause { rule, action, best_effort, source: self.source(origin, line, R::CONTROL) }
    }

    fn source(&self, origin: &Origin<'_>, line: u64, control: &str) -> Source {
        Source {
            policy: self.metadata.value.name.clone(),
            file: origin.file.to_owned(),
            line: origin.include.as_ref().map_or(line, |at| at.line),
            field: format!("spec.{control}"),
            include: origin.include.as_ref().map(|at| at.value.name().to_owned()),
        }
    }

    /// Under which terms what [`Self::floor`] gave holds.
    pub fn terms(&self) -> Terms {
        Terms {
            name: self.metadata.value.name.clone(),
            mode: self.spec.mode.unwrap_or_default(),
            rollout: self.spec.rollout.as_ref().map(|rollout| rollout.value),
            audit: self.spec.audit.as_ref().map(|audit| audit.value.clone()).unwrap_or_default(),
        }
    }

    /// Whether the policy applies to a container.
    pub fn selects(&self, facts: &crate::facts::Facts) -> bool {
        self.selector().selects(facts)
    }
}

fn of_profile(error: ProfileError, file: &str, line: u64) -> DocumentError {
    match error {
        ProfileError::File(error) => named_at(error, file, line),
        ProfileError::Content(message) => DocumentError::at(file, line, message),
    }
}

/// The error of a profile, with the policy's line that names it.
fn named_at(error: DocumentError, file: &str, line: u64) -> DocumentError {
    match error {
        DocumentError::Untrusted { path, problem } => DocumentError::Untrusted {
            path,
            problem: format!("{problem} ({file}:{line} names it)"),
        },
        DocumentError::Io { operation, path, error } => {
            let words = format!("{error} ({file}:{line} names a profile there)");
            DocumentError::Io { operation, path, error: std::io::Error::new(error.kind(), words) }
        }
        invalid => invalid,
    }
}
