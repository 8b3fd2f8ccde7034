//! Gate that depends on the time.

use super::network::NetworkOptions;
use super::{Condition, Gate, Per};
use crate::declare::Options;
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

impl NetworkOptions for Time {
    fn scale(&self) -> f64 {
        self.scale
    }

    fn per(&self) -> Per {
        self.per
    }

    fn embedding<'a>(condition: &Condition<'a>) -> &'a Tensor {
        condition.time
    }
}
