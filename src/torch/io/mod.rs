//! Tensors in files. Nothing in a file is ever executed, and what a header claims is believed only as far
//! as the file is long.
//!
//! - [`safetensors`]: named tensors and texts, with a checksum; what we write
//! - [`npy`]: one tensor, for numpy
//! - [`pytorch`]: weights that `torch.save` wrote, read only; its pickle is read by [`pickle`]

pub mod npy;
pub mod pickle;
pub mod pytorch;
pub mod safetensors;

use std::collections::BTreeMap;
use std::path::Path;

use super::{DType, Device, Tensor};
use crate::error::{Error, Result};
use crate::files;

pub use npy::{load_npy, save_npy};
pub use pytorch::load_pytorch;
pub use safetensors::{load_safetensors, parse_safetensors, save_safetensors};

/// What a file of named tensors holds.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The texts stored beside them.
    pub metadata: BTreeMap<String, String>,
    /// Whether the file had a checksum, which then was right.
    pub checked: bool,
}

/// Reads named tensors from a safetensors file or one of PyTorch's; the content says which it is.
pub fn load_named(path: &Path, device: Device) -> Result<Loaded> {
    parse_named(files::read(path)?, path, device)
}

/// As [`load_named`] from the content of a file; `path` is what messages call it.
pub fn parse_named(bytes: Vec<u8>, path: &Path, device: Device) -> Result<Loaded> {
    match pytorch::is_pytorch(&bytes) {
        true => pytorch::parse_pytorch(bytes, path, device),
        false => parse_safetensors(&bytes, path, device),
    }
}

/// A tensor from the bytes of a file, which may hold anything.
fn from_file(data: &[u8], shape: &[i64], dtype: DType) -> Result<Tensor> {
    shape
        .iter()
        .try_fold(dtype.size() as i64, |n, s| n.checked_mul(*s))
        .filter(|bytes| *bytes >= 0)
        .ok_or_else(|| Error::argument(format!("shape {shape:?} is impossibly large")))?;
    match dtype {
        // A bool is 0 or 1, and a file's byte is neither for certain.
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
        let tensors: BTreeMap<String, Tensor> =
            (0..9).map(|i| (format!("tensor.{i}"), sample(DType::Float32))).collect();
        let texts: BTreeMap<String, String> =
            (0..9).map(|i| (format!("text {i}"), "\"ü\"".to_string())).collect();
        let write = |name: &str| {
            let path = folder.path().join(name);
            save_safetensors(&path, &tensors, &texts).unwrap();
            std::fs::read(path).unwrap()
        };
        let bytes = write("first.safetensors");
        assert_eq!(bytes, write("second.safetensors"));
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(header % 8, 0);
        let header = String::from_utf8(bytes[8..header].to_vec()).unwrap();
        let places: Vec<usize> = texts.keys().map(|name| header.find(name.as_str()).unwrap()).collect();
        assert!(places.is_sorted(), "{header}");
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
