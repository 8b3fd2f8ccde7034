//! Files of images and arrays, read and decoded on background threads, ahead of use.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::background::Background;
use super::decode::{self, Fit};
use super::item::Item;
use super::scale::Scale;
use crate::error::{Error, Result};
use crate::torch::io::npy;
use crate::torch::{DType, Tensor};

/// Maximum number of threads; with more, disk or memory is the limit.
const MOST_THREADS: usize = 16;

/// What files become, all of one shape.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Images, uint8 [C, side, side].
    Image(Fit),
    /// Arrays of npy files as they are stored.
    Array {
        /// Shape of each.
        shape: Vec<i64>,
        /// Element type of each.
        dtype: DType,
    },
    /// Latents of npy files, float32 [C, h, w].
    Latents {
        /// Channels, height and width, of which the files may have more channels.
        shape: [i64; 3],
        /// First channel.
        start: i64,
        /// Number of channels in the files.
        channels: i64,
        /// Normalization.
        scale: Scale,
    },
}

impl Form {
    /// Returns the form of arrays like that of the first file.
    pub fn of_arrays(first: &Item) -> Result<Self> {
        let tensor = array(first)?;
        match tensor.count() {
            0 => Err(Error::file(first.path(), "expected numbers, found an array without any")),
            _ => Ok(Self::Array { shape: tensor.shape(), dtype: tensor.dtype() }),
        }
    }

    /// Returns the shape of each file's tensor.
    pub fn shape(&self) -> Vec<i64> {
        match self {
            Self::Image(Fit { channels, side, .. }) => vec![*channels, *side, *side],
            Self::Array { shape, .. } => shape.clone(),
            Self::Latents { shape, .. } => shape.to_vec(),
        }
    }

    /// Returns the dtype of each file's tensor.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Image(_) => DType::UInt8,
            Self::Array { dtype, .. } => *dtype,
            Self::Latents { .. } => DType::Float32,
        }
    }

    /// Returns the bytes of each file's tensor.
    fn bytes(&self) -> usize {
        self.shape().iter().product::<i64>() as usize * self.dtype().size()
    }

    /// Reads a file; the second value tells whether it has barely visible damage.
    fn read(&self, item: &Item) -> Result<(Vec<u8>, bool)> {
        let expect = |tensor: &Tensor, shape: &[i64], dtype: DType| {
            let fits = tensor.shape() == shape && tensor.dtype() == dtype;
            let text = || {
                let (name, found) = (dtype.name(), tensor.signature());
                format!("expected {name} {shape:?} like the first array, found {found}")
            };
            if fits { Ok(()) } else { Err(Error::file(item.path(), text())) }
        };
        match self {
            Self::Image(fit) => decode::fitted(&item.read()?, &item.path(), *fit),
            Self::Array { shape, dtype } => {
                let tensor = array(item)?;
                expect(&tensor, shape, *dtype)?;
                Ok((tensor.to_bytes()?, false))
            }
            Self::Latents { shape: [c, h, w], start, channels, scale } => {
                let tensor = array(item)?;
                expect(&tensor, &[*channels, *h, *w], tensor.dtype())?;
                let latents = tensor.narrow(0, *start, *c)?.unsqueeze(0)?.to_dtype(DType::Float32)?;
                Ok((scale.apply(&latents)?.to_bytes()?, false))
            }
        }
    }
}

/// Reads the array of an npy file.
fn array(item: &Item) -> Result<Tensor> {
    npy::parse_npy(item.read()?).map_err(|e| e.in_file(item.path()))
}

/// Files that all become tensors of one shape.
#[derive(Debug)]
pub struct Ahead {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    items: Vec<Item>,
    form: Form,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Indices that no thread works on yet.
    wanted: VecDeque<usize>,
    /// Indices that a thread works on.
    busy: HashSet<usize>,
    /// Decoded pixels.
    ready: HashMap<usize, Result<Arc<Vec<u8>>>>,
    /// Indices of files with barely visible damage.
    damaged: BTreeSet<usize>,
    threads: usize,
    closed: bool,
}

