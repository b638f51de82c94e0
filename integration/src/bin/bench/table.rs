//! Numbers in columns.

use std::io::Write;

use coaming_integration::Error;

pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<(String, Vec<f64>)>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Table {
        Table { title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, name: impl Into<String>, values: impl IntoIterator<Item = f64>) {
        self.rows.push((name.into(), values.into_iter().collect()));
    }

    /// With a last row: the second by the first, where there are two.
    pub(crate) fn show(&self) -> Result<(), Error> {
        let mut text = format!("\n{}\n{:<24}", self.title, "");
        for column in &self.columns {
            text += &format!("{column:>16}");
        }
        text.push('\n');
        for (name, values) in &self.rows {
            text += &format!("{name:<24}");
            for value in values {
                text += &format!("{value:>16.2}");
            }
            text.push('\n');
        }
        if let [(_, first), (_, second)] = self.rows.as_slice() {
            text += &format!("{:<24}", "ratio");
            for (first, second) in first.iter().zip(second) {
                text += &format!("{:>16.2}", second / first);
            }
            text.push('\n');
        }
        say(&text)
    }
}

/// On standard output.
pub(crate) fn say(text: &str) -> Result<(), Error> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|source| Error::Io {
        operation: "write",
        object: "standard output".to_owned(),
        source,
    })
}

/// The value below which this share of sorted values lies.
pub(crate) fn at_share(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The middle of the values, the lowest and the highest.
pub(crate) fn spread(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    [at(values.len() / 2), at(0), at(values.len().saturating_sub(1))]
}
