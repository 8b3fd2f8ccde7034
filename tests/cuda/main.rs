//! Kernels for CUDA without a GPU: they run on the CPU by an emulation of blocks, threads and warps, through the same
//! glue as on a GPU, and NVRTC compiles them for each architecture.

mod compiles;
mod emulation;
mod model;
mod operators;
