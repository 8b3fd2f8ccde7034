//! Namespace `plot` and the handle `figure`.
//!
//! Every function takes its data first, in the shortest sufficient form, and one map of options last.
//!
//! - [`charts`]: lines, points, bars, histograms
//! - [`maps`]: heat maps, image grids, panels of figures
//! - [`figure`]: methods and properties of a figure
//! - `numbers`, `series`, `matrix`, `images`: conversion of data from scripts; `look`: common options

pub mod charts;
pub mod figure;
pub mod maps;

mod images;
mod look;
mod matrix;
mod numbers;
mod series;

use super::Figure;

crate::api! {
    types: [Figure],
    functions: [charts, maps, figure::methods, figure::properties],
}

#[cfg(test)]
mod tests;
