//! The table of docs/escapes.md: made of the tables here, and held against what each pair shows.
//!
//! `COAMING_UPDATE_DOCS=1 cargo test -p coaming-integration --test escape page` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use crate::attempts::{ALL, Attempt, Floor};
use crate::case::{Ours, See, Stock};
use crate::matrix::{Outcome, Row};
use crate::refusals;
use crate::ways::{Caller, Way};
use crate::{known, table};

const BEGIN: &str = "<!-- made by the escape suite: begin -->\n";
const END: &str = "<!-- made by the escape suite: end -->\n";

/// What the table says of an attempt in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// It works without coaming, and not with it.
    Stopped,
    /// It does not work; without coaming neither, since this way gives less.
    Less,
    /// As the first, on a kernel that has what it needs.
    Kernel,
    /// It has nothing to be aimed at.
    Nothing,
}

impl Cell {
    fn of(attempt: &Attempt, way: Way, callers: &[Caller]) -> Cell {
        let mut asked = callers.iter().filter(|caller| caller.ways().contains(&way));
        if attempt.beside && !way.is_beside() {
            Cell::Nothing
        } else if attempt.privileged && !asked.any(|caller| caller.is_wide(way)) {
            Cell::Less
        } else if attempt.needs.is_some() {
            Cell::Kernel
        } else {
            Cell::Stopped
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Cell::Stopped => "●",
            Cell::Less => "○",
            Cell::Kernel => "◐",
            Cell::Nothing => "",
        }
    }

    fn is_shown_by(self, seen: &[&Outcome]) -> bool {
        let stopped = seen.iter().any(|outcome| matches!(outcome, Outcome::Stopped(_)));
        let harmless = seen
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Stopped(_) | Outcome::NotShown(_)));
        harmless
            && match self {
                Cell::Stopped => stopped,
                Cell::Less => !stopped && !seen.is_empty(),
                Cell::Kernel => !seen.is_empty(),
                Cell::Nothing => seen.is_empty(),
            }
    }
}

/// Where a pair has shown anything else than the table says, a line each.
/// What was left out is none of them: it is said by whoever left it out.
pub(crate) fn differences(rows: &[Row], callers: &[Caller], left_out: &[Way]) -> Vec<String> {
    let mut lines = Vec::new();
    if rows.is_empty() {
        lines.push("nothing was seen that docs/escapes.md could be held against".to_owned());
        return lines;
    }
    let ways = || {
        Way::ALL
            .into_iter()
            .filter(|way| !left_out.contains(way))
            .filter(|way| callers.iter().any(|caller| caller.ways().contains(way)))
    };
    for attempt in ALL {
        for way in ways() {
            let seen: Vec<&Outcome> = rows
                .iter()
                .filter(|row| row.attempt.words == attempt.words && row.way == way)
                .map(|row| &row.outcome)
                .collect();
            let cell = Cell::of(attempt, way, callers);
            if !cell.is_shown_by(&seen) {
                lines.push(format!(
                    "docs/escapes.md says {cell:?} of {:?} as {}, and it was {seen:?}",
                    attempt.words,
                    way.title()
                ));
            }
        }
    }
    lines
}

#[test]
fn the_page_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/escapes.md");
    let page =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (head, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("no {BEGIN:?}"));
    let (_, tail) = rest.split_once(END).unwrap_or_else(|| panic!("no {END:?}"));
    let made = format!("{head}{BEGIN}{}{END}{tail}", text());
    if env::var_os("COAMING_UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    assert!(
        page == made,
        "docs/escapes.md is stale; write it anew with COAMING_UPDATE_DOCS=1 cargo test -p coaming-integration --test escape page"
    );
}

#[test]
fn there_are_enough_of_them_and_none_twice() {
    let words: BTreeSet<_> = ALL.iter().map(|attempt| attempt.words).collect();
    assert_eq!(words.len(), ALL.len());
    let shown = ALL.iter().filter(|attempt| attempt.needs.is_none()).count();
    assert!(shown >= 80, "{shown} attempts that every kernel can show");
    for way in Way::ALL {
        let stopped = ALL
            .iter()
            .filter(|attempt| Cell::of(attempt, way, &Caller::ALL) == Cell::Stopped)
            .count();
        assert!(stopped >= 80, "{stopped} as {}", way.title());
    }
}

fn text() -> String {
    let mut text = String::new();
    every_way(&mut text);
    rebuilt(&mut text);
    controls(&mut text);
    text
}

fn every_way(text: &mut String) {
    let shown = ALL.iter().filter(|attempt| attempt.needs.is_none()).count();
    let _ = writeln!(
        text,
        "### Attempted in every way\n\n{} attempts; {shown} of them on any kernel. Who asks:\n",
        ALL.len()
    );
    for way in Way::ALL {
        let callers: Vec<_> = Caller::ALL
            .into_iter()
            .filter(|caller| caller.ways().contains(&way))
            .map(Caller::title)
            .collect();
        let _ = writeln!(text, "- {}: {}", way.title(), callers.join(", "));
    }
    text.push_str("\n| attempt | stopped by | floor |");
    for way in Way::ALL {
        let _ = write!(text, " {} |", way.title());
    }
    let _ = writeln!(text, "\n|---|---|---|{}", ":-:|".repeat(Way::ALL.len()));
    for attempt in ALL {
        let floor = match attempt.floor {
            Floor::Baseline => "baseline",
            Floor::Strict => "and a policy",
        };
        let needs = attempt.needs.map_or(String::new(), |what| format!(" ◐ {what}"));
        let _ = write!(text, "| {}{needs} | {} | {floor} |", attempt.title, attempt.control);
        for way in Way::ALL {
            let _ = write!(text, " {} |", Cell::of(attempt, way, &Caller::ALL).sign());
        }
        text.push('\n');
    }
}

fn rebuilt(text: &mut String) {
    let _ = writeln!(
        text,
        "\n### Known escapes, rebuilt\n\n| escape | stopped by | under coaming | not shown |\n|---|---|---|---|"
    );
    for known in known::ALL {
        let ours = if known.refused.is_empty() { "without effect" } else { "refused" };
        let _ = writeln!(
            text,
            "| {} | {} | {ours} | {} |",
            known.title, known.control, known.otherwise
        );
    }
}

fn controls(text: &mut String) {
    text.push_str("\n### Each control by itself\n\n| control | policy | stopped | still works |\n|---|---|---|---|\n");
    for group in table::groups() {
        let controls: BTreeSet<_> = group.cases.iter().map(|case| case.control).collect();
        let list = |kept: bool| {
            let words: Vec<_> = group
                .cases
                .iter()
                .filter(|case| (case.ours == Ours::Kept) == kept)
                .map(|case| {
                    let words = match case.see {
                        See::Probe(words) => words.replace('|', "\\|"),
                        See::Node(file, _) => format!("on the node: {file}"),
                    };
                    let sign = if case.stock == Stock::Allowed { "" } else { " ◐" };
                    format!("`{words}`{sign}")
                })
                .collect();
            words.join(", ")
        };
        let controls: Vec<_> = controls.into_iter().collect();
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            controls.join(", "),
            group.name,
            list(false),
            list(true)
        );
    }
    text.push_str("\nRefused before anything starts: ");
    let refused: BTreeSet<_> = refusals::ALL.iter().map(|refusal| refusal.control).collect();
    let _ = writeln!(text, "{}.", refused.into_iter().collect::<Vec<_>>().join(", "));
}
