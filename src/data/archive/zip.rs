//! The list of entries at the end of a zip file, with the extensions of ZIP64 (APPNOTE.TXT 6.3.10).

use std::io::Result as IoResult;

use super::{Index, Packing, Place, ReadAt, What, text};
use crate::error::{Error, Result};

/// Length of the last record, without its comment.
const END: usize = 22;
/// Length of the record of ZIP64 before it, and of the record that says where that is.
const END64: usize = 56;
const LOCATOR: usize = 20;
/// Length of the header of an entry in the list, and before its content.
const LISTED: usize = 46;
const LOCAL: u64 = 30;

/// Returns whether content begins as a zip file does.
pub fn is_zip(first: &[u8]) -> bool {
    first.starts_with(b"PK\x03\x04") || first.starts_with(b"PK\x05\x06")
}

/// Returns where the content of an entry begins, from its local header.
pub(super) fn content(file: &dyn ReadAt, at: u64) -> IoResult<Option<u64>> {
    let mut head = [0; LOCAL as usize];
    file.fill(at, &mut head)?;
    let lengths = u64::from(u16_at(&head, 26)) + u64::from(u16_at(&head, 28));
    Ok(head.starts_with(b"PK\x03\x04").then_some(at + LOCAL + lengths))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Where the list of entries is.
struct List {
    start: u64,
    length: u64,
    /// Number of entries; without ZIP64 only its last 16 bits are stored.
    count: u64,
    is_64: bool,
    /// What comes before the archive, as in a file that unpacks itself.
    shift: u64,
}

/// Reads the index of a zip file.
pub fn index(file: &dyn ReadAt) -> Result<Index> {
    let failed = |e: std::io::Error| {
        Error::argument(format!("the archive cannot be read: {}", e.to_string().to_lowercase()))
    };
    let damaged = |what: &str| {
        Error::argument(format!("the zip archive is damaged: {what}"))
            .hint("download or write it again, and compare its checksum")
    };
    let list = find(file).map_err(failed)?.ok_or_else(|| {
        Error::argument("the zip archive is cut short: its list of entries, which comes last, is missing")
            .hint("download it again, or repair it: `zip -FF damaged.zip --out repaired.zip`")
    })?;
    if list.start.checked_add(list.length).is_none_or(|end| end > file.length()) {
        return Err(damaged("its list of entries lies outside"));
    }
    let mut bytes = super::room(list.length as usize)?;
    bytes.resize(list.length as usize, 0);
    file.fill(list.start, &mut bytes).map_err(failed)?;
    let (mut index, mut rest, mut count) = (Index::default(), &bytes[..], 0u64);
    while let [b'P', b'K', 1, 2, ..] = rest {
        let lengths = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
        let [name, extra, comment] = lengths;
        let end = LISTED + name + extra + comment;
        if rest.len() < end {
            return Err(damaged(&format!("entry {count} of its list is cut short")));
        }
        let (head, after) = rest.split_at(end);
        let name = text(&head[LISTED..LISTED + name]);
        entry(&mut index, &name, head, &head[end - comment - extra..end - comment], list.shift)
            .ok_or_else(|| damaged(&format!("the sizes of `{name}` are missing")))?;
        (rest, count) = (after, count + 1);
    }
    let expected = if list.is_64 { count } else { count & 0xffff };
    if expected != list.count {
        let text = format!("it says that it has {} entries, and lists {count}", list.count);
        return Err(damaged(&text));
    }
    index.settle();
    Ok(index)
}

/// Finds the list of entries from the end of the file.
fn find(file: &dyn ReadAt) -> IoResult<Option<List>> {
    let length = file.length();
    let last = length.min((END + 0xffff) as u64) as usize;
    let mut bytes = vec![0; last];
    file.fill(length - last as u64, &mut bytes)?;
    let is_end = |at: usize| {
        bytes[at..].starts_with(b"PK\x05\x06") && at + END + usize::from(u16_at(&bytes, at + 20)) <= last
    };
    let Some(at) = (0..(last + 1).saturating_sub(END)).rev().find(|at| is_end(*at)) else { return Ok(None) };
    let end = &bytes[at..at + END];
    let position = length - (last - at) as u64;
    let list = |count: u64, length: u64, start: u64, position: u64, is_64: bool| {
        // The list ends where the record begins.
        let real = position.checked_sub(length)?;
        Some(List { start: real, length, count, is_64, shift: real.checked_sub(start)? })
    };
    let [count, size, start] =
        [u64::from(u16_at(end, 10)), u64::from(u32_at(end, 12)), u64::from(u32_at(end, 16))];
    if at < LOCATOR || !bytes[at - LOCATOR..].starts_with(b"PK\x06\x07") {
        return Ok(list(count, size, start, position, false));
    }
    // The record is where the locator says, or just before it if something precedes the archive.
    let told = u64_at(&bytes[at - LOCATOR..], 8);
    let before = (position - LOCATOR as u64).checked_sub(END64 as u64);
    for at in [Some(told), before].into_iter().flatten() {
        let mut record = [0; END64];
        if at.checked_add(END64 as u64).is_some_and(|end| end <= length) {
            file.fill(at, &mut record)?;
            if record.starts_with(b"PK\x06\x06") {
                let [count, size, start] = [32, 40, 48].map(|at| u64_at(&record, at));
                return Ok(list(count, size, start, at, true));
            }
        }
    }
    Ok(None)
}

/// Adds an entry of the list; returns `None` if a size of ZIP64 is missing.
fn entry(index: &mut Index, name: &str, head: &[u8], mut extra: &[u8], shift: u64) -> Option<()> {
    let mut large: &[u8] = &[];
    while extra.len() >= 4 {
        let end = (4 + usize::from(u16_at(extra, 2))).min(extra.len());
        if u16_at(extra, 0) == 1 {
            large = &extra[4..end];
        }
        extra = &extra[end..];
    }
    // Numbers that do not fit in 32 bits follow each other in the extension.
    let mut number = |at: usize| match u32_at(head, at) {
        u32::MAX => {
            let (first, rest) = large.split_first_chunk::<8>()?;
            large = rest;
            Some(u64::from_le_bytes(*first))
        }
        small => Some(u64::from(small)),
    };
    let (size, packed, start) = (number(24)?, number(20)?, number(42)?);
    let start = start.checked_add(shift)?;
    let (flags, method, mode) = (u16_at(head, 8), u16_at(head, 10), u32_at(head, 38) >> 16);
    // Both zip and unzip store the type of a file of Unix there.
    if mode & 0o170_000 == 0o120_000 {
        index.passed.push((What::Link, name.to_string()));
        return Some(());
    }
    if name.ends_with(['/', '\\']) {
        return Some(());
    }
    let packing = match method {
        _ if flags & 1 != 0 => Packing::Encrypted,
        0 => Packing::Stored,
        8 => Packing::Deflated,
        other => Packing::Other(other),
    };
    index.add(name, Place { start, packed, size, checksum: u32_at(head, 16), packing });
    Some(())
}
