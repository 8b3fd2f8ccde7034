//! Neural network operators: linear maps, normalization, attention, embedding.

use super::declare::operators;
use super::{binary, single};
use crate::declare::{OneOrMany, Options};
use crate::error::{Error, Result};
use crate::functions;
use crate::torch::api::SourceOptions;
use crate::torch::{DType, Generator, Tensor, index};

crate::api! { functions: [methods, scripts] }

/// Options of `attention`.
#[derive(Debug, Clone, Options)]
pub struct AttentionOptions {
    /// Added to the scores, or a bool mask, true where attention is allowed; broadcasts to [B, heads, N, M].
    pub mask: Option<Tensor>,
    /// Whether each query attends only to keys up to its own position.
    #[option(default = false)]
    pub causal: bool,
}

/// Options of `dropout`.
#[derive(Debug, Clone, Options)]
pub struct DropOptions {
    /// Whether to drop elements; false returns them unchanged.
    #[option(default = true)]
    pub training: bool,
    /// The random numbers.
    #[option(flatten)]
    pub source: SourceOptions,
}

/// Options of `layer_norm` and `group_norm`.
#[derive(Debug, Clone, Options)]
pub struct NormOptions {
    /// Factor of each element or channel.
    pub weight: Option<Tensor>,
    /// Added to each element or channel.
    pub bias: Option<Tensor>,
    /// Added to the variance.
    #[option(default = 1e-5, range = 0.0..)]
    pub eps: f64,
}

/// Options of `rms_norm`.
#[derive(Debug, Clone, Options)]
pub struct RmsNormOptions {
    /// Factor of each element.
    pub weight: Option<Tensor>,
    /// Added to the mean square; the dtype's epsilon when left out.
    #[option(range = 0.0..)]
    pub eps: Option<f64>,
}

/// Options of `batch_norm`.
#[derive(Debug, Clone, Options)]
pub struct BatchNormOptions {
    /// Factor of each channel.
    pub weight: Option<Tensor>,
    /// Added to each channel.
    pub bias: Option<Tensor>,
    /// Mean of each channel, used when not training.
    pub running_mean: Option<Tensor>,
    /// Variance of each channel, used when not training.
    pub running_var: Option<Tensor>,
    /// Whether to use the statistics of the batch.
    #[option(default = false)]
    pub training: bool,
    /// Weight of the batch's statistics in the update of the running ones.
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub momentum: f64,
    /// Added to the variance.
    #[option(default = 1e-5, range = 0.0..)]
    pub eps: f64,
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Zeroes elements with probability `p` (0.5 by default) and divides the rest by `1 - p`.
        /// ```rhai
        /// let x = tensor::ones([1000]).dropout(0.25, #{ seed: 1 });
        /// assert_close((x == 0).float().mean(), 0.25, 0.05);
        /// assert_close(x.amax().item(), 1.3333334, 1e-6);
        /// assert_eq(x.dropout(0.5, #{ training: false }), x);
        /// ```
        fn dropout(x: Tensor, p: Option<f64>, options: DropOptions) -> Tensor {
            if !options.training {
                return Ok(x.clone());
            }
            let source = options.source.of(x.device())?;
            x.dropout(p.unwrap_or(0.5), source.as_ref())
        }
    }
}

