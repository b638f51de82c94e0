//! `coaming test`: policies held to what is written down of them.

mod container;
mod document;
mod find;
mod outcome;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_policy::builtin;
use coaming_policy::demands::Demands;
use coaming_policy::document::{At, Directory, DocumentError, Moment, read_directory};
use coaming_policy::facts::Facts;

pub(crate) use document::PolicyTest;

use crate::error::CommandError;
use crate::output::Outcome;
use document::{Case, TestSpec};
use report::{Format, Ran};

/// Run the tests that stand beside policies: containers, and what is expected to become of them.
///
/// A test is a document of kind PolicyTest in a file whose name ends in .test.yaml; `coaming schema
/// policy-test` describes it. Nothing is asked of the machine, so that a test says the same everywhere.
/// Exit codes: 0 every case is as expected, 1 one is not, 2 a test or a policy cannot be read, or there are
/// no cases.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files of tests, and folders that are searched for them.
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let mut ran = Vec::new();
    for file in find::find(&arguments.paths)? {
        for test in &file.tests {
            let subject = Subject::read(&test.spec, &file.path)?;
            for case in &test.spec.cases {
                let wrong = subject.run(case)?;
                ran.push(Ran {
                    file: file.path.display().to_string(),
                    line: case.line,
                    test: test.metadata.value.name.clone(),
                    case: case.value.name.clone(),
                    wrong,
                });
            }
        }
    }
    if ran.is_empty() {
        let paths: Vec<String> =
            arguments.paths.iter().map(|path| path.display().to_string()).collect();
        return Err(CommandError::NoCases(paths.join(", ")));
    }
    report::show(&ran, arguments.output, out)?;
    let failed = ran.iter().any(|ran| !ran.wrong.is_empty());
    Ok(if failed { Outcome::Findings } else { Outcome::Fine })
}

/// Policies under test.
struct Subject<'a> {
    spec: &'a TestSpec,
    file: &'a Path,
    folder: &'a Path,
    policies: Directory,
    now: Moment,
}

impl<'a> Subject<'a> {
    fn read(spec: &'a TestSpec, file: &'a Path) -> Result<Subject<'a>, CommandError> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let path = folder.join(&spec.policies.value);
        let read = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => read_directory(&path),
            Ok(_) => Directory::of_file(&path),
            Err(error) => Err(DocumentError::io("look at", &path, error)),
        };
        let policies = read.map_err(|error| CommandError::Policies { path, error })?;
        let now = spec.now.unwrap_or_else(Moment::now);
        Ok(Subject { spec, file, folder, policies, now })
    }

    /// In what a case is not as expected.
    fn run(&self, case: &At<Case>) -> Result<Vec<String>, CommandError> {
        let At { value: case, line } = case;
        let broken = |problem: String| {
            let file = self.file.display().to_string();
            let message = format!("case {:?}: {problem}", case.name);
            CommandError::Fixture(DocumentError::at(&file, *line, message))
        };
        let container = container::of(case, &self.spec.node, self.folder).map_err(broken)?;
        let facts = Facts::of(&container.id, &container.spec);
        let facts = facts.labelled(container.node.pod_labels.clone());
        let beneath = builtin::floor(self.spec.floor).map_err(CommandError::Policy)?;
        let beneath = (self.spec.floor.name(), beneath);
        let demands = Demands::upon(&facts, &self.policies, beneath, self.now);
        let found = outcome::decided(&container, &demands, &facts, case.exec.as_ref());
        outcome::mismatches(&case.expect, &found.map_err(broken)?).map_err(broken)
    }
}