impl Ahead {
    /// Creates a reader of files.
    pub fn new(items: Vec<Item>, form: Form) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { items, form, state, changed }) }
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.shared.items.len()
    }

    /// Returns whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the shape of each tensor: of images channels, height and width.
    pub fn shape(&self) -> Vec<i64> {
        self.shared.form.shape()
    }

    /// Returns the dtype: uint8 of images.
    pub fn dtype(&self) -> DType {
        self.shared.form.dtype()
    }

    /// Returns the bytes of each tensor.
    pub fn bytes(&self) -> usize {
        self.shared.form.bytes()
    }

    /// Adds a file's bytes and the fit to a hash.
    pub fn hash_into(&self, place: usize, hasher: &mut Sha256) -> Result<()> {
        hasher.update(self.fit_words());
        hasher.update(self.shared.items[place].read()?);
        Ok(())
    }

    /// Adds a file's name, size and modification time, and the fit, to a hash.
    pub fn hash_facts_into(&self, place: usize, hasher: &mut Sha256) -> Result<()> {
        let item = &self.shared.items[place];
        // The name includes the class but not the folder, which may have been moved.
        let path = item.path();
        let mut names = path.components().rev().map(|part| part.as_os_str().to_string_lossy());
        let (name, class) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        hasher.update(format!("{} {class}/{name} {}\n", self.fit_words(), item.facts()?));
        Ok(())
    }

    /// Describes the fit in the format that hashes have always used.
    fn fit_words(&self) -> String {
        let Form::Image(fit) = &self.shared.form else { return format!("{:?}", self.shared.form) };
        let Fit { channels, side, background } = *fit;
        let fit = format!("Fit {{ channels: {channels}, side: {side} }}");
        if background == Background::default() { fit } else { format!("{fit} over {:?}", background.0) }
    }

    /// Returns the number of files read with barely visible damage, and the path of the first of them.
    pub fn damaged(&self) -> Option<(usize, PathBuf)> {
        let state = self.shared.lock();
        let first = state.damaged.first()?;
        Some((state.damaged.len(), self.shared.items[*first].path().into_owned()))
    }

    /// Starts reading files that will be needed soon. If many earlier images were never taken, they are dropped.
    pub fn read_ahead(&self, places: &[usize]) {
        let mut state = self.shared.lock();
        if state.ready.len() > 8 * places.len() + 64 {
            state.ready.retain(|place, _| places.contains(place));
        }
        self.want(&mut state, places);
    }

    /// Returns the number of images that are decoded or being decoded.
    pub fn held(&self) -> usize {
        let state = self.shared.lock();
        state.ready.len() + state.busy.len()
    }

    /// Returns the tensors of the given indices as one, of images [N, C, H, W] uint8; waits until they are read.
    pub fn read(&self, places: &[usize]) -> Result<Tensor> {
        let size = self.shared.form.bytes();
        let mut pixels = room(places.len() * size)?;
        pixels.resize(places.len() * size, 0);
        {
            let mut state = self.shared.lock();
            self.want(&mut state, places);
        }
        let mut taken: HashMap<usize, Arc<Vec<u8>>> = HashMap::new();
        for (place, to) in places.iter().zip(pixels.chunks_exact_mut(size)) {
            let image = match taken.get(place) {
                Some(image) => Arc::clone(image),
                None => {
                    let image = self.take(*place)?;
                    taken.insert(*place, Arc::clone(&image));
                    image
                }
            };
            to.copy_from_slice(&image);
        }
        self.tensor(&pixels, places.len())
    }

    /// Creates the tensor of `count` files from the bytes of each.
    pub fn tensor(&self, bytes: &[u8], count: usize) -> Result<Tensor> {
        let shape = [&[count as i64], &self.shape()[..]].concat();
        Tensor::from_bytes(bytes, &shape, self.dtype())
    }

    /// Returns the bytes of each index, of images [C, H, W], or the error of its file.
    pub fn read_each(&self, places: &[usize]) -> Vec<Result<Arc<Vec<u8>>>> {
        {
            let mut state = self.shared.lock();
            self.want(&mut state, places);
        }
        places.iter().map(|place| self.take(*place)).collect()
    }

    /// Queues indices that are neither read nor queued, and starts threads if needed.
    fn want(&self, state: &mut MutexGuard<State>, places: &[usize]) {
        for place in places {
            let known =
                state.ready.contains_key(place) || state.busy.contains(place) || state.wanted.contains(place);
            if !known {
                state.wanted.push_back(*place);
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let most = cores.min(MOST_THREADS);
        while state.threads < most.min(state.wanted.len()) {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("images".to_string());
            // If no thread can be started, the caller that waits decodes the images itself.
            if builder.spawn(move || shared.work()).is_err() {
                break;
            }
            state.threads += 1;
        }
        self.shared.changed.notify_all();
    }

    fn take(&self, place: usize) -> Result<Arc<Vec<u8>>> {
        let mut state = self.shared.lock();
        loop {
            if let Some(image) = state.ready.remove(&place) {
                return image;
            }
            if !state.busy.contains(&place) {
                // No thread works on this index: it is still queued, or was dropped. The caller decodes it.
                state.wanted.retain(|other| *other != place);
                drop(state);
                return self.shared.decode(place);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Returns an empty buffer with room for some bytes of pixels; a want of memory is an error, as in libtorch.
pub(super) fn room(bytes: usize) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(bytes).map_err(|_| {
        let text = format!("out of memory on the cpu: an allocation of {bytes} bytes for images failed");
        Error::argument(text).hint("read fewer images at once, or smaller ones: option `size`")
    })?;
    Ok(buffer)
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a thread until the files are dropped.
    fn work(&self) {
        let mut state = self.lock();
        while !state.closed {
            let Some(place) = state.wanted.pop_front() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy.insert(place);
            drop(state);
            // A panicking decoder must not block waiting callers forever.
            let image = std::panic::catch_unwind(|| self.decode(place)).unwrap_or_else(|_| {
                Err(Error::file(self.items[place].path(), "the decoder failed on this file"))
            });
            state = self.lock();
            state.busy.remove(&place);
            state.ready.insert(place, image);
            self.changed.notify_all();
        }
    }

    fn decode(&self, place: usize) -> Result<Arc<Vec<u8>>> {
        let (pixels, damaged) = self.form.read(&self.items[place])?;
        if damaged {
            self.lock().damaged.insert(place);
        }
        Ok(Arc::new(pixels))
    }
}
