use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::kernels;
use crate::versions::cache;
use crate::{Error, output};

/// Of the policy's binary form; every kernel since 5.15 reads it.
const VERSION: &str = "33";

/// The small policy of guests, whole: the categories, too many to be written, are put in.
pub(super) fn base() -> Result<String, Error> {
    let path = kernels().join("selinux.cil");
    let mut text = fs::read_to_string(&path).map_err(Error::io("read", path.display()))?;
    let mut order = String::new();
    for number in 0..1024 {
        let _ = writeln!(text, "(category c{number})");
        let _ = write!(order, " c{number}");
    }
    let _ = writeln!(text, "(categoryorder ({order}))");
    Ok(text)
}

/// Compiles a policy for the kernel.
pub(super) fn compile(from: &Path, to: &Path) -> Result<(), Error> {
    let compiler = cache().join("mac/bin/secilc");
    let mut command = Command::new(&compiler);
    command.args(["-M", "true", "-c", VERSION, "-f", "/dev/null", "-o"]).arg(to).arg(from);
    output::run(&mut command, b"")?.ok("secilc").map(drop)
}
