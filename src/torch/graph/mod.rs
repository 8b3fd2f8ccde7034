//! Functions of tensors that are recorded once on CUDA and then replayed, without the time that it takes to start their
//! kernels one by one.
//!
//! A recording holds addresses and numbers, not the code that led to them. So whatever a function reads beside its inputs
//! must stay where it is (weights may change in place), it may not wait for the device, and it draws no random numbers.
//! [`Graphs`] sees to the rest: it records what was called often enough with inputs of one kind, makes the copies of
//! weights in bfloat16 current, and computes plainly wherever a recording would not be right, with a warning that says why.

mod recording;

use std::ffi::{CStr, c_void};

use self::recording::{Recording, aside, name};
use super::autograd::is_recording;
use super::ffi::{self, check};
use super::{DType, Device, Tensor, no_grad};
use crate::error::{Error, Kind, Result};

/// Calls of one kind before the one that is recorded.
pub const WARM_UP: usize = 2;

/// How many recordings are kept, each with memory of its own for all that it computes.
pub const MOST: usize = 4;

/// How often a recording is made again since weights have moved.
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

/// How calls were answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Computed as if there were no recordings, warm-up included.
    pub plain: usize,
    /// Recordings that were made.
    pub recorded: usize,
    /// Answered by a recording.
    pub replayed: usize,
}

/// What must be equal for a recording to serve.
#[derive(Debug, Clone, PartialEq)]
struct Signature {
    function: u64,
    inputs: Vec<(Vec<i64>, DType)>,
    gradients: bool,
}

struct Entry {
    signature: Signature,
    /// Calls so far.
    seen: usize,
    last: u64,
    recorded: Option<Recorded>,
}

struct Recorded {
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Where the weights and their copies lay.
    addresses: Vec<usize>,
    recording: Recording,
}

impl Graphs {
    /// Nothing recorded yet, for functions on `device` that read `weights`.
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

    /// How calls were answered so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What `body` gives for `inputs`. The number `function` stands for all that the body reads beside them and the weights:
    /// bodies that could differ have different numbers.
    ///
    /// The outputs may lie in memory that the next call writes to, so copy what is kept. They record no gradients.
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
            return aside(self.device, || body(inputs));
        }
        let addresses = no_grad(|| addresses(&self.weights))?;
        if entry.recorded.as_ref().is_some_and(|r| r.addresses != addresses) {
            entry.recorded = None;
            self.moves += 1;
            if self.moves > MOST_MOVES {
                return self.give_up("the weights do not stay where they are", inputs, body);
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

    /// Whether a recording may serve for these inputs; a warning says why not, once.
    fn serves(&self, inputs: &[Tensor]) -> Result<bool> {
        if self.off {
            return Ok(false);
        }
        let name = name(self.device)?;
        // SAFETY: the name lives through the calls.
        let (recorder, autocasts) =
            unsafe { (ffi::sp_has_recorder(name.as_ptr()) != 0, ffi::sp_autocasts(name.as_ptr()) != 0) };
        let why = match () {
            () if !recorder && !self.device.is_cuda() => {
                format!("the model is on {}, and only CUDA has graphs", self.device)
            }
            () if !recorder => "this libtorch lacks the functions that record them".to_string(),
            // Autocast would keep what it rounded in a recording for those who come after.
            () if autocasts => "autocast is on around them".to_string(),
            () if inputs.iter().any(|t| t.device() != self.device || t.requires_grad()) => {
                "an input is elsewhere or records gradients".to_string()
            }
            () => return Ok(true),
        };
        refuse(&why);
        Ok(false)
    }

    /// Where the entry of a signature is; a new one where there was none.
    fn place(&mut self, signature: Signature) -> usize {
        match self.entries.iter().position(|e| e.signature == signature) {
            Some(place) => place,
            None => {
                self.entries.push(Entry { signature, seen: 0, last: self.calls, recorded: None });
                self.entries.len() - 1
            }
        }
    }

    /// Drops the recording that was used the longest ago where there are too many.
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
    // Before the recording, so that they lie in usual memory.
    let own = no_grad(|| inputs.iter().map(|t| t.detach()?.copy()).collect::<Result<Vec<_>>>())?;
    let (recording, outputs) = Recording::of(device, || {
        let made = body(&own)?;
        made.iter().map(Tensor::detach).collect::<Result<Vec<_>>>()
    })?;
    Ok(Recorded { inputs: own, outputs, addresses, recording })
}

/// Where weights lie, and their copies in bfloat16, which are current afterwards.
fn addresses(weights: &[Tensor]) -> Result<Vec<usize>> {
    let mut list = ffi::raws(weights);
    let mut found: Vec<*const c_void> = vec![std::ptr::null(); 2 * weights.len()];
    // SAFETY: both arrays live through the call and have room for what is read and written.
    check(unsafe { ffi::sp_renew_halves(list.as_mut_ptr(), list.len() as i64, found.as_mut_ptr()) })?;
    Ok(found.into_iter().map(|p| p as usize).collect())
}

/// Says once, as a warning of libtorch's, why graphs are not used.
pub fn refuse(why: &str) {
    if let Ok(text) = ffi::c_string(&format!("CUDA graphs are not used: {why}")) {
        // SAFETY: the text lives through the call.
        unsafe { ffi::sp_warn_once(text.as_ptr()) }
    }
}

/// Whether anything can be recorded on a device.
pub fn available(device: Device) -> bool {
    // SAFETY: the name lives through the call.
    name(device).is_ok_and(|name| unsafe { ffi::sp_has_recorder(name.as_ptr()) != 0 })
}

/// The functions of libtorch's CUDA half that record, by the names in its library, one a line.
pub fn symbols() -> String {
    // SAFETY: returns a string that lives as long as the program.
    unsafe { CStr::from_ptr(ffi::sp_graph_symbols()) }.to_string_lossy().into_owned()
}

/// Runs `body` with a recorder for tensors on the CPU on this thread, for tests, also when it fails or panics.
///
/// # Safety
/// `recorder` must point to a `Recorder` of `shim/graph.h`, which outlives all that is recorded.
pub unsafe fn emulated<T>(recorder: *const c_void, body: impl FnOnce() -> T) -> T {
    struct Back(*const c_void);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: the earlier recorder lives as long as the call that set it.
            unsafe { ffi::sp_emulate_graphs(self.0) };
        }
    }
    // SAFETY: promised by the caller; it is taken back before it goes.
    let _back = Back(unsafe { ffi::sp_emulate_graphs(recorder) });
    body()
}
