//! safetensors files: named tensors and texts.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensorError, TensorInfo};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::content::Content;
use super::open::kind_of;
use super::{About, Element, Loaded, not_a, parallel};
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::{DType, Device, Tensor, interrupt, uninterrupted};

/// Element types that both safetensors and we support, with both names.
const DTYPES: [(Dtype, DType); 11] = [
    (Dtype::F32, DType::Float32),
    (Dtype::F64, DType::Float64),
    (Dtype::F16, DType::Float16),
    (Dtype::BF16, DType::BFloat16),
    (Dtype::I64, DType::Int64),
    (Dtype::I32, DType::Int32),
    (Dtype::I16, DType::Int16),
    (Dtype::I8, DType::Int8),
    (Dtype::U8, DType::UInt8),
    (Dtype::BOOL, DType::Bool),
    (Dtype::C64, DType::Complex64),
];

/// Key of the text that holds the checksum of everything else in the file.
const DIGEST: &str = "spectral.sha256";

/// Key used by earlier versions. Other programs also write texts under this key.
const OLD_DIGEST: &str = "sha256";

/// Keys of texts that only we write; most of our files have one of them.
const OURS: [&str; 3] = ["spectral", "config", "vae"];

/// Entry of the header that holds the texts; no tensor can have this name.
const TEXTS: &str = "__metadata__";

/// Unsigned integer types, which can be read but not written.
const UNSIGNED: [(Dtype, Element); 3] = [
    (Dtype::U16, Element::Unsigned(2)),
    (Dtype::U32, Element::Unsigned(4)),
    (Dtype::U64, Element::Unsigned(8)),
];

/// Writes tensors and texts atomically as one safetensors file, with a checksum of its content.
pub fn save_safetensors(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    files::check_extension(path, &["safetensors"])?;
    if tensors.contains_key(TEXTS) {
        return Err(Error::argument(format!(
            "a tensor in a safetensors file cannot have the name `{TEXTS}`"
        ))
        .hint("the format keeps its texts under this name; give the tensor another one"));
    }
    if metadata.contains_key(DIGEST) {
        return Err(Error::argument(format!("a text beside tensors cannot have the name `{DIGEST}`"))
            .hint("the file's checksum is kept under this name; give the text another one"));
    }
    let described =
        tensors.iter().map(|(name, tensor)| match DTYPES.iter().find(|(_, d)| *d == tensor.dtype()) {
            Some((dtype, _)) => Ok((name, tensor, *dtype)),
            None => Err(Error::argument(format!("`{name}`: safetensors has no {}", tensor.dtype().name()))
                .hint("convert it first: `.to(\"complex64\")`")),
        });
    let mut described = described.collect::<Result<Vec<_>>>()?;
    // A checkpoint is needed most after an interrupt.
    uninterrupted(|| {
        // The checksum precedes the tensors in the file, so their bytes are needed twice, but only one at a time.
        let mut hash = Hash::of(metadata);
        for (name, tensor, dtype) in &described {
            let bytes = tensor.to_bytes()?;
            hash.tensor(name, *dtype, &sizes(tensor), bytes.len());
            hash.0.update(&bytes);
        }
        let mut texts = metadata.clone();
        texts.insert(DIGEST.to_string(), hash.finish());
        // As the library does: larger elements first, so that all are aligned.
        described.sort_by_key(|(_, _, dtype)| Reverse(*dtype));
        let header = header(&texts, &described).map_err(|e| Error::file(path, e.to_string()))?;
        files::write_with(path, |file| {
            let failed = |e: std::io::Error| files::failed(path, &e);
            let length = (header.len() as u64).to_le_bytes();
            [&length, header.as_slice()]
                .iter()
                .try_for_each(|bytes| file.write_all(bytes))
                .map_err(failed)?;
            described
                .iter()
                .try_for_each(|(_, tensor, _)| file.write_all(&tensor.to_bytes()?).map_err(failed))
        })
    })
}

