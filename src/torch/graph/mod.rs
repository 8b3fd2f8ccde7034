//! Functions of tensors that are recorded once as CUDA graphs and then replayed, which saves the time to launch
//! their kernels one by one.
//!
//! A recording holds addresses and numbers, not the code that produced them. Everything that a function reads
//! besides its inputs must therefore keep its address (weights may change in place), and the function must neither
//! wait for the device nor draw random numbers. [`Graphs`] handles the rest: it records functions called often
//! enough with inputs of the same shapes and dtypes, keeps the bfloat16 copies of weights up to date, and runs a
//! function without a graph, with a warning that says why, wherever a recording would be incorrect.

mod recording;

use std::ffi::{CStr, c_void};

use self::recording::{Recording, name, side_stream};
use super::autograd::is_recording;
use super::ffi::{self, check};
use super::{DType, Device, Tensor, no_grad};
use crate::error::{Error, Kind, Result};

/// Number of calls with the same signature before the call that is recorded.
pub const WARM_UP: usize = 2;

/// Maximum number of recordings that are kept; each has its own memory for everything it computes.
pub const MOST: usize = 4;

/// Maximum number of times recordings are made again because weights have moved.
const MOST_MOVES: usize = 3;

/// Recordings of functions on one device that read the same weights.
pub struct Graphs {
    device: Device,
    weights: Vec<Tensor>,
    entries: Vec<Entry>,
    calls: u64,
    moves: usize,
    off: bool,
    counts: Counts,
}

/// Numbers of calls by how they were executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls run without a graph, warm-up included.
    pub plain: usize,
    /// Recordings made.
    pub recorded: usize,
    /// Calls answered by replaying a recording.
    pub replayed: usize,
}

/// Properties of a call that must match those of a recording.
#[derive(Debug, Clone, PartialEq)]
struct Signature {
    function: u64,
    inputs: Vec<(Vec<i64>, DType)>,
    gradients: bool,
}

struct Entry {
    signature: Signature,
    /// Number of calls so far.
    seen: usize,
    last: u64,
    recorded: Option<Recorded>,
}

struct Recorded {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Addresses of the weights and their copies.
    addresses: Vec<usize>,
    recording: Recording,
}

impl Graphs {
    /// Creates an empty set of recordings for functions on `device` that read `weights`.
    pub fn new(device: Device, weights: Vec<Tensor>) -> Self {
        Self {
            device,
            weights,
            entries: Vec::new(),
            calls: 0,
            moves: 0,
            off: false,
            counts: Counts::default(),
        }
    }

    /// Returns the numbers of calls so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Returns the outputs of `body` for `inputs`. The number `function` identifies everything that the body reads
    /// besides the inputs and the weights: bodies that could differ must have different numbers.
    ///
    /// The next call may overwrite the outputs, so copy those to be kept. They record no gradients.
    pub fn run(
        &mut self,
        function: u64,
        inputs: &[Tensor],
        body: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        if !self.serves(inputs)? {
            self.counts.plain += 1;
            return body(inputs);
        }
        self.calls += 1;
        let signature = Signature {
            function,
            inputs: inputs.iter().map(|t| (t.shape(), t.dtype())).collect(),
            gradients: is_recording(),
        };
        let place = self.place(signature);
        let entry = &mut self.entries[place];
        entry.last = self.calls;
        entry.seen += 1;
        if entry.seen <= WARM_UP {
            self.counts.plain += 1;
            return side_stream(self.device, || body(inputs));
        }
        let addresses = no_grad(|| addresses(&self.weights))?;
        if entry.recorded.as_ref().is_some_and(|r| r.addresses != addresses) {
            entry.recorded = None;
            self.moves += 1;
            if self.moves > MOST_MOVES {
                return self.give_up("the addresses of the weights keep changing", inputs, body);
            }
        }
        if self.entries[place].recorded.is_none() {
            match record(self.device, inputs, addresses, body) {
                Ok(recorded) => {
                    self.counts.recorded += 1;
                    self.entries[place].recorded = Some(recorded);
                    self.evict();
                }
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                Err(error) => {
                    let why = format!("nothing could be recorded: {}", error.message());
                    return self.give_up(&why, inputs, body);
                }
            }
        }
        let recorded = self.entries.iter().find(|e| e.last == self.calls).and_then(|e| e.recorded.as_ref());
        let recorded = recorded.ok_or_else(|| Error::internal("a recording that was just made is gone"))?;
        self.counts.replayed += 1;
        recorded.replay(inputs)
    }

