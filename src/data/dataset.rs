//! Labeled images.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::store::Store;
use super::{Loader, LoaderOptions, pixels};
use crate::declare::{Display, Options, Value};
use crate::document::Document;
use crate::ensure;
use crate::error::{Error, Result, Subject};
use crate::scripted;
use crate::torch::{DType, Device, Fields, Tensor};

/// A set of labeled images with the names of its classes. Clones share the images.
#[derive(Clone)]
pub struct Dataset(Arc<Inner>);

struct Inner {
    /// [N, C, H, W], uint8 as read from files or float32 in [-1, 1]; latents may be larger.
    images: Store,
    /// [N] int64, below the number of classes.
    labels: Tensor,
    /// Further tensors [N, ..] with one row per image, by name.
    fields: BTreeMap<String, Store>,
    name: String,
    split: String,
    class_names: Vec<String>,
}

scripted!(
    Dataset,
    "dataset",
    |d| Display::of(&d.document()),
    document = |d, _| d.document(),
    describe = |d| ("the dataset", format!("{} ({}) of {} images", d.name(), d.split(), d.len())),
    bytes = |d| d.0.images.bytes()
        + d.0.labels.bytes()
        + d.stored_fields().values().map(Store::bytes).sum::<u64>(),
    facts = |d| vec![
        ("images", d.len().to_string()),
        ("shape", format!("{:?}", d.image_shape())),
        ("dtype", d.0.images.dtype().name().to_string()),
        ("classes", d.classes().to_string()),
    ],
);

impl std::fmt::Debug for Dataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dataset({}, {}, {:?})", self.name(), self.split(), self.0.images.shape())
    }
}

impl Dataset {
    /// Creates a data set from images [N, C, H, W] (uint8, or float in [-1, 1]) and labels `[N]` (integers below
    /// the number of class names), both stored on the CPU.
    pub fn new(
        images: &Tensor,
        labels: &Tensor,
        name: &str,
        split: &str,
        class_names: Vec<String>,
    ) -> Result<Self> {
        pixels::check(images)?;
        pixels::check_range(images).map_err(|e| {
            e.hint("scale bytes with `x / 127.5 - 1`, or give them as uint8; `latents: true` takes any range")
        })?;
        Self::of_store(stored(images)?, labels, name, split, class_names)
    }

    /// Like [`Dataset::new`], for images in files or latents of any range.
    pub fn of_store(
        images: Store,
        labels: &Tensor,
        name: &str,
        split: &str,
        class_names: Vec<String>,
    ) -> Result<Self> {
        let labels = check_labels(labels, images.shape()[0])?;
        let largest = labels.amax(&[], false)?.item_i64()?;
        ensure!(
            (largest as usize) < class_names.len(),
            "expected labels from 0 to {}, found {largest}",
            class_names.len() as i64 - 1
        );
        let (name, split) = (name.to_string(), split.to_string());
        let inner = Inner { images, labels, fields: BTreeMap::new(), name, split, class_names };
        Ok(Self(Arc::new(inner)))
    }

    /// Returns the set with further tensors [N, ..], one row per image; a field of a name that it has is replaced.
    pub fn with_fields(&self, fields: impl Into<Fields>) -> Result<Self> {
        let fields = fields.into();
        let stored = fields.map(|tensor| tensor.detach()?.to_device(Device::Cpu)?.contiguous())?;
        let stores = stored.iter().map(|(name, tensor)| (name.to_string(), Store::Tensor(tensor.clone())));
        self.with_stored_fields(stores.collect())
    }

    /// Like [`Dataset::with_fields`], for fields in files.
    pub fn with_stored_fields(&self, fields: BTreeMap<String, Store>) -> Result<Self> {
        let count = self.len() as i64;
        for (name, field) in &fields {
            let shape = field.shape();
            if shape.first() != Some(&count) {
                return Err(Error::argument(format!(
                    "expected the field `{name}` of shape [{count}, ..], one row per image, found {shape:?}"
                ))
                .hint("its rows are in the order of the images"));
            }
        }
        let mut all = self.0.fields.clone();
        all.extend(fields);
        self.with(self.0.images.clone(), self.0.labels.clone(), all)
    }

    /// Returns all fields by name; each call reads those in files again.
    pub fn fields(&self) -> Result<Fields> {
        let load = |(name, field): (&String, &Store)| Ok((name.clone(), field.load()?));
        Ok(Fields::new(self.0.fields.iter().map(load).collect::<Result<_>>()?))
    }

