//! What containers that are gone have left on the node.

use std::time::{Duration, Instant};

use coaming_integration::Error;
use coaming_integration::residue::of;

use crate::stage::Stage;

/// A shim that is told to end has ended by then, or never does.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) fn write_down(stage: &Stage<'_>, made: &[String]) -> Result<(), Error> {
    let world = stage.tasks.node().world();
    let end = Instant::now() + stage.patience().unwrap_or(LIMIT);
    let look = || -> Vec<String> {
        made.iter().flat_map(|name| of(world, stage.namespace(), &stage.id(name))).collect()
    };
    let mut left = look();
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        left = look();
    }
    let left: Vec<&str> = left.iter().map(|found| without_its_name(found)).collect();
    stage.note("left", stage.own(&left.join(", ")));
    Ok(())
}

/// A socket's path says nothing to a reader, and a process's number is of the moment.
fn without_its_name(found: &str) -> &str {
    if found.starts_with("socket ") { "socket" } else { found }
}
