//! `coaming`: what policy says, and what became of a container under it.
//!
//! Nothing here changes a policy, a bundle or a container; `load` alone changes which policies are in force, and
//! `install` alone what other programs are configured to do; `bake` does both to an image that is not running.

mod admission;
mod apparmor;
mod bake;
mod builtins;
mod check;
mod completions;
mod demanded;
mod denials;
mod diff;
mod doctor;
mod error;
mod explain;
mod hook_test;
mod import;
mod install;
mod journal;
mod kernel;
mod lint;
mod load;
mod manifests;
mod manual;
mod metrics;
mod output;
mod policy_state;
mod records;
mod schema;
mod score;
mod seccomp;
mod semodule;
mod source;
mod status;
mod test;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::CommandError;
use crate::output::Outcome;

/// The last gate on the node: what containers may do, and what became of what they asked.
///
/// Exit codes: 0 all is well; 1 findings: a policy with errors, a container that is refused, a process
/// wider than its floor, policies that loosen, a test that fails; 2 the command cannot be carried out.
#[derive(Debug, Parser)]
#[command(name = "coaming", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    AdmissionPolicy(admission::Arguments),
    Apparmor(apparmor::Arguments),
    Bake(bake::Arguments),
    Check(check::Arguments),
    Completions(completions::Arguments),
    Denials(denials::Arguments),
    Diff(diff::Arguments),
    Doctor(doctor::Arguments),
    Explain(explain::Arguments),
    HookTest(hook_test::Arguments),
    Import(import::Arguments),
    Install(install::Arguments),
    Journal(journal::Arguments),
    Load(load::Arguments),
    Man(manual::Arguments),
    Metrics(metrics::Arguments),
    Policy(builtins::Arguments),
    Schema(schema::Arguments),
    Score(score::Arguments),
    Seccomp(seccomp::Arguments),
    Status(status::Arguments),
    Test(test::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Styles go to a terminal alone, and not where NO_COLOR is set.
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    let done = match arguments.command {
        Command::AdmissionPolicy(arguments) => admission::run(&arguments, &mut out),
        Command::Apparmor(arguments) => apparmor::run(&arguments, &mut out),
        Command::Bake(arguments) => bake::run(&arguments, &mut out),
        Command::Check(arguments) => check::run(&arguments, &mut out),
        Command::Completions(arguments) => completions::run(&arguments, &mut out),
        Command::Denials(arguments) => denials::run(&arguments, &mut out),
        Command::Diff(arguments) => diff::run(&arguments, &mut out),
        Command::Doctor(arguments) => doctor::run(&arguments, &mut out),
        Command::Explain(arguments) => explain::run(&arguments, &mut out),
        Command::HookTest(arguments) => hook_test::run(&arguments, &mut out),
        Command::Import(arguments) => import::run(&arguments, &mut out),
        Command::Install(arguments) => install::run(&arguments, &mut out),
        Command::Journal(arguments) => journal::run(&arguments, &mut out),
        Command::Load(arguments) => load::run(&arguments, &mut out),
        Command::Man(arguments) => manual::run(&arguments, &mut out),
        Command::Metrics(arguments) => metrics::run(&arguments, &mut out),
        Command::Policy(arguments) => builtins::run(&arguments, &mut out),
        Command::Schema(arguments) => schema::run(&arguments, &mut out),
        Command::Score(arguments) => score::run(&arguments, &mut out),
        Command::Seccomp(arguments) => seccomp::run(&arguments, &mut out),
        Command::Status(arguments) => status::run(&arguments, &mut out),
        Command::Test(arguments) => test::run(&arguments, &mut out),
    };
    match done.and_then(|outcome| output::finish(&mut out).map(|()| outcome)) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        // Whoever reads our output has seen enough of it (`| head`).
        Err(CommandError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            // The answer so far is worth more than none.
            let _ = output::finish(&mut out);
            let _ = output::complain(&error, &mut anstream::stderr());
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
