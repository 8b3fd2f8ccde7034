//! Loss functions.

use super::nn::raw;
use super::ops;
use crate::declare::{FromValue, IntoValue, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Reduction of a loss over its elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Mean of the elements.
    #[default]
    Mean,
    /// Sum of the elements.
    Sum,
    /// No reduction.
    Elements,
}

impl Reduction {
    fn tch(self) -> tch::Reduction {
        match self {
            Reduction::Mean => tch::Reduction::Mean,
            Reduction::Sum => tch::Reduction::Sum,
            Reduction::Elements => tch::Reduction::None,
        }
    }
}

impl FromValue for Reduction {
    fn label() -> String {
        "string".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(s) => match s.as_str() {
                "mean" => Ok(Reduction::Mean),
                "sum" => Ok(Reduction::Sum),
                "none" => Ok(Reduction::Elements),
                other => Err(Error::argument(format!("expected `mean`, `sum` or `none`, found \"{other}\""))
                    .did_you_mean(other, ["mean", "sum", "none"])),
            },
            other => Err(other.mismatch("`mean`, `sum` or `none`")),
        }
    }
}

impl IntoValue for Reduction {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        let name = match self {
            Reduction::Mean => "mean",
            Reduction::Sum => "sum",
            Reduction::Elements => "none",
        };
        Value::Str(name.to_string())
    }
}

ops! {
    /// Returns the mean squared error.
    mse_loss(target: &Tensor) = f_mse_loss(target.raw(), tch::Reduction::Mean);
    /// Returns the squared error.
    squared_loss(target: &Tensor, reduction: Reduction) = f_mse_loss(target.raw(), reduction.tch());
    /// Returns the absolute error.
    l1_loss(target: &Tensor, reduction: Reduction) = f_l1_loss(target.raw(), reduction.tch());
    /// Returns a loss that is quadratic below `beta` and linear above, divided by `beta`.
    smooth_l1_loss(target: &Tensor, beta: f64, reduction: Reduction) = f_smooth_l1_loss(target.raw(), reduction.tch(), beta);
    /// Returns a loss that is quadratic below `delta` and linear above.
    huber_loss(target: &Tensor, delta: f64, reduction: Reduction) = f_huber_loss(target.raw(), reduction.tch(), delta);
    /// Returns the mean cross entropy of logits [N, K] and labels `[N]`.
    cross_entropy(labels: &Tensor, label_smoothing: f64)
        = f_cross_entropy_loss(labels.raw(), None::<&tch::Tensor>, tch::Reduction::Mean, -100, label_smoothing);
    /// Returns the cross entropy of logits [N, K, ..] and labels [N, ..] (int64) or class probabilities.
    cross_entropy_of(target: &Tensor, weight: Option<&Tensor>, reduction: Reduction, ignore_index: i64, label_smoothing: f64)
        = f_cross_entropy_loss(target.raw(), raw(weight), reduction.tch(), ignore_index, label_smoothing);
    /// Returns the negative log-probability of each label `[N]` under log-probabilities [N, K].
    nll_loss(labels: &Tensor, weight: Option<&Tensor>, reduction: Reduction, ignore_index: i64)
        = f_nll_loss_nd(labels.raw(), raw(weight), reduction.tch(), ignore_index);
    /// Returns the cross entropy of probabilities and targets from 0 to 1.
    binary_cross_entropy(target: &Tensor, reduction: Reduction)
        = f_binary_cross_entropy(target.raw(), raw(None), reduction.tch());
    /// Returns the cross entropy of logits and targets from 0 to 1.
    binary_cross_entropy_with_logits(target: &Tensor, pos_weight: Option<&Tensor>, reduction: Reduction)
        = f_binary_cross_entropy_with_logits(target.raw(), raw(None), raw(pos_weight), reduction.tch());
    /// Returns the element-wise Kullback-Leibler divergence of a target from log-probabilities (self).
    kl_div(target: &Tensor, log_target: bool, reduction: Reduction) = f_kl_div(target.raw(), reduction.tch(), log_target);
    /// Returns the negative log-likelihood of counts under Poisson rates given as logarithms.
    poisson_nll_loss(target: &Tensor, reduction: Reduction) = f_poisson_nll_loss(target.raw(), true, false, 1e-8, reduction.tch());
}

impl Tensor {
    /// Returns the negative log-likelihood of targets under normal distributions with these means (self) and
    /// variances, without the constant; variances below `eps` count as `eps`.
    pub fn gaussian_nll_loss(
        &self,
        target: &Tensor,
        var: &Tensor,
        eps: f64,
        reduction: Reduction,
    ) -> Result<Tensor> {
        let var = var.clamp_min(eps)?;
        let loss = self.sub(target)?.square()?.div(&var)?.add(&var.log()?)?.mul_scalar(0.5)?;
        match reduction {
            Reduction::Mean => loss.mean(&[], false),
            Reduction::Sum => loss.sum(&[], false),
            Reduction::Elements => Ok(loss),
        }
    }
}
