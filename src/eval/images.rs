//! Input of metrics: a data set, or a tensor of images or features.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::moments::{Statistics, opened};
use crate::context::Context;
use crate::data::{Dataset, NpzOptions, pixels, store::Store};
use crate::declare::{FromValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::autograd::is_recording;
use crate::torch::{DType, Device, Tensor};

/// Approximate number of pixel values per chunk.
pub(super) const CHUNK: i64 = 1 << 21;

/// Images to evaluate, with their origin.
#[derive(Debug, Clone)]
pub struct Images {
    store: Store,
    name: String,
    split: Option<String>,
    /// Labels `[N]`, int64, and the names of the classes.
    labels: Option<(Tensor, Vec<String>)>,
    note: Option<String>,
    statistics: Option<Statistics>,
    /// The tensor with its gradient history, if it records gradients.
    recorded: Option<Tensor>,
    /// Number of images that are equal to an earlier one, once it has been counted.
    repeated: Arc<OnceLock<i64>>,
}

/// Share of images that are equal to others from which a note says so: data sets have few such images.
const REPEATED: f64 = 0.1;

impl Images {
    /// Returns the images of a data set.
    pub fn of(set: &Dataset) -> Self {
        Self {
            store: set.stored().clone(),
            name: set.name().to_string(),
            split: Some(set.split().to_string()),
            labels: Some((set.labels().clone(), set.class_names().to_vec())),
            note: None,
            statistics: None,
            recorded: None,
            repeated: Arc::default(),
        }
    }

    /// Opens the images of an npz file, with the statistics beside them, as in the reference files of ADM.
    pub fn open(path: &Path) -> Result<Self> {
        match Input::open(path)? {
            Input::Images(images) => Ok(images),
            Input::Statistics(_) => {
                Err(Error::file(path, "expected images in `arr_0`, found statistics alone")
                    .hint("`eval::fid` and `eval::sfid` compare with statistics; all else needs images"))
            }
            Input::Vectors(_) => Err(Error::file(path, "expected images in `arr_0`, found features [N, D]")
                .hint(
                    "the metrics of features take them: `eval::fid`, `eval::kid`, `eval::precision_recall`",
                )),
        }
    }

    /// Creates images from a tensor [N, C, H, W], uint8 or float in [-1, 1]; other values are an error, as in
    /// training. A tensor that records gradients may have any finite values: predictions of a model that is being
    /// trained leave the range, and clamping them would set gradients to zero.
    pub fn new(tensor: &Tensor) -> Result<Self> {
        pixels::check(tensor)?;
        let recorded = (tensor.requires_grad() && is_recording()).then(|| tensor.clone());
        let note = match recorded {
            Some(_) => None,
            None => {
                pixels::check_range(tensor)?;
                let turned = pixels::channels_first(&tensor.shape(), false).map(|hint| {
                    format!("their channels seem to come last in shape {:?}: {hint}", tensor.shape())
                });
                turned.or(pixels::range_note(tensor)?)
            }
        };
        let store = Store::Tensor(tensor.detach()?);
        let name = "tensor".to_string();
        let repeated = Arc::default();
        Ok(Self { store, name, split: None, labels: None, note, statistics: None, recorded, repeated })
    }

    /// Returns at most `count` images from `start` on.
    pub fn part(&self, start: i64, count: i64) -> Result<Self> {
        let start = start.min(self.count());
        let count = count.min(self.count() - start);
        let store = self.store.narrow(start, count)?;
        let labels = match &self.labels {
            Some((labels, names)) => Some((labels.narrow(0, start, count)?, names.clone())),
            None => None,
        };
        Ok(Self { store, labels, recorded: None, repeated: Arc::default(), ..self.clone() })
    }

    /// Returns the tensor with its gradient history, if it records gradients.
    pub fn recorded(&self) -> Option<&Tensor> {
        self.recorded.as_ref()
    }

    /// Returns warnings about unusual images: pixel values in [0, 1], channels that seem to come last, or many images that
    /// are equal.
    pub fn notes(&self, cx: &Context) -> Result<Vec<String>> {
        let (count, repeated) = (self.count(), self.repeated(cx)?);
        let mut notes: Vec<String> = self.note.iter().cloned().collect();
        if repeated > 0 && repeated as f64 >= REPEATED * count as f64 {
            notes.push(format!(
                "{repeated} of {count} are bitwise equal to an earlier one; calls of `flow::sample` with the same \
                 `seed`, 0 by default, draw the same noise"
            ));
        }
        Ok(notes)
    }

    /// Returns whether the images have three channels that differ; the first images decide.
    pub fn are_in_color(&self, cx: &Context) -> Result<bool> {
        const FIRST: i64 = 64;
        if self.shape()[0] != 3 {
            return Ok(false);
        }
        let mut color = false;
        self.part(0, FIRST)?.in_chunks(cx, |part| {
            let first = part.narrow(1, 0, 1)?;
            color |= !part.equal(&first.expand(&part.shape())?)?;
            Ok(())
        })?;
        Ok(color)
    }

    /// Returns the number of images in memory that are bitwise equal to an earlier one; those of files are not compared.
    pub fn repeated(&self, cx: &Context) -> Result<i64> {
        let Store::Tensor(tensor) = &self.store else { return Ok(0) };
        if let Some(known) = self.repeated.get() {
            return Ok(*known);
        }
        let [c, h, w] = self.shape();
        let group = (CHUNK / (c * h * w)).max(1);
        let mut seen = HashSet::new();
        for start in (0..self.count()).step_by(group as usize) {
            cx.check()?;
            let part = tensor.narrow(0, start, group.min(self.count() - start))?;
            let bytes = part.to_bytes()?;
            let length = bytes.len() / part.size(0)? as usize;
            seen.extend(bytes.chunks_exact(length).map(|image| {
                let mut hasher = DefaultHasher::new();
                hasher.write(image);
                hasher.finish()
            }));
        }
        Ok(*self.repeated.get_or_init(|| self.count() - seen.len() as i64))
    }

    /// Returns the statistics stored with the images, which FID and sFID use instead of those of the images: such a
    /// file may hold statistics of a whole data set and few of its images.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.statistics.as_ref()
    }

    /// Returns the dtype of the images: uint8 or a float type.
    pub fn dtype(&self) -> DType {
        self.store.dtype()
    }

    /// Returns the number of images.
    pub fn count(&self) -> i64 {
        self.store.shape()[0]
    }

    /// Returns channels, height and width.
    pub fn shape(&self) -> [i64; 3] {
        let shape = self.store.shape();
        [shape[1], shape[2], shape[3]]
    }

    /// Returns the name of the data set, or `tensor`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the split of the data set.
    pub fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// Returns the labels `[N]` of a data set, int64, and the names of its classes.
    pub fn labels(&self) -> Option<(&Tensor, &[String])> {
        self.labels.as_ref().map(|(labels, names)| (labels, names.as_slice()))
    }

    /// Returns the device of the images.
    pub fn device(&self) -> Device {
        self.store.device()
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of the images' content.
    pub fn content_hash(&self) -> Result<String> {
        self.store.content_hash()
    }

    /// Calls `each` with groups of images in [-1, 1], in their float dtype (float32 for uint8 images).
    pub fn in_chunks(&self, cx: &Context, mut each: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
        let [c, h, w] = self.shape();
        self.in_groups((CHUNK / (c * h * w)).max(1), cx, &mut each)
    }

    /// Like [`in_chunks`](Self::in_chunks), in groups of `size` images.
    pub fn in_groups(
        &self,
        size: i64,
        cx: &Context,
        mut each: impl FnMut(Tensor) -> Result<()>,
    ) -> Result<()> {
        let part = |start: i64| self.store.narrow(start, size.min(self.count() - start));
        for start in (0..self.count()).step_by(size as usize) {
            cx.check()?;
            let images = part(start)?;
            if self.store.reads_ahead() && start + size < self.count() {
                let next = size.min(self.count() - start - size);
                self.store.read_ahead(&Tensor::arange(
                    start as f64,
                    (start + size + next) as f64,
                    1.0,
                    DType::Int64,
                    Device::Cpu,
                )?)?;
            }
            let part = images.load()?;
            let part = if part.dtype().is_float() { part } else { pixels::to_float(&part)? };
            each(part.clamp(-1.0, 1.0)?)?;
        }
        Ok(())
    }

    /// Calls `each` with groups of gray images [B, H, W], float64 in [0, 1] on the CPU.
    pub fn gray_chunks(&self, cx: &Context, mut each: impl FnMut(Tensor) -> Result<()>) -> Result<()> {
        self.in_chunks(cx, |part| {
            let unit = part.to_device(Device::Cpu)?.to_dtype(DType::Float64)?;
            each(luma(&unit.add_scalar(1.0)?.div_scalar(2.0)?)?.select(1, 0)?)
        })
    }
}

/// Returns the luma [B, 1, H, W] of images [B, 3, H, W] with the weights 0.299, 0.587, 0.114 (ITU-R BT.601); images
/// of one channel are returned unchanged.
pub fn luma(images: &Tensor) -> Result<Tensor> {
    match images.size(1)? {
        1 => Ok(images.clone()),
        3 => {
            let weights = Tensor::from_f64(&[0.299, 0.587, 0.114], &[1, 3, 1, 1])?;
            let weights = weights.to_dtype(images.dtype())?.to_device(images.device())?;
            images.mul(&weights)?.sum(&[1], true)
        }
        other => Err(not_images(other)),
    }
}

/// Returns the error of images with a number of channels that pictures do not have.
pub fn not_images(channels: i64) -> Error {
    Error::argument(format!("expected images of 1 or 3 channels, found {channels}")).hint(
        "latents must be decoded to images first, and channels come before height and width: \
         `.permute([0, 3, 1, 2])` puts them there",
    )
}

impl From<Dataset> for Images {
    fn from(set: Dataset) -> Self {
        Self::of(&set)
    }
}

impl From<&Dataset> for Images {
    fn from(set: &Dataset) -> Self {
        Self::of(set)
    }
}

/// See [`Images::new`].
impl TryFrom<&Tensor> for Images {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        Self::new(tensor)
    }
}

