//! dockerd's runtimes (dockerd(8), "runtimes" and "default-runtime").

use serde_json::Value;

use super::containerd::shim_of;
use super::tree::line_at;
use super::{Ends, Found, Handler, Manager, Ours, Place, Root};

const FILE: &str = "/etc/docker/daemon.json";

pub(super) fn find(root: &Root, ours: &Ours, found: &mut Found) {
    let text = match root.text(FILE) {
        Some(Ok(text)) => text,
        Some(Err(problem)) => return found.unreadable.push(problem),
        None if root.in_path("dockerd", &[]).is_none() => return,
        None => String::new(),
    };
    let value = match text.trim() {
        "" => Value::Null,
        text => match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => {
                return found.unreadable.push(format!("{FILE}:{}: {error}", error.line()));
            }
        },
    };
    found.notes.push(
        "dockerd's runtimes are those of its file; --add-runtime and --default-runtime on its command line are \
         not seen here, and `docker info` shows them"
            .to_owned(),
    );
    let default = value.get("default-runtime").and_then(Value::as_str).unwrap_or("runc");
    let runtimes = value.get("runtimes").and_then(Value::as_object);
    for (name, runtime) in runtimes.into_iter().flatten() {
        let line = |key: &str| line_of(&text, &["runtimes", name, key]);
        let named = |key: &str| runtime.get(key).and_then(Value::as_str);
        let (program, key, is_shim) = match (named("path"), named("runtimeType")) {
            (Some(path), _) => (path.to_owned(), "path", false),
            (None, Some(kind)) => (shim_of(kind), "runtimeType", true),
            (None, None) => (name.clone(), "path", false),
        };
        let place = Place {
            file: FILE.to_owned(),
            line: line(key).or_else(|| line_of(&text, &["runtimes", name])),
        };
        let binary = runtime
            .get("options")
            .and_then(|options| options.get("BinaryName"))
            .and_then(Value::as_str);
        let handler = judged(root, ours, name, &program, is_shim, binary, place);
        found.handlers.push(Handler { default: name == default, ..handler });
    }
    // dockerd has it whatever its file says, and does not let it be named otherwise.
    if !runtimes.is_some_and(|runtimes| runtimes.contains_key("runc")) {
        let line = line_of(&text, &["default-runtime"]).filter(|_| default == "runc");
        let place = Place { file: FILE.to_owned(), line };
        let handler = judged(root, ours, "runc", "runc", false, None, place);
        let because = match handler.ends {
            Ends::Around => {
                "it is built into dockerd, and anybody who may run containers may choose it"
                    .to_owned()
            }
            _ => handler.because,
        };
        let mend = (handler.ends == Ends::Around).then(|| {
            let wrapper = &ours.wrapper_path;
            format!(
                "\"runtimes\": {{\"coaming\": {{\"path\": {wrapper:?}}}}}, \"default-runtime\": \"coaming\" in {FILE}; \
                 the name runc stays a way around, unless the program runc is diverted to the wrapper"
            )
        });
        found.handlers.push(Handler { default: default == "runc", because, mend, ..handler });
    }
}

fn judged(
    root: &Root,
    ours: &Ours,
    name: &str,
    program: &str,
    is_shim: bool,
    binary: Option<&str>,
    place: Place,
) -> Handler {
    let file = root.in_path(program, &[]);
    let binary = binary.or(is_shim.then_some("runc")).and_then(|name| root.in_path(name, &[]));
    let is = |file: &Option<String>, test: fn(&Ours, &Root, &str) -> bool| {
        file.as_deref().is_some_and(|file| test(ours, root, file))
    };
    let (ends, because, mend) = if is_shim && is(&file, Ours::is_shim) {
        (Ends::Shim, format!("its shim is coaming's ({program})"), None)
    } else if !is_shim && is(&file, Ours::is_wrapper) {
        (Ends::Wrapper, format!("its path is coaming's wrapper ({program})"), None)
    } else if is_shim && program.contains("containerd-shim-runc-") && is(&binary, Ours::is_wrapper)
    {
        (Ends::Wrapper, "its BinaryName is coaming's wrapper".to_owned(), None)
    } else {
        let mend = format!("\"path\": {:?}", ours.wrapper_path);
        (Ends::Around, format!("it is {program}"), Some(mend))
    };
    Handler {
        manager: Manager::Docker,
        name: name.to_owned(),
        default: false,
        ends,
        place,
        because,
        mend,
    }
}

/// The line of a key below others: each is looked for behind the one before. serde_json keeps no places; the text
/// has been read as JSON by then.
fn line_of(text: &str, keys: &[&str]) -> Option<usize> {
    let mut at = 0;
    for key in keys {
        let quoted = serde_json::to_string(key).ok()?;
        at += text.get(at..)?.find(&quoted)?;
        at += 1;
    }
    Some(line_at(text, at))
}
