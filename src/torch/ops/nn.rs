//! Operators of neural networks: linear maps, convolution, pooling, normalisation, attention, losses.

use super::{binary, ops};
use crate::error::Result;
use crate::torch::{Tensor, checked};

fn raw(tensor: Option<&Tensor>) -> Option<&tch::Tensor> {
    tensor.map(Tensor::raw)
}

ops! {
    /// Convolution of [B, C, H, W] with weights [out, C / groups, kh, kw].
    conv2d(weight: &Tensor, bias: Option<&Tensor>, stride: &[i64], padding: &[i64], dilation: &[i64], groups: i64)
        = f_conv2d(weight.raw(), raw(bias), stride, padding, dilation, groups);
    /// Largest element in windows.
    max_pool2d(kernel: &[i64], stride: &[i64], padding: &[i64]) = f_max_pool2d(kernel, stride, padding, &[1i64, 1][..], false);
    /// Mean over windows.
    avg_pool2d(kernel: &[i64], stride: &[i64], padding: &[i64]) = f_avg_pool2d(kernel, stride, padding, false, true, None::<i64>);
    /// Mean over windows that give an output of this size.
    adaptive_avg_pool2d(size: &[i64]) = f_adaptive_avg_pool2d(size);
    /// Normalisation over the trailing `shape`: zero mean, unit variance.
    layer_norm(shape: &[i64], weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64)
        = f_layer_norm(shape, raw(weight), raw(bias), eps, false);
    /// Root-mean-square normalisation over the trailing `shape`; `eps` defaults to the dtype's epsilon.
    rms_norm(shape: &[i64], weight: Option<&Tensor>, eps: Option<f64>) = f_rms_norm(shape, raw(weight), eps);
    /// Rows of this table at int64 indices.
    embedding(indices: &Tensor) = f_embedding_rows(indices.raw());
    /// Mean squared difference.
    mse_loss(target: &Tensor) = f_mse_loss(target.raw(), tch::Reduction::Mean);
    /// Cross entropy of logits [N, K] and labels [N], averaged.
    cross_entropy(labels: &Tensor, label_smoothing: f64)
        = f_cross_entropy_loss(labels.raw(), None::<&tch::Tensor>, tch::Reduction::Mean, -100, label_smoothing);
}

/// tch binds embedding with the table as an argument; the table reads better as the receiver.
trait Rows {
    fn f_embedding_rows(&self, indices: &tch::Tensor) -> Result<tch::Tensor, tch::TchError>;
}

impl Rows for tch::Tensor {
    fn f_embedding_rows(&self, indices: &tch::Tensor) -> Result<tch::Tensor, tch::TchError> {
        tch::Tensor::f_embedding(self, indices, -1, false, false)
    }
}

impl Tensor {
    /// `self @ weight^T + bias` for weights [out, in].
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        binary("linear", self, weight, self.raw().f_linear(weight.raw(), raw(bias)))
    }

    /// Scaled dot-product attention of queries (self), keys and values [B, heads, N, head_dim].
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
}
