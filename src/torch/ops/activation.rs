//! Activation functions.

use super::arithmetic::with_numbers;
use super::declare::{Argument, arguments, operators};
use crate::declare::{Choice, Options};
use crate::error::Result;
use crate::torch::Tensor;

crate::api! { functions: [methods] }

/// Formula of GELU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Approximate {
    /// The exact one.
    #[default]
    None,
    /// An approximation with tanh.
    Tanh,
}

arguments! {
    Approximate: &'a str, |word| word.name();
}

/// Options of `gelu`.
#[derive(Debug, Clone, Options)]
pub struct GeluOptions {
    /// "none" is exact; "tanh" is the approximation that DiT uses.
    pub approximate: Approximate,
}

operators! {
    /// Applies the rectified linear unit, `max(x, 0)`.
    /// ```rhai
    /// assert_eq(tensor([-1.0, 2.0]).relu(), tensor([0.0, 2.0]));
    /// ```
    fn relu(x) = f_relu();

    /// Applies the rectified linear unit capped at 6, `min(max(x, 0), 6)`.
    /// ```rhai
    /// assert_eq(tensor([-1.0, 2.0, 9.0]).relu6(), tensor([0.0, 2.0, 6.0]));
    /// ```
    fn relu6(x) = f_relu6();

    /// Applies the Gaussian error linear unit, `x Phi(x)`.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).gelu(), [0.0, 0.8413447], 1e-6);
    /// assert_close(tensor([1.0]).gelu(#{ approximate: "tanh" }), [0.8411920], 1e-6);
    /// ```
    fn gelu(x; options: GeluOptions { approximate: Approximate }) = f_gelu(approximate);

    /// Applies the sigmoid linear unit, `x sigmoid(x)`, also called swish.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).silu(), [0.0, 0.7310586], 1e-6);
    /// ```
    fn silu(x) = f_silu();

    /// Applies the sigmoid, `1 / (1 + exp(-x))`, which ranges from 0 to 1.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).sigmoid(), [0.5, 0.7310586], 1e-6);
    /// ```
    fn sigmoid(x) = f_sigmoid();

    /// Applies the logarithm of the sigmoid, without underflow.
    /// ```rhai
    /// assert_close(tensor([0.0, -200.0]).logsigmoid(), [-0.6931472, -200.0], 1e-5);
    /// ```
    fn logsigmoid(x) = f_log_sigmoid();

    /// Applies the hard sigmoid, `clamp(x / 6 + 1/2, 0, 1)`, which has three linear pieces.
    /// ```rhai
    /// assert_eq(tensor([-3.0, 0.0, 3.0]).hardsigmoid(), tensor([0.0, 0.5, 1.0]));
    /// ```
    fn hardsigmoid(x) = f_hardsigmoid();

    /// Applies hard swish, `x hardsigmoid(x)`.
    /// ```rhai
    /// assert_eq(tensor([-3.0, 3.0]).hardswish(), tensor([0.0, 3.0]));
    /// ```
    fn hardswish(x) = f_hardswish();

    /// Applies Mish, `x tanh(softplus(x))`.
    /// ```rhai
    /// assert_close(tensor([1.0]).mish(), [0.8650984], 1e-6);
    /// ```
    fn mish(x) = f_mish();

    /// Applies the self-normalizing exponential linear unit (Klambauer et al., 2017).
    /// ```rhai
    /// assert_close(tensor([1.0, -1.0]).selu(), [1.0507010, -1.1113307], 1e-6);
    /// ```
    fn selu(x) = f_selu();

    /// Applies the CELU activation: `x` above zero, `alpha (exp(x / alpha) - 1)` below.
    /// ```rhai
    /// assert_close(tensor([-2.0]).celu(2.0), [-1.2642411], 1e-6);
    /// ```
    fn celu(x, alpha: f64 = 1.0) -> Tensor { with_numbers("celu", &[x], &[alpha.into()]) }

    /// Applies the leaky rectified linear unit: `x` above zero, `slope x` below, with slope 0.01 by default.
    /// ```rhai
    /// assert_close(tensor([-1.0, 2.0]).leaky_relu(0.1), [-0.1, 2.0], 1e-6);
    /// ```
    fn leaky_relu(x, slope: f64 = 0.01) -> Tensor { with_numbers("leaky_relu", &[x], &[slope.into()]) }

    /// Applies the parametric rectified linear unit: `x` above zero, `weight x` below, with one trainable weight or
    /// one per channel (dimension 1).
    /// ```rhai
    /// assert_eq(tensor([-4.0, 2.0]).prelu(tensor([0.25])), tensor([-1.0, 2.0]));
    /// ```
    fn prelu(x, weight: Tensor) = f_prelu(weight.raw());

    /// Clamps `x` between `low` and `high`, -1 and 1 by default.
    /// ```rhai
    /// assert_eq(tensor([-3.0, 0.5]).hardtanh(), tensor([-1.0, 0.5]));
    /// ```
    fn hardtanh(x, low: f64 = -1.0, high: f64 = 1.0) -> Tensor { x.clamp(low, high) }

    /// Sets elements within `lambda` of zero to zero and keeps the rest.
    /// ```rhai
    /// assert_eq(tensor([0.4, -0.75]).hardshrink(), tensor([0.0, -0.75]));
    /// ```
    fn hardshrink(x, lambda: f64 = 0.5) -> Tensor { with_numbers("hardshrink", &[x], &[lambda.into()]) }

    /// Moves elements towards zero by `lambda`; elements within `lambda` of zero become zero.
    /// ```rhai
    /// assert_eq(tensor([0.4, -0.75]).softshrink(), tensor([0.0, -0.25]));
    /// ```
    fn softshrink(x, lambda: f64 = 0.5) -> Tensor { with_numbers("softshrink", &[x], &[lambda.into()]) }

    /// Keeps elements above `threshold` and replaces the rest by `value`.
    /// ```rhai
    /// assert_eq(tensor([0.5, 2.0]).threshold(1.0, -1.0), tensor([-1.0, 2.0]));
    /// ```
    fn threshold(x, threshold: f64, value: f64) -> Tensor {
        with_numbers("threshold", &[x], &[threshold.into(), value.into()])
    }

    /// Applies the gated linear unit: one half of a dimension times the sigmoid of the other half.
    /// ```rhai
    /// assert_eq(tensor([3.0, 0.0]).glu(), tensor([1.5]));
    /// ```
    fn glu(x, dim: i64 = -1) = f_glu(dim);

    /// Applies softmax: exponentials, normalized to sum to one along a dimension.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0986123]).softmax(0), [0.25, 0.75], 1e-6);
    /// ```
    fn softmax(x, dim: i64) = f_softmax(dim, None::<tch::Kind>);

    /// Applies the logarithm of the softmax, without underflow.
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).log_softmax(0), [-0.6931472, -0.6931472], 1e-6);
    /// ```
    fn log_softmax(x, dim: i64) = f_log_softmax(dim, None::<tch::Kind>);

    /// Applies softmax to the negated elements, so that the smallest element has the largest weight.
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0986123]).softmin(0), [0.75, 0.25], 1e-6);
    /// ```
    fn softmin(x, dim: i64) -> Tensor { x.neg()?.softmax(dim) }

    /// Applies softplus, `log(1 + exp(beta x)) / beta`, a smooth approximation of `relu`.
    /// ```rhai
    /// assert_close(tensor([0.0]).softplus(), [0.6931472], 1e-6);
    /// assert_close(tensor([0.0]).softplus(2.0), [0.3465736], 1e-6);
    /// ```
    fn softplus(x, beta: f64 = 1.0) -> Tensor { with_numbers("softplus", &[x], &[beta.into()]) }

    /// Applies the exponential linear unit: `x` above zero, `alpha (exp(x) - 1)` below, with `alpha` 1 by default.
    /// ```rhai
    /// assert_close(tensor([2.0, -1.0]).elu(), [2.0, -0.6321206], 1e-6);
    /// assert_close(tensor([-1.0]).elu(2.0), [-1.2642411], 1e-6);
    /// ```
    fn elu(x, alpha: f64 = 1.0) -> Tensor { with_numbers("elu", &[x], &[alpha.into()]) }

    /// Returns `x - tanh(x)`.
    /// ```rhai
    /// assert_close(tensor([1.0]).tanhshrink(), [0.2384058], 1e-6);
    /// ```
    fn tanhshrink(x) -> Tensor { x.sub(&x.tanh()?) }

    /// Returns `x / (1 + |x|)`.
    /// ```rhai
    /// assert_eq(tensor([1.0, -3.0]).softsign(), tensor([0.5, -0.75]));
    /// ```
    fn softsign(x) -> Tensor { x.div(&x.abs()?.add_scalar(1i64)?) }
}
