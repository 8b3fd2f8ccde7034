//! The prompt as users see it: the real program on a pseudo-terminal.
//!
//! `SPECTRAL_CAPTURES=FOLDER` writes the screens that the guide shows.
#![cfg(test)]

mod alive;
mod capture;
mod commands;
mod completion;
mod editing;
mod pictures;
mod start;
mod terminal;
