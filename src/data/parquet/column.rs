//! Columns that are read as a whole: labels, and numbers that become fields.

use super::encoding::{differences, runs};
use super::footer::{Footer, Leaf, Physical};
use super::page::{self, Page, damaged, encodings};
use crate::data::archive::ReadAt;
use crate::error::{Error, Result};

/// Values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Whole numbers and truth values.
    Ints(Vec<i64>),
    /// Of 32 bits.
    Floats(Vec<f32>),
    /// Of 64 bits.
    Doubles(Vec<f64>),
    /// Text.
    Texts(Vec<String>),
}

impl Values {
    fn none(physical: Physical) -> Self {
        match physical {
            Physical::Float => Self::Floats(Vec::new()),
            Physical::Double => Self::Doubles(Vec::new()),
            Physical::Bytes => Self::Texts(Vec::new()),
            _ => Self::Ints(Vec::new()),
        }
    }

    fn append(&mut self, other: Self) {
        match (self, other) {
            (Self::Ints(to), Self::Ints(from)) => to.extend(from),
            (Self::Floats(to), Self::Floats(from)) => to.extend(from),
            (Self::Doubles(to), Self::Doubles(from)) => to.extend(from),
            (Self::Texts(to), Self::Texts(from)) => to.extend(from),
            _ => {}
        }
    }

    /// Returns the values of some places.
    fn pick(&self, places: &[u32]) -> Option<Self> {
        fn some<T: Clone>(list: &[T], places: &[u32]) -> Option<Vec<T>> {
            places.iter().map(|place| list.get(*place as usize).cloned()).collect()
        }
        Some(match self {
            Self::Ints(list) => Self::Ints(some(list, places)?),
            Self::Floats(list) => Self::Floats(some(list, places)?),
            Self::Doubles(list) => Self::Doubles(some(list, places)?),
            Self::Texts(list) => Self::Texts(some(list, places)?),
        })
    }
}

/// The values of a column in the order of its rows.
#[derive(Debug)]
pub struct Column {
    /// Those that are not missing.
    pub values: Values,
    /// Number of values of each row: 0 or 1, or the length of its list.
    pub lengths: Vec<u32>,
    /// Whether a list has a missing value.
    pub has_gaps: bool,
}

impl Column {
    /// Reads a column of numbers or text, or of lists of them.
    pub fn read(file: &dyn ReadAt, footer: &Footer, leaf: &Leaf) -> Result<Self> {
        let mut column = Self { values: Values::none(leaf.physical), lengths: Vec::new(), has_gaps: false };
        for (number, (rows, chunks)) in footer.groups.iter().enumerate() {
            let before = column.lengths.len();
            let mut dictionary = None;
            page::each(file, &chunks[leaf.number], leaf, |page| column.add(&page, leaf, &mut dictionary))
                .map_err(|e| e.context(format!("row group {number}")))?;
            let found = (column.lengths.len() - before) as u64;
            if found != *rows {
                let text = format!("row group {number} has {rows} rows, and {found} values of it");
                return Err(damaged(&text));
            }
        }
        Ok(column)
    }

    fn add(&mut self, page: &Page, leaf: &Leaf, dictionary: &mut Option<Values>) -> Result<()> {
        let values = values(page, leaf.physical, dictionary.as_ref())?;
        if page.is_dictionary {
            *dictionary = Some(values);
            return Ok(());
        }
        for i in 0..page.count {
            let level = page.defined.get(i).copied().unwrap_or(leaf.defined);
            if page.repeated.get(i).is_none_or(|level| *level == 0) {
                self.lengths.push(0);
            }
            let Some(last) = self.lengths.last_mut() else {
                return Err(damaged("its first row has no beginning"));
            };
            match level == leaf.defined {
                true => *last += 1,
                // One level less than a value is a missing value of a list, if values can be missing.
                false if leaf.repeated > 0 && level > 0 && level + 1 == leaf.defined => self.has_gaps = true,
                false => {}
            }
        }
        self.values.append(values);
        Ok(())
    }
}

