//! Times with log-normal noise levels, as in EDM.

use crate::declare::Options;
use super::logit_normal::LogitNormal;
use super::{Draw, Timesteps};
use crate::error::Result;
use crate::torch::{Device, Generator, Tensor};

/// Times whose noise level `sigma = (1 - t) / t` is log-normal: `ln sigma = p_mean + p_std n`.
#[derive(Debug, Clone, Options)]
pub struct Edm {
    /// Mean of ln sigma; positive values favor times near noise.
    #[option(default = -1.2, range = -20.0..=20.0)]
    pub p_mean: f64,
    /// Standard deviation of ln sigma.
    #[option(default = 1.2, range = 0.0..=20.0)]
    pub p_std: f64,
    /// Factor by which the noise levels of all times grow, as for `flow::sample`: above 1 favors times near noise.
    #[option(default = 1.0, range = 0.01..=100.0)]
    pub shift: f64,
}

impl Edm {
    /// Returns the same distribution by the logit of the times, which is `-ln sigma`.
    fn logit(&self) -> LogitNormal {
        LogitNormal { mean: -self.p_mean, std: self.p_std, shift: 1.0 }
    }
}

impl Draw for Edm {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        self.logit().draw(count, device, generator)
    }

    fn density(&self, t: &Tensor) -> Result<Tensor> {
        self.logit().density(t)
    }
}

crate::functions! { in "flow";
    /// Draws training times whose noise level relative to the image is log-normal.
    ///
    /// On the straight path the noise level is `sigma = (1 - t) / t`, so `t = 1 / (1 + sigma)` with
    /// `ln sigma = p_mean + p_std n` and n standard normal. EDM assumes data of standard deviation 0.5. Source: Karras
    /// et al. 2022, table 1.
    ///
    /// ```rhai
    /// let times = flow::edm(#{ p_mean: 0.0, p_std: 0.0 });
    /// assert_close(times.draw(2), [0.5, 0.5], 1e-6);   // as much noise as image
    /// ```
    fn edm(options: Edm) -> Timesteps { Timesteps::new(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_level_is_log_normal() {
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let t = Edm::default().draw(100_000, Device::Cpu, Some(&generator)).unwrap().to_f64().unwrap();
        let logs: Vec<f64> = t.iter().map(|t| ((1.0 - t) / t).ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let variance = logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / logs.len() as f64;
        assert!((mean + 1.2).abs() < 0.015 && (variance.sqrt() - 1.2).abs() < 0.015, "{mean} {variance}");
    }
}
