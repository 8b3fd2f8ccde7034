//! Pages: the units in which a chunk of a column is encoded and compressed.

use std::io::Read;

use flate2::Crc;
use flate2::read::MultiGzDecoder;

use super::encoding::{runs, width};
use super::footer::{Chunk, Leaf};
use super::snappy;
use super::thrift::Value;
use crate::data::ahead::room;
use crate::data::archive::ReadAt;
use crate::error::{Error, Result};

/// Bytes that are read at once to find the header of a page, which may hold the smallest and the largest value.
const HEADER: usize = 1 << 10;
const LONGEST_HEADER: usize = 1 << 24;

/// How the values of a page are encoded.
pub mod encodings {
    /// One after another.
    pub const PLAIN: i64 = 0;
    /// By their number in the dictionary, in old files.
    pub const PLAIN_DICTIONARY: i64 = 2;
    /// In runs.
    pub const RLE: i64 = 3;
    /// Whole numbers by their differences.
    pub const DIFFERENCES: i64 = 5;
    /// The lengths of bytes by their differences, then all bytes.
    pub const LENGTHS: i64 = 6;
    /// By their number in the dictionary.
    pub const DICTIONARY: i64 = 8;
}

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dictionary,
    /// Levels are packed with the values, after their lengths.
    First,
    /// Levels of this many bytes, repetition before definition, come before the packed values.
    Second {
        repeated: usize,
        defined: usize,
        packed: bool,
    },
}

/// The header of a page.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: Kind,
    values: usize,
    encoding: i64,
    size: usize,
    packed: usize,
    sum: Option<u32>,
}

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// They are not.
    None,
    /// By snappy.
    Snappy,
    /// By gzip.
    Gzip,
    /// By zstd.
    Zstd,
}

impl Codec {
    /// Returns the compression of a chunk, if it is supported.
    pub fn of(chunk: &Chunk) -> Result<Self> {
        Ok(match chunk.codec {
            0 => Self::None,
            1 => Self::Snappy,
            2 => Self::Gzip,
            6 => Self::Zstd,
            other => {
                let names = [(3, "lzo"), (4, "brotli"), (5, "lz4"), (7, "lz4")];
                let name = names.iter().find(|(number, _)| *number == other);
                let found = name.map_or_else(|| format!("number {other}"), |(_, name)| (*name).to_string());
                return Err(Error::argument(format!(
                    "expected no compression, or snappy, gzip or zstd, found {found}"
                ))
                .hint("write it again in Python: `pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), other)`"));
            }
        })
    }

    /// Unpacks bytes to a known size; of snappy the second value says where its blocks begin.
    pub fn unpack(self, packed: Vec<u8>, size: usize) -> Result<(Vec<u8>, Option<Vec<u32>>)> {
        let damaged = || damaged("its compressed data are wrong");
        if self == Self::None {
            return if packed.len() == size { Ok((packed, None)) } else { Err(damaged()) };
        }
        if size == 0 {
            return Ok((Vec::new(), None));
        }
        let bytes = match self {
            Self::Snappy => {
                let unpacked = snappy::unpack(&packed, size).ok_or_else(damaged)?;
                return Ok((unpacked.bytes, unpacked.starts));
            }
            Self::Gzip => {
                let mut bytes = room(size)?;
                let mut stream = MultiGzDecoder::new(&*packed).take(size as u64 + 1);
                stream.read_to_end(&mut bytes).map_err(|_| damaged())?;
                bytes
            }
            _ => {
                let mut bytes = room(size)?;
                let mut decoder = zstd::bulk::Decompressor::new().map_err(|_| damaged())?;
                decoder.decompress_to_buffer(&packed, &mut bytes).map_err(|_| damaged())?;
                bytes
            }
        };
        if bytes.len() == size { Ok((bytes, None)) } else { Err(damaged()) }
    }
}

/// Returns the error of a damaged page.
pub fn damaged(why: &str) -> Error {
    Error::argument(format!("the column is damaged: {why}"))
        .hint("download or write the file again, and compare its checksum")
}

/// A page with its values unpacked.
#[derive(Debug)]
pub struct Page {
    /// Whether it is the dictionary of the pages after it.
    pub is_dictionary: bool,
    /// How the values are encoded.
    pub encoding: i64,
    /// How often the definition and repetition levels of the values are such; empty where the level is always 0.
    pub defined: Vec<u32>,
    /// Repetition levels.
    pub repeated: Vec<u32>,
    /// Number of levels.
    pub count: usize,
    /// Number of values that are not missing.
    pub present: usize,
    /// The unpacked bytes, which end with the values.
    pub bytes: Vec<u8>,
    /// Where the values begin in them.
    pub values: usize,
    /// Position in the file of what was unpacked.
    pub start: u64,
    /// Its length.
    pub packed: usize,
    /// How it was packed.
    pub codec: Codec,
    /// Where blocks of snappy begin in it.
    pub blocks: Option<Vec<u32>>,
}