fn sizes(tensor: &Tensor) -> Vec<usize> {
    tensor.shape().iter().map(|size| *size as usize).collect()
}

/// Returns the header of tensors that follow one another.
fn header(
    texts: &BTreeMap<String, String>,
    tensors: &[(&String, &Tensor, Dtype)],
) -> serde_json::Result<Vec<u8>> {
    let mut entries = BTreeMap::from([(TEXTS, serde_json::to_value(texts)?)]);
    let mut start = 0;
    for (name, tensor, dtype) in tensors {
        let end = start + tensor.bytes() as usize;
        let about = TensorInfo { dtype: *dtype, shape: sizes(tensor), data_offsets: (start, end) };
        entries.insert(name, serde_json::to_value(about)?);
        start = end;
    }
    sorted(&serde_json::to_vec(&entries)?)
}

/// Returns a header with its names in order, padded with spaces that keep the data aligned.
fn sorted(header: &[u8]) -> serde_json::Result<Vec<u8>> {
    let sorted: BTreeMap<String, BTreeMap<String, serde_json::Value>> = serde_json::from_slice(header)?;
    let mut text = serde_json::to_vec(&sorted)?;
    text.resize(text.len().next_multiple_of(size_of::<u64>()), b' ');
    Ok(text)
}

/// Returns whether a header is written as ours are; other programs use another order.
fn is_ours(header: &[u8], texts: &BTreeMap<String, String>) -> bool {
    OURS.iter().any(|name| texts.contains_key(*name)) || sorted(header).is_ok_and(|sorted| sorted == header)
}

/// Reads a safetensors file onto `device`.
pub fn load_safetensors(path: &Path, device: Device) -> Result<Loaded> {
    SafetensorsFile::open(Content::open(path)?, path)?.load(&|_| true, path, device)
}

/// SHA-256 of the texts and of every tensor's name, dtype, shape and bytes, in the order of their names.
#[derive(Default)]
struct Hash(Sha256);

impl Hash {
    fn of(texts: &BTreeMap<String, String>) -> Self {
        let mut hash = Self::default();
        for (name, text) in texts {
            hash.part(name.as_bytes());
            hash.part(text.as_bytes());
        }
        hash
    }

    fn part(&mut self, bytes: &[u8]) {
        // The length makes the hashed stream unambiguous.
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds everything of a tensor but its bytes, which must follow.
    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], length: usize) {
        self.part(name.as_bytes());
        self.part(format!("{dtype:?} {shape:?}").as_bytes());
        self.0.update((length as u64).to_le_bytes());
    }

    fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Parses the content of a safetensors file; `path` is used in messages.
///
/// A checksum is verified if there is one; other programs write none.
pub fn parse_safetensors(bytes: &[u8], path: &Path, device: Device) -> Result<Loaded> {
    SafetensorsFile::open(bytes.to_vec().into(), path)?.load(&|_| true, path, device)
}

/// Header of a safetensors file.
#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default)]
    texts: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

impl Header {
    /// Checks that the tensors fill `length` bytes, each the place of its shape and dtype.
    fn check(&self, length: u64) -> std::result::Result<(), SafeTensorError> {
        let mut tensors: Vec<(&String, &TensorInfo)> = self.tensors.iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        let mut start = 0;
        for (name, info) in tensors {
            let (from, to) = info.data_offsets;
            if from != start || to < from {
                return Err(SafeTensorError::InvalidOffset(name.clone()));
            }
            start = to;
            let count = info.shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
            let bits = count.and_then(|count| count.checked_mul(info.dtype.bitsize()));
            if bits.ok_or(SafeTensorError::ValidationOverflow)? != 8 * (to - from) {
                return Err(SafeTensorError::TensorInvalidInfo);
            }
        }
        match start as u64 == length {
            true => Ok(()),
            false => Err(SafeTensorError::MetadataIncompleteBuffer),
        }
    }
}

