//! Box filter.

use crate::declare::Options;
use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::error::{Result, allow};
use crate::functions;

/// Mean over a square window, with edge tokens replicated beyond the edge.
#[derive(Debug, Clone, Options)]
pub struct BoxBlur {
    /// Side of the window in tokens; must be odd.
    #[option(default = 3, range = 1..=255)]
    pub width: i64,
}

functions! { in "filter";
    /// Averages over a window of `width` x `width` tokens.
    ///
    /// This is a low-pass filter.
    /// The width must be odd. Edge tokens are replicated beyond the edge. A box filter passes some high frequencies
    /// with the opposite sign: its gain is negative there.
    ///
    /// ```rhai
    /// let low = filter::box(#{ width: 3 });
    /// assert_close(low.gain(1.0), -1.0 / 3.0, 1e-12);
    /// ```
    fn r#box(options: BoxBlur) -> Filter { Filter::new(options) }
}

impl BoxBlur {
    /// Returns the taps along an axis; their sum is one.
    pub(super) fn taps(&self) -> Vec<f64> {
        vec![1.0 / self.width as f64; self.width as usize]
    }
}

impl LowPass for BoxBlur {
    fn check(&self) -> Result<()> {
        allow(self.width % 2 == 1, "width", "odd, so that the window has a middle", self.width)
    }

    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Ok(Operator::taps(&self.taps(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.taps(), radius))
    }
}
