//! Ideal low-pass filter.

use crate::declare::Options;
use super::operator::Operator;
use super::{Filter, LowPass};
use crate::error::Result;
use crate::functions;

/// Ideal cutoff: waves up to it pass unchanged and all others are removed; the grid is periodic.
#[derive(Debug, Clone, Options)]
pub struct Ideal {
    /// Largest frequency radius that passes, as a fraction of Nyquist; sqrt(2) passes everything.
    #[option(default = 0.5, range = 0.0..=1.5)]
    pub cutoff: f64,
}

functions! { in "filter";
    /// Keeps waves of frequency radius up to `cutoff` and removes all others.
    ///
    /// This is a low-pass filter.
    /// The radius is a fraction of Nyquist: 0 keeps only the mean, and sqrt(2) keeps everything. The grid is
    /// periodic: its left edge continues at the right.
    ///
    /// ```rhai
    /// let low = filter::ideal(#{ cutoff: 0.25 });
    /// assert_eq([low.gain(0.25), low.gain(0.26)], [1.0, 0.0]);
    /// ```
    fn ideal(options: Ideal) -> Filter { Filter::new(options) }
}

impl LowPass for Ideal {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Operator::radial(grid, |radius| self.gain(radius))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        // A radius equal to the cutoff up to rounding passes.
        Ok(f64::from(u8::from(radius <= self.cutoff + 1e-9)))
    }
}
