//! Multi-head self-attention.

use super::{Builder, Init, Linear, RmsNorm};
use crate::error::Result;
use crate::torch::{DType, Device, Tensor};

/// Self-attention over tokens with RMS-normalised queries and keys, by libtorch's fused kernel.
#[derive(Debug, Clone)]
pub struct Attention {
    qkv: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    proj: Linear,
    heads: i64,
    head_size: i64,
}

impl Attention {
    /// Makes `qkv`, `q_norm`, `k_norm` and `proj`, below `name`; `heads` divides `hidden`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, heads: i64) -> Result<Self> {
        let head_size = hidden / heads;
        builder.within(name, |b| {
            Ok(Self {
                qkv: Linear::new(b, "qkv", hidden, 3 * hidden, Init::XavierUniform)?,
                q_norm: RmsNorm::new(b, "q_norm", head_size)?,
                k_norm: RmsNorm::new(b, "k_norm", head_size)?,
                proj: Linear::new(b, "proj", hidden, hidden, Init::XavierUniform)?,
                heads,
                head_size,
            })
        })
    }

    /// Tokens [B, N, D] to [B, N, D].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, tokens, hidden) = (x.size(0)?, x.size(1)?, x.size(2)?);
        let heads = [batch, tokens, self.heads, self.head_size];
        // Splitting the last dimension makes the backward one concatenation; unbinding a permuted view
        // would copy the gradient twice.
        let parts = self.qkv.forward(x)?.split(hidden, -1)?;
        let part = |i: usize| parts[i].reshape(&heads);
        let q = self.q_norm.forward(&part(0)?)?.transpose(1, 2)?;
        let k = self.k_norm.forward(&part(1)?)?.transpose(1, 2)?;
        let v = part(2)?.transpose(1, 2)?;
        let mixed = mix(&q, &k, &v)?;
        self.proj.forward(&mixed.transpose(1, 2)?.reshape(&[batch, tokens, hidden])?)
    }
}

/// Each query's mean of the values, weighted by softmax of its products with the keys.
fn mix(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor> {
    // On the CPU libtorch's kernel takes half as long again in bfloat16 as in float32, forward and
    // backward together, although matrix products are faster in bfloat16.
    if q.device() == Device::Cpu && q.dtype() == DType::BFloat16 {
        let [q, k, v] = [q, k, v].map(|x| x.to_dtype(DType::Float32));
        return q?.attention_on_cpu(&k?, &v?)?.to_dtype(DType::BFloat16);
    }
    q.attention(k, v, None, false)
}
