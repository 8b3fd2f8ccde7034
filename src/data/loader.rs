//! Endless batches in a shuffled order determined by a seed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};

use super::augment::{self, Place, augmented};
use super::store::Store;
use super::weights::{ImageWeights, Weighted};
use super::{Dataset, pixels};
use crate::declare::{Display, Function, IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::scripted;
use crate::torch::rng::mix;
use crate::torch::{Device, Fields, Generator, Tensor, uninterrupted};

/// Maximum number of images in the fingerprint of earlier versions, spread evenly over the data set.
const FINGERPRINTED: usize = 256;

/// Options of a [`Loader`].
#[derive(Debug, Clone, Options)]
pub struct LoaderOptions {
    /// Images per batch.
    #[option(default = 64, range = 1..=1e9)]
    pub batch: i64,
    /// Seed of the order of every epoch and of the mirroring.
    #[option(default = 0)]
    pub seed: i64,
    /// Whether to shuffle each epoch anew; otherwise the data set's order is used.
    #[option(default = true)]
    pub shuffle: bool,
    /// Whether to mirror each image horizontally with probability 0.5, and with it its fields that look like images:
    /// [N, .., C, h, w] with sides in the ratio of the images', and [N, H, W] of the size of the images.
    #[option(default = false)]
    pub flip: bool,
    /// How often each image is drawn, relative to others: one number for each image, or one for each class that its images
    /// have. An epoch then has each image N w / sum(w) times, rounded up or down at random, where N is the number of
    /// images. `set.counts().map(|n| 1.0 / n)` draws all classes equally often.
    pub image_weights: Option<ImageWeights>,
    /// Function `|s| images` that changes the images of each batch: of a map s with `images` [B, C, H, W] float32, after
    /// `flip`, `labels`, `indices` and `fields` of the images, and `seed`, `row` and `batch` for draws: a seed of the batch, the
    /// place of the first image in it, and its size. It returns images, or a map of `images` and further or changed `fields`.
    #[option(receives = augment::RECEIVED, takes = ["s"])]
    pub augment: Option<Function>,
    /// Device of the batches; stored images are moved there once.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Entries of a state that only loaders with these options have.
const WEIGHTS: &str = "image_weights";
const AUGMENT: &str = "augment";

/// Number of batches read from files ahead of the current one.
const AHEAD: i64 = 2;

/// A batch of images with their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// [B, C, H, W] float32 in [-1, 1].
    pub images: Tensor,
    /// `[B]` int64.
    pub labels: Tensor,
    /// Indices of the images in the data set, from 0: `[B]` int64.
    pub indices: Tensor,
    /// Fields of the images, `[B, ..]` in their own dtypes.
    pub fields: Fields,
}

impl Batch {
    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.images.shape().first().copied().unwrap_or(0) as usize
    }

    /// Returns whether the batch has no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl IntoValue for Batch {
    fn label() -> String {
        "map of images, labels, indices, fields, len".to_string()
    }
    fn into_value(self) -> Value {
        Value::Map(Map::from([
            ("len".to_string(), self.len().into_value()),
            ("images".to_string(), self.images.into_value()),
            ("labels".to_string(), self.labels.into_value()),
            ("indices".to_string(), self.indices.into_value()),
            ("fields".to_string(), self.fields.into_value()),
        ]))
    }
}

/// Draws endless batches from a data set; every epoch visits each image once, in its own order, or as often as its weight says.
///
/// The only state is the position, the number of images drawn so far. The same seed and position give the same next
/// batch on every device.
#[derive(Clone)]
pub struct Loader(Arc<Shared>);

struct Shared {
    images: Store,
    labels: Tensor,
    fields: BTreeMap<String, Store>,
    name: String,
    options: LoaderOptions,
    weighted: Option<Weighted>,
    cursor: Mutex<Cursor>,
    /// Computed on first use.
    fingerprint: OnceLock<String>,
}

#[derive(Clone, Default)]
struct Cursor {
    position: u64,
    pass: Option<Pass>,
}

