//! Reading of files into memory, with error messages that name them.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::files;

/// The bytes of a file and its name for messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// Path, or description of an embedded file.
    pub name: String,
    /// Bytes as stored, possibly compressed.
    pub bytes: Cow<'static, [u8]>,
}

impl Source {
    /// Reads a file from disk.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { name: path.display().to_string(), bytes: Cow::Owned(files::read(path)?) })
    }

    /// Returns a file embedded in the program.
    pub fn embedded(name: &str, bytes: &'static [u8]) -> Self {
        Self { name: format!("embedded {name}"), bytes: Cow::Borrowed(bytes) }
    }

    /// Returns an error about this file.
    pub fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::file(&self.name, message)
    }

    /// Returns the content as a stream, decompressed if it is a gzip file, whatever its name.
    pub fn content(&self) -> Box<dyn Read + '_> {
        match self.is_gzip() {
            true => Box::new(MultiGzDecoder::new(&*self.bytes)),
            false => Box::new(&*self.bytes),
        }
    }

    /// Returns whether the file starts with the gzip magic bytes.
    pub fn is_gzip(&self) -> bool {
        self.bytes.starts_with(&[0x1f, 0x8b])
    }

    /// Reads up to `limit` bytes from a stream of this file; corrupt compressed data is an error.
    pub fn read_up_to(&self, stream: &mut dyn Read, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match stream.take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            // A truncated gzip file gives this error after its last whole block; the bytes before it are valid.
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(bytes),
            Err(e) => Err(self
                .error(format!("the compressed data is damaged after {} bytes of content: {e}", bytes.len()))
                .hint("download the file again and compare its checksum")),
        }
    }
}
