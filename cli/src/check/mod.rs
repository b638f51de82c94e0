//! `coaming check`: errors and lints of policies, before a node reads them.

mod sarif;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_config::CONFIG_FILE;
use coaming_policy::document::{Directory, DocumentError, Moment, read_directory};
use coaming_shim::config::Node;
use serde::Serialize;

use crate::error::CommandError;
use crate::lint::{self, Warning};
use crate::output::{self, BAD, CAREFUL, GOOD, Outcome, count, styled};

/// Check policies: errors, and warnings about what is legal and rarely meant.
///
/// A policy with an error keeps containers of the node from starting; check before you install. The policies
/// of a directory are checked together too: rules that leave nothing, that make each other void, or
/// that another policy states already.
/// Exit codes: 0 no errors, 1 errors (or, with --strict, warnings), 2 a path cannot be looked at.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files or directories of policies. Default: the node's configured policy directory.
    paths: Vec<PathBuf>,
    /// Let warnings count as errors.
    #[arg(long)]
    strict: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Format {
    /// Text for people; it may change.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// SARIF 2.1.0, for code hosts that show findings at their lines. Paths are relative to the working
    /// directory where they are below it.
    Sarif,
}

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Findings {
    policies: Vec<Policy>,
    waivers: Vec<Policy>,
    errors: Vec<Fault>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct Policy {
    name: String,
    file: String,
}

/// The kinds of errors that are no lint.
const INVALID: &str = "document-invalid";
const UNTRUSTED: &str = "file-untrusted";
const UNREADABLE: &str = "file-unreadable";

/// An error in a document.
#[derive(Debug, Serialize)]
struct Fault {
    /// What is wrong: the document, who may write it, or that it cannot be read; or a lint's name.
    kind: &'static str,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u64>,
    message: String,
    /// As it is shown to people.
    #[serde(skip)]
    text: String,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let mut findings = Findings::default();
    if arguments.paths.is_empty() {
        findings.check_node();
    }
    for path in &arguments.paths {
        let metadata =
            fs::metadata(path).map_err(|error| CommandError::Path { path: path.clone(), error })?;
        if metadata.is_dir() {
            findings.check_directory(path);
        } else {
            findings.check_file(path);
        }
    }
    match arguments.output {
        Format::Text => findings.show(out)?,
        Format::Json => output::json(&findings, out)?,
        Format::Sarif => output::json(&sarif::log(&findings), out)?,
    }
    let failed = !findings.errors.is_empty() || arguments.strict && !findings.warnings.is_empty();
    Ok(if failed { Outcome::Findings } else { Outcome::Fine })
}

impl Findings {
    /// What the wrapper would read on this node.
    fn check_node(&mut self) {
        match Node::load("coaming-runc") {
            Ok(node) => {
                let directory = node.policy_directory().to_owned();
                self.check_directory(&directory);
                if self.policies.is_empty() && self.errors.is_empty() {
                    self.warnings.push(Warning {
                        lint: "no-policies",
                        file: directory.display().to_string(),
                        line: None,
                        policy: None,
                        message: format!(
                            "no policies here; the built-in floor alone is in force ({CONFIG_FILE} \
                             names it, baseline if it does not)"
                        ),
                        fatal: false,
                    });
                }
            }
            Err(error) => self.errors.push(Fault::of(error)),
        }
    }

    fn check_directory(&mut self, directory: &Path) {
        let error = match read_directory(directory) {
            Ok(read) => {
                let files = policy_files(directory);
                return self.take(&read, &files);
            }
            Err(error) => Fault::of(error),
        };
        // A node stops at the first error; whoever mends a directory wants them all.
        let found = self.errors.len();
        for file in policy_files(directory) {
            self.check_file(&file);
        }
        let known = self.errors.iter().skip(found).any(|other| other.text == error.text);
        if !known {
            self.errors.push(error);
        }
    }

    fn check_file(&mut self, file: &Path) {
        match Directory::of_file(file) {
            Ok(read) => self.take(&read, &[file.to_owned()]),
            Err(error) => self.errors.push(Fault::of(error)),
        }
    }

    fn take(&mut self, read: &Directory, files: &[PathBuf]) {
        let holds_none = |path: &&PathBuf| {
            let name = path.display().to_string();
            let waivers = read.waivers().map(|(file, _)| file);
            !read.names().map(|(_, file)| file).chain(waivers).any(|file| file == name)
        };
        self.warnings.extend(files.iter().filter(holds_none).map(|path| lint::empty(path)));
        self.warnings.extend(read.ignored.iter().filter_map(|path| lint::ignored(path)));
        self.warnings.extend(lint::waivers(read, Moment::now()));
        for (file, waiver) in read.waivers() {
            let name = waiver.metadata.value.name.clone();
            self.waivers.push(Policy { name, file: file.to_owned() });
        }
        let mut found = lint::set(read);
        for (file, document, floor) in read.written() {
            let name = document.metadata.value.name.clone();
            self.policies.push(Policy { name, file: file.to_owned() });
            found.extend(lint::policy(file, document, &floor));
        }
        let (errors, warnings) = found.into_iter().partition(|lint| lint.fatal);
        self.errors.extend(Vec::into_iter(errors).map(Fault::of_lint));
        self.warnings.extend::<Vec<Warning>>(warnings);
    }

    fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        for error in &self.errors {
            writeln!(out, "{}", styled(BAD, &error.text))?;
        }
        for warning in &self.warnings {
            let text = warning.to_string();
            let word = ": warning: ";
            writeln!(out, "{}", text.replacen(word, &styled(CAREFUL, word), 1))?;
        }
        let errors = match self.errors.len() {
            0 => styled(GOOD, "no errors"),
            some => styled(BAD, &count(some, "error", "errors")),
        };
        let warnings = match self.warnings.len() {
            0 => String::new(),
            some => format!(", {}", styled(CAREFUL, &count(some, "warning", "warnings"))),
        };
        let policies = count(self.policies.len(), "policy", "policies");
        let waivers = match self.waivers.len() {
            0 => String::new(),
            some => format!(", {}", count(some, "waiver", "waivers")),
        };
        Ok(writeln!(out, "{policies}{waivers}, {errors}{warnings}")?)
    }
}

impl Fault {
    fn of_lint(lint: Warning) -> Fault {
        let text = lint.to_string();
        let message = match &lint.policy {
            Some(policy) => format!("policy {policy}: {}", lint.message),
            None => lint.message,
        };
        Fault { kind: lint.lint, file: lint.file, line: lint.line, column: None, message, text }
    }

    fn of(error: DocumentError) -> Fault {
        let text = error.to_string();
        match error {
            DocumentError::Invalid { file, line, column, message } => {
                Fault { kind: INVALID, file, line: Some(line), column: Some(column), message, text }
            }
            DocumentError::Untrusted { path, problem } => Fault {
                kind: UNTRUSTED,
                file: path,
                line: None,
                column: None,
                message: problem,
                text,
            },
            DocumentError::Io { path, .. } => Fault {
                kind: UNREADABLE,
                file: path,
                line: None,
                column: None,
                message: text.clone(),
                text,
            },
        }
    }
}

/// The files that a node would read, in its order.
fn policy_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| lint::is_policy_file(path))
        .collect();
    files.sort();
    files
}
