//! The Jupyter kernel for rhai cells, and what tells Jupyter of it.
//!
//! - `kernel`: sockets and requests; `cell`: runs cells, on the engine's thread; `queue`, `shared`: between the two
//! - `message`: requests and replies; `connection`: the file that a client writes
//! - `publish`: what all clients see; `stalled`: those that stopped to look; `media`: values as Jupyter takes them; `progress`: bars
//! - `spec`: the folders by which Jupyter finds kernels; `evcxr`: the kernel for Rust cells
//! - `answer`: what is answered while cells run; `complete`: completion and inspection; `input`: questions to the user; `parent`: no kernel without a client

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

/// A line in the log of whoever started the kernel.
fn log(text: &str) {
    let _ = writeln!(std::io::stderr(), "spectral kernel: {text}");
}
