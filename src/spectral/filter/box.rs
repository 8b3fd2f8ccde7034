//! The box filter.

use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::error::Result;
use crate::{functions, options};

options! {
    /// The mean over a square window, the edge tokens repeated beyond the edge.
    pub struct BoxBlur {
        /// Side of the window in tokens; odd.
        width: i64 = 3 => range(1.0, 255.0);
    }
}

functions! { in "filter";
    /// Averages over a window of `width` x `width` tokens.
    ///
    /// The width is odd, and the edge tokens are repeated beyond the edge. A box lets some high
    /// frequencies through with the opposite sign: its gain is negative in places.
    ///
    /// ```rhai
    /// let low = filter::box(#{ width: 3 });
    /// assert_close(low.gain(1.0), -1.0 / 3.0, 1e-12);
    /// ```
    fn r#box(options: BoxBlur) -> Filter { Filter::new(options) }
}

impl BoxBlur {
    /// The taps along an axis, which sum to one.
    pub(super) fn taps(&self) -> Vec<f64> {
        vec![1.0 / self.width as f64; self.width as usize]
    }
}

impl LowPass for BoxBlur {
    fn check(&self) -> Result<()> {
        crate::ensure!(
            self.width % 2 == 1,
            "`width` must be odd, so that the window has a middle, found {}",
            self.width
        );
        Ok(())
    }

    fn operator(&self, grid: usize) -> Result<Operator> {
        Ok(Operator::taps(&self.taps(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.taps(), radius))
    }
}
