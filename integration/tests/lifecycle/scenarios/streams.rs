//! Inputs and outputs through FIFOs.

use coaming_integration::Error;
use coaming_integration::task_api::Streams;

use super::{Scenario, scenario};
use crate::fifos::{Reader, Writer};
use crate::stage::Stage;

/// Many times what a pipe holds.
const MUCH: usize = 8 << 20;

pub(super) const ALL: &[Scenario] = &[
    scenario("outputs", outputs),
    scenario("output-alone", |stage| one_output(stage, true)),
    scenario("errors-alone", |stage| one_output(stage, false)),
    scenario("missing-fifos", missing_fifos),
    scenario("input-to-its-end", |stage| input(stage, true)),
    scenario("input-line-by-line", |stage| input(stage, false)),
    scenario("exec-with-input", exec_with_input),
    scenario("close-what-has-no-input", |stage| {
        stage.sleeper("a")?;
        stage.said("close", stage.tasks.close_stdin(&stage.id("a"), ""))?;
        stage.said("close", stage.tasks.close_stdin(&stage.id("a"), ""))?;
        stage.end("a")
    }),
    scenario("much-output", much_output),
    scenario("much-output-of-execs", much_output_of_execs),
    scenario("output-without-a-reader", output_without_a_reader),
    scenario("output-that-outlives-its-container", output_that_outlives_its_container),
    scenario("reader-comes-and-goes", reader_comes_and_goes),
    scenario("owner-of-the-pipes", owner_of_the_pipes),
];

fn outputs(stage: &Stage<'_>) -> Result<(), Error> {
    let (stdout, stderr) = (Reader::open(stage, "stdout")?, Reader::open(stage, "stderr")?);
    let mut plan = stage.plan("a", &["sh", "-c", "echo out; echo err >&2; exit 3"])?;
    plan.streams.stdout.clone_from(&stdout.path);
    plan.streams.stderr.clone_from(&stderr.path);
    stage.create("a", &plan)?;
    stage.get("a", "")?;
    stage.start("a", "")?;
    stage.finish("a", "")?;
    stage.note("stdout", stdout.text()?);
    stage.note("stderr", stderr.text()?);
    Ok(())
}

fn one_output(stage: &Stage<'_>, out: bool) -> Result<(), Error> {
    let reader = Reader::open(stage, "one")?;
    let mut plan = stage.plan("a", &["sh", "-c", "echo out; echo err >&2"])?;
    let stream = if out { &mut plan.streams.stdout } else { &mut plan.streams.stderr };
    stream.clone_from(&reader.path);
    stage.attempt("a", &plan)?;
    stage.note("read", reader.text()?);
    Ok(())
}

fn missing_fifos(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["true"])?;
    plan.streams.stdin = "/run/no-such-folder/stdin".to_owned();
    plan.streams.stdout = "/run/no-such-folder/stdout".to_owned();
    plan.streams.stderr = "/run/no-such-folder/stderr".to_owned();
    stage.attempt("a", &plan)
}

fn input(stage: &Stage<'_>, to_its_end: bool) -> Result<(), Error> {
    let stdout = Reader::open(stage, "stdout")?;
    let mut stdin = Writer::open(stage, "stdin")?;
    let args: &[&str] = if to_its_end { &["cat"] } else { &["head", "-n2"] };
    let mut plan = stage.plan("a", args)?;
    plan.streams = Streams { stdin: stdin.path.clone(), ..stdout.streams() };
    stage.create("a", &plan)?;
    stdin.write(b"one\n")?;
    stage.start("a", "")?;
    stdin.write(b"two\n")?;
    if to_its_end {
        drop(stdin);
        stage.said("close", stage.tasks.close_stdin(&stage.id("a"), ""))?;
        stage.finish("a", "")?;
    } else {
        stage.finish("a", "")?;
        drop(stdin);
    }
    stage.note("stdout", stdout.text()?);
    Ok(())
}

