//! Tables in CSV files.
//!
//! Written tables are read back unchanged. Files of other programs are read without changing the meaning of any
//! cell: if one cell of a column is not a number, boolean or missing value, the whole column is text.

use std::path::Path;

use super::watched::watched;
use super::{Data, Table, show};
use crate::declare::{Choice, Options, Value};
use crate::error::{Error, Result};
use crate::files;

/// Separators between cells, in order of preference.
const SEPARATORS: [char; 3] = [',', ';', '\t'];
/// Number of lines used to detect the separator.
const LOOKED_AT: usize = 50;

/// Character before the decimals of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Decimal {
    /// A point, `1.5`.
    #[default]
    #[choice(name = ".")]
    Point,
    /// A comma, `1,5`, as in files of spreadsheets in many languages. Cells are then separated by semicolons or tabs, or
    /// quoted.
    #[choice(name = ",")]
    Comma,
}

/// Options of [`Table::read_csv`].
#[derive(Debug, Clone, Options)]
pub struct ReadCsvOptions {
    /// Character before the decimals of a number.
    pub decimal: Decimal,
}

/// Missing values of Python, R, pandas and SQL.
const MISSING: [&str; 6] = ["NA", "None", "N/A", "<NA>", "null", "NULL"];
/// Booleans of rhai, Python and R.
const TRUTH: [(&str, bool); 6] =
    [("true", true), ("True", true), ("TRUE", true), ("false", false), ("False", false), ("FALSE", false)];
/// Floats without digits, of rhai, Python, numpy, R and C; a sign may precede them.
const SPECIAL: [(&str, f64); 6] = [
    ("nan", f64::NAN),
    ("NaN", f64::NAN),
    ("inf", f64::INFINITY),
    ("Inf", f64::INFINITY),
    ("infinity", f64::INFINITY),
    ("Infinity", f64::INFINITY),
];

impl Table {
    /// Formats the table as CSV: numbers in full precision, `()` as an empty cell, arrays and maps as JSON. A tensor
    /// of one element is a number; other tensors and functions are an error.
    ///
    /// Text that would be read as another type, such as "12" or "true", is quoted.
    pub fn to_csv(&self) -> Result<String> {
        let data = self.data();
        let mut out = String::new();
        let line = |cells: Vec<String>, out: &mut String| {
            // An empty line would be ignored when reading.
            let all = if cells == [String::new()] { "\"\"".to_string() } else { cells.join(",") };
            out.push_str(&all);
            out.push('\n');
        };
        line(data.columns.iter().map(|name| quoted(name, false)).collect(), &mut out);
        let texts_alone =
            |column: usize| data.rows.iter().all(|row| matches!(row[column], Value::Str(_) | Value::Unit));
        let texts_alone: Vec<bool> = (0..data.columns.len()).map(texts_alone).collect();
        for (number, row) in watched(&data.rows).enumerate() {
            let cells = row?.iter().zip(&texts_alone).map(|(value, texts_alone)| match value {
                Value::Str(text) => {
                    Ok(quoted(text, !texts_alone || text.is_empty() || parse(text).is_some()))
                }
                other => Ok(quoted(&cell(other)?, false)),
            });
            let named = |(cell, name): (Result<String>, &String)| {
                cell.map_err(|e| e.context(format!("column `{name}`, row {number}")))
            };
            line(cells.zip(&data.columns).map(named).collect::<Result<_>>()?, &mut out);
        }
        Ok(out)
    }

