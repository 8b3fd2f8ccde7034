//! Images in the rows of a Parquet file, read at random.
//!
//! When a row of a row group is read for the first time, the pages of the group are read once, to note where the bytes of
//! each row are. After that a row costs no more than its bytes if the pages are not compressed, and a few blocks of 64 KiB
//! if they are compressed by snappy. Pages of gzip and zstd are unpacked as a whole; the last ones are kept.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::column::{is_numbered, numbers, places, unknown};
use super::footer::{Chunk, Footer, Leaf};
use super::page::{self, Codec, Page, damaged, encodings};
use super::snappy::{self, BLOCK};
use crate::data::ahead::room;
use crate::data::archive::{Archive, ReadAt};
use crate::error::{Error, Result};

/// Bytes of unpacked pages that are kept, of all files of a set together.
const KEPT: usize = 1 << 28;

/// The images of a file.
#[derive(Debug)]
pub struct Rows {
    archive: Archive,
    /// Number of the file among those of the set.
    file: usize,
    /// Name of the column.
    column: String,
    leaf: Leaf,
    groups: Vec<Group>,
    kept: Arc<Kept>,
}

#[derive(Debug)]
struct Group {
    /// Number of its first row.
    first: u64,
    rows: u64,
    chunk: Chunk,
    /// Where its rows are, once one was read.
    index: Mutex<Option<Result<Arc<Index>>>>,
}

/// Where the rows of a group are.
#[derive(Debug, Default)]
struct Index {
    bodies: Vec<Body>,
    slots: Vec<Slot>,
}

/// Values of a page or dictionary in the file.
#[derive(Debug)]
struct Body {
    start: u64,
    packed: usize,
    size: usize,
    codec: Codec,
    /// Where blocks of snappy begin, if a part can be unpacked by itself.
    blocks: Option<Vec<u32>>,
}

/// Place of a value in what its body unpacks to.
#[derive(Debug, Clone, Copy)]
struct Slot {
    body: u32,
    at: u32,
    length: u32,
}

/// A row without bytes.
const MISSING: Slot = Slot { body: u32::MAX, at: 0, length: 0 };

/// Unpacked pages, the last used first.
#[derive(Debug, Default)]
pub struct Kept(Mutex<VecDeque<(Key, Arc<Vec<u8>>)>>);

/// Numbers of the file, the row group and the body.
type Key = [usize; 3];

impl Kept {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Key, Arc<Vec<u8>>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: Key) -> Option<Arc<Vec<u8>>> {
        let mut pages = self.lock();
        let place = pages.iter().position(|(other, _)| *other == key)?;
        let found = pages.remove(place)?;
        let page = Arc::clone(&found.1);
        pages.push_front(found);
        Some(page)
    }

    fn add(&self, key: Key, page: Arc<Vec<u8>>) {
        let mut pages = self.lock();
        pages.retain(|(other, _)| *other != key);
        pages.push_front((key, page));
        let mut sum = 0;
        // The newest page is kept even if it is larger.
        let fit = pages.iter().take_while(|(_, page)| {
            sum += page.len();
            sum <= KEPT
        });
        let count = fit.count().max(1);
        pages.truncate(count);
    }
}

impl Rows {
    /// Prepares reading of the bytes in a leaf.
    pub fn new(
        archive: Archive,
        file: usize,
        column: &str,
        footer: &Footer,
        leaf: &Leaf,
        kept: Arc<Kept>,
    ) -> Self {
        let mut first = 0u64;
        let group = |(rows, chunks): &(u64, Vec<Chunk>)| {
            let (before, chunk) = (first, chunks[leaf.number].clone());
            first = first.saturating_add(*rows);
            Group { first: before, rows: *rows, chunk, index: Mutex::default() }
        };
        let groups = footer.groups.iter().map(group).collect();
        Self { archive, file, column: column.to_string(), leaf: leaf.clone(), groups, kept }
    }

