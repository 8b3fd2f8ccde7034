//! Gaussian filter.

use crate::declare::Options;
use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::error::Result;
use crate::functions;

/// Normalized Gaussian taps of radius ceil(3 sigma), with edge tokens replicated beyond the edge.
#[derive(Debug, Clone, Options)]
pub struct Gaussian {
    /// Standard deviation, in tokens.
    #[option(default = 1.0, range = 0.1..=64.0)]
    pub sigma: f64,
}

functions! { in "filter";
    /// Blurs with a Gaussian of standard deviation `sigma` tokens along each axis.
    ///
    /// This is a low-pass filter.
    /// The taps reach ceil(3 sigma) tokens to each side and sum to one. Edge tokens are replicated beyond the edge.
    /// The gain at frequency radius r is close to exp(-(pi r sigma)^2 / 2).
    ///
    /// ```rhai
    /// let low = filter::gaussian(#{ sigma: 1.5 });
    /// assert_close(low.gain(0.0), 1.0, 1e-12);
    /// assert_close(low.gain(0.3), 0.3682, 0.01);
    /// assert_eq(`${low}`, "filter::gaussian(#{ sigma: 1.5 })");
    /// ```
    fn gaussian(options: Gaussian) -> Filter { Filter::new(options) }
}

impl Gaussian {
    pub(crate) fn taps(&self) -> Vec<f64> {
        let radius = (3.0 * self.sigma).ceil() as i64;
        let raw: Vec<f64> =
            (-radius..=radius).map(|i| (-0.5 * (i as f64 / self.sigma).powi(2)).exp()).collect();
        let sum: f64 = raw.iter().sum();
        raw.iter().map(|tap| tap / sum).collect()
    }
}

impl LowPass for Gaussian {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Ok(Operator::taps(&self.taps(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.taps(), radius))
    }
}
