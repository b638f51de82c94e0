//! Outputs to files and logging programs.

use coaming_integration::Error;
use coaming_integration::task_api::Streams;

use super::{Scenario, scenario};
use crate::stage::Stage;

/// Keeps what it is given, and what it is told of whose output that is.
const LOGGER: &str = "#!/bin/sh
trap '' TERM
echo \"$CONTAINER_ID $CONTAINER_NAMESPACE\" >$2.who
cat <&3 >$2.out 5>&- &
cat <&4 >$2.err 5>&- &
exec 3<&- 4<&- 5>&-
wait
";

pub(super) const ALL: &[Scenario] = &[
    scenario("output-to-a-file", |stage| to_file(stage, "file", "echo said", "said\n")),
    scenario("errors-to-a-file", |stage| to_file(stage, "file", "echo said >&2", "said\n")),
    scenario("output-to-a-file-in-a-new-folder", |stage| {
        to_file(stage, "new/folder/file", "echo said", "said\n")
    }),
    scenario("output-to-a-file-is-appended", |stage| {
        to_file(stage, "file", "echo first", "first\n")?;
        to_file(stage, "file", "echo first", "first\nfirst\n")
    }),
    scenario("output-of-an-exec-to-a-file", exec_to_file),
    scenario("output-to-a-program", |stage| to_program(stage, LOGGER)),
    scenario("a-program-that-ends-at-once", |stage| to_program(stage, "#!/bin/sh\nexit 1\n")),
    scenario("a-program-that-is-not-there", |stage| {
        let mut plan = stage.plan("a", &["true"])?;
        plan.streams.stdout = "binary:///run/no-such-logger".to_owned();
        plan.streams.stderr.clone_from(&plan.streams.stdout);
        stage.attempt("a", &plan)
    }),
    scenario("an-unknown-kind-of-output", |stage| {
        let mut plan = stage.plan("a", &["true"])?;
        plan.streams.stdout = "carrier-pigeon:///run/coop".to_owned();
        plan.streams.stderr.clone_from(&plan.streams.stdout);
        stage.attempt("a", &plan)
    }),
];

/// What the stock shim writes is not looked at: it now and then loses what came last. Ours is held to what was said.
fn to_file(stage: &Stage<'_>, file: &str, script: &str, said: &str) -> Result<(), Error> {
    let path = stage.path(file)?;
    let mut plan = stage.plan("a", &["sh", "-c", script])?;
    plan.streams.stdout = format!("file://{path}");
    plan.streams.stderr.clone_from(&plan.streams.stdout);
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    let text = stage.tasks.node().world().read(&path).unwrap_or_else(|error| error.to_string());
    stage.note("file", if stage.is_stock() { said.to_owned() } else { text });
    Ok(())
}

fn exec_to_file(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let path = stage.path("exec")?;
    let stdout = format!("file://{path}");
    let streams = Streams { stderr: stdout.clone(), stdout, ..Streams::default() };
    stage.exec_with("a", "x", &stage.process(&["echo", "said"])?, &streams)?;
    stage.finish("a", "x")?;
    stage.note("file", stage.tasks.node().world().read(&path)?);
    stage.end("a")
}

fn to_program(stage: &Stage<'_>, program: &str) -> Result<(), Error> {
    let world = stage.tasks.node().world();
    let (logger, to) = (stage.path("logger")?, stage.path("log")?);
    world.write(&logger, program, 0o755)?;
    let mut plan = stage.plan("a", &["sh", "-c", "echo out; echo err >&2; exit 5"])?;
    plan.streams.stdout = format!("binary://{logger}?to={to}");
    plan.streams.stderr.clone_from(&plan.streams.stdout);
    stage.attempt("a", &plan)?;
    for kind in ["who", "out", "err"] {
        let text = world.read(format!("{to}.{kind}")).unwrap_or_default();
        stage.note(kind, text.replace(stage.namespace(), "NAMESPACE"));
    }
    Ok(())
}
