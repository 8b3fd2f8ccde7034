//! Reading and writing of tensor files. Nothing in a file is ever executed, and the claims of a header are checked
//! against the length of the file.
//!
//! - [`TensorFile`]: a file of named tensors, opened without reading them; `content` is that of any file, and `parallel`
//!   reads its tensors by several threads
//! - [`safetensors`]: named tensors and texts, with a checksum; the format we write
//! - [`npy`]: one tensor, for NumPy; [`npz`]: several of them, whose rows can be read and written in parts
//! - [`pytorch`]: weights that `torch.save` wrote, read only; [`pickle`] reads its pickle, and `names` converts the
//!   keys to names

pub(crate) mod api;
mod content;
mod names;
pub mod npy;
pub mod npz;
mod open;
mod parallel;
pub mod pickle;
pub mod pytorch;
pub mod safetensors;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::{DType, Device, Tensor};
use crate::error::{Error, Result};
use crate::files::{self, Kind};

pub use npy::{load_npy, save_npy};
pub use npz::{Rows, save_npz, write_npz};
pub use open::{About, TensorFile};
pub use pytorch::load_pytorch;
pub use safetensors::{load_safetensors, parse_safetensors, save_safetensors};

/// Content of a file of named tensors.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Texts stored beside the tensors.
    pub metadata: BTreeMap<String, String>,
    /// Whether the file had a checksum, which was then correct.
    pub checked: bool,
    /// Notes for the user: what was skipped, and why.
    pub notes: Vec<String>,
}

/// Reads named tensors from a safetensors, PyTorch or npz file; the format is detected from the content.
pub fn load_named(path: &Path, device: Device) -> Result<Loaded> {
    TensorFile::open(path)?.load(|_| true, device)
}

/// What a file holds.
#[derive(Debug, Clone)]
pub enum Held {
    /// The one tensor of an npy file.
    One(Tensor),
    /// Named tensors.
    Named(Loaded),
}

/// Reads a file of one tensor or of several; the content decides which. A pipe is read once.
pub fn load_any(path: &Path, device: Device) -> Result<Held> {
    let mut file = content::Content::open(path)?;
    match open::kind_of(&mut file).map_err(|e| files::failed(path, &e))? {
        Some(Kind::Npy) => {
            let read = npy::read(file).and_then(|tensor| tensor.to_device(device));
            read.map(Held::One).map_err(|e| e.in_file(path))
        }
        _ => TensorFile::of(file, path)?.load(|_| true, device).map(Held::Named),
    }
}

/// Element type in a file: one of ours, or an unsigned integer, for which libtorch has few operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Native(DType),
    /// Unsigned integer of 2, 4 or 8 bytes, read into the next wider type, or int64.
    Unsigned(usize),
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::Native(dtype) => dtype.size(),
            Self::Unsigned(size) => size,
        }
    }

    /// Returns the dtype of tensors of this element type.
    fn dtype(self) -> DType {
        match self {
            Self::Native(dtype) => dtype,
            Self::Unsigned(2) => DType::Int32,
            Self::Unsigned(_) => DType::Int64,
        }
    }

    /// Reads a tensor from a file. The outer error is that of the tensor, the inner one that of the file.
    fn read(self, reader: &mut dyn Read, shape: &[i64]) -> Result<std::io::Result<Tensor>> {
        match self {
            Self::Native(dtype) if dtype != DType::Bool => Tensor::from_reader(reader, shape, dtype),
            _ => {
                let mut bytes = vec![0; shape.iter().product::<i64>() as usize * self.size()];
                match reader.read_exact(&mut bytes) {
                    Ok(()) => self.tensor(&bytes, shape).map(Ok),
                    Err(error) => Ok(Err(error)),
                }
            }
        }
    }

    /// Creates a tensor from untrusted bytes of a file.
    fn tensor(self, data: &[u8], shape: &[i64]) -> Result<Tensor> {
        match self {
            Self::Native(dtype) => from_file(data, shape, dtype),
            Self::Unsigned(2) => {
                let wide = data
                    .chunks_exact(2)
                    .flat_map(|c| i32::from(u16::from_ne_bytes([c[0], c[1]])).to_ne_bytes());
                from_file(&wide.collect::<Vec<u8>>(), shape, DType::Int32)
            }
            Self::Unsigned(size) => {
                let number = |c: &[u8]| c.iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
                let mut wide = Vec::with_capacity(data.len() * 8 / size);
                for value in data.chunks_exact(size).map(number) {
                    let value = i64::try_from(value).map_err(|_| {
                        Error::argument(format!("{value} of an unsigned 64-bit integer does not fit int64"))
                            .hint("convert the array to int64 or float64 where it was written")
                    })?;
                    wide.extend(value.to_ne_bytes());
                }
                from_file(&wide, shape, DType::Int64)
            }
        }
    }
}

/// Returns the error for a file of another kind than expected; names the actual kind if it is recognized.
fn not_a(own: Kind, found: Option<Kind>, otherwise: Error) -> Error {
    match found {
        Some(kind) if kind != own => {
            let found = format!("expected {}, found {}", own.describe(), kind.describe());
            Error::argument(found).hint(kind.advice())
        }
        _ => otherwise,
    }
}

