//! Terminals.

use coaming_integration::Error;
use coaming_integration::task_api::Streams;
use serde_json::json;

use super::{Scenario, scenario};
use crate::fifos::{Reader, Writer};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("terminal", terminal),
    scenario("terminal-resized", terminal_resized),
    scenario("terminal-with-input", terminal_with_input),
    scenario("terminal-of-an-exec", terminal_of_an_exec),
    scenario("terminal-hung-up", terminal_hung_up),
    scenario("terminal-of-a-missing-program", terminal_of_a_missing_program),
    scenario("resize-without-a-terminal", |stage| {
        stage.sleeper("a")?;
        stage.said("resize", stage.tasks.resize(&stage.id("a"), "", 80, 25))?;
        stage.exec("a", "x", &["sleep", "1001"])?;
        stage.said("resize", stage.tasks.resize(&stage.id("a"), "x", 80, 25))?;
        stage.kill("a", "x", 9)?;
        stage.finish("a", "x")?;
        stage.end("a")
    }),
];

fn on_terminal(
    stage: &Stage<'_>,
    script: &str,
) -> Result<(crate::stage::Plan, Reader, Writer), Error> {
    let (stdout, stdin) = (Reader::open(stage, "stdout")?, Writer::open(stage, "stdin")?);
    let mut plan = stage.script("a", script)?;
    plan.spec["process"]["terminal"] = json!(true);
    plan.streams = Streams {
        stdin: stdin.path.clone(),
        stdout: stdout.path.clone(),
        terminal: true,
        ..Streams::default()
    };
    Ok((plan, stdout, stdin))
}

fn terminal(stage: &Stage<'_>) -> Result<(), Error> {
    let (plan, stdout, stdin) =
        on_terminal(stage, "test -t 0 && test -t 1 && echo a terminal; exit 3")?;
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    Ok(())
}

fn terminal_resized(stage: &Stage<'_>) -> Result<(), Error> {
    let size =
        "until test \"$(stty size 2>/dev/null)\" = '25 81'; do sleep 0.02; done; echo resized";
    let (plan, stdout, stdin) = on_terminal(stage, &format!("READY; {size}"))?;
    stage.create("a", &plan)?;
    stage.said("resize", stage.tasks.resize(&stage.id("a"), "", 40, 10))?;
    stage.start("a", "")?;
    stage.ready("a")?;
    stage.said("resize", stage.tasks.resize(&stage.id("a"), "", 81, 25))?;
    stage.finish("a", "")?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    Ok(())
}

fn terminal_with_input(stage: &Stage<'_>) -> Result<(), Error> {
    let (plan, stdout, mut stdin) =
        on_terminal(stage, "stty -echo; READY; read line; echo \"got $line\"; exit 2")?;
    stage.run("a", &plan)?;
    stage.ready("a")?;
    stdin.write(b"typed\n")?;
    stage.finish("a", "")?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    Ok(())
}

fn terminal_of_an_exec(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let (stdout, stdin) = (Reader::open(stage, "stdout")?, Writer::open(stage, "stdin")?);
    let size = "test -t 0 || exit 1; until test \"$(stty size 2>/dev/null)\" = '25 81'; do sleep 0.02; done; echo resized; exit 6";
    let mut process = stage.process(&["sh", "-c", size])?;
    process["terminal"] = json!(true);
    let streams = Streams {
        stdin: stdin.path.clone(),
        stdout: stdout.path.clone(),
        terminal: true,
        ..Streams::default()
    };
    stage.exec_with("a", "x", &process, &streams)?;
    stage.get("a", "x")?;
    stage.said("resize", stage.tasks.resize(&stage.id("a"), "x", 81, 25))?;
    stage.finish("a", "x")?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    stage.end("a")
}

/// With its first process the terminal goes, and the others are told.
fn terminal_hung_up(stage: &Stage<'_>) -> Result<(), Error> {
    let (plan, stdout, stdin) =
        on_terminal(stage, "trap 'echo hung up; exit 7' HUP; READY; while :; do sleep 0.05; done")?;
    stage.run("a", &plan)?;
    stage.ready("a")?;
    stage.kill("a", "", 1)?;
    stage.finish("a", "")?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    Ok(())
}

/// Nothing is left of the socket over which the terminal comes.
fn terminal_of_a_missing_program(stage: &Stage<'_>) -> Result<(), Error> {
    let (mut plan, stdout, stdin) = on_terminal(stage, "")?;
    plan.spec["process"]["args"] = json!(["/bin/absent"]);
    stage.attempt("a", &plan)?;
    drop(stdin);
    stage.note("stdout", stdout.text()?.escape_debug());
    Ok(())
}
