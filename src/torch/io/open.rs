//! Files of named tensors, opened without reading the tensors.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Loaded;
use super::content::Content;
use super::npz::NpzFile;
use super::pytorch::PytorchFile;
use super::safetensors::SafetensorsFile;
use crate::declare::Map;
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::{DType, Device};

/// Shape and dtype of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Sizes of its dimensions.
    pub shape: Vec<i64>,
    /// Element type that it is read with.
    pub dtype: DType,
}

/// File of named tensors, which are read on demand: opening takes the time and memory of the header alone.
pub struct TensorFile {
    path: PathBuf,
    format: Format,
    /// Shape and dtype of every tensor, by name.
    pub tensors: BTreeMap<String, About>,
    /// Texts stored beside the tensors.
    pub metadata: BTreeMap<String, String>,
    /// Numbers, texts, lists and maps beside the tensors of a PyTorch file, also the attributes of an
    /// `argparse.Namespace`.
    pub settings: Map,
}

enum Format {
    Npz(NpzFile),
    Pytorch(PytorchFile),
    Safetensors(SafetensorsFile),
}

impl std::fmt::Debug for TensorFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {} tensors", self.path.display(), self.tensors.len())
    }
}

impl TensorFile {
    /// Opens a safetensors, PyTorch or npz file; the format is detected from the content.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(Content::open(path)?, path)
    }

    /// Opens the content of a file.
    pub(super) fn of(mut file: Content, path: &Path) -> Result<Self> {
        let kind = kind_of(&mut file).map_err(|e| files::failed(path, &e))?;
        Ok(match kind {
            Some(Kind::PyTorch | Kind::Pickle | Kind::Zip) => {
                let file = PytorchFile::open(file, path)?;
                Self {
                    path: path.to_path_buf(),
                    tensors: file.tensors(),
                    metadata: BTreeMap::new(),
                    settings: file.settings.clone(),
                    format: Format::Pytorch(file),
                }
            }
            Some(Kind::Npz) => {
                let file = NpzFile::open(file, path)?;
                Self {
                    path: path.to_path_buf(),
                    tensors: file.tensors(),
                    metadata: BTreeMap::new(),
                    settings: Map::new(),
                    format: Format::Npz(file),
                }
            }
            Some(other) if other != Kind::Safetensors => {
                let found = format!("expected a file of named tensors, found {}", other.describe());
                return Err(Error::file(path, found).hint(match other {
                    Kind::Npy => "safetensors, .pt and .npz files hold named tensors; `tensor::load(path)` reads one alone",
                    other => other.advice(),
                }));
            }
            _ => {
                let file = SafetensorsFile::open(file, path)?;
                Self {
                    path: path.to_path_buf(),
                    tensors: file.tensors(),
                    metadata: file.metadata(),
                    settings: Map::new(),
                    format: Format::Safetensors(file),
                }
            }
        })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the tensors whose names are `wanted` by several threads, straight into their memory.
    ///
    /// The checksum of a safetensors file, which covers all tensors, is verified; that of an entry of a PyTorch or npz
    /// file too.
    pub fn load(&mut self, wanted: impl Fn(&str) -> bool, device: Device) -> Result<Loaded> {
        match &mut self.format {
            Format::Npz(file) => file.load(&wanted, &self.path, device),
            Format::Pytorch(file) => file.load(&wanted, &self.path, device),
            Format::Safetensors(file) => file.load(&wanted, &self.path, device),
        }
    }
}

/// Size up to which a file is recognized from its whole content.
const SMALL: u64 = 1 << 20;

/// Number of bytes at each end of a larger file from which it is recognized.
const ENDS: u64 = 1 << 16;

/// Returns the type of a file, and leaves the position at its start.
pub(super) fn kind_of(source: &mut Content) -> std::io::Result<Option<Kind>> {
    let length = source.length();
    source.rewind()?;
    let mut bytes = Vec::new();
    if length <= SMALL {
        source.read_to_end(&mut bytes)?;
    } else {
        source.by_ref().take(ENDS).read_to_end(&mut bytes)?;
        let header = bytes.first_chunk::<8>().map(|first| u64::from_le_bytes(*first));
        if bytes.get(8) == Some(&b'{') && header.is_some_and(|header| header <= length - 8) {
            source.rewind()?;
            return Ok(Some(Kind::Safetensors));
        }
        source.seek(SeekFrom::End(-(ENDS as i64)))?;
        source.by_ref().take(ENDS).read_to_end(&mut bytes)?;
    }
    source.rewind()?;
    Ok(files::recognize(&bytes))
}