/// Reads the pages of a chunk one after another.
pub fn each(
    file: &dyn ReadAt,
    chunk: &Chunk,
    leaf: &Leaf,
    mut take: impl FnMut(Page) -> Result<()>,
) -> Result<()> {
    let codec = Codec::of(chunk)?;
    let (mut at, end, mut left) = (chunk.start, chunk.start + chunk.length, chunk.values);
    while left > 0 {
        let Some((header, length)) = header(file, at, end)? else {
            return Err(damaged("the header of a page is wrong"));
        };
        at += length as u64;
        if header.packed as u64 > end - at {
            return Err(damaged("a page is longer than the column"));
        }
        let mut packed = room(header.packed)?;
        packed.resize(header.packed, 0);
        file.fill(at, &mut packed).map_err(|e| damaged(&e.to_string()))?;
        let page = at;
        at += header.packed as u64;
        if let Some(sum) = header.sum {
            let mut crc = Crc::new();
            crc.update(&packed);
            if crc.sum() != sum {
                return Err(damaged("the checksum of a page is wrong"));
            }
        }
        if header.kind != Kind::Dictionary {
            let values = header.values as u64;
            left = left.checked_sub(values).ok_or_else(|| damaged("it has more values than it says"))?;
        }
        take(opened(&header, packed, page, codec, leaf)?)?;
    }
    Ok(())
}

/// Reads the header of a page, and returns it with its length; pages of other kinds are passed over by their own.
fn header(file: &dyn ReadAt, at: u64, end: u64) -> Result<Option<(Header, usize)>> {
    let mut size = HEADER;
    loop {
        let length = (end - at).min(size as u64) as usize;
        let mut bytes = room(length)?;
        bytes.resize(length, 0);
        file.fill(at, &mut bytes).map_err(|e| damaged(&e.to_string()))?;
        match Value::read(&bytes) {
            Some((value, used)) => return Ok(parsed(&value).map(|header| (header, used))),
            None if length < size || size >= LONGEST_HEADER => return Ok(None),
            None => size *= 16,
        }
    }
}

fn parsed(value: &Value<'_>) -> Option<Header> {
    let size = |value: &Value<'_>, number| value.count(number).map(|n| n as usize);
    let header = |part: &Value<'_>, kind, encoding| {
        Some(Header {
            kind,
            values: size(part, 1)?,
            encoding: part.int(encoding)?,
            size: size(value, 2)?,
            packed: size(value, 3)?,
            sum: value.int(4).map(|sum| sum as u32),
        })
    };
    match value.int(1)? {
        0 => {
            let part = value.field(5)?;
            header(part, Kind::First, 2)
        }
        2 => header(value.field(7)?, Kind::Dictionary, 2),
        3 => {
            let part = value.field(8)?;
            let packed = part.flag(7).unwrap_or(true);
            let kind = Kind::Second { repeated: size(part, 6)?, defined: size(part, 5)?, packed };
            header(part, kind, 4)
        }
        _ => None,
    }
}

/// Unpacks a page and reads its levels.
fn opened(header: &Header, mut packed: Vec<u8>, at: u64, codec: Codec, leaf: &Leaf) -> Result<Page> {
    let wrong = || damaged("the levels of a page are wrong");
    let count = header.values;
    let levels = |bytes: &[u8], largest: u32| -> Result<Vec<u32>> {
        runs(bytes, width(largest), count).ok_or_else(wrong)
    };
    let (mut defined, mut repeated, mut values, mut before) = (Vec::new(), Vec::new(), 0, 0);
    let mut used = codec;
    let mut size = header.size;
    if let Kind::Second { repeated: first, defined: second, packed: is_packed } = header.kind {
        before = first.saturating_add(second);
        size = size.checked_sub(before).ok_or_else(wrong)?;
        let rest = (before <= packed.len()).then(|| packed.split_off(before)).ok_or_else(wrong)?;
        if leaf.repeated > 0 {
            repeated = levels(&packed[..first], leaf.repeated)?;
        }
        if leaf.defined > 0 {
            defined = levels(&packed[first..], leaf.defined)?;
        }
        packed = rest;
        used = if is_packed { codec } else { Codec::None };
    }
    let length = packed.len();
    let (bytes, blocks) = used.unpack(packed, size)?;
    if header.kind == Kind::First {
        for (largest, levels_of) in [(leaf.repeated, &mut repeated), (leaf.defined, &mut defined)] {
            if largest == 0 {
                continue;
            }
            let rest = &bytes[values..];
            let (head, rest) = rest.split_first_chunk::<4>().ok_or_else(wrong)?;
            let length = u32::from_le_bytes(*head) as usize;
            *levels_of = levels(rest.get(..length).ok_or_else(wrong)?, largest)?;
            values += 4 + length;
        }
    }
    let present = match leaf.defined {
        0 => count,
        largest => defined.iter().filter(|level| **level == largest).count(),
    };
    let is_dictionary = header.kind == Kind::Dictionary;
    Ok(Page {
        is_dictionary,
        encoding: header.encoding,
        present: if is_dictionary { count } else { present },
        defined,
        repeated,
        count,
        bytes,
        values,
        start: at + before as u64,
        packed: length,
        codec: used,
        blocks,
    })
}
