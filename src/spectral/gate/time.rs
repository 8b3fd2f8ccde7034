//! The gate that sees the time.

use super::network::Network;
use super::{Condition, Gate, GateKind, GateLayer};
use crate::error::Result;
use crate::nn::Builder;
use crate::torch::Tensor;
use crate::{functions, options};

options! {
    /// Two coefficients from the embedding of time.
    pub struct Time {
        /// The coefficients lie within ±scale.
        scale: f64 = 1.0 => range(0.0, 16.0);
    }
}

functions! { in "gate";
    /// Decides the two coefficients from the time alone.
    ///
    /// A small network per block, D to D/4 to 2: scale * tanh(W2 silu(W1 c + b1) + b2), where c is the
    /// embedding of time. This is the gate of the SpectralDiT paper. W2 and b2 start at zero, so training starts as plain DiT.
    ///
    /// ```rhai
    /// let gate = gate::time(#{ scale: 0.5 });
    /// assert_eq(`${gate}`, "gate::time(#{ scale: 0.5 })");
    /// ```
    fn time(options: Time) -> Gate { Gate::new(options) }
}

#[derive(Debug)]
struct Layer(Network);

impl GateLayer for Layer {
    fn forward(&self, condition: &Condition) -> Result<Tensor> {
        self.0.forward(condition.time)
    }
}

impl GateKind for Time {
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