    /// Returns all fields as stored, in memory or in files.
    pub fn stored_fields(&self) -> &BTreeMap<String, Store> {
        &self.0.fields
    }

    /// Returns what `change` makes of each field.
    fn each_field(&self, change: impl Fn(&Store) -> Result<Store>) -> Result<BTreeMap<String, Store>> {
        self.0.fields.iter().map(|(name, field)| Ok((name.clone(), change(field)?))).collect()
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.0.images.shape()[0] as usize
    }

    /// Returns whether there are no images; a data set has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all images, [N, C, H, W] float32 in [-1, 1]; each call reads files and converts bytes again.
    pub fn images(&self) -> Result<Tensor> {
        pixels::to_float(&self.0.images.load()?)
    }

    /// Returns all images as stored: uint8, or float32 in [-1, 1], in memory or in files.
    pub fn stored(&self) -> &Store {
        &self.0.images
    }

    /// Returns all labels, `[N]` int64.
    pub fn labels(&self) -> &Tensor {
        &self.0.labels
    }

    /// Returns channels, height and width.
    pub fn image_shape(&self) -> [i64; 3] {
        let shape = self.0.images.shape();
        [shape[1], shape[2], shape[3]]
    }

    /// Returns the name, such as `fashion_mnist`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the split, such as `train`, `test` or `all`.
    pub fn split(&self) -> &str {
        &self.0.split
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.0.class_names.len()
    }

    /// Returns the names of the classes, in the order of their labels.
    pub fn class_names(&self) -> &[String] {
        &self.0.class_names
    }

    /// Returns the first `count` images.
    pub fn take(&self, count: usize) -> Result<Self> {
        ensure!(
            (1..=self.len()).contains(&count),
            "expected a count from 1 to {}, found {count}",
            self.len()
        );
        let count = count as i64;
        let fields = self.each_field(|field| field.narrow(0, count))?;
        self.with(self.0.images.narrow(0, count)?, self.0.labels.narrow(0, 0, count)?, fields)
    }

    /// Returns the images at the given indices, in this order; an index may occur twice.
    pub fn subset(&self, indices: &[i64]) -> Result<Self> {
        ensure!(!indices.is_empty(), "expected at least one index, found none");
        let outside = indices.iter().find(|i| **i < 0 || **i >= self.len() as i64);
        if let Some(outside) = outside {
            return Err(Error::argument(format!(
                "expected indices from 0 to {}, found {outside}",
                self.len() - 1
            )));
        }
        let index = Tensor::from_i64(indices, &[indices.len() as i64])?;
        let fields = self.each_field(|field| field.select(&index))?;
        self.with(self.0.images.select(&index)?, self.0.labels.index_select(0, &index)?, fields)
    }

    /// Returns the images of some classes, given by name or number, in the order of the data set. The classes are
    /// renumbered from 0, in the order in which they are given.
    pub fn only(&self, classes: &[Value]) -> Result<Self> {
        ensure!(!classes.is_empty(), "expected at least one class, found none");
        let names = self.class_names();
        let number = |class: &Value| match class {
            Value::Str(name) => names.iter().position(|n| n == name).ok_or_else(|| {
                Error::argument(format!("the data set has no class \"{name}\""))
                    .did_you_mean(name, names.iter().map(String::as_str))
            }),
            Value::Int(i) => usize::try_from(*i).ok().filter(|i| *i < names.len()).ok_or_else(|| {
                Error::argument(format!("expected classes from 0 to {}, found {i}", names.len() - 1))
            }),
            other => Err(other.mismatch("the name or number of a class")),
        };
        let chosen: Vec<usize> = classes.iter().map(number).collect::<Result<_>>()?;
        for (i, class) in chosen.iter().enumerate() {
            ensure!(!chosen[..i].contains(class), "the class \"{}\" is named twice", names[*class]);
        }
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        for (place, label) in self.0.labels.to_i64()?.into_iter().enumerate() {
            if let Some(new) = chosen.iter().position(|class| *class == label as usize) {
                places.push(place as i64);
                labels.push(new as i64);
            }
        }
        ensure!(!places.is_empty(), "the data set has no image of these classes");
        let count = places.len() as i64;
        let index = Tensor::from_i64(&places, &[count])?;
        let (images, labels) = (self.0.images.select(&index)?, Tensor::from_i64(&labels, &[count])?);
        let class_names = chosen.iter().map(|class| names[*class].clone()).collect();
        Self::of_store(images, &labels, self.name(), self.split(), class_names)?
            .with_stored_fields(self.each_field(|field| field.select(&index))?)
    }

