use std::time::{Duration, Instant};

use crate::Error;

/// How long anything may take. Build machines are slow and noisy; nothing that works is told apart by this.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until something is there. It gives up in the end: a test must not hang.
///
/// # Errors
/// As `look`, or that there was nothing within [`PATIENCE`].
pub fn wait_for<T>(
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(Error::NotReady {
                what: what.to_owned(),
                seconds: PATIENCE.as_secs(),
                log: String::new(),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