/// Reads the values of a page.
fn values(page: &Page, physical: Physical, dictionary: Option<&Values>) -> Result<Values> {
    let (bytes, count) = (&page.bytes[page.values..], page.present);
    let wrong = || damaged("the values of a page are wrong");
    if is_numbered(page) {
        let places = numbers(page).ok_or_else(wrong)?;
        return dictionary.and_then(|dictionary| dictionary.pick(&places)).ok_or_else(wrong);
    }
    let encoding = if page.is_dictionary { encodings::PLAIN } else { page.encoding };
    let read = match (encoding, physical) {
        (encodings::RLE, Physical::Bool) => {
            let bits = bytes.get(4..).and_then(|bytes| runs(bytes, 1, count));
            bits.map(|bits| Values::Ints(bits.into_iter().map(i64::from).collect()))
        }
        (encodings::DIFFERENCES, Physical::Int32 | Physical::Int64) => differences(bytes, count)
            .filter(|(list, _)| list.len() == count)
            .map(|(list, _)| Values::Ints(list)),
        (encodings::LENGTHS | encodings::PLAIN, Physical::Bytes) => {
            let text = |(at, length): (u32, u32)| {
                let text = &page.bytes[at as usize..][..length as usize];
                String::from_utf8_lossy(text).into_owned()
            };
            places(page).map(|places| Values::Texts(places.into_iter().map(text).collect()))
        }
        (encodings::PLAIN, _) => plain(bytes, physical, count),
        (other, _) => return Err(unknown(other)),
    };
    read.ok_or_else(wrong)
}

/// Returns the error of an encoding that is not read.
pub fn unknown(encoding: i64) -> Error {
    let name = match encoding {
        7 => "DELTA_BYTE_ARRAY".to_string(),
        9 => "BYTE_STREAM_SPLIT".to_string(),
        other => format!("number {other}"),
    };
    Error::argument(format!("expected a plain or dictionary encoding, found {name}")).hint(
        "write it again in Python: `pyarrow.parquet.write_table(pyarrow.parquet.read_table(path), other)`",
    )
}

fn plain(bytes: &[u8], physical: Physical, count: usize) -> Option<Values> {
    let part = |size: usize| bytes.get(..count.checked_mul(size)?);
    Some(match physical {
        Physical::Bool => {
            let bits = bytes.get(..count.div_ceil(8))?;
            Values::Ints((0..count).map(|i| i64::from(bits[i / 8] >> (i % 8) & 1)).collect())
        }
        Physical::Int32 => Values::Ints(four(part(4)?).map(|b| i64::from(i32::from_le_bytes(b))).collect()),
        Physical::Float => Values::Floats(four(part(4)?).map(f32::from_le_bytes).collect()),
        Physical::Int64 => Values::Ints(eight(part(8)?).map(i64::from_le_bytes).collect()),
        Physical::Double => Values::Doubles(eight(part(8)?).map(f64::from_le_bytes).collect()),
        _ => return None,
    })
}

fn four(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> {
    bytes.chunks_exact(4).filter_map(|part| part.try_into().ok())
}

fn eight(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    bytes.chunks_exact(8).filter_map(|part| part.try_into().ok())
}

/// Returns whether values are given by their numbers in the dictionary.
pub fn is_numbered(page: &Page) -> bool {
    !page.is_dictionary && matches!(page.encoding, encodings::PLAIN_DICTIONARY | encodings::DICTIONARY)
}

/// Returns the numbers of values in the dictionary.
pub fn numbers(page: &Page) -> Option<Vec<u32>> {
    if page.present == 0 {
        return Some(Vec::new());
    }
    let (width, rest) = page.bytes[page.values..].split_first()?;
    runs(rest, u32::from(*width), page.present)
}

/// Returns the position and length of each value of a page of bytes in what it unpacks to.
pub fn places(page: &Page) -> Option<Vec<(u32, u32)>> {
    let mut found = super::encoding::room(page.present)?;
    if page.encoding == encodings::LENGTHS {
        let bytes = &page.bytes[page.values..];
        let (lengths, used) = differences(bytes, page.present)?;
        let mut at = page.values + used;
        for length in lengths {
            let length = usize::try_from(length).ok()?;
            let end = at.checked_add(length).filter(|end| *end <= page.bytes.len())?;
            found.push((u32::try_from(at).ok()?, length as u32));
            at = end;
        }
        return (found.len() == page.present).then_some(found);
    }
    let mut at = page.values;
    for _ in 0..page.present {
        let head = page.bytes.get(at..)?.first_chunk::<4>()?;
        let length = u32::from_le_bytes(*head);
        at += 4;
        found.push((u32::try_from(at).ok()?, length));
        at = at.checked_add(length as usize).filter(|end| *end <= page.bytes.len())?;
    }
    Some(found)
}
