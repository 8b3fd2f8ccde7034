//! Tables as text, HTML and Markdown.

use std::collections::BTreeMap;

use super::watched::watched;
use super::{Data, Table, number};
use crate::declare::Value;
use crate::document::{self, Block, Cell, Document, Line, Look, Role};
use crate::error::Result;
use crate::text::{fixed, grouped, shortened, significant, width};
use crate::torch::{interrupt, uninterrupted};

/// Maximum number of rows in printed tables; longer ones are shortened.
const SHOWN: usize = 60;
const DIGITS: usize = 4;
/// Minimum width that text is shortened to; after that, columns are left out.
const NARROW: usize = 12;
/// Width of text from which on several cells of a column with the same one refer to a note below the table.
const LONG: usize = 40;
/// Width of the column `…` that replaces omitted columns.
const GAP: usize = 4;

/// A column prepared for display.
pub(super) struct Column {
    pub name: String,
    pub right: bool,
    pub cells: Vec<String>,
}

impl Table {
    /// Formats the table as text; long tables are shortened in the middle.
    pub fn to_text(&self) -> String {
        self.document(None).to_text(None)
    }

    /// Formats the table in lines of at most `width` characters: text is shortened first, then middle columns are
    /// left out, and the last lines list them.
    pub fn to_text_in(&self, width: usize) -> String {
        self.document(Some(width)).to_text(Some(width))
    }

    /// Returns the table's size as one line of text: within a cell its rows would break those around it.
    fn in_a_cell(&self) -> String {
        match (self.len(), self.columns()) {
            (_, columns) if columns.is_empty() => "an empty table".to_string(),
            (1, columns) => format!("table of 1 row: {}", columns.join(", ")),
            (rows, columns) => format!("table of {rows} rows: {}", columns.join(", ")),
        }
    }

    /// Returns the table as it is printed in lines of at most `width` characters.
    pub fn document(&self, width: Option<usize>) -> Document {
        let mut columns = columns(&self.data());
        let footnotes = footnotes(&mut columns);
        let missing = width.map(|width| fit(&mut columns, width)).unwrap_or_default();
        let count = columns.first().map_or(0, |c| c.cells.len());
        let note = |text: String| Block::Lines(vec![Line::of(Role::Faint, text)]);
        if columns.is_empty() {
            return Document::plain("an empty table");
        }
        let mut rows = Vec::new();
        for i in 0..count {
            if count > SHOWN && i == SHOWN / 2 {
                rows.push(columns.iter().map(|_| Cell::from("…")).collect());
            }
            if count <= SHOWN || i < SHOWN / 2 || i >= count - SHOWN / 2 {
                rows.push(row(&columns, i));
            }
        }
        let mut document = Document::of(Block::Table(laid_out(&columns, rows)));
        match count {
            0 => document.push(note("no rows".to_string())),
            _ if count > SHOWN => document.push(note(format!("{count} rows"))),
            _ => {}
        }
        footnotes.into_iter().for_each(|text| document.push(note(text)));
        if !missing.is_empty() {
            let all = self.columns().len();
            let (shown, missing) = (all - missing.len(), missing.join(", "));
            document.push(note(format!("{shown} of {all} columns; not shown: {missing}")));
        }
        document
    }

    /// Formats the table as an HTML `<table>` without a style sheet.
    pub fn to_html(&self) -> String {
        uninterrupted(|| self.html()).unwrap_or_default()
    }

    /// As [`Table::to_html`]; fails if the user requested a stop.
    pub(super) fn html(&self) -> Result<String> {
        let (columns, count) = self.watched_columns()?;
        let rows = watched(0..count).map(|i| Ok(row(&columns, i?))).collect::<Result<_>>()?;
        Ok(laid_out(&columns, rows).to_html())
    }

    /// Formats the table as Markdown.
    pub fn to_markdown(&self) -> String {
        uninterrupted(|| self.markdown()).unwrap_or_default()
    }