/// The order of one epoch.
#[derive(Clone)]
struct Pass {
    number: u64,
    /// [N] int64.
    order: Tensor,
    /// [N] bool, by position in the order; `None` if nothing is mirrored.
    mirrored: Option<Tensor>,
}

scripted!(
    Loader,
    "loader",
    |l| Display::text(l.summary()),
    bytes = Loader::bytes,
    facts = |l| vec![
        ("images", l.len().to_string()),
        ("batch", l.options().batch.to_string()),
        ("device", l.options().device.to_string()),
    ],
);

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.summary())
    }
}

impl Loader {
    /// Creates a loader at the first batch of the first epoch.
    pub fn new(dataset: &Dataset, options: &LoaderOptions) -> Result<Self> {
        options.check()?;
        ensure!(
            options.shuffle || options.image_weights.is_none(),
            "`image_weights` draws images at random, so it cannot be given with `shuffle: false`"
        );
        let weighted = options.image_weights.as_ref().map(|weights| weights.of(dataset)).transpose();
        let weighted = weighted.map_err(|e| e.context("`image_weights`"))?;
        let moved = |(name, field): (&String, &Store)| Ok((name.clone(), field.to_device(options.device)?));
        Ok(Self(Arc::new(Shared {
            fields: dataset.stored_fields().iter().map(moved).collect::<Result<_>>()?,
            images: dataset.stored().to_device(options.device)?,
            labels: dataset.labels().to_device(options.device)?,
            name: format!("{} ({})", dataset.name(), dataset.split()),
            options: options.clone(),
            weighted,
            cursor: Mutex::default(),
            fingerprint: OnceLock::new(),
        })))
    }

    /// Returns the next batch, always of full size: if an epoch ends within it, the next epoch fills it up.
    pub fn next(&self) -> Result<Batch> {
        let size = self.0.options.batch;
        self.made(size, (0, size))
    }

    /// Like [`next`](Self::next), but loads only `count` images of the batch, from `start` on, and their fields. Labels and
    /// indices are those of the whole batch.
    pub fn next_share(&self, start: i64, count: i64) -> Result<Batch> {
        self.made(self.0.options.batch, (start, count))
    }

    /// Draws a share of the next `size` images and calls `augment`, which may use the loader.
    fn made(&self, size: i64, share: (i64, i64)) -> Result<Batch> {
        let (batch, position) = {
            let mut cursor = self.cursor();
            let position = cursor.position;
            (self.draw(&mut cursor, size, share)?, position)
        };
        let LoaderOptions { seed, augment: Some(function), .. } = &self.0.options else { return Ok(batch) };
        let place = Place { seed: *seed, position, row: share.0, size };
        let made = augmented(function, batch, &place);
        if made.is_err() {
            // The batch comes again when the mistake is mended.
            self.seek(position);
        }
        made
    }

    /// Calls `each` with batches of every image exactly once, of which the last may be smaller; returns the number
    /// of batches. Starts a new epoch, even if [`Loader::next`] is in the middle of one.
    pub fn epoch(&self, mut each: impl FnMut(Batch) -> Result<()>) -> Result<u64> {
        let mut left = self.len();
        {
            let mut cursor = self.cursor();
            cursor.position = cursor.position.next_multiple_of(left as u64);
        }
        let mut batches = 0;
        while left > 0 {
            let size = left.min(self.0.options.batch);
            // The lock is not held while `each` runs, so `each` may use the loader too.
            each(self.made(size, (0, size))?)?;
            left -= size;
            batches += 1;
        }
        Ok(batches)
    }

    /// Returns the bytes of the loader's tensors; on the CPU the images are those of the data set.
    fn bytes(&self) -> u64 {
        let order = |p: &Pass| p.order.bytes() + p.mirrored.as_ref().map_or(0, Tensor::bytes);
        let pass = self.cursor().pass.as_ref().map_or(0, order);
        let fields: u64 = self.0.fields.values().map(Store::bytes).sum();
        self.0.images.bytes() + self.0.labels.bytes() + fields + pass
    }

    /// Returns the number of images per epoch.
    #[expect(clippy::len_without_is_empty, reason = "a loader is never empty")]
    pub fn len(&self) -> i64 {
        self.0.images.shape()[0]
    }

