//! Activation functions.

use super::arithmetic::with_numbers;
use super::ops;
use crate::error::Result;
use crate::torch::Tensor;

ops! {
    /// Returns `max(x, 0)`.
    relu() = f_relu();
    /// Returns `x sigmoid(x)`, also called swish.
    silu() = f_silu();
    /// Returns the Gaussian error linear unit; `approximate` is `none` or `tanh`.
    gelu(approximate: &str) = f_gelu(approximate);
    /// Returns `1 / (1 + exp(-x))`.
    sigmoid() = f_sigmoid();
    /// Returns `log(1 + exp(x))`.
    softplus() = f_softplus();
    /// Returns the softmax along a dimension: exponentials normalised to sum to one.
    softmax(dim: i64) = f_softmax(dim, None::<tch::Kind>);
    /// Returns the logarithm of [`Tensor::softmax`].
    log_softmax(dim: i64) = f_log_softmax(dim, None::<tch::Kind>);
    /// Returns `log(sigmoid(x))` without underflow.
    logsigmoid() = f_log_sigmoid();
    /// Returns a piecewise linear sigmoid, `clamp(x / 6 + 1/2, 0, 1)`.
    hardsigmoid() = f_hardsigmoid();
    /// Returns `x hardsigmoid(x)`.
    hardswish() = f_hardswish();
    /// Returns `min(max(x, 0), 6)`.
    relu6() = f_relu6();
    /// Returns `x` above zero, `exp(x) - 1` below.
    elu() = f_elu();
    /// Returns the self-normalising ELU of Klambauer et al. 2017.
    selu() = f_selu();
    /// Returns `x tanh(softplus(x))`.
    mish() = f_mish();
    /// Returns the first half of a dimension times the sigmoid of its second half.
    glu(dim: i64) = f_glu(dim);
    /// Returns `x` above zero, `weight x` below; one weight, or one per channel.
    prelu(weight: &Tensor) = f_prelu(weight.raw());
}

impl Tensor {
    /// Returns the softmax of the negated elements along a dimension.
    pub fn softmin(&self, dim: i64) -> Result<Tensor> {
        self.neg()?.softmax(dim)
    }

    /// Returns `x` above zero, `slope x` below.
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        with_numbers("leaky_relu", &[self], &[slope.into()])
    }

    /// Clamps `x` between two bounds; PyTorch's defaults are -1 and 1.
    pub fn hardtanh(&self, low: f64, high: f64) -> Result<Tensor> {
        self.clamp(low, high)
    }

    /// Returns `x` where it is above `threshold`, else `value`.
    pub fn threshold(&self, threshold: f64, value: f64) -> Result<Tensor> {
        with_numbers("threshold", &[self], &[threshold.into(), value.into()])
    }

    /// Returns zero within `lambda` of zero, else `x`.
    pub fn hardshrink(&self, lambda: f64) -> Result<Tensor> {
        with_numbers("hardshrink", &[self], &[lambda.into()])
    }

    /// Moves `x` towards zero by `lambda`, and returns zero within `lambda` of zero.
    pub fn softshrink(&self, lambda: f64) -> Result<Tensor> {
        with_numbers("softshrink", &[self], &[lambda.into()])
    }

    /// Returns `max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)`.
    pub fn celu(&self, alpha: f64) -> Result<Tensor> {
        with_numbers("celu", &[self], &[alpha.into()])
    }
}