    /// As [`Table::to_markdown`]; fails if the user requested a stop.
    pub(super) fn markdown(&self) -> Result<String> {
        let (columns, count) = self.watched_columns()?;
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let escape = |s: &str| s.replace('|', "\\|").replace('\n', " ");
        let mut out = line(columns.iter().map(|c| escape(&c.name)).collect());
        out.push_str(&line(
            columns.iter().map(|c| if c.right { "---:" } else { "---" }.to_string()).collect(),
        ));
        for i in watched(0..count) {
            let i = i?;
            out.push_str(&line(columns.iter().map(|c| escape(&c.cells[i])).collect()));
        }
        Ok(out)
    }

    /// Returns the columns and the number of rows; fails if the user requested a stop.
    fn watched_columns(&self) -> Result<(Vec<Column>, usize)> {
        let data = self.data();
        let columns = (0..data.columns.len()).map(|i| interrupt::check().map(|()| column(&data, i)));
        Ok((columns.collect::<Result<_>>()?, data.rows.len()))
    }
}

fn row(columns: &[Column], i: usize) -> Vec<Cell> {
    columns.iter().map(|c| Cell::from(c.cells[i].as_str())).collect()
}

fn laid_out(columns: &[Column], rows: Vec<Vec<Cell>>) -> document::Table {
    let side = |c: &Column| if c.right { document::Column::right() } else { document::Column::left() };
    let table = document::Table::new(Look::Ruled, columns.iter().map(side).collect());
    document::Table { rows, ..table.with_head(columns.iter().map(|c| c.name.as_str())) }
}

/// Replaces long texts that several cells of a column share by numbers; returns the texts with their numbers.
fn footnotes(columns: &mut [Column]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for column in columns.iter_mut().filter(|column| !column.right) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        column.cells.iter().for_each(|cell| *counts.entry(cell).or_default() += 1);
        let shared = |cell: &str| width(cell) > LONG && !cell.contains('\n') && counts[cell] > 1;
        let shared: Vec<bool> = column.cells.iter().map(|cell| shared(cell)).collect();
        for (cell, _) in column.cells.iter_mut().zip(shared).filter(|(_, shared)| *shared) {
            let number = notes.iter().position(|note| note == cell).unwrap_or_else(|| {
                notes.push(cell.clone());
                notes.len() - 1
            });
            *cell = format!("({})", number + 1);
        }
    }
    notes.iter().enumerate().map(|(i, text)| format!("({}) {text}", i + 1)).collect()
}

/// Shortens text and removes columns until a row takes at most `width` characters; returns the names of removed
/// columns.
fn fit(columns: &mut Vec<Column>, width: usize) -> Vec<String> {
    for column in columns.iter_mut() {
        for cell in &mut column.cells {
            // Each row must fit on one line.
            if cell.contains('\n') {
                *cell = cell.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            }
        }
    }
    let mut widths: Vec<usize> = columns.iter().map(Column::width).collect();
    // Each cell has a space on both sides, and one more separates cells.
    let total = |widths: &[usize]| widths.iter().map(|w| w + 3).sum::<usize>().saturating_sub(1);
    while total(&widths) > width {
        // The widest text column shrinks first, one character at a time, until all are narrow.
        let texts = columns.iter().enumerate().filter(|(_, c)| !c.right);
        match texts.map(|(i, _)| i).filter(|i| widths[*i] > NARROW).max_by_key(|i| widths[*i]) {
            Some(i) => widths[i] -= 1,
            None => break,
        }
    }
    let (mut missing, mut places) = (Vec::new(), (0..columns.len()).collect::<Vec<_>>());
    while columns.len() > 1 && total(&widths) + GAP * usize::from(!missing.is_empty()) > width {
        // From the middle outwards, because names are usually first and results last.
        let at = columns.len() / 2;
        widths.remove(at);
        missing.push((places.remove(at), columns.remove(at).name));
    }
    missing.sort();
    // Space freed by removed columns goes back to text columns.
    let spare = width.saturating_sub(total(&widths) + GAP * usize::from(!missing.is_empty()));
    if let Some((i, column)) =
        columns.iter().enumerate().filter(|(_, c)| !c.right).max_by_key(|(_, c)| c.width())
    {
        widths[i] = (widths[i] + spare).min(column.width());
    }
    for (column, width) in columns.iter_mut().zip(&widths) {
        column.name = shortened(&column.name, *width);
        for cell in &mut column.cells {
            *cell = shortened(cell, *width);
        }
    }
    if !missing.is_empty() {
        let count = columns.first().map_or(0, |c| c.cells.len());
        let gap = Column { name: "…".to_string(), right: false, cells: vec!["…".to_string(); count] };
        columns.insert(columns.len().div_ceil(2), gap);
    }
    missing.into_iter().map(|(_, name)| name).collect()
}

