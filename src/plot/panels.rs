//! Panels: several figures in one, with aligned plots and a common title.

use crate::ensure;
use crate::error::Result;
use crate::plot::figure::{Drawing, Figure, too_small};
use crate::plot::geometry::{Margins, Rect};
use crate::plot::scene::{Scene, lines_height};
use crate::plot::style::{EDGE, TEXT, TITLE_SIZE};

/// Font size of the common title.
const TITLE: f64 = TITLE_SIZE + 2.0;

/// Builder of a figure with several panels.
#[derive(Debug, Clone)]
pub struct Panels {
    title: String,
    figures: Vec<Figure>,
    columns: Option<usize>,
}

impl Panels {
    /// Creates panels from figures, row by row.
    pub fn new(figures: impl IntoIterator<Item = Figure>) -> Self {
        Self { title: String::new(), figures: figures.into_iter().collect(), columns: None }
    }

    /// Sets the title above all figures.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the number of columns; by default two, or three for five figures or more.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = Some(columns);
        self
    }

    /// Builds the figure; fails without figures or columns.
    pub fn figure(self) -> Result<Figure> {
        let count = self.figures.len();
        ensure!(count > 0, "panels need at least one figure");
        let columns = self.columns.unwrap_or(if count > 4 { 3 } else { 2 }).min(count);
        ensure!(columns > 0, "panels need at least one column");
        let sizes: Vec<(f64, f64)> =
            self.figures.iter().map(|f| (f64::from(f.size().0), f64::from(f.size().1))).collect();
        let widest =
            |column: usize| sizes.iter().skip(column).step_by(columns).map(|s| s.0).fold(0.0, f64::max);
        let widths = (0..columns).map(widest).collect();
        let heights = sizes.chunks(columns).map(|row| row.iter().map(|s| s.1).fold(0.0, f64::max)).collect();
        Ok(Figure::new(Sheet { title: self.title, figures: self.figures, widths, heights }))
    }
}

/// Figures in cells of fixed proportions.
#[derive(Debug, Clone)]
struct Sheet {
    title: String,
    figures: Vec<Figure>,
    widths: Vec<f64>,
    heights: Vec<f64>,
}

impl Sheet {
    fn title_height(&self, lines: usize) -> f64 {
        if lines == 0 { 0.0 } else { EDGE + lines_height(lines, TITLE) }
    }
}

impl Drawing for Sheet {
    fn natural(&self) -> (f64, f64) {
        let title = self.title_height(usize::from(!self.title.is_empty()));
        (self.widths.iter().sum(), self.heights.iter().sum::<f64>() + title)
    }

    fn draw(&self, scene: &mut Scene, area: Rect, _floor: Margins) -> Result<()> {
        let lines = match self.title.is_empty() {
            true => Vec::new(),
            false => scene.face.wrap(&self.title, TITLE, area.width() - 2.0 * EDGE),
        };
        let top = self.title_height(lines.len());
        let natural = self.natural();
        let (across, down) =
            (area.width() / natural.0, (area.height() - top) / self.heights.iter().sum::<f64>());
        if down <= 0.0 {
            return Err(too_small(area, natural));
        }
        scene.lines(&lines, area.center().0, area.top + EDGE, TITLE, TEXT);
        let mut cells = Vec::with_capacity(self.figures.len());
        let mut y = area.top + top;
        for height in self.heights.iter().map(|h| h * down) {
            let mut x = area.left;
            for width in self.widths.iter().map(|w| w * across) {
                cells.push(Rect::new(x, y, width, height));
                x += width;
            }
            y += height;
        }
        // Plots in a column share their left edge, plots in a row their top and bottom.
        let columns = self.widths.len();
        let mut floors = Vec::with_capacity(self.figures.len());
        for (figure, cell) in self.figures.iter().zip(&cells) {
            floors.push(figure.drawing().margins(&scene.face, *cell)?);
        }
        let shared = |index: usize| {
            let column = floors.iter().skip(index % columns).step_by(columns);
            let sides = column.fold(Margins::default(), |all, one| all.max(*one));
            let row = floors.chunks(columns).nth(index / columns).unwrap_or_default();
            let ends = row.iter().fold(Margins::default(), |all, one| all.max(*one));
            Margins { top: ends.top, bottom: ends.bottom, ..sides }
        };
        for (index, (figure, cell)) in self.figures.iter().zip(&cells).enumerate() {
            figure.drawing().draw(scene, *cell, shared(index))?;
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let parts: Vec<String> = self.figures.iter().map(Figure::describe).collect();
        format!("{} panels: {}", parts.len(), parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Line, Series};

    fn figure(scale: f64) -> Figure {
        Line::new(Axis::new("x"), Axis::new("y"))
            .series(Series::new("", [0.0, 1.0], [0.0, scale]))
            .figure()
            .unwrap()
    }

    #[test]
    fn panels_hold_every_figure_and_its_text() {
        let panels = Panels::new([figure(1.0), figure(1000.0), figure(2.0)]).title("all").figure().unwrap();
        assert_eq!(panels.size().0, 1200);
        let svg = panels.to_svg(900, 700).unwrap();
        assert!(svg.contains("all"));
        assert!(panels.describe().starts_with("3 panels: line figure: 1 series"));
        assert!(panels.to_png(900, 20).is_err());
        assert!(Panels::new([]).figure().is_err());
        assert!(Panels::new([figure(1.0)]).columns(0).figure().is_err());
    }

    #[test]
    fn panels_nest() {
        let row = Panels::new([figure(1.0), figure(2.0)]).figure().unwrap();
        assert!(Panels::new([row, figure(3.0)]).columns(1).figure().unwrap().to_png(900, 800).is_ok());
    }
}
