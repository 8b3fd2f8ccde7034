//! Line figures: one or more series over x, with uncertainty, reference lines and logarithmic axes.

use crate::declare::Choice;
use crate::ensure;
use crate::error::Result;
use crate::plot::axis::{Axis, Scale};
use crate::plot::chart::{Chart, Parts};
use crate::plot::color::{Color, OKABE_ITO};
use crate::plot::decor::{Decor, decorated};
use crate::plot::errors::Errors;
use crate::plot::figure::Figure;
use crate::plot::layer::{Curve, Dodge, Layer, Shape, Spread};
use crate::plot::style::{Dash, Marker};

/// Maximum number of points of a series that is drawn with markers.
const MARKED: usize = 25;

/// Named line with x and y of equal length; NaN is a gap.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    spread: Option<ErrorBars>,
    color: Option<Color>,
    width: f64,
    dash: Option<Dash>,
    marker: Option<Option<Marker>>,
}

#[derive(Debug, Clone, PartialEq)]
enum ErrorBars {
    Bars(Errors),
    Band(Errors),
    Between(Vec<f64>, Vec<f64>),
}

impl Series {
    /// Creates a series; an empty name keeps it out of the legend.
    pub fn new(name: impl Into<String>, x: impl Into<Vec<f64>>, y: impl Into<Vec<f64>>) -> Self {
        Self {
            name: name.into(),
            x: x.into(),
            y: y.into(),
            spread: None,
            color: None,
            width: 1.8,
            dash: None,
            marker: None,
        }
    }

    /// Draws error bars from y - error to y + error at every point, or with pairs from y - below to y + above.
    #[must_use]
    pub fn errors(mut self, error: impl Into<Errors>) -> Self {
        self.spread = Some(ErrorBars::Bars(error.into()));
        self
    }

    /// Shades y - spread to y + spread, or with pairs y - below to y + above.
    #[must_use]
    pub fn band(mut self, spread: impl Into<Errors>) -> Self {
        self.spread = Some(ErrorBars::Band(spread.into()));
        self
    }

    /// Shades between two lines, such as quantiles.
    #[must_use]
    pub fn between(mut self, low: impl Into<Vec<f64>>, high: impl Into<Vec<f64>>) -> Self {
        self.spread = Some(ErrorBars::Between(low.into(), high.into()));
        self
    }

    /// Sets the color instead of taking the next one of the palette.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = Some(color);
        self
    }

    /// Sets the width of the line in pixels, 1.8 by default.
    #[must_use]
    pub fn width(mut self, width: f64) -> Self {
        self.width = width;
        self
    }

    /// Sets the dash pattern instead of taking the next one.
    #[must_use]
    pub fn dash(mut self, dash: Dash) -> Self {
        self.dash = Some(dash);
        self
    }

    /// Sets the marker, or none; by default only short series have markers.
    #[must_use]
    pub fn marker(mut self, marker: Option<Marker>) -> Self {
        self.marker = Some(marker);
        self
    }

    fn check(&self) -> Result<Option<Spread>> {
        let (name, count) = (&self.name, self.x.len());
        ensure!(
            count == self.y.len(),
            "series `{name}` has {count} x values and {} y values; they must be as many",
            self.y.len()
        );
        ensure!(
            self.width > 0.0 && self.width <= 20.0,
            "series `{name}`: a line is 0 to 20 wide, found {}",
            self.width
        );
        let (low, high, band) = match &self.spread {
            None => return Ok(None),
            Some(ErrorBars::Bars(half) | ErrorBars::Band(half)) => {
                ensure!(
                    half.len() == count,
                    "series `{name}` has {count} points and {} errors; they must be as many",
                    half.len()
                );
                let (low, high) = half.ends(&self.y);
                (low, high, matches!(self.spread, Some(ErrorBars::Band(_))))
            }
            Some(ErrorBars::Between(low, high)) => {
                ensure!(
                    low.len() == count && high.len() == count,
                    "series `{name}` has {count} points, {} lower and {} upper values; they must be as many",
                    low.len(),
                    high.len()
                );
                (low.clone(), high.clone(), true)
            }
        };
        Ok(Some(Spread { low, high, band }))
    }
}

/// Builder of a line figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    decor: Decor,
    x: Axis,
    y: Axis,
    series: Vec<Series>,
}

decorated!(Line: horizontal, vertical);

