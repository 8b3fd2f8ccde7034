//! Scatter figures: named sets of points.

use crate::declare::Choice;
use crate::ensure;
use crate::error::Result;
use crate::plot::axis::Axis;
use crate::plot::chart::{Chart, Parts};
use crate::plot::color::Color;
use crate::plot::decor::{Decor, decorated};
use crate::plot::errors::Errors;
use crate::plot::figure::Figure;
use crate::plot::layer::{Layer, Shape, Spread};
use crate::plot::style::Marker;

/// Named set of points with x and y of equal length; points that are not finite are ignored.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    errors: Option<Errors>,
    color: Option<Color>,
    marker: Option<Marker>,
    radius: Option<f64>,
}

impl Points {
    /// Creates a set of points; an empty name keeps it out of the legend.
    pub fn new(name: impl Into<String>, x: impl Into<Vec<f64>>, y: impl Into<Vec<f64>>) -> Self {
        Self {
            name: name.into(),
            x: x.into(),
            y: y.into(),
            errors: None,
            color: None,
            marker: None,
            radius: None,
        }
    }

    /// Draws error bars from y - error to y + error at every point, or with pairs from y - below to y + above.
    #[must_use]
    pub fn errors(mut self, errors: impl Into<Errors>) -> Self {
        self.errors = Some(errors.into());
        self
    }

    /// Sets the color instead of taking the next one of the palette.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = Some(color);
        self
    }

    /// Sets the marker instead of taking the next one.
    #[must_use]
    pub fn marker(mut self, marker: Marker) -> Self {
        self.marker = Some(marker);
        self
    }

    /// Sets the radius of a point in pixels; by default points are smaller the more there are.
    #[must_use]
    pub fn radius(mut self, radius: f64) -> Self {
        self.radius = Some(radius);
        self
    }
}

/// Builder of a scatter figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    decor: Decor,
    x: Axis,
    y: Axis,
    points: Vec<Points>,
}

decorated!(Scatter: horizontal, vertical);

impl Scatter {
    /// Creates a scatter figure with these axes and no points.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { decor: Decor::default(), x, y, points: Vec::new() }
    }

    /// Adds a set of points.
    #[must_use]
    pub fn points(mut self, points: Points) -> Self {
        self.points.push(points);
        self
    }

    /// Checks the data and builds the figure.
    ///
    /// Fails without points, if lengths differ, and if an axis has no values it can show.
    pub fn figure(self) -> Result<Figure> {
        ensure!(!self.points.is_empty(), "a scatter figure needs at least one set of points");
        let total: usize = self.points.iter().map(|p| p.x.len()).sum();
        // Large sets get small, transparent points, so that density is visible.
        let (radius, alpha) = match total {
            0..=60 => (4.0, 0.9),
            61..=400 => (3.0, 0.75),
            401..=3000 => (2.2, 0.55),
            _ => (1.5, 0.4),
        };
        let (count, mut layers) = (self.points.len(), Vec::with_capacity(self.points.len()));
        for (index, points) in self.points.into_iter().enumerate() {
            let (name, xs, ys) = (&points.name, points.x.len(), points.y.len());
            ensure!(xs == ys, "points `{name}` have {xs} x values and {ys} y values; they must be as many");
            let spread = points.errors.as_ref().map(|errors| {
                let count = errors.len();
                ensure!(
                    count == ys,
                    "points `{name}` have {ys} y values and {count} errors; they must be as many"
                );
                let (low, high) = errors.ends(&points.y);
                Ok(Spread { low, high, band: false })
            });
            let spread = spread.transpose()?;
            let radius = points.radius.unwrap_or(radius);
            ensure!(
                radius > 0.0 && radius <= 50.0,
                "points `{name}`: a radius is 0 to 50 pixels, found {radius}"
            );
            layers.push(Layer {
                color: points.color.unwrap_or_else(|| self.decor.palette.color(index, count)),
                shape: Shape::Points {
                    points: points.x.into_iter().zip(points.y).collect(),
                    errors: spread,
                    marker: points.marker.unwrap_or(Marker::ALL[index % Marker::ALL.len()]),
                    radius,
                    alpha,
                },
                name: points.name,
            });
        }
        Ok(Figure::new(Chart::new(Parts {
            noun: "scatter",
            decor: self.decor,
            x: self.x,
            y: self.y,
            categories: Vec::new(),
            rows: Vec::new(),
            layers,
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_that_are_not_finite_are_left_out() {
        let scatter = |x: [f64; 4], y: [f64; 4]| {
            Scatter::new(Axis::new("a"), Axis::new("b")).points(Points::new("p", x, y)).figure()
        };
        let figure = scatter([0.0, f64::NAN, 9.0, 2.0], [1.0, 2.0, f64::INFINITY, 3.0]).unwrap();
        assert_eq!(figure.describe(), "scatter figure: 1 series, x 0 to 2 (a), y 1 to 3 (b)");
        assert!(scatter([f64::NAN; 4], [0.0; 4]).is_err());
    }

    #[test]
    fn error_bars_lie_on_the_axis() {
        let points = Points::new("p", [0.0, 1.0], [2.0, 3.0]).errors([(0.5, 1.0), (4.0, 0.25)]);
        let figure = Scatter::new(Axis::new("a"), Axis::new("b")).points(points).figure().unwrap();
        assert_eq!(figure.describe(), "scatter figure: 1 series, x 0 to 1 (a), y -1 to 3.25 (b)");
    }

    #[test]
    fn unequal_lengths_are_an_error() {
        let points = Points::new("p", [0.0], [1.0]).errors([1.0, 2.0]);
        assert!(Scatter::new(Axis::new(""), Axis::new("")).points(points).figure().is_err());
        let points = Points::new("p", [0.0], [1.0, 2.0]);
        assert!(Scatter::new(Axis::new(""), Axis::new("")).points(points).figure().is_err());
    }
}
