//! Axes: the requested settings, and the span of values that is shown.

use crate::declare::Choice;
use crate::ensure;
use crate::error::{Error, Result};
use crate::plot::ticks::{self, Tick, Ticks};

/// How values are spread along an axis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Scale {
    /// Equal steps have equal distances.
    #[default]
    Linear,
    /// Equal ratios have equal distances; only positive values can be shown.
    Log,
}

impl Scale {
    /// Returns whether the value has a place on such an axis.
    pub(crate) fn shows(self, value: f64) -> bool {
        value.is_finite() && (self == Scale::Linear || value > 0.0)
    }
}

/// Axis of a figure: its label and, if the data should not decide, its scale, range and ticks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    pub(crate) label: String,
    pub(crate) scale: Scale,
    pub(crate) limits: Option<(f64, f64)>,
    pub(crate) ticks: Option<Vec<f64>>,
    pub(crate) include: Vec<f64>,
}

/// Widths of spans whose ticks can be computed without exponent overflow.
const WIDTHS: std::ops::Range<f64> = 1e-250..1e250;
/// Spans narrower than this fraction of their values count as one value.
const NARROW: f64 = 1e-12;

impl Axis {
    /// Creates a linear axis; the label should name the quantity and its unit: `cutoff (fraction of Nyquist)`.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// Makes the axis logarithmic.
    #[must_use]
    pub fn log(self) -> Self {
        self.scale(Scale::Log)
    }

    /// Sets the scale.
    #[must_use]
    pub fn scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// Shows exactly this range; values outside are cut off.
    #[must_use]
    pub fn limits(mut self, low: f64, high: f64) -> Self {
        self.limits = Some((low, high));
        self
    }

    /// Puts ticks at these values instead of choosing them.
    #[must_use]
    pub fn ticks(mut self, values: impl Into<Vec<f64>>) -> Self {
        self.ticks = Some(values.into());
        self
    }

    /// Extends the range to include this value, for instance zero.
    #[must_use]
    pub fn include(mut self, value: f64) -> Self {
        self.include.push(value);
        self
    }

    /// Returns the span that shows all of `values`, with `room` beyond them at each end, as a fraction of the span.
    /// Values that are not finite, or not positive on a logarithmic axis, are ignored.
    pub(crate) fn span(
        &self,
        name: &str,
        values: impl Iterator<Item = f64>,
        room: (f64, f64),
    ) -> Result<Span> {
        let log = self.scale == Scale::Log;
        if let Some((lo, hi)) = self.limits {
            ensure!(
                lo.is_finite() && hi.is_finite(),
                "the limits of the {name} axis must be finite, found {lo} to {hi}"
            );
            let rises = lo < hi;
            ensure!(rises, "the limits of the {name} axis must rise, found {lo} to {hi}");
            ensure!(
                log || WIDTHS.contains(&(hi - lo)) && hi - lo > NARROW * lo.abs().max(hi.abs()),
                "the limits of the {name} axis, {lo:e} to {hi:e}, are too near or too far apart"
            );
            ensure!(!log || lo > 0.0, "a logarithmic {name} axis must start above zero, found {lo}");
            return Ok(Span { lo, hi, log });
        }
        let (mut lo, mut hi, mut seen) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for value in values.chain(self.include.iter().copied()).filter(|v| v.is_finite()) {
            seen = true;
            if self.scale.shows(value) {
                (lo, hi) = (lo.min(value), hi.max(value));
            }
        }
        if lo > hi {
            return Err(match seen {
                true => Error::argument(format!(
                    "the {name} axis is logarithmic, but no {name} value is positive"
                ))
                .hint("use a linear axis"),
                false => Error::argument(format!("there is nothing to draw: no {name} value is finite"))
                    .hint("check whether the data is empty or all NaN"),
            });
        }
        if log {
            let (a, b) = (lo.log10(), hi.log10());
            let width = if b - a < 1e-12 { 0.6 } else { b - a };
            let (before, after) = if b - a < 1e-12 { (0.3, 0.3) } else { (room.0 * width, room.1 * width) };
            let bound = |exponent: f64| 10f64.powf(exponent.clamp(-307.0, 308.0));
            let span = Span { lo: bound(a - before), hi: bound(b + after), log };
            let rises = span.lo < span.hi;
            ensure!(rises, "the {name} values reach from {lo:e} to {hi:e}, too far for an axis");
            return Ok(span);
        }
        let width = hi - lo;
        let far = lo.abs().max(hi.abs()) >= WIDTHS.end / 4.0;
        ensure!(!far, "the {name} values reach from {lo:e} to {hi:e}, too far for an axis");
        if width < WIDTHS.start || width <= NARROW * lo.abs().max(hi.abs()) {
            let half = if lo.abs() < WIDTHS.start { 0.5 } else { 0.1 * lo.abs() };
            return Ok(Span { lo: lo - half, hi: hi + half, log });
        }
        Ok(Span { lo: lo - room.0 * width, hi: hi + room.1 * width, log })
    }

