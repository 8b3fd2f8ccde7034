//! CUDA kernels without a GPU. An emulation of blocks, threads and warps runs them on the CPU through the same glue
//! code as on a GPU, and NVRTC compiles them for each architecture. Graphs are recorded operator by operator and
//! replayed.
#![cfg(test)]

mod compiles;
mod emulation;
mod graph;
mod model;
mod operators;
mod recording;
#[path = "../shared/fused.rs"]
mod shared;
mod symbols;

use emulation::device;
