//! Bar figures: groups of bars over categories, with error bars.

use crate::ensure;
use crate::error::Result;
use crate::plot::axis::Axis;
use crate::plot::chart::{Chart, Parts};
use crate::plot::color::{Color, Palette};
use crate::plot::decor::{Decor, decorated};
use crate::plot::errors::Errors;
use crate::plot::figure::Figure;
use crate::plot::layer::{Bar, BarLook, Layer, Shape};
use crate::plot::style::Hatch;

/// One bar per category, all in one color.
#[derive(Debug, Clone, PartialEq)]
pub struct BarGroup {
    name: String,
    values: Vec<f64>,
    errors: Errors,
    color: Option<Color>,
}

impl BarGroup {
    /// Creates a group with one value per category; NaN leaves a gap.
    pub fn new(name: impl Into<String>, values: impl Into<Vec<f64>>) -> Self {
        Self { name: name.into(), values: values.into(), errors: Errors::default(), color: None }
    }

    /// Draws error bars from value - error to value + error, or with pairs from value - below to value + above.
    #[must_use]
    pub fn errors(mut self, errors: impl Into<Errors>) -> Self {
        self.errors = errors.into();
        self
    }

    /// Sets the color instead of taking the next one of the palette.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = Some(color);
        self
    }
}

/// Builder of a bar figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    decor: Decor,
    categories: Vec<String>,
    x_label: String,
    y: Axis,
    groups: Vec<BarGroup>,
    values: bool,
}

decorated!(Bars: horizontal);

impl Bars {
    /// Creates a bar figure over named categories, with a numeric y axis and no groups.
    pub fn new<S: Into<String>>(categories: impl IntoIterator<Item = S>, y: Axis) -> Self {
        Self {
            decor: Decor::default(),
            categories: categories.into_iter().map(Into::into).collect(),
            x_label: String::new(),
            y,
            groups: Vec::new(),
            values: false,
        }
    }

    /// Sets the label of the categories.
    #[must_use]
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Adds a group of bars.
    #[must_use]
    pub fn group(mut self, group: BarGroup) -> Self {
        self.groups.push(group);
        self
    }

    /// Sets whether the value is written above every bar.
    #[must_use]
    pub fn values(mut self, shown: bool) -> Self {
        self.values = shown;
        self
    }

    /// Checks the data and builds the figure.
    ///
    /// Fails without categories or groups, and if a group does not have one value (and one error, if any) per
    /// category.
    pub fn figure(self) -> Result<Figure> {
        let slots = self.categories.len();
        ensure!(slots > 0, "a bar figure needs at least one category");
        ensure!(!self.groups.is_empty(), "a bar figure needs at least one group of bars");
        let (count, mut layers) = (self.groups.len(), Vec::with_capacity(self.groups.len()));
        let width = if count == 1 { 0.64 } else { 0.8 / count as f64 };
        for (index, group) in self.groups.into_iter().enumerate() {
            let (name, found) = (&group.name, group.values.len());
            ensure!(found == slots, "bars `{name}` have {found} values for {slots} categories");
            let errors = group.errors.len();
            ensure!(
                errors == 0 || errors == slots,
                "bars `{name}` have {errors} errors for {slots} categories"
            );
            ensure!(
                group.values.iter().any(|v| v.is_finite()),
                "bars `{name}` have nothing to draw: no value is finite"
            );
            let bar = |(slot, value): (usize, &f64)| {
                let left = slot as f64 + width * (index as f64 - count as f64 / 2.0);
                let known = |error: f64| if error.is_finite() { error.abs() } else { 0.0 };
                let (below, above) = group.errors.pairs().get(slot).copied().unwrap_or_default();
                // A thin white gap separates neighbors in grayscale print.
                let rim = if count > 1 { 0.03 * width } else { 0.0 };
                Bar {
                    left: left + rim,
                    right: left + width - rim,
                    value: *value,
                    below: known(below),
                    above: known(above),
                }
            };
            // In grayscale print most colors look alike; the steps of an ordered palette do not.
            let alike = group.color.is_none() && self.decor.palette == Palette::Distinct;
            let hatch = if alike { Hatch::ALL[index % Hatch::ALL.len()] } else { Hatch::Plain };
            layers.push(Layer {
                color: group.color.unwrap_or_else(|| self.decor.palette.color(index, count)),
                shape: Shape::Bars {
                    bars: group.values.iter().enumerate().map(bar).collect(),
                    look: BarLook { steps: false, alpha: 1.0, values: self.values, hatch },
                },
                name: group.name,
            });
        }
        Ok(Figure::new(Chart::new(Parts {
            noun: "bar",
            decor: self.decor,
            x: Axis::new(self.x_label),
            y: self.y,
            categories: self.categories,
            rows: Vec::new(),
            layers,
        })?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_needs_a_value_per_category() {
        let bars = |values: &[f64], errors: &[f64]| {
            Bars::new(["a", "b"], Axis::new("fid")).group(BarGroup::new("g", values).errors(errors)).figure()
        };
        assert!(bars(&[1.0], &[]).unwrap_err().message().contains("1 values for 2 categories"));
        assert!(bars(&[1.0, 2.0], &[1.0]).is_err());
        assert!(bars(&[f64::NAN, f64::NAN], &[]).is_err());
        let figure = bars(&[1.0, f64::NAN], &[0.5, f64::NAN]).unwrap();
        assert_eq!(figure.describe(), "bar figure: 1 series, 2 categories, y 0 to 1.5 (fid)");
        assert!(figure.to_png(400, 300).is_ok());
        assert!(Bars::new(Vec::<String>::new(), Axis::new("")).figure().is_err());
        let figure = Bars::new(["a"], Axis::new("fid")).group(BarGroup::new("", [2.0]).errors([(1.0, 0.5)]));
        assert_eq!(
            figure.figure().unwrap().describe(),
            "bar figure: 1 series, 1 categories, y 0 to 2.5 (fid)"
        );
    }

    #[test]
    fn negative_bars_hang_from_zero() {
        let figure = Bars::new(["a"], Axis::new("gate")).group(BarGroup::new("g", [-2.0])).figure().unwrap();
        assert!(figure.describe().ends_with("y -2 to 0 (gate)"), "{}", figure.describe());
        assert!(figure.to_svg(400, 300).is_ok());
    }
}