    /// Writes the table as a CSV file, atomically.
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        files::check_extension(path.as_ref(), &["csv"])?;
        files::write(path, self.to_csv()?)
    }

    /// Reads a CSV file whose first line names the columns; cells are separated by commas, semicolons or tabs.
    ///
    /// A column becomes integers, floats or booleans if all of its cells are, as spelled by rhai, Python or R;
    /// missing values and empty cells become `()`. If any cell is none of these, or a number that would not be written
    /// back the same way (`007`, an integer of more than 64 bits), the whole column is text. Quoted cells are text,
    /// unless all cells of the file are quoted.
    pub fn read_csv(path: impl AsRef<Path>, options: &ReadCsvOptions) -> Result<Table> {
        let (path, decimal) = (path.as_ref(), options.decimal);
        let text = files::read_text(path)?;
        let failed = |what: String| Error::file(path, format!("not a table of values: {what}"));
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let (named, text) = named_separator(text);
        let separator = named.unwrap_or_else(|| separator(text, decimal));
        let mut records = records(text, separator, failed)?.into_iter();
        let Some((_, header)) = records.next() else {
            return Err(match files::recognize(text.as_bytes()) {
                Some(files::Kind::Empty) | None => {
                    Error::file(path, "the file is empty; expected a line of column names")
                }
                Some(kind) => failed(format!("it is {}", kind.describe())).hint(kind.advice()),
            });
        };
        let width = header.len();
        let rows: Vec<(usize, Vec<Cell>)> = records.collect();
        if let Some((line, row)) = rows.iter().find(|(_, row)| row.len() != width) {
            let error = failed(format!("line {line} has {} cells where the first has {width}", row.len()));
            return Err(match files::recognize(text.as_bytes()) {
                Some(kind) => error.hint(format!("the file is {}; {}", kind.describe(), kind.advice())),
                None => match uneven(&header, &rows, row) {
                    Some(hint) => error.hint(hint),
                    None => error,
                },
            });
        }
        if decimal == Decimal::Comma && width == 1 && !header[0].quoted && header[0].text.contains(',') {
            let text = "the names of the columns are separated by commas, which also are the decimal signs";
            return Err(failed(text.to_string())
                .hint("leave out `decimal`, or separate the cells by semicolons or tabs"));
        }
        // If all cells are quoted, including a name that does not need quotes, the quotes carry no information.
        let needless = |c: &Cell| c.quoted && !c.text.is_empty() && !needs_quotes(&c.text);
        let all_quoted = header.iter().any(needless)
            && header
                .iter()
                .chain(rows.iter().flat_map(|(_, row)| row))
                .all(|c| c.quoted || c.text.is_empty());
        let columns: Vec<String> = header.into_iter().map(|cell| cell.text).collect();
        let table = Table::new(columns).map_err(|e| e.context(path.display()))?;
        let mut cells: Vec<Vec<Cell>> = rows.into_iter().map(|(_, row)| row).collect();
        if all_quoted || width == 1 {
            for cell in cells.iter_mut().flatten() {
                cell.quoted &= !(all_quoted || cell.text.is_empty());
            }
        }
        let kept = (0..width).map(|column| is_text(watched(&cells).map(|row| Ok(&row?[column])), decimal));
        let kept: Vec<bool> = kept.collect::<Result<_>>()?;
        let value = |(cell, text): (Cell, &bool)| cell.value(*text, decimal);
        let rows = watched(cells).map(|row| Ok(row?.into_iter().zip(&kept).map(value).collect()));
        Ok(Table::from_data(Data { columns: table.columns(), rows: rows.collect::<Result<_>>()? }))
    }
}

/// Returns a value that is not text as a cell; a tensor of one element is a number.
fn cell(value: &Value) -> Result<String> {
    let stored = match value {
        Value::Object(object) => match object.number() {
            Some(number) => return Ok(show::plain(&number)),
            None => object.to_data().is_some() || value.downcast::<Table>().is_some(),
        },
        Value::Function(_) => false,
        Value::List(_) | Value::Map(_) => value.to_json_text().is_some(),
        _ => true,
    };
    match stored {
        true => Ok(show::plain(value)),
        false => Err(value.mismatch("a value that a cell can hold").hint(
            "cells hold numbers, text, booleans, and arrays and maps of these; a mean such as `x.mean()` is a number",
        )),
    }
}

/// A cell of a file.
struct Cell {
    text: String,
    quoted: bool,
}

