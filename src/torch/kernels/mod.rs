//! Our CUDA kernels: compiled by NVRTC on first use, cached on disk, and launched on libtorch's current stream.
//!
//! `shim/device*.cpp` decides which kernel an operator needs and with which definitions; a [`Launcher`] compiles
//! and launches it. [`Cuda`] is the launcher for GPUs. Tests may install another one, which runs kernels on CPU
//! tensors.

mod cuda;
mod driver;
mod nvrtc;
mod store;

use std::ffi::{CStr, c_char, c_int, c_void};

pub use cuda::Cuda;
pub use driver::Gpu;
pub use nvrtc::Nvrtc;

use super::ffi;
use crate::error::{Error, Result};

/// Header that all kernel files include: name and text.
pub const COMMON: (&str, &str) = ("common.cuh", include_str!("../../../kernels/cuda/common.cuh"));

/// Kernel files: name and text.
pub const FILES: [(&str, &str); 5] = [
    ("norm_modulate", include_str!("../../../kernels/cuda/norm_modulate.cu")),
    ("gated_add", include_str!("../../../kernels/cuda/gated_add.cu")),
    ("corrected", include_str!("../../../kernels/cuda/corrected.cu")),
    ("qk_norm", include_str!("../../../kernels/cuda/qk_norm.cu")),
    ("bias_gelu", include_str!("../../../kernels/cuda/bias_gelu.cu")),
];

/// Returns the text of a kernel file.
pub fn source(file: &str) -> Result<&'static str> {
    let found = FILES.iter().find(|(name, _)| *name == file);
    found.map(|(_, text)| *text).ok_or_else(|| Error::internal(format!("no kernel file is named \"{file}\"")))
}

/// Returns the names of the kernels in a text.
pub fn names(text: &str) -> Vec<&str> {
    // The name precedes the bracket that opens the parameters, and follows the launch bounds if there are any.
    let name = |declared: &'_ str| -> Option<std::ops::Range<usize>> {
        let behind = match declared.trim_start().strip_prefix("void __launch_bounds__") {
            Some(bound) => bound.find(')').map(|at| declared.len() - bound.len() + at + 1)?,
            None => 0,
        };
        let end = behind + declared[behind..].find('(')?;
        let start = declared[..end].rfind(char::is_whitespace)? + 1;
        Some(start..end)
    };
    text.split("__global__").skip(1).filter_map(|declared| Some(&declared[name(declared)?])).collect()
}

/// Arguments of a kernel launch.
#[derive(Debug)]
pub struct Launch<'a> {
    /// Name of the kernel.
    pub name: &'a CStr,
    /// Number of blocks.
    pub blocks: u32,
    /// Number of threads per block.
    pub threads: u32,
    /// Pointers to the arguments, one for each.
    pub arguments: *mut *mut c_void,
    /// CUDA stream.
    pub stream: *mut c_void,
}

/// Compiles and launches kernels.
pub trait Launcher: Send + Sync {
    /// Compiles a file with definitions (`NAME=value`, one per line), loads it on a device and returns its number,
    /// from 1.
    ///
    /// Returns `None` if loading failed and the failure was already reported.
    fn load(&self, device: i32, file: &str, defines: &str) -> Result<Option<i64>>;

    /// Launches a kernel of a loaded file.
    fn launch(&self, kernels: i64, launch: &Launch) -> Result<()>;
}

impl<L: Launcher> Launcher for &L {
    fn load(&self, device: i32, file: &str, defines: &str) -> Result<Option<i64>> {
        (**self).load(device, file, defines)
    }

    fn launch(&self, kernels: i64, launch: &Launch) -> Result<()> {
        (**self).launch(kernels, launch)
    }
}

/// Launcher in the layout of the shim.
#[repr(C)]
pub(super) struct Raw {
    state: *const c_void,
    load: unsafe extern "C" fn(*const c_void, c_int, *const c_char, *const c_char, *mut c_char, usize) -> i64,
    launch: unsafe extern "C" fn(
        *const c_void,
        i64,
        *const c_char,
        u32,
        u32,
        *mut *mut c_void,
        *mut c_void,
        *mut c_char,
        usize,
    ) -> c_int,
}

impl Raw {
    fn of(state: &&dyn Launcher) -> Self {
        Raw { state: std::ptr::from_ref(state).cast(), load, launch }
    }
}

/// Writes a message with its hint, cut to the buffer, and a terminating zero.
///
/// # Safety
/// `to` must point to `size` bytes.
unsafe fn tell(error: &Error, to: *mut c_char, size: usize) {
    let hint = error.hint_text().map(|hint| format!("; {hint}")).unwrap_or_default();
    let text = format!("{}{hint}", error.message());
    let length = text.len().min(size.saturating_sub(1));
    // SAFETY: guaranteed by the caller.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, length);
        *to.add(length) = 0;
    }
}

