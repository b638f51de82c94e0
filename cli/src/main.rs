//! `coaming`: what policy says, and what became of a container under it.
//!
//! Nothing here changes a policy, a bundle or a container; `load` alone changes which policies are in force.

mod builtins;
mod check;
mod demanded;
mod error;
mod explain;
mod kernel;
mod lint;
mod load;
mod manifests;
mod output;
mod policy_state;
mod records;
mod schema;
mod seccomp;
mod status;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::CommandError;
use crate::output::Outcome;

/// The last gate on the node: what containers may do, and what became of what they asked.
///
/// Exit codes: 0 all is well; 1 findings: a policy with errors, a container that is refused, a process
/// wider than its floor; 2 the command cannot be carried out.
#[derive(Debug, Parser)]
#[command(name = "coaming", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Explain(explain::Arguments),
    Load(load::Arguments),
    Policy(builtins::Arguments),
    Schema(schema::Arguments),
    Seccomp(seccomp::Arguments),
    Status(status::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = match arguments.command {
        Command::Check(arguments) => check::run(&arguments, &mut out),
        Command::Explain(arguments) => explain::run(&arguments, &mut out),
        Command::Load(arguments) => load::run(&arguments, &mut out),
        Command::Policy(arguments) => builtins::run(&arguments, &mut out),
        Command::Schema(arguments) => schema::run(&arguments, &mut out),
        Command::Seccomp(arguments) => seccomp::run(&arguments, &mut out),
        Command::Status(arguments) => status::run(&arguments, &mut out),
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
            let _ = output::complain(&error, &mut io::stderr());
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
