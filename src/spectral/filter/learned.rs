//! Filter with trained taps.

use crate::declare::{Options, Choice};
use super::operator::{Operator, Plan, taps_gain};
use super::{Binomial, BoxBlur, Filter, LowPass};
use crate::error::{Result, allow};
use crate::nn::{Builder, Init};
use crate::functions;

/// Initial taps of [`Learned`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum LearnedInit {
    /// Those of a binomial filter of the same size.
    #[default]
    Binomial,
    /// Equal ones.
    Box,
}

/// Trained taps along each axis that stay normalized, with edge tokens replicated beyond the edge.
#[derive(Debug, Clone, Options)]
pub struct Learned {
    /// Number of taps; must be odd.
    #[option(default = 5, range = 3..=31)]
    pub size: i64,
    /// Initial taps.
    pub init: LearnedInit,
}

functions! { in "filter";
    /// Trains the taps of the filter with the model, separately in each block.
    ///
    /// The taps w_k, shared by rows and columns and mirrored around the middle, are a softmax: they are positive
    /// and sum to 1, so a constant always passes unchanged. Each block has (size + 1) / 2 logits, initialized to
    /// zero, that are added to the logarithms of the taps of `init`. `apply`, `response` and `gain` of the filter
    /// itself use the initial taps.
    ///
    /// ```rhai
    /// let low = filter::learned(#{ size: 5 });
    /// assert_close(low.gain(0.5), filter::binomial().gain(0.5), 1e-12);
    /// let net = model::dit(#{ depth: 1, corrections: [correction(low, gate::time())] });
    /// assert_eq(net.parameters()["blocks.0.freq_filter.logits"].shape, [3]);
    /// ```
    fn learned(options: Learned) -> Filter { Filter::new(options) }
}

impl Learned {
    /// Returns the initial taps; their sum is one.
    fn taps(&self) -> Vec<f64> {
        match self.init {
            LearnedInit::Box => BoxBlur { width: self.size }.taps(),
            LearnedInit::Binomial => Binomial { order: self.size - 1 }.taps(),
        }
    }
}

impl LowPass for Learned {
    fn check(&self) -> Result<()> {
        allow(self.size % 2 == 1, "size", "odd, so that one tap is in the middle", self.size)
    }

    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Ok(Operator::taps(&self.taps(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.taps(), radius))
    }

    fn layer(&self, builder: &mut Builder, name: &str, grid: [usize; 2]) -> Result<Plan> {
        let logits = builder.within(name, |b| b.parameter("logits", &[self.parameters()], Init::Zeros))?;
        Plan::learned(&self.taps(), &logits, grid)
    }

    fn parameters(&self) -> i64 {
        self.size / 2 + 1
    }
}
