//! Tables in files of comma-separated values.

use std::path::Path;

use super::{Data, Table, show};
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::files;

impl Table {
    /// The table as CSV: numbers in full precision, `()` as an empty cell, arrays and maps as JSON.
    pub fn to_csv(&self) -> Result<String> {
        let data = self.data();
        let failed = |e: csv::Error| Error::internal(e.to_string());
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&data.columns).map_err(failed)?;
        for row in &data.rows {
            writer.write_record(row.iter().map(show::plain)).map_err(failed)?;
        }
        let bytes = writer.into_inner().map_err(|e| Error::internal(e.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes the table as CSV; the file is replaced as a whole.
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        files::write(path, self.to_csv()?)
    }

    /// Reads a CSV file whose first line names the columns.
    ///
    /// A cell that reads as an integer, a float, `true` or `false` becomes one, an empty one becomes `()`,
    /// and everything else is text.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Table> {
        let path = path.as_ref();
        let text = files::read_text(path)?;
        let failed = |e: csv::Error| Error::file(path, format!("not a table of values: {}", explain(&e)));
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let columns: Vec<String> = reader.headers().map_err(failed)?.iter().map(str::to_string).collect();
        if columns.is_empty() {
            return Err(Error::file(path, "the file is empty; expected a line of column names"));
        }
        let table = Table::new(columns).map_err(|e| e.context(path.display()))?;
        let columns = table.columns();
        let rows = reader
            .records()
            .map(|record| record.map(|r| r.iter().map(parse).collect()).map_err(failed))
            .collect::<Result<_>>()?;
        Ok(Table::from_data(Data { columns, rows }))
    }
}

fn explain(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.as_ref().map_or(0, csv::Position::line);
            format!("line {line} has {len} cells where the first has {expected_len}")
        }
        _ => error.to_string(),
    }
}

fn parse(cell: &str) -> Value {
    match cell {
        "" => return Value::Unit,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "inf" => return Value::Float(f64::INFINITY),
        "-inf" => return Value::Float(f64::NEG_INFINITY),
        "NaN" => return Value::Float(f64::NAN),
        _ => {}
    }
    // Rust also reads "nan" and "infinity", which are words here.
    let numeric = cell.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    match (cell.parse::<i64>(), cell.parse::<f64>()) {
        (Ok(i), _) if numeric => Value::Int(i),
        (_, Ok(x)) if numeric => Value::Float(x),
        _ => Value::Str(cell.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::FromRows;
    use super::super::tests::map;
    use super::*;

    #[test]
    fn values_survive_a_file() -> Result<()> {
        let values = [
            Value::Int(-3),
            Value::Float(0.1 + 0.2),
            Value::Float(1.0),
            Value::Float(1e-300),
            Value::Float(f64::NAN),
            Value::Float(f64::NEG_INFINITY),
            Value::Bool(true),
            Value::Unit,
            Value::Str("a, \"b\"\nnan".into()),
        ];
        let rows = values.iter().map(|v| map(&[("i", Value::Int(0)), ("x", v.clone())])).collect();
        let table = Table::from_rows(rows, &FromRows::default())?;
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("t.csv");
        table.save_csv(&path)?;
        let back = Table::read_csv(&path)?;
        assert_eq!(format!("{:?}", back.column("x")?), format!("{values:?}"));
        Ok(())
    }

    #[test]
    fn a_ragged_file_names_the_line() -> Result<()> {
        let folder = tempfile::tempdir().map_err(|e| Error::internal(e.to_string()))?;
        let path = folder.path().join("t.csv");
        files::write(&path, "a,b\n1,2\n3\n")?;
        let error = Table::read_csv(&path).unwrap_err();
        assert!(error.message().contains("line 3 has 1 cells where the first has 2"), "{error}");
        Ok(())
    }
}
