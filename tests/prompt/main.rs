//! The prompt as people meet it: the real program on a pseudo-terminal.
//!
//! `SPECTRAL_CAPTURES=FOLDER` writes the screens that the guide shows.

mod capture;
mod pictures;
mod start;
mod terminal;
