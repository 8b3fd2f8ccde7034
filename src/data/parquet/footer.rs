//! The footer of a Parquet file: its columns, and where their parts are.

use serde_json::Value as Json;

use super::thrift::Value;
use crate::data::ahead::room;
use crate::data::archive::ReadAt;
use crate::error::{Error, Result};
use crate::files;

/// Bytes at both ends of a file, and at the end of one whose footer is encrypted.
const MAGIC: &[u8] = b"PAR1";
const ENCRYPTED: &[u8] = b"PARE";

/// Most levels of columns in columns.
const DEEPEST: usize = 32;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Physical {
    /// One bit.
    Bool,
    /// 32 bits.
    Int32,
    /// 64 bits.
    Int64,
    /// 32 bits.
    Float,
    /// 64 bits.
    Double,
    /// Any number of bytes.
    Bytes,
    /// Something else.
    Other,
}

/// A column that has values itself.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Names below the column: none of a plain column, `bytes` in a struct.
    pub path: Vec<String>,
    /// Its number among those of the file.
    pub number: usize,
    /// How values are stored.
    pub physical: Physical,
    /// Whether bytes are text.
    pub is_text: bool,
    /// Largest definition level: the number of places where a value may be missing.
    pub defined: u32,
    /// Largest repetition level: the number of lists around a value.
    pub repeated: u32,
}

/// A column of the table.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type for messages.
    pub kind: String,
    /// The columns in it that have values.
    pub leaves: Vec<Leaf>,
}

/// A part of a column in one row group.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// Position of its first page.
    pub start: u64,
    /// Bytes of its pages.
    pub length: u64,
    /// Number of values.
    pub values: u64,
    /// Number of the compression.
    pub codec: i64,
}

/// What a file holds.
#[derive(Debug)]
pub struct Footer {
    /// The columns of the table.
    pub columns: Vec<Column>,
    /// The number of rows of each group, and the chunk of each leaf.
    pub groups: Vec<(u64, Vec<Chunk>)>,
    /// The features that the library `datasets` of Hugging Face stores with its files.
    pub features: Option<Json>,
}

impl Footer {
    /// Reads the footer of a file.
    pub fn read(file: &dyn ReadAt) -> Result<Self> {
        let failed = |e: std::io::Error| Error::argument(format!("the file cannot be read: {e}"));
        let cut = |text: &str| {
            Error::argument(format!("the Parquet file is cut short: {text}"))
                .hint("download or write it again, and compare its checksum")
        };
        if file.length() == 0 {
            let kind = files::Kind::Empty;
            return Err(Error::argument(format!("expected a Parquet file, found {}", kind.describe()))
                .hint(kind.advice()));
        }
        let mut first = vec![0; file.length().min(512) as usize];
        file.fill(0, &mut first).map_err(failed)?;
        let encrypted =
            || Error::argument("the Parquet file is encrypted").hint("write it again without encryption");
        if first.starts_with(ENCRYPTED) {
            return Err(encrypted());
        }
        if !first.starts_with(MAGIC) {
            let kind = files::recognize(&first);
            let found = kind.map_or("something else", files::Kind::describe);
            let advice =
                kind.map_or("the file may be damaged, or is not what its name says", files::Kind::advice);
            return Err(Error::argument(format!("expected a Parquet file, found {found}")).hint(advice));
        }
        let Some(at) = file.length().checked_sub(8).filter(|at| *at >= 4) else {
            return Err(cut("it has no footer"));
        };
        let mut last = [0; 8];
        file.fill(at, &mut last).map_err(failed)?;
        let [a, b, c, d, magic @ ..] = last;
        if magic != *MAGIC {
            return Err(cut("its footer, which comes last, is missing"));
        }
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let Some(start) = at.checked_sub(length).filter(|start| *start >= 4) else {
            return Err(cut("its footer is longer than the file"));
        };
        let mut bytes = room(length as usize)?;
        bytes.resize(length as usize, 0);
        file.fill(start, &mut bytes).map_err(failed)?;
        let damaged = || {
            Error::argument("the footer of the Parquet file is damaged")
                .hint("download or write it again, and compare its checksum")
        };
        let (about, _) = Value::read(&bytes).ok_or_else(damaged)?;
        let groups = about.list(4).ok_or_else(damaged)?;
        let is_encrypted = |chunk: &Value<'_>| chunk.field(8).is_some();
        if groups.iter().flat_map(|group| group.list(1).unwrap_or_default()).any(is_encrypted) {
            return Err(encrypted());
        }
        let columns = columns(about.list(2).ok_or_else(damaged)?).ok_or_else(damaged)?;
        let leaves: usize = columns.iter().map(|column| column.leaves.len()).sum();
        let group = |group: &Value<'_>| {
            let chunks: Vec<Chunk> = group.list(1)?.iter().map(|c| chunk(c, start)).collect::<Option<_>>()?;
            (chunks.len() == leaves).then_some((group.count(3)?, chunks))
        };
        let groups = groups.iter().map(group).collect::<Option<Vec<_>>>().ok_or_else(damaged)?;
        let features = about.list(5).unwrap_or_default().iter().find_map(|pair| {
            let text = (pair.text(1)? == "huggingface").then(|| pair.text(2))??;
            serde_json::from_str::<Json>(&text).ok()?.get("info")?.get("features").cloned()
        });
        Ok(Self { columns, groups, features })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|(rows, _)| *rows).fold(0, u64::saturating_add)
    }

    /// Names the columns with their types.
    pub fn listed(&self) -> String {
        let all: Vec<String> = self.columns.iter().map(|c| format!("`{}` ({})", c.name, c.kind)).collect();
        if all.is_empty() { "none".to_string() } else { all.join(", ") }
    }

    /// Returns the names of the classes of a column, which the library `datasets` stores.
    pub fn class_names(&self, column: &str) -> Option<Vec<String>> {
        let feature = self.features.as_ref()?.get(column)?;
        // Older versions store the names in the order of their numbers as an object.
        match feature.get("names")? {
            Json::Array(names) => names.iter().map(|name| name.as_str().map(str::to_string)).collect(),
            Json::Object(names) => {
                (0..names.len()).map(|i| names.get(&i.to_string())?.as_str().map(str::to_string)).collect()
            }
            _ => None,
        }
    }
}

