//! Heat maps, image grids and panels of figures.

use super::images::{self, Pictures};
use super::look::{SizeOptions, sized};
use super::matrix::{Matrices, Names};
use crate::declare::Options;
use crate::error::Result;
use crate::functions;
use crate::plot::{ColorMap, Figure, Heatmap, ImageGrid, Panels};

/// Options of `plot::heatmap`.
#[derive(Debug, Clone, Options)]
pub struct HeatmapOptions {
    /// Title above the figure.
    pub title: String,
    /// Names of the rows, or numbers; the index by default.
    pub rows: Option<Names>,
    /// Names of the columns, or numbers; the index by default.
    pub columns: Option<Names>,
    /// Label of the columns.
    pub x_label: String,
    /// Label of the rows.
    pub y_label: String,
    /// Label of the color scale, with its unit.
    pub bar_label: String,
    /// Color map; `diverging` is for signed values and centers its scale at zero.
    pub map: ColorMap,
    /// Values at the ends of the color scale, `[low, high]`; from the data by default.
    pub limits: Option<(f64, f64)>,
    /// Whether to write the value in every cell; by default if there is room.
    pub values: Option<bool>,
    /// Whether cells are square.
    #[option(default = false)]
    pub square: bool,
    /// Number of matrices per row; all of them, up to four, by default.
    #[option(range = 1..)]
    pub across: Option<usize>,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

/// Options of `plot::grid`.
#[derive(Debug, Clone, Options)]
pub struct GridOptions {
    /// Title above the figure.
    pub title: String,
    /// Images per row; by default from the captions, from rows passed one by one, or about a square.
    #[option(range = 1..)]
    pub columns: Option<usize>,
    /// A caption under every image.
    pub captions: Vec<String>,
    /// A caption to the left of every row.
    pub row_captions: Vec<String>,
    /// A caption above every column.
    pub column_captions: Vec<String>,
    /// Pixels of a PNG per pixel of an image, in one direction; a convenient size by default.
    #[option(range = 1..=1000)]
    pub factor: Option<usize>,
    /// Space between images in layout pixels.
    #[option(default = 2.0, range = 0.0..=100.0)]
    pub gutter: f64,
    /// Values shown as black and white, `[low, high]`; by default -1 and 1, or 0 and 255 for bytes.
    pub limits: Option<(f64, f64)>,
}

/// Options of `plot::panels`.
#[derive(Debug, Clone, Options)]
pub struct PanelsOptions {
    /// Title above all figures.
    pub title: String,
    /// Figures per row; by default two, or three from five figures on.
    #[option(range = 1..)]
    pub columns: Option<usize>,
    /// Size.
    #[option(flatten)]
    pub size: SizeOptions,
}

fn draw_heatmap(matrices: Matrices, chart: HeatmapOptions) -> Result<Figure> {
    let mut map = Heatmap::panels(matrices.0)
        .title(chart.title)
        .x_label(chart.x_label)
        .y_label(chart.y_label)
        .bar_label(chart.bar_label)
        .map(chart.map)
        .square(chart.square);
    if let Some(rows) = chart.rows {
        map = map.rows(rows.0);
    }
    if let Some(columns) = chart.columns {
        map = map.columns(columns.0);
    }
    if let Some((low, high)) = chart.limits {
        map = map.limits(low, high);
    }
    if let Some(values) = chart.values {
        map = map.values(values);
    }
    if let Some(across) = chart.across {
        map = map.across(across);
    }
    sized(map.figure()?, &chart.size)
}

fn draw_grid(pictures: &Pictures, chart: GridOptions) -> Result<Figure> {
    let mut grid = ImageGrid::new(images::images(&pictures.images, chart.limits)?)
        .title(chart.title)
        .captions(chart.captions)
        .row_captions(chart.row_captions)
        .column_captions(chart.column_captions)
        .gutter(chart.gutter);
    if let Some(columns) = chart.columns {
        grid = grid.columns(columns);
    }
    if let Some(rows) = &pictures.rows {
        grid = grid.rows(rows.clone());
    }
    if let Some(factor) = chart.factor {
        grid = grid.factor(factor);
    }
    sized(grid.figure()?, &SizeOptions::default())
}

fn draw_panels(figures: Vec<Figure>, chart: PanelsOptions) -> Result<Figure> {
    let mut panels = Panels::new(figures).title(chart.title);
    if let Some(columns) = chart.columns {
        panels = panels.columns(columns);
    }
    sized(panels.figure()?, &chart.size)
}

functions! { in "plot";
    /// Draws matrices as heat maps.
    ///
    /// Data is a matrix, as a tensor [R, C] or an array of rows; or several matrices of one shape with a common
    /// color scale, as a tensor [N, R, C] or an array of matrices or of maps `#{ title, values }`. Row 0 is at the
    /// top; NaN is gray.
    ///
    /// ```rhai
    /// let figure = plot::heatmap([[0.9, 0.2], [0.1, -0.8]], #{
    ///     rows: ["block 0", "block 1"], columns: [0.25, 0.75], x_label: "t", map: "diverging", bar_label: "gate",
    /// });
    /// assert(figure.svg().contains("block 1"));
    /// assert(figure.description.contains("2 x 2 cells"), figure.description);
    /// ```
    fn heatmap(data: Matrices, options: HeatmapOptions) -> Figure { draw_heatmap(data, options) }

    /// Draws a grid of images, row by row.
    ///
    /// Data is a tensor [N, C, H, W] with 1 or 3 channels, at most 10,000 images, from -1 (black) to 1 (white), or
    /// uint8 from 0 to 255; `limits` sets other ranges. An array of tensors [N, C, H, W] is one row each, even if
    /// their numbers of images differ, and an array of tensors [C, H, W] one image each. Images are enlarged by an
    /// integer factor without smoothing; a pixel that is not a number is magenta.
    ///
    /// ```rhai
    /// let images = data::fashion_mnist(#{ split: "test" }).take(8).images();
    /// let figure = plot::grid([images, images + 0.5], #{ row_captions: ["real", "lighter"], factor: 2 });
    /// assert(figure.svg().contains("lighter"));
    /// assert(figure.description.contains("16 gray images"), figure.description);
    /// ```
    fn grid(images: Pictures, options: GridOptions) -> Figure { draw_grid(&images, options) }

    /// Arranges figures side by side, row by row, with their plots aligned.
    ///
    /// ```rhai
    /// let both = plot::panels([plot::line([3, 1, 2]), plot::bar(#{ a: 1, b: 2 })], #{ title: "Two views" });
    /// assert(both.svg().contains("Two views"));
    /// assert(both.width >= 1000);
    /// ```
    fn panels(figures: Vec<Figure>, options: PanelsOptions) -> Figure { draw_panels(figures, options) }
}
