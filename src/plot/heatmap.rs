//! Heat maps: matrices as colors, in one or more panels with a common color scale.

use crate::ensure;
use crate::error::{Error, Result};
use crate::plot::axis::{Axis, Span};
use crate::plot::color::ColorMap;
use crate::plot::figure::Figure;
use crate::plot::heat::Heat;
use crate::plot::ticks;

/// Named matrix, row-major with row 0 at the top; NaN cells are gray.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub(crate) title: String,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) values: Vec<f64>,
}

impl Matrix {
    /// Creates a matrix of rows x columns values; the title is drawn above its panel and may be empty.
    ///
    /// Fails unless there are exactly rows x columns values, at least one.
    pub fn new(
        title: impl Into<String>,
        rows: usize,
        columns: usize,
        values: impl Into<Vec<f64>>,
    ) -> Result<Self> {
        let (title, values) = (title.into(), values.into());
        ensure!(rows > 0 && columns > 0, "a heat map needs at least one cell, found {rows} x {columns}");
        ensure!(
            rows.checked_mul(columns) == Some(values.len()),
            "a matrix of {rows} x {columns} needs {} values, found {}",
            rows.saturating_mul(columns),
            values.len()
        );
        Ok(Self { title, rows, columns, values })
    }
}

/// Labels of rows or columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Labels {
    /// The index, from 0; thinned out if there is not enough room.
    #[default]
    Index,
    /// One name per row or column.
    Names(Vec<String>),
    /// One number per row or column; thinned out if there is not enough room.
    Numbers(Vec<f64>),
}

impl Labels {
    pub(crate) fn texts(&self, count: usize) -> Vec<String> {
        match self {
            Self::Index => (0..count).map(|i| i.to_string()).collect(),
            Self::Names(names) => names.clone(),
            Self::Numbers(numbers) => {
                ticks::told_apart(numbers).iter().map(|text| ticks::minus(text)).collect()
            }
        }
    }

    fn check(&self, what: &str, count: usize) -> Result<()> {
        let found = match self {
            Self::Index => count,
            Self::Names(names) => names.len(),
            Self::Numbers(numbers) => numbers.len(),
        };
        ensure!(found == count, "a heat map of {count} {what} needs {count} labels for them, found {found}");
        Ok(())
    }
}

/// Builder of a heat map.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    pub(crate) title: String,
    pub(crate) panels: Vec<Matrix>,
    pub(crate) rows: Labels,
    pub(crate) columns: Labels,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    pub(crate) map: ColorMap,
    pub(crate) limits: Option<(f64, f64)>,
    pub(crate) bar_label: String,
    pub(crate) values: Option<bool>,
    pub(crate) square: bool,
    pub(crate) across: Option<usize>,
}

impl Heatmap {
    /// Creates a heat map of one matrix.
    pub fn new(matrix: Matrix) -> Self {
        Self::panels([matrix])
    }

    /// Creates heat maps of equal shape side by side, with a common color scale.
    pub fn panels(panels: impl IntoIterator<Item = Matrix>) -> Self {
        Self {
            title: String::new(),
            panels: panels.into_iter().collect(),
            rows: Labels::Index,
            columns: Labels::Index,
            x_label: String::new(),
            y_label: String::new(),
            map: ColorMap::default(),
            limits: None,
            bar_label: String::new(),
            values: None,
            square: false,
            across: None,
        }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the labels of the rows.
    #[must_use]
    pub fn rows(mut self, labels: Labels) -> Self {
        self.rows = labels;
        self
    }

    /// Sets the labels of the columns.
    #[must_use]
    pub fn columns(mut self, labels: Labels) -> Self {
        self.columns = labels;
        self
    }

    /// Sets the axis label of the columns.
    #[must_use]
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Sets the axis label of the rows.
    #[must_use]
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = label.into();
        self
    }

    /// Sets the color map; the diverging map centers its scale at zero.
    #[must_use]
    pub fn map(mut self, map: ColorMap) -> Self {
        self.map = map;
        self
    }

