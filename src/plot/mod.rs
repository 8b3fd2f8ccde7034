//! Figures for reports and papers, as PNG, SVG or PDF, without a front end.
//!
//! A figure is a value. A builder ([`Line`], [`Scatter`], [`Bars`], [`Histogram`], [`Heatmap`], [`ImageGrid`],
//! [`Panels`]) collects data and labels and its `figure()` checks them. The resulting [`Figure`] can be drawn with
//! `to_png`, `to_svg` and `to_pdf`, described with `describe` and written with `save`, any number of times. All formats
//! use the same layout, measured with the embedded DejaVu Sans, so no system font is needed.
//!
//! ```
//! use spectral::plot::{Axis, Line, Reference, Series};
//!
//! let figure = Line::new(Axis::new("cutoff (fraction of Nyquist)"), Axis::new("FID"))
//!     .series(Series::new("time gate", [0.25, 0.5, 0.75], [37.9, 36.8, 38.8]).errors([0.8, 0.6, 1.2]))
//!     .horizontal(Reference::new(40.6).label("DiT").spread(0.7))
//!     .figure()?;
//! assert_eq!(figure.describe(), "line figure: 1 series, x 0.25 to 0.75 (cutoff (fraction of Nyquist)), y 36.2 to 40 (FID)");
//! let png = figure.to_png(600, 400)?;
//! assert!(png.starts_with(b"\x89PNG"));
//! # Ok::<(), spectral::error::Error>(())
//! ```
//!
//! Modules:
//!
//! | files | content |
//! |---|---|
//! | `figure` | the figure as a value, and saving it |
//! | `line`, `scatter`, `bar`, `histogram`, `intervals` | builders that end in a `chart` |
//! | `heatmap` and `heat`, `grid`, `panels` | the other kinds of figure |
//! | `chart`, `decor`, `layer`, `legend` | two axes with marks between them, and what surrounds them |
//! | `axis`, `ticks`, `errors`, `color`, `style` | numbers and colors |
//! | `lettering`, `fonts`, `truetype` | text and fonts |
//! | `scene`, `geometry` | a drawing as a list of marks in pixels |
//! | `png`, `svg`, `pdf` | output of a scene in the three formats |

pub(crate) mod api;
mod axis;
mod bar;
mod chart;
mod color;
mod decor;
mod errors;
mod figure;
mod fonts;
mod geometry;
mod grid;
mod heat;
mod heatmap;
mod histogram;
mod intervals;
mod layer;
mod legend;
mod lettering;
mod line;
mod panels;
mod pdf;
mod png;
mod scatter;
mod scene;
mod style;
mod svg;
mod ticks;
mod truetype;

/// Data of the functions that draw figures, such as [`line()`] and [`grid()`].
pub mod series {
    pub use super::api::given::{Categories, Xy};
    pub use super::api::images::Pictures;
    pub use super::api::look::{Mark, Marks, PaletteChoice};
    pub use super::api::matrix::{Cells, Matrices, Names, Panel};
    pub use super::api::numbers::{Data, Numbers};
    pub use super::api::series::{Cloud, Curve, CurveMarker, Entry, Estimates, Group, Many, Set};
}

#[cfg(test)]
mod gallery;

pub use api::charts::*;
pub use api::look::{LookOptions, PaletteChoice, SizeOptions};
pub use api::maps::*;
pub use axis::{Axis, Scale};
pub use bar::{BarGroup, Bars};
pub use color::{Color, ColorMap, Palette};
pub use errors::Errors;
pub use figure::Figure;
pub use grid::{ImageGrid, Images};
pub use heatmap::{Heatmap, Labels, Matrix};
pub use histogram::{Bins, Histogram};
pub use intervals::{Estimates, Intervals};
pub use layer::Reference;
pub use legend::Legend;
pub use line::{Line, Series};
pub use panels::Panels;
pub use scatter::{Points, Scatter};
pub use style::{Dash, Marker};
