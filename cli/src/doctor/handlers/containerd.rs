//! containerd's handlers, by its files or by what `containerd config dump` prints.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::tree::Document;
use super::{Ends, Found, Handler, Manager, Ours, Place, Root};

/// Where distributions of Kubernetes keep theirs, the folders of their own programs, and what is edited instead.
pub(crate) const PLACES: [(&str, &[&str], Option<&str>); 6] = [
    ("/etc/containerd/config.toml", &[], None),
    (
        "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        &["/var/lib/rancher/k3s/data/current/bin"],
        Some("config-v3.toml.tmpl (or config.toml.tmpl) beside it, from which k3s makes it"),
    ),
    (
        "/var/lib/rancher/rke2/agent/etc/containerd/config.toml",
        &["/var/lib/rancher/rke2/bin"],
        Some("config-v3.toml.tmpl (or config.toml.tmpl) beside it, from which rke2 makes it"),
    ),
    (
        "/var/snap/microk8s/current/args/containerd.toml",
        &["/snap/microk8s/current/bin"],
        Some("containerd-template.toml beside it"),
    ),
    (
        "/run/k0s/containerd-cri.toml",
        &["/var/lib/k0s/bin"],
        Some("a file in /etc/k0s/containerd.d"),
    ),
    ("/etc/k0s/containerd.toml", &["/var/lib/k0s/bin"], None),
];
/// How many files may import each other.
const MOST_FILES: usize = 64;

pub(super) fn find(root: &Root, ours: &Ours, dump: Option<&Path>, found: &mut Found) {
    if let Some(path) = dump {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{shown}: {error}"));
        match text.and_then(|text| Document::parse(&shown, &text)) {
            Ok(document) => Node::of(vec![document], &[], None).judge(root, ours, found),
            Err(problem) => found.unreadable.push(problem),
        }
        return;
    }
    let mut any = false;
    for (file, folders, instead) in PLACES {
        if !root.exists(file) {
            continue;
        }
        any = true;
        let mut documents = Vec::new();
        let mut seen = BTreeSet::new();
        read(root, file, &mut documents, &mut seen, found);
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        for fragment in root.glob(&format!("{folder}/conf.d/*.toml")) {
            if !seen.contains(&fragment) {
                found.notes.push(format!(
                    "{fragment} is there and {file} does not import it: what it says is not in force, unless this                      containerd's defaults do"
                ));
            }
        }
        Node::of(documents, folders, instead).judge(root, ours, found);
    }
    // Without a file it has its defaults.
    if !any && root.in_path("containerd", &[]).is_some() {
        Node::of(Vec::new(), &[], None).judge(root, ours, found);
    }
}

/// A file and then what it imports, which counts over it.
fn read(
    root: &Root,
    file: &str,
    documents: &mut Vec<Document>,
    seen: &mut BTreeSet<String>,
    found: &mut Found,
) {
    if seen.len() >= MOST_FILES || !seen.insert(file.to_owned()) {
        return;
    }
    let document = match Document::read(root, file) {
        Some(Ok(document)) => document,
        Some(Err(problem)) => return found.unreadable.push(problem),
        None => return found.unreadable.push(format!("{file}: it is imported and not there")),
    };
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let imports: Vec<String> = document
        .get(&["imports"])
        .map_or(&[][..], |imports| imports.items())
        .iter()
        .filter_map(|import| import.text())
        .map(|import| match import.starts_with('/') {
            true => import.to_owned(),
            false => format!("{folder}/{import}"),
        })
        .collect();
    documents.push(document);
    for pattern in imports {
        for import in root.glob(&pattern) {
            read(root, &import, documents, seen, found);
        }
    }
}

/// What several files come to, each key with its place.
struct Node<'a> {
    runtimes: BTreeMap<String, BTreeMap<&'static str, (String, Place)>>,
    /// Where each handler is first named.
    named: BTreeMap<String, Place>,
    default: Option<(String, Place)>,
    file: String,
    folders: &'a [&'a str],
    instead: Option<&'a str>,
    replaces: bool,
}

impl<'a> Node<'a> {
    fn of(documents: Vec<Document>, folders: &'a [&'a str], instead: Option<&'a str>) -> Node<'a> {
        let file = documents.first().map_or("/etc/containerd/config.toml", |first| &first.file);
        let mut node = Node {
            runtimes: BTreeMap::new(),
            named: BTreeMap::new(),
            default: None,
            file: file.to_owned(),
            folders,
            instead,
            replaces: false,
        };
        for (index, document) in documents.iter().enumerate() {
            let version = document.get(&["version"]).and_then(|version| version.number());
            let plugin = match version {
                Some(2) => "io.containerd.grpc.v1.cri",
                Some(0 | 1) | None => "cri",
                Some(_) => "io.containerd.cri.v1.runtime",
            };
            let Some(section) = document.get(&["plugins", plugin, "containerd"]) else { continue };
            node.replaces |= index > 0 && version == Some(2);
            if let Some(name) = section.get("default_runtime_name")
                && let Some(text) = name.text()
            {
                node.default = Some((text.to_owned(), document.place(name.line)));
            }
            let Some(runtimes) = section.get("runtimes") else { continue };
            for (name, handler) in runtimes.entries() {
                let place = document.place(handler.line);
                node.named.entry(name.to_owned()).or_insert(place);
                let keys = node.runtimes.entry(name.to_owned()).or_default();
                let options = handler.get("options");
                for (key, value) in [
                    ("runtime_type", handler.get("runtime_type")),
                    ("runtime_path", handler.get("runtime_path")),
                    ("base_runtime_spec", handler.get("base_runtime_spec")),
                    ("BinaryName", options.and_then(|options| options.get("BinaryName"))),
                ] {
                    if let Some(value) = value
                        && let Some(text) = value.text().filter(|text| !text.is_empty())
                    {
                        keys.insert(key, (text.to_owned(), document.place(value.line)));
                    }
                }
            }
        }
        // containerd has it whatever its file says.
        node.runtimes.entry("runc".to_owned()).or_default();
        node
    }

