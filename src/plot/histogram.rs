//! Histograms: counts of values between common bin edges.

use crate::ensure;
use crate::error::Result;
use crate::plot::axis::Axis;
use crate::plot::chart::{Chart, Parts};
use crate::plot::decor::{Decor, decorated};
use crate::plot::figure::Figure;
use crate::plot::layer::{Bar, BarLook, Layer, Shape};
use crate::plot::style::Hatch;

/// Number of bins of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bins {
    /// Rule of Freedman and Diaconis (1981), 5 to 100.
    #[default]
    Auto,
    /// Exactly this many, 1 to 10,000.
    Count(usize),
}

/// Builder of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    decor: Decor,
    x: Axis,
    y_label: Option<String>,
    sets: Vec<(String, Vec<f64>)>,
    bins: Bins,
    density: bool,
}

decorated!(Histogram: vertical);

impl Histogram {
    /// Creates a histogram over this axis; limits of the axis are the outer edges of the bins.
    pub fn new(x: Axis) -> Self {
        Self { decor: Decor::default(), x, y_label: None, sets: Vec::new(), bins: Bins::Auto, density: false }
    }

    /// Sets the label of the y axis, `count` or `density` by default.
    #[must_use]
    pub fn y_label(mut self, label: impl Into<String>) -> Self {
        self.y_label = Some(label.into());
        self
    }

    /// Adds a set of values; values that are not finite are ignored.
    #[must_use]
    pub fn values(mut self, name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        self.sets.push((name.into(), values.into()));
        self
    }

    /// Sets the number of bins.
    #[must_use]
    pub fn bins(mut self, bins: Bins) -> Self {
        self.bins = bins;
        self
    }

    /// Sets whether every set is scaled to area one, so that sets of different sizes can be compared.
    #[must_use]
    pub fn density(mut self, density: bool) -> Self {
        self.density = density;
        self
    }

    /// Counts the values and builds the figure.
    ///
    /// Fails on a logarithmic x axis, without values, and if no value is finite and within the limits.
    pub fn figure(self) -> Result<Figure> {
        ensure!(!self.sets.is_empty(), "a histogram needs at least one set of values");
        ensure!(
            self.x.scale == crate::plot::Scale::Linear,
            "a histogram takes a linear x axis; take logarithms first"
        );
        let all: Vec<f64> =
            self.sets.iter().flat_map(|(_, v)| v.iter().copied()).filter(|v| v.is_finite()).collect();
        let span = self.x.span("x", all.iter().copied(), (0.0, 0.0))?;
        let bins = match self.bins {
            Bins::Auto => automatic(&all, span.hi - span.lo),
            Bins::Count(bins) => bins,
        };
        ensure!((1..=10_000).contains(&bins), "a histogram takes 1 to 10000 bins, found {bins}");
        let width = (span.hi - span.lo) / bins as f64;
        let (count, mut layers) = (self.sets.len(), Vec::with_capacity(self.sets.len()));
        for (index, (name, values)) in self.sets.into_iter().enumerate() {
            let counts = tally(&values, span.lo, span.hi, bins);
            let total: usize = counts.iter().sum();
            ensure!(total > 0, "values `{name}` have nothing to draw: none is finite and within the limits");
            let unit = if self.density { 1.0 / (total as f64 * width) } else { 1.0 };
            let bar = |(i, n): (usize, usize)| Bar {
                left: edge(span.lo, span.hi, bins, i),
                right: edge(span.lo, span.hi, bins, i + 1),
                value: n as f64 * unit,
                below: 0.0,
                above: 0.0,
            };
            layers.push(Layer {
                name,
                color: self.decor.palette.color(index, count),
                shape: Shape::Bars {
                    bars: counts.into_iter().enumerate().map(bar).collect(),
                    look: BarLook {
                        steps: true,
                        alpha: if count == 1 { 0.55 } else { 0.3 },
                        values: false,
                        hatch: Hatch::Plain,
                    },
                },
            });
        }
        let label = self.y_label.unwrap_or_else(|| if self.density { "density" } else { "count" }.to_owned());
        Ok(Figure::new(Chart::new(Parts {
            noun: "histogram",
            decor: self.decor,
            x: self.x.limits(span.lo, span.hi),
            y: Axis::new(label),
            categories: Vec::new(),
            rows: Vec::new(),
            layers,
        })?))
    }
}

/// Returns edge `i` of `bins` bins of equal width.
fn edge(lo: f64, hi: f64, bins: usize, i: usize) -> f64 {
    if i == bins { hi } else { lo + (hi - lo) * i as f64 / bins as f64 }
}

/// Counts the values in each bin; the last bin includes its upper edge.
fn tally(values: &[f64], lo: f64, hi: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values.iter().copied().filter(|v| *v >= lo && *v <= hi) {
        let mut bin = (((value - lo) / (hi - lo) * bins as f64) as usize).min(bins - 1);
        // The division rounds, and a value on an edge belongs to the bin above it.
        if value < edge(lo, hi, bins, bin) {
            bin -= 1;
        } else if bin + 1 < bins && value >= edge(lo, hi, bins, bin + 1) {
            bin += 1;
        }
        counts[bin] += 1;
    }
    counts
}

/// Returns the number of bins by the rule of Freedman and Diaconis: their width is twice the interquartile range
/// over the cube root of the count.
fn automatic(values: &[f64], width: f64) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile =
        |q: f64| sorted.get(((sorted.len() - 1) as f64 * q).round() as usize).copied().unwrap_or(0.0);
    let bin = 2.0 * (quantile(0.75) - quantile(0.25)) / (sorted.len() as f64).cbrt();
    if bin > 0.0 { ((width / bin).ceil() as usize).clamp(5, 100) } else { 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_by_hand() {
        assert_eq!(tally(&[0.0, 0.1, 0.5, 0.99, 1.0, 2.0, f64::NAN], 0.0, 1.0, 2), [2, 3]);
        assert_eq!(automatic(&[1.0; 8], 1.0), 10);
    }

    #[test]
    fn values_on_edges_belong_to_the_bin_above_them() {
        // As numpy.histogram counts them.
        for n in 1..200 {
            let values: Vec<f64> = (0..=n).map(f64::from).collect();
            let counts = tally(&values, 0.0, f64::from(n), n as usize);
            let (last, rest) = counts.split_last().unwrap();
            assert!(*last == 2 && rest.iter().all(|count| *count == 1), "{n}: {counts:?}");
        }
        assert_eq!(tally(&[0.1, 0.2, 0.3, 0.6, 0.7], 0.0, 1.0, 10), [0, 1, 1, 1, 0, 0, 1, 1, 0, 0]);
    }

    #[test]
    fn a_density_has_area_one() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i) / 100.0).collect();
        let figure = Histogram::new(Axis::new("v")).values("a", values).density(true).figure().unwrap();
        // A flat distribution over 9.99 has the density 0.1.
        assert!(figure.describe().contains("y 0 to 0.1"), "{}", figure.describe());
    }

    #[test]
    fn impossible_histograms_are_errors() {
        assert!(Histogram::new(Axis::new("")).figure().is_err());
        assert!(Histogram::new(Axis::new("")).values("a", [f64::NAN]).figure().is_err());
        assert!(Histogram::new(Axis::new("")).values("a", [1.0]).bins(Bins::Count(0)).figure().is_err());
        assert!(Histogram::new(Axis::new("").limits(5.0, 6.0)).values("a", [1.0]).figure().is_err());
        assert!(Histogram::new(Axis::new("")).values("a", [1.0]).figure().is_ok());
    }
}
