//! Files of `torch.save` (`.pt`, `.pth`): a zip of a pickle and the bytes of each tensor, read without Python.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use super::names::{self, Step};
use super::pickle::{self, Item, Pickle, Place};
use super::{Element, Loaded, not_a};
use crate::declare::Value;
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::call::call_one;
use crate::torch::{DType, Device, Tensor};

/// Names in nested dictionaries are joined by dots down to this depth.
const DEEPEST: usize = 16;

/// More values than any model has; a small pickle can refer to one value over and over.
const MOST_VALUES: usize = 1 << 20;

/// So many bytes beyond four times the file may tensors take that view the same elements.
const SPARE: i64 = 1 << 30;

/// So many of the objects that were passed over are named.
const NAMED: usize = 8;

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

/// The names of elements that have no storage type of their own.
const DTYPES: [(&str, Element); 15] = [
    ("torch.float32", Element::Native(DType::Float32)),
    ("torch.float64", Element::Native(DType::Float64)),
    ("torch.float16", Element::Native(DType::Float16)),
    ("torch.bfloat16", Element::Native(DType::BFloat16)),
    ("torch.int64", Element::Native(DType::Int64)),
    ("torch.int32", Element::Native(DType::Int32)),
    ("torch.int16", Element::Native(DType::Int16)),
    ("torch.int8", Element::Native(DType::Int8)),
    ("torch.uint8", Element::Native(DType::UInt8)),
    ("torch.bool", Element::Native(DType::Bool)),
    ("torch.complex64", Element::Native(DType::Complex64)),
    ("torch.complex128", Element::Native(DType::Complex128)),
    ("torch.uint16", Element::Unsigned(2)),
    ("torch.uint32", Element::Unsigned(4)),
    ("torch.uint64", Element::Unsigned(8)),
];

/// The functions that describe a tensor by its storage.
const REBUILD: [&str; 3] =
    ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"];
/// Those that describe one by another, their first argument.
const PARAMETER: [&str; 2] =
    ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"];
/// The one that describes a tensor with attributes: a function, a class, arguments and the attributes.
const WITH_CLASS: &str = "torch._tensor._rebuild_from_type_v2";
/// The classes that mean nothing beyond a tensor.
const PLAIN: [&str; 4] =
    ["torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"];

/// Reads a file of `torch.save`; names in nested dictionaries are joined by dots, and what is no tensor is left out.
pub fn load_pytorch(path: &Path, device: Device) -> Result<Loaded> {
    parse_pytorch(files::read(path)?, path, device)
}

