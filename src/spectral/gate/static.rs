//! The gate that sees nothing but learns.

use super::{Condition, Gate, GateKind, GateLayer};
use crate::error::Result;
use crate::nn::{Builder, Init};
use crate::torch::Tensor;
use crate::{functions, options};

options! {
    /// Two learned coefficients per block, the same for every time and label.
    pub struct Static {
        /// The coefficients lie within ±scale.
        scale: f64 = 1.0 => range(0.0, 16.0);
    }
}

functions! { in "gate";
    /// Learns two coefficients per block, the same at every time and for every label.
    ///
    /// Each block has two logits, zero at the start, and the coefficients are scale * tanh(logits).
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
        self.logits.tanh()?.mul_scalar(self.scale)?.expand(&[condition.time.size(0)?, 2])
    }
}

impl GateKind for Static {
    fn layer(&self, builder: &mut Builder, name: &str, _: i64) -> Result<Box<dyn GateLayer>> {
        let logits = builder.parameter(&format!("{name}_static_logits"), &[2], Init::Zeros)?;
        Ok(Box::new(Layer { logits, scale: self.scale }))
    }

    fn parameters(&self, _: i64) -> i64 {
        2
    }

    fn multiplications(&self, _: i64) -> i64 {
        0
    }
}
