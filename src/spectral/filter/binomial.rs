//! Binomial filter.

use crate::declare::Options;
use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::error::{Result, allow};
use crate::functions;

/// Binomial taps along each axis, with edge tokens replicated beyond the edge.
#[derive(Debug, Clone, Options)]
pub struct Binomial {
    /// Number of taps minus one; must be even. Order 4 has the taps 1 4 6 4 1, the paper's filter.
    #[option(default = 4, range = 2..=64)]
    pub order: i64,
}

functions! { in "filter";
    /// Blurs with binomial taps, such as 1 4 6 4 1 over 16 along each axis.
    ///
    /// This is a low-pass filter.
    /// Order 4 is the filter of the SpectralDiT paper. The gain at frequency radius r along an axis is
    /// cos(pi r / 2)^order, so waves of two tokens vanish. Edge tokens are replicated beyond the edge.
    ///
    /// ```rhai
    /// let low = filter::binomial(#{ order: 2 });
    /// assert_close(low.gain(0.5), 0.5, 1e-12);
    /// assert_eq(`${filter::binomial()}`, "filter::binomial(#{ order: 4 })");
    /// ```
    fn binomial(options: Binomial) -> Filter { Filter::new(options) }
}

impl Binomial {
    /// Returns the taps along an axis; their sum is one.
    pub(super) fn taps(&self) -> Vec<f64> {
        let mut taps = vec![1.0];
        for _ in 0..self.order {
            let shifted = taps.iter().copied().chain([0.0]);
            taps = shifted.zip([0.0].into_iter().chain(taps.iter().copied())).map(|(a, b)| (a + b) / 2.0).collect();
        }
        taps
    }
}

impl LowPass for Binomial {
    fn check(&self) -> Result<()> {
        allow(self.order % 2 == 0, "order", "even, so that the taps have a middle", self.order)
    }

    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Ok(Operator::taps(&self.taps(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.taps(), radius))
    }
}
