//! The headers of a tar file: ustar, with the long names of GNU and pax.

use std::collections::HashMap;
use std::ops::Range;

use super::{Index, Packing, Place, ReadAt, What, text};
use crate::error::{Error, Result};

const BLOCK: u64 = 512;

/// Bytes read at once: a header, and often a small file and the next header.
const CHUNK: usize = 4096;

/// Longest name, or block of attributes.
const LONGEST: u64 = 1 << 20;

/// Returns whether content begins as a tar file does: with a header and its checksum, or as an empty archive.
pub fn is_tar(first: &[u8]) -> bool {
    first.get(..BLOCK as usize).is_some_and(|head| is_header(head) || head.iter().all(|byte| *byte == 0))
}

/// Returns whether the checksum of a header fits.
fn is_header(head: &[u8]) -> bool {
    let told = number(&head[148..156]);
    let others = head[..148].iter().chain(&head[156..]);
    let spaces = 8 * u64::from(b' ');
    // Some old programs added bytes with their signs.
    let signed = others.clone().map(|byte| i64::from(byte.cast_signed())).sum::<i64>() + spaces as i64;
    let plain = others.map(|byte| u64::from(*byte)).sum::<u64>() + spaces;
    told.is_some_and(|told| told == plain || told as i64 == signed)
}