    /// Returns whether a recording may be used for these inputs; otherwise warns once with the reason.
    fn serves(&self, inputs: &[Tensor]) -> Result<bool> {
        if self.off {
            return Ok(false);
        }
        let name = name(self.device)?;
        // SAFETY: the name outlives the calls.
        let (recorder, autocasts) =
            unsafe { (ffi::sp_has_recorder(name.as_ptr()) != 0, ffi::sp_autocasts(name.as_ptr()) != 0) };
        let why = match () {
            () if !recorder && !self.device.is_cuda() => {
                format!("the model is on {}, and only CUDA has graphs", self.device)
            }
            () if !recorder => {
                "this libtorch lacks the functions that record them, or an earlier recording failed"
                    .to_string()
            }
            // Autocast would cache casts inside a recording and reuse them in later calls.
            () if autocasts => "autocast is on around them".to_string(),
            () if inputs.iter().any(|t| t.device() != self.device || t.requires_grad()) => {
                "an input is elsewhere or records gradients".to_string()
            }
            () => return Ok(true),
        };
        refuse(&why);
        Ok(false)
    }

    /// Returns the index of the entry for a signature and adds an entry if there is none.
    fn place(&mut self, signature: Signature) -> usize {
        match self.entries.iter().position(|e| e.signature == signature) {
            Some(place) => place,
            None => {
                self.entries.push(Entry { signature, seen: 0, last: self.calls, recorded: None });
                self.entries.len() - 1
            }
        }
    }

    /// Drops the least recently used recording if there are too many.
    fn evict(&mut self) {
        let held = self.entries.iter().filter(|e| e.recorded.is_some());
        if held.clone().count() > MOST
            && let Some(oldest) = held.map(|e| e.last).min()
        {
            self.entries.retain(|e| e.last != oldest);
        }
    }

    fn give_up(
        &mut self,
        why: &str,
        inputs: &[Tensor],
        body: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Tensor>> {
        refuse(why);
        self.off = true;
        self.entries.clear();
        self.counts.plain += 1;
        body(inputs)
    }
}

impl Recorded {
    fn replay(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        no_grad(|| self.inputs.iter().zip(inputs).try_for_each(|(own, given)| own.copy_(given)))?;
        self.recording.replay()?;
        Ok(self.outputs.clone())
    }
}

fn record(
    device: Device,
    inputs: &[Tensor],
    addresses: Vec<usize>,
    body: &dyn Fn(&[Tensor]) -> Result<Vec<Tensor>>,
) -> Result<Recorded> {
    // Allocated before the recording starts, so that the inputs do not use the memory of the graph.
    let own = no_grad(|| inputs.iter().map(|t| t.detach()?.copy()).collect::<Result<Vec<_>>>())?;
    let (recording, outputs) = Recording::of(device, || {
        let made = body(&own)?;
        made.iter().map(Tensor::detach).collect::<Result<Vec<_>>>()
    })?;
    Ok(Recorded { inputs: own, outputs, addresses, recording })
}

/// Returns the addresses of weights and of their bfloat16 copies, after bringing the copies up to date.
fn addresses(weights: &[Tensor]) -> Result<Vec<usize>> {
    let mut list = ffi::raws(weights);
    let mut found: Vec<*const c_void> = vec![std::ptr::null(); 2 * weights.len()];
    // SAFETY: both arrays outlive the call and have room for what is read and written.
    check(unsafe { ffi::sp_renew_bf16_weights(list.as_mut_ptr(), list.len() as i64, found.as_mut_ptr()) })?;
    Ok(found.into_iter().map(|p| p as usize).collect())
}

/// Issues a libtorch warning, once for each text, with the reason why graphs are not used.
pub fn refuse(why: &str) {
    if let Ok(text) = ffi::c_string(&format!("CUDA graphs are not used: {why}")) {
        // SAFETY: the text outlives the call.
        unsafe { ffi::sp_warn_once(text.as_ptr()) }
    }
}

/// Returns whether functions can be recorded on a device.
pub fn available(device: Device) -> bool {
    // SAFETY: the name outlives the call.
    name(device).is_ok_and(|name| unsafe { ffi::sp_has_recorder(name.as_ptr()) != 0 })
}

/// Returns the symbols of libtorch's CUDA library that are used for recording, one per line.
pub fn symbols() -> String {
    // SAFETY: returns a string that lives as long as the program.
    unsafe { CStr::from_ptr(ffi::sp_graph_symbols()) }.to_string_lossy().into_owned()
}

/// Runs `body` with a test recorder for CPU tensors on this thread; the previous recorder is restored even if
/// `body` fails or panics.
///
/// # Safety
/// `recorder` must point to a `Recorder` of `shim/graph.h` that outlives all recordings.
pub unsafe fn emulated<T>(recorder: *const c_void, body: impl FnOnce() -> T) -> T {
    struct Back(*const c_void);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: the previous recorder lives as long as the call that set it.
            unsafe { ffi::sp_emulate_graphs(self.0) };
        }
    }
    // SAFETY: guaranteed by the caller; the recorder is unset before it is dropped.
    let _back = Back(unsafe { ffi::sp_emulate_graphs(recorder) });
    body()
}
