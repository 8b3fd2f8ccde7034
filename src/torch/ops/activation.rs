//! Activation functions.

use super::ops;

ops! {
    /// `max(x, 0)`.
    relu() = f_relu();
    /// `x sigmoid(x)`, also called swish.
    silu() = f_silu();
    /// Gaussian error linear unit; `approximate` is `none` or `tanh`.
    gelu(approximate: &str) = f_gelu(approximate);
    /// `1 / (1 + exp(-x))`.
    sigmoid() = f_sigmoid();
    /// `log(1 + exp(x))`.
    softplus() = f_softplus();
    /// Exponentials that sum to one along a dimension.
    softmax(dim: i64) = f_softmax(dim, None::<tch::Kind>);
    /// Logarithm of [`Tensor::softmax`].
    log_softmax(dim: i64) = f_log_softmax(dim, None::<tch::Kind>);
}
