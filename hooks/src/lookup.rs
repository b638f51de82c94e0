//! Which file a workload's first argument names.
//!
//! runc looks `process.args[0]` up with Go's `exec.LookPath` (runc `libcontainer/standard_init_linux.go`
//! and `setns_init_linux.go`; Go 1.20 `os/exec/lp_unix.go`). Once the launcher stands in front of the
//! workload, that lookup happens here, and its words are runc's, because people and tools know them.

use std::fmt;

/// Why one candidate cannot be executed, as Go's `findExecutable` sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// stat(2) failed with this errno.
    Stat(i32),
    /// It is there, and a directory or not executable: this errno.
    Access(i32),
}

/// Why nothing can be executed. Its text is runc's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupError {
    /// What was looked up.
    pub name: Vec<u8>,
    /// What came of it.
    pub cause: LookupCause,
}

/// The cause of a [`LookupError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupCause {
    /// No directory of PATH holds it.
    NotFound,
    /// The first that PATH holds is relative to the working directory, which Go refuses.
    Relative,
    /// The name has a slash, and the file it names is refused.
    Refused(Refusal),
    /// execve(2) of what was found failed with this errno.
    Exec(i32),
}

/// The file to execute for `name`, with `path` the value of PATH if it is set.
///
/// `probe` says whether the calling user may execute a file.
///
/// # Errors
/// When there is no such file.
pub fn look_path(
    name: &[u8],
    path: Option<&[u8]>,
    mut probe: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<Vec<u8>, LookupError> {
    let error = |cause| LookupError { name: name.to_vec(), cause };
    if name.contains(&b'/') {
        return match probe(name) {
            Ok(()) => Ok(name.to_vec()),
            Err(refusal) => Err(error(LookupCause::Refused(refusal))),
        };
    }
    // An empty PATH has no element; an empty element of a longer one is the working directory.
    let elements = path.filter(|value| !value.is_empty()).into_iter();
    for element in elements.flat_map(|value| value.split(|byte| *byte == b':')) {
        let candidate = clean(element, name);
        if probe(&candidate).is_ok() {
            return match candidate.first() {
                Some(b'/') => Ok(candidate),
                _ => Err(error(LookupCause::Relative)),
            };
        }
    }
    Err(error(LookupCause::NotFound))
}

/// Go's `filepath.Join` of a PATH element and a name without slashes. It resolves `.` and `..` by
/// text alone, so `/link/../bin` is `/bin` wherever the link points: what runc would have run.
fn clean(element: &[u8], name: &[u8]) -> Vec<u8> {
    let rooted = element.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in element.split(|byte| *byte == b'/').chain([name]) {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let mut joined = if rooted { vec![b'/'] } else { Vec::new() };
    joined.extend(parts.join(&b'/'));
    if joined.is_empty() { vec![b'.'] } else { joined }
}

impl LookupError {
    /// The exit code that shells and container tools give: 127 for not found, 126 for found but not
    /// executable.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self.cause {
            LookupCause::NotFound => 127,
            LookupCause::Refused(Refusal::Stat(errno)) | LookupCause::Exec(errno)
                if errno == libc::ENOENT || errno == libc::ENOTDIR =>
            {
                127
            }
            _ => 126,
        }
    }
}

impl std::error::Error for LookupError {}

impl fmt::Display for LookupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        write!(out, "exec: {name:?}: ")?;
        match self.cause {
            LookupCause::NotFound => out.write_str("executable file not found in $PATH"),
            LookupCause::Relative => {
                out.write_str("cannot run executable found relative to current directory")
            }
            LookupCause::Refused(Refusal::Stat(errno)) => {
                write!(out, "stat {name}: {}", Words(errno))
            }
            LookupCause::Refused(Refusal::Access(errno)) | LookupCause::Exec(errno) => {
                write!(out, "{}", Words(errno))
            }
        }
    }
}

