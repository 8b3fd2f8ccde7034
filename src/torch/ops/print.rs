//! How a tensor is printed.

use crate::torch::Tensor;

/// Shape, dtype, device, range and a summary of values.
pub fn render(tensor: &Tensor) -> String {
    tensor.signature()
}
