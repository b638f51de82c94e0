//! What the file says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::policy::Policy;
use crate::runtime::{Runtime, Vulnerable};
use crate::trust::read_root_owned;
use crate::{CONFIG_FILE, DocumentError};

/// Where distributions put runtimes; taken in this order when the configuration names none.
const RUNTIME_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
/// Where containerd listens, alone and as a part of k3s.
const CONTAINERDS: [&str; 2] =
    ["/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"];
/// Where distributions put the compiler of AppArmor profiles.
const PARSERS: [&str; 2] = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"];
/// The wrappers that are there without any configuration, and the program each looks for.
const DEFAULT_WRAPPERS: [(&str, &str); 2] = [("coaming-runc", "runc"), ("coaming-crun", "crun")];

/// `/etc/coaming/config.toml`. Every key has a default; a file that is absent is all defaults.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Configuration {
    /// The directory of policies. Default: `/etc/coaming/policy.d`.
    pub policy_directory: PathBuf,
    /// The built-in floor that is always in force beneath the policies. Default: `baseline`.
    pub floor: BuiltIn,
    /// What becomes of containers that an ordinary user starts through coaming (rootless Podman and Docker): `advisory`, they
    /// are held to the floor, and the record says that their user could have gone without; or `refuse`. Default: `advisory`.
    pub rootless: Rootless,
    /// The runtimes, by the name under which the wrapper is called (the last part of its path).
    /// Default: `coaming-runc`, handing off to the first of `/usr/bin/runc`, `/usr/sbin/runc`,
    /// `/usr/local/bin/runc` and `/usr/local/sbin/runc` that exists, and `coaming-crun` likewise.
    pub runtimes: BTreeMap<String, Runtime>,
    /// What becomes of a container whose runtime has a version with a known way out: `warn`, `refuse` or `ignore`;
    /// a runtime may have an answer of its own. Default: `warn`.
    pub vulnerable_runtimes: Vulnerable,
    /// How a changed policy directory comes into force.
    pub policy: Policy,
    /// The journal of what was decided and proved.
    pub journal: Journal,
    /// AppArmor on this node.
    pub app_armor: AppArmor,
    /// The containerd that makes pods here.
    pub containerd: Containerd,
    /// The containerd shim's own settings.
    pub shim: Shim,
}

/// `[app_armor]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppArmor {
    /// The program that compiles profiles, apparmor_parser(8). Default: the first of `/usr/sbin/apparmor_parser` and
    /// `/sbin/apparmor_parser` that exists. A node without one loads what was compiled ahead.
    pub parser: Option<PathBuf>,
}

/// `[containerd]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Containerd {
    /// Its socket, which is asked for the labels of pods where a policy goes by them, and for nothing else. Default: the
    /// first of `/run/containerd/containerd.sock` and `/run/k3s/containerd/containerd.sock` that exists.
    pub address: Option<PathBuf>,
}

/// `[journal]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Whether a container that cannot be written down does not start. Default: false; it starts with a
    /// warning, so that a full disk does not keep a node from booting.
    pub required: bool,
    /// The most files of 8 MiB that are kept; at least 2. Default: 16.
    pub max_files: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Journal { required: false, max_files: 16 }
    }
}

/// `[shim]`
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shim {
    /// The wrapper that is called when the client names none. Default: `coaming-runc`.
    pub default_runtime: String,
    /// Whether the runtime drives cgroups through systemd, where the client did not say: containerd 1.6 does not pass
    /// its `SystemdCgroup` option to a shim of another runtime type. Default: as the client says, and no.
    pub systemd_cgroup: Option<bool>,
    /// The least level that is written to containerd's log: `error`, `warn`, `info` or `debug`. containerd's own
    /// `debug` level turns on `debug`. Default: `info`.
    pub log_level: LogLevel,
}

impl Default for Shim {
    fn default() -> Self {
        Shim {
            default_runtime: "coaming-runc".to_owned(),
            systemd_cgroup: None,
            log_level: LogLevel::default(),
        }
    }
}

/// How much is written to the log.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// What may fail later.
    Warn,
    /// One record or two for each container.
    #[default]
    Info,
    /// Each call.
    Debug,
}

