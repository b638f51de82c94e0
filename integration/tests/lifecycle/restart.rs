//! containerd is killed and started again in the middle: what ran goes on, what ended meanwhile has ended, and streams
//! that other processes hold are not cut. Events are left out: which of them outlive the gap is a matter of moments.

use coaming_integration::task_api::Streams;
use coaming_integration::{Error, Node};

use crate::fifos::Reader;
use crate::stage::Stage;

const SCENARIO: &str = "restart-of-containerd";

/// Plays on each stage, with one restart for all.
///
/// # Errors
/// The harness's own.
pub(crate) fn play<'a>(
    node: &'a Node,
    stages: [Stage<'a>; 2],
) -> Result<[crate::transcript::Transcript; 2], Error> {
    let mut before = Vec::new();
    for mut stage in stages {
        stage.is_heard = false;
        let reader = begin(&stage)?;
        before.push((stage, reader));
    }
    node.stop_containerd("KILL")?;
    for (stage, _) in &before {
        release(stage, "while-down")?;
        for name in ["b", "d"] {
            stage.ready(name)?;
        }
    }
    node.start_containerd()?;
    let mut transcripts = Vec::new();
    for (mut stage, reader) in before {
        stage.tasks = node.tasks(stage.namespace())?;
        go_on(&stage, reader)?;
        transcripts.push(stage.close()?);
    }
    transcripts.try_into().map_err(|_| Error::Unavailable("no two transcripts".to_owned()))
}

/// The name of what it plays.
pub(crate) const fn name() -> &'static str {
    SCENARIO
}

fn begin(stage: &Stage<'_>) -> Result<Reader, Error> {
    let until = |name: &str| format!("until test -e /tmp/{}; do sleep 0.05; done", stage.id(name));
    let stdout = Reader::open(stage, "stdout")?;
    let script = format!(
        "echo one; {}; echo two; READY; {}; echo three; exit 3",
        until("while-down"),
        until("afterwards")
    );
    let mut talks = stage.script("b", &script)?;
    talks.streams = stdout.streams();
    let ends = stage.script("d", &format!("{}; READY; exit 4", until("while-down")))?;
    stage.sleeper("a")?;
    stage.run("b", &talks)?;
    stage.create("c", &stage.plan("c", &["sh", "-c", "exit 5"])?)?;
    stage.run("d", &ends)?;
    stage.exec("a", "x", &["sleep", "1001"])?;
    stage.add("a", "y", &stage.process(&["sh", "-c", "exit 6"])?, &Streams::default())?;
    Ok(stdout)
}

fn go_on(stage: &Stage<'_>, stdout: Reader) -> Result<(), Error> {
    for (name, exec) in [("a", ""), ("a", "x"), ("a", "y"), ("b", ""), ("c", "")] {
        stage.get(name, exec)?;
    }
    stage.wait("d", "")?;
    stage.get("d", "")?;
    stage.delete("d", "")?;
    stage.start("a", "y")?;
    stage.finish("a", "y")?;
    stage.exec("a", "z", &["true"])?;
    stage.finish("a", "z")?;
    stage.start("c", "")?;
    stage.finish("c", "")?;
    release(stage, "afterwards")?;
    stage.finish("b", "")?;
    stage.note("stdout", stdout.text()?);
    stage.kill("a", "x", 9)?;
    stage.finish("a", "x")?;
    stage.end("a")
}

/// Lets scripts go on that wait for it.
fn release(stage: &Stage<'_>, name: &str) -> Result<(), Error> {
    let path = stage.inside(&format!("/tmp/{}", stage.id(name)));
    std::fs::write(&path, "")
        .map_err(|error| Error::Unavailable(format!("write {}: {error}", path.display())))
}
