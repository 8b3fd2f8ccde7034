//! Files of `torch.save` (`.pt`, `.pth`): a zip of a pickle and the bytes of each tensor, read without Python.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

use super::content::Content;
use super::names::{self, Step};
use super::open::kind_of;
use super::pickle::{self, Item, Pickle, Place};
use super::{About, Element, Loaded, not_a, parallel};
use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::files::{self, Kind};
use crate::torch::call::call_one;
use crate::torch::{DType, Device, Tensor};

/// Maximum depth of nested dictionaries whose names are joined by dots.
const DEEPEST: usize = 16;

/// Maximum number of values, more than any model has; a small pickle can refer to one value over and over.
const MOST_VALUES: usize = 1 << 20;

/// Bytes that tensors may take beyond four times the file size when they view the same elements.
const SPARE: i64 = 1 << 30;

/// Maximum number of skipped objects that are named.
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

/// Element types by name, for storages without a type of their own.
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

/// Functions that describe a tensor by its storage.
const REBUILD: [&str; 3] =
    ["torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"];
/// Functions that describe a tensor by another one, their first argument.
const PARAMETER: [&str; 2] =
    ["torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"];
/// Function that describes a tensor with attributes by a function, a class, arguments and the attributes.
const WITH_CLASS: &str = "torch._tensor._rebuild_from_type_v2";
/// Classes that add nothing to a tensor.
const PLAIN: [&str; 4] =
    ["torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer"];

/// Reads a file of `torch.save`; names in nested dictionaries are joined by dots, and values that are not tensors
/// are skipped.
pub fn load_pytorch(path: &Path, device: Device) -> Result<Loaded> {
    PytorchFile::open(Content::open(path)?, path)?.load(&|_| true, path, device)
}

/// Parses the content of a file of `torch.save`; `path` is used in messages.
///
/// Objects that neither are nor contain tensors are skipped and named in the notes.
pub fn parse_pytorch(bytes: Vec<u8>, path: &Path, device: Device) -> Result<Loaded> {
    PytorchFile::open(bytes.into(), path)?.load(&|_| true, path, device)
}

/// Open file of `torch.save`: the tensors are known, but not read.
pub(super) struct PytorchFile {
    archive: Archive,
    views: BTreeMap<String, View>,
    notes: Vec<String>,
    /// Plain values beside the tensors, by name.
    pub settings: Map,
}

impl PytorchFile {
    /// Reads the pickle, and checks that the tensors that it describes fit their storages.
    pub fn open(mut source: Content, path: &Path) -> Result<Self> {
        let kind = kind_of(&mut source).map_err(|e| files::failed(path, &e))?;
        let read = || -> Result<Self> {
            match kind {
                Some(Kind::Pickle) => {
                    return Err(Error::argument(
                        "the file is a bare pickle, such as PyTorch wrote before version 1.6",
                    )
                    .hint(
                        "load it in Python and save it again with a current `torch.save`, or as safetensors",
                    ));
                }
                Some(Kind::PyTorch | Kind::Zip) => {}
                _ => {
                    let unknown = Error::argument("the file is not one of PyTorch");
                    return Err(not_a(Kind::PyTorch, kind, unknown));
                }
            }
            let mut archive = Archive::open(source)?;
            let pickle = pickle::parse(&archive.entry("data.pkl")?)?;
            let mut reader = Reader::new(&pickle, archive.size as i64);
            reader.collect(&mut archive, pickle.root, &mut Vec::new())?;
            let (notes, settings) = (reader.note().into_iter().collect(), settings::of(&pickle));
            Ok(Self { views: reader.found, archive, notes, settings })
        };
        read().map_err(|e| e.in_file(path))
    }

    /// Returns the shape and dtype of every tensor.
    pub fn tensors(&self) -> BTreeMap<String, About> {
        let about = |view: &View| About { shape: view.shape.clone(), dtype: view.storage.element.dtype() };
        self.views.iter().map(|(name, view)| (name.clone(), about(view))).collect()
    }