/// See [`Images::new`].
impl TryFrom<Tensor> for Images {
    type Error = Error;

    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::new(&tensor)
    }
}

/// See [`Images::open`].
impl TryFrom<&Path> for Images {
    type Error = Error;

    fn try_from(path: &Path) -> Result<Self> {
        Self::open(path)
    }
}

impl FromValue for Images {
    fn label() -> String {
        "dataset, tensor or path".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Value::Str(path) = value {
            return Self::open(Path::new(path));
        }
        if let Some(set) = value.downcast::<Dataset>() {
            return Ok(Self::of(&set));
        }
        match value.downcast::<Tensor>() {
            Some(tensor) => Self::new(&tensor),
            None => {
                Err(value.mismatch("a dataset, a tensor of images [N, C, H, W] or the path of an npz file"))
            }
        }
    }
}

/// Images, or features already extracted from them.
#[derive(Debug, Clone)]
pub enum Input {
    /// Images to extract features from.
    Images(Images),
    /// Features [N, D], or logits [N, K] for metrics of logits.
    Vectors(Tensor),
    /// Mean and covariance of features, for FID and sFID.
    Statistics(Statistics),
}

impl Input {
    /// Opens an npz file: statistics, images with or without statistics, or features [N, D] in `arr_0`.
    pub fn open(path: &Path) -> Result<Self> {
        const FIRST: &str = "arr_0";
        let mut file = opened(path)?;
        let statistics = Statistics::are_in(&file).then(|| Statistics::read(&mut file)).transpose()?;
        let rank = file.tensors.get(FIRST).map(|about| about.shape.len());
        match (statistics, rank) {
            (Some(statistics), None) => Ok(Self::Statistics(statistics)),
            (None, Some(2)) => {
                let found = file.load(|name| name == FIRST, Device::Cpu)?.tensors.remove(FIRST);
                let found = found.ok_or_else(|| Error::internal("a listed array is missing"))?;
                vectors(&found).map(Self::Vectors).map_err(|e| e.in_file(path))
            }
            (statistics, _) => {
                let set = crate::data::npz::npz(path, &NpzOptions::default())?;
                Ok(Self::Images(Images { statistics, split: None, ..Images::of(&set) }))
            }
        }
    }

