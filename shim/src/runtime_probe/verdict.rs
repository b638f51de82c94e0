//! What a runtime's version means for a container that is to be created with it.

use std::path::{Path, PathBuf};

use coaming_config::{CONFIG_FILE, Configuration, Vulnerable};
use coaming_policy::controls::Node;
use coaming_policy::runtime_versions::{Affecting, affecting};

use super::{ProbeError, Probed, probe};

/// Why no container is created with this runtime.
#[derive(Debug, thiserror::Error)]
pub enum VulnerableError {
    /// Its version has known ways out.
    #[error(
        "the runtime {} is {name} {version}, in which {ways}, and vulnerable runtimes are refused on this node; \
         update it, or, if its distribution has mended it under that version, list the CVE under fixed in the \
         runtime's section of {CONFIG_FILE}", .path.display()
    )]
    Known {
        /// As configured.
        path: PathBuf,
        /// What it calls itself.
        name: String,
        /// As it says it.
        version: String,
        /// The CVEs, each with what it is and the version that mends it.
        ways: String,
    },
    /// What cannot be told cannot be let pass where vulnerable ones are refused.
    #[error(
        "the runtime {} does not say its version ({why}), and vulnerable runtimes are refused on this node; mend \
         it, or set vulnerable to \"warn\" in its section of {CONFIG_FILE}", .path.display()
    )]
    Unknown {
        /// As configured.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// What an operator should know of a runtime with which a container was created.
#[derive(Debug)]
pub struct Admitted {
    /// For the record and the journal.
    pub notes: Vec<String>,
    /// What it calls itself, and its version.
    pub version: Option<String>,
    /// [`Probed::takes_log`].
    pub takes_log: Result<(), String>,
}

/// The advisories that a runtime has, for all that its distribution and the operator say is mended.
#[must_use]
pub fn known(probed: &Probed, configuration: &Configuration, wrapper: &str) -> Vec<Affecting> {
    let (Some(product), Some(version)) = (probed.told.product(), probed.version()) else {
        return Vec::new();
    };
    let mut fixed = configuration.fixed(wrapper);
    fixed.extend(probed.package.iter().flat_map(|package| package.fixed.iter().cloned()));
    affecting(product, &version, &probed.told.tags, &fixed)
}

/// Whether a container may be created with this runtime; and gives `node` what the runtime says of itself.
///
/// # Errors
/// [`VulnerableError`], where the configuration says that vulnerable runtimes are refused.
pub fn admit(
    configuration: &Configuration,
    wrapper: &str,
    runtime: &Path,
    node: &mut Node,
) -> Result<Admitted, VulnerableError> {
    judge(configuration, wrapper, runtime, probe(runtime), node)
}

pub(super) fn judge(
    configuration: &Configuration,
    wrapper: &str,
    runtime: &Path,
    probed: Result<Probed, ProbeError>,
    node: &mut Node,
) -> Result<Admitted, VulnerableError> {
    let answer = configuration.vulnerable(wrapper);
    let unknown = |why: String| match answer {
        Vulnerable::Refuse => Err(VulnerableError::Unknown { path: runtime.to_owned(), why }),
        Vulnerable::Warn => Ok(Admitted {
            notes: vec![format!(
                "the runtime {} does not say its version, so that it is not known whether containers can get out \
                 of it: {why}",
                runtime.display()
            )],
            version: None,
            takes_log: Err(why),
        }),
        Vulnerable::Ignore => {
            Ok(Admitted { notes: Vec::new(), version: None, takes_log: Err(why) })
        }
    };
    let probed = match probed {
        Ok(probed) => probed,
        Err(error) => return unknown(error.to_string()),
    };
    node.unsafe_annotations = probed.unsafe_annotations().to_vec();
    if let Some(why) = &probed.failed {
        return unknown(why.clone());
    }
    let told = &probed.told;
    if told.product().is_some() && told.version().is_none() {
        return unknown(format!("{:?} is no version", told.version));
    }
    let version = Some(format!("{} {}", told.name, told.version));
    let takes_log = probed.takes_log();
    let found = known(&probed, configuration, wrapper);
    if found.is_empty() || answer == Vulnerable::Ignore {
        return Ok(Admitted { notes: Vec::new(), version, takes_log });
    }
    let ways = in_words(&found);
    if answer == Vulnerable::Refuse {
        return Err(VulnerableError::Known {
            path: runtime.to_owned(),
            name: told.name.clone(),
            version: told.version.clone(),
            ways,
        });
    }
    let note = format!(
        "the runtime {} is {} {}, in which {ways}; update it",
        runtime.display(),
        told.name,
        told.version
    );
    Ok(Admitted { notes: vec![note], version, takes_log })
}

fn in_words(found: &[Affecting]) -> String {
    let ways: Vec<String> = found
        .iter()
        .map(|Affecting { advisory, fixed }| {
            format!("{} ({}; fixed in {fixed})", advisory.cve, advisory.summary)
        })
        .collect();
    match found.len() {
        1 => format!("there is a known way out: {}", ways.join("")),
        _ => format!("there are known ways out: {}", ways.join(", ")),
    }
}

/// Asks every runtime that is configured and installed, so that the next start need not. What is wrong with one
/// is for the start that meets it.
pub fn ahead(configuration: &Configuration) {
    for wrapper in configuration.wrappers() {
        if let Some(runtime) = configuration.runtime(wrapper) {
            let _ = probe(&runtime);
        }
    }
}
