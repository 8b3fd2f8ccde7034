//! Normalization over the last dimension, and over groups of channels.

use super::{Builder, Init};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Norm of the tokens of a block before their modulation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum TokenNorm {
    /// Layer norm without a weight, epsilon 1e-6, as in DiT.
    #[default]
    Layer,
    /// RMS norm with a weight, epsilon 1e-6.
    Rms,
}

/// Norm of tokens with its parameters, modulated by a shift and a scale per image.
#[derive(Debug, Clone)]
pub struct ModulatedNorm {
    /// Weight of the RMS norm.
    weight: Option<Tensor>,
}

impl ModulatedNorm {
    /// Creates a `weight` of ones under `name`, or nothing for layer norm.
    pub fn new(builder: &mut Builder, name: &str, kind: TokenNorm, hidden: i64) -> Result<Self> {
        let weight = match kind {
            TokenNorm::Layer => None,
            TokenNorm::Rms => Some(builder.within(name, |b| b.parameter("weight", &[hidden], Init::Ones))?),
        };
        Ok(Self { weight })
    }

    /// Returns the residual stream s and `norm(s) (1 + scale) + shift`, where s is the tokens x [B, N, D], or
    /// `x + gate m` with a residual `(m, gate)`; shift, scale and gate are [B, 1, D].
    pub fn forward(
        &self,
        x: &Tensor,
        residual: Option<(&Tensor, &Tensor)>,
        shift: &Tensor,
        scale: &Tensor,
    ) -> Result<(Tensor, Tensor)> {
        match &self.weight {
            None => fused::stream_norm(x, residual, shift, scale),
            Some(weight) => fused::stream_rms_norm(x, residual, shift, &folded(weight, scale)?),
        }
    }

    /// Returns the tokens `norm(x) (1 + scale) + shift`, to be corrected.
    pub fn tokens(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<fused::Tokens> {
        let scale = self.weight.as_ref().map_or_else(|| Ok(scale.clone()), |weight| folded(weight, scale))?;
        Ok(fused::Tokens::Norm { x: x.clone(), shift: shift.clone(), scale, centered: self.weight.is_none() })
    }

    /// Returns `norm(x) (1 + scale) + shift`.
    pub fn alone(&self, x: &Tensor, shift: &Tensor, scale: &Tensor) -> Result<Tensor> {
        match &self.weight {
            None => fused::norm_modulate(x, shift, scale),
            Some(weight) => fused::rms_modulate(x, shift, &folded(weight, scale)?),
        }
    }
}

/// Returns the scale that includes the weight of a norm: `weight (1 + scale) - 1`.
fn folded(weight: &Tensor, scale: &Tensor) -> Result<Tensor> {
    // Under autocast the scale is bfloat16, but the weight is not.
    weight.to_dtype(scale.dtype())?.mul(&scale.add_scalar(1.0)?)?.sub_scalar(1.0)
}

/// RMS norm `weight * x / sqrt(mean(x^2) + eps)` over the last dimension (Zhang and Sennrich 2019, equation 4),
/// where eps is the machine epsilon of the input's dtype unless it is given.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    pub(super) weight: Tensor,
    pub(super) eps: Option<f64>,
}

impl RmsNorm {
    /// Creates a `weight` of ones under `name`.
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64) -> Result<Self> {
        Self::with_eps(builder, name, size, None)
    }

    /// Creates a `weight` of ones under `name`, for a norm with another epsilon.
    pub fn with_eps(builder: &mut Builder, name: impl ToString, size: i64, eps: Option<f64>) -> Result<Self> {
        builder.within(name, |b| Ok(Self { weight: b.parameter("weight", &[size], Init::Ones)?, eps }))
    }

    /// Normalizes [.., size]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.rms_norm(&self.weight.shape(), Some(&self.weight), self.eps)
    }
}

/// Layer norm to zero mean and unit variance over the last dimension, epsilon 1e-6, then a weight and a bias for
/// each entry unless it was created without them (Ba et al. 2016, equation 4).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    parts: Option<(Tensor, Tensor)>,
    size: i64,
}

impl LayerNorm {
    /// Creates a `weight` of ones and a `bias` of zeros under `name`, or neither unless `affine`.
    pub fn new(builder: &mut Builder, name: impl ToString, size: i64, affine: bool) -> Result<Self> {
        builder.within(name, |b| {
            let mut make = || {
                Ok::<_, crate::error::Error>((
                    b.parameter("weight", &[size], Init::Ones)?,
                    b.parameter("bias", &[size], Init::Zeros)?,
                ))
            };
            Ok(Self { parts: affine.then(&mut make).transpose()?, size })
        })
    }