/// What becomes of an ordinary user's containers.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Rootless {
    /// The floor holds, by their user's leave.
    #[default]
    Advisory,
    /// None starts.
    Refuse,
}

/// The built-in floors.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BuiltIn {
    /// For a runtime class that pods choose: Pod Security *baseline*, without io_uring, x32, AF_ALG.
    #[default]
    Baseline,
    /// For coaming as the node's default runtime: denies only what no container needs.
    Node,
}

impl BuiltIn {
    /// Its name, which is also its policy's.
    pub fn name(self) -> &'static str {
        match self {
            BuiltIn::Baseline => "baseline",
            BuiltIn::Node => "node",
        }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Configuration {
            policy_directory: "/etc/coaming/policy.d".into(),
            floor: BuiltIn::default(),
            rootless: Rootless::default(),
            runtimes: BTreeMap::new(),
            vulnerable_runtimes: Vulnerable::default(),
            policy: Policy::default(),
            journal: Journal::default(),
            app_armor: AppArmor::default(),
            containerd: Containerd::default(),
            shim: Shim::default(),
        }
    }
}

impl Configuration {
    /// Reads the node's configuration; an absent file is all defaults.
    ///
    /// # Errors
    /// What is wrong with the file, with its place; a file that others than root can change.
    pub fn load() -> Result<Self, DocumentError> {
        match read_root_owned(Path::new(CONFIG_FILE)) {
            Ok(bytes) => Self::parse(CONFIG_FILE, &String::from_utf8_lossy(&bytes)),
            Err(error) if error.is_not_found() => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Reads the text of the file. `file` is what errors call it.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`] with line and column: a key or value that is not known, a path that is not absolute, a
    /// default runtime that is none of the runtimes.
    pub fn parse(file: &str, text: &str) -> Result<Self, DocumentError> {
        let configuration: Configuration =
            toml::from_str(text).map_err(|error| DocumentError::from_toml(file, text, &error))?;
        let paths = configuration
            .runtimes
            .values()
            .map(|runtime| runtime.path.as_path())
            .chain([configuration.policy_directory.as_path()])
            .chain(configuration.app_armor.parser.as_deref())
            .chain(configuration.containerd.address.as_deref());
        for path in paths {
            if !path.is_absolute() {
                let shown = path.display().to_string();
                let problem =
                    format!("{shown:?} is not an absolute path; nothing is looked up in PATH");
                return Err(DocumentError::in_value(file, text, &shown, problem));
            }
        }
        configuration.policy.check(file, text)?;
        for (name, runtime) in &configuration.runtimes {
            runtime.check(name, file, text)?;
        }
        let default = &configuration.shim.default_runtime;
        if !configuration.wrappers().any(|name| name == default) {
            let names: Vec<&str> = configuration.wrappers().collect();
            let problem = format!(
                "default_runtime is {default:?}, which is none of the runtimes: {}",
                names.join(", ")
            );
            return Err(DocumentError::in_value(file, text, default, problem));
        }
        Ok(configuration)
    }

    /// The real runtime behind the wrapper of this name: what is configured, else the first that is installed.
    #[must_use]
    pub fn runtime(&self, wrapper: &str) -> Option<PathBuf> {
        if let Some(runtime) = self.runtimes.get(wrapper) {
            return Some(runtime.path.clone());
        }
        let (_, program) = DEFAULT_WRAPPERS.iter().find(|(name, _)| *name == wrapper)?;
        RUNTIME_FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|p| p.exists())
    }

    /// The program that compiles AppArmor profiles: what is configured, else the first that is installed.
    #[must_use]
    pub fn app_armor_parser(&self) -> Option<PathBuf> {
        let installed = || PARSERS.iter().map(PathBuf::from).find(|path| path.exists());
        self.app_armor.parser.clone().or_else(installed)
    }

    /// The socket of the containerd that makes pods here: what is configured, else the first that is there.
    #[must_use]
    pub fn containerd_address(&self) -> Option<PathBuf> {
        let listening = || CONTAINERDS.iter().map(PathBuf::from).find(|path| path.exists());
        self.containerd.address.clone().or_else(listening)
    }

    /// The names that wrappers are called by: the configured ones and those that need no configuration.
    pub fn wrappers(&self) -> impl Iterator<Item = &str> {
        let default = DEFAULT_WRAPPERS.iter().map(|(name, _)| *name);
        let configured = self.runtimes.keys().map(String::as_str);
        default.filter(|name| !self.runtimes.contains_key(*name)).chain(configured)
    }

    /// What becomes of a container whose runtime, behind the wrapper of this name, has a known way out.
    #[must_use]
    pub fn vulnerable(&self, wrapper: &str) -> Vulnerable {
        let own = self.runtimes.get(wrapper).and_then(|runtime| runtime.vulnerable);
        own.unwrap_or(self.vulnerable_runtimes)
    }

    /// The CVEs that the operator says are mended in the runtime behind the wrapper of this name.
    #[must_use]
    pub fn fixed(&self, wrapper: &str) -> BTreeSet<String> {
        self.runtimes.get(wrapper).map(|runtime| runtime.fixed.clone()).unwrap_or_default()
    }

    /// The built-in floor beneath the wrapper of this name.
    #[must_use]
    pub fn floor_for(&self, wrapper: &str) -> BuiltIn {
        self.runtimes.get(wrapper).and_then(|runtime| runtime.floor).unwrap_or(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_may_have_a_floor_of_its_own() {
        let text = "floor = \"node\"\n[runtimes.coaming-runc]\npath = \"/usr/sbin/runc\"\n\
                    [runtimes.coaming-crun]\npath = \"/usr/bin/crun\"\nfloor = \"baseline\"\n";
        let configuration = Configuration::parse("c.toml", text).unwrap();
        assert_eq!(configuration.floor_for("coaming-runc"), BuiltIn::Node);
        assert_eq!(configuration.floor_for("coaming-crun"), BuiltIn::Baseline);
        assert_eq!(configuration.runtime("coaming-runc"), Some("/usr/sbin/runc".into()));
        assert_eq!(configuration.runtime("coaming-other"), None);
        assert_eq!(Configuration::default().floor_for("x"), BuiltIn::Baseline);
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let configuration = Configuration::parse("c.toml", "").unwrap();
        assert_eq!(configuration, Configuration::default());
        assert_eq!(configuration.policy_directory, Path::new("/etc/coaming/policy.d"));
        assert_eq!(configuration.shim.default_runtime, "coaming-runc");
        assert_eq!(configuration.wrappers().collect::<Vec<_>>(), ["coaming-runc", "coaming-crun"]);
    }

    #[test]
    fn the_packaged_file_says_what_holds_without_it() {
        let packaged = include_str!("../../../packaging/config.toml");
        assert_eq!(
            Configuration::parse("config.toml", packaged).unwrap(),
            Configuration::default()
        );
    }

    #[test]
    fn errors_say_where_and_suggest() {
        let error = |text: &str| Configuration::parse("c.toml", text).unwrap_err().to_string();
        let unknown = error("floor = \"node\"\npolcy_directory = \"/x\"\n");
        assert!(
            unknown.starts_with("c.toml:2:1: ") && unknown.contains("\"policy_directory\""),
            "{unknown}"
        );
        let value = error("floor = \"basline\"\n");
        assert!(
            value.starts_with("c.toml:1:9: ") && value.contains("did you mean \"baseline\""),
            "{value}"
        );
        let relative = error("[runtimes.coaming-runc]\npath = \"runc\"\n");
        assert!(relative.starts_with("c.toml:2:") && relative.contains("absolute"), "{relative}");
        assert!(error("floor = \"node\"\nfloor = \"node\"\n").starts_with("c.toml:2:"));
        assert!(error("[shim]\nlog_level = 7\n").starts_with("c.toml:2:"));
        assert!(error("policy = 3\n").contains("expected a table"), "{}", error("policy = 3\n"));
        let default = error("[shim]\ndefault_runtime = \"runc\"\n");
        assert!(default.starts_with("c.toml:2:") && default.contains("coaming-runc"), "{default}");
    }
}
