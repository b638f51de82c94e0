//! The handler, as the node's present one of runc or crun is, with the wrapper in the runtime's place.

use toml::{Table, Value};

use super::loaded::table_at;
use crate::install::plan::{Context, is_plain_runtime};

/// The type of the stock shim.
pub(super) const STOCK: &str = "io.containerd.runc.v2";
const CGROUPS: &str = "SystemdCgroup";
const SHIM: &str = "/usr/bin/containerd-shim-coaming-v1";

/// What the configuration says of its handlers.
#[derive(Debug)]
pub(super) struct Handlers<'a> {
    runtimes: Option<&'a Table>,
    default: &'a str,
}

impl<'a> Handlers<'a> {
    /// Of the plugin's section.
    pub(super) fn of(section: &'a Table) -> Handlers<'a> {
        let containerd = table_at(section, &["containerd"]);
        let default = containerd
            .and_then(|containerd| containerd.get("default_runtime_name")?.as_str())
            .filter(|name| !name.is_empty());
        Handlers {
            runtimes: table_at(section, &["containerd", "runtimes"]),
            default: default.unwrap_or("runc"),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Table> {
        self.runtimes?.get(name)?.as_table()
    }

    /// The program that a handler's shim calls; none where it is not the stock shim that it has.
    pub(super) fn program(&self, name: &str) -> Option<&'a str> {
        let Some(handler) = self.get(name) else { return Some("runc") };
        let text = |key: &str| handler.get(key).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("runtime_type"), "" | STOCK | "io.containerd.runc.v1")
            || !text("runtime_path").is_empty()
        {
            return None;
        }
        let binary = handler.get("options").and_then(|options| options.get("BinaryName")?.as_str());
        Some(binary.unwrap_or_default())
    }

    /// Whether a handler ends at coaming.
    pub(super) fn is_ours(&self, context: &Context<'_>, name: &str) -> bool {
        let shim = self.get(name).and_then(|handler| handler.get("runtime_path")?.as_str());
        shim.is_some_and(|shim| context.ours.is_shim(context.root, shim))
            || self
                .program(name)
                .and_then(|program| context.root.in_path(program, &[]))
                .is_some_and(|program| context.ours.is_wrapper(context.root, &program))
    }

    /// The handler that is taken where none is named.
    pub(super) fn default(&self) -> &'a str {
        self.default
    }

    /// The handler whose settings ours takes over: that of runc, or the default one where it is of crun.
    fn model(&self) -> Option<&'a Table> {
        let is_plain = |name: &&str| self.program(name).is_some_and(is_plain_runtime);
        let name = [self.default, "runc", "crun"]
            .into_iter()
            .filter(is_plain)
            .find(|name| self.get(name).is_some());
        self.get(name?)
    }

    /// The wrapper before the runtime that containers have now.
    pub(super) fn wrapper(&self) -> String {
        let options = self.model().and_then(|model| model.get("options"));
        let binary = options.and_then(|options| options.get("BinaryName")?.as_str());
        Context::wrapper(binary.unwrap_or("runc"))
    }

    /// Our handler.
    pub(super) fn ours(&self, wrapper: &str, shim: bool) -> Table {
        // What names a program, and what is a handler's own.
        const NOT: [&str; 5] =
            ["runtime_type", "runtime_path", "runtime_engine", "runtime_root", "options"];
        let mut handler = Table::new();
        let mut options = Table::new();
        if let Some(model) = self.model() {
            let kept = model.iter().filter(|(key, _)| !NOT.contains(&key.as_str()));
            handler.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
            if let Some(own) = model.get("options").and_then(Value::as_table) {
                options.clone_from(own);
            }
        }
        // Who drives cgroups is the node's, and the same for every runtime.
        if !options.contains_key(CGROUPS)
            && let Some(value) =
                self.get(self.default).and_then(|handler| handler.get("options")?.get(CGROUPS))
        {
            options.insert(CGROUPS.to_owned(), value.clone());
        }
        // The type stays that of the stock shim, and a path says which shim it is: for a type that they do not know
        // containerd 1.6 drops the options, and 2.0 and 2.1 lose user namespaces.
        handler.insert("runtime_type".to_owned(), STOCK.into());
        if shim {
            handler.insert("runtime_path".to_owned(), SHIM.into());
        }
        options.insert("BinaryName".to_owned(), wrapper.into());
        handler.insert("options".to_owned(), options.into());
        handler
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn ours_is_as_the_one_of_runc_is() {
        let section = section(
            "[containerd]\ndefault_runtime_name = 'nvidia'\n[containerd.runtimes.nvidia.options]\n\
             BinaryName = '/usr/bin/nvidia-container-runtime'\n[containerd.runtimes.runc]\n\
             pod_annotations = ['a.*']\nruntime_engine = 'x'\n[containerd.runtimes.runc.options]\n\
             SystemdCgroup = true\nBinaryName = '/opt/crun'\n",
        );
        let handlers = Handlers::of(&section);
        assert_eq!(handlers.default(), "nvidia");
        assert_eq!(handlers.wrapper(), "/usr/libexec/coaming/coaming-crun");
        let ours = handlers.ours("/w", true);
        let expected: Table = "runtime_type = 'io.containerd.runc.v2'\npod_annotations = ['a.*']\n\
             runtime_path = '/usr/bin/containerd-shim-coaming-v1'\n[options]\nSystemdCgroup = true\nBinaryName = '/w'\n"
            .parse()
            .unwrap();
        assert_eq!(ours, expected);
    }

    #[test]
    fn a_handler_that_is_not_written_is_of_runc() {
        let section = section("");
        let handlers = Handlers::of(&section);
        assert_eq!((handlers.default(), handlers.program("runc")), ("runc", Some("runc")));
        assert_eq!(handlers.wrapper(), "/usr/libexec/coaming/coaming-runc");
        assert_eq!(handlers.ours("/w", false).len(), 2);
    }

    #[test]
    fn who_drives_cgroups_is_taken_over_from_any() {
        let section = section(
            "[containerd]\ndefault_runtime_name = 'nvidia'\n[containerd.runtimes.nvidia.options]\nBinaryName = '/opt/nvidia'\n\
             SystemdCgroup = true\nRoot = '/x'\n",
        );
        let ours = Handlers::of(&section).ours("/w", false);
        let options: Table = "SystemdCgroup = true\nBinaryName = '/w'\n".parse().unwrap();
        assert_eq!(ours.get("options").and_then(Value::as_table), Some(&options));
    }

    #[test]
    fn a_shim_of_another_make_has_no_program() {
        let section = section(
            "[containerd.runtimes.kata]\nruntime_type = 'io.containerd.kata.v2'\n[containerd.runtimes.own]\n\
             runtime_path = '/opt/shim'\n",
        );
        let handlers = Handlers::of(&section);
        assert_eq!((handlers.program("kata"), handlers.program("own")), (None, None));
    }
}
