//! SD3's mode sampling of training times.

use std::f64::consts::{FRAC_PI_2, PI};

use crate::declare::Options;
use super::{Draw, Timesteps};
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Steps of bisection that give a float64 in [0, 1] its full precision.
const HALVINGS: usize = 54;

/// Times `1 - u - scale (cos(pi u / 2)^2 - 1 + u)` of uniform u.
#[derive(Debug, Clone, Options)]
pub struct Mode {
    /// Weight of the middle of the path if positive, of both ends if negative; 0 is uniform.
    #[option(default = 1.29, range = -1.0..=1.75)]
    pub scale: f64,
    /// Factor by which the noise levels of all times grow, as for `flow::sample`: above 1 favors times near noise.
    #[option(default = 1.0, range = 0.01..=100.0)]
    pub shift: f64,
}

impl Mode {
    /// Returns the times of u, which fall from 1 to 0.
    fn times(&self, u: &Tensor) -> Result<Tensor> {
        let rest = u.rsub_scalar(1.0)?;
        let bend = u.mul_scalar(FRAC_PI_2)?.cos()?.square()?.sub(&rest)?;
        rest.sub(&bend.mul_scalar(self.scale)?)
    }
}

impl Draw for Mode {
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        // The last bit of a float32 may leave the interval.
        self.times(&Tensor::rand(&[count], DType::Float32, device, generator)?)?.clamp(0.0, 1.0)
    }

    fn density(&self, t: &Tensor) -> Result<Tensor> {
        // The times have no inverse in closed form.
        let mut low = Tensor::zeros(&t.shape(), t.dtype(), t.device())?;
        let mut high = Tensor::ones(&t.shape(), t.dtype(), t.device())?;
        for _ in 0..HALVINGS {
            let middle = low.add(&high)?.mul_scalar(0.5)?;
            let later = self.times(&middle)?.gt(t)?;
            (low, high) = (middle.where_true(&later, &low)?, high.where_true(&later, &middle)?);
        }
        let slope = low.mul_scalar(PI)?.sin()?.mul_scalar(-FRAC_PI_2)?.add_scalar(1.0)?;
        slope.mul_scalar(self.scale)?.add_scalar(1.0)?.clamp_min(1e-6)?.reciprocal()
    }
}

crate::functions! { in "flow";
    /// Draws training times by SD3's mode sampling: more often in the middle of the path or, with a negative scale,
    /// near both ends.
    ///
    /// `t = 1 - u - scale (cos(pi u / 2)^2 - 1 + u)` with u uniform; the density is positive everywhere. Source: Esser et
    /// al. 2024 (Stable Diffusion 3), section 3.1, which uses scales of 0.81 and 1.29.
    ///
    /// ```rhai
    /// let t = flow::mode(#{ scale: 1.29 }).draw(1000, #{ seed: 1 });
    /// assert((t - 0.5).abs().mean().item() < 0.2);   // uniform times are 0.25 from the middle
    /// ```
    fn mode(options: Mode) -> Timesteps { Timesteps::new(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(scale: f64) -> Mode {
        Mode { scale, ..Mode::default() }
    }

    #[test]
    fn times_by_hand() {
        let u = Tensor::from_f64(&[0.0, 1.0 / 3.0, 0.5, 1.0], &[4]).unwrap();
        let found = mode(0.8).times(&u).unwrap().to_f64().unwrap();
        // cos(pi / 6)^2 = 3 / 4.
        let expected = [1.0, 2.0 / 3.0 - 0.8 * (0.75 - 2.0 / 3.0), 0.5, 0.0];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
    }

    #[test]
    fn densities_by_hand() {
        let t = Tensor::from_f64(&[0.0, 0.5, 1.0], &[3]).unwrap();
        let found = mode(0.8).density(&t).unwrap().to_f64().unwrap();
        let expected = [1.0 / 1.8, 1.0 / (1.0 + 0.8 * (1.0 - FRAC_PI_2)), 1.0 / 1.8];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(mode(0.0).density(&t).unwrap().to_f64().unwrap(), [1.0; 3]);
    }
}