/// Reads the content of a file of `torch.save`; `path` is what messages call it.
///
/// Objects that are no tensors and hold none are passed over and named in the notes.
pub fn parse_pytorch(bytes: Vec<u8>, path: &Path, device: Device) -> Result<Loaded> {
    let read = || -> Result<Loaded> {
        match files::recognize(&bytes) {
            Some(Kind::Pickle) => {
                return Err(Error::argument(
                    "the file is a bare pickle, such as PyTorch wrote before version 1.6",
                )
                .hint("load it in Python and save it again with a current `torch.save`, or as safetensors"));
            }
            Some(Kind::PyTorch | Kind::Zip) => {}
            _ => {
                let unknown = Error::argument("the file is not one of PyTorch");
                return Err(not_a(Kind::PyTorch, &bytes, unknown));
            }
        }
        let mut archive = Archive::open(&bytes)?;
        let pickle = pickle::parse(&archive.entry("data.pkl")?)?;
        let mut reader = Reader::new(&pickle, bytes.len() as i64);
        reader.collect(&mut archive, pickle.root, &mut Vec::new())?;
        let notes = reader.note().into_iter().collect();
        let tensors = reader.found.into_iter().map(|(name, (t, _))| Ok((name, t.to_device(device)?)));
        Ok(Loaded { tensors: tensors.collect::<Result<_>>()?, notes, ..Loaded::default() })
    };
    read().map_err(|e| {
        e.recast(|error| {
            let named = Error::file(path, error.message());
            match error.hint_text() {
                Some(hint) => named.hint(hint),
                None => named,
            }
        })
    })
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
            .ok_or_else(|| match zip.file_names().any(|name| name.ends_with(".npy")) {
                true => Error::argument("expected a file of `torch.save`, found an archive of numpy (npz)")
                    .hint("save each array by itself with `numpy.save`, or all as safetensors"),
                false => {
                    Error::argument("the zip file has no `data.pkl`, so that `torch.save` did not write it")
                }
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
    /// Whether a place holds a tensor, or elements of one.
    holds_tensors: Vec<bool>,
    /// Whether a place holds a name or what a call would make.
    holds_objects: Vec<bool>,
    storages: BTreeMap<String, (Element, Tensor)>,
    found: BTreeMap<String, (Tensor, String)>,
    /// Objects that were passed over: where they are and what they are.
    passed: Vec<(String, String)>,
    seen: usize,
    /// How many bytes further tensors may take.
    left: i64,
}

impl<'a> Reader<'a> {
    fn new(pickle: &'a Pickle, size: i64) -> Self {
        Self {
            pickle,
            holds_tensors: pickle.holding(|item| matches!(item, Item::Stored(_))),
            holds_objects: pickle.holding(|item| matches!(item, Item::Global(..) | Item::Made { .. })),
            storages: BTreeMap::new(),
            found: BTreeMap::new(),
            passed: Vec::new(),
            seen: 0,
            left: size.saturating_mul(4).saturating_add(SPARE),
        }
    }

    fn item(&self, place: Place) -> &'a Item {
        self.pickle.item(place)
    }

    /// Walks through dictionaries and lists; `path` is the steps on the way.
    fn collect(&mut self, archive: &mut Archive, place: Place, path: &mut Vec<Step>) -> Result<()> {
        let tensors = self.holds_tensors[place];
        // Numbers and texts are left out without a word, however many there are.
        if !tensors && (!self.holds_objects[place] || self.passed.len() > NAMED || path.len() > DEEPEST) {
            return Ok(());
        }
        self.seen += 1;
        if self.seen > MOST_VALUES || path.len() > DEEPEST {
            return Err(Error::argument(format!(
                "the pickle holds more than {MOST_VALUES} values, or dictionaries more than {DEEPEST} deep"
            )));
        }
        let entries: Vec<(Step, Place)> = match self.item(place) {
            Item::Dict(pairs) => {
                pairs.iter().map(|(key, value)| (Step::key(self.pickle, *key), *value)).collect()
            }
            Item::List(items) | Item::Tuple(items) => {
                items.iter().enumerate().map(|(i, value)| (Step::entry(i), *value)).collect()
            }
            Item::Stored(about) => {
                let elements =
                    self.storage(archive, *about, None).map_err(|e| e.context(names::python(path)))?;
                return self.keep(elements, path);
            }
            Item::Made { function, .. } => {
                let made_by = self.pickle.name(*function).unwrap_or_default();
                if is_tensor(&made_by) {
                    let tensor = self.tensor(archive, place, 0);
                    let tensor = tensor.map_err(|e| e.context(format!("`{}`", names::name(path))))?;
                    return self.keep(tensor, path);
                }
                if tensors {
                    return Err(Error::argument(format!(
                        "`{}` is made by `{made_by}`, which is not loaded, and holds tensors",
                        names::name(path)
                    ))
                    .hint(
                        "only tensors in dictionaries and lists are read, and nothing is executed; save \
                         `model.state_dict()` alone, or convert the file to safetensors in Python",
                    ));
                }
                self.passed.push((names::name(path), made_by));
                return Ok(());
            }
            Item::Global(..) => {
                self.passed.push((names::name(path), self.pickle.name(place).unwrap_or_default()));
                return Ok(());
            }
            _ => return Ok(()),
        };
        for (step, value) in entries {
            path.push(step);
            self.collect(archive, value, path)?;
            path.pop();
        }
        Ok(())
    }

    /// Adds a tensor under the name of its path.
    fn keep(&mut self, tensor: Tensor, path: &[Step]) -> Result<()> {
        let (name, python) = (names::name(path), names::python(path));
        match self.found.get(&name) {
            Some((_, other)) => Err(Error::argument(format!(
                "two tensors would have the name `{name}`: {other} and {python}"
            ))
            .hint("rename one of the keys in Python, and save the file again")),
            None => {
                self.found.insert(name, (tensor, python));
                Ok(())
            }
        }
    }

    /// What is said of the objects that were passed over.
    fn note(&self) -> Option<String> {
        let named: Vec<String> =
            self.passed.iter().take(NAMED).map(|(name, what)| format!("`{name}` ({what})")).collect();
        let more = if self.passed.len() > NAMED { ", and more" } else { "" };
        match (named.is_empty(), self.found.is_empty()) {
            (true, false) => None,
            (true, true) => Some("the file holds no tensors".to_string()),
            _ => Some(format!(
                "passed over what is not a tensor and was not executed: {}{more}",
                named.join(", ")
            )),
        }
    }

    /// The tensor that a call describes.
    fn tensor(&mut self, archive: &mut Archive, place: Place, depth: usize) -> Result<Tensor> {
        let wrong = || Error::argument("a tensor is described in a way that is not known");
        let Item::Made { function, arguments, .. } = self.item(place) else { return Err(wrong()) };
        let mut name = self.pickle.name(*function).unwrap_or_default();
        let mut arguments = self.tuple(*arguments).ok_or_else(wrong)?;
        if name == WITH_CLASS {
            let [inner, class, given, ..] = arguments[..] else { return Err(wrong()) };
            let class = self.pickle.name(class).unwrap_or_default();
            if !PLAIN.contains(&class.as_str()) {
                return Err(Error::argument(format!(
                    "it is a tensor of the class `{class}`, which is not loaded"
                ))
                .hint("save it as a plain tensor: `x.as_subclass(torch.Tensor)`"));
            }
            name = self.pickle.name(inner).unwrap_or_default();
            arguments = self.tuple(given).ok_or_else(wrong)?;
        }
        if PARAMETER.contains(&name.as_str()) {
            // A parameter of a parameter is nothing that PyTorch writes.
            return match arguments.first() {
                Some(data) if depth == 0 => self.tensor(archive, *data, 1),
                _ => Err(wrong()),
            };
        }
        let version = REBUILD.iter().position(|known| *known == name).ok_or_else(|| {
            Error::argument(format!("it is made by `{name}`, which is not loaded"))
                .hint("sparse, quantized and nested tensors are not read; make it dense before it is saved")
        })?;
        let [storage, offset, shape, strides, ..] = arguments[..] else { return Err(wrong()) };
        let (Item::Stored(about), Item::Int(offset)) = (self.item(storage), self.item(offset)) else {
            return Err(wrong());
        };
        let (about, offset) = (*about, *offset);
        let shape = self.sizes(shape).ok_or_else(wrong)?;
        let strides = self.sizes(strides).ok_or_else(wrong)?;
        let element = match (version, arguments.get(6)) {
            (2, Some(dtype)) => Some(self.dtype(*dtype)?),
            (2, None) => return Err(wrong()),
            _ => None,
        };
        let lazy = self.lazy(arguments.get(if version == 2 { 7 } else { 6 }).copied())?;
        let storage = self.storage(archive, about, element)?;
        let count = shape.iter().try_fold(1i64, |n, size| n.checked_mul(*size));
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |at, (size, stride)| (size - 1).max(0).checked_mul(*stride)?.checked_add(at));
        let held = storage.count() as i64;
        let fits = match (count, last) {
            (Some(0), _) => true,
            (Some(_), Some(last)) => last < held,
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
        // An element may serve many times, as in an expanded mask, but a small file is not to fill the memory.
        let bytes = count.and_then(|n| n.checked_mul(storage.dtype().size() as i64)).unwrap_or(i64::MAX);
        if bytes > self.left {
            return Err(Error::argument(format!(
                "shape {shape:?} with strides {strides:?} repeats {held} elements into more memory than the file is \
                 believed to need"
            ))
            .hint("save the tensor before it is expanded"));
        }
        self.left -= bytes;
        let list = |numbers: &[i64]| Value::List(numbers.iter().map(|n| Value::Int(*n)).collect());
        let values =
            [Value::Object(std::sync::Arc::new(storage)), list(&shape), list(&strides), Value::Int(offset)];
        let mut tensor = call_one("as_strided", &values, &Default::default())?.copy()?.contiguous()?;
        for operator in lazy {
            tensor = call_one(operator, &[Value::Object(std::sync::Arc::new(tensor))], &Default::default())?;
        }
        Ok(tensor)
    }

    fn tuple(&self, place: Place) -> Option<Vec<Place>> {
        match self.item(place) {
            Item::Tuple(items) => Some(items.clone()),
            _ => None,
        }
    }

    /// The operators that carry out what a tensor had put off: its elements are stored as they were before.
    fn lazy(&self, metadata: Option<Place>) -> Result<Vec<&'static str>> {
        let Some(metadata) = metadata else { return Ok(Vec::new()) };
        let pairs = match self.item(metadata) {
            Item::None => return Ok(Vec::new()),
            Item::Dict(pairs) => pairs,
            _ => return Err(Error::argument("a tensor is described in a way that is not known")),
        };
        let mut operators = Vec::new();
        for (key, value) in pairs {
            match (self.item(*key), self.item(*value)) {
                (_, Item::Bool(false)) => {}
                (Item::Str(key), Item::Bool(true)) if key == "conj" => operators.push("conj_physical"),
                (Item::Str(key), Item::Bool(true)) if key == "neg" => operators.push("neg"),
                (key, _) => {
                    return Err(Error::argument(format!(
                        "the tensor has a property that is not known: {key:?}"
                    )));
                }
            }
        }
        Ok(operators)
    }

    /// The element type that `torch.uint16` and the like name.
    fn dtype(&self, place: Place) -> Result<Element> {
        let name = self.pickle.name(place).unwrap_or_default();
        DTYPES.iter().find(|(known, _)| *known == name).map(|(_, element)| *element).ok_or_else(|| {
            Error::argument(format!("its elements are `{name}`, which is not supported"))
                .hint("convert it to float32 before it is saved")
        })
    }

    fn sizes(&self, place: Place) -> Option<Vec<i64>> {
        let (Item::Tuple(items) | Item::List(items)) = self.item(place) else { return None };
        let size = |place: &Place| match self.item(*place) {
            Item::Int(size) if *size >= 0 => Some(*size),
            _ => None,
        };
        items.iter().map(size).collect()
    }

    /// The elements that `("storage", type, key, place, count)` describes, in one dimension; a storage without a type of
    /// its own takes `element`.
    fn storage(&mut self, archive: &mut Archive, about: Place, element: Option<Element>) -> Result<Tensor> {
        let wrong = || Error::argument("a storage is described in a way that is not known");
        let Item::Tuple(parts) = self.item(about) else { return Err(wrong()) };
        let [word, kind, key, place, count] = parts[..] else { return Err(wrong()) };
        let (Item::Str(word), Item::Str(key), Item::Str(_), Item::Int(count)) =
            (self.item(word), self.item(key), self.item(place), self.item(count))
        else {
            return Err(wrong());
        };
        if word != "storage" {
            return Err(wrong());
        }
        let kind = self.pickle.name(kind).unwrap_or_default();
        let untyped = ["torch.storage.UntypedStorage", "torch.UntypedStorage"].contains(&kind.as_str());
        let (element, size) = match (STORAGES.iter().find(|(name, _)| *name == kind), element) {
            (Some((_, dtype)), None) => (Element::Native(*dtype), dtype.size()),
            (None, Some(element)) if untyped => (element, 1),
            (None, None) if untyped => (Element::Native(DType::UInt8), 1),
            (None, _) => {
                return Err(Error::argument(format!("its storage is a `{kind}`, which is not supported"))
                    .hint("convert it to float32 before it is saved"));
            }
            _ => return Err(wrong()),
        };
        if let Some((_, known)) = self.storages.get(key).filter(|(known, _)| *known == element) {
            return Ok(known.clone());
        }
        let bytes = archive.entry(&format!("data/{key}"))?;
        let found = bytes.len() as i64;
        if count.checked_mul(size as i64) != Some(found) || !bytes.len().is_multiple_of(element.size()) {
            return Err(Error::argument(format!(
                "storage {key} should hold {count} elements of {}, found {found} bytes",
                match element {
                    Element::Native(dtype) if !untyped => dtype.name(),
                    _ => "an unsigned type",
                },
            )));
        }
        let tensor = element.tensor(&bytes, &[found / element.size() as i64])?;
        self.storages.insert(key.clone(), (element, tensor.clone()));
        Ok(tensor)
    }
}

