//! What each pair has shown, in a file of the build's folder: all of it, as it was seen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs};

use coaming_integration::Error;

use crate::attempts::{ALL, Attempt, Floor};
use crate::matrix::{Outcome, Row};
use crate::rebuilt::Rebuilt;
use crate::ways::{Caller, Way};

/// By pair, so that the file is the same whichever ends first.
static PAGES: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Keeps what a pair has shown, and writes the file anew.
///
/// # Errors
/// The file system's.
pub(crate) fn keep(pair: &str, rows: &[Row], rebuilt: &[Rebuilt]) -> Result<(), Error> {
    let mut pages = PAGES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    pages.insert(pair.to_owned(), page(pair, rows, rebuilt));
    let text = pages.values().fold(HEAD.to_owned(), |text, page| text + "\n" + page);
    let path = folder().join("escapes.md");
    let failed =
        |source| Error::Io { operation: "write", object: path.display().to_string(), source };
    fs::create_dir_all(folder()).and_then(|()| fs::write(&path, text)).map_err(failed)
}

const HEAD: &str = "# Escapes, as this run has seen them

Each cell: how the attempt ended under coaming, having worked under the stock runtime in the same way; `(...)`: it did not
work there either, and why. `baseline / strict` where the two floors end it differently.
";

fn folder() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
        .join("coaming-integration")
}

fn page(pair: &str, rows: &[Row], rebuilt: &[Rebuilt]) -> String {
    let columns: Vec<(Caller, Way)> = Caller::ALL
        .into_iter()
        .flat_map(|caller| caller.ways().iter().map(move |way| (caller, *way)))
        .filter(|column| rows.iter().any(|row| (row.caller, row.way) == *column))
        .collect();
    let mut text = format!("## {pair}\n\n| attempt |");
    for (caller, way) in &columns {
        let _ = write!(text, " {}, {} |", caller.title(), way.title());
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(columns.len()));
    for attempt in ALL {
        let _ = write!(text, "| `{}` |", attempt.words);
        for column in &columns {
            let _ = write!(text, " {} |", cell(rows, attempt, *column));
        }
        text.push('\n');
    }
    text.push_str("\n| known escape | outcome |\n|---|---|\n");
    for Rebuilt { known, outcome } in rebuilt {
        let _ = writeln!(text, "| {} | {} |", known.title, shown(outcome));
    }
    text
}

fn cell(rows: &[Row], attempt: &Attempt, (caller, way): (Caller, Way)) -> String {
    let under = |floor: Floor| {
        rows.iter()
            .find(|row| {
                row.attempt.words == attempt.words
                    && (row.caller, row.way, row.floor) == (caller, way, floor)
            })
            .map(|row| shown(&row.outcome))
    };
    match (under(Floor::Baseline), under(Floor::Strict)) {
        (Some(baseline), Some(strict)) if baseline != strict => format!("{baseline} / {strict}"),
        (Some(same), _) | (None, Some(same)) => same,
        (None, None) => "-".to_owned(),
    }
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Stopped(how) => how.clone(),
        Outcome::NotShown(why) => format!("({why})"),
        Outcome::Through => "**GOT THROUGH**".to_owned(),
        Outcome::Unclear(why) => format!("**unclear**: {why}"),
    }
}
