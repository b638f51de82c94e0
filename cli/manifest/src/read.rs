//! Reading a file of manifests: YAML or JSON, several documents, lists.

use serde_json::Value;

use crate::error::ManifestError;
use crate::field::Field;
use crate::settings::Settings;
use crate::workload::{Found, Workload};
use crate::{Manifests, pod};

/// The largest file read, in bytes. etcd takes objects of 1.5 MiB.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most pods read from one file.
pub const MAX_PODS: usize = 1000;
/// How deep lists may stand in lists.
const MAX_DEPTH: usize = 4;

/// Reads a file of manifests with [`Settings::default`]. `file` is for messages.
///
/// # Errors
/// [`ManifestError`]: what is no YAML or JSON, and fields of a wrong type, with their place. Fields
/// that are not known are left to the API server.
pub fn read(file: &str, text: &str) -> Result<Manifests, ManifestError> {
    read_with(file, text, &Settings::default())
}

/// [`read`], with other settings.
///
/// # Errors
/// See [`read`].
pub fn read_with(file: &str, text: &str, settings: &Settings) -> Result<Manifests, ManifestError> {
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLarge { file: file.to_owned(), bytes: text.len() });
    }
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).map_err(|error| {
        let error = error.without_snippet();
        let at = error.location();
        ManifestError::Syntax {
            file: file.to_owned(),
            line: at.map_or(1, |at| at.line()),
            column: at.map_or(1, |at| at.column()),
            message: without_place(error.render().lines().next().unwrap_or_default()),
        }
    })?;
    let mut manifests = Manifests::default();
    let several = documents.len() > 1;
    for (number, document) in documents.iter().enumerate() {
        let what = match several {
            true => format!("{file}, document {}", number + 1),
            false => file.to_owned(),
        };
        let root = Field::root(document, "");
        gather(file, root, None, 0, settings, &mut manifests)
            .map_err(|error| error.within(&what))?;
    }
    Ok(manifests)
}

/// The parser ends with the place, which stands in front already.
fn without_place(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}

fn gather(
    file: &str,
    object: Field<'_>,
    implied: Option<&str>,
    depth: usize,
    settings: &Settings,
    manifests: &mut Manifests,
) -> Result<(), ManifestError> {
    // An empty document, as templates leave behind.
    if object.is_absent() {
        return Ok(());
    }
    match Workload::of(object.clone(), implied)? {
        Found::Workload(workload) => {
            if manifests.pods.len() >= MAX_PODS {
                return Err(ManifestError::TooMany { file: file.to_owned() });
            }
            if let Some(system) = workload.other_system()? {
                let (kind, name) = (&workload.kind, &workload.name);
                manifests.passed_over.push(format!("{kind} {name}: its pods run on {system}"));
                return Ok(());
            }
            let named = format!("{} {}", workload.kind, workload.name);
            manifests
                .pods
                .push(pod::plan(&workload, settings).map_err(|error| error.within(&named))?);
        }
        Found::List { items, implied } => {
            if depth >= MAX_DEPTH {
                return Err(object.wrong("lists within lists, too deep to be read".to_owned()));
            }
            for item in items {
                gather(file, item, implied.as_deref(), depth + 1, settings, manifests)?;
            }
        }
        Found::Other(what) => manifests.passed_over.push(what),
    }
    Ok(())
}
