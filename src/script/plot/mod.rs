//! Namespace `plot` and the handle `figure`.
//!
//! Every function takes its data first, in the shortest form that says it, and one map of options last.
//!
//! - [`charts`]: lines, points, bars, histograms
//! - [`maps`]: heat maps, image grids, panels of figures
//! - [`figure`]: what can be done with the result
//! - `numbers`, `series`, `matrix`, `images`: data as scripts write it; `look`: options in common

pub mod charts;
pub mod figure;
pub mod maps;

mod images;
mod look;
mod matrix;
mod numbers;
mod series;

#[cfg(test)]
mod tests;