/// Creates a tensor from untrusted bytes of a file.
fn from_file(data: &[u8], shape: &[i64], dtype: DType) -> Result<Tensor> {
    shape
        .iter()
        .try_fold(dtype.size() as i64, |n, s| n.checked_mul(*s))
        .filter(|bytes| *bytes >= 0)
        .ok_or_else(|| Error::argument(format!("shape {shape:?} is impossibly large")))?;
    match dtype {
        // A bool must be 0 or 1, but a byte of a file may be anything.
        DType::Bool => Tensor::from_bytes(data, shape, DType::UInt8)?.to_dtype(DType::Bool),
        other => Tensor::from_bytes(data, shape, other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn sample(dtype: DType) -> Tensor {
        Tensor::from_f64(&[0.0, 1.0, 2.0, 3.0, 1.0, 0.0], &[2, 3]).unwrap().to_dtype(dtype).unwrap()
    }

    #[test]
    fn equal_contents_are_equal_files_with_names_in_order() {
        let folder = folder();
        let dtypes = [DType::Int8, DType::Float32, DType::BFloat16, DType::Complex64];
        let tensors: BTreeMap<String, Tensor> =
            (0..9).map(|i| (format!("tensor.{i}"), sample(dtypes[i % 4]))).collect();
        let texts: BTreeMap<String, String> =
            (0..9).map(|i| (format!("text {i}"), "\"ü\"".to_string())).collect();
        let write = |name: &str| {
            let path = folder.path().join(name);
            save_safetensors(&path, &tensors, &texts).unwrap();
            std::fs::read(path).unwrap()
        };
        let bytes = write("first.safetensors");
        assert_eq!(bytes, write("second.safetensors"));
        // The library of the format understands them.
        let library = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(library.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!(library.tensor(name).unwrap().data(), tensor.to_bytes().unwrap(), "{name}");
        }
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(header % 8, 0);
        let header = String::from_utf8(bytes[8..header].to_vec()).unwrap();
        let places: Vec<usize> = texts.keys().map(|name| header.find(name.as_str()).unwrap()).collect();
        assert!(places.is_sorted(), "{header}");
    }

    /// A lazy conjugate or negation is part of the value, but not of the bytes in memory.
    #[test]
    fn lazy_conjugates_and_signs_are_written_and_read_out() {
        let folder = folder();
        let z = Tensor::from_f64(&[1.0, 2.0, 3.0, -4.0], &[2, 2]).unwrap();
        let z = crate::torch::call::call_one(
            "view_as_complex",
            &[crate::declare::IntoValue::into_value(z)],
            &Default::default(),
        )
        .unwrap();
        let conjugate = z.conj().unwrap();
        let imaginary = conjugate.imag().unwrap();
        assert_eq!(imaginary.to_f64().unwrap(), [-2.0, 4.0]);
        for (name, tensor) in [("z", &conjugate), ("imag", &imaginary)] {
            let path = folder.path().join(format!("{name}.npy"));
            save_npy(&path, tensor).unwrap();
            assert!(load_npy(&path, Device::Cpu).unwrap().equal(tensor).unwrap(), "{name}");
        }
    }

    #[test]
    fn unsigned_integers_become_the_next_wider_type() {
        let sixteen = Element::Unsigned(2).tensor(&[1, 0, 255, 255], &[2]).unwrap();
        assert_eq!((sixteen.dtype(), sixteen.to_i64().unwrap()), (DType::Int32, vec![1, 65535]));
        let thirty_two = Element::Unsigned(4).tensor(&[255; 4], &[]).unwrap();
        assert_eq!((thirty_two.dtype(), thirty_two.item_i64().unwrap()), (DType::Int64, 4294967295));
        let largest = i64::MAX.to_le_bytes();
        assert_eq!(Element::Unsigned(8).tensor(&largest, &[1]).unwrap().to_i64().unwrap(), [i64::MAX]);
        let error = Element::Unsigned(8).tensor(&[255; 8], &[1]).unwrap_err();
        assert!(error.message().contains("18446744073709551615"), "{error}");
    }

    #[test]
    fn every_dtype_survives_both_formats() {
        let folder = folder();
        for name in DType::NAMES {
            let tensor = sample(DType::named(name).unwrap());
            let path = folder.path().join(format!("{name}.npy"));
            match save_npy(&path, &tensor) {
                Ok(()) => assert!(load_npy(&path, Device::Cpu).unwrap().equal(&tensor).unwrap(), "{name}"),
                Err(_) => assert_eq!(name, "bfloat16"),
            }
            let path = folder.path().join(format!("{name}.safetensors"));
            let map = BTreeMap::from([("x".to_string(), tensor.clone())]);
            match save_safetensors(&path, &map, &BTreeMap::new()) {
                Ok(()) => {
                    let loaded = load_safetensors(&path, Device::Cpu).unwrap();
                    assert!(loaded.tensors["x"].equal(&tensor).unwrap(), "{name}");
                }
                Err(_) => assert_eq!(name, "complex128"),
            }
        }
    }
}
