//! The straight path from noise to data.

use super::predict::column;
use crate::declare::{FromValue, IntoValue, Map, Value};
use crate::ensure;
use crate::error::Result;
use crate::model::check_times;
use crate::torch::{DType, Generator, Tensor};

/// A point on the path for each image, and the target of the model there.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Points `(1 - t) noise + t x1`, in the images' shape.
    pub x_t: Tensor,
    /// Target velocity `x1 - noise`.
    pub target: Tensor,
    /// Noise that was used.
    pub noise: Tensor,
    /// What `mix` of a path returned besides: numbers, words, and tensors [B, ..].
    pub others: Map,
}

// Written out, since `record!` has no place for entries with other names.
impl IntoValue for Pair {
    fn label() -> String {
        "map of x_t, target, noise".to_string()
    }
    fn into_value(self) -> Value {
        let Self { x_t, target, noise, mut others } = self;
        let own = [("x_t", x_t), ("target", target), ("noise", noise)];
        others.extend(own.map(|(name, tensor)| (name.to_string(), tensor.into_value())));
        Value::Map(others)
    }
}

impl FromValue for Pair {
    fn label() -> String {
        <Self as IntoValue>::label()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let mut others = Map::from_value(value)?;
        let mut part = |name: &str| Tensor::from_value(&others.remove(name).unwrap_or(Value::Unit));
        Ok(Self { x_t: part("x_t")?, target: part("target")?, noise: part("noise")?, others })
    }
}

/// Returns points on the path from noise (t = 0) to the data `x1` (t = 1), at one time per image.
///
/// `x1` is [B, ..] and `t` is `[B]` in [0, 1], or broadcasts to x1. `noise` is moved to the device
/// of `x1`; without it, standard normal noise is drawn, from `generator` if it is given. Source: Liu et al. 2023 (rectified flow), equation 1.
pub(crate) fn pair(
    x1: &Tensor,
    t: &Tensor,
    noise: Option<&Tensor>,
    generator: Option<&Generator>,
) -> Result<Pair> {
    let shape = x1.shape();
    check_times(t, &shape)?;
    let noise = match noise {
        Some(noise) => {
            ensure!(
                noise.shape() == shape,
                "expected noise of the images' shape {shape:?}, found {:?}",
                noise.shape()
            );
            noise.to_device(x1.device())?
        }
        None => Tensor::randn(&shape, x1.dtype(), x1.device(), generator)?,
    };
    // As in `Interpolant::at`, the difference is rounded to the images' dtype only once: in bfloat16, 1 - 0.999 is 0.
    let rest = t.to_dtype(DType::Float64)?.rsub_scalar(1.0)?;
    let (s, rest) = (column(t, x1)?, column(&rest, x1)?);
    let target = x1.sub(&noise)?;
    // Written as in the definition, so that t = 1 returns x1 itself.
    let x_t = rest.mul(&noise)?.add(&s.mul(x1)?)?;
    Ok(Pair { x_t, target, noise, others: Map::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::Device;

    #[test]
    fn the_path_starts_at_noise_and_ends_at_the_image() {
        let x1 = Tensor::from_f32(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[3, 2]).unwrap();
        let noise = Tensor::from_f32(&[0.5, -0.5, 1.0, 0.0, 9.0, 2.0], &[3, 2]).unwrap();
        let t = Tensor::from_f32(&[0.0, 1.0, 0.25], &[3]).unwrap();
        let pair = pair(&x1, &t, Some(&noise), None).unwrap();
        assert_eq!(pair.x_t.to_f32().unwrap(), [0.5, -0.5, 3.0, 4.0, 8.0, 3.0]);
        assert_eq!(pair.target.to_f32().unwrap(), [0.5, 2.5, 2.0, 4.0, -4.0, 4.0]);
    }

    #[test]
    fn the_target_is_the_slope_of_the_path() {
        let x1 = Tensor::from_f64(&[1.0, -2.0], &[1, 2]).unwrap();
        let noise = Tensor::from_f64(&[0.3, 0.7], &[1, 2]).unwrap();
        let at = |t: f64| pair(&x1, &Tensor::from_f64(&[t], &[1]).unwrap(), Some(&noise), None).unwrap();
        let slope = at(0.6).x_t.sub(&at(0.5).x_t).unwrap().mul_scalar(10.0).unwrap();
        assert!(slope.allclose(&at(0.5).target, 1e-12, 1e-12).unwrap());
    }

    #[test]
    fn factors_in_half_precision_are_rounded_once() {
        let ones = Tensor::ones(&[1, 1], DType::Float32, Device::Cpu).unwrap();
        for dtype in [DType::BFloat16, DType::Float16] {
            let noise = ones.to_dtype(dtype).unwrap();
            let zeros = noise.mul_scalar(0.0).unwrap();
            for t in [0.02, 0.9, 0.97, 0.99, 0.995, 0.998, 0.999] {
                let time = Tensor::from_f32(&[t], &[1]).unwrap();
                let factor = |x1: &Tensor, noise: &Tensor| {
                    let found = pair(x1, &time, Some(noise), None).unwrap().x_t;
                    found.to_dtype(DType::Float32).unwrap().to_f32().unwrap()[0]
                };
                // Eight bits of a bfloat16.
                let (sigma, alpha) = (factor(&zeros, &noise), factor(&noise, &zeros));
                assert!((sigma / (1.0 - t) - 1.0).abs() <= 1.0 / 256.0, "{dtype:?} {t}: {sigma}");
                assert!((alpha / t - 1.0).abs() <= 1.0 / 256.0, "{dtype:?} {t}: {alpha}");
            }
        }
    }

    #[test]
    fn times_must_match_the_images() {
        let x1 = Tensor::from_f32(&[0.0; 4], &[2, 2]).unwrap();
        let t = Tensor::from_f32(&[0.5; 3], &[3]).unwrap();
        let error = pair(&x1, &t, None, None).unwrap_err();
        assert_eq!(error.message(), "expected times [2], one per image, found tensor [3] float32");
    }
}
