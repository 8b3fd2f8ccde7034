//! Gate that depends on the time and the label.

use super::network::NetworkOptions;
use super::{Condition, Gate, Per};
use crate::declare::Options;
use crate::torch::Tensor;
use crate::functions;

/// Coefficients computed from the sum of the time and label embeddings.
#[derive(Debug, Clone, Options)]
pub struct TimeLabel {
    /// The coefficients lie within ±scale.
    #[option(default = 1.0, range = 0.0..=16.0)]
    pub scale: f64,
    /// `"band"` for one coefficient per band, `"channel"` for one per band and channel of the tokens.
    pub per: Per,
}

functions! { in "gate";
    /// Computes the coefficients of the bands from time and label together.
    ///
    /// Each block has a small network with widths D, D/4 and one output per coefficient:
    /// scale * tanh(W2 silu(W1 c + b1) + b2), where c is the sum of the time and label embeddings, DiT's own
    /// conditioning. W2 and b2 are initialized to zero, so training starts as plain DiT. With `per: "channel"`,
    /// each channel of the tokens has its own coefficients.
    ///
    /// ```rhai
    /// let gate = gate::time_label(#{ scale: 0.5 });
    /// assert_eq(`${gate}`, "gate::time_label(#{ scale: 0.5 })");
    /// ```
    fn time_label(options: TimeLabel) -> Gate { Gate::new(options) }
}

impl NetworkOptions for TimeLabel {
    fn scale(&self) -> f64 {
        self.scale
    }

    fn per(&self) -> Per {
        self.per
    }

    fn embedding<'a>(condition: &Condition<'a>) -> &'a Tensor {
        condition.time_label
    }
}
