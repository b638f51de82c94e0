//! CRI-O's handlers (crio.conf(5), crio.conf.d(5)).

use std::collections::BTreeMap;

use super::tree::Document;
use super::{Ends, Found, Handler, Manager, Ours, Place, Root};

const FILE: &str = "/etc/crio/crio.conf";
const DROP_INS: &str = "/etc/crio/crio.conf.d/*";

pub(super) fn find(root: &Root, ours: &Ours, found: &mut Found) {
    let drop_ins = root.glob(DROP_INS);
    if !root.exists(FILE) && drop_ins.is_empty() && root.in_path("crio", &[]).is_none() {
        return;
    }
    let mut default: Option<(String, Place)> = None;
    let mut handlers: BTreeMap<String, Runtime> = BTreeMap::new();
    for file in std::iter::once(FILE.to_owned()).chain(drop_ins) {
        let document = match Document::read(root, &file) {
            Some(Ok(document)) => document,
            Some(Err(problem)) => {
                found.unreadable.push(problem);
                continue;
            }
            None => continue,
        };
        let Some(section) = document.get(&["crio", "runtime"]) else { continue };
        if let Some(name) = section.get("default_runtime")
            && let Some(text) = name.text()
        {
            default = Some((text.to_owned(), document.place(name.line)));
        }
        for (name, handler) in section.get("runtimes").into_iter().flat_map(|node| node.entries()) {
            let runtime = handlers.entry(name.to_owned()).or_insert_with(|| Runtime {
                place: document.place(handler.line),
                path: None,
                inherits: false,
            });
            if let Some(path) = handler.get("runtime_path")
                && let Some(text) = path.text().filter(|text| !text.is_empty())
            {
                runtime.path = Some((text.to_owned(), document.place(path.line)));
            }
            if let Some(inherit) = handler.get("inherit_default_runtime") {
                runtime.inherits = inherit.is_true();
            }
        }
    }
    // CRI-O 1.31 and later take crun by default, those before it runc.
    let named = default.as_ref().map(|(name, _)| name.clone());
    let first = ["crun", "runc"].into_iter().find(|name| {
        handlers.contains_key(*name) || root.in_path(name, &["/usr/libexec/crio"]).is_some()
    });
    let default_name = named.unwrap_or_else(|| first.unwrap_or("crun").to_owned());
    let place = default.map_or(Place { file: FILE.to_owned(), line: None }, |(_, place)| place);
    handlers.entry(default_name.clone()).or_insert(Runtime { place, path: None, inherits: false });
    let inherited = handlers.get(&default_name).and_then(|runtime| runtime.path.clone());
    for (name, runtime) in &handlers {
        let own = match runtime.inherits {
            true => inherited.as_ref().or(runtime.path.as_ref()),
            false => runtime.path.as_ref(),
        };
        let (program, place) =
            own.cloned().unwrap_or_else(|| (name.clone(), runtime.place.clone()));
        let file = root.in_path(&program, &["/usr/libexec/crio"]);
        let is_ours = file.as_deref().is_some_and(|file| ours.is_wrapper(root, file));
        let (ends, because, mend) = if is_ours {
            (Ends::Wrapper, format!("its runtime_path is coaming's wrapper ({program})"), None)
        } else {
            let because = match own {
                Some(_) => format!("its runtime_path is {program}"),
                None => format!("it names no runtime_path, and so is {program} of PATH"),
            };
            let mend = format!(
                "in a file of /etc/crio/crio.conf.d: [crio.runtime.runtimes.{name}] runtime_path = {:?}",
                ours.wrapper_path
            );
            (Ends::Around, because, Some(mend))
        };
        found.handlers.push(Handler {
            manager: Manager::Crio,
            name: name.clone(),
            default: *name == default_name,
            ends,
            place,
            because,
            mend,
        });
    }
}

struct Runtime {
    place: Place,
    path: Option<(String, Place)>,
    inherits: bool,
}
