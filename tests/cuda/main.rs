//! Kernels for CUDA without a GPU: they run on the CPU by an emulation of blocks, threads and warps, through the same
//! glue as on a GPU, and NVRTC compiles them for each architecture. Graphs are recorded operator by operator and replayed.

mod compiles;
mod emulation;
mod graph;
mod model;
mod operators;
mod recording;
mod symbols;
