//! The gate that sees time and label.

use super::network::Network;
use super::{Condition, Gate, GateKind, GateLayer};
use crate::error::Result;
use crate::nn::Builder;
use crate::torch::Tensor;
use crate::{functions, options};

options! {
    /// Two coefficients from the sum of the embeddings of time and label.
    pub struct TimeLabel {
        /// The coefficients lie within ±scale.
        scale: f64 = 1.0 => range(0.0, 16.0);
    }
}

functions! { in "gate";
    /// Decides the two coefficients from time and label together.
    ///
    /// A small network per block, D to D/4 to 2: scale * tanh(W2 silu(W1 c + b1) + b2), where c is the
    /// sum of the embeddings of time and label, DiT's own conditioning. W2 and b2 start at zero, so training starts as plain DiT.
    ///
    /// ```rhai
    /// let gate = gate::time_label(#{ scale: 0.5 });
    /// assert_eq(`${gate}`, "gate::time_label(#{ scale: 0.5 })");
    /// ```
    fn time_label(options: TimeLabel) -> Gate { Gate::new(options) }
}

#[derive(Debug)]
struct Layer(Network);

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        self.0.forward(condition.time_label)
    }
}

impl GateKind for TimeLabel {
    fn layer(&self, builder: &mut Builder, name: &str, hidden: i64) -> Result<Box<dyn GateLayer>> {
        Ok(Box::new(Layer(Network::new(builder, name, hidden, self.scale)?)))
    }

    fn parameters(&self, hidden: i64) -> i64 {
        Network::parameters(hidden)
    }

    fn multiplications(&self, hidden: i64) -> i64 {
        Network::multiplications(hidden)
    }
}
