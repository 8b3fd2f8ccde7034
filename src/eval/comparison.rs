//! The result of a comparison, and how it was obtained.

use std::sync::Arc;

use super::compare::metric_names;
use super::metric::{Metric, Reading};
use crate::declare::{Display, Value};
use crate::document::{Block, Column, Document, Line, Look, Role, Table};
use crate::error::{Error, Result};
use crate::scripted;

/// One metric and its value.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Metric.
    pub metric: &'static Metric,
    /// Value.
    pub reading: Reading,
}

/// Origin of one of the sets, and its preparation.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Name of the data set, or `tensor`.
    pub name: String,
    /// Split of the data set.
    pub split: Option<String>,
    /// Number of images.
    pub count: i64,
    /// First 12 hexadecimal digits of the SHA-256 of the images; empty if not computed.
    pub hash: String,
    /// How the images were prepared for the network; empty if they were not changed.
    pub resize: String,
    /// First 12 hexadecimal digits of the SHA-256 of the stored statistics that FID and sFID used instead of those
    /// of the images; empty if there were none.
    pub statistics: String,
}

impl Side {
    fn describe(&self) -> String {
        match &self.split {
            Some(split) => format!("{} of {} ({split})", self.count, self.name),
            None => format!("{} of a {}", self.count, self.name),
        }
    }
}

/// Network of the features.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name.
    pub name: String,
    /// Hash of everything that determines the features.
    pub hash: String,
    /// Length of a feature vector.
    pub dims: i64,
}

/// Options that affect the values of metrics.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Neighbor for precision and recall.
    pub k: i64,
    /// Neighbor for density and coverage.
    pub density_k: i64,
    /// Splits of the inception score.
    pub splits: i64,
    /// Blocks of KID.
    pub kid_blocks: i64,
    /// Images in a block of KID.
    pub kid_size: i64,
    /// Lower bound of high frequencies.
    pub threshold: f64,
}

/// How the generated images were sampled, as far as known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct How {
    /// Seed.
    pub seed: Option<i64>,
    /// Guidance scale.
    pub guidance: Option<f64>,
    /// Number of steps.
    pub steps: Option<i64>,
    /// Solver.
    pub sampler: Option<String>,
    /// Decay of the averaged weights, 0 for the last weights.
    pub ema: Option<f64>,
}

impl How {
    fn describe(&self) -> String {
        let parts = [
            self.seed.map(|s| format!("seed {s}")),
            self.guidance.map(|g| format!("guidance {g}")),
            self.steps.map(|s| format!("{s} steps")),
            self.sampler.clone(),
            self.ema.map(|e| if e == 0.0 { "last weights".to_string() } else { format!("ema {e}") }),
        ];
        parts.into_iter().flatten().map(|part| format!(", {part}")).collect()
    }
}

/// Contents of a comparison.
#[derive(Debug, Clone)]
pub struct Record {
    /// Metrics, in the order of the table.
    pub entries: Vec<Entry>,
    /// Network of the features, if a metric used them.
    pub features: Option<Network>,
    /// Real images.
    pub real: Side,
    /// Generated images.
    pub made: Side,
    /// Options that affect the values.
    pub settings: Settings,
    /// How the generated images were sampled.
    pub how: How,
    /// Notes on the values.
    pub notes: Vec<String>,
}

/// Result of [`compare`](super::compare()); clones share it.
#[derive(Debug, Clone)]
pub struct Comparison(Arc<Record>);

scripted!(
    Comparison,
    "comparison",
    |c| Display::of(&c.document(WIDE)),
    document = |c, width| c.document(width.unwrap_or(WIDE)),
    data = |c| Some(Value::Map(c.to_map())),
);

impl Comparison {
    pub(super) fn new(record: Record) -> Self {
        Self(Arc::new(record))
    }

    /// Returns the contents.
    pub fn record(&self) -> &Record {
        &self.0
    }

    /// Returns the value of a metric.
    pub fn value(&self, name: &str) -> Result<f64> {
        self.entry(name).map(|e| e.reading.made)
    }

    /// Returns the value of a metric for the real images alone; an error if the metric compares both sets.
    pub fn real_value(&self, name: &str) -> Result<f64> {
        self.entry(name)?
            .reading
            .real
            .ok_or_else(|| Error::argument(format!("`{name}` compares both sets: it has no value for one")))
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        match self.0.entries.iter().find(|e| e.metric.name == name) {
            Some(entry) => Ok(entry),
            None if metric_names().contains(&name) => {
                Err(Error::argument(format!("`{name}` was not measured"))
                    .hint("name it in the option `metrics`, or leave that option out"))
            }
            None => {
                Err(Error::argument(format!("unknown metric `{name}`")).did_you_mean(name, metric_names()))
            }
        }
    }

    /// Returns notes on the values.
    pub fn notes(&self) -> &[String] {
        &self.0.notes
    }

    /// Returns name and hash of the features, such as `fashion-mnist-cnn@0123456789ab`, if a metric used them.
    pub fn features(&self) -> Option<String> {
        self.0.features.as_ref().map(|f| format!("{}@{}", f.name, f.hash))
    }

