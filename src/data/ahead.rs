//! Image files read and decoded on background threads, ahead of use.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::background::Background;
use super::decode::{self, Fit};
use crate::error::{Error, Result};
use crate::files;
use crate::torch::Tensor;

/// Maximum number of threads; with more, disk or memory is the limit.
const MOST_THREADS: usize = 16;

/// Image files that are all decoded to one shape.
#[derive(Debug)]
pub struct Ahead {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    paths: Vec<PathBuf>,
    fit: Fit,
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
    /// Creates a reader of files by path, which are all fitted to the same shape.
    pub fn new(paths: Vec<PathBuf>, fit: Fit) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Self { shared: Arc::new(Shared { paths, fit, state, changed }) }
    }

    /// Returns the number of files.
    pub fn len(&self) -> usize {
        self.shared.paths.len()
    }

    /// Returns whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns channels, height and width.
    pub fn image_shape(&self) -> [i64; 3] {
        let Fit { channels, side, .. } = self.shared.fit;
        [channels, side, side]
    }

    /// Adds a file's bytes and the fit to a hash.
    pub fn hash_into(&self, place: usize, hasher: &mut Sha256) -> Result<()> {
        hasher.update(self.fit_words());
        hasher.update(files::read(&self.shared.paths[place])?);
        Ok(())
    }

    /// Adds a file's name, size and modification time, and the fit, to a hash.
    pub fn hash_facts_into(&self, place: usize, hasher: &mut Sha256) -> Result<()> {
        let path = &self.shared.paths[place];
        let facts = std::fs::metadata(path).map_err(|e| files::failed(path, &e))?;
        let changed = facts.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        // The name includes the class but not the folder, which may have been moved.
        let mut names = path.components().rev().map(|part| part.as_os_str().to_string_lossy());
        let (name, class) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let changed = changed.unwrap_or_default().as_nanos();
        hasher.update(format!("{} {class}/{name} {} {changed}\n", self.fit_words(), facts.len()));
        Ok(())
    }

    /// Describes the fit in the format that hashes have always used.
    fn fit_words(&self) -> String {
        let Fit { channels, side, background } = self.shared.fit;
        let fit = format!("Fit {{ channels: {channels}, side: {side} }}");
        if background == Background::default() { fit } else { format!("{fit} over {:?}", background.0) }
    }

    /// Returns the number of files read with barely visible damage, and the path of the first of them.
    pub fn damaged(&self) -> Option<(usize, PathBuf)> {
        let state = self.shared.lock();
        let first = state.damaged.first()?;
        Some((state.damaged.len(), self.shared.paths[*first].clone()))
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

    /// Returns the images at the given indices, [N, C, H, W] uint8; waits until they are read.
    pub fn read(&self, places: &[usize]) -> Result<Tensor> {
        let [c, h, w] = self.image_shape();
        let size = (c * h * w) as usize;
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
        Tensor::from_u8(&pixels, &[places.len() as i64, c, h, w])
    }

    /// Returns the pixels of each index, [C, H, W] bytes, or the error of its file.
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
            let image = std::panic::catch_unwind(|| self.decode(place))
                .unwrap_or_else(|_| Err(Error::file(&self.paths[place], "the decoder failed on this file")));
            state = self.lock();
            state.busy.remove(&place);
            state.ready.insert(place, image);
            self.changed.notify_all();
        }
    }

    fn decode(&self, place: usize) -> Result<Arc<Vec<u8>>> {
        let path: &Path = &self.paths[place];
        let (pixels, damaged) = decode::fitted(&files::read(path)?, path, self.fit)?;
        if damaged {
            self.lock().damaged.insert(place);
        }
        Ok(Arc::new(pixels))
    }
}
