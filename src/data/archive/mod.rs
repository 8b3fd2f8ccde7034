//! Zip and tar files whose entries are read in place: an index of their positions is built once.
//!
//! - [`zip`] and [`tar`] read the index of one file, [`mod@paths`] finds the files that a pattern names
//! - [`listing`] joins the entries of one or several files to folders, [`samples`] to the samples of WebDataset
//!
//! Nothing is unpacked, so names that lead out of the archive do no harm; they are left out and reported.

pub mod listing;
pub mod paths;
pub mod samples;
pub mod tar;
pub mod zip;

use std::fs::File;
use std::io::{Error as IoError, ErrorKind, Read, Result as IoResult};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::ahead::room;
use crate::error::{Error, Result};
use crate::files;

#[cfg(test)]
mod tests;

pub use listing::Listing;

/// Content that is read at any position, by several threads at once.
pub trait ReadAt {
    /// Returns the number of bytes.
    fn length(&self) -> u64;
    /// Fills `to` with the bytes from `at` on; an end before is an error.
    fn fill(&self, at: u64, to: &mut [u8]) -> IoResult<()>;
}

impl ReadAt for &[u8] {
    fn length(&self) -> u64 {
        self.len() as u64
    }
    fn fill(&self, at: u64, to: &mut [u8]) -> IoResult<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..to.len()));
        to.copy_from_slice(from.ok_or_else(|| IoError::from(ErrorKind::UnexpectedEof))?);
        Ok(())
    }
}

/// An archive on disk. It is opened for every read, as a file of a folder is, since data sets have thousands of them.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    length: u64,
    modified: Duration,
}

/// An archive that is open.
#[derive(Debug)]
pub(in crate::data) struct Opened {
    file: File,
    length: u64,
}

impl ReadAt for Opened {
    fn length(&self) -> u64 {
        self.length
    }
    fn fill(&self, at: u64, to: &mut [u8]) -> IoResult<()> {
        self.file.read_exact_at(to, at)
    }
}

impl Archive {
    /// Opens an archive.
    pub(in crate::data) fn open(path: &Path) -> Result<(Self, Opened)> {
        let (file, length, modified) = opened(path).map_err(|e| files::failed(path, &e))?;
        Ok((Self { path: path.to_path_buf(), length, modified }, Opened { file, length }))
    }

    /// Returns the path of the archive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what changes when the content of an entry does: its size, and its checksum or the time of the archive.
    pub fn facts(&self, place: &Place) -> String {
        match place.packing {
            Packing::Tar => format!("{} {} {}", place.size, place.start, self.modified.as_nanos()),
            _ => format!("{} {:08x}", place.size, place.checksum),
        }
    }

    /// Returns what changes when the archive does: its length, and the time of its last change.
    pub(in crate::data) fn state(&self) -> String {
        format!("{} {}", self.length, self.modified.as_nanos())
    }

    /// Opens the archive again; one that was changed after its index was read is an error.
    pub(in crate::data) fn reopen(&self) -> Result<Opened> {
        let (file, length, modified) = opened(&self.path).map_err(|e| files::failed(&self.path, &e))?;
        if (length, modified) != (self.length, self.modified) {
            return Err(Error::file(&self.path, "the archive was changed after it was opened")
                .hint("open the data set again when the archive is complete"));
        }
        Ok(Opened { file, length })
    }

    /// Reads the content of an entry; an archive that was changed after its index was read is an error.
    pub fn read(&self, place: &Place) -> Result<Vec<u8>> {
        place.read(&self.reopen()?)
    }
}

/// Opens a file, and returns its length and the time of its last change.
fn opened(path: &Path) -> IoResult<(File, u64, Duration)> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let modified = about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Ok((file, about.len(), modified.unwrap_or_default()))
}

/// How the content of an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// As it is, without a checksum, in a tar.
    Tar,
    /// As it is, in a zip.
    Stored,
    /// Deflated, in a zip.
    Deflated,
    /// Encrypted, in a zip.
    Encrypted,
    /// By another method of zip, given by its number.
    Other(u16),
}

/// Where the content of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of the content in a tar, and of the local header in a zip.
    pub start: u64,
    /// Bytes in the archive.
    pub packed: u64,
    /// Bytes of the content.
    pub size: u64,
    /// CRC-32 of the content, in a zip.
    pub checksum: u32,
    /// How it is stored.
    pub packing: Packing,
}

/// Most bytes that one byte of a deflated entry can hold.
const MOST_DEFLATED: u64 = 1032;

