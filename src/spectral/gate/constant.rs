//! The gate that the user sets.

use super::{Condition, Gate, GateKind, GateLayer};
use crate::error::Result;
use crate::nn::Builder;
use crate::torch::Tensor;
use crate::{functions, options};

options! {
    /// Two fixed coefficients.
    pub struct Constant {
        /// Coefficient of the low band; -1 removes it, 0 leaves it as it is.
        low: f64 = 0.0 => range(-100.0, 100.0);
        /// Coefficient of the high band; -1 removes it, 0 leaves it as it is.
        high: f64 = 0.0 => range(-100.0, 100.0);
    }
}

functions! { in "gate";
    /// Fixes the two coefficients; nothing is learned.
    ///
    /// With low = 0 and high = -1 each block passes on the low band of its MLP residual alone.
    ///
    /// ```rhai
    /// let gate = gate::constant(#{ high: -1.0 });
    /// assert_eq(gate.options, #{ low: 0.0, high: -1.0 });
    /// ```
    fn constant(options: Constant) -> Gate { Gate::new(options) }
}

#[derive(Debug)]
struct Layer(Tensor);

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        self.0.expand(&[condition.time.size(0)?, 2])
    }
}

impl GateKind for Constant {
    fn layer(&self, builder: &mut Builder, _: &str, _: i64) -> Result<Box<dyn GateLayer>> {
        let values = Tensor::from_f64(&[self.low, self.high], &[2])?;
        Ok(Box::new(Layer(values.to_dtype(builder.dtype())?.to_device(builder.device())?)))
    }

    fn parameters(&self, _: i64) -> i64 {
        0
    }

    fn multiplications(&self, _: i64) -> i64 {
        0
    }
}
