//! The ideal low-pass filter among cosines.

use super::operator::Operator;
use super::{Filter, LowPass};
use crate::error::Result;
use crate::{functions, options};

options! {
    /// Cosines up to a cutoff pass unchanged and all others vanish; the grid is reflected at its edges.
    pub struct Dct {
        /// The largest frequency radius that passes, a fraction of the highest cosine; at sqrt(2) everything does.
        cutoff: f64 = 0.5 => range(0.0, 1.5);
    }
}

functions! { in "filter";
    /// Keeps the coefficients of the cosine transform up to `cutoff` and removes all others.
    ///
    /// On a grid of G x G tokens the coefficient (u, v) of the DCT-II passes if sqrt(u^2 + v^2) / (G - 1) is
    /// at most `cutoff`. The grid goes on as in a mirror, so opposite edges need not fit each other as they must for
    /// `filter::ideal`. 0 keeps the mean alone, and sqrt(2) keeps everything.
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
    fn operator(&self, grid: usize) -> Result<Operator> {
        Operator::cosines(grid, |radius| self.gain(radius))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        // A radius that equals the cutoff up to rounding passes.
        Ok(f64::from(u8::from(radius <= self.cutoff + 1e-9)))
    }
}