    fn judge(self, root: &Root, ours: &Ours, found: &mut Found) {
        if self.replaces {
            found.notes.push(format!(
                "{}: containerd 1.x takes the whole CRI section of an imported file in place of that of the \
                 file that imports it; `containerd config dump` says what holds (--containerd-config)",
                self.file
            ));
        }
        let default = self.default.as_ref().map_or("runc", |(name, _)| name);
        for (name, keys) in &self.runtimes {
            let place = self.named.get(name).cloned();
            let handler = self.handler(root, ours, name, keys, place);
            found.handlers.push(Handler { default: name == default, ..handler });
        }
        if !self.runtimes.contains_key(default)
            && let Some((name, place)) = &self.default
        {
            found
                .notes
                .push(format!("{place}: default_runtime_name is {name:?}, which is no handler"));
        }
    }

    fn handler(
        &self,
        root: &Root,
        ours: &Ours,
        name: &str,
        keys: &BTreeMap<&'static str, (String, Place)>,
        named: Option<Place>,
    ) -> Handler {
        let built_in = Place { file: self.file.clone(), line: None };
        let own = named.clone().unwrap_or(built_in);
        let get = |key: &str| keys.get(key).map(|(text, place)| (text.as_str(), place.clone()));
        let (kind, kind_place) =
            get("runtime_type").unwrap_or(("io.containerd.runc.v2", own.clone()));
        let (shim, shim_place) = match get("runtime_path") {
            Some((path, place)) => (path.to_owned(), place),
            None => (shim_of(kind), kind_place),
        };
        let handler = |ends, place, because: String| Handler {
            manager: Manager::Containerd,
            name: name.to_owned(),
            default: false,
            ends,
            place,
            because,
            mend: None,
        };
        let shim_file = root.in_path(&shim, self.folders);
        if shim_file.as_deref().is_some_and(|file| ours.is_shim(root, file)) {
            return handler(Ends::Shim, shim_place, format!("its shim is coaming's ({shim})"));
        }
        if !kind.starts_with("io.containerd.runc.") && !shim.contains("containerd-shim-runc-") {
            let because = format!(
                "its shim is {shim}, which starts containers without an OCI runtime of ours"
            );
            return Handler {
                mend: Some(self.remove(name)),
                ..handler(Ends::Around, shim_place, because)
            };
        }
        let (binary, place) = get("BinaryName")
            .map_or_else(|| ("runc".to_owned(), own), |(binary, place)| (binary.to_owned(), place));
        let file = root.in_path(&binary, self.folders);
        if let Some(file) = &file
            && ours.is_wrapper(root, file)
        {
            return handler(
                Ends::Wrapper,
                place,
                format!("its OCI runtime is coaming's wrapper ({file})"),
            );
        }
        let because = match (get("BinaryName"), &file) {
            (Some(_), Some(file)) => format!("its OCI runtime is {file} (BinaryName)"),
            (Some(_), None) => {
                format!("its OCI runtime is {binary} (BinaryName), which is not there")
            }
            (None, Some(file)) => {
                format!("it names no BinaryName, and so its OCI runtime is {file}")
            }
            (None, None) => "it names no BinaryName, and so its OCI runtime is runc".to_owned(),
        };
        let mend = Some(self.mend(ours, name, &place, named.is_some()));
        Handler { mend, ..handler(Ends::Around, place, because) }
    }

    /// The line that would bring a handler to the wrapper.
    fn mend(&self, ours: &Ours, name: &str, place: &Place, is_named: bool) -> String {
        let wrapper = &ours.wrapper_path;
        let file = self.instead.map_or_else(|| place.file.clone(), str::to_owned);
        let plugin = r#"plugins."io.containerd.cri.v1.runtime""#;
        match is_named {
            true => format!("BinaryName = {wrapper:?} under the handler's options, in {file}"),
            false => format!(
                "in {file}: [{plugin}.containerd.runtimes.{name}.options] BinaryName = {wrapper:?} (in a file of \
                 version 2: plugins.\"io.containerd.grpc.v1.cri\"), with runtime_type = \"io.containerd.runc.v2\" \
                 in the section above it"
            ),
        }
    }

    fn remove(&self, name: &str) -> String {
        let file = self.instead.map_or_else(|| self.file.clone(), str::to_owned);
        format!(
            "take the handler {name} out of {file}, unless pods are meant to be able to choose it"
        )
    }
}

/// The program of a shim's type: `io.containerd.runc.v2` is `containerd-shim-runc-v2` (containerd
/// pkg/shim/util.go, BinaryName). A path stands for itself.
pub(super) fn shim_of(kind: &str) -> String {
    if kind.starts_with('/') {
        return kind.to_owned();
    }
    let parts: Vec<&str> = kind.split('.').collect();
    match parts.as_slice() {
        [.., name, version] => format!("containerd-shim-{name}-{version}"),
        _ => kind.to_owned(),
    }
}