impl Column {
    fn width(&self) -> usize {
        self.cells.iter().chain([&self.name]).map(|text| width(text)).max().unwrap_or(0)
    }
}

pub(super) fn columns(data: &Data) -> Vec<Column> {
    (0..data.columns.len()).map(|i| column(data, i)).collect()
}

fn column(data: &Data, i: usize) -> Column {
    let values: Vec<&Value> = data.rows.iter().map(|row| &row[i]).collect();
    let (cells, right) = texts(&values);
    Column { name: data.columns[i].clone(), right, cells }
}

/// Returns the cells of a column as text, and whether they are numbers.
fn texts(values: &[&Value]) -> (Vec<String>, bool) {
    let filled = || values.iter().filter(|v| !matches!(v, Value::Unit));
    let numeric = filled().next().is_some()
        && filled().all(|v| number(v).is_some() || matches!(v, Value::Str(s) if s.contains(" ± ")));
    let floats: Vec<f64> = values
        .iter()
        .filter_map(|v| if let Value::Float(x) = v { Some(*x) } else { None })
        .filter(|x| x.is_finite())
        .collect();
    let decimals = common_decimals(&floats);
    let large = filled().any(|v| matches!(v, Value::Int(i) if i.abs() >= 100_000));
    let cell = |v: &&Value| match v {
        Value::Float(x) => decimals.map_or_else(|| significant(*x, DIGITS), |d| fixed(*x, d)),
        Value::Int(i) if large => grouped(*i),
        other => plain(other),
    };
    (values.iter().map(cell).collect(), numeric)
}

/// Returns the number of decimals for a column of floats: four significant digits of the largest, but no more than
/// any value needs. `None` if the sizes differ too much for one format.
fn common_decimals(floats: &[f64]) -> Option<usize> {
    let sizes = || floats.iter().map(|x| x.abs()).filter(|x| *x > 0.0);
    let largest = sizes().fold(0.0, f64::max);
    let smallest = sizes().fold(f64::INFINITY, f64::min);
    if largest == 0.0 {
        return Some(0);
    }
    if largest / smallest > 1000.0 || !(1e-4..1e7).contains(&largest) {
        return None;
    }
    let decimals = (DIGITS as i32 - 1 - largest.log10().floor() as i32).max(0) as usize;
    let needed = |x: &f64| {
        let written = fixed(*x, decimals);
        let fraction = written.split_once('.').map_or("", |(_, f)| f);
        fraction.trim_end_matches('0').len()
    };
    floats.iter().map(needed).max()
}

