//! What the reader sees: headings, paragraphs, tables, and a list of what was not as it should be.

use std::io::{self, Write};

use coaming_integration::Error;

/// Columns.
const WIDTH: usize = 96;

pub(crate) struct Page {
    steps: usize,
    wrong: Vec<String>,
}

impl Page {
    pub(crate) fn new() -> Page {
        Page { steps: 0, wrong: Vec::new() }
    }

    /// Begins a numbered step.
    pub(crate) fn step(&mut self, title: &str) -> Result<(), Error> {
        self.steps += 1;
        let title = format!("{}. {title}", self.steps);
        let line = "-".repeat(title.chars().count());
        write(&format!("{title}\n{line}\n"))
    }

    /// A paragraph, wrapped.
    pub(crate) fn say(&self, text: &str) -> Result<(), Error> {
        write(&format!("{}\n\n", wrapped(text, "")))
    }

    /// Text as it is, indented.
    pub(crate) fn verbatim(&self, text: &str) -> Result<(), Error> {
        let lines: String = text
            .trim_end()
            .lines()
            .map(|line| format!("    {line}").trim_end().to_owned() + "\n")
            .collect();
        write(&format!("{lines}\n"))
    }

    /// A long message, indented and wrapped.
    pub(crate) fn quote(&self, text: &str) -> Result<(), Error> {
        write(&format!("{}\n\n", wrapped(text, "    ")))
    }

    /// Rows of as many cells as the head has.
    pub(crate) fn table<const N: usize>(
        &self,
        head: [&str; N],
        rows: &[[String; N]],
    ) -> Result<(), Error> {
        let head = head.map(str::to_owned);
        let mut widths = [0; N];
        for row in std::iter::once(&head).chain(rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |row: &[String; N]| {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            format!("    {}\n", cells.join("  ").trim_end())
        };
        let ruler = widths.map(|width| "-".repeat(width));
        let rows: String = rows.iter().map(line).collect();
        write(&format!("{}{}{rows}\n", line(&head), line(&ruler)))
    }

    /// Remembers, and says at once, what is not as it should be.
    pub(crate) fn check(&mut self, holds: bool, otherwise: &str) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        self.wrong.push(otherwise.to_owned());
        write(&format!("{}\n\n", wrapped(&format!("WRONG: {otherwise}"), "")))
    }

    /// The last words; whether all was as it should be.
    pub(crate) fn end(&self) -> Result<bool, Error> {
        if self.wrong.is_empty() {
            return self.say("Every line above is as it should be.").map(|()| true);
        }
        write("This demo did not show what it should:\n")?;
        for wrong in &self.wrong {
            write(&format!("{}\n", wrapped(wrong, "    ")))?;
        }
        Ok(false)
    }
}

fn write(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| Error::Io {
        operation: "write to",
        object: "standard output".to_owned(),
        source,
    })
}

fn wrapped(text: &str, indent: &str) -> String {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = indent.to_owned();
        for word in paragraph.split_whitespace() {
            if line.len() > indent.len() && line.chars().count() + 1 + word.chars().count() > WIDTH
            {
                lines.push(std::mem::replace(&mut line, indent.to_owned()));
            }
            if line.len() > indent.len() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_wrapped_at_words_and_a_long_word_stays_whole() {
        let long = "x".repeat(WIDTH + 10);
        let text = wrapped(&format!("{} {long} end\nnext", "word ".repeat(30)), "  ");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.starts_with("  ")));
        assert!(lines.iter().all(|line| line.len() <= WIDTH || line.trim() == long));
        assert_eq!(lines.last(), Some(&"  next"));
        assert_eq!(text.split_whitespace().count(), 33);
    }
}