    /// Normalizes [.., size]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.parts.as_ref().map_or((None, None), |(w, b)| (Some(w), Some(b)));
        x.layer_norm(&[self.size], weight, bias, 1e-6)
    }
}

/// Group norm to zero mean and unit variance over each group of channels of an image, epsilon 1e-6, then a weight
/// and a bias for each channel (Wu and He 2018, equation 1).
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
}

impl GroupNorm {
    /// Creates a `weight` of ones and a `bias` of zeros under `name`; `groups` must divide `channels`.
    pub fn new(builder: &mut Builder, name: impl ToString, groups: i64, channels: i64) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                weight: b.parameter("weight", &[channels], Init::Ones)?,
                bias: b.parameter("bias", &[channels], Init::Zeros)?,
                groups,
            })
        })
    }

    /// Normalizes [B, C, H, W]; the shape stays the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), 1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device, Generator, autograd, no_grad};

    type Norm<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

    fn draw(seed: u64, shape: &[i64]) -> Tensor {
        let generator = Generator::new(seed, Device::Cpu).unwrap();
        Tensor::randn(shape, DType::Float64, Device::Cpu, Some(&generator)).unwrap()
    }

    /// Returns the mean square of a derivative of `norm(x w)`: of order 0 along a direction, or of order 2 or 3 by x.
    fn size(norm: Norm, w: &Tensor, order: usize) -> Tensor {
        let x = draw(1, &[3, 4, 5, 6]).to_dtype(w.dtype()).unwrap();
        let v = draw(2, &[3, 4, 5, 6]).to_dtype(w.dtype()).unwrap();
        if order == 0 {
            let along = |x: &[Tensor]| norm(&x[0].matmul(w)?);
            let found = autograd::jvp(along, &[x], &[Some(v)], true).unwrap().1;
            return found.square().unwrap().mean(&[], false).unwrap();
        }
        let x = x.set_requires_grad(true).unwrap();
        let mut found = norm(&x.matmul(w).unwrap()).unwrap();
        for _ in 1..order {
            let sum = found.sin().unwrap().sum(&[], false).unwrap();
            let slopes = autograd::grad(&[sum], std::slice::from_ref(&x), None, true, true).unwrap();
            found = slopes[0].clone().unwrap();
        }
        found.square().unwrap().mean(&[], false).unwrap()
    }

    /// Returns the slope of [`size`] along a direction of w, from its gradient and from finite differences.
    fn slopes(norm: Norm, order: usize, dtype: DType) -> (f64, f64) {
        let (w, d) = (draw(3, &[6, 6]).to_dtype(dtype).unwrap(), draw(4, &[6, 6]));
        let leaf = w.copy().unwrap().set_requires_grad(true).unwrap();
        let found = size(norm, &leaf, order);
        let grad = autograd::grad(&[found], &[leaf], None, false, false).unwrap()[0].clone().unwrap();
        let along = grad.to_dtype(DType::Float64).unwrap().mul(&d).unwrap();
        let at = |step: f64| {
            let w = w.to_dtype(DType::Float64).unwrap().add(&d.mul_scalar(step).unwrap()).unwrap();
            size(norm, &w, order).item().unwrap()
        };
        (along.sum(&[], false).unwrap().item().unwrap(), (at(1e-5) - at(-1e-5)) / 2e-5)
    }

    /// Calls `check` with the name of each norm and the norm.
    fn each(dtype: DType, mut check: impl FnMut(&str, Norm)) {
        let of = |t: Tensor, x: &Tensor| t.to_dtype(x.dtype()).unwrap();
        let (weight, bias) = (draw(5, &[6]), draw(6, &[6]));
        let (channels, offsets) = (draw(7, &[4]), draw(8, &[4]));
        let (shift, scale) = (draw(9, &[3, 1, 6]), draw(10, &[3, 1, 6]));
        let tokens = |x: &Tensor| x.reshape(&[3, 20, 6]);
        let mut check = |name: &str, norm: Norm| check(&format!("{name} {}", dtype.name()), norm);
        check("layer", &|x| x.layer_norm(&[6], None, None, 1e-6));
        check("layer with weights", &|x| {
            x.layer_norm(&[6], Some(&of(weight.clone(), x)), Some(&of(bias.clone(), x)), 1e-6)
        });
        check("layer of two dimensions", &|x| x.layer_norm(&[5, 6], None, None, 1e-2));
        check("rms", &|x| x.rms_norm(&[6], Some(&of(weight.clone(), x)), Some(1e-6)));
        check("group", &|x| x.group_norm(2, Some(&of(channels.clone(), x)), None, 1e-6));
        check("batch", &|x| {
            let (weight, bias) = (of(channels.clone(), x), of(offsets.clone(), x));
            x.batch_norm(Some(&weight), Some(&bias), None, None, true, 0.1, 1e-5)
        });
        check("fused layer", &|x| {
            fused::norm_modulate(&tokens(x)?, &of(shift.clone(), x), &of(scale.clone(), x))
        });
        check("fused rms", &|x| {
            fused::rms_modulate(&tokens(x)?, &of(shift.clone(), x), &of(scale.clone(), x))
        });
        check("fused stream", &|x| {
            let (x, gate) = (tokens(x)?, of(scale.clone(), x));
            let residual = x.sin()?;
            fused::stream_norm(&x, Some((&residual, &gate)), &of(shift.clone(), &x), &gate).map(|(_, y)| y)
        });
    }

    #[test]
    fn derivatives_of_every_order_are_those_of_finite_differences() {
        for (dtype, within) in [(DType::Float64, 1e-5), (DType::Float32, 2e-3)] {
            each(dtype, |name, norm| {
                for order in [0, 1, 2, 3] {
                    let (found, expected) = slopes(norm, order, dtype);
                    let error = (found - expected).abs() / expected.abs().max(0.1);
                    assert!(error < within, "{name}, order {order}: {found}, expected {expected}");
                }
            });
        }
    }

    #[test]
    fn derivatives_in_bfloat16_are_near() {
        let close = |norm: Norm| {
            let (found, expected) = slopes(norm, 0, DType::BFloat16);
            assert!((found - expected).abs() < 0.1 * expected.abs().max(1.0), "{found}, expected {expected}");
        };
        close(&|x| x.layer_norm(&[6], None, None, 1e-6));
        let part = |x: &Tensor| draw(9, &[3, 1, 6]).to_dtype(x.dtype());
        close(&|x| fused::norm_modulate(&x.reshape(&[3, 20, 6])?, &part(x)?, &part(x)?));
    }

    /// Layer norm of two numbers a distance of 2 h apart is h / sqrt(h^2 + eps), of which all derivatives are known.
    #[test]
    fn layer_norm_of_two_numbers_has_the_derivatives_of_its_closed_form() {
        let (h, eps) = (0.7_f64, 0.3_f64);
        let x = Tensor::from_f64(&[1.0 + h, 1.0 - h], &[2]).unwrap().set_requires_grad(true).unwrap();
        let mut found = x.layer_norm(&[2], None, None, eps).unwrap().select(0, 0).unwrap();
        let q = h * h + eps;
        let expected = [
            h / q.sqrt(),
            eps * q.powf(-1.5),
            -3.0 * eps * h * q.powf(-2.5),
            -3.0 * eps * q.powf(-2.5) + 15.0 * eps * h * h * q.powf(-3.5),
            45.0 * eps * h * q.powf(-3.5) - 105.0 * eps * h.powi(3) * q.powf(-4.5),
        ];
        for (order, expected) in expected.into_iter().enumerate() {
            let value = found.item().unwrap();
            assert!((value - expected).abs() < 1e-9, "order {order}: {value}, expected {expected}");
            // The slope by h is that by the first number minus that by the second.
            let slopes = autograd::grad(&[found], std::slice::from_ref(&x), None, true, true).unwrap();
            let slopes = slopes[0].clone().unwrap();
            found = slopes.select(0, 0).unwrap().sub(&slopes.select(0, 1).unwrap()).unwrap();
        }
    }

    #[test]
    fn an_ordinary_gradient_has_no_graph() {
        let x = draw(1, &[3, 6]).set_requires_grad(true).unwrap();
        let y = x.layer_norm(&[6], None, None, 1e-6).unwrap().square().unwrap().sum(&[], false).unwrap();
        let grad = autograd::grad(&[y], &[x], None, false, false).unwrap()[0].clone().unwrap();
        assert!(!grad.requires_grad() && no_grad(|| grad.exp()).is_ok());
    }
}
