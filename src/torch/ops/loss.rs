//! Loss functions. The receiver is the prediction.

use super::arithmetic::with_numbers;
use super::declare::{Argument, arguments, operators};
use super::nn::raw;
use super::single;
use crate::declare::{Choice, FromValue, IntoValue, Options, Value};
use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

crate::api! { functions: [methods] }

/// Options of losses with only a reduction.
#[derive(Debug, Clone, Options)]
pub struct JoinedOptions {
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Options of `smooth_l1_loss`.
#[derive(Debug, Clone, Options)]
pub struct SmoothOptions {
    /// Difference at which the loss changes from quadratic to linear.
    #[option(default = 1.0, range = 0.0..)]
    pub beta: f64,
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Options of `huber_loss`.
#[derive(Debug, Clone, Options)]
pub struct HuberOptions {
    /// Difference at which the loss changes from quadratic to linear.
    #[option(default = 1.0, range = 1e-12..)]
    pub delta: f64,
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Options of `cross_entropy`.
#[derive(Debug, Clone, Options)]
pub struct EntropyOptions {
    /// Weight of each class, `[K]`.
    pub weight: Option<Tensor>,
    /// Label that is ignored.
    #[option(default = -100)]
    pub ignore_index: i64,
    /// Share of the target that is spread over all classes.
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub label_smoothing: f64,
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Options of `nll_loss`.
#[derive(Debug, Clone, Options)]
pub struct LikelihoodOptions {
    /// Weight of each class, `[K]`.
    pub weight: Option<Tensor>,
    /// Label that is ignored.
    #[option(default = -100)]
    pub ignore_index: i64,
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Options of `binary_cross_entropy_with_logits`.
#[derive(Debug, Clone, Options)]
pub struct LogitsOptions {
    /// Weight of positive targets; broadcasts.
    pub pos_weight: Option<Tensor>,
    /// "mean", "sum", or "none" for a loss per element.
    #[option(default = Reduction::Mean)]
    pub reduction: Reduction,
}

/// Summary of the elements of a divergence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum DivergenceReduction {
    /// The sum over elements, averaged over the batch.
    #[default]
    Batchmean,
    /// The mean of all.
    Mean,
    /// The sum of all.
    Sum,
    /// All of them.
    None,
}

arguments! {
    DivergenceReduction: &'a str, |word| word.name();
}

/// Options of `kl_div`.
#[derive(Debug, Clone, Options)]
pub struct DivergenceOptions {
    /// Whether the target also holds logarithms.
    #[option(default = false)]
    pub log_target: bool,
    /// "batchmean" sums and divides by the batch size; otherwise "mean", "sum" or "none".
    pub reduction: DivergenceReduction,
}

/// Fails unless both shapes are equal, because a loss that broadcasts is nearly always a mistake.
fn alike(x: &Tensor, target: &Tensor) -> Result<()> {
    if x.shape() == target.shape() {
        return Ok(());
    }
    Err(Error::argument(format!("expected a target of shape {:?}, found {:?}", x.shape(), target.shape()))
        .hint("reshape one of them so that each prediction has its own target"))
}

/// Fails unless the target holds int64 labels or, where `probabilities` are also taken, those of each class.
fn classes(x: &Tensor, target: &Tensor, probabilities: bool) -> Result<()> {
    let probable = probabilities && target.dtype().is_float();
    if target.dtype() == DType::Int64 || probable && target.shape() == x.shape() {
        return Ok(());
    }
    let or = if probable { format!(", or probabilities of shape {:?}", x.shape()) } else { String::new() };
    let found = target.signature();
    Err(Error::argument(format!("expected labels of dtype int64{or}, found a {found}"))
        .hint("convert the labels: `.to(\"int64\")`"))
}

operators! {
    /// Returns the mean squared error.
    /// ```rhai
    /// assert_eq(tensor([1.0, 2.0]).mse_loss(tensor([1.0, 4.0])).item(), 2.0);
    /// assert_eq(tensor([1.0, 2.0]).mse_loss(tensor([1.0, 4.0]), #{ reduction: "none" }), tensor([0.0, 4.0]));
    /// ```
    fn mse_loss(x, target: Tensor; options: JoinedOptions { reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_mse_loss(target.raw(), reduction.tch()))
    }

    /// Returns the mean absolute error.
    /// ```rhai
    /// assert_eq(tensor([1.0, 2.0]).l1_loss(tensor([2.0, 4.0])).item(), 1.5);
    /// ```
    fn l1_loss(x, target: Tensor; options: JoinedOptions { reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_l1_loss(target.raw(), reduction.tch()))
    }

    /// Returns the smooth L1 loss: `d^2 / (2 beta)` for differences `d` below `beta`, otherwise `d - beta / 2`,
    /// averaged.
    /// ```rhai
    /// assert_close(tensor([0.0, 0.0]).smooth_l1_loss(tensor([0.5, 3.0])), (0.125 + 2.5) / 2.0, 1e-6);
    /// ```
    fn smooth_l1_loss(x, target: Tensor; options: SmoothOptions { beta: f64, reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_smooth_l1_loss(target.raw(), reduction.tch(), beta))
    }

    /// Returns the Huber loss: `d^2 / 2` for differences `d` below `delta`, otherwise `delta (d - delta / 2)`,
    /// averaged.
    /// ```rhai
    /// assert_close(tensor([0.0]).huber_loss(tensor([3.0]), #{ delta: 2.0 }), 4.0, 1e-6);
    /// ```
    fn huber_loss(x, target: Tensor; options: HuberOptions { delta: f64, reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_huber_loss(target.raw(), reduction.tch(), delta))
    }

    /// Returns the cross entropy of logits [N, K, ..] and labels [N, ..] (int64) or class probabilities.
    ///
    /// Class probabilities have the shape [N, K, ..] of the logits.
    /// ```rhai
    /// let logits = tensor([[0.0, 0.0], [0.0, 0.0]]);
    /// assert_close(logits.cross_entropy(tensor([0, 1])), 0.6931472, 1e-6);
    /// assert_close(tensor([[9.0, 0.0]]).cross_entropy(tensor([1])), 9.0001234, 1e-5);
    /// ```
    fn cross_entropy(x, target: Tensor; options: EntropyOptions {
        weight: Option<Tensor>, reduction: Reduction, ignore_index: i64, label_smoothing: f64,
    }) -> Tensor {
        classes(x, target, true)?;
        let (weight, reduction) = (raw(weight), reduction.tch());
        single(x.raw().f_cross_entropy_loss(target.raw(), weight, reduction, ignore_index, label_smoothing))
    }

    /// Returns the negative log-likelihood of labels `[N]` (int64) under log-probabilities [N, K], averaged.
    /// ```rhai
    /// let log_p = tensor([[0.25, 0.75]]).log();
    /// assert_close(log_p.nll_loss(tensor([1])), 0.2876821, 1e-6);
    /// ```
    fn nll_loss(x, target: Tensor; options: LikelihoodOptions {
        weight: Option<Tensor>, reduction: Reduction, ignore_index: i64,
    }) -> Tensor {
        classes(x, target, false)?;
        single(x.raw().f_nll_loss_nd(target.raw(), raw(weight), reduction.tch(), ignore_index))
    }

    /// Returns the cross entropy of probabilities and targets from 0 to 1, averaged.
    /// ```rhai
    /// assert_close(tensor([0.5, 0.25]).binary_cross_entropy(tensor([1.0, 0.0])), 0.4904146, 1e-6);
    /// ```
    fn binary_cross_entropy(x, target: Tensor; options: JoinedOptions { reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_binary_cross_entropy(target.raw(), raw(None), reduction.tch()))
    }

    /// Returns the cross entropy of logits and targets from 0 to 1, averaged and computed without overflow.
    /// ```rhai
    /// assert_close(tensor([0.0]).binary_cross_entropy_with_logits(tensor([1.0])), 0.6931472, 1e-6);
    /// assert_close(tensor([-500.0]).binary_cross_entropy_with_logits(tensor([1.0])), 500.0, 1e-3);
    /// ```
    fn binary_cross_entropy_with_logits(x, target: Tensor; options: LogitsOptions {
        pos_weight: Option<Tensor>, reduction: Reduction,
    }) -> Tensor {
        alike(x, target)?;
        let (weight, reduction) = (raw(pos_weight), reduction.tch());
        single(x.raw().f_binary_cross_entropy_with_logits(target.raw(), raw(None), weight, reduction))
    }

    /// Returns the negative log-likelihood of counts under Poisson log-rates `x`, `exp(x) - target x`, averaged.
    /// ```rhai
    /// assert_close(tensor([0.0]).poisson_nll_loss(tensor([3.0])), 1.0, 1e-6);
    /// ```
    fn poisson_nll_loss(x, target: Tensor; options: JoinedOptions { reduction: Reduction }) -> Tensor {
        alike(x, target)?;
        single(x.raw().f_poisson_nll_loss(target.raw(), true, false, 1e-8, reduction.tch()))
    }

    /// Returns the negative log-likelihood of targets under normal distributions with these means and variances,
    /// without its constant.
    ///
    /// Variances have the shape of the means; those of shape `[N]`, `[N, 1]` or `[1, D]` serve means [N, D].
    /// ```rhai
    /// let loss = tensor([0.0]).gaussian_nll_loss(tensor([2.0]), tensor([1.0]));
    /// assert_close(loss, 2.0, 1e-6);
    /// ```
    fn gaussian_nll_loss(x, target: Tensor, variance: Tensor; options: JoinedOptions {
        reduction: Reduction,
    }) -> Tensor {
        if variance.lt_scalar(0)?.any(&[], false)?.item()? != 0.0 {
            return Err(Error::argument("expected variances of at least 0, found negative ones")
                .hint("a network can learn the logarithm: `log_variance.exp()`"));
        }
        let (shape, found) = (x.shape(), variance.shape());
        let variance = match shape.strip_suffix(&[*shape.last().unwrap_or(&1)]) {
            Some(rows) if rows == found && shape != found => variance.unsqueeze(-1)?,
            _ => variance.clone(),
        };
        let fits = |(size, one): (&i64, &i64)| size == one || *one == 1;
        if variance.rank() != x.rank() || !shape.iter().zip(&variance.shape()).all(fits) {
            return Err(Error::argument(format!("expected variances of shape {shape:?}, found {found:?}"))
                .hint("give each mean a variance, or each row of means one"));
        }
        // As in PyTorch, the smallest variance, and gradients as if it had not been raised.
        let variance = variance.copy()?;
        crate::torch::no_grad(|| with_numbers("clamp_min_", &[&variance], &[1e-6.into()]))?;
        let loss = x.sub(target)?.square()?.div(&variance)?.add(&variance.log()?)?.mul_scalar(0.5)?;
        match reduction {
            Reduction::Mean => loss.mean(&[], false),
            Reduction::Sum => loss.sum(&[], false),
            Reduction::Elements => Ok(loss),
        }
    }

    /// Returns the Kullback-Leibler divergence of a target distribution from log-probabilities.
    ///
    /// The default sums over elements and averages over the batch, which is the mathematical definition.
    /// ```rhai
    /// let p = tensor([[0.5, 0.5]]);
    /// assert_close(p.log().kl_div(p), 0.0, 1e-6);
    /// assert_close(tensor([[0.25, 0.75]]).log().kl_div(p), 0.1438410, 1e-6);
    /// ```
    fn kl_div(x, target: Tensor; options: DivergenceOptions { log_target: bool, reduction: DivergenceReduction }) -> Tensor {
        let each = |reduction: tch::Reduction| single(x.raw().f_kl_div(target.raw(), reduction, log_target));
        match reduction {
            "batchmean" => each(tch::Reduction::Sum)?.div_scalar(x.size(0)?),
            name => each(Reduction::from_value(&Value::Str(name.to_string()))?.tch()),
        }
    }
}

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

arguments! { Reduction: Reduction, |reduction| *reduction; }

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
