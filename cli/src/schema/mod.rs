//! `coaming schema`: the JSON Schema of the documents, for editors, CI and Kubernetes.

mod custom_resources;
mod structural;

pub(crate) use custom_resources::documents_policy;

use std::io::Write;

use clap::ValueEnum;
use coaming_config::Configuration;
use coaming_policy::document::{PolicyDocument, WaiverDocument};
use schemars::schema_for;

use crate::error::CommandError;
use crate::output::{self, Outcome};
use crate::test::PolicyTest;

/// Print the JSON Schema of a document, for editors and continuous integration.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The document.
    #[arg(value_enum, default_value_t)]
    document: Document,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Document {
    /// A policy, as in /etc/coaming/policy.d.
    #[default]
    Policy,
    /// A waiver, as in /etc/coaming/policy.d.
    Waiver,
    /// Tests of policies, as `coaming test` runs them.
    PolicyTest,
    /// The node's configuration, /etc/coaming/config.toml.
    Configuration,
    /// Policies and waivers as objects of Kubernetes: CustomResourceDefinitions, in YAML.
    CustomResources,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let schema = match arguments.document {
        Document::Policy => schema_for!(PolicyDocument),
        Document::PolicyTest => schema_for!(PolicyTest),
        Document::Waiver => schema_for!(WaiverDocument),
        Document::Configuration => schema_for!(Configuration),
        Document::CustomResources => {
            write!(out, "{}", custom_resources::yaml()?)?;
            return Ok(Outcome::Fine);
        }
    };
    output::json(&schema, out)?;
    Ok(Outcome::Fine)
}
