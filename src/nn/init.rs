//! Initial values of parameters.

use crate::declare::Choice;
use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// Distribution of the weights of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Distribution {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Normal with mean 0.
    Normal,
    /// As in DiT.
    #[default]
    XavierUniform,
    /// As in PyTorch's layers.
    KaimingUniform,
    /// Ones on the diagonal, zeros elsewhere; for a convolution in the middle of its windows, so that it keeps images.
    Identity,
}

/// Distribution from which a parameter is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// All zeros.
    Zeros,
    /// All ones.
    Ones,
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform within ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16). The fans of a convolution
    /// [outputs, inputs, height, width] are its outputs and inputs times the size of its window, as in PyTorch.
    XavierUniform,
    /// Same for a weight viewed as the matrix [shape\[0\], the rest], as DiT does with the convolution of its patches.
    XavierUniformOfMatrix,
    /// Uniform within ±1 / sqrt(fan_in), the default of PyTorch's layers (He et al. 2015 with a = sqrt(5)).
    KaimingUniform,
    /// Ones on the diagonal, zeros elsewhere; for a convolution of this number of groups, in the middle of its windows and
    /// on the diagonal of each group (`dirac_` of PyTorch).
    Identity(i64),
}

/// Returns the fan-out and fan-in of a weight, viewed as the matrix [shape\[0\], the rest].
fn fans(shape: &[i64]) -> (i64, i64) {
    (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
}

/// Returns weights that keep their input, as far as there are outputs for it.
fn identity(shape: &[i64], groups: i64) -> Result<Tensor> {
    let (outputs, window) = (shape.first().copied().unwrap_or(1), shape.get(2..).unwrap_or_default());
    let inputs = shape.get(1).copied().unwrap_or(1);
    let diagonal =
        Tensor::eye(outputs / groups, inputs, DType::Float32, Device::Cpu)?.repeat(&[groups, 1])?;
    if window.is_empty() {
        return diagonal.reshape(shape);
    }
    let weight = Tensor::zeros(&[outputs, inputs, window.iter().product()], DType::Float32, Device::Cpu)?;
    let middle = window.iter().fold(0, |at, size| at * size + size / 2);
    weight.select(2, middle)?.copy_(&diagonal)?;
    weight.reshape(shape)
}

impl Init {
    /// Returns the distribution; `std` is the standard deviation of `normal`.
    pub fn of(distribution: Distribution, std: f64) -> Self {
        match distribution {
            Distribution::Zeros => Init::Zeros,
            Distribution::Ones => Init::Ones,
            Distribution::Normal => Init::Normal(std),
            Distribution::XavierUniform => Init::XavierUniform,
            Distribution::KaimingUniform => Init::KaimingUniform,
            Distribution::Identity => Init::Identity(1),
        }
    }

    /// Draws a float32 tensor on the CPU.
    pub fn draw(self, shape: &[i64], generator: &Generator) -> Result<Tensor> {
        let (dtype, device) = (DType::Float32, Device::Cpu);
        match self {
            Init::Zeros => Tensor::zeros(shape, dtype, device),
            Init::Ones => Tensor::ones(shape, dtype, device),
            Init::Normal(std) => Tensor::randn(shape, dtype, device, Some(generator))?.mul_scalar(std),
            Init::XavierUniform => {
                let (outputs, fan_in) = fans(shape);
                let window: i64 = shape.iter().skip(2).product();
                within((6.0 / (fan_in + outputs * window) as f64).sqrt(), shape, generator)
            }
            Init::XavierUniformOfMatrix => {
                let (fan_out, fan_in) = fans(shape);
                within((6.0 / (fan_in + fan_out) as f64).sqrt(), shape, generator)
            }
            Init::KaimingUniform => within((1.0 / fans(shape).1.max(1) as f64).sqrt(), shape, generator),
            Init::Identity(groups) => identity(shape, groups),
        }
    }
}

/// Draws uniformly within ±bound.
fn within(bound: f64, shape: &[i64], generator: &Generator) -> Result<Tensor> {
    let unit = Tensor::rand(shape, DType::Float32, Device::Cpu, Some(generator))?;
    unit.mul_scalar(2.0 * bound)?.sub_scalar(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_the_inits_and_their_values() {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        let draw = |name: &str, shape: &[i64]| {
            Init::of(Distribution::named(name).unwrap(), 0.5)
                .draw(shape, &generator)
                .unwrap()
                .to_f64()
                .unwrap()
        };
        assert_eq!(draw("identity", &[2, 3]), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(draw("ones", &[2]), [1.0, 1.0]);
        // A fan-in of 16 gives a bound of 1 / 4.
        let weight = draw("kaiming_uniform", &[40, 16]);
        assert!(weight.iter().all(|w| w.abs() <= 0.25) && weight.iter().any(|w| w.abs() > 0.24));
        let error = Distribution::named("zero").unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `zeros`?"));
    }

    #[test]
    fn xavier_fills_its_interval_and_nothing_beyond() {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        // Fan-in 2 * 3 * 3 = 18 and fan-out 6 give a bound of sqrt(6 / 24) = 0.5; with the window, the fan-out is 54 and
        // the bound sqrt(6 / 72) = 0.289.
        for (init, bound) in [(Init::XavierUniformOfMatrix, 0.5), (Init::XavierUniform, 0.289)] {
            let weight = init.draw(&[6, 2, 3, 3], &generator).unwrap().to_f64().unwrap();
            assert!(weight.iter().all(|w| w.abs() <= bound));
            assert!(weight.iter().any(|w| *w > 0.8 * bound) && weight.iter().any(|w| *w < -0.8 * bound));
        }
    }

    #[test]
    fn an_identity_keeps_images_in_every_group() {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        let image = Tensor::rand(&[1, 4, 5, 5], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        for groups in [1, 2, 4] {
            let weight = Init::Identity(groups).draw(&[4, 4 / groups, 3, 3], &generator).unwrap();
            let kept = image.conv2d(&weight, None, &[1, 1], &[1, 1], &[1, 1], groups).unwrap();
            assert!(kept.equal(&image).unwrap(), "{groups} groups");
        }
    }

    /// The spread of values through a deep network of convolutions is that of PyTorch, 0.80, and does not grow.
    #[test]
    fn convolutions_keep_the_spread_of_their_input() {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        let mut x = Tensor::randn(&[1, 64, 16, 16], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        for _ in 0..10 {
            let weight = Init::XavierUniform.draw(&[64, 64, 3, 3], &generator).unwrap();
            x = x.conv2d(&weight, None, &[1, 1], &[1, 1], &[1, 1], 1).unwrap();
        }
        let spread = x.square().unwrap().mean(&[], false).unwrap().item().unwrap().sqrt();
        assert!((0.4..1.6).contains(&spread), "{spread}");
    }
}
