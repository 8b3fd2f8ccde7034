//! Activation functions.

use super::arithmetic::with_numbers;
use super::ops;
use crate::error::Result;
use crate::torch::Tensor;

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
    /// `log(sigmoid(x))` without underflow.
    logsigmoid() = f_log_sigmoid();
    /// Sigmoid in three straight pieces, `clamp(x / 6 + 1/2, 0, 1)`.
    hardsigmoid() = f_hardsigmoid();
    /// `x hardsigmoid(x)`.
    hardswish() = f_hardswish();
    /// `min(max(x, 0), 6)`.
    relu6() = f_relu6();
    /// `x` above zero, `exp(x) - 1` below.
    elu() = f_elu();
    /// Self-normalising ELU, Klambauer et al. 2017.
    selu() = f_selu();
    /// `x tanh(softplus(x))`.
    mish() = f_mish();
    /// One half gated by the sigmoid of the other half of a dimension.
    glu(dim: i64) = f_glu(dim);
    /// `x` above zero, `weight x` below; one weight, or one per channel.
    prelu(weight: &Tensor) = f_prelu(weight.raw());
}

impl Tensor {
    /// Exponentials of the negatives that sum to one along a dimension.
    pub fn softmin(&self, dim: i64) -> Result<Tensor> {
        self.neg()?.softmax(dim)
    }

    /// `x` above zero, `slope x` below.
    pub fn leaky_relu(&self, slope: f64) -> Result<Tensor> {
        with_numbers("leaky_relu", &[self], &[slope.into()])
    }

    /// `x` held between two bounds; PyTorch's defaults are -1 and 1.
    pub fn hardtanh(&self, low: f64, high: f64) -> Result<Tensor> {
        self.clamp(low, high)
    }

    /// `x` where it is above `threshold`, else `value`.
    pub fn threshold(&self, threshold: f64, value: f64) -> Result<Tensor> {
        with_numbers("threshold", &[self], &[threshold.into(), value.into()])
    }

    /// Zero within `lambda` of zero, else `x`.
    pub fn hardshrink(&self, lambda: f64) -> Result<Tensor> {
        with_numbers("hardshrink", &[self], &[lambda.into()])
    }

    /// Moved towards zero by `lambda`, zero within it.
    pub fn softshrink(&self, lambda: f64) -> Result<Tensor> {
        with_numbers("softshrink", &[self], &[lambda.into()])
    }

    /// `max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)`.
    pub fn celu(&self, alpha: f64) -> Result<Tensor> {
        with_numbers("celu", &[self], &[alpha.into()])
    }
}