    /// Returns the path of the file.
    pub fn file(&self) -> &Path {
        self.archive.path()
    }

    /// Returns the path of a row for messages.
    pub fn path(&self, row: u64) -> PathBuf {
        self.archive.path().join(format!("row {row}"))
    }

    /// Returns what changes when a row does: the length and the time of the file.
    pub fn facts(&self) -> String {
        self.archive.state()
    }

    /// Reads the bytes of a row, counted from 0.
    pub fn read(&self, row: u64) -> Result<Vec<u8>> {
        let number = self.groups.partition_point(|group| group.first <= row).checked_sub(1);
        let group = number.and_then(|number| Some((number, self.groups.get(number)?)));
        let Some((number, group)) = group.filter(|(_, group)| row - group.first < group.rows) else {
            return Err(Error::internal(format!("there is no row {row}")));
        };
        let file = self.archive.reopen()?;
        let index = {
            let mut index = group.index.lock().unwrap_or_else(PoisonError::into_inner);
            match &*index {
                Some(index) => index.clone(),
                None => {
                    let found = self.index(&file, number, group).map(Arc::new).map_err(|e| {
                        e.context(format!("row group {number}")).context(format!("column `{}`", self.column))
                    });
                    index.insert(found).clone()
                }
            }
        }?;
        let slot = index.slots[(row - group.first) as usize];
        let Some(body) = index.bodies.get(slot.body as usize) else {
            return Err(Error::argument(format!("the column `{}` has no image in this row", self.column))
                .hint("the image is missing, or is in a file of its own, not in the Parquet file"));
        };
        body.read(&file, slot, &self.kept, [self.file, number, slot.body as usize])
    }

    /// Reads the pages of a group, and returns where its rows are.
    fn index(&self, file: &dyn ReadAt, number: usize, group: &Group) -> Result<Index> {
        let mut index = Index::default();
        let mut dictionary: Option<Vec<Slot>> = None;
        page::each(file, &group.chunk, &self.leaf, |mut page| {
            let wrong = || damaged("the values of a page are wrong");
            let body = index.bodies.len() as u32;
            let present: Vec<Slot> = if is_numbered(&page) {
                let entry = |n: &u32| dictionary.as_ref()?.get(*n as usize).copied();
                let found = numbers(&page).and_then(|all| all.iter().map(entry).collect());
                found.ok_or_else(wrong)?
            } else {
                let known =
                    page.is_dictionary || matches!(page.encoding, encodings::PLAIN | encodings::LENGTHS);
                if !known {
                    return Err(unknown(page.encoding));
                }
                let slot = |(at, length)| Slot { body, at, length };
                let found = places(&page).ok_or_else(wrong)?.into_iter().map(slot).collect();
                self.keep(&mut index, &mut page, number);
                found
            };
            if page.is_dictionary {
                dictionary = Some(present);
                return Ok(());
            }
            let mut present = present.into_iter();
            for i in 0..page.count {
                let is_there = page.defined.get(i).is_none_or(|level| *level == self.leaf.defined);
                index.slots.push(if is_there { present.next().ok_or_else(wrong)? } else { MISSING });
            }
            Ok(())
        })?;
        if index.slots.len() as u64 != group.rows {
            let text = format!("it has {} values for {} rows", index.slots.len(), group.rows);
            return Err(damaged(&text));
        }
        Ok(index)
    }

    /// Adds what a page unpacks to, whose rows are perhaps read next.
    fn keep(&self, index: &mut Index, page: &mut Page, group: usize) {
        let key = [self.file, group, index.bodies.len()];
        let Page { start, packed, codec, .. } = *page;
        let (size, blocks) = (page.bytes.len(), page.blocks.take());
        index.bodies.push(Body { start, packed, size, codec, blocks });
        if codec != Codec::None {
            self.kept.add(key, Arc::new(std::mem::take(&mut page.bytes)));
        }
    }
}

