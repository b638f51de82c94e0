//! The command line, as Go's `flag` package reads it, since that is how containerd writes it:
//! `-name value`, `-name=value`, with one dash or two, switches without a value, and the verb after the flags.

/// What this run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Make the daemon, or find the group's, and say where it listens.
    Start,
    /// Clean up after a daemon that died.
    Delete,
    /// Be the daemon: without a verb, on the socket that `start` handed over.
    Serve,
    /// Say what this shim and its runtime can do.
    Info,
    /// Say which version this is.
    Version,
}

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) verb: Verb,
    /// containerd's namespace; a part of paths, and checked to be fit for that.
    pub(crate) namespace: String,
    /// The container's id, likewise.
    pub(crate) id: String,
    /// containerd's gRPC address.
    pub(crate) address: String,
    /// The bundle, where it is not the working directory.
    pub(crate) bundle: String,
    pub(crate) debug: bool,
}

/// A command line that is not containerd's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum FlagError {
    #[error(
        "the flag {0} is not one of a containerd shim's: -namespace, -id, -address, -publish-binary, -bundle, -debug, \
         -info, -v"
    )]
    Unknown(String),
    #[error("the flag -{0} needs a value")]
    NoValue(&'static str),
    #[error("the flag -{flag}={value} is a switch: it takes true or false")]
    NotASwitch { flag: &'static str, value: String },
    #[error("{0:?} is not a verb of a containerd shim: start, delete")]
    UnknownVerb(String),
    #[error(
        "-{flag} {value:?} is not an identifier of containerd's: letters, digits, '-', '_', '.', '+', at \
         most 255, beginning with a letter or digit"
    )]
    NotAnIdentifier { flag: &'static str, value: String },
}

/// Flags that take a value.
const VALUES: [&str; 7] =
    ["namespace", "id", "address", "publish-binary", "bundle", "socket", "debug-socket"];
/// Flags that do not.
const SWITCHES: [&str; 4] = ["debug", "info", "v", "version"];

impl Flags {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, FlagError> {
        let mut flags = Flags {
            verb: Verb::Serve,
            namespace: String::new(),
            id: String::new(),
            address: String::new(),
            bundle: String::new(),
            debug: false,
        };
        let mut question = None;
        let mut verb = None;
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = flag_of(&argument) else {
                verb = Some(argument);
                break;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if let Some(name) = VALUES.iter().find(|known| **known == name) {
                let value = value.or_else(|| arguments.next()).ok_or(FlagError::NoValue(name))?;
                match *name {
                    "namespace" => flags.namespace = value,
                    "id" => flags.id = value,
                    "address" => flags.address = value,
                    "bundle" => flags.bundle = value,
                    // -publish-binary is of the days before TTRPC_ADDRESS; sockets are ours to name.
                    _ => {}
                }
            } else if let Some(name) = SWITCHES.iter().find(|known| **known == name) {
                let on = switch(name, value)?;
                match *name {
                    "debug" => flags.debug = on,
                    "info" if on => question = Some(Verb::Info),
                    "v" | "version" if on => question = Some(Verb::Version),
                    _ => {}
                }
            } else {
                return Err(FlagError::Unknown(argument));
            }
        }
        flags.verb = match (question, verb.as_deref()) {
            (Some(question), _) => return Ok(Flags { verb: question, ..flags }),
            (None, None) => Verb::Serve,
            (None, Some("start")) => Verb::Start,
            (None, Some("delete")) => Verb::Delete,
            (None, Some(_)) => return Err(FlagError::UnknownVerb(verb.unwrap_or_default())),
        };
        check_identifier("namespace", &flags.namespace)?;
        check_identifier("id", &flags.id)?;
        Ok(flags)
    }
}

fn flag_of(argument: &str) -> Option<&str> {
    let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    (!flag.is_empty()).then_some(flag)
}

fn switch(flag: &'static str, value: Option<String>) -> Result<bool, FlagError> {
    match value.as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(FlagError::NotASwitch { flag, value: value.unwrap_or_default() }),
    }
}

/// containerd checks its identifiers (pkg/identifiers); they become parts of paths and arguments of the runtime here.
fn check_identifier(flag: &'static str, value: &str) -> Result<(), FlagError> {
    let fit = value.len() <= 255
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
        && value.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if fit {
        Ok(())
    } else {
        Err(FlagError::NotAnIdentifier { flag, value: value.chars().take(300).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, FlagError> {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn containerds_own_lines() {
        let start = parse(
            "-namespace k8s.io -address /run/containerd/containerd.sock -publish-binary /usr/bin/containerd -id c1 -debug start",
        )
        .unwrap();
        assert_eq!(start.verb, Verb::Start);
        assert_eq!((start.namespace.as_str(), start.id.as_str()), ("k8s.io", "c1"));
        assert_eq!(start.address, "/run/containerd/containerd.sock");
        assert!(start.debug);
        let delete = parse("--namespace=default -address a -id c1 -bundle /run/b delete").unwrap();
        assert_eq!((delete.verb, delete.bundle.as_str()), (Verb::Delete, "/run/b"));
        assert!(!delete.debug);
        assert_eq!(parse("-namespace n -id c1").unwrap().verb, Verb::Serve);
    }

    #[test]
    fn questions_need_nothing_else() {
        assert_eq!(parse("-info").unwrap().verb, Verb::Info);
        assert_eq!(parse("-v").unwrap().verb, Verb::Version);
        assert_eq!(parse("--version").unwrap().verb, Verb::Version);
        assert_eq!(parse("-version=false -namespace n -id i").unwrap().verb, Verb::Serve);
    }

    #[test]
    fn other_lines_are_refused() {
        assert_eq!(parse("-nonsense start"), Err(FlagError::Unknown("-nonsense".to_owned())));
        assert_eq!(parse("-id"), Err(FlagError::NoValue("id")));
        assert!(matches!(parse("-debug=maybe start"), Err(FlagError::NotASwitch { .. })));
        assert!(matches!(parse("-namespace n -id i stop"), Err(FlagError::UnknownVerb(_))));
        for line in [
            "start",
            "-namespace n start",
            "-namespace n -id ../x start",
            "-namespace -n -id x start",
            "-namespace n/m -id x delete",
            "-namespace n -id .. delete",
        ] {
            assert!(matches!(parse(line), Err(FlagError::NotAnIdentifier { .. })), "{line}");
        }
    }
}
