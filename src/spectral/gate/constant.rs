//! Gate with fixed coefficients.

use super::{Condition, Gate, GateKind, GateLayer, Width};
use crate::declare::{Map, Options};
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::torch::Tensor;
use crate::functions;

/// Fixed coefficients.
#[derive(Debug, Clone, Options)]
pub struct Constant {
    /// Coefficient of the low band; -1 removes the band, 0 leaves it unchanged.
    #[option(default = 0.0, range = -100.0..=100.0)]
    pub low: f64,
    /// Coefficient of the high band; -1 removes the band, 0 leaves it unchanged.
    #[option(default = 0.0, range = -100.0..=100.0)]
    pub high: f64,
    /// One coefficient per band, the lowest first, for any number of bands; replaces `low` and `high`.
    #[option(range = -100.0..=100.0)]
    pub values: Vec<f64>,
}

functions! { in "gate";
    /// Uses fixed coefficients; nothing is learned.
    ///
    /// With low = 0 and high = -1, each block adds only the low band of its MLP residual. For a correction with
    /// several filters, `values` has one coefficient per band.
    ///
    /// ```rhai
    /// let gate = gate::constant(#{ high: -1.0 });
    /// assert_eq(gate.options, #{ low: 0.0, high: -1.0 });
    /// let filters = [filter::gaussian(#{ sigma: 2.0 }), filter::gaussian(#{ sigma: 0.5 })];
    /// let paper = correction(filters, gate::constant(#{ values: [0.5, 0.0, -0.5] }));
    /// ```
    fn constant(options: Constant) -> Gate { Gate::new(options) }
}

#[derive(Debug)]
struct Layer(Tensor);

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        self.0.expand(&[condition.rows(), self.0.shape()].concat())
    }
}

impl GateKind for Constant {
    fn check(&self) -> Result<()> {
        if self.values.is_empty() || (self.low == 0.0 && self.high == 0.0) {
            return Ok(());
        }
        Err(Error::argument("expected `values`, or `low` and `high`, found both")
            .hint("`values` has the coefficients of all bands, the lowest first"))
    }

    fn bands(&self) -> Option<i64> {
        Some(if self.values.is_empty() { 2 } else { self.values.len() as i64 })
    }

    fn shown(&self, mut options: Map) -> Map {
        let unused: &[&str] = if self.values.is_empty() { &["values"] } else { &["low", "high"] };
        options.retain(|name, _| !unused.contains(&name.as_str()));
        options
    }

    fn layer(&self, builder: &mut Builder, _: &str, bands: i64, _: Width) -> Result<Box<dyn GateLayer>> {
        let pair = [self.low, self.high];
        let values = if self.values.is_empty() { &pair[..] } else { &self.values };
        let values = Tensor::from_f64(values, &[bands])?;
        Ok(Box::new(Layer(values.to_dtype(builder.dtype())?.to_device(builder.device())?)))
    }

    fn parameters(&self, _: i64, _: Width) -> i64 {
        0
    }

    fn multiplications(&self, _: i64, _: Width) -> i64 {
        0
    }
}