    /// Returns the number of images of each class, in the order of the classes.
    pub fn counts(&self) -> Result<Vec<i64>> {
        self.0.labels.bincount(None, self.classes() as i64)?.to_i64()
    }

    /// Returns a loader of endless batches; see [`LoaderOptions`].
    pub fn loader(&self, options: &LoaderOptions) -> Result<Loader> {
        Loader::new(self, options)
    }

    /// Returns the same images under another name of the split.
    pub(super) fn with_split(self, split: &str) -> Self {
        let Inner { images, labels, fields, name, class_names, .. } = &*self.0;
        Self(Arc::new(Inner {
            images: images.clone(),
            labels: labels.clone(),
            fields: fields.clone(),
            name: name.clone(),
            split: split.to_string(),
            class_names: class_names.clone(),
        }))
    }

    fn with(&self, images: Store, labels: Tensor, fields: BTreeMap<String, Store>) -> Result<Self> {
        let Inner { name, split, class_names, .. } = &*self.0;
        Ok(Self(Arc::new(Inner {
            images,
            labels,
            fields,
            name: name.clone(),
            split: split.clone(),
            class_names: class_names.clone(),
        })))
    }

    fn document(&self) -> Document {
        let [c, h, w] = self.image_shape();
        let names = self.class_names();
        let shown = names.iter().take(12).cloned().collect::<Vec<_>>().join(", ");
        let kept = match self.0.images.dtype() {
            DType::UInt8 if self.0.images.bytes() == 0 => "read from files, given as float32 in [-1, 1]",
            DType::UInt8 => "kept as uint8, given as float32 in [-1, 1]",
            _ if self.0.images.bytes() == 0 => "read from files, float32",
            _ => "float32",
        };
        let more = if names.len() > 12 { ", .." } else { "" };
        let mut facts = vec![
            ("images", format!("{} of [{c}, {h}, {w}], {kept}", self.len())),
            ("classes", format!("{}: {shown}{more}", names.len())),
        ];
        let about = |(name, field): (&String, &Store)| {
            format!("{name} {:?} {}", &field.shape()[1..], field.dtype().name())
        };
        if !self.0.fields.is_empty() {
            facts.push(("fields", self.0.fields.iter().map(about).collect::<Vec<_>>().join(", ")));
        }
        Document::facts(&format!("dataset {}, split {}", self.name(), self.split()), facts)
    }
}

/// Returns labels as int64 on the CPU; a wrong shape or type, or a negative label, is an error.
pub(crate) fn check_labels(labels: &Tensor, count: i64) -> Result<Tensor> {
    if labels.shape() != [count] {
        let error = Error::argument(format!(
            "expected {count} labels, one per image, found shape {:?}",
            labels.shape()
        ));
        return Err(match labels.shape()[..] {
            [rows, columns] if rows == count => error.hint(super::labels::advice(columns)),
            _ => error,
        });
    }
    if labels.dtype().is_float() || labels.dtype().is_complex() || labels.dtype() == DType::Bool {
        return Err(Error::argument(format!("expected integer labels, found {}", labels.dtype().name()))
            .hint("`.to(\"int64\")` converts them"));
    }
    // A copy, so that the caller may change theirs.
    let labels = labels.to_device(Device::Cpu)?.to_dtype(DType::Int64)?.copy()?.contiguous()?;
    let smallest = labels.amin(&[], false)?.item_i64()?;
    ensure!(smallest >= 0, "expected labels from 0 up, found {smallest}");
    Ok(labels)
}

/// Options of `from_tensors`.
#[derive(Debug, Clone, Options)]
pub struct FromTensorsOptions {
    /// Number of classes; by default one more than the largest label, or the number of class names.
    #[option(range = 1..=1e6)]
    pub classes: Option<i64>,
    /// Names of the classes in the order of their labels; by default their numbers.
    pub class_names: Vec<String>,
    /// Name of the data set, recorded with every result.
    #[option(default = "tensors")]
    pub name: String,
    /// Name of the split, recorded with every result.
    #[option(default = "all")]
    pub split: String,
    /// Whether the images are floats of any range, such as latents or samples of a model with `clamp: false`.
    #[option(default = false)]
    pub latents: bool,
}

