//! `:vars`: lists the variables of a session, largest first.

use crate::declare::{Object, Value};
use crate::error::Result;
use crate::session::Session;
use crate::table::Table;
use crate::text::significant;
use crate::torch::Tensor;

/// Maximum number of characters of a value.
const WIDEST: usize = 100;

/// A variable as listed by `:vars`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Name of the variable.
    pub name: String,
    /// Type of the variable.
    pub kind: String,
    /// Shape of a tensor, length of an array or map; for short values the value itself.
    pub what: String,
    /// Dtype of a tensor.
    pub dtype: String,
    /// Device of a tensor.
    pub device: String,
    /// Bytes of all tensors in the value.
    pub bytes: u64,
}

impl Row {
    /// Creates the row of a value.
    pub fn of(name: &str, kind: &str, value: Option<&Value>) -> Self {
        let mut row = Self {
            name: name.to_string(),
            kind: kind.to_string(),
            what: String::new(),
            dtype: String::new(),
            device: String::new(),
            bytes: value.map_or(0, bytes),
        };
        match value {
            Some(Value::List(list)) => row.what = format!("{} entries", list.len()),
            Some(Value::Map(map)) => row.what = format!("{} keys", map.len()),
            Some(Value::Function(_)) | None => {}
            Some(value) => match value.downcast::<Tensor>() {
                Some(tensor) => {
                    row.what = format!("{:?}", tensor.shape());
                    row.dtype = tensor.dtype().name().to_string();
                    row.device = tensor.device().to_string();
                }
                None => {
                    let text = match value {
                        Value::Object(object) => said(object.as_ref()),
                        other => format!("{other:?}"),
                    };
                    row.what = short(&text);
                }
            },
        }
        row
    }

    /// Describes type and shape in words.
    pub fn about(&self) -> String {
        [&self.kind, &self.what, &self.dtype]
            .into_iter()
            .filter(|s| !s.is_empty())
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Returns the second half of an object's description, or its facts if that is empty.
fn said(object: &dyn Object) -> String {
    match object.described() {
        (_, which) if which.is_empty() => {
            let facts = object.facts().into_iter().map(|(name, value)| format!("{name} {value}"));
            facts.collect::<Vec<_>>().join(", ")
        }
        (_, which) => which,
    }
}

/// Returns the first line, cut to the length that tables show at most; the table cuts it to the window.
fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.chars().count() > WIDEST {
        true => line.chars().take(WIDEST - 2).collect::<String>() + "..",
        false => line.to_string(),
    }
}

/// Returns the bytes of a value.
pub fn bytes(value: &Value) -> u64 {
    value.bytes()
}

/// Formats a number of bytes with a unit.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let (mut x, mut unit) = (bytes as f64, 0);
    while x >= 1000.0 && unit + 1 < units.len() {
        (x, unit) = (x / 1000.0, unit + 1);
    }
    format!("{} {}", if unit == 0 { bytes.to_string() } else { significant(x, 3) }, units[unit])
}

/// Returns the variables whose name or type contains the word, largest first.
pub fn table(session: &Session, word: &str) -> Result<Table> {
    let mut rows: Vec<Row> =
        session.rows().into_iter().filter(|r| r.name.contains(word) || r.kind.contains(word)).collect();
    rows.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.name.cmp(&b.name)));
    let cells = |row: Row| {
        let size = if row.bytes == 0 { String::new() } else { size(row.bytes) };
        [row.name, row.kind, row.what, row.dtype, row.device, size]
    };
    let rows: Vec<[String; 6]> = rows.into_iter().map(cells).collect();
    // Empty columns are left out, since windows are narrow and a session may have no tensors.
    let told = |i: usize| i < 3 || rows.iter().any(|row| !row[i].is_empty());
    let named = ["name", "type", "shape or value", "dtype", "device", "size"].into_iter().enumerate();
    let columns: Vec<(usize, &str)> = named.filter(|(i, _)| told(*i)).collect();
    let table = Table::new(columns.iter().map(|(_, name)| name.to_string()).collect())?;
    for row in &rows {
        let cell = |(i, name): &(usize, &str)| (name.to_string(), Value::Str(row[*i].clone()));
        table.push(columns.iter().map(cell).collect())?;
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(24), "24 B");
        assert_eq!(size(4_000_000), "4 MB");
        assert_eq!(size(1_540), "1.54 KB");
    }
}
