//! What a metric says of itself, and what it is given.

use super::features::Extracted;
use super::{CompareOptions, Images};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Which values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The lower the better.
    Lower,
    /// The higher the better.
    Higher,
    /// The nearer to the value of the real images the better.
    Real,
}

impl Better {
    /// One word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Real => "as real",
        }
    }
}

/// One number that a comparison reports.
#[derive(Debug)]
pub struct Metric {
    /// Its name in tables, files and scripts: `fid`.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub summary: &'static str,
    /// Which values are good.
    pub better: Better,
    /// Its unit, or its range where it has none.
    pub unit: &'static str,
    /// Paper and equation.
    pub source: &'static str,
}

/// What metrics are measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// The images themselves.
    Pixels,
    /// What a network sees in them.
    Features,
    /// How a network classifies them.
    Logits,
    /// Features that keep their places in the image.
    Spatial,
}

/// Metrics that are computed together.
pub struct Family {
    /// The metrics, in the order of the readings.
    pub metrics: &'static [Metric],
    /// What they are measured on.
    pub needs: Needs,
    /// Measures them.
    pub measure: fn(&Pair, &Context) -> Result<Vec<Reading>>,
}

/// The value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Of the made images, or of both sets where the metric compares them.
    pub made: f64,
    /// Of the real images alone, where the metric has a value for one set.
    pub real: Option<f64>,
}

impl Reading {
    /// A metric that compares two sets.
    pub fn of_both(value: f64) -> Self {
        Self { made: value, real: None }
    }

    /// A metric of one set, for both sets.
    pub fn of_each(made: f64, real: f64) -> Self {
        Self { made, real: Some(real) }
    }
}

/// One of the two sets that are compared.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Its images.
    pub images: &'a Images,
    /// What the features are of its images, where a metric needs them.
    pub extracted: Option<Extracted>,
}

impl Sample<'_> {
    /// What the network gave; a family that asks says so in [`Family::needs`].
    pub fn extracted(&self) -> Result<&Extracted> {
        self.extracted.as_ref().ok_or_else(unannounced)
    }

    /// The logits; a family that asks says so in [`Family::needs`].
    pub fn logits(&self) -> Result<&Tensor> {
        self.extracted()?.logits.as_ref().ok_or_else(unannounced)
    }

    /// The spatial features; a family that asks says so in [`Family::needs`].
    pub fn spatial(&self) -> Result<&Tensor> {
        self.extracted()?.spatial.as_ref().ok_or_else(unannounced)
    }
}

fn unannounced() -> Error {
    Error::internal("a metric asked for something it did not announce")
}

/// Two sets of images to compare.
#[derive(Debug)]
pub struct Pair<'a> {
    /// What the made images should look like.
    pub real: Sample<'a>,
    /// What is judged.
    pub made: Sample<'a>,
    /// Options of all metrics.
    pub options: &'a CompareOptions,
}
