//! Namespace `plot` and the handle `figure`.
//!
//! Every function takes its data first, in the shortest sufficient form, and one map of options last.
//!
//! - `given`: data from Rust values
//! - `charts`: lines, points, bars, histograms
//! - `maps`: heat maps, image grids, panels of figures
//! - `figure`: methods and properties of a figure
//! - `numbers`, `series`, `matrix`, `images`: conversion of data from scripts; `look`: common options

pub(crate) mod charts;
pub(crate) mod figure;
pub(crate) mod maps;

pub(crate) mod given;
pub(crate) mod images;
pub(crate) mod look;
pub(crate) mod matrix;
pub(crate) mod numbers;
pub(crate) mod series;

use super::Figure;

crate::api! {
    types: [Figure],
    functions: [charts::pairs, charts, maps, figure::methods, figure::properties],
}

#[cfg(test)]
mod tests;