/// Number of bytes that are read and hashed at once.
const HASHED_AT_ONCE: usize = 256 << 10;

/// Maximum length of a header, that of the format.
const LONGEST_HEADER: u64 = 100_000_000;

/// Part of the work of reading a file.
enum Part {
    Hash(String),
    Tensor(Tensor),
}

/// Open safetensors file: the tensors are known, but not read.
pub(super) struct SafetensorsFile {
    source: Content,
    /// Tensors with their element types.
    entries: BTreeMap<String, (TensorInfo, Element)>,
    /// Position of the first tensor.
    start: u64,
    texts: BTreeMap<String, String>,
    header: Vec<u8>,
}

impl SafetensorsFile {
    /// Reads the header, and checks that its tensors fill the file.
    pub fn open(mut source: Content, path: &Path) -> Result<Self> {
        let failed = |e: std::io::Error| files::failed(path, &e);
        let length = source.length();
        source.rewind().map_err(failed)?;
        let (mut first, mut header) = ([0; 8], Vec::new());
        let mut read = |source: &mut Content| -> std::result::Result<Header, SafeTensorError> {
            let short = |_| SafeTensorError::HeaderTooSmall;
            source.read_exact(&mut first).map_err(short)?;
            let size = u64::from_le_bytes(first);
            if size > LONGEST_HEADER {
                return Err(SafeTensorError::HeaderTooLarge);
            }
            if size > length - 8 {
                return Err(SafeTensorError::InvalidHeaderLength);
            }
            source.take(size).read_to_end(&mut header).map_err(short)?;
            let text = std::str::from_utf8(&header).map_err(SafeTensorError::InvalidHeader)?;
            let all: Header =
                serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
            all.check(length - 8 - size)?;
            Ok(all)
        };
        let all = match read(&mut source) {
            Ok(all) => all,
            Err(e) => {
                let otherwise = Error::argument(describe(&e))
                    .hint("the file may be cut short, or not be a safetensors file");
                let kind = kind_of(&mut source).map_err(failed)?;
                return Err(not_a(Kind::Safetensors, kind, otherwise).in_file(path));
            }
        };
        let mut entries = BTreeMap::new();
        for (name, info) in all.tensors {
            let native = DTYPES.iter().map(|(dtype, native)| (*dtype, Element::Native(*native)));
            let known = native.chain(UNSIGNED).find(|(dtype, _)| *dtype == info.dtype);
            let Some((_, element)) = known else {
                return Err(Error::file(
                    path,
                    format!("`{name}` is of dtype {:?}, which is not supported", info.dtype),
                )
                .hint("convert it to float32 or bfloat16 before it is saved"));
            };
            entries.insert(name, (info, element));
        }
        let start = 8 + header.len() as u64;
        Ok(Self { source, entries, start, texts: all.texts.unwrap_or_default(), header })
    }

    /// Returns the shape and dtype of every tensor.
    pub fn tensors(&self) -> BTreeMap<String, About> {
        let about = |(info, element): &(TensorInfo, Element)| About {
            shape: info.shape.iter().map(|size| *size as i64).collect(),
            dtype: element.dtype(),
        };
        self.entries.iter().map(|(name, entry)| (name.clone(), about(entry))).collect()
    }