    /// Returns the error that a metric needs more than mean and covariance.
    pub fn need_samples(statistics: &Statistics) -> Error {
        Error::argument(format!("expected images or features, found statistics ({})", statistics.origin()))
            .hint("a mean and a covariance are enough for `eval::fid` and `eval::sfid` alone")
    }
}

impl From<Statistics> for Input {
    fn from(statistics: Statistics) -> Self {
        Self::Statistics(statistics)
    }
}

/// See [`Input::open`].
impl TryFrom<&Path> for Input {
    type Error = Error;

    fn try_from(path: &Path) -> Result<Self> {
        Self::open(path)
    }
}

impl From<Dataset> for Input {
    fn from(set: Dataset) -> Self {
        Input::Images(Images::of(&set))
    }
}

impl From<&Dataset> for Input {
    fn from(set: &Dataset) -> Self {
        Input::Images(Images::of(set))
    }
}

/// From images [N, C, H, W], or features [N, D].
impl TryFrom<&Tensor> for Input {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        match tensor.rank() {
            2 => vectors(tensor).map(Input::Vectors),
            _ => Images::new(tensor).map(Input::Images),
        }
    }
}

/// From images [N, C, H, W], or features [N, D].
impl TryFrom<Tensor> for Input {
    type Error = Error;

