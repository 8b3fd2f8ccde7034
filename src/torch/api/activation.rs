//! Activation functions.

use crate::functions;
use crate::torch::Tensor;

crate::options! {
    /// Options of `gelu`.
    pub struct Gelu {
        /// "none" is exact; "tanh" is the approximation that DiT uses.
        approximate: String = "none".to_string() => one_of(&["none", "tanh"]);
    }
}

functions! { methods;
    /// Applies the rectified linear unit, `max(x, 0)`.
    ///
    /// ```rhai
    /// assert_eq(tensor([-1.0, 2.0]).relu(), tensor([0.0, 2.0]));
    /// ```
    fn relu(x: Tensor) -> Tensor { x.relu() }

    /// Applies the rectified linear unit capped at 6, `min(max(x, 0), 6)`.
    ///
    /// ```rhai
    /// assert_eq(tensor([-1.0, 2.0, 9.0]).relu6(), tensor([0.0, 2.0, 6.0]));
    /// ```
    fn relu6(x: Tensor) -> Tensor { x.relu6() }

    /// Applies the Gaussian error linear unit, `x Phi(x)`.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).gelu(), [0.0, 0.8413447], 1e-6);
    /// assert_close(tensor([1.0]).gelu(#{ approximate: "tanh" }), [0.8411920], 1e-6);
    /// ```
    fn gelu(x: Tensor, options: Gelu) -> Tensor { x.gelu(&options.approximate) }

    /// Applies the sigmoid linear unit, `x sigmoid(x)`, also called swish.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).silu(), [0.0, 0.7310586], 1e-6);
    /// ```
    fn silu(x: Tensor) -> Tensor { x.silu() }

    /// Applies the sigmoid, `1 / (1 + exp(-x))`, which ranges from 0 to 1.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0]).sigmoid(), [0.5, 0.7310586], 1e-6);
    /// ```
    fn sigmoid(x: Tensor) -> Tensor { x.sigmoid() }

    /// Applies the logarithm of the sigmoid, without underflow.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, -200.0]).logsigmoid(), [-0.6931472, -200.0], 1e-5);
    /// ```
    fn logsigmoid(x: Tensor) -> Tensor { x.logsigmoid() }

    /// Applies the hard sigmoid, `clamp(x / 6 + 1/2, 0, 1)`, which has three linear pieces.
    ///
    /// ```rhai
    /// assert_eq(tensor([-3.0, 0.0, 3.0]).hardsigmoid(), tensor([0.0, 0.5, 1.0]));
    /// ```
    fn hardsigmoid(x: Tensor) -> Tensor { x.hardsigmoid() }

    /// Applies hard swish, `x hardsigmoid(x)`.
    ///
    /// ```rhai
    /// assert_eq(tensor([-3.0, 3.0]).hardswish(), tensor([0.0, 3.0]));
    /// ```
    fn hardswish(x: Tensor) -> Tensor { x.hardswish() }

    /// Applies softplus, `log(1 + exp(beta x)) / beta`, a smooth approximation of `relu`.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0]).softplus(), [0.6931472], 1e-6);
    /// assert_close(tensor([0.0]).softplus(2.0), [0.3465736], 1e-6);
    /// ```
    fn softplus(x: Tensor, beta: Option<f64>) -> Tensor {
        match beta {
            None => x.softplus(),
            Some(beta) => x.mul_scalar(beta)?.softplus()?.div_scalar(beta),
        }
    }

    /// Applies Mish, `x tanh(softplus(x))`.
    ///
    /// ```rhai
    /// assert_close(tensor([1.0]).mish(), [0.8650984], 1e-6);
    /// ```
    fn mish(x: Tensor) -> Tensor { x.mish() }

    /// Applies the exponential linear unit: `x` above zero, `alpha (exp(x) - 1)` below, with `alpha` 1 by default.
    ///
    /// ```rhai
    /// assert_close(tensor([2.0, -1.0]).elu(), [2.0, -0.6321206], 1e-6);
    /// assert_close(tensor([-1.0]).elu(2.0), [-1.2642411], 1e-6);
    /// ```
    fn elu(x: Tensor, alpha: Option<f64>) -> Tensor {
        match alpha {
            None => x.elu(),
            Some(alpha) => x.clamp_min(0.0)?.add(&x.clamp_max(0.0)?.expm1()?.mul_scalar(alpha)?),
        }
    }

    /// Applies the self-normalising exponential linear unit (Klambauer et al., 2017).
    ///
    /// ```rhai
    /// assert_close(tensor([1.0, -1.0]).selu(), [1.0507010, -1.1113307], 1e-6);
    /// ```
    fn selu(x: Tensor) -> Tensor { x.selu() }

    /// Applies the CELU activation: `x` above zero, `alpha (exp(x / alpha) - 1)` below.
    ///
    /// ```rhai
    /// assert_close(tensor([-2.0]).celu(2.0), [-1.2642411], 1e-6);
    /// ```
    fn celu(x: Tensor, alpha: Option<f64>) -> Tensor { x.celu(alpha.unwrap_or(1.0)) }

    /// Applies the leaky rectified linear unit: `x` above zero, `slope x` below, with slope 0.01 by default.
    ///
    /// ```rhai
    /// assert_close(tensor([-1.0, 2.0]).leaky_relu(0.1), [-0.1, 2.0], 1e-6);
    /// ```
    fn leaky_relu(x: Tensor, slope: Option<f64>) -> Tensor { x.leaky_relu(slope.unwrap_or(0.01)) }

    /// Applies the parametric rectified linear unit: `x` above zero, `weight x` below, with one trainable weight or
    /// one per channel (dimension 1).
    ///
    /// ```rhai
    /// assert_eq(tensor([-4.0, 2.0]).prelu(tensor([0.25])), tensor([-1.0, 2.0]));
    /// ```
    fn prelu(x: Tensor, weight: Tensor) -> Tensor { x.prelu(&weight) }

    /// Clamps `x` between `low` and `high`, -1 and 1 by default.
    ///
    /// ```rhai
    /// assert_eq(tensor([-3.0, 0.5]).hardtanh(), tensor([-1.0, 0.5]));
    /// ```
    fn hardtanh(x: Tensor, low: Option<f64>, high: Option<f64>) -> Tensor {
        x.hardtanh(low.unwrap_or(-1.0), high.unwrap_or(1.0))
    }

    /// Sets elements within `lambda` of zero to zero and keeps the rest.
    ///
    /// ```rhai
    /// assert_eq(tensor([0.4, -0.75]).hardshrink(), tensor([0.0, -0.75]));
    /// ```
    fn hardshrink(x: Tensor, lambda: Option<f64>) -> Tensor { x.hardshrink(lambda.unwrap_or(0.5)) }

    /// Moves elements towards zero by `lambda`; elements within `lambda` of zero become zero.
    ///
    /// ```rhai
    /// assert_eq(tensor([0.4, -0.75]).softshrink(), tensor([0.0, -0.25]));
    /// ```
    fn softshrink(x: Tensor, lambda: Option<f64>) -> Tensor { x.softshrink(lambda.unwrap_or(0.5)) }

    /// Returns `x - tanh(x)`.
    ///
    /// ```rhai
    /// assert_close(tensor([1.0]).tanhshrink(), [0.2384058], 1e-6);
    /// ```
    fn tanhshrink(x: Tensor) -> Tensor { x.sub(&x.tanh()?) }

    /// Returns `x / (1 + |x|)`.
    ///
    /// ```rhai
    /// assert_eq(tensor([1.0, -3.0]).softsign(), tensor([0.5, -0.75]));
    /// ```
    fn softsign(x: Tensor) -> Tensor { x.div(&x.abs()?.add_scalar(1i64)?) }

    /// Keeps elements above `threshold` and replaces the rest by `value`.
    ///
    /// ```rhai
    /// assert_eq(tensor([0.5, 2.0]).threshold(1.0, -1.0), tensor([-1.0, 2.0]));
    /// ```
    fn threshold(x: Tensor, threshold: f64, value: f64) -> Tensor { x.threshold(threshold, value) }

    /// Applies the gated linear unit: one half of a dimension times the sigmoid of the other half.
    ///
    /// ```rhai
    /// assert_eq(tensor([3.0, 0.0]).glu(), tensor([1.5]));
    /// ```
    fn glu(x: Tensor, dim: Option<i64>) -> Tensor { x.glu(dim.unwrap_or(-1)) }

    /// Applies softmax: exponentials, normalised to sum to one along a dimension.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0986123]).softmax(0), [0.25, 0.75], 1e-6);
    /// ```
    fn softmax(x: Tensor, dim: i64) -> Tensor { x.softmax(dim) }

    /// Applies the logarithm of the softmax, without underflow.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).log_softmax(0), [-0.6931472, -0.6931472], 1e-6);
    /// ```
    fn log_softmax(x: Tensor, dim: i64) -> Tensor { x.log_softmax(dim) }

    /// Applies softmax to the negated elements, so that the smallest element has the largest weight.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 1.0986123]).softmin(0), [0.75, 0.25], 1e-6);
    /// ```
    fn softmin(x: Tensor, dim: i64) -> Tensor { x.softmin(dim) }
}
