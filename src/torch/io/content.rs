//! Content of a file, which several threads read at once.

use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::error;
use crate::files;

/// Content of a file with a position in it; a clone reads the same content at a position of its own.
#[derive(Debug, Clone)]
pub(super) struct Content {
    data: Data,
    length: u64,
    position: u64,
}

#[derive(Debug, Clone)]
enum Data {
    File(Arc<File>),
    Bytes(Arc<Vec<u8>>),
}

impl Content {
    /// Opens the content of a file; that of a pipe is read first.
    ///
    /// A file that is replaced later is still read as it was.
    pub fn open(path: &Path) -> error::Result<Self> {
        let failed = |e: Error| files::failed(path, &e);
        let about = std::fs::metadata(path).map_err(failed)?;
        match about.is_file() {
            true => {
                let file = File::open(path).map_err(failed)?;
                let length = file.metadata().map_err(failed)?.len();
                Ok(Self { data: Data::File(Arc::new(file)), length, position: 0 })
            }
            false => Ok(files::read(path)?.into()),
        }
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Returns the number of bytes that follow the position.
    pub fn left(&self) -> u64 {
        self.length.saturating_sub(self.position)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len() as u64, data: Data::Bytes(Arc::new(bytes)), position: 0 }
    }
}

impl Read for Content {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        let count = match &self.data {
            Data::File(file) => file.read_at(to, self.position)?,
            Data::Bytes(bytes) => (&bytes[self.position.min(self.length) as usize..]).read(to)?,
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Content {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_read_the_same_content_at_their_own_positions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        for mut content in [Content::open(&path).unwrap(), Content::from(b"0123456789".to_vec())] {
            let mut bytes = [0; 4];
            content.seek(SeekFrom::End(-6)).unwrap();
            let mut other = content.clone();
            content.read_exact(&mut bytes).unwrap();
            assert_eq!((&bytes, content.length(), content.left()), (b"4567", 10, 2));
            other.seek(SeekFrom::Current(-4)).unwrap();
            other.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"0123");
            assert_eq!(content.read(&mut bytes).unwrap(), 2);
            assert_eq!(content.read(&mut bytes).unwrap(), 0);
            content.seek(SeekFrom::Start(11)).unwrap();
            assert_eq!(content.read(&mut bytes).unwrap(), 0);
            assert!(content.seek(SeekFrom::Current(-12)).is_err());
        }
    }

    #[test]
    fn a_replaced_file_is_read_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        files::write(&path, "old").unwrap();
        let mut content = Content::open(&path).unwrap();
        files::write(&path, "the new one").unwrap();
        let mut text = String::new();
        content.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
    }
}