    fn try_from(tensor: Tensor) -> Result<Self> {
        Self::try_from(&tensor)
    }
}

impl FromValue for Input {
    fn label() -> String {
        "dataset, tensor, statistics or path".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Value::Str(path) = value {
            return Self::open(Path::new(path));
        }
        if let Some(statistics) = value.downcast::<Statistics>() {
            return Ok(Self::Statistics(statistics));
        }
        match value.downcast::<Tensor>() {
            Some(tensor) => Self::try_from(tensor),
            None => Images::from_value(value).map(Input::Images),
        }
    }
}

/// Input of metrics that need every sample: mean and covariance are not enough.
#[derive(Debug, Clone)]
pub struct Samples(pub Input);

macro_rules! samples {
    ($($given:ty),*) => {$(
        /// See [`Input`].
        impl TryFrom<$given> for Samples {
            type Error = Error;

            fn try_from(given: $given) -> Result<Self> {
                Ok(Self(Input::try_from(given)?))
            }
        }
    )*};
}

samples!(Input, Statistics, Dataset, &Dataset, &Path, Tensor, &Tensor);

impl FromValue for Samples {
    fn label() -> String {
        Images::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        Input::from_value(value).map(Self)
    }
}

/// Returns features [N, D] as float64 on the CPU, without gradient history; values that are not finite are an error.
pub fn vectors(tensor: &Tensor) -> Result<Tensor> {
    recorded_vectors(&tensor.detach()?)
}

/// Same as [`vectors`], with the gradient history.
pub fn recorded_vectors(tensor: &Tensor) -> Result<Tensor> {
    ensure!(tensor.rank() == 2, "expected features [N, D], found shape {:?}", tensor.shape());
    let tensor = tensor.to_device(Device::Cpu)?.to_dtype(DType::Float64)?;
    ensure!(tensor.isfinite()?.all(&[], false)?.item_i64()? == 1, "the features hold NaN or infinite values");
    Ok(tensor)
}