impl Place {
    /// Reads the content, and compares its checksum if it has one.
    pub fn read(&self, file: &dyn ReadAt) -> Result<Vec<u8>> {
        let damaged = |why: &str| {
            Error::argument(format!("the entry cannot be read: {why}"))
                .hint("the archive is damaged: download or write it again, and compare its checksum")
        };
        let failed = |e: IoError| match e.kind() {
            ErrorKind::UnexpectedEof => damaged("the archive ends before"),
            _ => damaged(&e.to_string().to_lowercase()),
        };
        let largest = match self.packing {
            Packing::Tar | Packing::Stored => self.packed,
            Packing::Deflated => self.packed.saturating_mul(MOST_DEFLATED),
            Packing::Encrypted => {
                return Err(Error::argument("the entry is encrypted").hint("unpack the archive first"));
            }
            Packing::Other(method) => {
                return Err(Error::argument(format!(
                    "expected a stored or deflated entry, found method {method} of zip"
                ))
                .hint("unpack the archive first, or write it with deflate"));
            }
        };
        if self.packed > file.length() || self.size > largest {
            return Err(damaged("it is larger than the archive can hold"));
        }
        let start = match self.packing {
            Packing::Tar => self.start,
            _ => zip::content(file, self.start)
                .map_err(failed)?
                .ok_or_else(|| damaged("its header is gone"))?,
        };
        let mut bytes = room(self.packed as usize)?;
        bytes.resize(self.packed as usize, 0);
        file.fill(start, &mut bytes).map_err(failed)?;
        if self.packing == Packing::Deflated {
            let mut content = room(self.size as usize)?;
            let mut stream = DeflateDecoder::new(&*bytes).take(self.size + 1);
            stream.read_to_end(&mut content).map_err(|e| damaged(&e.to_string()))?;
            bytes = content;
        }
        if bytes.len() as u64 != self.size {
            return Err(damaged("it has another length than the index says"));
        }
        if self.packing != Packing::Tar {
            let mut crc = Crc::new();
            crc.update(&bytes);
            if crc.sum() != self.checksum {
                return Err(damaged("its checksum is wrong"));
            }
        }
        Ok(bytes)
    }
}

/// An entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path in the archive, with slashes.
    pub name: String,
    /// Where its content is.
    pub place: Place,
}

/// Files of an archive, in its order, and what was left out.
#[derive(Debug, Default)]
pub struct Index {
    /// The files.
    pub entries: Vec<Entry>,
    /// What else the archive has.
    pub passed: Vec<(What, String)>,
    /// Why the end is missing, if it is.
    pub cut: Option<String>,
}

/// What is no file of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A symbolic link, or a link to nothing.
    Link,
    /// A name with `..`.
    Outside,
    /// A sparse file of tar.
    Sparse,
    /// An earlier entry of the same name.
    Twice,
    /// A device, a pipe, or an unknown type.
    Other,
}

impl What {
    /// Says that a number of them was left out, of which the first is `first`.
    fn note(self, count: usize, first: &str) -> String {
        let (one, several) = match self {
            Self::Link => ("symbolic link", "symbolic links"),
            Self::Outside => {
                ("entry whose name leads out of the archive", "entries whose names lead out of the archive")
            }
            Self::Sparse => ("sparse file", "sparse files"),
            Self::Twice => (
                "earlier entry of the same name as a later one",
                "earlier entries of the same name as a later one",
            ),
            Self::Other => ("entry that is no file", "entries that are no files"),
        };
        match count {
            1 => format!("skipped 1 {one}: `{first}`"),
            _ => format!("skipped {count} {several}, the first is `{first}`"),
        }
    }
}

impl Index {
    /// Adds a file, unless its name leads out of the archive.
    fn add(&mut self, name: &str, place: Place) {
        match tidy(name) {
            Some(name) => self.entries.push(Entry { name, place }),
            None => self.passed.push((What::Outside, name.to_string())),
        }
    }

    /// Keeps the last of several entries of one name, as unpacking would.
    fn settle(&mut self) {
        let mut seen = std::collections::HashSet::new();
        let keep: Vec<bool> =
            self.entries.iter().rev().map(|entry| seen.insert(entry.name.as_str())).collect();
        if keep.iter().all(|keep| *keep) {
            return;
        }
        let mut keep = keep.into_iter().rev();
        let passed = &mut self.passed;
        self.entries.retain(|entry| {
            let kept = keep.next().unwrap_or(true);
            if !kept {
                passed.push((What::Twice, entry.name.clone()));
            }
            kept
        });
    }
}

/// Returns a path with slashes and without `.` and a first slash; none with `..`, or without a name.
fn tidy(name: &str) -> Option<String> {
    let name = name.replace('\\', "/");
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    (!parts.is_empty() && !parts.contains(&"..") && !name.contains('\0')).then(|| parts.join("/"))
}

/// Returns bytes as text; those that are no UTF-8 as Latin-1, so that different names stay different.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_string(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}