    /// Sets the values at the two ends of the color scale instead of taking them from the data.
    #[must_use]
    pub fn limits(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    /// Sets the label of the color bar.
    #[must_use]
    pub fn bar_label(mut self, label: impl Into<String>) -> Self {
        self.bar_label = label.into();
        self
    }

    /// Sets whether every cell shows its value; by default cells do if there are few and they have enough room.
    #[must_use]
    pub fn values(mut self, shown: bool) -> Self {
        self.values = Some(shown);
        self
    }

    /// Sets whether cells are square.
    #[must_use]
    pub fn square(mut self, square: bool) -> Self {
        self.square = square;
        self
    }

    /// Sets the number of panels per row; by default all, up to four.
    #[must_use]
    pub fn across(mut self, count: usize) -> Self {
        self.across = Some(count);
        self
    }

    /// Checks the data and builds the figure.
    ///
    /// Fails without a matrix, if shapes differ, if the number of labels does not match, and if no value is finite.
    pub fn figure(self) -> Result<Figure> {
        let Some(first) = self.panels.first() else {
            return Err(Error::argument("a heat map needs at least one matrix"));
        };
        let (rows, columns) = (first.rows, first.columns);
        for panel in &self.panels {
            ensure!(
                (panel.rows, panel.columns) == (rows, columns),
                "the panels of a heat map must have one shape, found {rows} x {columns} and {} x {}",
                panel.rows,
                panel.columns
            );
        }
        self.rows.check("rows", rows)?;
        self.columns.check("columns", columns)?;
        ensure!(self.across != Some(0), "a row of panels needs at least one panel");
        let span = self.scale()?;
        let across = self.across.unwrap_or(4).min(self.panels.len());
        Ok(Figure::new(Heat { across, rows, columns, span, map: self }))
    }

    fn scale(&self) -> Result<Span> {
        let all = self.panels.iter().flat_map(|panel| panel.values.iter().copied());
        let axis = Axis { limits: self.limits, ..Axis::new("") };
        let span = axis.span("color", all, (0.0, 0.0))?;
        if self.map != ColorMap::Diverging || self.limits.is_some() {
            return Ok(span);
        }
        let zero = self.panels.iter().all(|p| p.values.iter().all(|v| !v.is_finite() || *v == 0.0));
        let far = if zero { 1.0 } else { span.lo.abs().max(span.hi.abs()) };
        Ok(Span { lo: -far, hi: far, log: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diverging_scale_is_centered_and_survives_all_zeros() {
        let heat = |values: [f64; 4]| {
            Heatmap::new(Matrix::new("", 2, 2, values).unwrap()).map(ColorMap::Diverging).scale().unwrap()
        };
        let span = heat([-0.1, 0.4, f64::NAN, 0.2]);
        assert_eq!((span.lo, span.hi), (-0.4, 0.4));
        let span = heat([0.0; 4]);
        assert_eq!((span.lo, span.hi), (-1.0, 1.0));
    }

    #[test]
    fn shapes_and_labels_must_agree() {
        assert!(Matrix::new("", 2, 2, [1.0]).unwrap_err().message().contains("needs 4 values, found 1"));
        assert!(Matrix::new("", 0, 2, []).is_err());
        let matrix = |rows, columns| Matrix::new("", rows, columns, vec![1.0; rows * columns]).unwrap();
        assert!(Heatmap::panels([matrix(1, 2), matrix(2, 1)]).figure().is_err());
        assert!(Heatmap::panels([]).figure().is_err());
        assert!(Heatmap::new(matrix(2, 2)).rows(Labels::Numbers(vec![1.0])).figure().is_err());
        assert!(Heatmap::new(Matrix::new("", 1, 1, [f64::NAN]).unwrap()).figure().is_err());
        assert!(Heatmap::new(matrix(2, 2)).figure().unwrap().to_svg(400, 300).is_ok());
    }

    #[test]
    fn many_cells_become_one_image() {
        let figure = Heatmap::new(Matrix::new("", 64, 64, vec![0.5; 4096]).unwrap()).figure().unwrap();
        let svg = figure.to_svg(500, 400).unwrap();
        assert_eq!(svg.matches("<image").count(), 2, "the cells and the color bar");
        assert_eq!(figure.describe(), "heat map: 64 x 64 cells, colors 0.45 to 0.55");
    }
}
