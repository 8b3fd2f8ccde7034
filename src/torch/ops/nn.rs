//! Neural network operators: linear maps, convolution, pooling, normalisation, attention.

use super::{binary, ops};
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::call::call_one;
use crate::torch::{DType, Generator, Tensor, checked};

pub(super) fn raw(tensor: Option<&Tensor>) -> Option<&tch::Tensor> {
    tensor.map(Tensor::raw)
}

ops! {
    /// Convolves [B, C, H, W] with weights [out, C / groups, kh, kw].
    conv2d(weight: &Tensor, bias: Option<&Tensor>, stride: &[i64], padding: &[i64], dilation: &[i64], groups: i64) small(stride, padding, dilation, groups)
        = f_conv2d(weight.raw(), raw(bias), stride, padding, dilation, groups);
    /// Returns the largest element of each window.
    max_pool2d(kernel: &[i64], stride: &[i64], padding: &[i64]) small(kernel, stride, padding) = f_max_pool2d(kernel, stride, padding, &[1i64, 1][..], false);
    /// Returns the mean of each window.
    avg_pool2d(kernel: &[i64], stride: &[i64], padding: &[i64]) small(kernel, stride, padding) = f_avg_pool2d(kernel, stride, padding, false, true, None::<i64>);
    /// Averages over windows chosen to produce an output of this size.
    adaptive_avg_pool2d(size: &[i64]) small(size) = f_adaptive_avg_pool2d(size);
    /// Normalises over the trailing `shape` to zero mean and unit variance.
    layer_norm(shape: &[i64], weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64)
        = f_layer_norm(shape, raw(weight), raw(bias), eps, false);
    /// Normalises by the root mean square over the trailing `shape`; `eps` defaults to the dtype's epsilon.
    rms_norm(shape: &[i64], weight: Option<&Tensor>, eps: Option<f64>) = f_rms_norm(shape, raw(weight), eps);
    /// Returns rows of this table at int64 indices.
    embedding(indices: &Tensor) = f_embedding_rows(indices.raw());
    /// Convolves [B, C, L] with weights [out, C / groups, k].
    conv1d(weight: &Tensor, bias: Option<&Tensor>, stride: &[i64], padding: &[i64], dilation: &[i64], groups: i64) small(stride, padding, dilation, groups)
        = f_conv1d(weight.raw(), raw(bias), stride, padding, dilation, groups);
    /// Applies a transposed convolution to [B, C, H, W] with weights [C, out / groups, kh, kw].
    conv_transpose2d(weight: &Tensor, bias: Option<&Tensor>, stride: &[i64], padding: &[i64], output_padding: &[i64], groups: i64, dilation: &[i64]) small(stride, padding, output_padding, groups, dilation)
        = f_conv_transpose2d(weight.raw(), raw(bias), stride, padding, output_padding, groups, dilation);
    /// Returns the mean of each window of [B, C, L].
    avg_pool1d(kernel: &[i64], stride: &[i64], padding: &[i64]) small(kernel, stride, padding) = f_avg_pool1d(kernel, stride, padding, false, true);
    /// Returns the largest element of each window of [B, C, L].
    max_pool1d(kernel: &[i64], stride: &[i64], padding: &[i64]) small(kernel, stride, padding) = f_max_pool1d(kernel, stride, padding, &[1i64][..], false);
    /// Rearranges groups of `factor^2` channels into blocks of pixels.
    pixel_shuffle(factor: i64) small(factor) = f_pixel_shuffle(factor);
    /// Undoes [`Tensor::pixel_shuffle`].
    pixel_unshuffle(factor: i64) small(factor) = f_pixel_unshuffle(factor);
    /// Normalises over groups of channels.
    group_norm(groups: i64, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64)
        = f_group_norm(groups, raw(weight), raw(bias), eps, false);
    /// Normalises over each image and channel.
    instance_norm(eps: f64)
        = f_instance_norm(raw(None), raw(None), raw(None), raw(None), true, 0.1, eps, false);
    /// Extracts windows of [B, C, H, W] as columns [B, C kh kw, L].
    im2col(kernel: &[i64], stride: &[i64], padding: &[i64], dilation: &[i64]) small(kernel, stride, padding, dilation) = f_im2col(kernel, dilation, padding, stride);
    /// Sums columns back into [B, C, H, W] of `size`.
    col2im(size: &[i64], kernel: &[i64], stride: &[i64], padding: &[i64], dilation: &[i64]) small(size, kernel, stride, padding, dilation) = f_col2im(size, kernel, dilation, padding, stride);
    /// Encodes indices as int64 one-hot vectors; `classes` -1 derives the number from the largest index.
    one_hot(classes: i64) = f_one_hot(classes);
}

