//! Why a command cannot be carried out.

use std::io;
use std::path::PathBuf;

use coaming_hook_harness::HarnessError;
use coaming_manifest::ManifestError;
use coaming_policy::document::DocumentError;
use coaming_policy::json::JsonError;
use coaming_policy::seccomp::SeccompError;
use coaming_shim::apparmor::AppArmorError;
use coaming_shim::bundle::BundleError;
use coaming_shim::journal::JournalError;
use coaming_shim::state::StateError;

/// Why there is no answer. Findings are answers, not errors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The answer cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] io::Error),
    /// A path that was named is not there, or cannot be looked at.
    #[error("cannot look at {}: {error}", .path.display())]
    Path { path: PathBuf, error: io::Error },
    /// The node's configuration or policies cannot be read.
    #[error("cannot read the policy: {0}")]
    Policy(DocumentError),
    /// The command line does not say what is needed.
    #[error("{0}")]
    Usage(String),
    /// Nothing can be installed, or taken away.
    #[error("cannot install: {0}")]
    Install(String),
    /// An image cannot be made.
    #[error("cannot bake: {0}")]
    Bake(String),
    /// A file of a directory cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
    /// A document of one of two sets is wrong.
    #[error("cannot read the policies of {}: {error}", .path.display())]
    Policies { path: PathBuf, error: DocumentError },
    /// What is to be imported is not understood.
    #[error("cannot import {}: {problem}", .path.display())]
    Import { path: PathBuf, problem: String },
    /// A test is not understood.
    #[error("cannot read the test: {0}")]
    Fixture(DocumentError),
    /// Nothing would be tested.
    #[error(
        "no cases of tests in {0}; a test is a document of kind PolicyTest in a file whose name ends in \
         .test.yaml"
    )]
    NoCases(String),
    /// A profile of AppArmor cannot be had.
    #[error(transparent)]
    AppArmor(#[from] AppArmorError),
    /// The journal cannot be read.
    #[error("cannot read the journal: {0}")]
    Journal(#[from] JournalError),
    /// A hook cannot be tested.
    #[error(transparent)]
    Hook(#[from] HarnessError),
    /// The bundle cannot be read.
    #[error("cannot read the bundle, a folder with a config.json: {0}")]
    Bundle(#[from] BundleError),
    /// The manifest is not understood.
    #[error("cannot read the manifest: {0}")]
    Manifest(#[from] ManifestError),
    /// No container of a manifest has this name.
    #[error("no container of {} is named {name:?}; there are {}", .path.display(), .known.join(", "))]
    NotInManifest { name: String, path: PathBuf, known: Vec<String> },
    /// config.json is not what runtimes and coaming read alike.
    #[error("cannot read the JSON of {}: {error}", .path.display())]
    Json { path: PathBuf, error: JsonError },
    /// A seccomp profile cannot be read.
    #[error("{}: {error}", .path.display())]
    Profile { path: PathBuf, error: SeccompError },
    /// Two seccomp profiles cannot be combined.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The bundle is no longer what was asked.
    #[error(
        "{} has been through coaming already, so that what was asked is no longer in it; see \
         `coaming explain --container ID` for what became of it",
        .0.display()
    )]
    Rewritten(PathBuf),
    /// The records cannot be listed or read.
    #[error("cannot read the records in {}: {error}{}", .path.display(), hint(.error))]
    Records { path: PathBuf, error: io::Error },
    /// The record cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// No record has this id.
    #[error(
        "no container {id:?} in {}: it was not created through coaming, or is gone; `coaming status` lists \
         those that there are{}",
        .records.display(), not_searched(.unreadable)
    )]
    NoSuchContainer { id: String, records: PathBuf, unreadable: Vec<String> },
    /// Several records have it.
    #[error("{id:?} names several containers; choose with --root or the full id:\n{}", .found.join("\n"))]
    Ambiguous { id: String, found: Vec<String> },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run it as root, whose alone the records are",
        _ => "",
    }
}

fn not_searched(files: &[String]) -> String {
    if files.is_empty() {
        String::new()
    } else {
        format!(" (not understood, and so not searched: {})", files.join(", "))
    }
}