/// # Safety
/// Called only by the shim, with the state from [`Raw::of`] and zero-terminated strings.
unsafe extern "C" fn load(
    state: *const c_void,
    device: c_int,
    file: *const c_char,
    defines: *const c_char,
    message: *mut c_char,
    size: usize,
) -> i64 {
    // SAFETY: as above.
    let (launcher, file, defines) = unsafe {
        let text = |p| CStr::from_ptr(p).to_str().unwrap_or_default();
        (*state.cast::<&dyn Launcher>(), text(file), text(defines))
    };
    match launcher.load(device, file, defines) {
        Ok(number) => number.unwrap_or(0),
        Err(error) => {
            // SAFETY: as above.
            unsafe { tell(&error, message, size) };
            0
        }
    }
}

/// # Safety
/// As for [`load`].
unsafe extern "C" fn launch(
    state: *const c_void,
    kernels: i64,
    name: *const c_char,
    blocks: u32,
    threads: u32,
    arguments: *mut *mut c_void,
    stream: *mut c_void,
    message: *mut c_char,
    size: usize,
) -> c_int {
    // SAFETY: as above.
    let (launcher, name) = unsafe { (*state.cast::<&dyn Launcher>(), CStr::from_ptr(name)) };
    match launcher.launch(kernels, &Launch { name, blocks, threads, arguments, stream }) {
        Ok(()) => 0,
        Err(error) => {
            // SAFETY: as above.
            unsafe { tell(&error, message, size) };
            1
        }
    }
}

/// Returns whether CUDA tensors use our kernels.
pub(super) fn are_installed() -> bool {
    // SAFETY: reads a pointer.
    unsafe { ffi::sp_has_launcher() != 0 }
}

/// Makes CUDA tensors use the kernels of `launcher` from now on. The first call of a process decides: a test that has another
/// device under that name comes before [`start`](super::start), which installs [`Cuda`].
pub fn install(launcher: impl Launcher + 'static) {
    if are_installed() {
        return;
    }
    // SAFETY: the launcher is leaked, because the shim keeps a pointer to it for the life of the process.
    unsafe {
        let launcher: &'static dyn Launcher = Box::leak(Box::new(launcher));
        let state: &'static &'static dyn Launcher = Box::leak(Box::new(launcher));
        ffi::sp_install_launcher(&raw const *Box::leak(Box::new(Raw::of(state))));
    }
}

/// Runs `body` with the kernels of `launcher` for CPU tensors on this thread; the previous launcher is restored
/// even if `body` fails or panics.
pub fn emulated<T>(launcher: &dyn Launcher, body: impl FnOnce() -> T) -> T {
    struct Back(*const Raw);
    impl Drop for Back {
        fn drop(&mut self) {
            // SAFETY: the previous launcher lives as long as the call that set it.
            unsafe { ffi::sp_emulate(self.0) };
        }
    }
    let raw = Raw::of(&launcher);
    // SAFETY: the launcher is unset before it is dropped.
    let _back = Back(unsafe { ffi::sp_emulate(&raw const raw) });
    body()
}

/// Returns the properties of each GPU that this process may use.
pub fn gpus() -> Result<Vec<Gpu>> {
    let driver = driver::Driver::open()?;
    (0..driver.count()).map(|device| driver.gpu(device)).collect()
}

/// Returns the number of our kernels that this thread has launched.
pub fn started() -> i64 {
    // SAFETY: returns a number.
    unsafe { ffi::sp_kernels_started() }
}

/// Returns the attention benchmarks so far, one shape per line: the libtorch backend that was chosen, and the
/// milliseconds of each backend.
pub fn attention_choices() -> String {
    // SAFETY: the shim returns a new string.
    ffi::text(unsafe { ffi::sp_attention_choices() }).unwrap_or_default()
}

/// Returns the cuBLASLt products fused with an activation or its gradient, one shape per line, with the
/// milliseconds of the algorithm chosen by benchmarking.
pub fn product_choices() -> String {
    // SAFETY: the shim returns a new string.
    ffi::text(unsafe { ffi::sp_product_choices() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_by_name() {
        let text = "extern \"C\" __global__ void __launch_bounds__(32 * W)\n    first(const X* x) {}\n\
                    // second is not here (yet)\nextern \"C\" __global__ void third(int n) {}";
        assert_eq!(names(text), ["first", "third"]);
        for (file, text) in FILES {
            let found = names(text);
            assert!(found.contains(&file), "{file}: {found:?}");
        }
    }
}