/// Returns an error unless both sets have features, of the same length.
pub fn same_width(a: &Tensor, b: &Tensor) -> Result<()> {
    for (name, set) in [("real", a), ("generated", b)] {
        ensure!(set.size(0)? > 0, "expected at least 1 {name} sample, found features {:?}", set.shape());
    }
    let (d, e) = (a.size(1)?, b.size(1)?);
    ensure!(d == e, "expected features of one length in both sets, found {d} and {e}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::folder::{ImageFolderOptions, image_folder};
    use crate::torch::Generator;

    #[test]
    fn many_equal_images_are_noted() {
        let cx = Context::default();
        let generator = Generator::new(0, Device::Cpu).unwrap();
        let drawn = Tensor::rand(&[20, 1, 4, 4], DType::Float32, Device::Cpu, Some(&generator))
            .unwrap()
            .neg()
            .unwrap();
        let notes = |tensor: &Tensor| Images::new(tensor).unwrap().notes(&cx).unwrap();
        assert!(notes(&drawn).is_empty());
        let twice = Tensor::cat(&[drawn.clone(), drawn.clone()], 0).unwrap();
        let [note] = &notes(&twice)[..] else { panic!("{:?}", notes(&twice)) };
        assert!(note.starts_with("20 of 40 are bitwise equal") && note.contains("`seed`"), "{note}");
        // A data set may have a few.
        let few = Tensor::cat(&[drawn.clone(), drawn.narrow(0, 0, 1).unwrap()], 0).unwrap();
        assert!(notes(&few).is_empty());
        let part = Images::new(&twice).unwrap();
        assert_eq!((part.repeated(&cx).unwrap(), part.part(0, 20).unwrap().repeated(&cx).unwrap()), (20, 0));
    }

    #[test]
    fn gray_images_of_three_channels_are_not_in_color() {
        let cx = Context::default();
        let gray = Tensor::from_f32(&[-0.5, 0.5], &[2, 1, 1, 1]).unwrap().expand(&[2, 3, 4, 4]).unwrap();
        let color = gray.mul(&Tensor::from_f32(&[1.0, 0.5, 1.0], &[1, 3, 1, 1]).unwrap()).unwrap();
        let one = gray.narrow(1, 0, 1).unwrap();
        let found = [gray, color, one].map(|x| Images::new(&x).unwrap().are_in_color(&cx).unwrap());
        assert_eq!(found, [false, true, false]);
    }

    #[test]
    fn channels_that_seem_to_come_last_are_noted() {
        let images = Tensor::from_f32(&[-0.5; 2 * 6 * 6 * 3], &[2, 6, 6, 3]).unwrap();
        let notes = Images::new(&images).unwrap().notes(&Context::default()).unwrap();
        assert!(notes[0].contains("channels seem to come last in shape [2, 6, 6, 3]"), "{notes:?}");
    }

    #[test]
    fn image_files_are_decoded_two_groups_at_a_time() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("class")).unwrap();
        for number in 0..60 {
            let file = std::fs::File::create(place.path().join(format!("class/{number:02}.png"))).unwrap();
            let mut encoder = png::Encoder::new(file, 2, 2);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.write_header().unwrap().write_image_data(&[number; 4]).unwrap();
        }
        let options =
            ImageFolderOptions { size: 2, channels: 1, in_memory: Some(false), ..Default::default() };
        let cx = Context::default();
        let images = Images::of(&image_folder(place.path(), &options, &cx).unwrap());
        let Store::Files { files, .. } = &images.store else { panic!("the images are in memory") };
        let (mut seen, mut most) = (Vec::new(), 0);
        let each = |part: Tensor| {
            most = most.max(files.held());
            let bytes = part.add_scalar(1.0)?.mul_scalar(127.5)?.round()?;
            seen.extend(bytes.select(1, 0)?.amax(&[1, 2], false)?.to_i64()?);
            // Gives the threads time to read further than they should.
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ok(())
        };
        images.in_groups(4, &cx, each).unwrap();
        assert_eq!(seen, (0..60).collect::<Vec<_>>());
        assert!(most <= 8, "{most} images were held at once");
    }
}