/// tch takes the table as an argument; it reads better as the receiver.
trait Rows {
    fn f_embedding_rows(&self, indices: &tch::Tensor) -> Result<tch::Tensor, tch::TchError>;
}

impl Rows for tch::Tensor {
    fn f_embedding_rows(&self, indices: &tch::Tensor) -> Result<tch::Tensor, tch::TchError> {
        tch::Tensor::f_embedding(self, indices, -1, false, false)
    }
}

impl Tensor {
    /// Returns `self @ weight^T + bias` for weights [out, in].
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        binary("linear", self, weight, self.raw().f_linear(weight.raw(), raw(bias)))
    }

    /// Returns scaled dot-product attention of queries (self), keys and values [B, heads, N, head_dim].
    pub fn attention(
        &self,
        key: &Tensor,
        value: &Tensor,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> Result<Tensor> {
        checked(tch::Tensor::f_scaled_dot_product_attention(
            self.raw(),
            key.raw(),
            value.raw(),
            raw(mask),
            0.0,
            causal,
            None::<f64>,
            false,
        ))
        .map(Tensor::wrap)
    }

    /// Normalises each channel over batch and positions. In training, uses the batch's statistics and moves the
    /// running ones, where given, towards them by `momentum`, in place.
    pub fn batch_norm(
        &self,
        running: Option<(&Tensor, &Tensor)>,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        training: bool,
        momentum: f64,
        eps: f64,
    ) -> Result<Tensor> {
        let (mean, var) = (raw(running.map(|r| r.0)), raw(running.map(|r| r.1)));
        let (weight, bias) = (raw(weight), raw(bias));
        checked(self.raw().f_batch_norm(weight, bias, mean, var, training, momentum, eps, true))
            .map(Tensor::wrap)
    }

    /// Resizes images [B, C, H, W] by `nearest`, `bilinear` or `bicubic` interpolation; `antialias` applies a
    /// filter before shrinking, for the latter two.
    pub fn interpolate(
        &self,
        size: [i64; 2],
        mode: &str,
        align_corners: bool,
        antialias: bool,
    ) -> Result<Tensor> {
        if self.rank() != 4 {
            return Err(Error::argument(format!(
                "expected images [B, C, H, W], found shape {:?}",
                self.shape()
            ))
            .hint("add dimensions of size 1 with `.unsqueeze(0)`"));
        }
        let operator = match (mode, antialias) {
            ("nearest", false) => {
                return checked(self.raw().f_upsample_nearest2d(size, None::<f64>, None::<f64>))
                    .map(Tensor::wrap);
            }
            ("bilinear", false) => "upsample_bilinear2d",
            ("bicubic", false) => "upsample_bicubic2d",
            ("bilinear", true) => "_upsample_bilinear2d_aa",
            ("bicubic", true) => "_upsample_bicubic2d_aa",
            _ => {
                return Err(Error::argument(format!(
                    "expected mode `nearest`, `bilinear` or `bicubic`, found \"{mode}\"{}",
                    if antialias { " with antialias" } else { "" }
                )));
            }
        };
        let size = Value::List(size.iter().map(|s| Value::Int(*s)).collect());
        let arguments = [self.clone().into_value(), size, Value::Bool(align_corners)];
        call_one(operator, &arguments, &Map::new())
    }

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

    /// Divides by the `p`-norm along a dimension, or by `eps` if the norm is smaller.
    pub fn normalize(&self, p: f64, dim: i64, eps: f64) -> Result<Tensor> {
        self.div(&self.norm(p, &[dim], true)?.clamp_min(eps)?)
    }

    /// Returns the cosine of the angle between vectors along a dimension.
    pub fn cosine_similarity(&self, other: &Tensor, dim: i64, eps: f64) -> Result<Tensor> {
        checked(tch::Tensor::f_cosine_similarity(self.raw(), other.raw(), dim, eps)).map(Tensor::wrap)
    }
}
