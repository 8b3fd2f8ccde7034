//! Uniform times.

use crate::declare::Options;
use super::{Draw, Timesteps};
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Times uniform in [0, 1), as in the paper.
#[derive(Debug, Clone, Options)]
pub struct Uniform {}

impl Draw for Uniform {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        Tensor::rand(&[count], DType::Float32, device, generator)
    }
}

crate::functions! { in "flow";
    /// Draws training times uniformly from [0, 1).
    ///
    /// This is the paper's choice and the default of `train::fit`.
    ///
    /// ```rhai
    /// let t = flow::uniform().draw(1000, #{ seed: 1 });
    /// assert_eq(t.shape, [1000]);
    /// ```
    fn uniform() -> Timesteps { Timesteps::new(Uniform::default()) }
}
