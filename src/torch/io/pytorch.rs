//! Files of `torch.save` (`.pt`, `.pth`): a zip of a pickle and the bytes of each tensor, read without Python.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{self, GLOBALS, Item, Pickle, Place};
use super::{Loaded, from_file};
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::files;
use crate::torch::call::call_one;
use crate::torch::{DType, Device, Tensor};

/// Names in nested dictionaries are joined by dots down to this depth.
const DEEPEST: usize = 16;

/// More values than any model has; a small pickle can refer to one value over and over.
const MOST_VALUES: usize = 1 << 20;

/// Element types by the name of their storage.
const STORAGES: [(&str, DType); 12] = [
    ("torch.FloatStorage", DType::Float32),
    ("torch.DoubleStorage", DType::Float64),
    ("torch.HalfStorage", DType::Float16),
    ("torch.BFloat16Storage", DType::BFloat16),
    ("torch.LongStorage", DType::Int64),
    ("torch.IntStorage", DType::Int32),
    ("torch.ShortStorage", DType::Int16),
    ("torch.CharStorage", DType::Int8),
    ("torch.ByteStorage", DType::UInt8),
    ("torch.BoolStorage", DType::Bool),
    ("torch.ComplexFloatStorage", DType::Complex64),
    ("torch.ComplexDoubleStorage", DType::Complex128),
];

/// Reads a file of `torch.save`; names in nested dictionaries are joined by dots, and what is no tensor is left out.
pub fn load_pytorch(path: &Path, device: Device) -> Result<Loaded> {
    parse_pytorch(files::read(path)?, path, device)
}

/// Whether the content is of `torch.save`, new or old.
pub(super) fn is_pytorch(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02")
}

/// Reads the content of a file of `torch.save`; `path` is what messages call it.
pub fn parse_pytorch(bytes: Vec<u8>, path: &Path, device: Device) -> Result<Loaded> {
    let read = || -> Result<BTreeMap<String, Tensor>> {
        if bytes.starts_with(b"\x80\x02") {
            return Err(Error::argument("the file is in PyTorch's format from before version 1.6")
                .hint("load it in Python and save it again with a current `torch.save`, or as safetensors"));
        }
        let mut archive = Archive::open(&bytes)?;
        let pickle = pickle::parse(&archive.entry("data.pkl")?)?;
        let mut reader =
            Reader { pickle: &pickle, storages: BTreeMap::new(), found: BTreeMap::new(), seen: 0 };
        reader.collect(&mut archive, pickle.root, &mut Vec::new())?;
        reader.found.into_iter().map(|(name, t)| Ok((name, t.to_device(device)?))).collect()
    };
    let tensors = read().map_err(|e| {
        e.recast(|error| {
            let named = Error::file(path, error.message());
            match error.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            }
        })
    })?;
    Ok(Loaded { tensors, ..Loaded::default() })
}

/// The entries of the zip file, which all lie in one folder.
struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
    size: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let zip =
            ZipArchive::new(Cursor::new(bytes)).map_err(|e| unreadable("the zip file", &e.to_string()))?;
        let folder = zip
            .file_names()
            .filter_map(|name| name.strip_suffix("data.pkl"))
            .min_by_key(|folder| folder.len())
            .map(str::to_string)
            .ok_or_else(|| {
                Error::argument("the zip file has no `data.pkl`, so that `torch.save` did not write it")
            })?;
        let mut archive = Self { zip, folder, size: bytes.len() as u64 };
        if archive.zip.file_names().any(|name| name.ends_with("/constants.pkl")) {
            return Err(Error::argument("the file is a program of TorchScript, not weights")
                .hint("save `model.state_dict()` with `torch.save`"));
        }
        let order = format!("{}byteorder", archive.folder);
        if archive.zip.file_names().any(|name| name == order) && archive.entry("byteorder")? != b"little" {
            return Err(Error::argument("the file was written on a machine of the other byte order"));
        }
        Ok(archive)
    }

    /// The bytes of an entry, whose checksum is compared.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>> {
        let full = format!("{}{name}", self.folder);
        let entry = self.zip.by_name(&full).map_err(|e| unreadable(&format!("`{full}`"), &e.to_string()))?;
        if entry.compression() != CompressionMethod::Stored || entry.size() > self.size {
            return Err(Error::argument(format!("`{full}` is compressed or larger than the file"))
                .hint("`torch.save` stores entries as they are; the file was changed afterwards"));
        }
        let mut bytes = Vec::with_capacity(entry.size() as usize);
        let size = entry.size();
        entry
            .take(size + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| unreadable(&format!("`{full}`"), &e.to_string()))?;
        match bytes.len() as u64 == size {
            true => Ok(bytes),
            false => Err(unreadable(&format!("`{full}`"), "it is cut short")),
        }
    }
}

