//! Expressions of CEL, the Common Expression Language, over what is known of a container.
//!
//! The grammar and the macros are those of the crate `cel`; types are checked when a document is read
//! and evaluation is ours, since it goes over what hostile clients write: each step is counted, nothing
//! is copied, and an expression that takes too many steps is an error. What an error means is for who
//! asks: a policy then applies, a waiver does not, a condition of `refuse` refuses.
//!
//! What of CEL may be used: `docs/selection.md`.

mod evaluate;
mod program;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod variables;

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::facts::Facts;
use program::Program;

/// The longest expression, in bytes.
pub const MAX_LENGTH: usize = 2048;
/// The most nodes that an expression may have once its macros are expanded.
pub const MAX_NODES: usize = 512;
/// How deep it may be nested.
pub const MAX_DEPTH: usize = 32;
/// How deep `all`, `exists`, `exists_one` and `filter` may be nested in each other.
pub const MAX_LOOPS: usize = 2;
/// The most steps of one evaluation: one for each node that is visited, and one for each 64 bytes that
/// are compared.
pub const MAX_STEPS: u64 = 200_000;

/// What an expression may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The facts.
    Facts,
    /// The facts, and the OCI spec as `spec`.
    Spec,
}

/// An expression over the facts of a container, such as `podNamespace.startsWith("pay") &&
/// !userNamespace`. Its text is kept; it is parsed again where it is evaluated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactsExpression(String);

/// An expression over the facts and over the OCI spec, which is `spec`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpecExpression(String);

/// What came of an expression, for every choice among values that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is true, whichever of them is.
    True,
    /// It is false, whichever of them is.
    False,
    /// It is true of some of them.
    Contradictory,
    /// It could not be evaluated, and why.
    Fault(String),
}

impl FactsExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, with the line and column in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Program::read(text, Over::Facts).map(|_| FactsExpression(text.to_owned()))
    }

    /// Evaluates it.
    pub fn evaluate(&self, facts: &Facts) -> Outcome {
        evaluate::outcome(&self.0, Over::Facts, facts, None)
    }

    /// The variables that it names.
    pub fn variables(&self) -> Vec<&'static str> {
        variables_of(&self.0, Over::Facts)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SpecExpression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is wrong with it, with the line and column in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Program::read(text, Over::Spec).map(|_| SpecExpression(text.to_owned()))
    }

    /// Evaluates it.
    pub fn evaluate(&self, facts: &Facts, spec: &Value) -> Outcome {
        evaluate::outcome(&self.0, Over::Spec, facts, Some(spec))
    }

    /// The variables that it names.
    pub fn variables(&self) -> Vec<&'static str> {
        variables_of(&self.0, Over::Spec)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn variables_of(text: &str, over: Over) -> Vec<&'static str> {
    let program = Program::read(text, over);
    program.map(|program| program.variables().collect()).unwrap_or_default()
}

macro_rules! as_text {
    ($($name:ident: $words:literal,)*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $name::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schemars::json_schema!({
                    "type": "string", "minLength": 1, "maxLength": MAX_LENGTH, "description": $words,
                })
            }
        }
    )*};
}

as_text! {
    FactsExpression: "An expression of CEL over the facts of a container.",
    SpecExpression: "An expression of CEL over the facts of a container and its OCI spec.",
}
