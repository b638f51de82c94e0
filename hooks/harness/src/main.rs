//! `coaming-hook-test`: drives runtimes, records hooks, and waits in containers. `coaming hook-test` runs it.

use std::io::Write;
use std::process::ExitCode;

use coaming_hook_harness::{driver, recorder};

fn main() -> ExitCode {
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if std::process::id() == 1 {
        // In place of a bundle's own program, whose arguments are anything.
        wait();
    }
    match arguments.first().map(String::as_str) {
        Some("drive") => driver::main(),
        Some("record") => recorder::main(arguments.get(1..).unwrap_or_default()),
        Some("wait") => wait(),
        _ => {
            let help = "coaming-hook-test is a part of coaming hook-test; run that";
            let _ = writeln!(std::io::stderr(), "{help}");
            ExitCode::from(2)
        }
    }
}

fn wait() -> ! {
    loop {
        std::thread::park();
    }
}