fn exec_with_input(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let stdout = Reader::open(stage, "stdout")?;
    let mut stdin = Writer::open(stage, "stdin")?;
    let streams = Streams { stdin: stdin.path.clone(), ..stdout.streams() };
    stage.exec_with("a", "x", &stage.process(&["sh", "-c", "cat; exit 4"])?, &streams)?;
    stdin.write(b"words\n")?;
    drop(stdin);
    stage.said("close", stage.tasks.close_stdin(&stage.id("a"), "x"))?;
    stage.finish("a", "x")?;
    stage.note("stdout", stdout.text()?);
    stage.end("a")
}

fn much_output(stage: &Stage<'_>) -> Result<(), Error> {
    let (stdout, stderr) = (Reader::open(stage, "stdout")?, Reader::open(stage, "stderr")?);
    let much = format!("head -c {MUCH} /dev/zero & head -c {MUCH} /dev/zero >&2; wait");
    let mut plan = stage.plan("a", &["sh", "-c", &much])?;
    plan.streams.stdout.clone_from(&stdout.path);
    plan.streams.stderr.clone_from(&stderr.path);
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    stage.note("stdout", stdout.finish()?.len());
    stage.note("stderr", stderr.finish()?.len());
    Ok(())
}

fn much_output_of_execs(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let much = format!("head -c {} /dev/zero", MUCH / 4);
    let process = stage.process(&["sh", "-c", &much])?;
    let execs = ["x", "y", "z"];
    let mut readers = Vec::new();
    for exec in execs {
        let stdout = Reader::open(stage, exec)?;
        stage.exec_with("a", exec, &process, &stdout.streams())?;
        readers.push(stdout);
    }
    for (exec, stdout) in execs.into_iter().zip(readers) {
        stage.finish("a", exec)?;
        stage.note(exec, stdout.finish()?.len());
    }
    stage.end("a")
}

/// What nobody reads must not keep a container from its end.
fn output_without_a_reader(stage: &Stage<'_>) -> Result<(), Error> {
    let stdout = Reader::open(stage, "stdout")?;
    let mut plan = stage.plan("a", &["sh", "-c", "yes"])?;
    plan.streams = stdout.streams();
    stage.run("a", &plan)?;
    stage.exec("a", "x", &["true"])?;
    stage.finish("a", "x")?;
    stage.end("a")?;
    stage.note("something was written", !stdout.finish()?.is_empty());
    Ok(())
}

/// A process of the node's PID namespace that leaves the container's cgroups holds its output when all is over.
fn output_that_outlives_its_container(stage: &Stage<'_>) -> Result<(), Error> {
    let stdout = Reader::open(stage, "stdout")?;
    let mut plan = stage.script("a", "(sleep 2) & echo said; READY; exit 0")?;
    plan.streams = stdout.streams();
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    stage.note("stdout", stdout.text()?);
    Ok(())
}

/// As when containerd is restarted: nothing breaks, and nothing is lost.
fn reader_comes_and_goes(stage: &Stage<'_>) -> Result<(), Error> {
    let stdout = Reader::open_for_a_line(stage, "stdout")?;
    let go = format!("/tmp/{}-go", stage.id("a"));
    let script = format!(
        "echo one; until test -e {go}; do sleep 0.05; done; echo two || exit 8; READY; exit 3"
    );
    let mut plan = stage.script("a", &script)?;
    plan.streams = stdout.streams();
    stage.run("a", &plan)?;
    // With its line it has closed its end.
    let (line, stdout) = stdout.line()?;
    stage.note("before", line);
    let path = stage.inside(&go);
    std::fs::write(&path, "")
        .map_err(|error| Error::Unavailable(format!("write {}: {error}", path.display())))?;
    stage.ready("a")?;
    stage.finish("a", "")?;
    stage.note("after", stdout.text()?);
    Ok(())
}

fn owner_of_the_pipes(stage: &Stage<'_>) -> Result<(), Error> {
    let stdout = Reader::open(stage, "stdout")?;
    let mut plan = stage.plan("a", &["sh", "-c", "stat -L -c %u:%g /proc/self/fd/1"])?;
    plan.shim.io_owner = 1000;
    plan.streams = stdout.streams();
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    stage.note("owner", stdout.text()?);
    Ok(())
}
