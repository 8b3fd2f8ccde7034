//! Description and input of a metric.

use super::features::Extracted;
use super::moments::Moments;
use super::{CompareOptions, Images};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Which values of a metric are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Lower is better.
    Lower,
    /// Higher is better.
    Higher,
    /// Closer to the value of the real images is better.
    Real,
}

impl Better {
    /// Returns the word for tables.
    pub fn word(self) -> &'static str {
        match self {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Real => "as real",
        }
    }
}

/// Description of one number in a comparison.
#[derive(Debug)]
pub struct Metric {
    /// Name in tables, files and scripts: `fid`.
    pub name: &'static str,
    /// Description in one sentence.
    pub summary: &'static str,
    /// Which values are better.
    pub better: Better,
    /// Unit, or range if there is no unit.
    pub unit: &'static str,
    /// Paper and equation.
    pub source: &'static str,
}

/// Input of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Images.
    Pixels,
    /// Features of a network.
    Features,
    /// Logits of a network.
    Logits,
    /// Spatial features, which depend on the position in the image.
    Spatial,
}

/// Metrics that are computed together.
pub struct Family {
    /// Metrics, in the order of the readings.
    pub metrics: &'static [Metric],
    /// Input of the metrics.
    pub needs: Needs,
    /// Whether ranks compute the metrics together; otherwise one of them does.
    pub divided: bool,
    /// Computes the metrics. If they are divided, all ranks of the context call it.
    pub measure: fn(&Pair, &Context) -> Result<Vec<Reading>>,
}

/// Value of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Value of the generated images, or of both sets if the metric compares them.
    pub made: f64,
    /// Value of the real images alone, if the metric is defined for one set.
    pub real: Option<f64>,
}

impl Reading {
    /// Creates the reading of a metric that compares two sets.
    pub fn of_both(value: f64) -> Self {
        Self { made: value, real: None }
    }

    /// Creates the reading of a metric of one set, for both sets.
    pub fn of_each(made: f64, real: f64) -> Self {
        Self { made, real: Some(real) }
    }
}

/// One of the two sets in a comparison.
#[derive(Debug)]
pub struct SampleOptions<'a> {
    /// Images of the set.
    pub images: &'a Images,
    /// Features of the images, if a metric needs them.
    pub extracted: Option<Extracted>,
}

impl SampleOptions<'_> {
    /// Returns the network's outputs; a family that uses them declares it in [`Family::needs`].
    pub fn extracted(&self) -> Result<&Extracted> {
        self.extracted.as_ref().ok_or_else(unannounced)
    }

    /// Returns the logits; a family that uses them declares it in [`Family::needs`].
    pub fn logits(&self) -> Result<&Tensor> {
        self.extracted()?.logits.as_ref().ok_or_else(unannounced)
    }

    /// Returns the spatial features; a family that uses them declares it in [`Family::needs`].
    pub fn spatial(&self) -> Result<&Tensor> {
        self.extracted()?.spatial.as_ref().ok_or_else(unannounced)
    }

    /// Returns mean and covariance of the features: those stored with the images, or of the images, called `name`.
    pub fn moments(&self, name: &str) -> Result<Moments> {
        match self.images.statistics() {
            Some(statistics) => Ok(statistics.features().clone()),
            None => Moments::of(&self.extracted()?.features, name),
        }
    }

    /// Like [`moments`](Self::moments), of the spatial features.
    pub fn spatial_moments(&self, name: &str) -> Result<Moments> {
        match self.images.statistics() {
            Some(statistics) => statistics.need_spatial().cloned(),
            None => Moments::of(self.spatial()?, name),
        }
    }
}

fn unannounced() -> Error {
    Error::internal("a metric asked for something it did not announce")
}

/// Two sets of images to compare.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Real images, the reference.
    pub real: SampleOptions<'a>,
    /// Generated images, to be evaluated.
    pub made: SampleOptions<'a>,
    /// Options of all metrics.
    pub options: &'a CompareOptions,
}