operators! {
    /// Returns `x @ weight.T + bias`, for weights [out, in].
    /// ```rhai
    /// let w = tensor([[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]]);
    /// assert_eq(tensor([[1.0, 1.0]]).linear(w), tensor([[3.0, 1.0, 1.0]]));
    /// assert_eq(tensor([1.0, 1.0]).linear(w, tensor([0.0, 0.0, 5.0])), tensor([3.0, 1.0, 6.0]));
    /// ```
    fn linear(x, weight: Tensor, bias: Option<Tensor>) -> Tensor {
        binary("linear", x, weight, x.raw().f_linear(weight.raw(), raw(bias)))
    }

    /// Returns the rows of this table at int64 indices, which may have any shape.
    /// ```rhai
    /// let table = tensor([[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq(table.embedding(tensor([1, 0, 1])), tensor([[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]));
    /// ```
    fn embedding(table, indices: Tensor) -> Tensor {
        let rows = tch::Tensor::f_embedding(table.raw(), indices.raw(), -1, false, false);
        table.naming(0, indices, single(rows))
    }

    /// Returns the indices as one-hot vectors (int64) of `classes` entries, or of as many as the largest index
    /// needs.
    /// ```rhai
    /// assert_eq(tensor([2, 0]).one_hot(3), tensor([[0, 0, 1], [1, 0, 0]]));
    /// ```
    fn one_hot(x, classes: i64 = -1) -> Tensor {
        single(x.raw().f_one_hot(classes)).map_err(|error| index::classes(x, classes, error))
    }

    /// Normalizes the trailing dimensions, of sizes `shape`, to mean 0 and variance 1, then scales and shifts
    /// them.
    /// ```rhai
    /// assert_close(tensor([[1.0, 3.0]]).layer_norm(2), [[-1.0, 1.0]], 1e-4);
    /// let scaled = tensor([[1.0, 3.0]]).layer_norm(2, #{ weight: tensor([2.0, 2.0]), bias: tensor([1.0, 1.0]) });
    /// assert_close(scaled, [[-1.0, 3.0]], 1e-4);
    /// ```
    fn layer_norm(x, shape: OneOrMany<i64>; options: NormOptions { weight: Option<Tensor>, bias: Option<Tensor>, eps: f64 })
        = f_layer_norm(shape, raw(weight), raw(bias), eps, false);

    /// Divides the trailing dimensions, of sizes `shape`, by their root mean square, then scales them.
    ///
    /// The default epsilon is that of the dtype.
    /// ```rhai
    /// assert_close(tensor([[3.0, 4.0]]).rms_norm(2), [[0.8485281, 1.1313709]], 1e-5);
    /// ```
    fn rms_norm(x, shape: OneOrMany<i64>; options: RmsNormOptions { weight: Option<Tensor>, eps: Option<f64> })
        = f_rms_norm(shape, raw(weight), eps);

    /// Normalizes each group of channels of each image to mean 0 and variance 1, then scales and shifts the
    /// channels.
    /// ```rhai
    /// let x = tensor([[[1.0, 3.0], [10.0, 30.0]]]);
    /// assert_close(x.group_norm(2), [[[-1.0, 1.0], [-1.0, 1.0]]], 1e-4);
    /// ```
    fn group_norm(x, groups: i64; options: NormOptions { weight: Option<Tensor>, bias: Option<Tensor>, eps: f64 }) -> Tensor {
        averages(x, x.shape().starts_with(&[1, groups]))?;
        single(x.raw().f_group_norm(groups, raw(weight), raw(bias), eps, false))
    }

    /// Normalizes each channel of each image to mean 0 and variance 1.
    /// ```rhai
    /// let x = tensor([[[[1.0, 3.0]]]]);
    /// assert_close(x.instance_norm(), [[[[-1.0, 1.0]]]], 1e-4);
    /// ```
    fn instance_norm(x, eps: f64 = 1e-5) -> Tensor {
        averages(x, true)?;
        let none = raw(None);
        single(x.raw().f_instance_norm(none, none, none, none, true, 0.1, eps, false))
    }

    /// Computes scaled dot-product attention, `softmax(q k^T / sqrt(d)) v`, for [B, heads, N, d].
    /// ```rhai
    /// let q = tensor::zeros([1, 1, 2, 4]);
    /// let v = tensor([[[[1.0], [3.0]]]]);
    /// assert_close(q.attention(q, v), [[[[2.0], [2.0]]]], 1e-6);
    /// assert_close(q.attention(q, v, #{ causal: true }), [[[[1.0], [2.0]]]], 1e-6);
    /// ```
    fn attention(query, key: Tensor, value: Tensor; options: AttentionOptions {
        mask: Option<Tensor>, causal: bool,
    }) -> Tensor {
        let (q, k, v) = (query.raw(), key.raw(), value.raw());
        single(tch::Tensor::f_scaled_dot_product_attention(q, k, v, raw(mask), 0.0, causal, None::<f64>, false))
    }

    /// Divides vectors along `dim` (1 by default) by their `p`-norm (2 by default).
    /// ```rhai
    /// assert_close(tensor([[3.0, 4.0]]).normalize(), [[0.6, 0.8]], 1e-6);
    /// ```
    fn normalize(x, p: f64 = 2.0, dim: i64 = 1) -> Tensor {
        // PyTorch's smallest norm.
        x.div(&x.norm(p, &[dim], true)?.clamp_min(1e-12)?)
    }

    /// Returns the cosine of the angle between vectors along `dim`, 1 by default.
    /// ```rhai
    /// assert_close(tensor([[1.0, 0.0]]).cosine_similarity(tensor([[1.0, 1.0]])), [0.7071068], 1e-6);
    /// ```
    fn cosine_similarity(x, y: Tensor, dim: i64 = 1) -> Tensor {
        single(tch::Tensor::f_cosine_similarity(x.raw(), y.raw(), dim, 1e-8))
    }

    /// Normalizes each channel (dimension 1) over the batch, then scales and shifts it.
    ///
    /// Training uses the statistics of the batch and updates the running statistics in place.
    /// ```rhai
    /// let x = tensor([[1.0], [3.0]]);
    /// let mean = tensor([0.0]);
    /// let var = tensor([1.0]);
    /// let y = x.batch_norm(#{ training: true, running_mean: mean, running_var: var, momentum: 0.5 });
    /// assert_close(y, [[-1.0], [1.0]], 1e-4);
    /// assert_close(mean, [1.0], 1e-6);
    /// ```
    fn batch_norm(x; options: BatchNormOptions {
        weight: Option<Tensor>, bias: Option<Tensor>, running_mean: Option<Tensor>, running_var: Option<Tensor>,
        training: bool, momentum: f64, eps: f64,
    }) -> Tensor {
        if running_mean.is_some() != running_var.is_some() {
            return Err(Error::argument("options `running_mean` and `running_var` must be given together"));
        }
        averages(x, training && x.rank() > 1 && x.size(0)? == 1)?;
        let (mean, var) = (raw(running_mean), raw(running_var));
        single(x.raw().f_batch_norm(raw(weight), raw(bias), mean, var, training, momentum, eps, true))
    }
}

pub(super) fn raw(tensor: Option<&Tensor>) -> Option<&tch::Tensor> {
    tensor.map(Tensor::raw)
}

/// Fails if `alone` and there are no spatial dimensions to average over either: the result would be 0.
fn averages(x: &Tensor, alone: bool) -> Result<()> {
    let shape = x.shape();
    if !alone || shape.iter().skip(2).any(|size| *size != 1) {
        return Ok(());
    }
    Err(Error::argument(format!("expected more than one value per mean, found shape {shape:?}"))
        .hint("a value minus its own mean is always 0; use more images or pixels, or `layer_norm`"))
}

impl Tensor {
    /// Zeroes elements with probability `p` and divides the rest by `1 - p`.
    pub fn dropout(&self, p: f64, generator: Option<&Generator>) -> Result<Tensor> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument(format!("expected a probability from 0 to 1, found {p}")));
        }
        if p == 1.0 {
            return self.mul_scalar(0.0);
        }
        let keep = Tensor::rand(&self.shape(), DType::Float32, self.device(), generator)?.ge_scalar(p)?;
        self.mul(&keep.to_dtype(self.dtype())?.mul_scalar(1.0 / (1.0 - p))?)
    }
}