/// Reads where a chunk is, which must lie before the footer.
fn chunk(chunk: &Value<'_>, footer: u64) -> Option<Chunk> {
    let about = chunk.field(3)?;
    let data = about.count(9)?;
    let start = about.count(11).filter(|at| *at > 0 && *at < data).unwrap_or(data);
    let (length, values, codec) = (about.count(7)?, about.count(5)?, about.int(4)?);
    (start.checked_add(length)? <= footer).then_some(Chunk { start, length, values, codec })
}

/// Reads the tree of columns, whose nodes are listed from the root on.
fn columns(nodes: &[Value<'_>]) -> Option<Vec<Column>> {
    let (root, mut rest) = nodes.split_first()?;
    let (mut columns, mut number) = (Vec::new(), 0);
    for _ in 0..root.count(5)? {
        let name = rest.first()?.text(4)?;
        let mut column = Column { name, kind: String::new(), leaves: Vec::new() };
        let around = Around { path: &[], defined: 0, repeated: 0, depth: 0 };
        column.kind = node(&mut rest, around, &mut number, &mut column.leaves)?;
        columns.push(column);
    }
    Some(columns)
}

/// What is around a node.
#[derive(Clone, Copy)]
struct Around<'a> {
    path: &'a [String],
    defined: u32,
    repeated: u32,
    depth: usize,
}

/// Reads a node with those in it, adds its leaves, and describes its type.
fn node(
    rest: &mut &[Value<'_>],
    around: Around<'_>,
    number: &mut usize,
    leaves: &mut Vec<Leaf>,
) -> Option<String> {
    let (head, after) = rest.split_first()?;
    *rest = after;
    let repetition = head.int(3).unwrap_or(0);
    let (defined, repeated) =
        (around.defined + u32::from(repetition != 0), around.repeated + u32::from(repetition == 2));
    let Some(children) = head.count(5).filter(|count| *count > 0) else {
        let is_logical = |number| head.field(10).is_some_and(|kind| kind.field(number).is_some());
        let is_text = matches!(head.int(6), Some(0 | 4 | 19)) || [1, 4, 12].into_iter().any(is_logical);
        let (physical, kind) = match head.int(1)? {
            0 => (Physical::Bool, "bool"),
            1 => (Physical::Int32, "int32"),
            2 => (Physical::Int64, "int64"),
            4 => (Physical::Float, "float32"),
            5 => (Physical::Double, "float64"),
            6 if is_text => (Physical::Bytes, "string"),
            6 => (Physical::Bytes, "binary"),
            7 => (Physical::Other, "binary of fixed size"),
            _ => (Physical::Other, "time"),
        };
        leaves.push(Leaf {
            path: around.path.to_vec(),
            number: *number,
            physical,
            is_text,
            defined,
            repeated,
        });
        *number += 1;
        return Some(if repetition == 2 { format!("list of {kind}") } else { kind.to_string() });
    };
    if around.depth >= DEEPEST {
        return None;
    }
    let mut parts = Vec::new();
    for _ in 0..children {
        let name = rest.first()?.text(4)?;
        let path = [around.path, std::slice::from_ref(&name)].concat();
        let below = Around { path: &path, defined, repeated, depth: around.depth + 1 };
        parts.push((name, node(rest, below, number, leaves)?));
    }
    let is_list = head.int(6) == Some(3) || head.field(10).is_some_and(|kind| kind.field(3).is_some());
    let inner = match &parts[..] {
        // The list is the repeated node below, whose only part is the element.
        [(_, kind)] if is_list => format!("list of {}", kind.strip_prefix("list of ").unwrap_or(kind)),
        [(_, kind)] if repetition == 2 => format!("list of {kind}"),
        parts => {
            let all: Vec<String> = parts.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
            format!("struct of {}", all.join(", "))
        }
    };
    Some(inner)
}