    fn heading(&self) -> Vec<String> {
        let Record { real, made, how, features, settings, .. } = self.record();
        let mut lines =
            vec![format!("generated {}{} | real {}", made.describe(), how.describe(), real.describe())];
        if let Some(Network { name, hash, dims }) = features {
            let Settings { k, density_k, splits, kid_blocks, kid_size, .. } = settings;
            lines.push(format!(
                "features {name}, sha256 {hash}, {dims} dimensions | real images sha256 {}",
                real.hash
            ));
            let kid = match kid_blocks {
                1 => "KID in one block".to_string(),
                blocks => format!("KID {blocks} x {kid_size}"),
            };
            lines.push(format!("k {k}, density k {density_k}, {splits} splits, {kid}"));
        }
        lines
    }

    fn rows(&self) -> impl Iterator<Item = [String; 4]> + '_ {
        self.0.entries.iter().map(|Entry { metric, reading }| {
            let real = reading.real.map_or(String::new(), number);
            [metric.name.to_string(), number(reading.made), real, metric.better.word().to_string()]
        })
    }

    /// Returns what produced the values, one line per metric, and notes. Narrow widths get tighter columns, and very
    /// narrow ones no last column.
    fn document(&self, width: usize) -> Document {
        let rows: Vec<[String; 4]> = self.rows().collect();
        let widest = |i: usize| rows.iter().map(|row| row[i].len()).chain([HEAD[i].len()]).max().unwrap_or(0);
        let columns = match width >= WIDE {
            true => [Column::left().after(2).least(22), Column::right().least(12), Column::right().least(12)],
            false => [Column::left(), Column::right().after(1), Column::right().after(1)],
        };
        let sizes = [0, 1, 2].map(|i: usize| columns[i].gap + columns[i].least.max(widest(i)));
        let full = sizes.iter().sum::<usize>() + 2 + widest(3) <= width;
        let count = if full { 4 } else { 3 };
        let mut columns = columns.to_vec();
        columns.extend(full.then(|| Column::left().after(2)));
        let mut table = Table::new(Look::Open, columns).with_head(HEAD.into_iter().take(count));
        for row in rows {
            table.push(row.into_iter().take(count));
        }
        let heading = self.heading().into_iter().map(|line| Line::of(Role::Faint, line)).collect();
        let note = |note: &String| Line::of(Role::Warning, "note:").with(Role::Plain, format!(" {note}"));
        let mut document = Document::of(Block::Note(heading)).with(Block::Table(table));
        if !self.0.notes.is_empty() {
            document.push(Block::Lines(self.0.notes.iter().map(note).collect()));
        }
        document
    }
}

/// Smallest width for the table without tightened columns.
const WIDE: usize = 60;

const HEAD: [&str; 4] = ["metric", "generated", "real", "better"];

/// Formats a value with about five digits: enough to tell runs apart, few enough to read down a column.
fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e6).contains(&size) {
        return format!("{value:.4e}");
    }
    let before_point = if size < 1.0 { 0 } else { size.log10() as usize + 1 };
    format!("{value:.*}", 5usize.saturating_sub(before_point).max(1))
}

#[cfg(test)]
pub(in crate::eval) mod tests {
    use super::*;
    use crate::eval::fid;

    #[test]
    fn numbers_keep_five_digits() {
        let shown: Vec<String> =
            [0.0, 0.012345678, 3.1416272, 123.456789, 54321.98, 1.5e-7].map(number).into();
        assert_eq!(shown, ["0.00000", "0.01235", "3.1416", "123.46", "54322.0", "1.5000e-7"]);
    }

    /// Returns a comparison with FID alone.
    pub(in crate::eval) fn example() -> Comparison {
        let side = |name: &str, split: Option<&str>, count| Side {
            name: name.to_string(),
            split: split.map(str::to_string),
            count,
            hash: "abcdefabcdef".to_string(),
            resize: "32 x 32 resized to 28 x 28".to_string(),
            statistics: String::new(),
        };
        Comparison::new(Record {
            entries: vec![Entry { metric: &fid::FAMILY.metrics[0], reading: Reading::of_both(12.5) }],
            features: Some(Network { name: "cnn".to_string(), hash: "0123456789ab".to_string(), dims: 64 }),
            real: side("fashion_mnist", Some("test"), 2000),
            made: side("tensor", None, 50),
            settings: Settings {
                k: 3,
                density_k: 5,
                splits: 10,
                kid_blocks: 100,
                kid_size: 1000,
                threshold: 0.5,
            },
            how: How { seed: Some(7), guidance: Some(1.5), steps: Some(50), sampler: None, ema: Some(0.999) },
            notes: vec!["few <images>".to_string()],
        })
    }

    #[test]
    fn the_table_says_what_produced_it() {
        let comparison = example();
        let text = comparison.document(WIDE).to_text(None);
        for part in [
            "50 of a tensor, seed 7, guidance 1.5, 50 steps, ema 0.999",
            "2000 of fashion_mnist (test)",
            "0123456789ab",
            "12.500",
            "lower",
            "note: few",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        let lines =
            |width| comparison.document(width).to_text(None).lines().map(str::to_string).collect::<Vec<_>>();
        assert_eq!(lines(40)[3..5], ["metric generated real  better", "fid       12.500       lower"]);
        assert_eq!(lines(22)[3..5], ["metric generated real", "fid       12.500"]);
        let html = comparison.document(WIDE).to_html();
        assert!(html.contains("few &lt;images&gt;") && html.contains("<table>"), "{html}");
        assert_eq!(format!("{:?}", comparison.to_map()["seed"]), "7");
        assert!(comparison.real_value("fid").is_err());
    }
}
