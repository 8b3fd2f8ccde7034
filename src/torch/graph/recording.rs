//! One recording, and computations on the side stream.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;

use crate::error::Result;
use crate::torch::ffi::{self, check};
use crate::torch::{Device, Tensor, uninterrupted};

pub(super) fn name(device: Device) -> Result<CString> {
    ffi::c_string(&device.to_string())
}

/// Recorded operations of a function on a device.
pub(super) struct Recording {
    graph: *mut c_void,
    /// A recording must end on the thread where it began.
    _here: PhantomData<*const ()>,
}

// SAFETY: a recording has ended before anybody else can access it, and then any thread may replay or drop it.
unsafe impl Send for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once.
        unsafe { ffi::sp_graph_free(self.graph) }
    }
}

impl Recording {
    /// Records the operations of `body` on the device; on CUDA they are not executed yet.
    pub(super) fn of<T>(device: Device, body: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let name = name(device)?;
        // A partial recording is useless.
        uninterrupted(|| {
            // SAFETY: the name outlives the call.
            let graph = unsafe { ffi::sp_graph(name.as_ptr()) };
            if graph.is_null() {
                return Err(ffi::last_error());
            }
            // If the body fails, dropping the recording ends it.
            let recording = Self { graph, _here: PhantomData };
            let made = body()?;
            // SAFETY: created above, and still recording.
            check(unsafe { ffi::sp_graph_end(graph) })?;
            Ok((recording, made))
        })
    }

    /// Replays the graph.
    pub(super) fn replay(&self) -> Result<()> {
        // SAFETY: the recording has ended.
        check(unsafe { ffi::sp_graph_replay(self.graph) })
    }
}

/// Runs `body` on the side stream used for recording and returns its outputs as tensors of the current stream.
///
/// The first calls of a function must run there: libtorch then allocates its workspaces for matrix products and
/// does its lazy loading, neither of which may happen during a recording.
pub(super) fn side_stream(device: Device, body: impl FnOnce() -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    struct SideStream(*mut c_void);
    impl Drop for SideStream {
        fn drop(&mut self) {
            // SAFETY: allocated by the shim and freed once.
            unsafe { ffi::sp_side_stream_free(self.0) }
        }
    }
    let name = name(device)?;
    // SAFETY: the name outlives the call.
    let pointer = unsafe { ffi::sp_side_stream(name.as_ptr()) };
    if pointer.is_null() {
        return Err(ffi::last_error());
    }
    let side_stream = SideStream(pointer);
    let made = body();
    // SAFETY: the pointer is valid until the end of the function. Work may still be running even if `body` failed.
    check(unsafe { ffi::sp_side_stream_wait(side_stream.0) })?;
    drop(side_stream);
    let made = made?;
    let own = made.iter().map(|t| t.detach()?.copy()).collect::<Result<Vec<_>>>()?;
    // Memory freed now returns to the side stream, which could overwrite it while the current stream still reads.
    device.synchronize()?;
    Ok(own)
}
