//! The variables of expressions: what they are called, their types, and their values for a container.

use serde_json::{Map, Value};

use super::Over;
use super::program::Type;
use super::value::{Fault, Val};
use crate::facts::{ContainerType, Door, Fact, Facts};

/// A variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Id,
    Namespace,
    Pod,
    PodUid,
    Container,
    Image,
    ImageDigests,
    ContainerType,
    Runtime,
    Door,
    UserNamespace,
    Privileged,
    HostNetwork,
    HostPid,
    HostIpc,
    Annotations,
    Labels,
    Spec,
}

impl Variable {
    const ALL: [Variable; 18] = [
        Variable::Id,
        Variable::Namespace,
        Variable::Pod,
        Variable::PodUid,
        Variable::Container,
        Variable::Image,
        Variable::ImageDigests,
        Variable::ContainerType,
        Variable::Runtime,
        Variable::Door,
        Variable::UserNamespace,
        Variable::Privileged,
        Variable::HostNetwork,
        Variable::HostPid,
        Variable::HostIpc,
        Variable::Annotations,
        Variable::Labels,
        Variable::Spec,
    ];

    /// Those that an expression may name.
    pub(super) fn of(over: Over) -> impl Iterator<Item = Variable> {
        Variable::ALL
            .into_iter()
            .filter(move |variable| over == Over::Spec || *variable != Variable::Spec)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Variable::Id => "id",
            // `namespace` alone is a reserved word of CEL.
            Variable::Namespace => "podNamespace",
            Variable::Pod => "pod",
            Variable::PodUid => "podUID",
            Variable::Container => "container",
            Variable::Image => "image",
            Variable::ImageDigests => "imageDigests",
            Variable::ContainerType => "containerType",
            Variable::Runtime => "runtime",
            Variable::Door => "door",
            Variable::UserNamespace => "userNamespace",
            Variable::Privileged => "privileged",
            Variable::HostNetwork => "hostNetwork",
            Variable::HostPid => "hostPID",
            Variable::HostIpc => "hostIPC",
            Variable::Annotations => "annotations",
            Variable::Labels => "labels",
            Variable::Spec => "spec",
        }
    }

    pub(super) fn holds(self) -> Type {
        match self {
            Variable::Id
            | Variable::Namespace
            | Variable::Pod
            | Variable::PodUid
            | Variable::Container
            | Variable::Image
            | Variable::ContainerType
            | Variable::Runtime
            | Variable::Door => Type::Text,
            Variable::ImageDigests => Type::List(Box::new(Type::Text)),
            Variable::UserNamespace
            | Variable::Privileged
            | Variable::HostNetwork
            | Variable::HostPid
            | Variable::HostIpc => Type::Bool,
            Variable::Annotations | Variable::Labels => Type::Map,
            Variable::Spec => Type::Any,
        }
    }

    /// The fact of which annotations may say several things.
    fn fact(self, facts: &Facts) -> Option<&Fact> {
        match self {
            Variable::Namespace => facts.namespace.as_ref(),
            Variable::Pod => facts.pod.as_ref(),
            Variable::PodUid => facts.pod_uid.as_ref(),
            Variable::Container => facts.container.as_ref(),
            Variable::Image => facts.image.as_ref(),
            _ => None,
        }
    }
}

/// The values of one container's variables, as far as an expression names them.
pub(super) struct Values<'a> {
    facts: &'a Facts,
    spec: Option<&'a Value>,
    annotations: Option<Value>,
    labels: Option<Value>,
    /// Those of which annotations say several things, with all that they say.
    contradicted: Vec<(Variable, Vec<&'a str>)>,
}

/// Which of contradicting values is taken, by the place in [`Values::contradicted`].
pub(super) type Choice = Vec<usize>;

impl<'a> Values<'a> {
    pub(super) fn of(named: &[Variable], facts: &'a Facts, spec: Option<&'a Value>) -> Self {
        let names = |variable| named.contains(&variable);
        let several = named.iter().filter_map(|variable| {
            let values: Vec<&str> = variable.fact(facts)?.values().collect();
            (values.len() > 1).then_some((*variable, values))
        });
        let object = |map: &std::collections::BTreeMap<String, String>| {
            let entries = map.iter().map(|(key, text)| (key.clone(), Value::String(text.clone())));
            Value::Object(entries.collect::<Map<_, _>>())
        };
        Values {
            facts,
            spec,
            annotations: facts
                .annotations
                .as_ref()
                .filter(|_| names(Variable::Annotations))
                .map(object),
            labels: facts
                .labels()
                .filter(|_| names(Variable::Labels))
                .map(|labels| object(&labels)),
            contradicted: several.collect(),
        }
    }

    /// Every choice among the values that contradict each other; one where none do.
    pub(super) fn choices(&self) -> Vec<Choice> {
        self.contradicted.iter().fold(vec![Vec::new()], |choices, (_, values)| {
            let longer = |choice: Choice| {
                (0..values.len()).map(move |index| choice.iter().copied().chain([index]).collect())
            };
            choices.into_iter().flat_map(longer).collect()
        })
    }

    /// A variable's value. A text that is not known is empty, so that it begins with nothing.
    pub(super) fn get<'b>(&'b self, variable: Variable, choice: &Choice) -> Result<Val<'b>, Fault> {
        let unknown = || Fault::Unknown(variable.name());
        let facts = self.facts;
        let chosen = self.contradicted.iter().zip(choice).find_map(|((other, values), index)| {
            (*other == variable).then(|| values.get(*index).copied()).flatten()
        });
        if let Some(text) = chosen {
            return Ok(Val::Text(text));
        }
        let told = |flag: Option<bool>| flag.map(Val::Bool).ok_or_else(unknown);
        Ok(match variable {
            Variable::Id => Val::Text(&facts.id),
            Variable::Namespace
            | Variable::Pod
            | Variable::PodUid
            | Variable::Container
            | Variable::Image => {
                Val::Text(variable.fact(facts).map_or("", |fact| fact.value.as_str()))
            }
            Variable::ImageDigests => {
                let digests = facts.image_digests.iter().flat_map(Fact::values);
                Val::List(digests.map(Val::Text).collect())
            }
            Variable::ContainerType => Val::Text(match facts.container_type {
                ContainerType::Sandbox => "sandbox",
                ContainerType::Container => "container",
            }),
            Variable::Runtime => {
                Val::Text(facts.runtime.as_ref().map_or("", |fact| fact.value.as_str()))
            }
            Variable::Door => Val::Text(match facts.door {
                Door::Create => "create",
                Door::Exec => "exec",
                Door::Update => "update",
            }),
            Variable::UserNamespace => Val::Bool(facts.user_namespace),
            Variable::Privileged => told(facts.privileged)?,
            Variable::HostNetwork => told(facts.host_network)?,
            Variable::HostPid => told(facts.host_pid)?,
            Variable::HostIpc => told(facts.host_ipc)?,
            Variable::Annotations => Val::Tree(self.annotations.as_ref().ok_or_else(unknown)?),
            Variable::Labels => Val::Tree(self.labels.as_ref().ok_or_else(unknown)?),
            Variable::Spec => Val::Tree(self.spec.ok_or_else(unknown)?),
        })
    }
}