impl Cell {
    /// Returns the value if it is unquoted, or `None` if it is text.
    fn parse(&self, decimal: Decimal) -> Option<Value> {
        match decimal {
            Decimal::Point => parse(&self.text),
            Decimal::Comma if self.text.contains('.') => None,
            Decimal::Comma => parse(&self.text.replace(',', ".")),
        }
    }

    fn value(self, text: bool, decimal: Decimal) -> Value {
        match () {
            () if self.quoted => Value::Str(self.text),
            () if self.text.is_empty() => Value::Unit,
            () if text => Value::Str(self.text),
            () => self.parse(decimal).unwrap_or(Value::Str(self.text)),
        }
    }
}

/// Returns whether the cells of a column are text if unquoted.
fn is_text<'a>(cells: impl Iterator<Item = Result<&'a Cell>>, decimal: Decimal) -> Result<bool> {
    let (mut missing, mut others) = (false, false);
    for cell in cells {
        let cell = cell?;
        match cell.parse(decimal) {
            _ if cell.quoted => others = true,
            _ if cell.text.is_empty() => {}
            None => return Ok(true),
            Some(Value::Unit) => missing = true,
            Some(_) => others = true,
        }
    }
    // Words for missing values count as missing only next to other values.
    Ok(missing && !others)
}

/// Returns the value of an unquoted cell, or `None` if it is text. Spaces around a value are no part of it.
fn parse(cell: &str) -> Option<Value> {
    let cell = cell.trim_matches(' ');
    if MISSING.contains(&cell) {
        return Some(Value::Unit);
    }
    if let Some((_, truth)) = TRUTH.iter().find(|(word, _)| *word == cell) {
        return Some(Value::Bool(*truth));
    }
    let (sign, size) = match cell.strip_prefix('-') {
        Some(size) => (-1.0, size),
        None => (1.0, cell.strip_prefix('+').unwrap_or(cell)),
    };
    if let Some((_, float)) = SPECIAL.iter().find(|(word, _)| *word == size) {
        return Some(Value::Float(sign * float));
    }
    number(cell, size)
}

/// Returns a number that would be written back the same way, except for trailing zeros.
fn number(cell: &str, size: &str) -> Option<Value> {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, power) = match size.split_once(['e', 'E']) {
        Some((mantissa, power)) => (mantissa, Some(power)),
        None => (size, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let plain = digits(whole)
        && fraction.is_none_or(digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty));
    // A leading zero indicates an identifier, and so do two digits before an exponent: nobody writes 12e4, but 10e-4 is
    // a usual learning rate.
    let hex = power.is_some_and(|power| !power.starts_with('-')) && fraction.is_none();
    let identifier =
        (whole.len() > 1 && (whole.starts_with('0') || hex)) || (power.is_some() && whole.is_empty());
    if !plain || identifier {
        return None;
    }
    if fraction.is_none() && power.is_none() && !(cell.starts_with('-') && whole == "0") {
        // A plus sign before an integer indicates a telephone number.
        return cell.parse().ok().filter(|_| !cell.starts_with('+')).map(Value::Int);
    }
    let power_is_one = power.is_none_or(|p| {
        let p = p.strip_prefix(['+', '-']).unwrap_or(p);
        !p.is_empty() && digits(p)
    });
    let float = cell.parse::<f64>().ok().filter(|x| power_is_one && x.is_finite())?;
    let zero = mantissa.bytes().all(|b| b == b'0' || b == b'.');
    (zero || float != 0.0).then_some(Value::Float(float))
}

/// Returns a text as a cell, quoted if needed or `wanted`.
fn quoted(text: &str, wanted: bool) -> String {
    match wanted || needs_quotes(text) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_string(),
    }
}

/// Returns whether a text must be quoted in a cell.
fn needs_quotes(text: &str) -> bool {
    text.contains(['"', '\n', '\r'])
        || text.contains(SEPARATORS)
        || text.starts_with(' ')
        || text.starts_with("sep=")
}

