//! Compiles the recorder of `recorder.cpp` against libtorch and loads it.

use std::ffi::c_void;
use std::sync::OnceLock;

use libloading::{Library, Symbol};
use spectral::torch::graph;

use crate::emulation::{RUNNING, device};
use crate::native::compiled;

type Run = unsafe extern "C" fn(*mut c_void);
type Note = unsafe extern "C" fn(Run, Run, *mut c_void);

/// Loads the library. No operator may run meanwhile, because libtorch's dispatch tables change.
pub fn load() {
    let _ = library();
}

/// Returns the library, which is loaded once for all tests, because it registers itself with libtorch.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let texts = [include_str!("recorder.cpp"), include_str!("../../src/torch/shim/graph.h")];
        let path = compiled("cuda/recorder.cpp", &texts, &["-O0"]);
        // SAFETY: loading registers only one function with libtorch.
        unsafe { Library::new(path) }.unwrap()
    })
}

fn symbol<T>(name: &str) -> Symbol<'static, T> {
    // SAFETY: every caller uses the type that recorder.cpp declares.
    unsafe { library().get(name.as_bytes()) }.unwrap()
}

/// Runs `body` with graph recording: by libtorch on CUDA, by the recorder on the CPU.
pub fn with_graphs<T>(body: impl FnOnce() -> T) -> T {
    if device().is_cuda() {
        assert!(graph::available(device()), "libtorch's CUDA half lacks what records graphs");
        return body();
    }
    let recorder = symbol::<unsafe extern "C" fn() -> *const c_void>("recorder");
    // SAFETY: the recorder lives as long as the process.
    unsafe { graph::emulated(recorder(), body) }
}

/// Returns the number of graphs that this thread has replayed on the CPU.
pub fn replays() -> i64 {
    // SAFETY: the function only returns a number.
    unsafe { symbol::<unsafe extern "C" fn() -> i64>("recorder_replays")() }
}

/// Records the start of a kernel if a graph is being recorded.
pub fn note(started: impl FnOnce() -> Started) {
    // SAFETY: the function only returns a number.
    if unsafe { symbol::<unsafe extern "C" fn() -> i32>("recorder_records")() } == 0 {
        return;
    }
    unsafe extern "C" fn run(state: *mut c_void) {
        // SAFETY: `state` is the `Started` that is boxed below.
        unsafe { &mut *state.cast::<Started>() }.again();
    }
    unsafe extern "C" fn free(state: *mut c_void) {
        // SAFETY: as above, and the recorder calls this only once.
        drop(unsafe { Box::from_raw(state.cast::<Started>()) });
    }
    let state = Box::into_raw(Box::new(started())).cast();
    // SAFETY: the state lives until the recorder frees it.
    unsafe { symbol::<Note>("recorder_note")(run, free, state) }
}

/// Kernel and its arguments at the time it was started.
pub struct Started {
    pub run: unsafe extern "C" fn(u32, u32, *mut *mut c_void) -> i32,
    pub blocks: u32,
    pub threads: u32,
    pub arguments: Vec<Vec<u64>>,
}

impl Started {
    fn again(&mut self) {
        let mut list: Vec<*mut c_void> = self.arguments.iter_mut().map(|a| a.as_mut_ptr().cast()).collect();
        let _alone = RUNNING.lock().unwrap();
        // SAFETY: the arguments are copies of those that the kernel was started with.
        let code = unsafe { (self.run)(self.blocks, self.threads, list.as_mut_ptr()) };
        assert_eq!(code, 0, "a kernel that ran did not run again");
    }
}
