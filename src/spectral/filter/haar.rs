//! Coarse band of the Haar transform.

use crate::declare::Options;
use super::operator::{Operator, taps_gain};
use super::{Filter, LowPass};
use crate::error::Result;
use crate::functions;

/// Mean of each square block of tokens, repeated over the block.
#[derive(Debug, Clone, Options)]
pub struct Haar {
    /// Number of times the grid is halved; blocks are 2^levels tokens wide.
    #[option(default = 1, range = 1..=10)]
    pub levels: i64,
}

functions! { in "filter";
    /// Keeps the coarse band of a Haar transform of `levels` levels.
    ///
    /// This is a low-pass filter.
    /// Every token becomes the mean of its block of 2^levels x 2^levels tokens, so the width of the grid must be
    /// divisible by 2^levels. The blocks are fixed: unlike the other filters, this one does not shift with the
    /// image, and its gain is that of a wave averaged over all shifts.
    ///
    /// ```rhai
    /// let low = filter::haar(#{ levels: 1 });
    /// let tokens = tensor::arange(16).to("float32").reshape([1, 16, 1]);
    /// assert_close(low.apply(tokens, 4).reshape([4, 4])[0], [2.5, 2.5, 4.5, 4.5], 1e-6);
    /// assert_close(low.gain(0.5), 0.5, 1e-12);
    /// ```
    fn haar(options: Haar) -> Filter { Filter::new(options) }
}

impl Haar {
    fn block(&self) -> usize {
        1 << self.levels
    }
}

impl LowPass for Haar {
    fn operator(&self, grid: [usize; 2]) -> Result<Operator> {
        let block = self.block();
        let [height, width] = grid;
        crate::ensure!(
            grid.iter().all(|side| side.is_multiple_of(block)),
            "filter::haar with {} levels needs a token grid divisible by {block}, found {height} x {width}",
            self.levels
        );
        Ok(Operator::blocks(block, grid))
    }

    fn gain(&self, radius: f64) -> Result<f64> {
        // Averaged over shifts, block means have the squared gain of the box, which is that of the triangle.
        let block = self.block() as i64;
        let area = (block * block) as f64;
        let triangle: Vec<f64> = (1 - block..block).map(|k| (block - k.abs()) as f64 / area).collect();
        Ok(taps_gain(&triangle, radius))
    }
}