fn unreadable(what: &str, why: &str) -> Error {
    Error::argument(format!("{what} cannot be read: {}", why.to_lowercase()))
        .hint("the file may be cut short or damaged")
}

/// Finds the tensors of a pickle.
struct Reader<'a> {
    pickle: &'a Pickle,
    storages: BTreeMap<String, Tensor>,
    found: BTreeMap<String, Tensor>,
    seen: usize,
}

impl Reader<'_> {
    fn item(&self, place: Place) -> &Item {
        self.pickle.values.get(place).unwrap_or(&Item::None)
    }

    /// Walks through dictionaries and lists; `path` is the names on the way.
    fn collect(&mut self, archive: &mut Archive, place: Place, path: &mut Vec<String>) -> Result<()> {
        self.seen += 1;
        if self.seen > MOST_VALUES || path.len() > DEEPEST {
            return Err(Error::argument(format!(
                "the pickle holds more than {MOST_VALUES} values, or dictionaries more than {DEEPEST} deep"
            )));
        }
        let entries: Vec<(String, Place)> = match self.item(place) {
            Item::Dict(pairs) => pairs
                .iter()
                .filter_map(|(key, value)| match self.item(*key) {
                    Item::Str(name) => Some((name.clone(), *value)),
                    Item::Int(number) => Some((number.to_string(), *value)),
                    _ => None,
                })
                .collect(),
            Item::List(items) | Item::Tuple(items) => {
                items.iter().enumerate().map(|(i, value)| (i.to_string(), *value)).collect()
            }
            Item::Made(..) => {
                let name = path.join(".");
                let tensor = self.tensor(archive, place, 0).map_err(|e| e.context(format!("`{name}`")))?;
                self.found.insert(name, tensor);
                return Ok(());
            }
            _ => return Ok(()),
        };
        for (name, value) in entries {
            path.push(name);
            self.collect(archive, value, path)?;
            path.pop();
        }
        Ok(())
    }

    /// The tensor that a call describes.
    fn tensor(&mut self, archive: &mut Archive, place: Place, depth: usize) -> Result<Tensor> {
        let wrong = || Error::argument("a tensor is described in a way that is not known");
        let Item::Made(name, arguments) = self.item(place) else { return Err(wrong()) };
        if *name == "torch._utils._rebuild_parameter" {
            // A parameter of a parameter is nothing that PyTorch writes.
            return match arguments.first() {
                Some(data) if depth == 0 => self.tensor(archive, *data, 1),
                _ => Err(wrong()),
            };
        }
        let [storage, offset, shape, strides, ..] = arguments[..] else { return Err(wrong()) };
        let (Item::Stored(about), Item::Int(offset)) = (self.item(storage), self.item(offset)) else {
            return Err(wrong());
        };
        let (about, offset) = (*about, *offset);
        let shape = self.sizes(shape).ok_or_else(wrong)?;
        let strides = self.sizes(strides).ok_or_else(wrong)?;
        let storage = self.storage(archive, about)?;
        // The last element must lie in the storage, and no element may serve twice, so that a tensor is never larger
        // than its bytes in the file.
        let count = shape.iter().try_fold(1i64, |n, size| n.checked_mul(*size));
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |at, (size, stride)| (size - 1).max(0).checked_mul(*stride)?.checked_add(at));
        let held = storage.count() as i64;
        let fits = match (count, last) {
            (Some(0), _) => true,
            (Some(count), Some(last)) => count <= held && last < held,
            _ => false,
        };
        if shape.len() != strides.len() || offset < 0 || !fits {
            return Err(Error::argument(format!(
                "shape {shape:?} with strides {strides:?} from element {offset} does not fit its {held} elements"
            )));
        }
        if count == Some(0) {
            return Tensor::zeros(&shape, storage.dtype(), Device::Cpu);
        }
        let list = |numbers: &[i64]| Value::List(numbers.iter().map(|n| Value::Int(*n)).collect());
        let values =
            [Value::Object(std::sync::Arc::new(storage)), list(&shape), list(&strides), Value::Int(offset)];
        call_one("as_strided", &values, &Default::default())?.copy()?.contiguous()
    }

    fn sizes(&self, place: Place) -> Option<Vec<i64>> {
        let (Item::Tuple(items) | Item::List(items)) = self.item(place) else { return None };
        let size = |place: &Place| match self.item(*place) {
            Item::Int(size) if *size >= 0 => Some(*size),
            _ => None,
        };
        items.iter().map(size).collect()
    }

    /// The elements that `("storage", type, key, place, count)` describes, in one dimension.
    fn storage(&mut self, archive: &mut Archive, about: Place) -> Result<Tensor> {
        let wrong = || Error::argument("a storage is described in a way that is not known");
        let Item::Tuple(parts) = self.item(about) else { return Err(wrong()) };
        let parts: Vec<&Item> = parts.iter().map(|part| self.item(*part)).collect();
        let [Item::Str(word), Item::Global(kind), Item::Str(key), Item::Str(_), Item::Int(count)] = parts[..]
        else {
            return Err(wrong());
        };
        let kind = GLOBALS.get(*kind).copied().unwrap_or_default();
        let Some((_, dtype)) = STORAGES.iter().find(|(name, _)| *name == kind) else { return Err(wrong()) };
        if word != "storage" {
            return Err(wrong());
        }
        if let Some(known) =
            self.storages.get(key).filter(|t| t.dtype() == *dtype && t.count() as i64 == *count)
        {
            return Ok(known.clone());
        }
        let (key, count) = (key.clone(), *count);
        let bytes = archive.entry(&format!("data/{key}"))?;
        if count.checked_mul(dtype.size() as i64) != Some(bytes.len() as i64) {
            return Err(Error::argument(format!(
                "storage {key} should hold {count} elements of {}, found {} bytes",
                dtype.name(),
                bytes.len()
            )));
        }
        let tensor = from_file(&bytes, &[count], *dtype)?;
        self.storages.insert(key, tensor.clone());
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// Writes a file as `torch.save` lays it out.
    struct Writer {
        pickle: Vec<u8>,
        storages: Vec<Vec<u8>>,
        method: CompressionMethod,
    }

    impl Writer {
        fn new() -> Self {
            Self { pickle: b"\x80\x02".to_vec(), storages: Vec::new(), method: CompressionMethod::Stored }
        }

        fn raw(&mut self, bytes: &[u8]) -> &mut Self {
            self.pickle.extend(bytes);
            self
        }

        fn text(&mut self, text: &str) -> &mut Self {
            self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
        }

        fn int(&mut self, number: i32) -> &mut Self {
            self.raw(b"J").raw(&number.to_le_bytes())
        }

        fn ints(&mut self, numbers: &[i32]) -> &mut Self {
            self.raw(b"(");
            for number in numbers {
                self.int(*number);
            }
            self.raw(b"t")
        }

        /// A tensor over a new storage of `floats`.
        fn tensor(&mut self, floats: &[f32], offset: i32, shape: &[i32], strides: &[i32]) -> &mut Self {
            let key = self.storages.len().to_string();
            self.storages.push(floats.iter().flat_map(|x| x.to_le_bytes()).collect());
            self.raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage").raw(b"ctorch\nFloatStorage\n");
            self.text(&key).text("cpu").int(floats.len() as i32).raw(b"tQ").int(offset);
            self.ints(shape).ints(strides).raw(b"\x89ccollections\nOrderedDict\n)RtR")
        }

        fn finish(&self) -> Vec<u8> {
            let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
            let options = zip::write::FileOptions::default().compression_method(self.method);
            let mut add = |name: &str, bytes: &[u8]| {
                zip.start_file(format!("weights/{name}"), options).unwrap();
                zip.write_all(bytes).unwrap();
            };
            add("data.pkl", &[&self.pickle[..], b"."].concat());
            add("byteorder", b"little");
            for (key, bytes) in self.storages.iter().enumerate() {
                add(&format!("data/{key}"), bytes);
            }
            zip.finish().unwrap().into_inner()
        }
    }

    fn read(bytes: Vec<u8>) -> Result<Loaded> {
        parse_pytorch(bytes, Path::new("w.pt"), Device::Cpu)
    }

    /// `{"model": {"a": 2 x 2, transposed, "b": a slice}, "step": 7, "list": [a scalar]}`.
    fn nested() -> Writer {
        let mut w = Writer::new();
        w.raw(b"}(").text("model").raw(b"ccollections\nOrderedDict\n)Rq\x00(");
        w.text("a").tensor(&[1.0, 2.0, 3.0, 4.0], 0, &[2, 2], &[1, 2]);
        w.text("b").tensor(&[9.0, 5.0, 6.0], 1, &[2], &[1]);
        w.raw(b"u").raw(b"}").raw(b"b").text("step").int(7).text("list").raw(b"](");
        w.tensor(&[8.0], 0, &[], &[]).raw(b"eu");
        w
    }

    #[test]
    fn nested_dictionaries_strides_and_slices_are_read() {
        let found = read(nested().finish()).unwrap().tensors;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["list.0", "model.a", "model.b"]);
        assert_eq!(found["model.a"].to_f32().unwrap(), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(found["model.b"].to_f32().unwrap(), [5.0, 6.0]);
        assert_eq!((found["list.0"].shape(), found["list.0"].item().unwrap()), (vec![], 8.0));
    }

    /// A state dictionary as Python's own pickler writes it, with parameters, views of one storage, an optimizer and
    /// numbers.
    #[test]
    fn a_pickle_of_python_is_read() {
        let bytes = include_bytes!("../../../tests/fixtures/state_dict.pt").to_vec();
        let found = read(bytes).unwrap().tensors;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        let expected = [
            "model.column",
            "model.half",
            "model.transposed",
            "model.whole",
            "optimizer.state.0.step",
            "optimizer.state.1.mask",
        ];
        assert_eq!(names, expected);
        assert_eq!(found["model.whole"].to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(found["model.transposed"].to_f32().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(found["model.column"].to_f32().unwrap(), [1.0, 4.0]);
        assert_eq!(
            (found["model.half"].dtype(), found["model.half"].to_f32().unwrap()),
            (DType::BFloat16, vec![1.0, -2.0])
        );
        assert_eq!(found["optimizer.state.0.step"].to_i64().unwrap(), [-1, 0, 1 << 40]);
        assert_eq!(found["optimizer.state.1.mask"].dtype(), DType::Bool);
    }

    #[test]
    fn tensors_that_claim_more_than_they_have_are_refused() {
        for (offset, shape, strides) in [
            (0, &[3][..], &[1][..]),
            (1, &[2], &[1]),
            (0, &[1000000], &[0]),
            (0, &[2], &[1000000]),
            (-1, &[1], &[1]),
            (0, &[2, 1], &[1]),
            (0, &[i32::MAX, i32::MAX, i32::MAX], &[1, 1, 1]),
        ] {
            let mut w = Writer::new();
            w.raw(b"}").text("w").tensor(&[1.0, 2.0], offset, shape, strides).raw(b"s");
            let error = read(w.finish()).unwrap_err();
            assert!(error.message().starts_with("w.pt: `w`: shape"), "{error}");
        }
        let mut w = Writer::new();
        w.raw(b"}").text("w").tensor(&[1.0, 2.0], 0, &[2], &[1]).raw(b"s");
        w.storages[0].pop();
        assert!(
            read(w.finish()).unwrap_err().message().contains("should hold 2 elements of float32, found 7")
        );
    }

    #[test]
    fn programs_old_files_and_compressed_ones_are_named() {
        let mut w = Writer::new();
        w.raw(b"cposix\nsystem\n").text("touch /tmp/here").raw(b"\x85R");
        let error = read(w.finish()).unwrap_err();
        assert!(error.message().contains("names `posix.system`, which is not loaded"), "{error}");
        let old = [&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], &[0; 64]].concat();
        assert!(read(old).unwrap_err().message().contains("before version 1.6"));
        let mut pages = nested();
        pages.pickle = b"\x80\x02N".to_vec();
        assert!(read(pages.finish()).unwrap().tensors.is_empty());
        pages.method = CompressionMethod::Deflated;
        assert!(read(pages.finish()).unwrap_err().message().contains("is compressed"));
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(
            "readme.txt",
            zip::write::FileOptions::default().compression_method(CompressionMethod::Stored),
        )
        .unwrap();
        let other = zip.finish().unwrap().into_inner();
        assert!(read(other).unwrap_err().message().contains("no `data.pkl`"));
    }

    #[test]
    fn a_value_that_holds_itself_comes_to_an_end() {
        let mut w = Writer::new();
        w.raw(b"]q\x00h\x00a");
        assert!(read(w.finish()).unwrap_err().message().contains("deep"));
        // Each list holds the one before it twice.
        let mut w = Writer::new();
        w.raw(b"]q\x00");
        for i in 0..15u8 {
            w.raw(b"](").raw(&[b'h', i]).raw(&[b'h', i]).raw(&[b'h', i]).raw(b"e").raw(&[b'q', i + 1]);
        }
        assert!(read(w.finish()).unwrap_err().message().contains("values"));
    }

    #[test]
    fn cut_and_flipped_files_never_panic() {
        let whole = nested().finish();
        let expected = read(whole.clone()).unwrap().tensors;
        for length in 0..whole.len() {
            assert!(read(whole[..length].to_vec()).is_err(), "{length} bytes");
        }
        let mut bytes = whole;
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            // The zip file's checksums cover what an entry holds; what is read all the same is what was written.
            if let Ok(loaded) = read(bytes.clone()) {
                for (name, tensor) in &loaded.tensors {
                    assert!(tensor.equal(&expected[name]).unwrap(), "bit {bit}: {name}");
                }
            }
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
