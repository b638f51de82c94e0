//! What to check: `check.json` of the launch directory, written by the wrapper.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Deserialize;

use crate::HookError;

/// Room for any argument and any number of rule paths that a launch plan can hold, and little more.
const MAX_SIZE: usize = 8 << 20;

/// The program that the container shall start, and as whom.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Check {
    /// What the spec's author put first into `process.args`.
    pub(crate) arg0: String,
    /// The value of PATH in `process.env`, if it is there.
    pub(crate) path: Option<String>,
    /// `process.cwd`.
    pub(crate) cwd: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) additional_gids: Vec<u32>,
    /// The paths of all Landlock rules.
    pub(crate) rule_paths: Vec<String>,
}

/// The check, and the open file that it was read from.
pub(crate) fn read(path: &Path) -> Result<(Check, File), HookError> {
    let failed = |cause: String| HookError::Check { path: path.display().to_string(), cause };
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| failed(error.to_string()))?;
    if !file.metadata().map_err(|error| failed(error.to_string()))?.is_file() {
        return Err(failed("not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    (&file)
        .take(MAX_SIZE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(error.to_string()))?;
    if bytes.len() > MAX_SIZE {
        return Err(failed(format!("more than {MAX_SIZE} bytes")));
    }
    let check = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
    Ok((check, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"arg0":"sh","path":null,"cwd":"/","uid":0,"gid":5,"additionalGids":[7],"rulePaths":["/usr"]}"#;

    fn read_text(text: &str) -> Result<Check, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.json");
        std::fs::write(&path, text).unwrap();
        read(&path).map(|(check, _)| check).map_err(|error| error.to_string())
    }

    #[test]
    fn a_check_is_read_strictly() {
        let check = read_text(GOOD).unwrap();
        assert_eq!((check.arg0.as_str(), check.path, check.gid), ("sh", None, 5));
        let bad = [
            GOOD.replace("\"gid\"", "\"Gid\""),
            GOOD.replace("\"cwd\":\"/\",", ""),
            GOOD.replace("\"uid\":0", "\"uid\":-1"),
            GOOD.replace("\"uid\":0", "\"uid\":0,\"uid\":1"),
            GOOD.replace("\"uid\":0", "\"uid\":0,\"more\":1"),
            format!("{GOOD}x"),
        ];
        for text in bad {
            assert!(read_text(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_symlink_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("check.json"));
        std::fs::write(&file, GOOD).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&file).is_ok());
        assert!(read(&link).is_err());
    }
}
