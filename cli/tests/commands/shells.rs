//! Completions and manual pages: of every command, and such that their programs read them.

use std::process::Command;

use tempfile::tempdir;

use super::{coaming, write};

const COMMANDS: [&str; 6] = ["check", "diff", "explain", "schema", "seccomp", "status"];

#[test]
fn completions_know_every_command_and_the_shell_reads_them() {
    for shell in ["bash", "fish", "zsh"] {
        let said = coaming(&["completions", shell]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        for command in COMMANDS {
            assert!(said.out.contains(command), "{shell} does not know {command}");
        }
        let folder = tempdir().unwrap();
        let file = write(folder.path(), "completions", &said.out);
        // Only a shell that is there can read it; where everything must run, all are.
        let must = shell == "bash" || std::env::var_os("CI").is_some_and(|ci| ci == "true");
        match Command::new(shell).args(["-n", &file]).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {read:?}"),
            Err(_) if !must => eprintln!("skipped: {shell} is not installed"),
            Err(error) => panic!("{shell}: {error}; integration/install.sh installs it"),
        }
    }
    assert_eq!(coaming(&["completions", "tcsh"]).code, Some(2));
}

#[test]
fn there_is_a_page_for_every_command() {
    let folder = tempdir().unwrap();
    let said = coaming(&["man", "--output-dir", &folder.path().display().to_string()]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let page = |name: &str| {
        let path = folder.path().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert!(page("coaming.1").contains("coaming\\-check(1)"));
    for command in COMMANDS {
        assert!(page(&format!("coaming-{command}.1")).contains(".TH "), "{command}");
    }
    assert!(page("coaming-seccomp-meet.1").contains("runtime\\-default"));
    assert!(
        !folder.path().join("coaming-man.1").exists()
            && !folder.path().join("coaming-help.1").exists()
    );
    let said = coaming(&["man", "--output-dir", "/nonexistent"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("/nonexistent/coaming.1"), "{}", said.err);
}