    /// Returns the number of batches per epoch, including a smaller last one.
    pub fn batches(&self) -> i64 {
        (self.len() as u64).div_ceil(self.0.options.batch as u64) as i64
    }

    /// Returns the options.
    pub fn options(&self) -> &LoaderOptions {
        &self.0.options
    }

    /// Returns the number of images drawn so far.
    pub fn position(&self) -> u64 {
        self.cursor().position
    }

    /// Moves to a position; the next batch starts there.
    pub fn seek(&self, position: u64) {
        self.cursor().position = position;
    }

    /// Returns the state of the loader as plain data for a checkpoint.
    pub fn state(&self) -> Result<Map> {
        let mut state = self.identity()?;
        state.insert("position".to_string(), self.position().into_value());
        Ok(state)
    }

    /// Restores the state of a loader over the same images, with the same seed and order.
    pub fn restore(&self, state: &Map) -> Result<()> {
        self.cursor().position = self.position_in(state)?;
        Ok(())
    }

    /// Returns the position in a state, or an error if the state does not fit this loader.
    pub fn position_in(&self, state: &Map) -> Result<u64> {
        let identity = self.identity()?;
        let differs = |key: &&str| state.contains_key(*key) != identity.contains_key(*key);
        if let Some(key) = [WEIGHTS, AUGMENT].into_iter().find(differs) {
            let given = |map: &Map| if map.contains_key(key) { "with" } else { "without" };
            return Err(Error::argument(format!(
                "the loader state was saved {} `{key}`, but this loader is {} it",
                given(state),
                given(&identity)
            )));
        }
        for (key, here) in identity {
            let there = state
                .get(&key)
                .ok_or_else(|| Error::argument(format!("the loader state has no entry `{key}`")))?;
            if key == "data" {
                let Value::Str(there) = there else {
                    return Err(there.mismatch("a text").context("entry `data` of the loader state"));
                };
                // Current fingerprints contain a dash.
                let here = if there.contains('-') { self.fingerprint()? } else { self.first_fingerprint()? };
                if *there != here {
                    let what = format!(
                        "the loader state was saved with data {there}, but this loader has data {here}"
                    );
                    let others = match self.0.fields.is_empty() && there.matches('-').count() < 2 {
                        true => "other images or labels",
                        false => "other images, labels or fields",
                    };
                    let hint = match self.0.images.bytes() {
                        0 => {
                            "files of a folder that is not kept in memory are compared by name, size and \
                             modification time, and only with such a folder: keep `in_memory` as it was"
                        }
                        _ => {
                            "images drawn at random are others in each process, unless `tensor::seed(n)` comes \
                             before them, and those of a folder count as others if `in_memory` was not the same; a \
                             new `out` starts a new run"
                        }
                    };
                    return Err(Error::argument(format!("{what}: {others}")).hint(hint));
                }
                continue;
            }
            ensure!(
                format!("{there:?}") == format!("{here:?}"),
                "the loader state was saved with {key} {there:?}, but this loader has {key} {here:?}"
            );
        }
        match state.get("position") {
            Some(Value::Int(position)) if *position >= 0 => Ok(*position as u64),
            _ => Err(Error::argument("the loader state has no entry `position` of at least 0")),
        }
    }

    fn identity(&self) -> Result<Map> {
        let LoaderOptions { seed, shuffle, flip, ref image_weights, ref augment, .. } = self.0.options;
        let mut identity = Map::from([
            ("count".to_string(), Value::Int(self.len())),
            ("seed".to_string(), Value::Int(seed)),
            ("shuffle".to_string(), Value::Bool(shuffle)),
            ("flip".to_string(), Value::Bool(flip)),
            ("data".to_string(), Value::Str(self.fingerprint()?)),
        ]);
        if let Some(weights) = image_weights {
            identity.insert(WEIGHTS.to_string(), Value::Str(weights.identity()));
        }
        if augment.is_some() {
            identity.insert(AUGMENT.to_string(), Value::Bool(true));
        }
        Ok(identity)
    }

