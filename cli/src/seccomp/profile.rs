//! A profile that is named on the command line.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use coaming_policy::controls::capabilities::Capability;
use coaming_policy::seccomp::{Function, Profile, Reading, SeccompError, Source, Target, builtin};

use crate::error::CommandError;

/// Above any limit that the parser has; it says so.
const MOST: u64 = 4 << 20;

/// What a profile with conditions (`includes`, `excludes`) is read for.
#[derive(Debug, clap::Args)]
pub(super) struct Conditions {
    /// A capability of the container, such as SYS_ADMIN; may be given several times, or `all`. For
    /// profiles with conditions; default: none.
    #[arg(long = "capability", value_name = "CAPABILITY", value_parser = capability)]
    capabilities: Vec<String>,
    /// The kernel's version, such as 6.12, for profiles with conditions. Default: newer than any.
    #[arg(long, value_name = "VERSION", value_parser = kernel)]
    kernel: Option<(u32, u32)>,
}

impl Conditions {
    /// The profile as a policy reads it.
    pub(super) fn function(&self, name: &Path) -> Result<Function, CommandError> {
        self.function_with(name, &self.named())
    }

    pub(super) fn function_with(
        &self,
        name: &Path,
        caps: &BTreeSet<String>,
    ) -> Result<Function, CommandError> {
        let wrong = |error| CommandError::Profile { path: name.to_owned(), error };
        let source = read(name)?.map_err(wrong)?;
        self.resolve(&source, caps).and_then(|profile| function(&profile)).map_err(wrong)
    }

    pub(super) fn resolve(
        &self,
        source: &Source,
        caps: &BTreeSet<String>,
    ) -> Result<Profile, SeccompError> {
        source.resolve(&Target { caps, kernel: self.kernel.unwrap_or((u32::MAX, 0)) })
    }

    /// The capabilities that are given.
    fn named(&self) -> BTreeSet<String> {
        if self.capabilities.iter().any(|name| name == ALL) {
            return all();
        }
        self.capabilities.iter().cloned().collect()
    }

    /// The sets of capabilities that speak for all: those given, or none and all.
    pub(super) fn extremes(&self) -> Vec<BTreeSet<String>> {
        if self.capabilities.is_empty() {
            return vec![BTreeSet::new(), all()];
        }
        vec![self.named()]
    }
}

const ALL: &str = "all";

fn all() -> BTreeSet<String> {
    Capability::all().map(|name| format!("CAP_{name}")).collect()
}

/// The function of a profile that a policy would take.
pub(super) fn function(profile: &Profile) -> Result<Function, SeccompError> {
    if profile.notifies() || profile.listener().is_some() {
        return Err(SeccompError::Unsupported {
            what: "SCMP_ACT_NOTIFY".to_owned(),
            why: "an agent would decide in the profile's place, and of that nothing can be said"
                .to_owned(),
        });
    }
    Function::of(profile, Reading::Policy)
}

/// The content of a file, or what is built in; the inner error is of the content.
pub(super) fn read(name: &Path) -> Result<Result<Source, SeccompError>, CommandError> {
    if let Some(source) = name.to_str().and_then(builtin) {
        return Ok(Ok(source.clone()));
    }
    let bytes = bytes(name).map_err(|error| CommandError::Path { path: name.to_owned(), error })?;
    Ok(Source::parse(&bytes))
}

fn bytes(name: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(name)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// With or without `CAP_`.
fn capability(name: &str) -> Result<String, String> {
    let upper = name.to_uppercase();
    let plain = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name == ALL {
        return Ok(name.to_owned());
    }
    let known = Capability::all().any(|capability| capability.to_string() == plain);
    known.then(|| format!("CAP_{plain}")).ok_or_else(|| {
        let all: Vec<String> = Capability::all().map(|name| name.to_string()).collect();
        coaming_config::suggest::unknown("capability", plain, all.iter().map(String::as_str))
    })
}

fn kernel(text: &str) -> Result<(u32, u32), String> {
    let version = text.split_once('.').and_then(|(major, minor)| {
        let digits = minor.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((major.parse().ok()?, digits.parse().ok()?))
    });
    version.ok_or_else(|| "a kernel version begins with two numbers, such as 6.12".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_capabilities_are_read_as_people_write_them() {
        assert_eq!(kernel("6.1"), Ok((6, 1)));
        assert_eq!(kernel("6.12.3-amd64"), Ok((6, 12)));
        assert!(kernel("6").is_err() && kernel("six.one").is_err());
        assert_eq!(capability("sys_admin").as_deref(), Ok("CAP_SYS_ADMIN"));
        assert_eq!(capability("CAP_BPF").as_deref(), Ok("CAP_BPF"));
        assert!(capability("SYS_ADMN").unwrap_err().contains("SYS_ADMIN"));
    }
}