/// Returns a value as text in a CSV cell.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Unit => String::new(),
        Value::Str(s) => s.clone(),
        Value::Float(x) if x.is_nan() => "NaN".to_string(),
        Value::List(_) | Value::Map(_) => match value.to_json_text() {
            Some(json) => json,
            None => format!("{value:?}"),
        },
        Value::Object(object) => match value.downcast::<Table>() {
            Some(table) => table.in_a_cell(),
            None => object.text(),
        },
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::Map;
    use crate::table::FromRowsOptions;

    fn column(values: Vec<Value>) -> Vec<String> {
        texts(&values.iter().collect::<Vec<_>>()).0
    }

    #[test]
    fn a_column_lines_up_on_its_decimal_point() {
        let floats = |xs: &[f64]| column(xs.iter().map(|x| Value::Float(*x)).collect());
        assert_eq!(floats(&[0.25, 0.5, 1.0]), ["0.25", "0.50", "1.00"]);
        assert_eq!(floats(&[12.3456, 1.5]), ["12.35", "1.50"]);
        assert_eq!(floats(&[1e-6, 2.0]), ["1e-6", "2"]);
        assert_eq!(floats(&[1.0, 2.0]), ["1", "2"]);
        assert_eq!(column(vec![Value::Int(5_496_195), Value::Unit]), ["5,496,195", ""]);
    }

    #[test]
    fn markup_in_cells_stays_text() {
        let row = Map::from([("a|b".to_string(), Value::Str("<b>&|".into()))]);
        let table = Table::from_rows(vec![row], &FromRowsOptions::default()).unwrap();
        assert!(table.to_html().contains(">&lt;b&gt;&amp;|</td>"));
        assert_eq!(table.to_markdown(), "| a\\|b |\n| --- |\n| <b>&\\| |\n");
    }

    #[test]
    fn a_table_within_a_cell_is_one_line() {
        let with = |cell: Value| {
            Table::from_rows(vec![Map::from([("a".to_string(), cell)])], &FromRowsOptions::default()).unwrap()
        };
        let nested = (0..2000).fold(with(Value::Int(1)), |table, _| with(table.into()));
        for text in [nested.to_text(), nested.to_markdown(), nested.to_csv().unwrap()] {
            assert_eq!(text.matches("table of 1 row: a").count(), 1, "{text}");
        }
    }

    #[test]
    fn numbers_stand_on_the_right() {
        let row = |n: &str, x: i64| {
            Map::from([("name".to_string(), Value::Str(n.into())), ("x".to_string(), Value::Int(x))])
        };
        let table = Table::from_rows(vec![row("a", 1), row("bb", 10)], &FromRowsOptions::default()).unwrap();
        let rule = "───────────";
        let expected = [rule, " name    x", rule, " a       1", " bb     10", rule].join("\n");
        assert_eq!(table.to_text(), expected);
    }

    #[test]
    fn a_long_text_that_cells_share_stands_once_below() {
        let text = "n = 3 is too small: the interval is too narrow";
        let row = |note: &str| Map::from([("note".to_string(), Value::Str(note.into()))]);
        let rows =
            vec![row(text), row(""), row(text), row("another long text that only one of the rows has")];
        let table = Table::from_rows(rows, &FromRowsOptions::default()).unwrap();
        let shown = table.to_text();
        assert_eq!(shown.matches(text).count(), 1, "{shown}");
        assert!(shown.contains(" (1)") && shown.ends_with(&format!("(1) {text}")), "{shown}");
        assert!(shown.contains("only one of the rows"), "{shown}");
        // The values stay.
        assert_eq!(table.to_csv().unwrap().matches(text).count(), 2);
    }

    #[test]
    fn long_tables_are_shortened() {
        let rows = (0..100).map(|i| Map::from([("i".to_string(), Value::Int(i))])).collect();
        let text = Table::from_rows(rows, &FromRowsOptions::default()).unwrap().to_text();
        assert!(text.contains('…') && text.ends_with("100 rows"), "{text}");
        assert!(text.contains("29") && !text.contains("30\n") && text.contains("70"), "{text}");
    }

    #[test]
    fn narrow_terminals_get_shorter_text_and_then_fewer_columns() {
        let row = |i: i64| {
            Map::from([
                ("a_name".to_string(), Value::Str(format!("a name of some length {i}"))),
                ("b_first".to_string(), Value::Int(i)),
                ("c_second".to_string(), Value::Int(10 * i)),
                ("d_third".to_string(), Value::Int(100 * i)),
            ])
        };
        let table = Table::from_rows(vec![row(1), row(2)], &FromRowsOptions::default()).unwrap();
        assert_eq!(table.to_text_in(80), table.to_text());
        // Three numeric columns take 10 + 11 + 10 characters with the spaces between; 14 are left for text with two
        // spaces.
        let rule = "─".repeat(45);
        let lines = [
            rule.as_str(),
            " a_name         b_first   c_second   d_third",
            rule.as_str(),
            " a name of s…         1         10       100",
            " a name of s…         2         20       200",
            rule.as_str(),
        ];
        assert_eq!(table.to_text_in(45), lines.join("\n"));
        for width in 16..60 {
            let text = table.to_text_in(width);
            assert!(text.lines().all(|l| crate::text::width(l) <= width.max(20)), "{width}:\n{text}");
        }
        let text = table.to_text_in(30);
        assert_eq!(text.lines().nth(1), Some(" a_name           …   d_third"), "{text}");
        assert!(text.ends_with("2 of 4 columns; not shown:\n  b_first, c_second"), "{text}");
    }
}
