//! Weights of the squared velocity error by time, each with its source.

use crate::declare::{FromValue, IntoValue, Map, Options, Value};
use crate::error::Result;
use crate::flow::Timesteps;
use crate::torch::{DType, Tensor};

/// Options of `loss::min_snr`.
#[derive(Debug, Clone, Options)]
pub struct MinSnrOptions {
    /// Largest weight of the error of the predicted image.
    #[option(default = 5.0, range = 1e-6..=1e6)]
    pub gamma: f64,
}

/// Options of `loss::edm`.
#[derive(Debug, Clone, Options)]
pub struct EdmOptions {
    /// Standard deviation of the images.
    #[option(default = 0.5, range = 1e-3..=1e3)]
    pub sigma_data: f64,
}

/// A weight with a name.
#[derive(Debug, Clone)]
pub enum Weight {
    /// Signal-to-noise ratio up to gamma, for the error of the image.
    MinSnr(MinSnrOptions),
    /// Weight of EDM, for the error of the image.
    Edm(EdmOptions),
    /// Density of a distribution of times.
    Density(Timesteps),
}

impl Weight {
    /// Returns the weights of the squared velocity error at times t `[B]`, in float64.
    ///
    /// An error e of the velocity is an error `(1 - t) e` of the image, and the signal-to-noise ratio is
    /// `t^2 / (1 - t)^2`.
    pub fn at(&self, t: &Tensor) -> Result<Tensor> {
        let t = t.to_dtype(DType::Float64)?;
        let (signal, noise) = (t.square()?, t.rsub_scalar(1.0)?.square()?);
        match self {
            Weight::MinSnr(options) => {
                let most = noise.mul_scalar(options.gamma)?;
                signal.where_true(&signal.lt(&most)?, &most)
            }
            Weight::Edm(options) => signal.add(&noise.mul_scalar(options.sigma_data.powi(-2))?),
            Weight::Density(sampler) => sampler.density(&t),
        }
    }

    /// Returns whether the weight holds for the straight path only.
    pub fn is_of_straight_path(&self) -> bool {
        !matches!(self, Weight::Density(_))
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Weight::MinSnr(_) => "min_snr",
            Weight::Edm(_) => "edm",
            Weight::Density(_) => "density",
        }
    }

    /// Restores the weight with a name from what it is made of.
    pub(super) fn from_stored(name: &str, options: &Map) -> Result<Option<Self>> {
        Ok(Some(match name {
            "min_snr" => Weight::MinSnr(MinSnrOptions::from_map(options)?),
            "edm" => Weight::Edm(EdmOptions::from_map(options)?),
            "density" => {
                Weight::Density(Timesteps::from_stored(options.get("times").unwrap_or(&Value::Unit))?)
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn made_of(&self) -> Vec<(&'static str, Value)> {
        match self {
            Weight::MinSnr(options) => vec![("gamma", options.gamma.into_value())],
            Weight::Edm(options) => vec![("sigma_data", options.sigma_data.into_value())],
            Weight::Density(sampler) => vec![("times", sampler.clone().into_value())],
        }
    }

    /// Returns the weight as written in a script.
    pub(super) fn text(&self) -> String {
        match self {
            Weight::MinSnr(options) => format!("loss::min_snr(#{{ gamma: {:?} }})", options.gamma),
            Weight::Edm(options) => format!("loss::edm(#{{ sigma_data: {:?} }})", options.sigma_data),
            Weight::Density(sampler) => format!("loss::density({sampler:?})"),
        }
    }
}