    /// Returns the ticks of this axis over a span, with at most `most` labels unless the ticks were given.
    pub(crate) fn place(&self, span: &Span, most: usize) -> Ticks {
        match &self.ticks {
            Some(values) => {
                let shown: Vec<f64> = values.iter().copied().filter(|v| span.holds(*v)).collect();
                let labels = ticks::told_apart(&shown).into_iter().map(|text| ticks::minus(&text));
                let list = shown.iter().zip(labels).map(|(v, label)| Tick { value: *v, label }).collect();
                Ticks { list, exponent: 0 }
            }
            None if span.log => ticks::logarithmic(span.lo, span.hi, most),
            None => ticks::linear(span.lo, span.hi, most),
        }
    }

    /// Describes the range in one line, such as `0 to 20 (ring)`.
    pub(crate) fn describe(&self, span: &Span) -> String {
        let range = ticks::told_apart(&[span.lo, span.hi]).join(" to ");
        if self.label.is_empty() { range } else { format!("{range} ({})", self.label) }
    }
}

/// Values at the two ends of an axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub lo: f64,
    pub hi: f64,
    pub log: bool,
}

impl Span {
    /// Returns the position of a value, 0 at the low end and 1 at the high end; `None` if it cannot be shown.
    pub fn part(&self, value: f64) -> Option<f64> {
        let part = match self.log {
            true if value <= 0.0 => return None,
            true => (value.ln() - self.lo.ln()) / (self.hi.ln() - self.lo.ln()),
            false => (value - self.lo) / (self.hi - self.lo),
        };
        part.is_finite().then_some(part)
    }

    fn holds(&self, value: f64) -> bool {
        self.part(value).is_some_and(|part| (-1e-9..=1.0 + 1e-9).contains(&part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_leaves_room_and_skips_what_it_cannot_show() {
        let values = [1.0, f64::NAN, 3.0, f64::INFINITY];
        let span = Axis::new("").span("x", values.into_iter(), (0.1, 0.0)).unwrap();
        assert_eq!((span.lo, span.hi), (0.8, 3.0));
        let span = Axis::new("").log().span("x", [0.0, -2.0, 1.0, 100.0].into_iter(), (0.0, 0.0)).unwrap();
        assert!((span.lo - 1.0).abs() < 1e-12 && (span.hi - 100.0).abs() < 1e-9);
        assert_eq!(span.part(10.0), Some(0.5));
        assert_eq!(span.part(0.0), None);
    }

    #[test]
    fn one_value_still_has_a_span_around_it() {
        for axis in [Axis::new(""), Axis::new("").log()] {
            let span = axis.span("y", [5.0].into_iter(), (0.05, 0.05)).unwrap();
            assert!(span.lo < 5.0 && span.hi > 5.0);
        }
        let span = Axis::new("").span("y", [0.0, 0.0].into_iter(), (0.05, 0.05)).unwrap();
        assert_eq!((span.lo, span.hi), (-0.5, 0.5));
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let none = Axis::new("").span("y", [f64::NAN].into_iter(), (0.0, 0.0)).unwrap_err();
        assert!(none.message().contains("nothing to draw"));
        let negative = Axis::new("").log().span("y", [-1.0].into_iter(), (0.0, 0.0)).unwrap_err();
        assert!(negative.message().contains("no y value is positive"));
        assert!(Axis::new("").limits(2.0, 1.0).span("y", [].into_iter(), (0.0, 0.0)).is_err());
        assert!(Axis::new("").log().limits(0.0, 1.0).span("y", [].into_iter(), (0.0, 0.0)).is_err());
    }

    #[test]
    fn a_logarithmic_axis_reaches_over_all_floats() {
        let span = Axis::new("").log().span("y", [1e-300, 1e300].into_iter(), (0.0, 0.0)).unwrap();
        assert!((span.part(1e-300).unwrap()).abs() < 1e-9 && (span.part(1.0).unwrap() - 0.5).abs() < 1e-9);
        assert!(span.part(1e300).is_some());
    }

    #[test]
    fn given_ticks_outside_the_span_are_left_out() {
        let axis = Axis::new("").ticks([0.0, 0.125, 0.5, 9.0]);
        let ticks = axis.place(&Span { lo: 0.1, hi: 1.0, log: false }, 5);
        assert_eq!(ticks.list.iter().map(|t| t.label.as_str()).collect::<Vec<_>>(), ["0.125", "0.5"]);
        let axis = Axis::new("").ticks([1e6, 1_001_000.0, 1_002_500.0]);
        let span = Span { lo: 1e6, hi: 1_004_000.0, log: false };
        assert_eq!(axis.place(&span, 5).list[2].label, "1002500");
        assert_eq!(axis.describe(&span), "1000000 to 1004000");
    }
}
