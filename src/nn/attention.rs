//! Multi-head self-attention.

use super::{Builder, Init, Linear, RmsNorm};
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Multi-head self-attention over tokens with RMS-normalised queries and keys, by a fused operator.
#[derive(Debug, Clone)]
pub struct Attention {
    qkv: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    proj: Linear,
    heads: i64,
}

impl Attention {
    /// Creates `qkv`, `q_norm`, `k_norm` and `proj` under `name`; `heads` must divide `hidden`. Without `qkv_bias`,
    /// `qkv` has a weight alone.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, heads: i64, qkv_bias: bool) -> Result<Self> {
        let head_size = hidden / heads;
        builder.within(name, |b| {
            Ok(Self {
                qkv: match qkv_bias {
                    true => Linear::new(b, "qkv", hidden, 3 * hidden, Init::XavierUniform)?,
                    false => Linear::without_bias(b, "qkv", hidden, 3 * hidden, Init::XavierUniform)?,
                },
                q_norm: RmsNorm::new(b, "q_norm", head_size)?,
                k_norm: RmsNorm::new(b, "k_norm", head_size)?,
                proj: Linear::new(b, "proj", hidden, hidden, Init::XavierUniform)?,
                heads,
            })
        })
    }

    /// Computes [`Attention::forward`] with `change` applied to the normalised queries and keys, both
    /// [B, heads, N, head size].
    pub fn forward_with(
        &self,
        x: &Tensor,
        change: impl FnOnce(Tensor, Tensor) -> Result<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let (batch, tokens, width) = (x.size(0)?, x.size(1)?, x.size(2)?);
        let packed = self.qkv.forward(x)?.reshape(&[batch, tokens, 3, self.heads, width / self.heads])?;
        let part = |i: i64| packed.select(2, i)?.transpose(1, 2);
        let (q, k) = change(self.q_norm.forward(&part(0)?)?, self.k_norm.forward(&part(1)?)?)?;
        let mixed = q.attention(&k, &part(2)?, None, false)?;
        self.proj.forward(&mixed.transpose(1, 2)?.reshape(&[batch, tokens, width])?)
    }

    /// Applies attention to tokens [B, N, D] and returns [B, N, D].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv.forward(x)?;
        let mixed = fused::attend(&qkv, &self.q_norm.weight, &self.k_norm.weight, self.heads)?;
        self.proj.forward(&mixed)
    }
}