    /// Returns the texts without our checksum.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let mut texts = self.texts.clone();
        texts.remove(DIGEST);
        texts
    }

    /// Reads the tensors whose names are `wanted`, and verifies the checksum of the file if it has one.
    pub fn load(&mut self, wanted: &dyn Fn(&str) -> bool, path: &Path, device: Device) -> Result<Loaded> {
        let mut texts = self.texts.clone();
        let mut written = texts.remove(DIGEST);
        let old = if written.is_none() { texts.remove(OLD_DIGEST) } else { None };
        // The checksum is the first part of the work: it reads everything once more, but only one thread has to.
        let checked = usize::from(written.is_some() || old.is_some());
        let wanted: Vec<_> = self.entries.iter().filter(|(name, _)| wanted(name)).collect();
        let length = |info: &TensorInfo| (info.data_offsets.1 - info.data_offsets.0) as u64;
        let bytes = wanted.iter().map(|(_, (info, _))| length(info)).sum::<u64>();
        let bytes = bytes + checked as u64 * self.source.length();
        let failed = |e: std::io::Error| files::failed(path, &e);
        let read = |source: &mut Content, part: usize| {
            let Some(part) = part.checked_sub(checked) else {
                return Ok(Part::Hash(self.hash(source, &texts)?.map_err(failed)?));
            };
            let (name, (info, element)) = wanted[part];
            let shape: Vec<i64> = info.shape.iter().map(|s| *s as i64).collect();
            self.seek(source, info).map_err(failed)?;
            element
                .read(source, &shape)
                .and_then(|read| read.map_err(failed))
                .and_then(|tensor| tensor.to_device(device))
                .map(Part::Tensor)
                .map_err(|e| e.context(format!("`{name}`")).in_file(path))
        };
        let (mut tensors, mut found) = (BTreeMap::new(), None);
        parallel::in_order(&self.source, (checked + wanted.len(), bytes), read, |part, read| {
            match read {
                Part::Hash(hash) => found = Some(hash),
                Part::Tensor(tensor) => drop(tensors.insert(wanted[part - checked].0.clone(), tensor)),
            }
            Ok(())
        })?;
        let mut right = written == found;
        if let Some(old) = old {
            right = found.as_ref() == Some(&old);
            match right || is_ours(&self.header, &texts) {
                true => written = Some(old),
                // A text of another program, with a meaning of its own.
                false => drop(texts.insert(OLD_DIGEST.to_string(), old)),
            }
        }
        if written.is_some() && !right {
            return Err(Error::file(path, "the content does not match its checksum")
                .hint("the file was damaged after it was written; use another copy of it"));
        }
        Ok(Loaded { tensors, metadata: texts, checked: written.is_some(), ..Loaded::default() })
    }

    fn seek(&self, source: &mut Content, info: &TensorInfo) -> std::io::Result<u64> {
        source.seek(SeekFrom::Start(self.start + info.data_offsets.0 as u64))
    }

    /// Reads all tensors, and returns the checksum of them and the texts. The outer error is an interrupt.
    fn hash(
        &self,
        source: &mut Content,
        texts: &BTreeMap<String, String>,
    ) -> Result<std::io::Result<String>> {
        let (mut hash, mut some) = (Hash::of(texts), vec![0; HASHED_AT_ONCE]);
        for (name, (info, _)) in &self.entries {
            let mut left = info.data_offsets.1 - info.data_offsets.0;
            hash.tensor(name, info.dtype, &info.shape, left);
            let mut result = self.seek(source, info).map(drop);
            while left > 0 && result.is_ok() {
                interrupt::check()?;
                let count = left.min(some.len());
                result = source.read_exact(&mut some[..count]);
                hash.0.update(&some[..count]);
                left -= count;
            }
            if let Err(error) = result {
                return Ok(Err(error));
            }
        }
        Ok(Ok(hash.finish()))
    }
}