impl Body {
    fn read(&self, file: &dyn ReadAt, slot: Slot, kept: &Kept, key: Key) -> Result<Vec<u8>> {
        let (at, length) = (slot.at as usize, slot.length as usize);
        let wrong = || damaged("its pages are no longer what they were");
        let fill = |at: u64, length: usize| -> Result<Vec<u8>> {
            let mut bytes = room(length)?;
            bytes.resize(length, 0);
            file.fill(at, &mut bytes).map_err(|e| damaged(&e.to_string()))?;
            Ok(bytes)
        };
        if length == 0 {
            return Ok(Vec::new());
        }
        if self.codec == Codec::None {
            return fill(self.start + u64::from(slot.at), length);
        }
        if let Some(page) = kept.get(key) {
            return page.get(at..at + length).map(<[u8]>::to_vec).ok_or_else(wrong);
        }
        if let Some(blocks) = &self.blocks {
            let (first, last) = (at / BLOCK, (at + length - 1) / BLOCK);
            let from = *blocks.get(first).ok_or_else(wrong)? as usize;
            let to = blocks.get(last + 1).map_or(self.packed, |to| *to as usize);
            let packed = fill(self.start + from as u64, to.checked_sub(from).ok_or_else(wrong)?)?;
            let size = ((last + 1) * BLOCK).min(self.size) - first * BLOCK;
            let bytes = snappy::unpack_blocks(&packed, size).ok_or_else(wrong)?;
            let at = at - first * BLOCK;
            return bytes.get(at..at + length).map(<[u8]>::to_vec).ok_or_else(wrong);
        }
        let (bytes, _) = self.codec.unpack(fill(self.start, self.packed)?, self.size)?;
        let page = Arc::new(bytes);
        kept.add(key, Arc::clone(&page));
        page.get(at..at + length).map(<[u8]>::to_vec).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::super::choice::{Choice, Wanted};
    use super::*;

    /// The file has images of 50 kB in one page of snappy, which lie over the borders of its blocks.
    #[test]
    fn a_row_is_read_from_the_blocks_that_it_lies_in() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet/blocks.parquet");
        let (archive, file) = Archive::open(&path).unwrap();
        let footer = Footer::read(&file).unwrap();
        let wanted = Wanted { image: None, label: None, fields: &[] };
        let (name, leaf) = Choice::of(&footer, wanted).unwrap().image;
        let rows = Rows::new(archive, 0, name, &footer, leaf, Arc::default());
        let whole: Vec<Vec<u8>> = (0..footer.rows()).map(|row| rows.read(row).unwrap()).collect();
        assert_eq!(whole.len(), 5);
        let index = rows.groups[0].index.lock().unwrap().clone().unwrap().unwrap();
        assert_eq!(index.bodies.iter().map(|body| body.blocks.as_ref().unwrap().len()).max(), Some(4));
        for row in [4, 0, 3, 2, 1] {
            rows.kept.lock().clear();
            let read = rows.read(row).unwrap();
            assert!(read == whole[row as usize] && read.starts_with(b"\x89PNG"), "{row}");
            assert!(rows.kept.lock().is_empty());
        }
        assert!(rows.read(5).is_err());
    }

    #[test]
    fn the_pages_used_last_are_kept() {
        let kept = Kept::default();
        let third = Arc::new(vec![0; KEPT / 3]);
        for file in 0..3 {
            kept.add([file, 0, 0], Arc::clone(&third));
        }
        assert!(kept.get([0, 0, 0]).is_some());
        kept.add([3, 0, 0], third);
        assert!(kept.get([0, 0, 0]).is_some() && kept.get([1, 0, 0]).is_none());
        kept.add([4, 0, 0], Arc::new(vec![0; KEPT + 1]));
        assert!(kept.get([4, 0, 0]).is_some() && kept.lock().len() == 1);
    }
}