/// Creates a data set from images [N, C, H, W] (uint8, or float in [-1, 1]) and integer labels `[N]`.
pub(crate) fn from_tensors(
    images: &Tensor,
    labels: &Tensor,
    options: &FromTensorsOptions,
) -> Result<Dataset> {
    options.check()?;
    let mut class_names = options.class_names.clone();
    if let (Some(classes), false) = (options.classes, class_names.is_empty()) {
        let names = class_names.len();
        if classes as usize != names {
            let text = format!("option `classes` is {classes}, but `class_names` has {names} entries");
            return Err(Error::argument(text).about(Subject::Option("classes".to_string())));
        }
    }
    if let (false, Some(hint)) = (options.latents, pixels::channels_first(&images.shape(), false)) {
        let shape = images.shape();
        return Err(Error::argument(format!(
            "expected images [N, C, H, W], found shape {shape:?}, whose channels seem to come last"
        ))
        .hint(format!("{hint}; `latents: true` takes the tensor as it is")));
    }
    if class_names.is_empty() {
        pixels::check(images)?;
        let labels = check_labels(labels, images.size(0)?)?;
        class_names = super::labels::class_names(&labels, options.classes)?;
    }
    if !options.latents {
        return Dataset::new(images, labels, &options.name, &options.split, class_names);
    }
    pixels::check(images)?;
    if !images.dtype().is_float() {
        return Err(Error::argument(format!(
            "expected latents of a float type, found {}",
            images.signature()
        ))
        .hint("leave out `latents`: bytes are images"));
    }
    Dataset::of_store(stored(images)?, labels, &options.name, &options.split, class_names)
}