/// Whether a function describes a tensor; those with a class decide by their first argument.
fn is_tensor(name: &str) -> bool {
    REBUILD.contains(&name) || PARAMETER.contains(&name) || name == WITH_CLASS
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

    /// Objects of classes beside the weights, some of which would do harm if they were made.
    #[test]
    fn what_is_no_tensor_is_passed_over_and_named() {
        let harmful = std::env::temp_dir().join(format!("spectral-harm-{}", std::process::id()));
        let mut w = Writer::new();
        w.raw(b"}(").text("ema").raw(b"}").text("w").tensor(&[1.0, 2.0], 0, &[2], &[1]).raw(b"s");
        w.text("args").raw(b"cargparse\nNamespace\n)\x81}").text("lr").raw(b"K\x01sb");
        w.text("path").raw(b"cpathlib\nPosixPath\n(").text("a").raw(b"tR");
        w.text("color").raw(b"c__main__\nColor\nK\x01\x85R");
        w.text("act").raw(b"c__main__\n<lambda>\n");
        w.text("day").raw(b"cdatetime\ndate\nC\x04\x07\xe9\x01\x02\x85R");
        w.text("seed").raw(b"\x8a\x09\xfb\xff\xff\xff\xff\xff\xff\xff\x00");
        w.text("exploit")
            .raw(b"cposix\nsystem\n")
            .text(&format!("touch {}", harmful.display()))
            .raw(b"\x85R");
        w.text("inside").raw(b"](cbuiltins\neval\n").text("1/0").raw(b"\x85Reu");
        let loaded = read(w.finish()).unwrap();
        assert_eq!(loaded.tensors.keys().collect::<Vec<_>>(), ["ema.w"]);
        let [note] = &loaded.notes[..] else { panic!("{:?}", loaded.notes) };
        for named in [
            "`args` (argparse.Namespace)",
            "`path` (pathlib.PosixPath)",
            "`color` (__main__.Color)",
            "`act` (__main__.<lambda>)",
            "`day` (datetime.date)",
            "`exploit` (posix.system)",
            "`inside.0` (builtins.eval)",
        ] {
            assert!(note.contains(named), "{note}");
        }
        assert!(!note.contains("seed") && !harmful.exists());
    }

    #[test]
    fn a_tensor_inside_a_foreign_object_is_an_error() {
        let mut w = Writer::new();
        w.raw(b"}")
            .text("net")
            .raw(b"c__main__\nNet\n)\x81}")
            .text("w")
            .tensor(&[1.0], 0, &[1], &[1])
            .raw(b"sbs");
        let error = read(w.finish()).unwrap_err();
        assert!(
            error.message().contains("`net` is made by `__main__.Net`, which is not loaded, and holds"),
            "{error}"
        );
        // A tensor of a class that may mean anything by its elements.
        let mut w = Writer::new();
        w.raw(b"}")
            .text("w")
            .raw(b"ctorch._utils\n_rebuild_sparse_tensor\n(")
            .tensor(&[1.0], 0, &[1], &[1])
            .raw(b"tRs");
        assert!(read(w.finish()).unwrap_err().message().contains("`torch._utils._rebuild_sparse_tensor`"));
    }

    #[test]
    fn lazy_conjugates_and_signs_are_carried_out() {
        let complex = |metadata: &[(&str, bool)]| {
            let mut w = Writer::new();
            w.storages.push([1.0f32, 2.0, 3.0, -4.0].iter().flat_map(|x| x.to_le_bytes()).collect());
            w.raw(b"}").text("z").raw(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage");
            w.raw(b"ctorch\nComplexFloatStorage\n").text("0").text("cpu").int(2).raw(b"tQ").int(0);
            w.ints(&[2]).ints(&[1]).raw(b"\x89ccollections\nOrderedDict\n)R}(");
            for (key, value) in metadata {
                w.text(key).raw(if *value { b"\x88" } else { b"\x89" });
            }
            w.raw(b"utRs");
            read(w.finish()).map(|loaded| format!("{:?}", loaded.tensors["z"].to_nested().unwrap()))
        };
        assert_eq!(complex(&[]).unwrap(), "[[1.0, 2.0], [3.0, -4.0]]");
        assert_eq!(complex(&[("conj", true)]).unwrap(), "[[1.0, -2.0], [3.0, 4.0]]");
        assert_eq!(complex(&[("conj", false), ("neg", true)]).unwrap(), "[[-1.0, -2.0], [-3.0, 4.0]]");
        assert_eq!(complex(&[("conj", true), ("neg", true)]).unwrap(), "[[-1.0, 2.0], [-3.0, -4.0]]");
        assert!(complex(&[("zero", true)]).unwrap_err().message().contains("not known"));
    }

    #[test]
    fn keys_of_any_type_become_names_and_two_of_one_name_are_an_error() {
        let mut w = Writer::new();
        w.raw(b"}(G").raw(&0.5f64.to_be_bytes()).tensor(&[1.0], 0, &[1], &[1]);
        w.ints(&[1, 2]).tensor(&[2.0], 0, &[1], &[1]);
        w.raw(b"N").tensor(&[3.0], 0, &[1], &[1]).raw(b"\x88").tensor(&[4.0], 0, &[1], &[1]);
        w.raw(b"cm\nColor\nK\x03\x85R").tensor(&[5.0], 0, &[1], &[1]).raw(b"u");
        let found = read(w.finish()).unwrap().tensors;
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, ["(1, 2)", "0.5", "None", "True", "m.Color(3)"]);
        let mut w = Writer::new();
        w.raw(b"}(").text("a").raw(b"}").text("b").tensor(&[1.0], 0, &[1], &[1]).raw(b"s");
        w.text("a.b").tensor(&[2.0], 0, &[1], &[1]).raw(b"u");
        let error = read(w.finish()).unwrap_err();
        let expected = "w.pt: two tensors would have the name `a.b`: [\"a\"][\"b\"] and [\"a.b\"]";
        assert_eq!(error.message(), expected);
    }

    #[test]
    fn bare_tensors_lists_and_views_of_any_stride_are_read() {
        let only = |offset, shape: &[i32], strides: &[i32]| {
            let mut w = Writer::new();
            w.tensor(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], offset, shape, strides);
            read(w.finish()).unwrap().tensors["tensor"].to_f32().unwrap()
        };
        assert_eq!(only(3, &[2], &[1]), [3.0, 4.0]);
        assert_eq!(only(5, &[], &[]), [5.0]);
        // Expanded, and overlapping as `unfold` leaves it.
        assert_eq!(only(0, &[2, 3], &[0, 1]), [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
        assert_eq!(only(1, &[3, 2], &[1, 1]), [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        assert_eq!(only(2, &[4], &[0]), [2.0; 4]);
        let mut w = Writer::new();
        w.raw(b"(").tensor(&[1.0], 0, &[1], &[1]).tensor(&[2.0], 0, &[1], &[1]).raw(b"t");
        assert_eq!(read(w.finish()).unwrap().tensors.keys().collect::<Vec<_>>(), ["0", "1"]);
    }

    #[test]
    fn tensors_with_attributes_and_of_unsigned_integers_are_read() {
        let mut w = Writer::new();
        w.raw(b"}(")
            .text("p")
            .raw(b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\n");
        w.raw(b"ctorch.nn.parameter\nParameter\n((").text("storage").raw(b"ctorch\nFloatStorage\n");
        w.storages.push(1.5f32.to_le_bytes().to_vec());
        w.text("0").text("cpu").int(1).raw(b"tQ").int(0).ints(&[1]).ints(&[1]).raw(b"\x89}t}tR");
        w.text("u").raw(b"ctorch._utils\n_rebuild_tensor_v3\n((").text("storage");
        w.storages.push(vec![1, 0, 255, 255]);
        w.raw(b"ctorch.storage\nUntypedStorage\n").text("1").text("cpu").int(4).raw(b"tQ").int(0);
        w.ints(&[2]).ints(&[1]).raw(b"\x89}ctorch\nuint16\ntRu");
        let found = read(w.finish()).unwrap().tensors;
        assert_eq!(found["p"].to_f32().unwrap(), [1.5]);
        assert_eq!(found["u"].to_i64().unwrap(), [1, 65535]);
    }

    #[test]
    fn tensors_that_claim_more_than_they_have_are_refused() {
        for (offset, shape, strides) in [
            (0, &[3][..], &[1][..]),
            (1, &[2], &[1]),
            (0, &[i32::MAX, 1 << 20], &[0, 0]),
            (1, &[2, 2], &[0, 1]),
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
        assert!(read(w.finish()).unwrap().tensors.is_empty());
        let mut w = Writer::new();
        w.raw(b"]q\x00(h\x00").tensor(&[1.0], 0, &[1], &[1]).raw(b"e");
        assert!(read(w.finish()).unwrap_err().message().contains("deep"));
        // Each list holds the one before it twice.
        let mut w = Writer::new();
        w.raw(b"]q\x00").tensor(&[1.0], 0, &[1], &[1]).raw(b"a");
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
