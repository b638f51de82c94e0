//! AppArmor profiles, before a container uses them: those that come with policies are loaded where they are
//! missing, and those that are loaded are held against what was loaded.
//!
//! The kernel has one space of names, and whoever may load a profile may put another under a name. So a start
//! asks the kernel what it has under the name (securityfs keeps the digest of what was loaded, and its bytes),
//! and compares it with what coaming loaded. A start does no other work; what is missing or was replaced is
//! loaded under a lock.

mod compile;
mod kernel;
mod store;

use std::path::{Path, PathBuf};

use coaming_policy::controls::app_armor::{AppArmor, PREFIX};

pub use compile::features_digest;
use kernel::Kernel;
pub use kernel::ROOT;
use store::Store;

/// Where compiled profiles are kept.
pub const KEPT: &str = "/var/lib/coaming/apparmor";

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AppArmorError {
    /// The kernel's own files cannot be looked at.
    #[error(
        "cannot see which AppArmor profiles are loaded: {}: {error}; mount securityfs on /sys/kernel/security, \
         and run this as root",
        .path.display()
    )]
    Unseen {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
    /// The whole kernel only tells what it would deny.
    #[error(
        "AppArmor is in mode {mode:?} for the whole kernel ({}): profiles deny nothing; write enforce there, or \
         boot without apparmor.mode",
        kernel::MODE
    )]
    Mode {
        /// What the file says.
        mode: String,
    },
    /// A profile of the node's is not loaded.
    #[error(
        "the AppArmor profile {name:?} is not loaded in the node's kernel; load it (apparmor_parser -r FILE), or let \
         the policy bring it (appArmor: {{default: {{file: FILE}}}})"
    )]
    Missing {
        /// Its name.
        name: String,
    },
    /// A profile is loaded and denies nothing, or kills.
    #[error(
        "the AppArmor profile {name:?} is loaded in mode {mode}, and only in mode enforce does it deny; load it \
         again without flags=({mode}) (aa-enforce)"
    )]
    NotEnforced {
        /// Its name.
        name: String,
        /// The kernel's word.
        mode: String,
    },
    /// It could be compiled nowhere and was not compiled before.
    #[error("cannot compile the AppArmor profile {name:?}: {problem}")]
    Compile {
        /// Its name in the kernel.
        name: String,
        /// Why, and what to do.
        problem: String,
    },
    /// What was compiled cannot be kept or read.
    #[error("cannot {operation} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
    /// The kernel did not take it.
    #[error("the kernel does not take the AppArmor profile {name:?}: {problem}")]
    Load {
        /// Its name.
        name: String,
        /// Its answer.
        problem: String,
    },
}

/// What was done to have a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Had {
    /// It was there, and what coaming loaded.
    Already,
    /// It was not there, and was loaded.
    Loaded,
    /// Another stood under its name, or it was not known what, and it was loaded again.
    Replaced,
}

/// The profiles of one node.
#[derive(Debug, Clone)]
pub struct Profiles {
    kernel: Kernel,
    store: Store,
    parser: Option<PathBuf>,
}

impl Profiles {
    /// Of this node; `parser` compiles.
    pub fn of_node(parser: Option<PathBuf>) -> Profiles {
        Profiles::at(Path::new(ROOT), Path::new(KEPT), Path::new(crate::config::STATE), parser)
    }

    /// In other places: the kernel's folder, where binaries are kept, where is kept what was loaded since the
    /// machine is up.
    pub fn at(kernel: &Path, kept: &Path, state: &Path, parser: Option<PathBuf>) -> Profiles {
        Profiles { kernel: Kernel::at(kernel), store: Store::at(kept, state), parser }
    }

    /// Makes sure that the kernel confines by every profile of a label; `rule` has the texts of those that come
    /// with policies. Gives what an operator should be told.
    ///
    /// # Errors
    /// [`AppArmorError`]: nothing may be started under the label.
    pub fn ready(&self, label: &str, rule: &AppArmor) -> Result<Vec<String>, AppArmorError> {
        let mut told = Vec::new();
        let profiles = rule.of_label(label);
        if profiles.is_empty() {
            return Ok(told);
        }
        self.kernel.check_mode()?;
        for (name, text) in profiles {
            let Some(text) = text else {
                self.check_loaded(name)?;
                continue;
            };
            if self.have(name, text)? == Had::Replaced {
                told.push(format!(
                    "the kernel had another AppArmor profile under the name {name} than the one that comes with \
                     the policy, and has the policy's again; find out who loads profiles on this node"
                ));
            }
        }
        Ok(told)
    }

