//! CUDA kernels without a GPU. An emulation of blocks, threads and warps runs them on the CPU through the same glue
//! code as on a GPU, and NVRTC compiles them for each architecture. Graphs are recorded operator by operator and
//! replayed.
#![cfg(test)]

mod case;
mod compiles;
mod emulation;
mod graph;
#[cfg(target_os = "linux")]
#[path = "../shared/second.rs"]
mod library;
mod model;
#[path = "../shared/native.rs"]
mod native;
mod operators;
mod recording;
#[cfg(target_os = "linux")]
mod second;
#[path = "../shared/fused.rs"]
mod shared;
mod symbols;

use emulation::device;
