//! Jupyter kernel for rhai cells, and its installation.
//!
//! - `kernel`: sockets and requests; `cell`: execution of cells on the engine's thread; `queue`, `shared`: between
//!   the two
//! - `message`: requests and replies; `connection`: the file that a client writes
//! - `publish`: outputs for all clients; `stalled`: clients that no longer read; `media`: MIME types of values;
//!   `progress`: bars
//! - `spec`: kernelspecs, by which Jupyter finds kernels; `evcxr`: the Jupyter kernel for Rust cells
//! - `answer`: requests answered while cells run; `complete`: completion and inspection; `input`: questions to the
//!   user; `parent`: end of the Jupyter kernel when its client is gone

mod answer;
mod cell;
mod complete;
mod connection;
mod evcxr;
mod input;
mod kernel;
mod media;
mod message;
mod parent;
mod progress;
mod publish;
mod queue;
mod shared;
mod spec;
mod stalled;

use std::io::Write;

pub use answer::Answers;
pub use kernel::run;
pub use spec::{Installed, Place, install, installed_for, uninstall};

/// Writes a line to the log of the process that started the Jupyter kernel.
fn log(text: &str) {
    let _ = writeln!(std::io::stderr(), "spectral kernel: {text}");
}
