//! How a parameter starts.

use crate::error::Result;
use crate::torch::{DType, Device, Generator, Tensor};

/// The distribution a parameter is drawn from.
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
    /// The weight is seen as the matrix [shape\[0\], the rest], also for a convolution, as DiT does.
    XavierUniform,
}

impl Init {
    /// Draws a float32 tensor on the CPU.
    pub fn draw(self, shape: &[i64], generator: &Generator) -> Result<Tensor> {
        let (dtype, device) = (DType::Float32, Device::Cpu);
        match self {
            Init::Zeros => Tensor::zeros(shape, dtype, device),
            Init::Ones => Tensor::ones(shape, dtype, device),
            Init::Normal(std) => Tensor::randn(shape, dtype, device, Some(generator))?.mul_scalar(std),
            Init::XavierUniform => {
                let fan_out = shape.first().copied().unwrap_or(1);
                let fan_in: i64 = shape.iter().skip(1).product();
                let bound = (6.0 / (fan_in + fan_out) as f64).sqrt();
                Tensor::rand(shape, dtype, device, Some(generator))?
                    .mul_scalar(2.0 * bound)?
                    .sub_scalar(bound)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xavier_fills_its_interval_and_nothing_beyond() {
        let generator = Generator::new(1, Device::Cpu).unwrap();
        // Fan-in 2 * 3 * 3 = 18 and fan-out 6 give a bound of sqrt(6 / 24) = 0.5.
        let weight = Init::XavierUniform.draw(&[6, 2, 3, 3], &generator).unwrap().to_f64().unwrap();
        assert!(weight.iter().all(|w| w.abs() <= 0.5));
        assert!(weight.iter().any(|w| *w > 0.4) && weight.iter().any(|w| *w < -0.4));
    }
}