/// Returns images in memory on the CPU: bytes, or float32 without their graph.
fn stored(images: &Tensor) -> Result<Store> {
    let images = match images.dtype() {
        DType::UInt8 => images.clone(),
        _ => images.detach()?.to_dtype(DType::Float32)?,
    };
    Ok(Store::Tensor(images.to_device(Device::Cpu)?.contiguous()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> Dataset {
        let images = Tensor::from_u8(&[0, 85, 170, 255], &[4, 1, 1, 1]).unwrap();
        let labels = Tensor::from_i64(&[0, 1, 2, 1], &[4]).unwrap();
        from_tensors(&images, &labels, &FromTensorsOptions::default()).unwrap()
    }

    #[test]
    fn subsets_keep_images_and_labels_together() {
        let part = four().subset(&[3, 0]).unwrap();
        assert_eq!(part.images().unwrap().to_f32().unwrap(), [1.0, -1.0]);
        assert_eq!(part.labels().to_i64().unwrap(), [1, 0]);
        assert_eq!((part.classes(), part.len()), (3, 2));
        assert_eq!(four().take(3).unwrap().labels().to_i64().unwrap(), [0, 1, 2]);
        assert!(four().take(5).unwrap_err().message().contains("from 1 to 4, found 5"));
        assert!(four().subset(&[4]).unwrap_err().message().contains("from 0 to 3, found 4"));
    }

    #[test]
    fn fields_stay_with_their_images() {
        let text = Tensor::from_f32(&[0.0, 1.0, 2.0, 3.0], &[4, 1]).unwrap();
        let set = four().with_fields([("text", text)]).unwrap();
        let mask = Tensor::from_i64(&[0, 1, 2, 3], &[4]).unwrap();
        let set = set.with_fields([("mask", mask)]).unwrap();
        let rows = |set: &Dataset| {
            let fields = set.fields().unwrap();
            let all =
                |name: &str| fields.get(name).unwrap().to_dtype(DType::Int64).unwrap().to_i64().unwrap();
            assert_eq!(all("text"), all("mask"));
            all("text")
        };
        assert_eq!(rows(&set.take(3).unwrap()), [0, 1, 2]);
        assert_eq!(rows(&set.subset(&[3, 0, 3]).unwrap()), [3, 0, 3]);
        assert_eq!(rows(&set.only(&[Value::Int(2), Value::Int(1)]).unwrap()), [1, 2, 3]);
        assert!(set.document().to_text(None).contains("mask [] int64, text [1] float32"));
        let short = Tensor::from_i64(&[0, 1], &[2]).unwrap();
        let error = set.with_fields([("mask", short)]).unwrap_err();
        assert!(error.message().contains("`mask` of shape [4, ..], one row per image, found [2]"), "{error}");
    }

    #[test]
    fn classes_are_chosen_by_name_or_number_and_numbered_anew() {
        let part = four().only(&[Value::Int(2), Value::Str("1".to_string())]).unwrap();
        assert_eq!(part.labels().to_i64().unwrap(), [1, 0, 1]);
        assert_eq!(part.stored().load().unwrap().to_u8().unwrap(), [85, 170, 255]);
        assert_eq!(
            (part.class_names(), part.counts().unwrap()),
            (&["2".to_string(), "1".into()][..], vec![1, 2])
        );
        let message = |class: Value| four().only(&[class]).unwrap_err().message();
        assert!(message(Value::Int(3)).contains("from 0 to 2, found 3"));
        assert!(message(Value::Str("x".into())).contains("no class \"x\""));
        assert!(four().only(&[Value::Int(1), Value::Int(1)]).unwrap_err().message().contains("named twice"));
    }

    #[test]
    fn latents_have_any_range() {
        let images = Tensor::from_f64(&[-7.5, 6.25], &[2, 1, 1, 1]).unwrap().set_requires_grad(true).unwrap();
        let labels = Tensor::from_i64(&[0, 1], &[2]).unwrap();
        let error = from_tensors(&images, &labels, &FromTensorsOptions::default()).unwrap_err();
        assert!(error.hint_text().unwrap().contains("`latents: true`"), "{error}");
        let options = FromTensorsOptions { latents: true, ..Default::default() };
        let set = from_tensors(&images, &labels, &options).unwrap();
        let held = set.images().unwrap();
        assert_eq!((held.to_f32().unwrap(), held.requires_grad()), (vec![-7.5, 6.25], false));
        let nan = images.detach().unwrap().mul_scalar(f64::NAN).unwrap();
        assert!(from_tensors(&nan, &labels, &options).is_err());
        let bytes = Tensor::from_u8(&[0, 255], &[2, 1, 1, 1]).unwrap();
        assert!(from_tensors(&bytes, &labels, &options).unwrap_err().message().contains("float type"));
    }

    #[test]
    fn channels_come_first() {
        let images = Tensor::from_u8(&[0; 2 * 5 * 5 * 3], &[2, 5, 5, 3]).unwrap();
        let labels = Tensor::from_i64(&[0, 1], &[2]).unwrap();
        let error = from_tensors(&images, &labels, &FromTensorsOptions::default()).unwrap_err();
        assert!(error.message().contains("found shape [2, 5, 5, 3]"), "{error}");
        assert!(error.hint_text().unwrap().starts_with("`.permute([0, 3, 1, 2])`"), "{error}");
        let turned = images.permute(&[0, 3, 1, 2]).unwrap();
        let set = from_tensors(&turned, &labels, &FromTensorsOptions::default()).unwrap();
        assert_eq!(set.image_shape(), [3, 5, 5]);
        let floats = images.to_dtype(DType::Float32).unwrap();
        let options = FromTensorsOptions { latents: true, ..Default::default() };
        assert!(from_tensors(&floats, &labels, &options).is_ok());
    }

    #[test]
    fn labels_are_those_of_the_set() {
        let images = Tensor::from_u8(&[0, 0], &[2, 1, 1, 1]).unwrap();
        let labels = Tensor::from_i64(&[1, 0], &[2]).unwrap();
        let set = from_tensors(&images, &labels, &FromTensorsOptions::default()).unwrap();
        labels.fill_(7.0).unwrap();
        assert_eq!(set.labels().to_i64().unwrap(), [1, 0]);
    }

    #[test]
    fn wrong_labels_are_refused() {
        let images = Tensor::from_u8(&[0, 0], &[2, 1, 1, 1]).unwrap();
        let make = |labels: &Tensor, classes| {
            let options = FromTensorsOptions { classes, ..FromTensorsOptions::default() };
            from_tensors(&images, labels, &options).unwrap_err().message()
        };
        let labels = Tensor::from_i64(&[0, 7], &[2]).unwrap();
        assert_eq!(make(&labels, Some(3)), "expected labels from 0 to 2, found 7");
        assert!(make(&Tensor::from_i64(&[-1, 0], &[2]).unwrap(), None).contains("found -1"));
        let huge = Tensor::from_i64(&[0, i64::MAX], &[2]).unwrap();
        assert_eq!(make(&huge, None), format!("expected labels from 0 to 999999, found {}", i64::MAX));
        assert_eq!(make(&huge, Some(3)), format!("expected labels from 0 to 2, found {}", i64::MAX));
        assert!(make(&Tensor::from_i64(&[0], &[1]).unwrap(), None).contains("expected 2 labels"));
        assert!(make(&Tensor::from_f32(&[0.0, 1.0], &[2]).unwrap(), None).contains("found float32"));
    }
}
