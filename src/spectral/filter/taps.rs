//! Filter with user-defined taps.

use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::declare::{Map, Value, Options};
use crate::error::Result;
use crate::functions;

/// User-defined taps along each axis, with edge tokens replicated beyond the edge.
#[derive(Debug, Clone, Options)]
pub struct Taps {
    /// Odd number of taps; the middle one belongs to the token itself.
    #[option(default = vec![1.0])]
    pub taps: Vec<f64>,
    /// Whether to divide the taps by their sum, so that a constant passes unchanged.
    #[option(default = true, alias = "normalise")]
    pub normalize: bool,
}

/// Options of `filter::taps`.
#[derive(Debug, Clone, Options)]
pub struct TapsOptions {
    /// Whether to divide the taps by their sum, so that a constant passes unchanged.
    #[option(default = true, alias = "normalise")]
    pub normalize: bool,
}

functions! { in "filter";
    /// Filters with the given taps along each axis.
    ///
    /// The number of taps must be odd, and the middle one belongs to the token itself. The taps are divided by
    /// their sum unless `normalize` is false. Edge tokens are replicated beyond the edge.
    ///
    /// ```rhai
    /// let low = filter::taps([1, 4, 6, 4, 1]);
    /// assert_close(low.gain(0.5), filter::binomial().gain(0.5), 1e-12);
    /// ```
    fn taps(taps: Vec<f64>, options: TapsOptions) -> Filter {
        Filter::new(Taps { taps, normalize: options.normalize })
    }
}

impl Taps {
    fn scaled(&self) -> Vec<f64> {
        let sum: f64 = if self.normalize { self.taps.iter().sum() } else { 1.0 };
        self.taps.iter().map(|tap| tap / sum).collect()
    }
}

impl LowPass for Taps {
    fn check(&self) -> Result<()> {
        let taps = &self.taps;
        crate::ensure!(
            taps.len() % 2 == 1,
            "the number of taps must be odd, so that one is in the middle, found {}",
            taps.len()
        );
        crate::ensure!(taps.iter().all(|t| t.is_finite()), "every tap must be finite, found {taps:?}");
        let sum: f64 = taps.iter().sum();
        crate::ensure!(
            !self.normalize || sum.abs() > 1e-12,
            "the taps {taps:?} sum to zero and cannot be normalized; pass #{{ normalize: false }} if that is meant"
        );
        Ok(())
    }

    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        Ok(Operator::taps(&self.scaled(), grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        Ok(taps_gain(&self.scaled(), radius))
    }

    fn arguments(&self, _: &Map) -> String {
        let list = Value::List(self.taps.iter().map(|t| Value::Float(*t)).collect());
        match self.normalize {
            true => format!("{list:?}"),
            false => format!("{list:?}, #{{ normalize: false }}"),
        }
    }
}
