//! Tensors in scripts.

use crate::declare::OneOrMany;
use crate::functions;
use crate::torch::{DType, Device, Tensor};

crate::options! {
    /// Where and as what a tensor is made.
    pub struct Make {
        /// Element type.
        dtype: DType = DType::Float32;
        /// Device.
        device: Device = Device::Cpu;
    }
}

pub mod create {
    use super::*;
    functions! { in "tensor";
        /// Makes a tensor of zeros.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).shape, [2, 3]);
        /// ```
        fn zeros(shape: Vec<i64>, options: Make) -> Tensor {
            Tensor::zeros(&shape, options.dtype, options.device)
        }
    }
}

pub mod props {
    use super::*;
    functions! { properties;
        /// Sizes of all dimensions.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).shape, [2, 3]);
        /// ```
        fn shape(x: Tensor) -> Vec<i64> { Ok(x.shape()) }
    }
}

pub mod ops {
    use super::*;
    functions! { methods;
        /// Sums elements, over all dimensions or over `dim`.
        ///
        /// ```rhai
        /// assert_eq(tensor::zeros([2, 3]).sum(0).shape, [3]);
        /// ```
        fn sum(x: Tensor, dim: Option<OneOrMany<i64>>) -> Tensor {
            x.sum(&dim.map(|d| d.0).unwrap_or_default(), false)
        }
        /// Adds.
        ///
        /// ```rhai
        /// assert_eq((tensor::zeros([2]) + tensor::zeros([3, 1])).shape, [3, 2]);
        /// ```
        fn add["+"](x: Tensor, y: Tensor) -> Tensor { x.add(&y) }
        /// Adds a number.
        ///
        /// ```rhai
        /// assert_eq((tensor::zeros([2]) + 1).shape, [2]);
        /// ```
        fn add_number["+"](x: Tensor, y: f64) -> Tensor { x.add_scalar(y) }
        /// Adds to a number.
        ///
        /// ```rhai
        /// assert_eq((1 + tensor::zeros([2])).shape, [2]);
        /// ```
        fn number_add["+"](x: f64, y: Tensor) -> Tensor { y.add_scalar(x) }
    }
}
