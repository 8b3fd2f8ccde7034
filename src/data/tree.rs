//! Folders of images, on disk or in archives.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::archive::Listing;
use super::item::Item;
use crate::error::Result;
use crate::files;

/// Where folders are.
#[derive(Debug)]
pub enum Tree {
    /// On disk.
    Disk,
    /// In archives.
    Archives(Listing),
}

impl Tree {
    /// Returns the names in a folder, in alphabetical order.
    pub fn names(&self, folder: &Path) -> Result<Vec<OsString>> {
        match self {
            Self::Disk => files::entries(folder),
            Self::Archives(listing) => Ok(listing.names(folder)),
        }
    }

    /// Returns whether a path is a folder.
    pub fn is_dir(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.is_dir(),
            Self::Archives(listing) => listing.is_dir(path),
        }
    }

    /// Returns whether a path may be read as a file. A link to nowhere may, so that reading it names it; a pipe would wait
    /// forever.
    pub fn is_file(&self, path: &Path) -> bool {
        match self {
            Self::Disk => path.metadata().map_or(true, |m| m.is_file()),
            Self::Archives(listing) => !listing.is_dir(path),
        }
    }

    /// Returns the path of a folder without links.
    pub fn real(&self, folder: &Path) -> Result<PathBuf> {
        match self {
            Self::Disk => folder.canonicalize().map_err(|e| files::failed(folder, &e)),
            Self::Archives(_) => Ok(folder.to_path_buf()),
        }
    }

    /// Returns a file, if it exists; of several archives that of the first.
    pub fn file(&self, path: &Path) -> Option<Item> {
        match self {
            Self::Disk => path.is_file().then(|| Item::Disk(path.to_path_buf())),
            Self::Archives(listing) => listing.numbers(path).first().map(|number| listing.item(*number)),
        }
    }

    /// Returns one file for each path; see [`Listing::chosen`].
    pub fn items(&self, paths: Vec<PathBuf>) -> Result<Vec<Item>> {
        match self {
            Self::Disk => Ok(paths.into_iter().map(Item::Disk).collect()),
            Self::Archives(listing) => {
                Ok(listing.chosen(&paths)?.into_iter().map(|number| listing.item(number)).collect())
            }
        }
    }
}
