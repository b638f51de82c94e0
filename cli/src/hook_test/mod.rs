//! `coaming hook-test`: an OCI hook, anyone's, tried with real runtimes.

mod text;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use coaming_config::Configuration;
use coaming_hook_harness::findings::{self, About, Finding, Severity};
use coaming_hook_harness::{Phase, Report, Request, test};
use serde_json::json;

use crate::error::CommandError;
use crate::output::{self, Format, Outcome};

/// The longest that a hook is waited for, in seconds.
const LONGEST: i64 = 600;

/// Try an OCI hook with real runtimes: what it is given, what it does, what its failure does.
///
/// For each runtime and phase a throw-away container is created, started, killed and deleted with the hook in
/// that phase, and twice more with a hook that fails and one that hangs. Needs root, since the runtimes do;
/// nothing of it is left behind. The hook is run for real, as root: what it does to the node besides is done.
///
/// Exit codes: 0 no more than notes, 1 warnings or errors about the hook, 2 it cannot be tested.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A runtime; may be given several times. By default runc and crun, as far as they are installed.
    #[arg(long = "runtime", value_name = "PATH")]
    runtimes: Vec<PathBuf>,
    /// A phase; may be given several times.
    #[arg(long = "phase", value_name = "PHASE", default_value = "all", value_parser = [
        "all", "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"])]
    phases: Vec<String>,
    /// A bundle whose config.json and root file system are taken; it is not changed. By default a
    /// container that has nothing but one static program.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// A variable of the hook's `env` in the spec; may be given several times. By default it has none there, so
    /// that what it inherits is seen.
    #[arg(long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The hook's `timeout`, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    timeout: u32,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
    /// Where coaming-hook-test is, where it is not installed.
    #[arg(
        long,
        value_name = "PATH",
        hide = true,
        default_value = "/usr/libexec/coaming/coaming-hook-test"
    )]
    harness: PathBuf,
    /// The hook, and its arguments after its own path.
    #[arg(last = true, required = true, value_name = "HOOK")]
    hook: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let request = request(arguments)?;
    let report = test(&arguments.harness, &request)?;
    let findings = findings::of(&report);
    match arguments.output {
        Format::Text => text::write(&report, &findings, out)?,
        Format::Json => output::json(&document(&report, &findings), out)?,
    }
    Ok(if findings.iter().any(counts) { Outcome::Findings } else { Outcome::Fine })
}

fn request(arguments: &Arguments) -> Result<Request, CommandError> {
    let absolute = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| CommandError::Path { path: path.clone(), error })
    };
    let mut runtimes = arguments.runtimes.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
    if runtimes.is_empty() {
        let known = Configuration::default();
        let installed = ["coaming-runc", "coaming-crun"];
        runtimes.extend(installed.into_iter().filter_map(|name| known.runtime(name)));
    }
    if runtimes.is_empty() {
        let text =
            "neither runc nor crun is installed; name a runtime by --runtime PATH".to_owned();
        return Err(CommandError::Usage(text));
    }
    if let Some(wrong) = arguments.env.iter().find(|variable| !variable.contains('=')) {
        return Err(CommandError::Usage(format!("--env {wrong}: say NAME=VALUE")));
    }
    let mut phases: Vec<Phase> = match arguments.phases.iter().any(|phase| phase == "all") {
        true => Phase::ALL.into(),
        false => arguments.phases.iter().filter_map(|phase| Phase::of(phase)).collect(),
    };
    phases.sort_unstable();
    phases.dedup();
    let mut request = Request::new(runtimes, phases, arguments.hook.clone());
    // A bare name is not looked up in PATH: runtimes do not either.
    if let Some(hook) = request.hook.first_mut() {
        *hook = absolute(&PathBuf::from(&hook))?.display().to_string();
    }
    request.bundle = arguments.bundle.as_ref().map(absolute).transpose()?;
    request.timeout_seconds = arguments.timeout;
    request.env = (!arguments.env.is_empty()).then(|| arguments.env.clone());
    Ok(request)
}

/// What a runtime does is no fault of the hook; but one that was not run was not tested.
fn counts(finding: &Finding) -> bool {
    finding.severity >= Severity::Warning
        && (finding.about == About::Hook || finding.name == "not-run")
}

fn document(report: &Report, findings: &[Finding]) -> serde_json::Value {
    json!({"findings": findings, "program": report.program, "cases": report.cases})
}
