//! The floor: every clause that applies to a container, and their strictest combination.
//!
//! A floor is a set of clauses, so combining two is their union: commutative, associative and
//! idempotent whatever the controls are. What a control demands is the meet of its clauses' rules;
//! the clauses stay beside it to say which policy, file and line demanded it.

#[cfg(test)]
mod laws;
#[cfg(test)]
mod rows;

use serde::{Deserialize, Serialize};

use crate::controls::Rule;
use crate::controls::annotations::Annotations;
use crate::controls::app_armor::AppArmor;
use crate::controls::capabilities::Capabilities;
use crate::controls::devices::Devices;
use crate::controls::exec::Exec;
use crate::controls::fields::Fields;
use crate::controls::hooks::Hooks;
use crate::controls::host_namespaces::HostNamespaces;
use crate::controls::landlock::Landlock;
use crate::controls::log_denials::LogDenials;
use crate::controls::masked_paths::MaskedPaths;
use crate::controls::mounts::Mounts;
use crate::controls::no_new_privileges::NoNewPrivileges;
use crate::controls::privileged::Privileged;
use crate::controls::read_only_root::ReadOnlyRootFilesystem;
use crate::controls::readonly_paths::ReadonlyPaths;
use crate::controls::refuse::Refuse;
use crate::controls::resources::Resources;
use crate::controls::rlimits::Rlimits;
use crate::controls::rootfs_propagation::RootfsPropagation;
use crate::controls::se_linux::SeLinux;
use crate::controls::seccomp::Seccomp;
use crate::controls::sysctls::Sysctls;
use crate::controls::user::User;

/// Calls `$callback!` with every control as `field: Type`, in the order in which they are applied:
/// `privileged` first, since it sets what the others then look at, and `seccomp` after
/// `capabilities`, on which profiles depend.
#[macro_export]
macro_rules! for_each_control {
    ($callback:ident) => {
        $callback! {
            privileged: Privileged,
            host_namespaces: HostNamespaces,
            capabilities: Capabilities,
            no_new_privileges: NoNewPrivileges,
            user: User,
            exec: Exec,
            refuse: Refuse,
            rlimits: Rlimits,
            read_only_root_filesystem: ReadOnlyRootFilesystem,
            masked_paths: MaskedPaths,
            readonly_paths: ReadonlyPaths,
            mounts: Mounts,
            devices: Devices,
            sysctls: Sysctls,
            rootfs_propagation: RootfsPropagation,
            hooks: Hooks,
            annotations: Annotations,
            resources: Resources,
            fields: Fields,
            app_armor: AppArmor,
            se_linux: SeLinux,
            seccomp: Seccomp,
            landlock: Landlock,
            log_denials: LogDenials,
        }
    };
}

macro_rules! define_floor {
    ($($field:ident: $rule:ty,)*) => {
        /// The clauses of every control.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct Floor {
            $(
                #[doc = concat!("Clauses of the control [`", stringify!($rule), "`].")]
                #[serde(default, skip_serializing_if = "Bound::is_empty")]
                pub $field: Bound<$rule>,
            )*
        }

        impl Floor {
            /// The strictest combination of two floors.
            pub fn meet(&self, other: &Floor) -> Floor {
                Floor { $($field: self.$field.meet(&other.$field),)* }
            }

            /// The clauses of which `holds` says so by their field in the policy, and the others.
            pub fn partition(self, holds: impl Fn(&str) -> bool) -> (Floor, Floor) {
                let mut with = Floor::default();
                let mut without = Floor::default();
                $((with.$field, without.$field) = self.$field.partition(&holds);)*
                (with, without)
            }

            /// The fields in which the clauses stand in their policies, each once, in the order of
            /// application.
            pub fn fields(&self) -> Vec<String> {
                let mut fields = Vec::new();
                $(for clause in &self.$field.clauses {
                    if !fields.contains(&clause.source.field) {
                        fields.push(clause.source.field.clone());
                    }
                })*
                fields
            }

            /// Shows every control's clauses to `visitor`, in the order of application.
            pub fn visit<V: Visitor>(&self, visitor: &mut V) {
                $(visitor.control(&self.$field);)*
            }
        }
    };
}
for_each_control!(define_floor);

/// What is done with each control of a floor.
pub trait Visitor {
    /// Called once for each control.
    fn control<R: Rule>(&mut self, bound: &Bound<R>);
}

/// The clauses of one control, without duplicates and in an order of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bound<R> {
    clauses: Vec<Clause<R>>,
}

/// A rule with its origin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Clause<R> {
    /// What is demanded.
    pub rule: R,
    /// What is done when more is asked.
    #[serde(default)]
    pub action: Action,
    /// Whether a node that cannot enforce it may start the container all the same.
    #[serde(default)]
    pub best_effort: bool,
    /// Who demands it.
    pub source: Source,
}

/// What is done with a request that is wider than a rule.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is brought within the rule, and the record says so.
    #[default]
    Tighten,
    /// The container does not start.
    Refuse,
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Source {
    /// The policy's name.
    pub policy: String,
    /// Its file; `built-in` for those that are compiled in.
    pub file: String,
    /// The line of the rule, from 1.
    pub line: u64,
    /// The field of the policy (`spec.capabilities`).
    pub field: String,
    /// The built-in policy in which the rule stands, where the policy includes it: `pss/baseline`. The
    /// line is then that of the include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include: Option<String>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Source { policy, file, line, field, include } = self;
        write!(formatter, "policy {policy} ({file}:{line}, ")?;
        if let Some(include) = include {
            write!(formatter, "include {include}, ")?;
        }
        write!(formatter, "{field})")
    }
}

impl<R> Default for Bound<R> {
    fn default() -> Self {
        Bound { clauses: Vec::new() }
    }
}

impl<R: Rule> Bound<R> {
    /// The bound of one clause.
    pub fn of(clause: Clause<R>) -> Self {
        Bound { clauses: vec![clause] }
    }

    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }

    /// The clauses.
    pub fn clauses(&self) -> &[Clause<R>] {
        &self.clauses
    }

    /// What the clauses demand together.
    pub fn met(&self) -> R {
        self.clauses.iter().fold(R::top(), |met, clause| met.meet(&clause.rule))
    }

    fn partition(self, holds: impl Fn(&str) -> bool) -> (Self, Self) {
        let (with, without) =
            self.clauses.into_iter().partition(|clause| holds(&clause.source.field));
        (Bound { clauses: with }, Bound { clauses: without })
    }

    /// The union of the clauses.
    pub fn meet(&self, other: &Bound<R>) -> Bound<R> {
        let mut clauses = self.clauses.clone();
        for clause in &other.clauses {
            if !clauses.contains(clause) {
                clauses.push(clause.clone());
            }
        }
        // By origin, which is unique within a set of policies; the text of the rule settles the
        // order of two versions of one policy (the floor pinned at create and today's).
        clauses.sort_by_cached_key(|clause| {
            (clause.source.clone(), clause.action, clause.best_effort, format!("{:?}", clause.rule))
        });
        Bound { clauses }
    }
}
