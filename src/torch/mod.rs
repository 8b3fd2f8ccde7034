//! Tensors over libtorch: the only room that names `tch` and `torch_sys`.
//!
//! - [`tensor`]: the handle, creation, conversion to Rust data
//! - [`nested`]: tensors from nested arrays and back
//! - [`ops`]: operators as fallible methods; [`call`]: any other ATen operator by name
//! - [`autograd`]: gradients, `no_grad`; [`rng`]: generators; [`device`], [`dtype`]
//! - [`optim`]: the fused AdamW update
//!
//! Every function returns a [`Result`](crate::error::Result); libtorch's messages are cut to their first lines.

pub mod autograd;
pub mod call;
pub mod device;
pub mod dtype;
mod ffi;
pub mod nested;
pub mod ops;
pub mod optim;
pub mod rng;
pub mod tensor;

pub use autograd::no_grad;
pub use device::Device;
pub use dtype::DType;
pub use rng::Generator;
pub use tensor::Tensor;

use crate::error::{Error, Kind, Result};

/// Prepares libtorch: short error messages, autograd on the calling thread, CUDA loaded where there is
/// a driver. Call it once per thread that computes, before anything else; calling it again is harmless.
pub fn start() {
    device::load_cuda();
    ffi::start();
}

/// The libtorch version this program was built for.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// The folder libtorch was linked from.
pub const LIBTORCH_FOLDER: &str = env!("SPECTRAL_LIBTORCH");

/// Sets how many threads an operator may use on the CPU.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads as i32);
}

/// How many threads an operator may use on the CPU.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// Turns libtorch's message into ours: its first paragraph, lower case, no final stop.
pub(crate) fn torch_error(message: &str) -> Error {
    let message = message.strip_prefix("Internal torch error: ").unwrap_or(message);
    let end = message.find("\nException raised from").unwrap_or(message.len());
    let mut text = message[..end]
        .trim()
        .replace("Expected all tensors to be on the same device", "all tensors must be on the same device");
    if let Some(i) = text.find("\n\n") {
        text.truncate(i);
    }
    let text = text.trim_end_matches('.').replace('\n', " ");
    let mut chars = text.chars();
    let lower = match (chars.next(), chars.next()) {
        // An abbreviation such as CUDA keeps its capitals.
        (Some(a), Some(b)) if a.is_uppercase() && !b.is_uppercase() => {
            a.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    };
    Error::new(Kind::Torch, lower)
}

pub(crate) fn checked<T>(result: Result<T, tch::TchError>) -> Result<T> {
    result.map_err(|e| torch_error(&e.to_string()))
}
