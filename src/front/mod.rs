//! What stands before a person: the commands of `spectral` and the prompt.
//!
//! - [`run`]: `spectral run`, exit codes, Ctrl-C
//! - [`progress`]: bars on a terminal, lines elsewhere

pub mod progress;
pub mod run;
pub mod terminal;
