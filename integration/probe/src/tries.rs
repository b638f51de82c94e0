//! `probe tries`: many system calls, one after the other, and what became of each: under the filter that the process
//! has, or one from a file that the calling child alone is put under.

use std::io::{BufRead, BufWriter, Write};

use crate::sys::filter;
use crate::sys::trial::{self, End, Entry, Trial};

/// For `probe list`.
pub(crate) const LIST: &[(&str, &str, &str)] = &[(
    "tries",
    "[filter]",
    "the calls of stdin, `<x86_64|x32|i386> <nr> <six arguments>` a line, and how each ended",
)];

/// Runs it; an error is a usage error.
pub(crate) fn run(args: &[String]) -> Result<u8, String> {
    let program = match args {
        [] => None,
        [path] => Some(std::fs::read(path).map_err(|error| format!("{path}: {error}"))?),
        _ => return Err("usage: probe tries [filter]".to_owned()),
    };
    let lines = std::io::stdin().lock().lines();
    let trials = lines
        .map(|line| parse(&line.map_err(|error| error.to_string())?))
        .collect::<Result<Vec<_>, _>>()?;
    let ends = trial::all(&trials, || match &program {
        Some(program) => filter::no_new_privs().and_then(|()| filter::load(program)),
        None => Ok(()),
    });
    let ends = ends.map_err(|errno| format!("nothing was tried: {errno}"))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for end in ends {
        let said = match end {
            End::Returned(value @ -4095..0) => writeln!(out, "errno {}", -value),
            End::Returned(_) => writeln!(out, "passed"),
            End::Trapped(data) => writeln!(out, "trapped {data}"),
            End::Signal(libc::SIGSYS) => writeln!(out, "killed"),
            End::Signal(signal) => writeln!(out, "signal {signal}"),
            End::Exited => writeln!(out, "exited"),
            End::Hung => writeln!(out, "hung"),
        };
        said.map_err(|error| error.to_string())?;
    }
    Ok(0)
}

fn parse(line: &str) -> Result<Trial, String> {
    let wrong = || format!("no call: {line:?}");
    let words: Vec<&str> = line.split_whitespace().collect();
    let [entry, nr, args @ ..] = words.as_slice() else { return Err(wrong()) };
    let entry = match *entry {
        "x86_64" | "x32" => Entry::Syscall,
        "i386" => Entry::Int80,
        _ => return Err(wrong()),
    };
    let nr = nr.parse().map_err(|_| wrong())?;
    let args: Vec<u64> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let args = args.try_into().map_err(|_| wrong())?;
    Ok(Trial { entry, nr, args })
}