/// Reads an octal number, or one in base 256.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let zero =
            high.iter().enumerate().all(|(i, byte)| if i == 0 { byte & 0x7f == 0 } else { *byte == 0 });
        return low.first_chunk().map(|low| u64::from_be_bytes(*low)).filter(|_| zero);
    }
    let digits =
        field.iter().skip_while(|byte| **byte == b' ').take_while(|byte| !matches!(**byte, 0 | b' '));
    digits.clone().try_fold(0u64, |n, digit| match digit {
        b'0'..=b'7' => n.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// Content read in chunks from a position on.
struct Chunks<'a> {
    file: &'a dyn ReadAt,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Chunks<'_> {
    /// Returns the block at a position, or `None` if the content ends before.
    fn block(&mut self, at: u64) -> Result<Option<[u8; BLOCK as usize]>> {
        if at.checked_add(BLOCK).is_none_or(|end| end > self.end) {
            return Ok(None);
        }
        let kept = at.checked_sub(self.start).filter(|from| from + BLOCK <= self.bytes.len() as u64);
        let from = match kept {
            Some(from) => from as usize,
            None => {
                self.start = at;
                self.bytes.resize(CHUNK.min((self.end - at) as usize), 0);
                self.file.fill(at, &mut self.bytes).map_err(|e| failed(&e))?;
                0
            }
        };
        Ok(self.bytes[from..].first_chunk().copied())
    }
}

fn failed(error: &std::io::Error) -> Error {
    Error::argument(format!("the archive cannot be read: {}", error.to_string().to_lowercase()))
}

/// Reads the index of a tar file.
pub fn index(file: &dyn ReadAt) -> Result<Index> {
    let mut index = Index::default();
    scan(file, 0..file.length(), "", &mut index)?;
    index.settle();
    Ok(index)
}

/// Attributes of the next file.
#[derive(Default)]
struct Next {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

/// Reads the headers in a part of a file, and those of tar files in it, whose names become folders.
fn scan(file: &dyn ReadAt, part: Range<u64>, folder: &str, index: &mut Index) -> Result<()> {
    let mut chunks = Chunks { file, end: part.end, start: part.start, bytes: Vec::new() };
    let (mut at, mut next, mut ended) = (part.start, Next::default(), false);
    // Places of the entries so far, once there is a link; the number says how many are in it.
    let (mut known, mut counted): (HashMap<String, Place>, usize) = (HashMap::new(), 0);
    let cut = |index: &mut Index, what: String| {
        index.cut.get_or_insert_with(|| {
            if folder.is_empty() { what.clone() } else { format!("{folder}.tar: {what}") }
        });
    };
    loop {
        let Some(head) = chunks.block(at)? else {
            if !ended {
                let text = if at < part.end { "ends within a header" } else { "ends without its end mark" };
                cut(index, format!("the tar archive is cut short: it {text}, at byte {}", part.end));
            }
            break;
        };
        if head.iter().all(|byte| *byte == 0) {
            // More may follow, in archives that were joined.
            (ended, at) = (true, at + BLOCK);
            continue;
        }
        let size = number(&head[124..136]).filter(|_| is_header(&head));
        let Some(size) = size else {
            if ended {
                break;
            }
            cut(index, format!("the tar archive is damaged: its header at byte {at} is no header"));
            break;
        };
        ended = false;
        let kind = head[156];
        // The attributes of pax count for files, not for the blocks that hold attributes.
        let special = matches!(kind, b'L' | b'K' | b'x' | b'g');
        let size = if special { size } else { next.size.unwrap_or(size) };
        let mut start = at + BLOCK;
        // The map of an old sparse file may go on in further blocks before its content.
        let mut extended = kind == b'S' && head[482] != 0;
        while let (true, Some(block)) = (extended, chunks.block(start)?) {
            (extended, start) = (block[504] != 0, start + BLOCK);
        }
        let held = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        let end = held.checked_next_multiple_of(BLOCK).and_then(|size| start.checked_add(size));
        let name = next.name.as_deref().map_or_else(|| name_of(&head), text);
        if start.checked_add(held).is_none_or(|end| end > part.end) {
            cut(
                index,
                format!("the tar archive is cut short: `{name}` ends behind its end, at byte {}", part.end),
            );
            break;
        }
        if special {
            if size > LONGEST {
                cut(index, format!("the tar archive is damaged: attributes of {size} bytes at byte {at}"));
                break;
            }
            let mut bytes = vec![0; size as usize];
            file.fill(start, &mut bytes).map_err(|e| failed(&e))?;
            match kind {
                b'L' => next.name = Some(until_zero(&bytes).to_vec()),
                b'K' => next.link = Some(until_zero(&bytes).to_vec()),
                b'x' => attributes(&bytes, &mut next),
                _ => {}
            }
        } else {
            let Next { link, sparse, .. } = std::mem::take(&mut next);
            let place = Place { start, packed: size, size, checksum: 0, packing: Packing::Tar };
            let inside = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let link = link.map_or_else(|| text(until_zero(&head[157..257])), |link| text(&link));
            match kind {
                _ if sparse => index.passed.push((What::Sparse, inside)),
                b'0' | 0 | b'7' if name.ends_with('/') => {}
                b'0' | 0 | b'7' => match name.strip_suffix(".tar").filter(|_| folder.is_empty()) {
                    Some(inner) if holds_tar(&mut chunks, start, size)? => {
                        let inner = inner.trim_start_matches("./");
                        scan(file, start..start + size, inner, index)?;
                    }
                    _ => index.add(&inside, place),
                },
                b'5' => {}
                // The second name of a file has no content of its own.
                b'1' => {
                    let new = &index.entries[counted..];
                    known.extend(new.iter().map(|entry| (entry.name.clone(), entry.place)));
                    counted = index.entries.len();
                    let target = if folder.is_empty() { link } else { format!("{folder}/{link}") };
                    match super::tidy(&target).and_then(|target| known.get(&target)) {
                        Some(place) => index.add(&inside, *place),
                        None => index.passed.push((What::Link, inside)),
                    }
                }
                b'2' => index.passed.push((What::Link, inside)),
                b'S' => index.passed.push((What::Sparse, inside)),
                _ => index.passed.push((What::Other, inside)),
            }
        }
        at = end.unwrap_or(part.end);
    }
    Ok(())
}

fn holds_tar(chunks: &mut Chunks<'_>, start: u64, size: u64) -> Result<bool> {
    Ok(size >= BLOCK && chunks.block(start)?.is_some_and(|head| is_tar(&head)))
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the name in a header, with the folder that ustar stores elsewhere.
fn name_of(head: &[u8]) -> String {
    let (name, prefix) = (until_zero(&head[..100]), until_zero(&head[345..500]));
    match &head[257..263] == b"ustar\0" && !prefix.is_empty() {
        true => text(&[prefix, b"/", name].concat()),
        false => text(name),
    }
}

/// Reads the attributes of pax, records of `LENGTH KEY=VALUE` and a line feed.
fn attributes(mut bytes: &[u8], next: &mut Next) {
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|n| n.parse::<usize>().ok());
        let Some(length) = length.filter(|n| *n > space + 1 && *n <= bytes.len()) else { return };
        let (record, rest) = bytes.split_at(length);
        bytes = rest;
        let record = &record[space + 1..];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let Some(equal) = record.iter().position(|byte| *byte == b'=') else { continue };
        let (key, value) = (&record[..equal], &record[equal + 1..]);
        match key {
            b"path" => next.name = Some(value.to_vec()),
            b"linkpath" => next.link = Some(value.to_vec()),
            b"size" => next.size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok()),
            _ if key.starts_with(b"GNU.sparse.") => next.sparse = true,
            _ => {}
        }
    }
}
