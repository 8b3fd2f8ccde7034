//! One recording, and what is computed on the stream beside the usual one.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;

use crate::error::Result;
use crate::torch::ffi::{self, check};
use crate::torch::{Device, Tensor, uninterrupted};

pub(super) fn name(device: Device) -> Result<CString> {
    ffi::c_string(&device.to_string())
}

/// What a function asked of a device.
pub(super) struct Recording {
    graph: *mut c_void,
    /// It ends on the thread where it began.
    _here: PhantomData<*const ()>,
}

// SAFETY: once it has ended, which it has before anybody else sees it, any thread may replay or drop it.
unsafe impl Send for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: allocated by the shim and freed once.
        unsafe { ffi::sp_graph_free(self.graph) }
    }
}

impl Recording {
    /// Records what `body` asks of the device, which does not happen yet on CUDA.
    pub(super) fn of<T>(device: Device, body: impl FnOnce() -> Result<T>) -> Result<(Self, T)> {
        let name = name(device)?;
        // Half of a recording is of no use.
        uninterrupted(|| {
            // SAFETY: the name lives through the call.
            let graph = unsafe { ffi::sp_graph(name.as_ptr()) };
            if graph.is_null() {
                return Err(ffi::last_error());
            }
            // Dropped where the body fails, it ends, too.
            let recording = Self { graph, _here: PhantomData };
            let made = body()?;
            // SAFETY: made above, and still recording.
            check(unsafe { ffi::sp_graph_end(graph) })?;
            Ok((recording, made))
        })
    }

    /// Asks all of it again.
    pub(super) fn replay(&self) -> Result<()> {
        // SAFETY: it has ended.
        check(unsafe { ffi::sp_graph_replay(self.graph) })
    }
}

/// What `body` gives, computed on the stream that recordings are made on, as tensors of the usual stream.
///
/// The first calls of a function have to be made there: libtorch then takes the memory that it keeps for products and
/// loads what it loads at first use, neither of which may happen in a recording.
pub(super) fn aside(device: Device, body: impl FnOnce() -> Result<Vec<Tensor>>) -> Result<Vec<Tensor>> {
    struct Aside(*mut c_void);
    impl Drop for Aside {
        fn drop(&mut self) {
            // SAFETY: allocated by the shim and freed once.
            unsafe { ffi::sp_aside_free(self.0) }
        }
    }
    let name = name(device)?;
    // SAFETY: the name lives through the call.
    let pointer = unsafe { ffi::sp_aside(name.as_ptr()) };
    if pointer.is_null() {
        return Err(ffi::last_error());
    }
    let aside = Aside(pointer);
    let made = body();
    // SAFETY: it lives until the end of the function. Also what failed may still be running.
    check(unsafe { ffi::sp_aside_wait(aside.0) })?;
    drop(aside);
    let made = made?;
    let own = made.iter().map(|t| t.detach()?.copy()).collect::<Result<Vec<_>>>()?;
    // What is dropped now goes back to the other stream, which would write there while this one still reads.
    device.synchronize()?;
    Ok(own)
}