    /// Reads the tensors whose names are `wanted`.
    pub fn load(&mut self, wanted: &dyn Fn(&str) -> bool, path: &Path, device: Device) -> Result<Loaded> {
        // Tensors that view the same storage are read together, and storages in the order of the file.
        let mut storages: BTreeMap<(u64, &str), Vec<(&String, &View)>> = BTreeMap::new();
        for (name, view) in self.views.iter().filter(|(name, _)| wanted(name)) {
            let Storage { position, key, .. } = &view.storage;
            storages.entry((*position, key)).or_default().push((name, view));
        }
        let storages: Vec<Vec<(&String, &View)>> = storages.into_values().collect();
        let bytes = storages.iter().map(|views| views[0].1.storage.bytes()).sum();
        let read = |archive: &mut Archive, part: usize| {
            let views = &storages[part];
            let mut elements = None;
            let tensor = |(_, view): &(&String, &View)| {
                view.read(archive, views.len() == 1, &mut elements)
                    .and_then(|tensor| tensor.to_device(device))
                    .map_err(|e| e.context(&view.place).in_file(path))
            };
            views.iter().map(tensor).collect::<Result<Vec<Tensor>>>()
        };
        let mut tensors = BTreeMap::new();
        parallel::in_order(&self.archive, (storages.len(), bytes), read, |part, read| {
            let names = storages[part].iter().map(|(name, _)| (*name).clone());
            tensors.extend(names.zip(read));
            Ok(())
        })?;
        Ok(Loaded { tensors, notes: self.notes.clone(), ..Loaded::default() })
    }
}

/// Elements of tensors, in an entry of their own.
#[derive(Debug, Clone)]
struct Storage {
    key: String,
    /// Position of the elements in the file.
    position: u64,
    element: Element,
    count: i64,
}

impl Storage {
    fn bytes(&self) -> u64 {
        self.count as u64 * self.element.size() as u64
    }
}

/// A tensor of the file: a view of a storage.
struct View {
    storage: Storage,
    offset: i64,
    shape: Vec<i64>,
    strides: Vec<i64>,
    /// Operators that apply its lazy conjugation and negation.
    lazy: Vec<&'static str>,
    /// Its name or path for messages.
    place: String,
    /// Its path in Python notation.
    python: String,
}

impl View {
    /// Returns whether it is its storage, element for element.
    fn is_whole(&self) -> bool {
        let mut step = 1;
        let ordered = self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == step;
            step *= size;
            fits
        });
        ordered && self.offset == 0 && step == self.storage.count
    }

    /// Reads the tensor; `elements` are those of the storage, which are kept there unless the tensor is `alone` in it.
    fn read(
        &self,
        archive: &mut Archive,
        alone: bool,
        elements: &mut Option<(Element, Tensor)>,
    ) -> Result<Tensor> {
        let Storage { key, element, count, .. } = &self.storage;
        if self.shape.contains(&0) {
            return Tensor::zeros(&self.shape, element.dtype(), Device::Cpu);
        }
        let mut tensor = if alone && self.is_whole() {
            // Straight into the memory of the tensor, so that a large file is in memory once.
            archive.elements(key, *element, &self.shape)?
        } else {
            let storage = match elements {
                Some((known, storage)) if known == element => storage.clone(),
                _ => archive.elements(key, *element, &[*count])?,
            };
            if !alone {
                *elements = Some((*element, storage.clone()));
            }
            let list = |numbers: &[i64]| Value::List(numbers.iter().map(|n| Value::Int(*n)).collect());
            let values = [
                Value::Object(std::sync::Arc::new(storage)),
                list(&self.shape),
                list(&self.strides),
                Value::Int(self.offset),
            ];
            call_one("as_strided", &values, &Default::default())?.copy()?.contiguous()?
        };
        for operator in &self.lazy {
            tensor = call_one(operator, &[Value::Object(std::sync::Arc::new(tensor))], &Default::default())?;
        }
        Ok(tensor)
    }
}

/// Entries of the zip file, which are all in one folder.
#[derive(Clone)]
struct Archive {
    zip: ZipArchive<Content>,
    folder: String,
    size: u64,
}

