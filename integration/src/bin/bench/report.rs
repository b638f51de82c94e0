//! What was measured, for people, for programs and as pictures.

use std::fmt::Write as _;
use std::path::Path;

use coaming_integration::Error;
use serde_json::{Value, json};

use crate::table::at_share;

/// What was measured of starts.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) figures: Vec<Figure>,
    /// File names without an ending, and what is in them.
    pub(crate) pictures: Vec<(&'static str, String)>,
}

/// One quantity, of each who was measured in turn.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// The name of the row that the others are held against.
    pub(crate) base: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// What was taken of one of them.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Round by round, as many values as were taken in it.
    pub(crate) rounds: Vec<Vec<f64>>,
}

/// What is said of a row.
#[derive(Debug, Clone, Copy)]
struct Summary {
    p50: f64,
    p95: f64,
    p99: f64,
    /// The ratio to the base: of the medians, and the middle half of the ratios round by round.
    ratio: f64,
    quartiles: [f64; 2],
    /// Of the 99th percentiles.
    ratio_p99: f64,
}

impl Row {
    fn sorted(&self) -> Vec<f64> {
        let mut all: Vec<f64> = self.rounds.iter().flatten().copied().collect();
        all.sort_by(f64::total_cmp);
        all
    }

    fn summary(&self, base: &Row) -> Summary {
        let (own, other) = (self.sorted(), base.sorted());
        let middle = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut ratios: Vec<f64> = self
            .rounds
            .iter()
            .zip(&base.rounds)
            .map(|(own, other)| middle(own) / middle(other))
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = |share| at_share(&own, share) / at_share(&other, share);
        Summary {
            p50: at_share(&own, 0.5),
            p95: at_share(&own, 0.95),
            p99: at_share(&own, 0.99),
            ratio: ratio(0.5),
            quartiles: [at_share(&ratios, 0.25), at_share(&ratios, 0.75)],
            ratio_p99: ratio(0.99),
        }
    }
}

impl Figure {
    fn summaries(&self) -> Vec<(&Row, Summary)> {
        let base = self.rows.iter().find(|row| row.name == self.base);
        self.rows.iter().filter_map(|row| Some((row, row.summary(base?)))).collect()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "\n{}, {}\n{:<38}{:>9}{:>9}{:>9}{:>9}{:>17}{:>9}\n",
            self.title, self.unit, "", "p50", "p95", "p99", "ratio", "(middle half)", "of p99"
        );
        for (row, summary) in self.summaries() {
            let Summary { p50, p95, p99, ratio, quartiles: [low, high], ratio_p99 } = summary;
            let spread = format!("{low:.2} to {high:.2}");
            let _ = writeln!(
                text,
                "{:<38}{p50:>9.2}{p95:>9.2}{p99:>9.2}{ratio:>9.2}{spread:>17}{ratio_p99:>9.2}",
                row.name
            );
        }
        text
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .summaries()
            .into_iter()
            .map(|(row, summary)| {
                let Summary { p50, p95, p99, ratio, quartiles, ratio_p99 } = summary;
                json!({"name": row.name, "p50": p50, "p95": p95, "p99": p99, "ratio": ratio,
                       "ratioQuartiles": quartiles, "ratioOfP99": ratio_p99, "rounds": row.rounds})
            })
            .collect();
        json!({"title": self.title, "unit": self.unit, "base": self.base, "rows": rows})
    }

    /// A file name without an ending.
    fn slug(&self) -> String {
        let words = self.title.split(|c: char| !c.is_ascii_alphanumeric());
        words.filter(|word| !word.is_empty()).take(4).collect::<Vec<_>>().join("-").to_lowercase()
    }

    /// A strip for each row: from the 5th to the 95th percentile, the middle half darker, the median a line.
    fn svg(&self) -> String {
        const LEFT: f64 = 270.0;
        const WIDTH: f64 = 560.0;
        const STEP: f64 = 26.0;
        let shares =
            |row: &Row| [0.05, 0.25, 0.5, 0.75, 0.95].map(|at| at_share(&row.sorted(), at));
        let most = self.rows.iter().map(|row| shares(row)[4]).fold(0.0, f64::max);
        let x = |value: f64| LEFT + WIDTH * value / most;
        let height = STEP * (self.rows.len() as f64 + 2.2);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 940 {height}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"940\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <text x=\"8\" y=\"20\" font-weight=\"bold\">{}, {}</text>\n",
            self.title, self.unit
        );
        for (at, row) in self.rows.iter().enumerate() {
            let y = STEP * (at as f64 + 1.6);
            let [low, first, middle, third, high] = shares(row);
            let colour = if row.name.starts_with("coaming") { "#1f6f8b" } else { "#8a8a8a" };
            let bar = |from: f64, to: f64, opacity: f64| {
                format!(
                    "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\" opacity=\"{opacity}\"/>",
                    x(from),
                    (x(to) - x(from)).max(1.0)
                )
            };
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>{}{}\
                 <rect x=\"{:.1}\" y=\"{:.1}\" width=\"2\" height=\"18\" fill=\"#000000\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{middle:.1}</text>",
                LEFT - 10.0,
                y + 12.0,
                row.name,
                bar(low, high, 0.35),
                bar(first, third, 0.8),
                x(middle) - 1.0,
                y - 2.0,
                x(high) + 8.0,
                y + 12.0,
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Shows the figures, and leaves them in a folder: `starts.json`, and a picture of each.
pub(crate) fn keep(measured: &Measured, setting: &Value, folder: &Path) -> Result<(), Error> {
    let Measured { figures, pictures } = measured;
    let write = |name: String, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Io {
            operation: "write",
            object: path.display().to_string(),
            source,
        })
    };
    std::fs::create_dir_all(folder).map_err(|source| Error::Io {
        operation: "create",
        object: folder.display().to_string(),
        source,
    })?;
    for figure in figures {
        write(format!("{}.svg", figure.slug()), figure.svg())?;
    }
    for (name, svg) in pictures {
        write(format!("{name}.svg"), svg.clone())?;
    }
    let all: Vec<Value> = figures.iter().map(Figure::json).collect();
    let whole = json!({"setting": setting, "figures": all});
    write("starts.json".to_owned(), format!("{whole:#}\n"))
}