/// Returns why a row may have another number of cells than the header.
fn uneven(header: &[Cell], rows: &[(usize, Vec<Cell>)], row: &[Cell]) -> Option<&'static str> {
    let comment = |cells: &[Cell]| cells[0].text.starts_with('#') && !cells[0].quoted;
    let longer = row.len() == header.len() + 1;
    match () {
        () if comment(header) || comment(row) => {
            Some("lines that begin with `#` are no comments in CSV; remove them")
        }
        () if longer && row.last().is_some_and(|cell| cell.text.is_empty()) => {
            Some("the line ends with a separator; remove it, or name the last column")
        }
        () if longer && rows.iter().all(|(_, row)| row.len() == header.len() + 1) => {
            Some("R's `write.table` names no column of row names: pass it `col.names = NA`")
        }
        () if row.len() > header.len() => Some("a text that contains the separator must be quoted"),
        () => None,
    }
}

/// Returns the separator that Excel writes into a first line `sep=;`, and the lines after it.
fn named_separator(text: &str) -> (Option<char>, &str) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let mut named = first.trim_end_matches('\r').strip_prefix("sep=").unwrap_or_default().chars();
    match (named.next(), named.next()) {
        (Some(separator), None) if SEPARATORS.contains(&separator) => (Some(separator), rest),
        _ => (None, text),
    }
}

/// Returns the separator that divides all lines into the same number of cells, with quotes only around cells; of
/// several, the one that gives the most cells. A comma before decimals only separates quoted cells.
fn separator(text: &str, decimal: Decimal) -> char {
    let score = |separator: char| {
        let mut lines = Lines::new(text, separator);
        let mut next = || lines.next().and_then(|line| line.ok()).map_or(0, |(_, cells)| cells.len());
        let width = next();
        let even = (1..LOOKED_AT).map(|_| next()).take_while(|n| *n > 0).all(|n| n == width);
        (width > 1 && even, !lines.stray, width)
    };
    let comma = decimal == Decimal::Point || text.contains("\",\"");
    let possible = SEPARATORS.into_iter().rev().filter(|separator| comma || *separator != ',');
    possible.max_by_key(|separator| score(*separator)).unwrap_or(',')
}

/// Returns the line numbers, from 1, and cells of all lines; empty lines are skipped. If a space follows every
/// separator of the first line, spaces before a cell are no part of it.
fn records(text: &str, separator: char, failed: impl Fn(String) -> Error) -> Result<Vec<(usize, Vec<Cell>)>> {
    let first =
        Lines::new(text, separator).next().and_then(|line| line.ok()).map_or(Vec::new(), |(_, cells)| cells);
    let spaced = first.len() > 1 && first[1..].iter().all(|cell| cell.text.starts_with(' ') && !cell.quoted);
    let lines = Lines { spaced, ..Lines::new(text, separator) };
    watched(lines).map(|line| line?.map_err(&failed)).collect()
}

