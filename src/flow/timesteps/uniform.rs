//! Uniform times.

use crate::declare::Options;
use super::{Draw, Timesteps};
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Times uniform in [0, 1), as in the paper.
#[derive(Debug, Clone, Options)]
pub struct Uniform {
    /// Factor by which the noise levels of all times grow, as for `flow::sample`: above 1 favors times near noise.
    #[option(default = 1.0, range = 0.01..=100.0)]
    pub shift: f64,
}

impl Draw for Uniform {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        Tensor::rand(&[count], DType::Float32, device, generator)
    }

    fn density(&self, t: &Tensor) -> Result<Tensor> {
        Tensor::ones(&t.shape(), t.dtype(), t.device())
    }
}

crate::functions! { in "flow";
    /// Draws training times uniformly from [0, 1).
    ///
    /// This is the paper's choice and the default of `train::fit`. `shift` moves the times `t` to
    /// `t / (shift + (1 - shift) t)`: larger images need more noise, so more times near it. Source of the shift: Esser
    /// et al. 2024 (Stable Diffusion 3), equation 23.
    ///
    /// ```rhai
    /// let t = flow::uniform().draw(1000, #{ seed: 1 });
    /// assert_eq(t.shape, [1000]);
    /// let shifted = flow::uniform(#{ shift: 3.0 }).draw(1000, #{ seed: 1 });
    /// assert_close(shifted, t / (3.0 - 2.0 * t), 1e-6);
    /// ```
    fn uniform(options: Uniform) -> Timesteps { Timesteps::new(options) }
}
