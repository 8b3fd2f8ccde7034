//! Logit-normal times, most frequent in the middle of the path.

use std::f64::consts::PI;

use crate::declare::Options;
use super::{Draw, Timesteps};
use crate::ensure;
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Times whose logit is normal: `t = sigmoid(mean + std n)`.
#[derive(Debug, Clone, Options)]
pub struct LogitNormal {
    /// Mean of the logit; positive values favor times near the data.
    #[option(default = 0.0, range = -20.0..=20.0)]
    pub mean: f64,
    /// Standard deviation of the logit; small values favor one time, large ones both ends.
    #[option(default = 1.0, range = 0.0..=20.0)]
    pub std: f64,
    /// Factor by which the noise levels of all times grow, as for `flow::sample`: above 1 favors times near noise.
    #[option(default = 1.0, range = 0.01..=100.0)]
    pub shift: f64,
}

impl Draw for LogitNormal {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        let normal = Tensor::randn(&[count], DType::Float32, device, generator)?;
        normal.mul_scalar(self.std)?.add_scalar(self.mean)?.sigmoid()
    }

    fn density(&self, t: &Tensor) -> Result<Tensor> {
        ensure!(self.std > 0.0, "times that are all the same have no density, expected a deviation above 0");
        let t = t.clamp(1e-12, 1.0 - 1e-12)?;
        let z = t.logit(None)?.sub_scalar(self.mean)?.mul_scalar(1.0 / self.std)?;
        let normal = z.square()?.mul_scalar(-0.5)?.exp()?.mul_scalar(1.0 / (self.std * (2.0 * PI).sqrt()))?;
        normal.div(&t.mul(&t.rsub_scalar(1.0)?)?)
    }
}

crate::functions! { in "flow";
    /// Draws training times with a normally distributed logit, most frequent in the middle of the path.
    ///
    /// `t = sigmoid(mean + std n)` with n standard normal; the median is `sigmoid(mean)`.
    /// Source: Esser et al. 2024 (Stable Diffusion 3), section 3.1.
    ///
    /// ```rhai
    /// let middle = flow::logit_normal(#{ mean: 0.0, std: 0.5 });
    /// assert_eq(middle.draw(8).shape, [8]);
    /// ```
    fn logit_normal(options: LogitNormal) -> Timesteps {
        Timesteps::new(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_sigmoid_of_the_mean() {
        for mean in [-1.0, 0.0, 0.8] {
            let generator = Generator::new(3, Device::Cpu).unwrap();
            let kind = LogitNormal { mean, std: 1.3, ..LogitNormal::default() };
            let mut t = kind.draw(20_001, Device::Cpu, Some(&generator)).unwrap().to_f64().unwrap();
            t.sort_by(f64::total_cmp);
            let expected = 1.0 / (1.0 + (-mean).exp());
            assert!((t[10_000] - expected).abs() < 0.01, "median {} for mean {mean}", t[10_000]);
        }
    }

    #[test]
    fn without_spread_every_time_is_the_same() {
        let kind = LogitNormal { std: 0.0, ..LogitNormal::default() };
        assert_eq!(kind.draw(3, Device::Cpu, None).unwrap().to_f64().unwrap(), [0.5; 3]);
        assert!(kind.density(&Tensor::from_f64(&[0.5], &[1]).unwrap()).is_err());
    }

    #[test]
    fn the_density_at_the_median_by_hand() {
        let t = Tensor::from_f64(&[0.0, 0.5, 1.0], &[3]).unwrap();
        let found = LogitNormal { std: 2.0, ..LogitNormal::default() }.density(&t).unwrap().to_f64().unwrap();
        assert!((found[1] - 4.0 / (2.0 * (2.0 * PI).sqrt())).abs() < 1e-12, "{found:?}");
        assert!(found[0] < 1e-6 && found[2] < 1e-6, "{found:?}");
    }
}
