use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use crate::versions::{Suite, cache};
use crate::{Error, Guest, output};

/// Whether this machine can run the integration tests; says `skipped: why` when not. Fetches what is missing first.
///
/// # Errors
/// On a machine that says `CI=true` a test that cannot run is a failure: [`Error::Unavailable`].
pub fn can_run() -> Result<bool, Error> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let Some(why) = OBSTACLE.get_or_init(obstacle) else {
        return Ok(true);
    };
    if std::env::var_os("CI").is_some_and(|value| value == "true") {
        return Err(Error::Unavailable(why.clone()));
    }
    eprintln!("skipped: {why}");
    Ok(false)
}

fn obstacle() -> Option<String> {
    // The machine that booted it has seen to all that.
    if Guest::current().is_some() {
        return None;
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, for namespaces and mounts".to_owned());
    }
    // Hidden in a world, whose /run, /tmp and /var/lib are its own.
    if ["/run", "/tmp", "/var/lib"].iter().any(|hidden| cache().starts_with(hidden)) {
        return Some(format!(
            "{} is not visible in a world: choose another COAMING_INTEGRATION_CACHE",
            cache().display()
        ));
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("install.sh");
    match output::run(&mut Command::new(&script), b"") {
        Ok(output) if output.success() => {}
        Ok(output) => return Some(output.text()),
        Err(error) => return Some(error.to_string()),
    }
    let missing: Vec<_> =
        Suite::ALL.iter().filter(|suite| !suite.is_fetched()).map(Suite::to_string).collect();
    (!missing.is_empty()).then(|| format!("{} fetched no {}", script.display(), missing.join(", ")))
}