impl Archive {
    fn open(source: Content) -> Result<Self> {
        let size = source.length();
        let zip = ZipArchive::new(source).map_err(|e| unreadable("the zip file", &e.to_string()))?;
        let folder = zip
            .file_names()
            .filter_map(|name| name.strip_suffix("data.pkl"))
            .min_by_key(|folder| folder.len())
            .map(str::to_string)
            .ok_or_else(|| {
                Error::argument("the zip file has no `data.pkl`, so that `torch.save` did not write it")
            })?;
        let mut archive = Self { zip, folder, size };
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

    /// Opens an entry, which must not be compressed.
    fn file(&mut self, name: &str) -> Result<(String, ZipFile<'_>)> {
        let full = format!("{}{name}", self.folder);
        let entry = self.zip.by_name(&full).map_err(|e| unreadable(&format!("`{full}`"), &e.to_string()))?;
        if entry.compression() != CompressionMethod::Stored || entry.size() > self.size {
            return Err(Error::argument(format!("`{full}` is compressed or larger than the file"))
                .hint("`torch.save` stores entries as they are; the file was changed afterwards"));
        }
        Ok((full, entry))
    }

    /// Reads an entry and verifies its checksum.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>> {
        let (full, entry) = self.file(name)?;
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

    /// Reads the elements of a storage and verifies their checksum.
    fn elements(&mut self, key: &str, element: Element, shape: &[i64]) -> Result<Tensor> {
        let (full, mut entry) = self.file(&format!("data/{key}"))?;
        let failed = |e: std::io::Error| unreadable(&format!("`{full}`"), &e.to_string());
        let tensor = element.read(&mut entry, shape)?.map_err(failed)?;
        // The checksum is compared at the end of the entry.
        match entry.read(&mut [0]).map_err(failed)? {
            0 => Ok(tensor),
            _ => Err(unreadable(&format!("`{full}`"), "it is longer than its elements")),
        }
    }
}

fn unreadable(what: &str, why: &str) -> Error {
    Error::argument(format!("{what} cannot be read: {}", why.to_lowercase()))
        .hint("the file may be cut short or damaged")
}

/// Collector of the tensors of a pickle.
struct Reader<'a> {
    pickle: &'a Pickle,
    /// Whether a value is or contains a tensor or the elements of one.
    holds_tensors: Vec<bool>,
    /// Whether a value is or contains a global name or a call.
    holds_objects: Vec<bool>,
    /// Storages by their keys, with the position and number of their bytes.
    storages: BTreeMap<String, (u64, u64)>,
    found: BTreeMap<String, View>,
    /// Skipped objects: path and name of each.
    passed: Vec<(String, String)>,
    seen: usize,
    /// Number of bytes that further tensors may take.
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

