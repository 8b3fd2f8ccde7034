//! Ideal low-pass filter in the cosine basis.

use crate::declare::Options;
use super::operator::Operator;
use super::{Filter, LowPass};
use crate::error::Result;
use crate::functions;

/// Ideal cutoff: cosines up to it pass unchanged and all others are removed; the grid is reflected at its
/// edges.
#[derive(Debug, Clone, Options)]
pub struct Dct {
    /// Largest frequency radius that passes, as a fraction of the highest cosine; sqrt(2) passes everything.
    #[option(default = 0.5, range = 0.0..=1.5)]
    pub cutoff: f64,
}

functions! { in "filter";
    /// Keeps the coefficients of the cosine transform up to `cutoff` and removes all others.
    ///
    /// This is a low-pass filter.
    /// On a grid of G x G tokens, the coefficient (u, v) of the DCT-II passes if sqrt(u^2 + v^2) / (G - 1) is at
    /// most `cutoff`. The grid is mirrored at its edges, so opposite edges need not match as they must for
    /// `filter::ideal`. A cutoff of 0 keeps only the mean, and sqrt(2) keeps everything.
    ///
    /// ```rhai
    /// let low = filter::dct(#{ cutoff: 0.25 });
    /// assert_eq([low.gain(0.25), low.gain(0.26)], [1.0, 0.0]);
    /// // A ramp from edge to edge is mostly slow cosines; a periodic grid sees a jump.
    /// let ramp = tensor::arange(8).to("float32").reshape([1, 8, 1, 1]).expand([1, 8, 8, 1]).reshape([1, 64, 1]);
    /// let lost = |low| (ramp - low.apply(ramp, 8)).square().mean().item();
    /// assert(lost.call(low) < lost.call(filter::ideal(#{ cutoff: 0.25 })));
    /// ```
    fn dct(options: Dct) -> Filter { Filter::new(options) }
}

impl LowPass for Dct {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Operator::cosines(grid, |radius| self.gain(radius))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        // A radius equal to the cutoff up to rounding passes.
        Ok(f64::from(u8::from(radius <= self.cutoff + 1e-9)))
    }
}
