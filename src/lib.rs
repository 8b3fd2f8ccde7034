//! A scripting laboratory for diffusion transformers.
//!
//! Rooms, each importing only from those above it:
//!
//! - [`error`] one error type; [`context`] interrupts and progress; [`text`] numbers in words; [`files`] reading and writing
//! - [`declare`] functions and options declared once, with documentation and example
//! - [`table`] tables of results; [`report`] pages of text, tables and figures
//! - [`torch`] tensors, the only room that names libtorch
//! - [`nn`] layers and named parameters
//! - [`spectral`] filters, gates and the correction they make
//! - [`model`] DiT and SpectralDiT
//! - [`flow`] flow matching and samplers
//! - [`train`] and [`eval`]
//! - [`script`] the rhai language
//! - [`session`] one cell after another, for every front end
//! - [`front`] run, check, docs, repl
//!
//! [`data`] sits on `torch`; [`plot`] on `error` alone.
#![warn(missing_docs)]

pub mod context;
pub mod data;
pub mod declare;
pub mod error;
pub mod eval;
pub mod files;
pub mod flow;
pub mod front;
pub mod model;
pub mod nn;
pub mod plot;
pub mod report;
pub mod script;
pub mod session;
pub mod spectral;
pub mod table;
pub mod text;
pub mod torch;
pub mod train;

// In Rust as in scripts: `filter::gaussian(..)`, `gate::time(..)`.
pub use spectral::{filter, gate};