    /// Returns the fingerprint of images, labels and any fields: a hash of all values, or of the names, sizes and times
    /// of files.
    fn fingerprint(&self) -> Result<String> {
        if let Some(known) = self.0.fingerprint.get() {
            return Ok(known.clone());
        }
        let text = uninterrupted(|| -> Result<String> {
            let short =
                |hash: &[u8]| hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>();
            let labels = short(&Sha256::digest(self.0.labels.to_bytes()?));
            let own = format!("{}-{labels}", self.0.images.identity()?);
            if self.0.fields.is_empty() {
                return Ok(own);
            }
            let mut hasher = Sha256::new();
            for (name, field) in &self.0.fields {
                hasher.update(format!("{name} {}\n", field.identity()?));
            }
            Ok(format!("{own}-{}", short(&hasher.finalize())))
        })?;
        Ok(self.0.fingerprint.get_or_init(|| text).clone())
    }

    /// Returns the fingerprint of earlier versions: a hash of the shape, all labels and some images.
    fn first_fingerprint(&self) -> Result<String> {
        let every = (self.len() as usize).div_ceil(FINGERPRINTED) as i64;
        let bytes = uninterrupted(|| -> Result<[Vec<u8>; 2]> {
            let step = crate::torch::DType::Int64;
            let some = Tensor::arange(0.0, self.len() as f64, every as f64, step, self.0.options.device)?;
            Ok([self.0.images.index_select(0, &some)?.to_bytes()?, self.0.labels.to_bytes()?])
        })?;
        let mut hash = Sha256::new();
        hash.update(format!("{:?} {}", self.0.images.shape(), self.0.images.dtype().name()));
        bytes.iter().for_each(|part| hash.update(part));
        Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    fn cursor(&self) -> std::sync::MutexGuard<'_, Cursor> {
        self.0.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the indices of the next images and which are mirrored, and advances the cursor.
    fn plan(&self, cursor: &mut Cursor, size: i64) -> Result<(Tensor, Option<Tensor>)> {
        let count = self.len();
        let (mut position, mut left) = (cursor.position, size);
        let (mut order, mut mirrored) = (Vec::new(), Vec::new());
        while left > 0 {
            let (number, start) = (position / count as u64, (position % count as u64) as i64);
            let length = left.min(count - start);
            if cursor.pass.as_ref().is_none_or(|p| p.number != number) {
                cursor.pass = Some(self.pass(number)?);
            }
            if let Some(pass) = &cursor.pass {
                order.push(pass.order.narrow(0, start, length)?);
                if let Some(flags) = &pass.mirrored {
                    mirrored.push(flags.narrow(0, start, length)?);
                }
            }
            position += length as u64;
            left -= length;
        }
        cursor.position = position;
        let mirrored = (!mirrored.is_empty()).then(|| Tensor::cat(&mirrored, 0)).transpose()?;
        Ok((Tensor::cat(&order, 0)?, mirrored))
    }

    /// Returns the next `size` images, of which only those of `share` are loaded, and advances the cursor.
    fn draw(&self, cursor: &mut Cursor, size: i64, (start, count): (i64, i64)) -> Result<Batch> {
        let mut next = cursor.clone();
        let (order, mirrored) = self.plan(&mut next, size)?;
        let own = order.narrow(0, start, count)?;
        let mut images = pixels::to_float(&self.0.images.index_select(0, &own)?)?;
        let mirrored = mirrored.map(|flags| flags.narrow(0, start, count)).transpose()?;
        if let Some(flags) = &mirrored {
            images = mirror(&images, flags)?;
        }
        let sides = &self.0.images.shape()[2..];
        let mut fields = BTreeMap::new();
        for (name, field) in &self.0.fields {
            let rows = field.index_select(0, &own)?;
            let shape = rows.shape();
            let is_image = looks_like_images(&shape, sides);
            let rows = match &mirrored {
                Some(flags) if is_image => mirror(&rows, flags)?,
                _ => rows,
            };
            fields.insert(name.clone(), rows);
        }
        let labels = self.0.labels.index_select(0, &order)?;
        *cursor = next;
        let of_files: Vec<&Store> = std::iter::once(&self.0.images)
            .chain(self.0.fields.values())
            .filter(|s| s.reads_ahead())
            .collect();
        if !of_files.is_empty() {
            let mut ahead = cursor.clone();
            let soon = (0..AHEAD).map(|_| self.plan(&mut ahead, size)?.0.narrow(0, start, count));
            let soon = Tensor::cat(&soon.collect::<Result<Vec<_>>>()?, 0)?;
            of_files.iter().try_for_each(|store| store.read_ahead(&soon))?;
        }
        Ok(Batch { images, labels, indices: order, fields: Fields::new(fields) })
    }

    /// Draws the order of an epoch, on the CPU, so that it is the same on every device.
    fn pass(&self, number: u64) -> Result<Pass> {
        let LoaderOptions { seed, shuffle, flip, device, .. } = self.0.options;
        let generator = Generator::new(mix(seed as u64, number), Device::Cpu)?;
        let count = self.len();
        let order = match &self.0.weighted {
            Some(weighted) => weighted.order(&generator)?,
            None if shuffle => Tensor::randperm(count, Device::Cpu, Some(&generator))?,
            None => Tensor::arange(0.0, count as f64, 1.0, crate::torch::DType::Int64, Device::Cpu)?,
        };
        let mirrored = match flip {
            true => {
                let draws =
                    Tensor::rand(&[count], crate::torch::DType::Float32, Device::Cpu, Some(&generator))?;
                Some(draws.lt_scalar(0.5)?.to_device(device)?)
            }
            false => None,
        };
        Ok(Pass { number, order: order.to_device(device)?, mirrored })
    }

    fn summary(&self) -> String {
        let LoaderOptions { batch, seed, shuffle, flip, device, ref augment, .. } = self.0.options;
        format!(
            "loader of {}: batches of {batch}, {} a pass, {}{}{} on {device}, {} images drawn",
            self.0.name,
            self.batches(),
            if self.0.weighted.is_some() {
                format!("drawn by weight with seed {seed}")
            } else if shuffle {
                format!("shuffled with seed {seed}")
            } else {
                "in order".to_string()
            },
            if flip { ", mirrored at random" } else { "" },
            if augment.is_some() { ", augmented" } else { "" },
            self.position(),
        )
    }
}

/// Mirrors the rows of x [B, .., W] whose flag is true.
fn mirror(x: &Tensor, flags: &Tensor) -> Result<Tensor> {
    let column: Vec<i64> = std::iter::once(-1).chain(vec![1; x.rank() - 1]).collect();
    x.flip(&[-1])?.where_true(&flags.reshape(&column)?, x)
}

/// Returns whether a field of this shape is mirrored with images whose sides are `sides`: if it has their size, or channels
/// and sides of the same ratio.
fn looks_like_images(shape: &[i64], sides: &[i64]) -> bool {
    match shape {
        [_, h, w] => [*h, *w] == *sides,
        [_, .., h, w] => h * sides[1] == w * sides[0],
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{FromTensorsOptions, from_tensors};

    fn ten() -> Dataset {
        let bytes: Vec<u8> = (0..20).collect();
        let images = Tensor::from_u8(&bytes, &[10, 1, 1, 2]).unwrap();
        let labels = Tensor::from_i64(&(0..10).collect::<Vec<_>>(), &[10]).unwrap();
        from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap()
    }

    fn labels(loader: &Loader) -> Vec<i64> {
        loader.next().unwrap().labels.to_i64().unwrap()
    }

    #[test]
    fn a_pass_visits_each_image_once_and_the_next_has_another_order() {
        let loader = ten().loader(&LoaderOptions { batch: 4, ..LoaderOptions::default() }).unwrap();
        let drawn: Vec<i64> = (0..5).flat_map(|_| labels(&loader)).collect();
        let (mut first, mut second) = (drawn[..10].to_vec(), drawn[10..].to_vec());
        assert_ne!(first, second);
        first.sort();
        second.sort();
        assert_eq!(first, (0..10).collect::<Vec<_>>());
        assert_eq!(first, second);
    }

    #[test]
    fn images_stay_with_their_labels_and_mirroring_swaps_columns_of_some() {
        let options = LoaderOptions { batch: 10, flip: true, ..LoaderOptions::default() };
        let batch = ten().loader(&options).unwrap().next().unwrap();
        let pixels = batch.images.to_f32().unwrap();
        let value = |b: i64| (b as f32) / 127.5 - 1.0;
        let mut mirrored = 0;
        assert_eq!(batch.indices.to_i64().unwrap(), batch.labels.to_i64().unwrap());
        for (label, pair) in batch.labels.to_i64().unwrap().into_iter().zip(pixels.chunks(2)) {
            let plain = [value(2 * label), value(2 * label + 1)];
            let close = |a: [f32; 2]| (a[0] - pair[0]).abs() < 1e-6 && (a[1] - pair[1]).abs() < 1e-6;
            assert!(close(plain) || close([plain[1], plain[0]]));
            mirrored += usize::from(!close(plain));
        }
        assert!((1..10).contains(&mirrored), "{mirrored} of 10 were mirrored");
    }

    #[test]
    fn a_state_restores_the_next_batches() {
        let options = LoaderOptions { batch: 3, seed: 7, ..LoaderOptions::default() };
        let loader = ten().loader(&options).unwrap();
        (0..5).for_each(|_| drop(labels(&loader)));
        let state = loader.state().unwrap();
        let expected: Vec<_> = (0..4).map(|_| labels(&loader)).collect();
        let later = ten().loader(&options).unwrap();
        later.restore(&state).unwrap();
        assert_eq!((0..4).map(|_| labels(&later)).collect::<Vec<_>>(), expected);

        let other = ten().loader(&LoaderOptions { seed: 8, ..options.clone() }).unwrap();
        assert!(other.restore(&state).unwrap_err().message().contains("seed 7"));

        let images = Tensor::from_u8(&[7; 20], &[10, 1, 1, 2]).unwrap();
        let labels = Tensor::from_i64(&(0..10).collect::<Vec<_>>(), &[10]).unwrap();
        let brighter = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
        let error = brighter.loader(&options).unwrap().restore(&state).unwrap_err();
        assert!(error.message().contains("saved with data"), "{error}");
    }

    /// Changes one image or label among more than any sample would cover.
    #[test]
    fn every_image_and_label_counts() {
        let images = Tensor::zeros(&[3000, 1, 1, 1], crate::torch::DType::UInt8, Device::Cpu).unwrap();
        let labels = Tensor::zeros(&[3000], crate::torch::DType::Int64, Device::Cpu).unwrap();
        let options = FromTensorsOptions { classes: Some(2), ..FromTensorsOptions::default() };
        let loader = |images: &Tensor, labels: &Tensor| {
            from_tensors(images, labels, &options).unwrap().loader(&LoaderOptions::default()).unwrap()
        };
        let state = loader(&images, &labels).state().unwrap();
        loader(&images, &labels).restore(&state).unwrap();
        for place in [1, 1500, 2999] {
            let (other, relabeled) = (images.copy().unwrap(), labels.copy().unwrap());
            other.select(0, place).unwrap().fill_(1.0).unwrap();
            relabeled.select(0, place).unwrap().fill_(1.0).unwrap();
            assert!(loader(&other, &labels).restore(&state).is_err(), "image {place}");
            assert!(loader(&images, &relabeled).restore(&state).is_err(), "label {place}");
        }
        // A state of a version that hashed only some images.
        let mut old = state;
        old.insert("data".to_string(), Value::Str(loader(&images, &labels).first_fingerprint().unwrap()));
        loader(&images, &labels).restore(&old).unwrap();
    }

    #[test]
    fn fields_are_those_of_the_images_and_mirrored_with_them() {
        let draws = Generator::new(1, Device::Cpu).unwrap();
        let images =
            Tensor::randn(&[10, 1, 2, 4], crate::torch::DType::Float32, Device::Cpu, Some(&draws)).unwrap();
        let images = images.clamp(-1.0, 1.0).unwrap();
        let labels = Tensor::from_i64(&(0..10).collect::<Vec<_>>(), &[10]).unwrap();
        let plain = from_tensors(&images, &labels, FromTensorsOptions::default()).unwrap();
        // The middle of the columns, in the ratio of the images.
        let middle = |images: &Tensor| images.narrow(2, 0, 1).and_then(|x| x.narrow(3, 1, 2)).unwrap();
        let half = middle(&images);
        let map = images.select(1, 0).unwrap();
        let text = images.reshape(&[10, 8]).unwrap();
        let set = plain.with_fields([("half", half), ("map", map), ("text", text.clone())]).unwrap();
        let options = LoaderOptions { batch: 7, flip: true, seed: 3, ..LoaderOptions::default() };
        let loader = set.loader(&options).unwrap();
        let share = set.loader(&options).unwrap();
        for _ in 0..3 {
            let batch = loader.next().unwrap();
            let field = |name: &str| batch.fields.get(name).unwrap();
            assert!(field("half").equal(&middle(&batch.images)).unwrap());
            assert!(field("map").equal(&batch.images.select(1, 0).unwrap()).unwrap());
            assert!(field("text").equal(&text.index_select(0, &batch.indices).unwrap()).unwrap());
            let part = share.next_share(2, 3).unwrap();
            for (name, tensor) in part.fields.iter() {
                assert!(tensor.equal(&field(name).narrow(0, 2, 3).unwrap()).unwrap(), "{name}");
            }
        }
        // Other fields are other data; without fields the fingerprint is that of earlier versions.
        let state = loader.state().unwrap();
        let other = plain.with_fields([("text", text.add_scalar(1.0).unwrap())]).unwrap();
        let error = other.loader(&options).unwrap().restore(&state).unwrap_err();
        assert!(error.message().ends_with("other images, labels or fields"), "{error}");
        assert!(plain.loader(&options).unwrap().restore(&state).is_err());
        set.loader(&options).unwrap().restore(&state).unwrap();
        let own = plain.loader(&options).unwrap().fingerprint().unwrap();
        assert!(loader.fingerprint().unwrap().starts_with(&format!("{own}-")));
    }

    #[test]
    fn an_epoch_starts_anew_and_ends_with_a_smaller_batch() {
        let loader = ten().loader(&LoaderOptions { batch: 4, ..LoaderOptions::default() }).unwrap();
        labels(&loader);
        let mut sizes = Vec::new();
        let mut seen = Vec::new();
        let batches = loader
            .epoch(|batch| {
                sizes.push(batch.len());
                seen.extend(batch.labels.to_i64()?);
                Ok(())
            })
            .unwrap();
        seen.sort();
        assert_eq!((batches, sizes), (3, vec![4, 4, 2]));
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn shares_of_a_batch_are_parts_of_it() {
        let options = LoaderOptions { batch: 7, flip: true, seed: 3, ..LoaderOptions::default() };
        let whole = ten().loader(&options).unwrap();
        let parts = [(0, 3), (3, 2), (5, 2)].map(|share| (share, ten().loader(&options).unwrap()));
        // The batches cross the ends of epochs.
        for _ in 0..4 {
            let batch = whole.next().unwrap();
            for ((start, count), loader) in &parts {
                let part = loader.next_share(*start, *count).unwrap();
                let expected = batch.images.narrow(0, *start, *count).unwrap();
                assert_eq!(part.images.to_f32().unwrap(), expected.to_f32().unwrap());
                assert_eq!(part.labels.to_i64().unwrap(), batch.labels.to_i64().unwrap());
                assert_eq!(part.indices.to_i64().unwrap(), batch.indices.to_i64().unwrap());
            }
        }
    }

    #[test]
    fn a_batch_may_be_larger_than_the_data() {
        let options = LoaderOptions { batch: 25, shuffle: false, ..LoaderOptions::default() };
        let drawn = labels(&ten().loader(&options).unwrap());
        assert_eq!(drawn, (0..25).map(|i| i % 10).collect::<Vec<_>>());
    }
}
