//! The runtimes behind the wrapper, and the ways out of containers that are known of their versions.

use coaming_config::{Configuration, Vulnerable};
use coaming_policy::runtime_versions::Affecting;
use coaming_shim::runtime_probe::{self, Probed};
use serde::Serialize;

/// A runtime.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Known {
    pub(super) wrapper: String,
    pub(super) path: String,
    /// Name and version, as it says them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// The package of dpkg's that brought it, with its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) package: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) libseccomp: Option<String>,
    pub(super) unsafe_annotations: Vec<String>,
    pub(super) vulnerabilities: Vec<Affecting>,
    /// What becomes of containers.
    pub(super) vulnerable: Vulnerable,
    /// Why it is not known what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

/// Every runtime that is configured, or found in place.
pub(super) fn known(configuration: &Configuration) -> Vec<Known> {
    let mut runtimes = Vec::new();
    for wrapper in configuration.wrappers() {
        let Some(path) = configuration.runtime(wrapper) else { continue };
        let mut known = Known {
            wrapper: wrapper.to_owned(),
            path: path.display().to_string(),
            version: None,
            package: None,
            libseccomp: None,
            unsafe_annotations: Vec::new(),
            vulnerabilities: Vec::new(),
            vulnerable: configuration.vulnerable(wrapper),
            failed: None,
        };
        match runtime_probe::look(&path) {
            Ok(probed) => known.take(&probed, configuration),
            Err(error) => known.failed = Some(error.to_string()),
        }
        runtimes.push(known);
    }
    runtimes
}

impl Known {
    fn take(&mut self, probed: &Probed, configuration: &Configuration) {
        let told = &probed.told;
        self.failed.clone_from(&probed.failed);
        self.version = probed.failed.is_none().then(|| format!("{} {}", told.name, told.version));
        self.package =
            probed.package.as_ref().map(|package| format!("{} {}", package.name, package.version));
        self.libseccomp.clone_from(&told.libseccomp);
        self.unsafe_annotations = probed.unsafe_annotations().to_vec();
        self.vulnerabilities = runtime_probe::known(probed, configuration, &self.wrapper);
    }

    /// What is to be done about it, where something is.
    pub(super) fn problem(&self) -> Option<String> {
        if let Some(why) = &self.failed {
            return Some(format!("the runtime {} does not say what it is: {why}", self.path));
        }
        if self.vulnerabilities.is_empty() || self.vulnerable == Vulnerable::Ignore {
            return None;
        }
        let cves: Vec<&str> =
            self.vulnerabilities.iter().map(|affecting| affecting.advisory.cve).collect();
        let version = self.version.as_deref().unwrap_or("of an unknown version");
        Some(format!(
            "the runtime {} ({version}) has known ways out: {}",
            self.path,
            cves.join(", ")
        ))
    }
}
