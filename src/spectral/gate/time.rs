//! Gate that depends on the time.

use super::network::Network;
use super::{Coefficients, Condition, Gate, GateKind, GateLayer, Per, Width, without_default_per};
use crate::declare::{Map, Options};
use crate::error::Result;
use crate::nn::Builder;
use crate::torch::Tensor;
use crate::functions;

/// Coefficients computed from the time embedding.
#[derive(Debug, Clone, Options)]
pub struct Time {
    /// The coefficients lie within ±scale.
    #[option(default = 1.0, range = 0.0..=16.0)]
    pub scale: f64,
    /// `"band"` for one coefficient per band, `"channel"` for one per band and channel of the tokens.
    pub per: Per,
}

functions! { in "gate";
    /// Computes the coefficients of the bands from the time alone.
    ///
    /// Each block has a small network with widths D, D/4 and one output per coefficient:
    /// scale * tanh(W2 silu(W1 c + b1) + b2), where c is the time embedding. This is the gate of the SpectralDiT
    /// paper. W2 and b2 are initialized to zero, so training starts as plain DiT. With `per: "channel"`, each
    /// channel of the tokens has its own coefficients.
    ///
    /// ```rhai
    /// let gate = gate::time(#{ scale: 0.5 });
    /// assert_eq(`${gate}`, "gate::time(#{ scale: 0.5 })");
    /// let net = model::dit(#{ depth: 1, corrections: correction(filter::gaussian(), gate::time(#{ per: "channel" })) });
    /// assert_eq(net.parameters()["blocks.0.freq_gate.2.weight"].shape, [2 * 128, 32]);
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
        let coefficients = Coefficients::new(self.per, bands, width);
        Ok(Box::new(Layer(Network::new(builder, name, width.embedding, coefficients, self.scale)?)))
    }

    fn parameters(&self, bands: i64, width: Width) -> i64 {
        Network::parameters(width.embedding, Coefficients::new(self.per, bands, width))
    }

    fn multiplications(&self, bands: i64, width: Width) -> i64 {
        Network::multiplications(width.embedding, Coefficients::new(self.per, bands, width))
    }
}
