//! Times with the signal-to-noise ratios of the cosine schedule.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use crate::declare::Options;
use super::{Draw, Timesteps};
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Times with density `2 / (pi (1 - 2 t + 2 t^2))`.
#[derive(Debug, Clone, Options)]
pub struct Cosmap {
    /// Factor by which the noise levels of all times grow, as for `flow::sample`: above 1 favors times near noise.
    #[option(default = 1.0, range = 0.01..=100.0)]
    pub shift: f64,
}

/// Returns the quantiles `1 - 1 / (tan(pi u / 2) + 1)` of u.
fn quantile(u: &Tensor) -> Result<Tensor> {
    // The tangent divided out, which is infinite at u = 1.
    let angle = u.mul_scalar(FRAC_PI_2)?;
    let (sin, cos) = (angle.sin()?, angle.cos()?);
    sin.div(&sin.add(&cos)?)
}

impl Draw for Cosmap {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        quantile(&Tensor::rand(&[count], DType::Float32, device, generator)?)
    }

    fn density(&self, t: &Tensor) -> Result<Tensor> {
        let (noise, image) = (t.rsub_scalar(1.0)?.square()?, t.square()?);
        noise.add(&image)?.reciprocal()?.mul_scalar(FRAC_2_PI)
    }
}

crate::functions! { in "flow";
    /// Draws training times whose signal-to-noise ratios are those of the cosine schedule.
    ///
    /// `t = 1 - 1 / (tan(pi u / 2) + 1)` with u uniform. Source: Esser et al. 2024 (Stable Diffusion 3), section 3.1.
    ///
    /// ```rhai
    /// let t = flow::cosmap().draw(1000, #{ seed: 1 });
    /// assert(t.amin().item() >= 0.0 && t.amax().item() <= 1.0);
    /// ```
    fn cosmap(options: Cosmap) -> Timesteps { Timesteps::new(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_by_hand() {
        let u = Tensor::from_f64(&[0.0, 0.5, 2.0 / 3.0, 1.0], &[4]).unwrap();
        let found = quantile(&u).unwrap().to_f64().unwrap();
        // tan(pi / 3) is the root of 3.
        let expected = [0.0, 0.5, 1.0 - 1.0 / (3f64.sqrt() + 1.0), 1.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
    }
}
