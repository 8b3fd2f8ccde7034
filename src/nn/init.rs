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
    /// Ones on the diagonal, zeros elsewhere.
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
    /// Uniform within ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, equation 16).
    ///
    /// The weight is viewed as the matrix [shape\[0\], the rest], also for a convolution, as DiT does.
    XavierUniform,
    /// Uniform within ±1 / sqrt(fan_in), the default of PyTorch's layers (He et al. 2015 with a = sqrt(5)).
    KaimingUniform,
    /// Ones on the diagonal of the matrix [shape\[0\], the rest], zeros elsewhere.
    Identity,
}

/// Returns the fan-out and fan-in of a weight, viewed as the matrix [shape\[0\], the rest].
fn fans(shape: &[i64]) -> (i64, i64) {
    (shape.first().copied().unwrap_or(1), shape.iter().skip(1).product())
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
            Distribution::Identity => Init::Identity,
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
                let (fan_out, fan_in) = fans(shape);
                within((6.0 / (fan_in + fan_out) as f64).sqrt(), shape, generator)
            }
            Init::KaimingUniform => within((1.0 / fans(shape).1.max(1) as f64).sqrt(), shape, generator),
            Init::Identity => {
                let (rows, columns) = fans(shape);
                let diagonal = |i: i64| if i / columns == i % columns { 1.0 } else { 0.0 };
                Tensor::from_f32(&(0..rows * columns).map(diagonal).collect::<Vec<f32>>(), shape)
            }
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
        // Fan-in 2 * 3 * 3 = 18 and fan-out 6 give a bound of sqrt(6 / 24) = 0.5.
        let weight = Init::XavierUniform.draw(&[6, 2, 3, 3], &generator).unwrap().to_f64().unwrap();
        assert!(weight.iter().all(|w| w.abs() <= 0.5));
        assert!(weight.iter().any(|w| *w > 0.4) && weight.iter().any(|w| *w < -0.4));
    }
}