/// Iterator over the lines of a file.
struct Lines<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    separator: char,
    line: usize,
    /// Whether spaces before a cell are skipped.
    spaced: bool,
    /// Whether a cell so far had a quote in its middle, or text after its closing quote.
    stray: bool,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str, separator: char) -> Self {
        Self { rest: text.chars().peekable(), separator, line: 1, spaced: false, stray: false }
    }

    /// Returns the next cell, and whether it is the last of its line.
    fn cell(&mut self) -> std::result::Result<(Cell, bool), String> {
        let (mut text, start) = (String::new(), self.line);
        while self.spaced && self.rest.next_if_eq(&' ').is_some() {}
        let quoted = self.rest.next_if_eq(&'"').is_some();
        let mut open = quoted;
        loop {
            match self.rest.next() {
                None if open => return Err(format!("the quote that begins in line {start} has no end")),
                None => return Ok((Cell { text, quoted }, true)),
                Some('"') if open => match self.rest.next_if_eq(&'"') {
                    Some(quote) => text.push(quote),
                    None => open = false,
                },
                Some(c) if !open && c == self.separator => return Ok((Cell { text, quoted }, false)),
                Some(c @ ('\n' | '\r')) => {
                    let both = c == '\r' && self.rest.peek() == Some(&'\n');
                    self.line += usize::from(!both);
                    match open {
                        true => text.push(c),
                        false => {
                            if both {
                                self.rest.next();
                                self.line += 1;
                            }
                            return Ok((Cell { text, quoted }, true));
                        }
                    }
                }
                Some(c) => {
                    self.stray |= !open && (quoted || c == '"');
                    text.push(c);
                }
            }
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = std::result::Result<(usize, Vec<Cell>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest.peek()?;
            let (line, mut cells) = (self.line, Vec::new());
            loop {
                match self.cell() {
                    Ok((cell, last)) => {
                        cells.push(cell);
                        if last {
                            break;
                        }
                    }
                    Err(error) => return Some(Err(error)),
                }
            }
            if !matches!(&cells[..], [only] if only.text.is_empty() && !only.quoted) {
                return Some(Ok((line, cells)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::FromRowsOptions;
    use super::super::tests::map;
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::Tensor;

    fn read(content: &str) -> Result<Table> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("t.csv");
        files::write(&path, content)?;
        Table::read_csv(&path, &ReadCsvOptions::default())
    }

    fn column(content: &str, name: &str) -> String {
        read(content).and_then(|table| table.column(name)).map(|c| format!("{c:?}")).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::Str(text.to_string())
    }

    #[test]
    fn a_comma_stands_before_decimals_where_that_is_asked_for() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("t.csv");
        let rows = |content: &str| {
            files::write(&path, content)?;
            let table = Table::read_csv(&path, &ReadCsvOptions { decimal: Decimal::Comma })?;
            Ok::<_, Error>(format!("{:?}", table.data().rows))
        };
        assert_eq!(rows("a;b;c\n1,5;2;x\n-0,25;;y\n")?, r#"[[1.5, 2, "x"], [-0.25, (), "y"]]"#);
        assert_eq!(rows("a\tb\n1,5e3\t007\n,5\t1\n")?, r#"[[1500.0, "007"], [0.5, "1"]]"#);
        assert_eq!(rows("a\n1,5\n2\n")?, "[[1.5], [2]]");
        assert_eq!(rows("\"a\",\"b\"\n\"1,5\",\"2,5\"\n")?, "[[1.5, 2.5]]");
        // A point groups thousands there, or it is a date or a version: the column is text.
        assert_eq!(rows("a;b\n1.234,5;1.5\n2,5;2\n")?, r#"[["1.234,5", "1.5"], ["2,5", "2"]]"#);
        assert_eq!(rows("a;b\n1,2,3;1\n")?, r#"[["1,2,3", 1]]"#);
        // Without the option, such cells are text.
        files::write(&path, "a;b\n1,5;2\n")?;
        let table = Table::read_csv(&path, &ReadCsvOptions::default())?;
        assert_eq!(format!("{:?}", table.data().rows), r#"[["1,5", 2]]"#);
        Ok(())
    }

    #[test]
    fn values_survive_a_file() -> Result<()> {
        let mixed = [
            Value::Int(-3),
            Value::Float(0.1 + 0.2),
            Value::Float(1.0),
            Value::Float(-0.0),
            Value::Float(1e-300),
            Value::Float(f64::NAN),
            Value::Float(f64::NEG_INFINITY),
            Value::Bool(true),
            Value::Unit,
            text("a, \"b\"\nnan"),
            text("12"),
            text(""),
        ];
        let numbers =
            ["1", "2", "NA", "inf", "007", "a;b", "", " x", "\u{e4}\tb", "True", "-", "9.50"].map(text);
        let rows = mixed.iter().zip(&numbers);
        let rows = rows.map(|(v, n)| map(&[("i", Value::Int(0)), ("x", v.clone()), ("a;b", n.clone())]));
        let table = Table::from_rows(rows.collect(), &FromRowsOptions::default())?;
        let written = table.to_csv()?;
        let back = read(&written)?;
        assert_eq!(format!("{:?}", back.column("x")?), format!("{mixed:?}"));
        assert_eq!(format!("{:?}", back.column("a;b")?), format!("{numbers:?}"));
        assert_eq!(back.to_csv()?, written);
        for values in
            [&numbers[..2], &[text("true")], &[text("x"), Value::Unit], &[Value::Int(1), Value::Unit]]
        {
            let rows = values.iter().map(|v| map(&[("x", v.clone())])).collect();
            let back = read(&Table::from_rows(rows, &FromRowsOptions::default())?.to_csv()?)?;
            assert_eq!(format!("{:?}", back.column("x")?), format!("{values:?}"));
        }
        Ok(())
    }

    #[test]
    fn spellings_of_python_and_r_are_values() {
        let python = "loss,ok\r\n0.5,True\r\nnan,False\r\ninf,True\r\n-inf,\r\nNone,False\r\n1e-05,True\r\n";
        assert_eq!(column(python, "loss"), "[0.5, NaN, inf, -inf, (), 1e-5]");
        assert_eq!(column(python, "ok"), "[true, false, true, (), false, true]");
        let r =
            "\"\",\"x\",\"ok\",\"name\"\n\"1\",NA,TRUE,\"NA\"\n\"2\",-Inf,FALSE,NA\n\"3\",1e+05,NA,\"b\"\n";
        assert_eq!(column(r, "x"), "[(), -inf, 100000.0]");
        assert_eq!(column(r, "ok"), "[true, false, ()]");
        assert_eq!(column(r, "name"), "[\"NA\", (), \"b\"]");
        // With QUOTE_ALL in Python everything is quoted, so the quotes carry no information.
        assert_eq!(column("\"x\",\"y\"\n\"1\",\"a\"\n\"2.50\",\"\"\n", "x"), "[1, 2.5]");
        // In files written here every quote is needed, even if all cells are quoted.
        assert_eq!(column("\"a,b\",\"c,d\"\n\"1\",\"x,y\"\n", "a,b"), "[\"1\"]");
    }

    #[test]
    fn a_column_decides_as_a_whole_what_it_is() {
        let id = "id\n12345678901234567890\n5e1234567\n007\n12\n";
        assert_eq!(column(id, "id"), "[\"12345678901234567890\", \"5e1234567\", \"007\", \"12\"]");
        for only in [
            "007",
            "12345678901234567890",
            "1e999",
            "1e-999",
            "+49123",
            "12e4",
            "0x1f",
            "1_000",
            "1.2.3",
            "00.5",
            "-",
            ".",
            "e5",
            "1e",
            "T",
            "1,5",
        ] {
            assert_eq!(column(&format!("id\n{}\n", quoted(only, false)), "id"), format!("[{only:?}]"));
        }
        assert_eq!(
            column("x\n0.50\n12.5e1\n1.\n.5\n-1.5E-3\n+0.25\n-0\n9007199254740993\n", "x"),
            "[0.5, 125.0, 1.0, 0.5, -0.0015, 0.25, -0.0, 9007199254740993]"
        );
        assert_eq!(column("opt,x\nNone,1\nadam,2\n", "opt"), "[\"None\", \"adam\"]");
        assert_eq!(column("opt,x\nNA,1\n,2\n", "opt"), "[\"NA\", ()]");
    }

    #[test]
    fn semicolons_and_tabs_are_found_out() -> Result<()> {
        let names = |content: &str| read(content).map(|t| t.columns());
        assert_eq!(names("a;b\n1;2\n")?, ["a", "b"]);
        assert_eq!(names("a\tb, c\n1\t2, 3\n1\t2\n")?, ["a", "b, c"]);
        assert_eq!(names("\u{feff}a;b\r\n1,5;2\r\n")?, ["a", "b"]);
        assert_eq!(column("a;b\n1,5;2\n", "a"), "[\"1,5\"]");
        assert_eq!(names("a,b\n\"x;y\",2\n")?, ["a", "b"]);
        assert_eq!(names("a;b\n")?, ["a", "b"]);
        assert_eq!(names("only\n1\n\n2\n")?, ["only"]);
        // Quoted separators do not divide cells, so stray quotes within a cell rule a separator out.
        assert_eq!(names("a,\"\t$\tx \"\"y\"\"\"\n")?, ["a", "\t$\tx \"y\""]);
        assert_eq!(names("size\tname\n5\" disk\tb\n")?, ["size", "name"]);
        Ok(())
    }

    #[test]
    fn tensors_of_one_element_are_numbers_and_others_are_refused() {
        let table = |value: Value| {
            Table::from_rows(
                vec![map(&[("step", Value::Int(0)), ("loss", value)])],
                &FromRowsOptions::default(),
            )
            .unwrap()
        };
        let tensor = |values: &[f64]| Tensor::from_f64(values, &[values.len() as i64]).unwrap().into_value();
        assert_eq!(table(tensor(&[0.1])).to_csv().unwrap(), "loss,step\n0.1,0\n");
        let error = table(tensor(&[0.1, 0.2])).to_csv().unwrap_err();
        assert!(error.message().starts_with("column `loss`, row 0: expected a value"), "{error}");
        let nested = Value::List(vec![tensor(&[0.1, 0.2])]);
        assert!(table(nested).to_csv().is_err());
    }

    #[test]
    fn spaces_after_separators_and_the_line_of_excel_are_no_content() {
        let spaced = read("step, loss, note\n1, 0.5, \"x, y\"\n2,0.25, z\n").unwrap();
        assert_eq!(spaced.columns(), ["step", "loss", "note"]);
        assert_eq!(spaced.to_csv().unwrap(), "step,loss,note\n1,0.5,\"x, y\"\n2,0.25,z\n");
        assert_eq!(column("a,b,c\n1, 2,x\n2,3 , y\n", "b"), "[2, 3]");
        assert_eq!(column("a,b,c\n1, 2,x\n2,3 , y\n", "c"), "[\"x\", \" y\"]");
        let quoted = Table::new(vec!["a".to_string(), " b".to_string()]).unwrap();
        assert_eq!(read(&quoted.to_csv().unwrap()).unwrap().columns(), ["a", " b"]);
        let excel = read("sep=;\r\na;b\r\n1;2,5\r\n").unwrap();
        assert_eq!(excel.to_csv().unwrap(), "a,b\n1,\"2,5\"\n");
        assert_eq!(column("lr\n5e-4\n10e-4\n", "lr"), "[0.0005, 0.001]");
        assert_eq!(column("id\n12e4\n", "id"), "[\"12e4\"]");
    }

    #[test]
    fn broken_files_name_the_line() {
        let message = |content: &str| read(content).unwrap_err().to_string();
        assert!(message("a,b\n1,2\n3\n").contains("line 3 has 1 cells where the first has 2"));
        assert!(message("a,b\n\"1\n\n2\",2\n3\n").contains("line 5 has 1 cells"));
        assert!(message("a,b\n1,\"2\n").contains("the quote that begins in line 2 has no end"));
        assert!(message("x y\n1,2\n").contains("line 2 has 2 cells where the first has 1"));
        assert!(message("a,b\n1,0.5,2\n2,0.5,2\n").contains("col.names"));
        assert!(message("# run 3\na,b\n1,2\n").contains("lines that begin with `#`"));
        assert!(message("a,b\n1,2\n# end, of it, all\n").contains("lines that begin with `#`"));
        assert!(message("a,b\n1,2,\n3,4,\n").contains("ends with a separator"));
        assert!(message("a,b\n1,2\n3,x, y\n").contains("must be quoted"));
        let comma = ReadCsvOptions { decimal: Decimal::Comma };
        let folder = tempfile::tempdir().unwrap();
        files::write(folder.path().join("t.csv"), "a,b\n1,2\n").unwrap();
        let error = Table::read_csv(folder.path().join("t.csv"), &comma).unwrap_err();
        assert!(error.message().contains("separated by commas"), "{error}");
        assert!(message("").contains("the file is empty"));
        assert!(message("a,a\n").contains("named twice"));
        assert!(message("{\"a\": 1,\n\"b\": [1, 2, 3]}\n").contains("a JSON document"));
    }
}