    /// Has a profile that comes with a policy in the kernel.
    ///
    /// # Errors
    /// [`AppArmorError`].
    pub fn have(&self, name: &str, text: &str) -> Result<Had, AppArmorError> {
        if self.is_ours(name)? {
            return Ok(Had::Already);
        }
        let _lock = self.store.lock()?;
        // Another start may have loaded it meanwhile.
        if self.is_ours(name)? {
            return Ok(Had::Already);
        }
        let before = self.kernel.find(name)?;
        let binary = self.binary(name, text)?;
        let digest = store::digest(&binary);
        let same = before.as_ref().is_some_and(|loaded| {
            loaded.mode == kernel::ENFORCE && loaded.digest.as_ref() == Some(&digest)
        });
        if !same {
            self.kernel.load(name, &binary)?;
        }
        let after = self.kernel.find(name)?.ok_or_else(|| AppArmorError::Load {
            name: name.to_owned(),
            problem: "it took the bytes and has no such profile; the compiled file is another's: remove it from \
                      /var/lib/coaming/apparmor"
                .to_owned(),
        })?;
        after.check(name)?;
        if after.digest.as_ref().is_some_and(|found| *found != digest) {
            return Err(AppArmorError::Load {
                name: name.to_owned(),
                problem: "what it has under that name is not what was loaded, again; something else on this node \
                          loads profiles at this moment"
                    .to_owned(),
            });
        }
        self.store.mark(name, &digest)?;
        Ok(match before {
            None => Had::Loaded,
            Some(_) if same => Had::Already,
            Some(_) => Had::Replaced,
        })
    }

    /// Which profile of a process's label is no longer what coaming loaded under its name. What cannot be looked at
    /// is not judged: an ordinary user may not, and a kernel may keep no digests.
    pub fn replaced<'a>(&self, current: &'a str) -> Option<&'a str> {
        let label = current.split(" (").next().unwrap_or_default();
        label.split("//&").find(|name| {
            name.starts_with(PREFIX)
                && self.store.marked(name).is_some_and(|marked| {
                    let loaded = self.kernel.find(name).ok().flatten();
                    loaded.and_then(|loaded| loaded.digest).is_some_and(|digest| digest != marked)
                })
        })
    }

    /// Compiles a profile for a kernel, whose features are a file or folder as the parser takes it, into the folder
    /// that is given: for a node that has no parser.
    ///
    /// # Errors
    /// [`AppArmorError`].
    pub fn compile_ahead(
        &self,
        name: &str,
        text: &str,
        features: &Path,
    ) -> Result<PathBuf, AppArmorError> {
        let parser = self.parser(name)?;
        let binary = compile::compile(parser, name, text, Some(features))?;
        self.store.keep(name, &features_digest(features)?, &binary)
    }

    /// Whether the kernel has the profile that was loaded since the machine is up.
    fn is_ours(&self, name: &str) -> Result<bool, AppArmorError> {
        let Some(marked) = self.store.marked(name) else { return Ok(false) };
        let Some(loaded) = self.kernel.find(name)? else { return Ok(false) };
        // A kernel that does not tell is told again each time.
        Ok(loaded.mode == kernel::ENFORCE && loaded.digest.as_deref() == Some(marked.as_str()))
    }

    /// A profile that does not come with a policy is taken as it is, if it denies.
    fn check_loaded(&self, name: &str) -> Result<(), AppArmorError> {
        match self.kernel.mode_of(name)? {
            None => Err(AppArmorError::Missing { name: name.to_owned() }),
            Some(mode) if mode == kernel::ENFORCE => Ok(()),
            Some(mode) => Err(AppArmorError::NotEnforced { name: name.to_owned(), mode }),
        }
    }

    /// What was compiled before for this kernel, or is now.
    fn binary(&self, name: &str, text: &str) -> Result<Vec<u8>, AppArmorError> {
        let features = features_digest(&self.kernel.features())?;
        if let Some(binary) = self.store.binary(name, &features)? {
            return Ok(binary);
        }
        let binary = compile::compile(self.parser(name)?, name, text, None)?;
        self.store.keep(name, &features, &binary)?;
        Ok(binary)
    }

    fn parser(&self, name: &str) -> Result<&Path, AppArmorError> {
        self.parser.as_deref().ok_or_else(|| AppArmorError::Compile {
            name: name.to_owned(),
            problem: format!(
                "this node has no apparmor_parser, and nothing was compiled ahead for its kernel; install the \
                 package apparmor, name the program in {} (app_armor.parser), or compile ahead \
                 (coaming apparmor compile) into {KEPT}",
                coaming_config::CONFIG_FILE
            ),
        })
    }
}

#[cfg(test)]
mod tests;