fn describe(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::InvalidHeader(_) | SafeTensorError::InvalidHeaderDeserialization(_) => {
            "the header is not that of a safetensors file".to_string()
        }
        SafeTensorError::HeaderTooLarge => "the header claims to be larger than 100 MB".to_string(),
        SafeTensorError::HeaderTooSmall => {
            "the file is shorter than any safetensors file (8 bytes)".to_string()
        }
        SafeTensorError::InvalidHeaderLength => "the header is longer than the file".to_string(),
        SafeTensorError::TensorInvalidInfo => {
            "a tensor's shape does not match its place in the file".to_string()
        }
        SafeTensorError::InvalidOffset(name) => format!("`{name}` claims a place that is not its own"),
        SafeTensorError::MetadataIncompleteBuffer => {
            "the tensors in the header do not fill the file exactly".to_string()
        }
        SafeTensorError::ValidationOverflow => "a tensor claims an impossible size".to_string(),
        other => format!("{other:?}"),
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
    fn scalars_empty_tensors_and_texts_survive() {
        let path = folder().path().join("a/b.safetensors");
        let scalar = Tensor::scalar(2.5, DType::Float64, Device::Cpu).unwrap();
        let empty = Tensor::zeros(&[0, 3], DType::Int64, Device::Cpu).unwrap();
        let tensors = BTreeMap::from([("scalar".to_string(), scalar.clone()), ("empty".to_string(), empty)]);
        let texts = BTreeMap::from([("note".to_string(), "hello".to_string())]);
        save_safetensors(&path, &tensors, &texts).unwrap();
        let loaded = load_safetensors(&path, Device::Cpu).unwrap();
        assert_eq!(loaded.metadata, texts);
        assert_eq!(loaded.tensors["empty"].shape(), [0, 3]);
        assert!(loaded.tensors["scalar"].equal(&scalar).unwrap());
    }

    /// A file as another program writes it: the header's entries in another order, with spaces between them.
    fn foreign(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn reserved_names_are_refused_and_nothing_is_written() {
        let path = folder().path().join("x.safetensors");
        let one = |name: &str| BTreeMap::from([(name.to_string(), sample(DType::Float32))]);
        let text = |name: &str| BTreeMap::from([(name.to_string(), "mine".to_string())]);
        let error = save_safetensors(&path, &one("__metadata__"), &BTreeMap::new()).unwrap_err();
        assert!(error.message().contains("cannot have the name `__metadata__`"), "{error}");
        let error = save_safetensors(&path, &one("w"), &text("spectral.sha256")).unwrap_err();
        assert!(error.message().contains("cannot have the name `spectral.sha256`"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_checksum_of_another_program_is_a_text() {
        let path = folder().path().join("x.safetensors");
        let sums = ["0".repeat(64), "A sum of something".to_string()];
        for sum in sums {
            let header = format!(
                r#"{{"__metadata__": {{"format": "pt", "sha256": "{sum}"}}, "w": {{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}}}"#
            );
            let loaded = parse_safetensors(&foreign(&header, &[0; 4]), &path, Device::Cpu).unwrap();
            assert_eq!((loaded.metadata["sha256"].as_str(), loaded.checked), (sum.as_str(), false));
        }
        let mine = BTreeMap::from([("sha256".to_string(), "mine".to_string())]);
        let map = BTreeMap::from([("x".to_string(), sample(DType::Float32))]);
        save_safetensors(&path, &map, &mine).unwrap();
        let loaded = load_safetensors(&path, Device::Cpu).unwrap();
        assert_eq!((loaded.metadata, loaded.checked), (mine, true));
    }

    /// Files of versions that named the checksum `sha256`, including all fixtures.
    #[test]
    fn our_old_checksum_is_still_compared() {
        let data = 2.5f32.to_le_bytes();
        let texts = BTreeMap::from([("note".to_string(), "hello".to_string())]);
        let mut hash = Hash::of(&texts);
        hash.tensor("w", Dtype::F32, &[1], data.len());
        hash.0.update(data);
        let sum = hash.finish();
        let header = format!(
            r#"{{"__metadata__":{{"note":"hello","sha256":"{sum}"}},"w":{{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}}}"#
        );
        let header = String::from_utf8(sorted(header.as_bytes()).unwrap()).unwrap();
        let mut bytes = foreign(&header, &data);
        let loaded = parse_safetensors(&bytes, Path::new("old"), Device::Cpu).unwrap();
        assert_eq!((loaded.metadata, loaded.checked), (texts, true));
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        let error = parse_safetensors(&bytes, Path::new("old"), Device::Cpu).unwrap_err();
        assert!(error.message().contains("does not match its checksum"), "{error}");
        let fixture = Path::new("tests/fixtures/pieces.safetensors");
        assert!(!load_safetensors(fixture, Device::Cpu).unwrap().metadata.contains_key("sha256"));
    }

    #[test]
    fn unsigned_integers_are_read_wider() {
        let header = r#"{"a":{"dtype":"U16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"U32","shape":[1],"data_offsets":[4,8]},"c":{"dtype":"U64","shape":[1],"data_offsets":[8,16]}}"#;
        let data = [1, 0, 255, 255, 255, 255, 255, 255, 7, 0, 0, 0, 0, 0, 0, 0];
        let read = |data: &[u8]| parse_safetensors(&foreign(header, data), Path::new("u"), Device::Cpu);
        let loaded = read(&data).unwrap();
        assert_eq!(loaded.tensors["a"].to_i64().unwrap(), [1, 65535]);
        assert_eq!(loaded.tensors["b"].to_i64().unwrap(), [4294967295]);
        assert_eq!(loaded.tensors["c"].to_i64().unwrap(), [7]);
        assert!(read(&[255; 16]).unwrap_err().message().starts_with("u: `c`: 18446744073709551615"));
    }

    #[test]
    fn files_of_other_kinds_are_named() {
        let message =
            |bytes: &[u8]| parse_safetensors(bytes, Path::new("x"), Device::Cpu).unwrap_err().to_string();
        let torch = [b"PK\x03\x04".as_slice(), &[0; 26], b"archive/data.pkl"].concat();
        assert!(message(&torch).contains("found a file of PyTorch (`torch.save`)"));
        assert!(message(b"version https://git-lfs.github.com/spec/v1").contains("git lfs pull"));
        assert!(message(b"<!DOCTYPE html>").contains("found a web page"));
        assert!(message(b"").contains("found an empty file"));
    }

    #[test]
    fn broken_safetensors_files_are_refused() {
        let folder = folder();
        let path = folder.path().join("x.safetensors");
        let map = BTreeMap::from([("x".to_string(), sample(DType::Float32))]);
        save_safetensors(&path, &map, &BTreeMap::new()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = load_safetensors(&path, Device::Cpu).unwrap_err();
            assert!(error.message().contains("x.safetensors"), "{error}");
        }
        let header = br#"{"x":{"dtype":"F32","shape":[1000000000000000000],"data_offsets":[0,4]}}"#;
        let mut lying = (header.len() as u64).to_le_bytes().to_vec();
        lying.extend(header);
        lying.extend([0; 4]);
        std::fs::write(&path, lying).unwrap();
        assert!(load_safetensors(&path, Device::Cpu).is_err());
        let with_header = |length: u64, header: &[u8]| {
            let bytes = [&length.to_le_bytes(), header].concat();
            parse_safetensors(&bytes, &path, Device::Cpu).unwrap_err().message()
        };
        assert!(with_header(u64::MAX, b"{}").contains("larger than 100 MB"));
        assert!(with_header(1 << 20, b"{}").contains("longer than the file"));
        let deep = vec![b'['; 100_000];
        assert!(with_header(deep.len() as u64, &deep).contains("not that of a safetensors file"));
        let missing = load_safetensors(&folder.path().join("none"), Device::Cpu).unwrap_err();
        assert!(missing.message().ends_with("there is no such file or folder"), "{missing}");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let path = folder().path().join("x.safetensors");
        let map = BTreeMap::from([("x".to_string(), sample(DType::Float32))]);
        save_safetensors(&path, &map, &BTreeMap::from([("note".to_string(), "hello".to_string())])).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = parse_safetensors(&bytes, &path, Device::Cpu);
            // A corrupted key of the checksum leaves a file without a checksum.
            assert!(read.is_err() || read.is_ok_and(|l| !l.checked), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(parse_safetensors(&bytes, &path, Device::Cpu).unwrap().checked);
    }
}