impl Line {
    /// Creates a line figure with these axes and no series.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { decor: Decor::default(), x, y, series: Vec::new() }
    }

    /// Adds a series.
    #[must_use]
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// Checks the data and builds the figure.
    ///
    /// Fails without a series, if lengths differ, and if an axis has no values it can show.
    pub fn figure(self) -> Result<Figure> {
        ensure!(!self.series.is_empty(), "a line figure needs at least one series");
        let count = self.series.iter().filter(|s| s.color.is_none()).count();
        let marked = self.series.iter().all(|s| s.x.len() <= MARKED);
        let (mut next, mut layers) = (0, Vec::with_capacity(self.series.len()));
        for series in self.series {
            let spread = series.check()?;
            let index = next;
            if series.color.is_none() {
                next += 1;
            }
            // In grayscale print, markers distinguish short series and dashes long ones, whose markers would
            // overlap.
            let own = series.color.is_some();
            let dash = if marked || own { Dash::Solid } else { dash_of(index) };
            let marker = (marked && !own).then(|| Marker::ALL[index % 5]);
            layers.push(Layer {
                name: series.name,
                color: series.color.unwrap_or_else(|| self.decor.palette.color(index, count)),
                shape: Shape::Curve(Curve {
                    points: series.x.into_iter().zip(series.y).collect(),
                    spread,
                    width: series.width,
                    dash: series.dash.unwrap_or(dash),
                    marker: series.marker.unwrap_or(marker),
                    dodge: None,
                }),
            });
        }
        dodge(&mut layers, self.x.scale);
        Ok(Figure::new(Chart::new(Parts {
            noun: "line",
            decor: self.decor,
            x: self.x,
            y: self.y,
            categories: Vec::new(),
            rows: Vec::new(),
            layers,
        })?))
    }
}

/// Returns the dash of a series, shifted after each round of the colors, so that pairs of color and dash repeat late.
fn dash_of(index: usize) -> Dash {
    Dash::ALL[(index + index / OKABE_ITO.len()) % Dash::ALL.len()]
}

/// Gives series with error bars places beside each other, so that bars at the same x do not hide each other.
fn dodge(layers: &mut [Layer], scale: Scale) {
    let mut barred: Vec<&mut Curve> = layers
        .iter_mut()
        .filter_map(|layer| match &mut layer.shape {
            Shape::Curve(curve) if curve.spread.as_ref().is_some_and(|s| !s.band) => Some(curve),
            _ => None,
        })
        .collect();
    let nearest = nearest(barred.iter().flat_map(|curve| curve.points.iter().map(|p| p.0)), scale);
    let count = barred.len();
    for (index, curve) in barred.iter_mut().enumerate() {
        curve.dodge = Some(Dodge { index, count, nearest });
    }
}

