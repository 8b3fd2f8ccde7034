//! Butterworth filter.

use crate::declare::Options;
use super::operator::Operator;
use super::{Filter, LowPass};
use crate::error::Result;
use crate::functions;

/// Smooth cutoff 1 / (1 + (r / cutoff)^(2 order)) on a periodic grid.
#[derive(Debug, Clone, Options)]
pub struct Butterworth {
    /// Frequency radius at which the gain is one half, as a fraction of Nyquist.
    #[option(default = 0.5, range = 0.01..=1.5)]
    pub cutoff: f64,
    /// Steepness of the cutoff.
    #[option(default = 2, range = 1..=64)]
    pub order: i64,
}

functions! { in "filter";
    /// Multiplies waves of frequency radius r by 1 / (1 + (r / cutoff)^(2 order)).
    ///
    /// This is a low-pass filter.
    /// At the cutoff, a fraction of Nyquist, the gain is one half. Larger orders come closer to `filter::ideal`,
    /// without its ringing. The grid is periodic.
    ///
    /// ```rhai
    /// let low = filter::butterworth(#{ cutoff: 0.4, order: 3 });
    /// assert_close(low.gain(0.4), 0.5, 1e-12);
    /// ```
    fn butterworth(options: Butterworth) -> Filter { Filter::new(options) }
}

impl LowPass for Butterworth {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Operator::radial(grid, |radius| self.gain(radius))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(1.0 / (1.0 + (radius / self.cutoff).powi(2 * self.order as i32)))
    }
}
