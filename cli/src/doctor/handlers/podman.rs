//! Podman's runtimes (containers.conf(5), "engine" and "engine.runtimes").

use std::collections::BTreeMap;

use super::tree::Document;
use super::{Ends, Found, Handler, Manager, Ours, Place, Root};

/// In the order in which they are read; later ones count.
const FILES: [&str; 4] = [
    "/usr/share/containers/containers.conf",
    "/usr/share/containers/containers.conf.d/*.conf",
    "/etc/containers/containers.conf",
    "/etc/containers/containers.conf.d/*.conf",
];
/// Where Podman looks for a runtime that its files do not name (containers/common, pkg/config/default.go).
const FOLDERS: [&str; 6] =
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/sbin", "/bin"];

pub(super) fn find(root: &Root, ours: &Ours, found: &mut Found) {
    if root.in_path("podman", &[]).is_none() && !FILES.iter().any(|file| root.exists(file)) {
        return;
    }
    let mut default: Option<(String, Place)> = None;
    let mut runtimes: BTreeMap<String, (Vec<String>, Place)> = BTreeMap::new();
    for file in FILES.iter().flat_map(|pattern| root.glob(pattern)) {
        let document = match Document::read(root, &file) {
            Some(Ok(document)) => document,
            Some(Err(problem)) => {
                found.unreadable.push(problem);
                continue;
            }
            None => continue,
        };
        if let Some(runtime) = document.get(&["engine", "runtime"])
            && let Some(text) = runtime.text()
        {
            default = Some((text.to_owned(), document.place(runtime.line)));
        }
        let table = document.get(&["engine", "runtimes"]);
        for (name, paths) in table.into_iter().flat_map(|table| table.entries()) {
            let list = paths.items().iter().filter_map(|path| path.text()).map(str::to_owned);
            runtimes.insert(name.to_owned(), (list.collect(), document.place(paths.line)));
        }
    }
    let built_in = Place { file: "/etc/containers/containers.conf".to_owned(), line: None };
    let in_folders = |name: &str| {
        FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| root.exists(path))
    };
    let (default_name, place) = default.unwrap_or_else(|| {
        let name = ["crun", "runc"].into_iter().find(|name| in_folders(name).is_some());
        (name.unwrap_or("crun").to_owned(), built_in)
    });
    runtimes.entry(default_name.clone()).or_insert((Vec::new(), place));
    for (name, (paths, place)) in runtimes {
        // A name that is a path stands for itself; of several paths the first that is there counts.
        let program = match (name.starts_with('/'), paths.is_empty()) {
            (true, _) => Some(name.clone()),
            (false, true) => in_folders(&name),
            (false, false) => paths.iter().find(|path| root.exists(path)).cloned(),
        };
        let is_ours = program.as_deref().is_some_and(|program| ours.is_wrapper(root, program));
        let is_default = name == default_name;
        let because = match program.filter(|program| root.exists(program)) {
            Some(program) => format!("it is {program}"),
            // What Podman's own list names and is not there starts nothing.
            None if !is_default => continue,
            None => "it is not there".to_owned(),
        };
        let (ends, because, mend) = match is_ours {
            true => (Ends::Wrapper, format!("{because}, coaming's wrapper"), None),
            false => {
                let wrapper = &ours.wrapper_path;
                let mend = format!(
                    "in a file of /etc/containers/containers.conf.d: [engine] runtime = \"coaming\" and \
                     [engine.runtimes] coaming = [{wrapper:?}]"
                );
                (Ends::Around, because, Some(mend))
            }
        };
        found.handlers.push(Handler {
            manager: Manager::Podman,
            default: is_default,
            name,
            ends,
            place,
            because,
            mend,
        });
    }
    found.notes.push(
        "whoever runs podman may name any program with --runtime, and has a containers.conf of his own in his home"
            .to_owned(),
    );
}
