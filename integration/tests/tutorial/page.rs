//! What a page of documentation tells its reader to do, step by step.

/// One thing that the reader does.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Writes a file: a block of `yaml`, `toml` or `sh` beneath a line that ends with its path and a colon.
    Write { path: String, contents: String },
    /// Types a command, and sees an answer.
    Type { line: usize, command: String, answer: Vec<String> },
}

/// The steps of a page. A block of `console` holds commands after `$ ` or `# `, each with its answer; a command goes on
/// on the next line after a backslash.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut path: Option<String> = None;
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                path = named(line);
            }
            continue;
        };
        let block: Vec<(usize, &str)> =
            lines.by_ref().take_while(|(_, line)| !line.starts_with("```")).collect();
        match language {
            "yaml" | "toml" | "sh" => {
                if let Some(path) = path.take() {
                    let contents = block.iter().map(|(_, line)| format!("{line}\n")).collect();
                    steps.push(Step::Write { path, contents });
                }
            }
            "console" => typed(&block, &mut steps),
            _ => {}
        }
    }
    steps
}

/// The path at the end of a line such as "Write this to `/etc/motd`:".
fn named(line: &str) -> Option<String> {
    let before = line.trim_end().strip_suffix("`:")?;
    Some(before.rsplit_once('`')?.1.to_owned())
}

fn typed(block: &[(usize, &str)], steps: &mut Vec<Step>) {
    let mut goes_on = false;
    for (number, line) in block {
        let prompt = line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
        match (steps.last_mut(), prompt) {
            (Some(Step::Type { command, .. }), _) if goes_on => {
                command.push('\n');
                command.push_str(line);
                goes_on = line.ends_with('\\');
            }
            (_, Some(command)) => {
                goes_on = command.ends_with('\\');
                let command = command.to_owned();
                steps.push(Step::Type { line: number + 1, command, answer: Vec::new() });
            }
            (Some(Step::Type { answer, .. }), None) => answer.push((*line).to_owned()),
            // An answer without a command is one that no command gives.
            (_, None) => {
                let (line, answer) = (number + 1, vec![(*line).to_owned()]);
                steps.push(Step::Type { line, command: "true".to_owned(), answer });
            }
        }
    }
}

/// Whether an answer is the one that the page shows. `...` stands for anything within a line, and alone on a line for
/// any lines.
pub(crate) fn is_answered(shown: &[String], got: &[&str]) -> bool {
    match shown.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if first.trim() == "..." => {
            (0..=got.len()).any(|skipped| is_answered(rest, got.get(skipped..).unwrap_or_default()))
        }
        Some((first, rest)) => got
            .split_first()
            .is_some_and(|(line, after)| is_line(first, line) && is_answered(rest, after)),
    }
}

fn is_line(shown: &str, got: &str) -> bool {
    let mut parts = shown.trim_end().split("...");
    let got = got.trim_end();
    let Some(mut left) = parts.next().and_then(|first| got.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return left.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn a_page_is_read_as_its_reader_reads_it() {
    let page = "Write `/a/b.yaml`:\n\n```yaml\nx: 1\n```\n\nAn aside:\n\n```yaml\ny: 2\n```\n\n```console\n$ one \\\n  two\n\
                first\n...\nlast\n# three\n```\n";
    assert_eq!(
        steps(page),
        [
            Step::Write { path: "/a/b.yaml".to_owned(), contents: "x: 1\n".to_owned() },
            Step::Type {
                line: 14,
                command: "one \\\n  two".to_owned(),
                answer: ["first", "...", "last"].map(str::to_owned).into()
            },
            Step::Type { line: 19, command: "three".to_owned(), answer: Vec::new() },
        ]
    );
}

#[test]
fn dots_stand_for_what_differs_and_for_nothing_else() {
    let shown = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(is_answered(&shown(&["a ... c", "..."]), &["a b c"]));
    assert!(is_answered(&shown(&["...", "z"]), &["x", "y", "z"]));
    assert!(is_answered(&[], &[]) && is_answered(&shown(&["a...b...c"]), &["a1b2c"]));
    for (lines, got) in [
        (&["a"][..], &["a", "b"][..]),
        (&["a"], &[]),
        (&["a ... c"], &["a b d"]),
        (&["...", "z"], &["x"]),
        (&["ab"], &["abc"]),
    ] {
        assert!(!is_answered(&shown(lines), got), "{lines:?} {got:?}");
    }
}