    /// Traverses dictionaries and lists; `path` holds the steps so far.
    fn collect(&mut self, archive: &mut Archive, place: Place, path: &mut Vec<Step>) -> Result<()> {
        let tensors = self.holds_tensors[place];
        // Numbers and texts are skipped silently, however many there are.
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
                let place = names::python(path);
                let storage = self.storage(archive, *about, None).map_err(|e| e.context(&place))?;
                let (shape, strides) = (vec![storage.count], vec![1]);
                let view = View {
                    storage,
                    offset: 0,
                    shape,
                    strides,
                    lazy: Vec::new(),
                    python: place.clone(),
                    place,
                };
                return self.keep(view, path);
            }
            Item::Made { function, .. } => {
                let made_by = self.pickle.name(*function).unwrap_or_default();
                if is_tensor(&made_by) {
                    let mut view = self.tensor(archive, place, 0);
                    let place = format!("`{}`", names::name(path));
                    if let Ok(view) = &mut view {
                        (view.place, view.python) = (place.clone(), names::python(path));
                    }
                    return self.keep(view.map_err(|e| e.context(place))?, path);
                }
                if tensors {
                    return Err(Error::argument(format!(
                        "`{}` is created by `{made_by}`, which is not supported, and contains tensors",
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
    fn keep(&mut self, view: View, path: &[Step]) -> Result<()> {
        let name = names::name(path);
        match self.found.get(&name) {
            Some(other) => Err(Error::argument(format!(
                "two tensors would have the name `{name}`: {} and {}",
                other.python, view.python
            ))
            .hint("rename one of the keys in Python, and save the file again")),
            None => {
                self.found.insert(name, view);
                Ok(())
            }
        }
    }

    /// Returns a note about the skipped objects.
    fn note(&self) -> Option<String> {
        let named: Vec<String> =
            self.passed.iter().take(NAMED).map(|(name, what)| format!("`{name}` ({what})")).collect();
        let more = if self.passed.len() > NAMED { ", and more" } else { "" };
        match (named.is_empty(), self.found.is_empty()) {
            (true, false) => None,
            (true, true) => Some("the file holds no tensors".to_string()),
            _ => Some(format!(
                "skipped objects that are not tensors, without executing them: {}{more}",
                named.join(", ")
            )),
        }
    }

    /// Returns the tensor that a call describes.
    fn tensor(&mut self, archive: &mut Archive, place: Place, depth: usize) -> Result<View> {
        let wrong = || Error::argument("a tensor is stored in an unknown form");
        let Item::Made { function, arguments, .. } = self.item(place) else { return Err(wrong()) };
        let mut name = self.pickle.name(*function).unwrap_or_default();
        let mut arguments = self.tuple(*arguments).ok_or_else(wrong)?;
        if name == WITH_CLASS {
            let [inner, class, given, ..] = arguments[..] else { return Err(wrong()) };
            let class = self.pickle.name(class).unwrap_or_default();
            if !PLAIN.contains(&class.as_str()) {
                return Err(Error::argument(format!(
                    "it is a tensor of the class `{class}`, which is not supported"
                ))
                .hint("save it as a plain tensor: `x.as_subclass(torch.Tensor)`"));
            }
            name = self.pickle.name(inner).unwrap_or_default();
            arguments = self.tuple(given).ok_or_else(wrong)?;
        }
        if PARAMETER.contains(&name.as_str()) {
            // PyTorch never writes a parameter of a parameter.
            return match arguments.first() {
                Some(data) if depth == 0 => self.tensor(archive, *data, 1),
                _ => Err(wrong()),
            };
        }
        let version = REBUILD.iter().position(|known| *known == name).ok_or_else(|| {
            Error::argument(format!("it is created by `{name}`, which is not supported"))
                .hint("sparse, quantized and nested tensors are not supported; make it dense before saving")
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
        let held = storage.count;
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
        // An element may be used many times, as in an expanded mask, but a small file must not fill the memory.
        let bytes =
            count.and_then(|n| n.checked_mul(storage.element.dtype().size() as i64)).unwrap_or(i64::MAX);
        if bytes > self.left {
            return Err(Error::argument(format!(
                "shape {shape:?} with strides {strides:?} repeats {held} elements into more memory than the file is \
                 believed to need"
            ))
            .hint("save the tensor before it is expanded"));
        }
        self.left -= bytes;
        let (place, python) = (String::new(), String::new());
        Ok(View { storage, offset, shape, strides, lazy, place, python })
    }

    fn tuple(&self, place: Place) -> Option<Vec<Place>> {
        match self.item(place) {
            Item::Tuple(items) => Some(items.clone()),
            _ => None,
        }
    }

    /// Returns the operators that apply a tensor's lazy conjugation and negation, since its elements are stored
    /// without them.
    fn lazy(&self, metadata: Option<Place>) -> Result<Vec<&'static str>> {
        let Some(metadata) = metadata else { return Ok(Vec::new()) };
        let pairs = match self.item(metadata) {
            Item::None => return Ok(Vec::new()),
            Item::Dict(pairs) => pairs,
            _ => return Err(Error::argument("a tensor is stored in an unknown form")),
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

    /// Returns the element type with a name such as `torch.uint16`.
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

    /// Returns the storage described by `("storage", type, key, place, count)`; one without a type of its own uses
    /// `element`.
    fn storage(&mut self, archive: &mut Archive, about: Place, element: Option<Element>) -> Result<Storage> {
        let wrong = || Error::argument("a storage is stored in an unknown form");
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
        let (position, found) = match self.storages.get(key) {
            Some(place) => *place,
            None => {
                let (_, entry) = archive.file(&format!("data/{key}"))?;
                let place = (entry.data_start(), entry.size());
                self.storages.insert(key.clone(), place);
                place
            }
        };
        let found = found as i64;
        if count.checked_mul(size as i64) != Some(found) || found % element.size() as i64 != 0 {
            return Err(Error::argument(format!(
                "storage {key} should hold {count} elements of {}, found {found} bytes",
                match element {
                    Element::Native(dtype) if !untyped => dtype.name(),
                    _ => "an unsigned type",
                },
            )));
        }
        Ok(Storage { key: key.clone(), position, element, count: found / element.size() as i64 })
    }
}

/// Returns whether a function describes a tensor; those with a class are decided by their first argument.
fn is_tensor(name: &str) -> bool {
    REBUILD.contains(&name) || PARAMETER.contains(&name) || name == WITH_CLASS
}

mod settings;

#[cfg(test)]
mod tests;
