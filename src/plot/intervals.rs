//! Interval figures (forest plots): one estimate with its interval per named row.

use crate::declare::Choice;
use crate::ensure;
use crate::error::Result;
use crate::plot::axis::Axis;
use crate::plot::chart::{Chart, Parts};
use crate::plot::color::Color;
use crate::plot::decor::{Decor, decorated};
use crate::plot::figure::Figure;
use crate::plot::layer::{Interval, Layer, Shape};
use crate::plot::style::Marker;

/// Share of a row's height that several sets are spread over.
const SHARE: f64 = 0.64;

/// One estimate and interval per row, in one color.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    name: String,
    values: Vec<f64>,
    low: Vec<f64>,
    high: Vec<f64>,
    color: Option<Color>,
}

impl Estimates {
    /// Creates estimates with the ends of their intervals; NaN is not drawn, and an interval with one end is drawn from
    /// the estimate to it.
    pub fn new(
        name: impl Into<String>,
        values: impl Into<Vec<f64>>,
        low: impl Into<Vec<f64>>,
        high: impl Into<Vec<f64>>,
    ) -> Self {
        Self { name: name.into(), values: values.into(), low: low.into(), high: high.into(), color: None }
    }

    /// Sets the color instead of taking the next one of the palette.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = Some(color);
        self
    }
}

/// Builder of an interval figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Intervals {
    decor: Decor,
    rows: Vec<String>,
    x: Axis,
    sets: Vec<Estimates>,
}

decorated!(Intervals: vertical);

impl Intervals {
    /// Creates a figure with these rows, from top to bottom.
    pub fn new<S: Into<String>>(rows: impl IntoIterator<Item = S>, x: Axis) -> Self {
        Self {
            decor: Decor::default(),
            rows: rows.into_iter().map(Into::into).collect(),
            x,
            sets: Vec::new(),
        }
    }

    /// Adds a set of estimates; several sets are drawn below each other within a row.
    #[must_use]
    pub fn estimates(mut self, set: Estimates) -> Self {
        self.sets.push(set);
        self
    }

    /// Builds the figure.
    ///
    /// Fails without rows or estimates, if a set does not have one value and interval per row, and if an interval's
    /// low end is above its high end.
    pub fn figure(self) -> Result<Figure> {
        let (rows, count) = (self.rows.len(), self.sets.len());
        ensure!(rows > 0, "an interval figure needs at least one row");
        ensure!(count > 0, "an interval figure needs at least one set of estimates");
        let mut layers = Vec::with_capacity(count);
        for (index, set) in self.sets.into_iter().enumerate() {
            let name = &set.name;
            for (what, found) in [("values", &set.values), ("low ends", &set.low), ("high ends", &set.high)] {
                ensure!(
                    found.len() == rows,
                    "estimates `{name}` have {} {what} for {rows} rows",
                    found.len()
                );
            }
            let wrong = set.low.iter().zip(&set.high).position(|(low, high)| low > high);
            if let Some(row) = wrong {
                ensure!(
                    false,
                    "estimates `{name}`, row `{}`: the low end {} is above the high end {}",
                    self.rows[row],
                    set.low[row],
                    set.high[row]
                );
            }
            let offset = SHARE * ((index as f64 + 0.5) / count as f64 - 0.5);
            let ends = set.low.iter().zip(&set.high);
            let interval = |((row, value), (low, high)): ((usize, &f64), (&f64, &f64))| Interval {
                row: row as f64 + offset,
                value: *value,
                low: *low,
                high: *high,
            };
            layers.push(Layer {
                color: set.color.unwrap_or_else(|| self.decor.palette.color(index, count)),
                shape: Shape::Intervals {
                    intervals: set.values.iter().enumerate().zip(ends).map(interval).collect(),
                    marker: Marker::ALL[index % Marker::ALL.len()],
                },
                name: set.name,
            });
        }
        Ok(Figure::new(Chart::new(Parts {
            noun: "interval",
            decor: self.decor,
            x: self.x,
            y: Axis::new(""),
            categories: Vec::new(),
            rows: self.rows,
            layers,
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Reference;

    fn figure(values: &[f64], low: &[f64], high: &[f64]) -> Result<Figure> {
        Intervals::new(["a", "b"], Axis::new("change of FID (%)"))
            .estimates(Estimates::new("g", values, low, high))
            .vertical(Reference::new(0.0))
            .figure()
    }

    #[test]
    fn the_axis_holds_the_ends_of_all_intervals() {
        let found = figure(&[1.0, f64::NAN], &[-2.5, f64::NAN], &[4.0, f64::NAN]).unwrap();
        assert_eq!(found.describe(), "interval figure: 1 series, 2 rows, x -2.5 to 4 (change of FID (%))");
        assert!(found.to_png(400, 300).is_ok());
    }

    #[test]
    fn an_interval_with_one_end_is_drawn_to_it() {
        let strokes = |low: f64, high: f64| {
            let rows = Intervals::new(["a", "b"], Axis::new("x").limits(0.0, 4.0));
            let set = Estimates::new("", [1.0, 2.0], [0.5, low], [1.5, high]);
            rows.estimates(set).figure().unwrap().to_svg(400, 300).unwrap().matches("<polyline").count()
        };
        let none = strokes(f64::NAN, f64::NAN);
        assert_eq!(strokes(f64::NAN, 2.5), none + 2, "a line and a cap");
        assert_eq!(strokes(1.5, f64::NAN), none + 2);
        assert_eq!(strokes(1.5, 2.5), none + 3);
    }

    #[test]
    fn every_row_needs_a_value_and_a_rising_interval() {
        let message = |found: Result<Figure>| found.unwrap_err().message();
        assert_eq!(message(figure(&[1.0], &[0.0; 2], &[2.0; 2])), "estimates `g` have 1 values for 2 rows");
        assert_eq!(
            message(figure(&[1.0; 2], &[0.0, 3.0], &[2.0; 2])),
            "estimates `g`, row `b`: the low end 3 is above the high end 2"
        );
        assert!(figure(&[f64::NAN; 2], &[f64::NAN; 2], &[f64::NAN; 2]).is_ok(), "the line at zero is drawn");
        assert!(Intervals::new(Vec::<String>::new(), Axis::new("")).figure().is_err());
    }

    #[test]
    fn the_first_row_is_the_highest_and_long_names_are_whole_in_a_wide_figure() {
        let long = "a correction per channel at the attention residual";
        let svg = Intervals::new([long, "short"], Axis::new("x"))
            .estimates(Estimates::new("", [1.0, 2.0], [0.0, 1.0], [2.0, 3.0]))
            .figure()
            .unwrap()
            .to_svg(700, 300)
            .unwrap();
        assert!(svg.find(long).unwrap() < svg.find("short").unwrap());
    }
}
