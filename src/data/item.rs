//! A file of a data set, on disk, in an archive or in a row of a table.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{Archive, Entry};
use super::parquet::Rows;
use crate::error::Result;
use crate::files;

/// A file on disk, in an archive or in a row of a Parquet file.
#[derive(Debug, Clone)]
pub enum Item {
    /// A file on disk.
    Disk(PathBuf),
    /// An entry of an archive.
    Part {
        /// The archive.
        archive: Arc<Archive>,
        /// Its entry.
        entry: Entry,
    },
    /// A row of a Parquet file.
    Row {
        /// The file.
        rows: Arc<Rows>,
        /// Number of the row, from 0.
        row: u64,
    },
}

impl From<PathBuf> for Item {
    fn from(path: PathBuf) -> Self {
        Self::Disk(path)
    }
}

impl Item {
    /// Returns the path for messages; that of an entry begins with the path of its archive.
    pub fn path(&self) -> Cow<'_, Path> {
        match self {
            Self::Disk(path) => Cow::Borrowed(path),
            Self::Part { archive, entry } => Cow::Owned(archive.path().join(&entry.name)),
            Self::Row { rows, row } => Cow::Owned(rows.path(*row)),
        }
    }

    /// Reads the content.
    pub fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Disk(path) => files::read(path),
            Self::Part { archive, entry } => archive.read(&entry.place).map_err(|e| e.in_file(self.path())),
            Self::Row { rows, row } => rows.read(*row).map_err(|e| e.in_file(self.path())),
        }
    }

    /// Returns what changes when the content does, without reading it: the size, and the time of the last change or the
    /// checksum.
    pub fn facts(&self) -> Result<String> {
        match self {
            Self::Disk(path) => {
                let facts = std::fs::metadata(path).map_err(|e| files::failed(path, &e))?;
                let changed =
                    facts.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
                Ok(format!("{} {}", facts.len(), changed.unwrap_or_default().as_nanos()))
            }
            Self::Part { archive, entry } => Ok(archive.facts(&entry.place)),
            Self::Row { rows, .. } => Ok(rows.facts()),
        }
    }
}
