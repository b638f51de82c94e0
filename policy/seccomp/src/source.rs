//! What a profile file may hold.

use serde::{Deserialize, Serialize};

use super::{BuiltIn, DockerProfile, Profile, SeccompError, Target, spo};

/// The size limit of a profile file, in bytes. The largest in the wild are around 30 kB.
const LIMIT: usize = 1 << 20;

/// A profile as written: an OCI section, or the containerd/Docker format. A `SeccompProfile` of the Security Profiles
/// Operator is an OCI section in an envelope, and is kept as that section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An OCI `linux.seccomp` section.
    Oci(Profile),
    /// A profile with `archMap`, `includes` or `excludes`.
    Docker(DockerProfile),
    /// A profile that is compiled in.
    BuiltIn(BuiltIn),
}

impl Source {
    /// Reads the content of a profile file: JSON, or a `SeccompProfile` object in JSON or YAML. The format is told by the
    /// content. Unknown and repeated fields are errors.
    ///
    /// # Errors
    /// [`SeccompError::TooLarge`], [`SeccompError::Parse`] with line and column, [`SeccompError::Value`], and
    /// [`SeccompError::Unsupported`] for an object that cannot stand by itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, SeccompError> {
        if bytes.len() > LIMIT {
            return Err(SeccompError::TooLarge { size: bytes.len(), limit: LIMIT });
        }
        if let Some(profile) = spo::read(bytes) {
            return profile.map(Self::Oci);
        }
        // The Docker format is a superset of the OCI one, so one strict reader serves both.
        let docker: DockerProfile = serde_json::from_slice(bytes)
            .map_err(|e| SeccompError::Parse { reason: e.to_string() })?;
        if !docker.is_plain() {
            return Ok(Self::Docker(docker));
        }
        serde_json::from_slice(bytes)
            .map(Self::Oci)
            .map_err(|e| SeccompError::Parse { reason: e.to_string() })
    }

    /// The OCI section for one container.
    ///
    /// # Errors
    /// Those of [`DockerProfile::resolve`].
    pub fn resolve(&self, target: &Target<'_>) -> Result<Profile, SeccompError> {
        match self {
            Self::Oci(profile) => Ok(profile.clone()),
            Self::Docker(profile) => profile.resolve(target),
            Self::BuiltIn(which) => which.profile()?.resolve(target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_recognised_and_the_record_round_trips() {
        let oci = br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}"#;
        let docker = br#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": []}"#;
        assert!(matches!(Source::parse(oci), Ok(Source::Oci(_))));
        assert!(matches!(Source::parse(docker), Ok(Source::Docker(_))));
        for bytes in [&oci[..], docker] {
            let source = Source::parse(bytes).unwrap();
            let record = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&record).unwrap(), source);
        }
    }

    #[test]
    fn hostile_files_are_refused() {
        for (bytes, word) in [
            (
                &br#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultAction": "SCMP_ACT_ALLOW"}"#[..],
                "duplicate",
            ),
            (br#"{"defaultAction": "SCMP_ACT_ERRNO", "sysCalls": []}"#, "sysCalls"),
            (br#"{"defaultAction": "SCMP_ACT_ERRNO"} {}"#, "trailing"),
            (br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": ["#, "EOF"),
            (b"[]", "invalid"),
            (b"", "EOF"),
        ] {
            let error = Source::parse(bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let error = Source::parse(&vec![b' '; LIMIT + 1]).unwrap_err().to_string();
        assert!(error.contains("limit"), "{error}");
    }
}