/// An errno in Go's words, which are the same under every libc.
pub struct Words(
    /// The errno.
    pub i32,
);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0 {
            libc::EPERM => "operation not permitted",
            libc::ENOENT => "no such file or directory",
            libc::E2BIG => "argument list too long",
            libc::ENOEXEC => "exec format error",
            libc::ENOMEM => "cannot allocate memory",
            libc::EACCES => "permission denied",
            libc::ENOTDIR => "not a directory",
            libc::EISDIR => "is a directory",
            libc::EINVAL => "invalid argument",
            libc::ETXTBSY => "text file busy",
            libc::ENAMETOOLONG => "file name too long",
            libc::ENOSYS => "function not implemented",
            libc::ELOOP => "too many levels of symbolic links",
            errno => return write!(out, "errno {errno}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system where these files are executable, and those exist without being so.
    fn look(name: &str, path: Option<&str>) -> Result<String, LookupCause> {
        let executable =
            ["/bin/sh", "/usr/bin/sh", "sh", "here/tool", "/opt/app", "./app", "sub/app"];
        let probe = |file: &[u8]| match std::str::from_utf8(file).unwrap() {
            file if executable.contains(&file) => Ok(()),
            "/plain/sh" | "/opt/data" => Err(Refusal::Access(libc::EACCES)),
            "/opt" | "/bin" => Err(Refusal::Access(libc::EISDIR)),
            _ => Err(Refusal::Stat(libc::ENOENT)),
        };
        look_path(name.as_bytes(), path.map(str::as_bytes), probe)
            .map(|found| String::from_utf8(found).unwrap())
            .map_err(|error| error.cause)
    }

    #[test]
    fn names_are_found_as_go_finds_them() {
        let found = |file: &str| Ok(file.to_owned());
        let missing = Err(LookupCause::NotFound);
        let stat = Err(LookupCause::Refused(Refusal::Stat(libc::ENOENT)));
        let access = |errno| Err(LookupCause::Refused(Refusal::Access(errno)));
        let cases: &[(&str, Option<&str>, Result<String, LookupCause>)] = &[
            ("sh", Some("/usr/bin:/bin"), found("/usr/bin/sh")),
            ("sh", Some("/bin:/usr/bin"), found("/bin/sh")),
            ("sh", Some("/nowhere:/bin"), found("/bin/sh")),
            ("sh", Some("/plain:/bin"), found("/bin/sh")),
            ("sh", Some("/plain"), missing.clone()),
            ("sh", Some("//usr/./bin/"), found("/usr/bin/sh")),
            ("sh", Some("/link/../../bin"), found("/bin/sh")),
            ("sh", None, missing.clone()),
            ("sh", Some(""), missing.clone()),
            ("sh", Some(":/bin"), Err(LookupCause::Relative)),
            ("sh", Some("."), Err(LookupCause::Relative)),
            ("sh", Some("/bin:"), found("/bin/sh")),
            ("tool", Some("here"), Err(LookupCause::Relative)),
            ("tool", Some("x/../here:/bin"), Err(LookupCause::Relative)),
            ("tool", Some("../here"), missing.clone()),
            ("bin", Some("/"), missing.clone()),
            ("", Some("/bin"), missing),
            ("/opt/app", None, found("/opt/app")),
            ("./app", Some("/bin"), found("./app")),
            ("sub/app", None, found("sub/app")),
            ("/nosuch", Some("/bin"), stat.clone()),
            ("./sh", Some("/bin"), stat),
            ("/opt/data", None, access(libc::EACCES)),
            ("/opt", None, access(libc::EISDIR)),
        ];
        for (name, path, expected) in cases {
            assert_eq!(&look(name, *path), expected, "{name:?} in {path:?}");
        }
    }

    #[test]
    fn the_words_and_codes_are_those_that_people_know() {
        let cases = [
            (LookupCause::NotFound, "executable file not found in $PATH", 127),
            (
                LookupCause::Relative,
                "cannot run executable found relative to current directory",
                126,
            ),
            (
                LookupCause::Refused(Refusal::Stat(libc::ENOENT)),
                "stat /x: no such file or directory",
                127,
            ),
            (LookupCause::Refused(Refusal::Stat(libc::EACCES)), "stat /x: permission denied", 126),
            (LookupCause::Refused(Refusal::Access(libc::EACCES)), "permission denied", 126),
            (LookupCause::Refused(Refusal::Access(libc::EISDIR)), "is a directory", 126),
            (LookupCause::Exec(libc::ENOEXEC), "exec format error", 126),
            (LookupCause::Exec(libc::ENOENT), "no such file or directory", 127),
            (LookupCause::Exec(libc::EIO), "errno 5", 126),
        ];
        for (cause, words, code) in cases {
            let error = LookupError { name: b"/x".to_vec(), cause };
            assert_eq!(error.to_string(), format!("exec: \"/x\": {words}"));
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn a_name_cannot_forge_a_second_line() {
        let error = LookupError { name: b"a\nb\x1b\xff".to_vec(), cause: LookupCause::NotFound };
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
    }
}
