//! Logit-normal times, most frequent in the middle of the path.

use crate::declare::Options;
use super::{Draw, Timesteps};
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
}

impl Draw for LogitNormal {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        let normal = Tensor::randn(&[count], DType::Float32, device, generator)?;
        normal.mul_scalar(self.std)?.add_scalar(self.mean)?.sigmoid()
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
            let kind = LogitNormal { mean, std: 1.3 };
            let mut t = kind.draw(20_001, Device::Cpu, Some(&generator)).unwrap().to_f64().unwrap();
            t.sort_by(f64::total_cmp);
            let expected = 1.0 / (1.0 + (-mean).exp());
            assert!((t[10_000] - expected).abs() < 0.01, "median {} for mean {mean}", t[10_000]);
        }
    }

    #[test]
    fn without_spread_every_time_is_the_same() {
        let t = LogitNormal { mean: 0.0, std: 0.0 }.draw(3, Device::Cpu, None).unwrap();
        assert_eq!(t.to_f64().unwrap(), [0.5; 3]);
    }
}
