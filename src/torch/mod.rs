//! Tensors over libtorch: the only room that names `tch` and `torch_sys`.
//!
//! - [`tensor`]: the handle, creation, conversion to Rust data; [`create`]: further ways to make one
//! - [`nested`]: tensors from nested arrays and back
//! - [`ops`]: operators as fallible methods; [`call`]: any other ATen operator by name
//! - [`io`]: files: safetensors, npy, weights of PyTorch; [`torchscript`]: networks in TorchScript files
//! - [`autograd`]: gradients, `no_grad`; [`rng`]: generators; [`device`], [`dtype`]
//! - [`optim`]: the fused AdamW update; [`fused`]: the operators of a block; [`kernels`]: theirs for CUDA
//! - [`flops`]: operations counted while something runs
//! - [`graph`]: functions that are recorded on CUDA and replayed
//! - `library`: which libtorch it is, and where; [`trace`]: where the time goes, operator by operator
//! - [`mod@interrupt`]: stopping in the middle of a call, and what must not stop
//!
//! Every function returns a [`Result`](crate::error::Result); libtorch's messages are cut to their first lines.

pub mod autograd;
pub mod call;
pub mod create;
pub mod device;
pub mod dtype;
mod ffi;
pub mod flops;
pub mod fused;
pub mod graph;
pub mod interrupt;
pub mod io;
pub mod kernels;
mod library;
pub mod memory;
mod message;
pub mod nested;
pub mod ops;
pub mod optim;
pub mod rng;
pub mod tensor;
pub mod torchscript;
pub mod trace;

pub use autograd::no_grad;
pub use device::Device;
pub use dtype::DType;
pub use interrupt::{interruptible, uninterrupted};
pub use library::{LIBTORCH_VERSION, libtorch_folder};
pub use memory::{Memory, memory};
pub use rng::Generator;
pub use tensor::Tensor;

pub use message::is_out_of_memory;
pub(crate) use message::{checked, torch_error};

/// Prepares libtorch: short error messages, autograd on the calling thread, CUDA loaded where there is
/// a driver. Call it once per thread that computes, before anything else; calling it again is harmless.
pub fn start() {
    device::load_cuda();
    ffi::start();
    kernels::install();
}

/// Sets how many threads an operator may use on the CPU.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads as i32);
}

/// How many threads an operator may use on the CPU.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}
