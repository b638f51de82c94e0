//! Labels of files: of the launcher, and of what it reads in the container.

use std::io;
use std::path::Path;

use coaming_policy::controls::Node;

use crate::config;
use crate::state::StateError;
use crate::sys;

/// Gives the folder that the container sees the launcher's label: what may execute the launcher may then read
/// its plan. What is made in the folder later has its type. Without it /run's label would be a
/// label that containers have no access to.
pub(crate) fn of_launch(folder: &Path, node: &Node) -> Result<(), StateError> {
    if !super::is_active(node) {
        return Ok(());
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| StateError::Io {
            operation: "give the launcher's SELinux label to",
            path,
            error,
        }
    };
    let launcher = Path::new(config::LAUNCHER);
    let label = of_file(launcher).map_err(failed(launcher))?;
    sys::set_label(folder, &label).map_err(failed(folder))
}

/// The label of a file, links followed.
pub(super) fn of_file(path: &Path) -> io::Result<String> {
    let label = sys::label(path)?;
    Ok(String::from_utf8_lossy(&label).trim_end_matches('\0').to_owned())
}
