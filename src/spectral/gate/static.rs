//! Gate with learned coefficients that depend on no input.

use super::{Coefficients, Condition, Gate, GateKind, GateLayer, Per, Width, without_default_per};
use crate::declare::{Map, Options};
use crate::error::Result;
use crate::nn::{Builder, Init};
use crate::torch::Tensor;
use crate::functions;

/// Learned coefficients per block, the same for every time and label.
#[derive(Debug, Clone, Options)]
pub struct Static {
    /// The coefficients lie within ±scale.
    #[option(default = 1.0, range = 0.0..=16.0)]
    pub scale: f64,
    /// `"band"` for one coefficient per band, `"channel"` for one per band and channel of the tokens.
    pub per: Per,
}

functions! { in "gate";
    /// Learns the coefficients of each block, shared by all times and labels.
    ///
    /// Each block has one logit per coefficient, initialized to zero, and the coefficients are
    /// scale * tanh(logits). With `per: "channel"`, each channel of the tokens has its own coefficients.
    ///
    /// ```rhai
    /// let gate = gate::static();
    /// assert_eq(`${gate}`, "gate::static(#{ scale: 1.0 })");
    /// ```
    fn r#static(options: Static) -> Gate { Gate::new(options) }
}

#[derive(Debug)]
struct Layer {
    logits: Tensor,
    scale: f64,
}

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        let shape = [condition.rows(), self.logits.shape()].concat();
        self.logits.tanh()?.mul_scalar(self.scale)?.expand(&shape)
    }
}

impl GateKind for Static {
    fn shown(&self, options: Map) -> Map {
        without_default_per(options)
    }

    fn layer(
        &self,
        builder: &mut Builder,
        name: &str,
        bands: i64,
        width: Width,
    ) -> Result<Box<dyn GateLayer>> {
        let shape = Coefficients::new(self.per, bands, width).shape();
        let logits = builder.parameter(&format!("{name}_static_logits"), &shape, Init::Zeros)?;
        Ok(Box::new(Layer { logits, scale: self.scale }))
    }

    fn parameters(&self, bands: i64, width: Width) -> i64 {
        Coefficients::new(self.per, bands, width).count()
    }

    fn multiplications(&self, _: i64, _: Width) -> i64 {
        0
    }
}
