//! Loss functions. The receiver is the prediction.

use crate::declare::{FromValue, Value};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::ops::loss::Reduction;
use crate::torch::{DType, Tensor};

crate::options! {
    /// Options of losses with only a reduction.
    pub struct Joined {
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `smooth_l1_loss`.
    pub struct Smooth {
        /// Difference at which the loss changes from quadratic to linear.
        beta: f64 = 1.0 => at_least(0.0);
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `huber_loss`.
    pub struct Huber {
        /// Difference at which the loss changes from quadratic to linear.
        delta: f64 = 1.0 => at_least(1e-12);
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `cross_entropy`.
    pub struct Entropy {
        /// Weight of each class, [K].
        weight: Option<Tensor> = None;
        /// Label that is ignored.
        ignore_index: i64 = -100;
        /// Share of the target that is spread over all classes.
        label_smoothing: f64 = 0.0 => range(0.0, 1.0);
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `nll_loss`.
    pub struct Likelihood {
        /// Weight of each class, [K].
        weight: Option<Tensor> = None;
        /// Label that is ignored.
        ignore_index: i64 = -100;
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `binary_cross_entropy_with_logits`.
    pub struct Logits {
        /// Weight of positive targets; broadcasts.
        pos_weight: Option<Tensor> = None;
        /// "mean", "sum", or "none" for a loss per element.
        reduction: Reduction = Reduction::Mean;
    }

    /// Options of `kl_div`.
    pub struct Divergence {
        /// Whether the target also holds logarithms.
        log_target: bool = false;
        /// "batchmean" sums and divides by the batch size; otherwise "mean", "sum" or "none".
        reduction: String = "batchmean".to_string() => one_of(&["batchmean", "mean", "sum", "none"]);
    }
}

/// Fails unless both shapes are equal, because a loss that broadcasts is nearly always a mistake.
fn alike(x: &Tensor, target: &Tensor) -> Result<()> {
    if x.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::argument(format!("expected a target of shape {:?}, found {:?}", x.shape(), target.shape()))
        .hint("reshape one of them so that each prediction has its own target"))
}

/// Fails unless the target holds int64 labels or class probabilities.
fn classes(target: &Tensor) -> Result<()> {
    match target.dtype() {
        DType::Int64 => Ok(()),
        dtype if dtype.is_float() => Ok(()),
        dtype => Err(Error::argument(format!("expected labels of dtype int64, found {}", dtype.name()))
            .hint("convert them: `.to(\"int64\")`")),
    }
}

functions! { methods;
    /// Returns the mean squared error.
    ///
    /// ```rhai
    /// assert_eq(tensor([1.0, 2.0]).mse_loss(tensor([1.0, 4.0])).item(), 2.0);
    /// assert_eq(tensor([1.0, 2.0]).mse_loss(tensor([1.0, 4.0]), #{ reduction: "none" }), tensor([0.0, 4.0]));
    /// ```
    fn mse_loss(x: Tensor, target: Tensor, options: Joined) -> Tensor {
        alike(&x, &target)?;
        x.squared_loss(&target, options.reduction)
    }

    /// Returns the mean absolute error.
    ///
    /// ```rhai
    /// assert_eq(tensor([1.0, 2.0]).l1_loss(tensor([2.0, 4.0])).item(), 1.5);
    /// ```
    fn l1_loss(x: Tensor, target: Tensor, options: Joined) -> Tensor {
        alike(&x, &target)?;
        x.l1_loss(&target, options.reduction)
    }

    /// Returns the smooth L1 loss: `d^2 / (2 beta)` for differences `d` below `beta`, otherwise `d - beta / 2`,
    /// averaged.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).smooth_l1_loss(tensor([0.5, 3.0])), (0.125 + 2.5) / 2.0, 1e-6);
    /// ```
    fn smooth_l1_loss(x: Tensor, target: Tensor, options: Smooth) -> Tensor {
        alike(&x, &target)?;
        x.smooth_l1_loss(&target, options.beta, options.reduction)
    }

    /// Returns the Huber loss: `d^2 / 2` for differences `d` below `delta`, otherwise `delta (d - delta / 2)`,
    /// averaged.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0]).huber_loss(tensor([3.0]), #{ delta: 2.0 }), 4.0, 1e-6);
    /// ```
    fn huber_loss(x: Tensor, target: Tensor, options: Huber) -> Tensor {
        alike(&x, &target)?;
        x.huber_loss(&target, options.delta, options.reduction)
    }

    /// Returns the cross entropy of logits [N, K, ..] and labels [N, ..] (int64) or class probabilities.
    ///
    /// Class probabilities have the shape [N, K, ..] of the logits.
    ///
    /// ```rhai
    /// let logits = tensor([[0.0, 0.0], [0.0, 0.0]]);
    /// assert_close(logits.cross_entropy(tensor([0, 1])), 0.6931472, 1e-6);
    /// assert_close(tensor([[9.0, 0.0]]).cross_entropy(tensor([1])), 9.0001234, 1e-5);
    /// ```
    fn cross_entropy(x: Tensor, target: Tensor, options: Entropy) -> Tensor {
        classes(&target)?;
        x.cross_entropy_of(&target, options.weight.as_ref(), options.reduction, options.ignore_index, options.label_smoothing)
    }

    /// Returns the negative log-likelihood of labels [N] (int64) under log-probabilities [N, K], averaged.
    ///
    /// ```rhai
    /// let log_p = tensor([[0.25, 0.75]]).log();
    /// assert_close(log_p.nll_loss(tensor([1])), 0.2876821, 1e-6);
    /// ```
    fn nll_loss(x: Tensor, target: Tensor, options: Likelihood) -> Tensor {
        classes(&target)?;
        x.nll_loss(&target, options.weight.as_ref(), options.reduction, options.ignore_index)
    }

    /// Returns the cross entropy of probabilities and targets from 0 to 1, averaged.
    ///
    /// ```rhai
    /// assert_close(tensor([0.5, 0.25]).binary_cross_entropy(tensor([1.0, 0.0])), 0.4904146, 1e-6);
    /// ```
    fn binary_cross_entropy(x: Tensor, target: Tensor, options: Joined) -> Tensor {
        alike(&x, &target)?;
        x.binary_cross_entropy(&target, options.reduction)
    }

    /// Returns the cross entropy of logits and targets from 0 to 1, averaged and computed without overflow.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0]).binary_cross_entropy_with_logits(tensor([1.0])), 0.6931472, 1e-6);
    /// assert_close(tensor([-500.0]).binary_cross_entropy_with_logits(tensor([1.0])), 500.0, 1e-3);
    /// ```
    fn binary_cross_entropy_with_logits(x: Tensor, target: Tensor, options: Logits) -> Tensor {
        alike(&x, &target)?;
        x.binary_cross_entropy_with_logits(&target, options.pos_weight.as_ref(), options.reduction)
    }

    /// Returns the Kullback-Leibler divergence of a target distribution from log-probabilities.
    ///
    /// The default sums over elements and averages over the batch, which is the mathematical definition.
    ///
    /// ```rhai
    /// let p = tensor([[0.5, 0.5]]);
    /// assert_close(p.log().kl_div(p), 0.0, 1e-6);
    /// assert_close(tensor([[0.25, 0.75]]).log().kl_div(p), 0.1438410, 1e-6);
    /// ```
    fn kl_div(x: Tensor, target: Tensor, options: Divergence) -> Tensor {
        let reduction = if options.reduction == "batchmean" { Reduction::Sum } else { Reduction::from_value(&Value::Str(options.reduction.clone()))? };
        let loss = x.kl_div(&target, options.log_target, reduction)?;
        match options.reduction == "batchmean" {
            true => loss.div_scalar(x.size(0)?),
            false => Ok(loss),
        }
    }

    /// Returns the negative log-likelihood of counts under Poisson log-rates `x`, `exp(x) - target x`, averaged.
    ///
    /// ```rhai
    /// assert_close(tensor([0.0]).poisson_nll_loss(tensor([3.0])), 1.0, 1e-6);
    /// ```
    fn poisson_nll_loss(x: Tensor, target: Tensor, options: Joined) -> Tensor {
        alike(&x, &target)?;
        x.poisson_nll_loss(&target, options.reduction)
    }

    /// Returns the negative log-likelihood of targets under normal distributions with these means and variances,
    /// without its constant.
    ///
    /// ```rhai
    /// let loss = tensor([0.0]).gaussian_nll_loss(tensor([2.0]), tensor([1.0]));
    /// assert_close(loss, 2.0, 1e-6);
    /// ```
    fn gaussian_nll_loss(x: Tensor, target: Tensor, variance: Tensor, options: Joined) -> Tensor {
        x.gaussian_nll_loss(&target, &variance, 1e-6, options.reduction)
    }
}
