//! Attention of tokens to other tokens.

use super::attention::HeadNorm;
use super::{AttentionOptions, Builder, Init, Linear};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

/// Multi-head attention of tokens [B, N, width] to a context [B, M, context], as in PixArt (arXiv 2310.00426).
#[derive(Debug, Clone)]
pub struct CrossAttention {
    query: Linear,
    key_value: Linear,
    norm: HeadNorm,
    proj: Linear,
    heads: i64,
    context: i64,
}

impl CrossAttention {
    /// Creates `q_linear`, `kv_linear`, `q_norm`, `k_norm` and `proj` under `name`; the heads must divide `width`.
    pub fn new(
        builder: &mut Builder,
        name: &str,
        [width, context]: [i64; 2],
        options: AttentionOptions,
    ) -> Result<Self> {
        let linear = if options.qkv_bias { Linear::new } else { Linear::without_bias };
        builder.within(name, |b| {
            Ok(Self {
                query: linear(b, "q_linear", width, width, Init::XavierUniform)?,
                key_value: linear(b, "kv_linear", context, 2 * width, Init::XavierUniform)?,
                norm: HeadNorm::new(b, width / options.heads, options)?,
                proj: Linear::new(b, "proj", width, width, Init::XavierUniform)?,
                heads: options.heads,
                context,
            })
        })
    }

    /// Applies attention to tokens x [B, N, width] and returns the same shape.
    ///
    /// A `mask` is bool [B, M], true for tokens of the context that take part, or any that broadcasts to
    /// [B, heads, N, M].
    pub fn forward(&self, x: &Tensor, context: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let (batch, tokens, width) = (x.size(0)?, x.size(1)?, x.size(2)?);
        let size = self.context;
        ensure!(
            context.rank() == 3 && context.size(0)? == batch && context.size(2)? == size,
            "expected a context [{batch}, M, {size}], found a {}",
            context.signature()
        );
        let (there, head) = (context.size(1)?, width / self.heads);
        let mask = match mask {
            Some(mask) if mask.rank() == 2 => {
                if mask.shape() != [batch, there] || mask.dtype() != DType::Bool {
                    return Err(Error::argument(format!(
                        "expected a mask bool [{batch}, {there}] of the context, found {}",
                        mask.signature()
                    ))
                    .hint("true for tokens that take part: `mask.to(\"bool\")`"));
                }
                Some(mask.unsqueeze(1)?.unsqueeze(1)?)
            }
            other => other.cloned(),
        };
        let q = self.query.forward(x)?.reshape(&[batch, tokens, self.heads, head])?.transpose(1, 2)?;
        let packed = self.key_value.forward(context)?.reshape(&[batch, there, 2, self.heads, head])?;
        let part = |i: i64| packed.select(2, i)?.transpose(1, 2);
        let (q, k, v) = {
            let (q, k) = self.norm.forward(q, part(0)?)?;
            (q, k, part(1)?)
        };
        // Under autocast, norms may return float32.
        let (q, k) = (q.to_dtype(v.dtype())?, k.to_dtype(v.dtype())?);
        let mixed = q.attention(&k, &v, mask.as_ref(), false)?;
        self.proj.forward(&mixed.transpose(1, 2)?.reshape(&[batch, tokens, width])?)
    }
}
