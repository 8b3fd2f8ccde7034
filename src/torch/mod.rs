//! Tensors over libtorch. No other module uses `tch` or `torch_sys`.
//!
//! - [`tensor`]: the handle, creation, conversion to Rust data; [`create`]: less common constructors
//! - [`nested`]: conversion from and to nested arrays
//! - [`ops`]: operators as fallible methods; [`call`]: any other ATen operator by name; [`resize`]: of images
//! - [`assignment`]: linear assignment of a matrix of costs
//! - [`io`]: safetensors, npy and PyTorch weight files; [`torchscript`]: networks in TorchScript files
//! - [`autograd`]: gradients, `no_grad`; [`rng`]: generators; [`device`], [`dtype`]
//! - [`distributed`]: processes that compute together; [`nccl`]: collectives of CUDA tensors
//! - [`fields`]: tensors that belong to the images of a batch
//! - [`optim`]: the fused AdamW update; [`fused`]: the fused operators of a block; [`kernels`]: their CUDA kernels
//! - [`recompute`]: functions that keep no activations; [`flops`]: counting of floating-point operations
//! - [`graph`]: functions recorded as CUDA graphs and replayed
//! - `library`: version and folder of libtorch; [`trace`]: profiles of operators
//! - `warnings`: warnings of libtorch, kept for the user; `sizes`: a check of sizes that libtorch does not check
//! - [`mod@interrupt`]: interrupts within a call, and sections that must not be interrupted
//!
//! Every function returns a [`Result`](crate::error::Result); libtorch's messages are cut to their first lines
//! and put into the words of scripts.

pub(crate) mod api;
pub mod assignment;
pub mod aten;
pub mod autograd;
pub mod call;
pub mod convert;
pub mod create;
pub mod device;
pub mod distributed;
pub mod dtype;
mod ffi;
pub mod fields;
pub mod flops;
pub mod fused;
pub mod graph;
pub mod index;
pub mod interrupt;
pub mod io;
pub mod kernels;
mod library;
pub mod memory;
mod message;
pub mod nccl;
pub mod nested;
pub mod operand;
pub mod ops;
pub mod optim;
pub mod placement;
pub mod print;
pub mod random;
pub mod recompute;
mod refusal;
pub mod resize;
pub mod rng;
mod sizes;
pub mod tensor;
pub mod torchscript;
pub mod trace;
pub mod unwritten;
mod warnings;
mod wording;

pub use api::{Along, Dims, Every, constructors};
pub use autograd::{enable_grad, no_grad};
pub use device::Device;
pub use dtype::DType;
pub use fields::Fields;
pub use interrupt::{interruptible, uninterrupted};
pub use library::{LIBTORCH_VERSION, libtorch_folder};
pub use memory::{Memory, memory};
pub use rng::Generator;
pub use tensor::Tensor;
pub use warnings::{Kept, keep_warnings, take_warnings};

pub use message::is_out_of_memory;
pub(crate) use message::{checked, torch_error};

/// Initializes libtorch: short error messages, autograd on the calling thread, CUDA loaded if there is a driver.
///
/// Tensors and devices do so themselves on each thread that uses them. A program calls it to choose the moment, since
/// loading CUDA takes a second or more; repeated calls cost nothing.
pub fn start() {
    if ffi::is_started() {
        return;
    }
    if !kernels::are_installed() {
        device::load_cuda();
    }
    ffi::start();
    kernels::install(kernels::Cuda::new());
}

/// Sets the number of threads an operator may use on the CPU.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(threads as i32);
}

/// Returns the number of threads an operator may use on the CPU.
pub fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}