/// Returns the two neighboring x values with the smallest distance on the axis, if there are two.
fn nearest(xs: impl Iterator<Item = f64>, scale: Scale) -> Option<(f64, f64)> {
    let place = |x: f64| if scale == Scale::Log { x.ln() } else { x };
    let mut xs: Vec<f64> = xs.filter(|x| place(*x).is_finite()).collect();
    xs.sort_unstable_by(f64::total_cmp);
    let far = place(*xs.last()?) - place(*xs.first()?);
    let gap = |w: &&[f64]| place(w[1]) - place(w[0]);
    // Values that differ by rounding alone count as one.
    let apart = xs.windows(2).filter(|w| gap(w) > 1e-9 * far);
    apart.min_by(|a, b| gap(a).total_cmp(&gap(b))).map(|w| (w[0], w[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Reference;

    fn figure(series: Series) -> Result<Figure> {
        Line::new(Axis::new("ring"), Axis::new("power").log()).series(series).figure()
    }

    #[test]
    fn unequal_lengths_and_empty_data_are_errors() {
        let error = figure(Series::new("a", [1.0, 2.0], [1.0])).unwrap_err();
        assert!(error.message().contains("2 x values and 1 y values"), "{error}");
        assert!(figure(Series::new("a", [1.0], [1.0]).errors([0.1, 0.2])).is_err());
        assert!(figure(Series::new("a", [1.0], [1.0]).band([(0.1, 0.2); 2])).is_err());
        assert!(figure(Series::new("a", [1.0], [1.0]).between([0.1], [])).is_err());
        assert!(figure(Series::new("a", [], [])).is_err());
        assert!(figure(Series::new("a", [1.0], [f64::NAN])).is_err());
        assert!(Line::new(Axis::new(""), Axis::new("")).figure().is_err());
    }

    #[test]
    fn gaps_infinities_and_values_below_a_log_axis_are_skipped() {
        let y = [1.0, f64::NAN, 0.0, -3.0, f64::INFINITY, 10.0];
        let series = Series::new("a", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], y).errors([2.0; 6]);
        let figure = figure(series).unwrap();
        assert!(figure.to_png(400, 300).is_ok());
        assert!(!figure.to_svg(400, 300).unwrap().contains("NaN"));
    }

    #[test]
    fn bars_and_bands_may_differ_above_and_below() {
        let series = Series::new("a", [1.0, 2.0], [3.0, 5.0]);
        let lengths = [(1.0, 4.0), (0.5, 0.25)];
        for series in [series.clone().errors(lengths), series.band(lengths)] {
            let spread = series.check().unwrap().unwrap();
            assert_eq!((spread.low, spread.high), (vec![2.0, 4.5], vec![7.0, 5.25]));
        }
    }

    #[test]
    fn bars_stand_beside_each_other_within_the_distance_of_their_points() {
        let shapes = |x: &[f64], count: usize, axis: Axis| {
            let mut line = Line::new(axis, Axis::new("y"));
            for i in 0..count {
                let y: Vec<f64> = x.iter().map(|_| i as f64).collect();
                let series = Series::new("", x, y).marker(Some(Marker::Square));
                line = line.series(series.errors(vec![0.3; x.len()]));
            }
            line.figure().unwrap().to_svg(600, 400).unwrap()
        };
        let x: Vec<f64> = (0..6).map(f64::from).collect();
        let marks = |svg: &str| (svg.matches("<polygon").count(), svg.matches("<polyline").count());
        let all = marks(&shapes(&x, 2, Axis::new("x")));
        assert_eq!(marks(&shapes(&x, 2, Axis::new("x").limits(0.0, 5.0))), all, "points at the limits");
        assert!(
            marks(&shapes(&x, 10, Axis::new("x").limits(0.1, 4.9))).0
                < marks(&shapes(&x, 10, Axis::new("x"))).0
        );
        let first = Dodge { index: 0, count: 10, nearest: Some((1.0, 2.0)) };
        assert!((first.shift(|x| Some(4.0 * x)).0 + 0.6).abs() < 1e-12, "0.3 of 4 pixels for all");
        assert_eq!(first.shift(|x| Some(400.0 * x)), (-22.5, 22.5), "9 steps of 5 pixels for all");
    }

    #[test]
    fn the_nearest_values_follow_the_scale() {
        let x = [10.0, 1.0, 3.0, f64::NAN, 100.0, 100.0, 0.0];
        assert_eq!(nearest(x.into_iter(), Scale::Linear), Some((0.0, 1.0)));
        assert_eq!(nearest(x.into_iter(), Scale::Log), Some((1.0, 3.0)));
        assert_eq!(nearest([2.0, 2.0].into_iter(), Scale::Linear), None);
        assert_eq!(nearest([1.0, 1.0 + 1e-15, 2.0].into_iter(), Scale::Linear), Some((1.0 + 1e-15, 2.0)));
    }

    #[test]
    fn many_series_differ_in_color_or_dash() {
        let mut seen = std::collections::BTreeSet::new();
        assert!((0..32).all(|i| seen.insert((i % OKABE_ITO.len(), dash_of(i).name()))));
    }

    #[test]
    fn dense_lines_keep_their_ends_and_extremes() {
        let y: Vec<f64> = (0..200_000).map(|i| (f64::from(i) / 1e4).sin()).collect();
        let x: Vec<f64> = (0..200_000).map(f64::from).collect();
        let figure = Line::new(Axis::new(""), Axis::new("")).series(Series::new("", x, y)).figure().unwrap();
        let svg = figure.to_svg(600, 400).unwrap();
        assert!(svg.len() < 300_000, "{}", svg.len());
    }

    #[test]
    fn the_axis_without_values_is_named() {
        let message = |x: f64, y: f64| {
            let series = Series::new("a", [x; 2], [y; 2]);
            Line::new(Axis::new(""), Axis::new("")).series(series).figure().unwrap_err().message()
        };
        assert!(message(0.0, f64::NAN).contains("no y value is finite"));
        assert!(message(f64::NAN, 0.0).contains("no x value is finite"));
    }

    #[test]
    fn a_figure_says_what_it_shows() {
        let figure = figure(Series::new("a", [0.0, 20.0], [1e-3, 1e2])).unwrap();
        assert_eq!(figure.describe(), "line figure: 1 series, x 0 to 20 (ring), y 0.001 to 100 (power)");
    }

    #[test]
    fn svg_text_is_escaped_and_complete() {
        let figure = Line::new(Axis::new("a < b"), Axis::new("c & d"))
            .title("\"quoted\" \u{ffff}\u{1}")
            .series(Series::new("one", [0.0, 1.0], [1.0, 2.0]))
            .horizontal(Reference::new(1.5).label("base").spread(0.1))
            .figure()
            .unwrap();
        let svg = figure.to_svg(500, 350).unwrap();
        for text in ["a &lt; b", "c &amp; d", "&quot;quoted&quot;", "one", "base"] {
            assert!(svg.contains(text), "{text} is missing");
        }
        assert!(!svg.contains(['\u{ffff}', '\u{1}']));
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
