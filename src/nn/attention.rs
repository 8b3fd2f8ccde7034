//! Multi-head self-attention.

use super::{Builder, Init, Linear, RmsNorm, Rope};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::Tensor;
use crate::torch::fused::{self, RmsOfHeads};

/// Norm of the queries and keys of each head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum QkNorm {
    /// None, as in DiT.
    None,
    /// RMS norm with a weight.
    #[default]
    Rms,
    /// Layer norm with a weight and a bias, epsilon 1e-5.
    Layer,
}

/// Options of [`Attention`].
#[derive(Debug, Clone, Copy)]
pub struct AttentionOptions {
    /// Number of heads; must divide the width.
    pub heads: i64,
    /// Whether `qkv` has a bias.
    pub qkv_bias: bool,
    /// Norm of queries and keys.
    pub qk_norm: QkNorm,
    /// Epsilon of the RMS norm; by default the machine epsilon of the dtype.
    pub eps: Option<f64>,
}

/// Multi-head self-attention over tokens.
///
/// Without a norm of queries and keys, or with RMS norm, it is a fused operator. Layer norm and rotary positions are
/// libtorch's operators.
#[derive(Debug, Clone)]
pub struct Attention {
    qkv: Linear,
    norm: HeadNorm,
    proj: Linear,
    heads: i64,
}

/// Norms of queries and of keys, with their parameters.
#[derive(Debug, Clone)]
enum HeadNorm {
    None,
    Rms([RmsNorm; 2]),
    Layer([(Tensor, Tensor); 2]),
}

impl HeadNorm {
    fn new(b: &mut Builder, size: i64, options: AttentionOptions) -> Result<Self> {
        Ok(match options.qk_norm {
            QkNorm::None => HeadNorm::None,
            QkNorm::Rms => HeadNorm::Rms([
                RmsNorm::with_eps(b, "q_norm", size, options.eps)?,
                RmsNorm::with_eps(b, "k_norm", size, options.eps)?,
            ]),
            QkNorm::Layer => {
                let mut affine = |name: &str| {
                    b.within(name, |b| {
                        Ok::<_, crate::error::Error>((
                            b.parameter("weight", &[size], Init::Ones)?,
                            b.parameter("bias", &[size], Init::Zeros)?,
                        ))
                    })
                };
                HeadNorm::Layer([affine("q_norm")?, affine("k_norm")?])
            }
        })
    }

    /// Normalizes queries and keys [B, heads, N, head size].
    fn forward(&self, q: Tensor, k: Tensor) -> Result<(Tensor, Tensor)> {
        // LightningDiT's layer norm of heads has PyTorch's default epsilon.
        let layer = |x: Tensor, (weight, bias): &(Tensor, Tensor)| {
            x.layer_norm(&weight.shape(), Some(weight), Some(bias), 1e-5)
        };
        match self {
            HeadNorm::None => Ok((q, k)),
            HeadNorm::Rms([q_norm, k_norm]) => Ok((q_norm.forward(&q)?, k_norm.forward(&k)?)),
            HeadNorm::Layer([q_norm, k_norm]) => Ok((layer(q, q_norm)?, layer(k, k_norm)?)),
        }
    }
}

impl Attention {
    /// Creates `qkv`, `q_norm`, `k_norm` and `proj` under `name`; the heads must divide `hidden`. Without a norm there
    /// are no `q_norm` and `k_norm`, and without `qkv_bias` `qkv` has a weight alone.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, options: AttentionOptions) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                qkv: match options.qkv_bias {
                    true => Linear::new(b, "qkv", hidden, 3 * hidden, Init::XavierUniform)?,
                    false => Linear::without_bias(b, "qkv", hidden, 3 * hidden, Init::XavierUniform)?,
                },
                norm: HeadNorm::new(b, hidden / options.heads, options)?,
                proj: Linear::new(b, "proj", hidden, hidden, Init::XavierUniform)?,
                heads: options.heads,
            })
        })
    }

    /// Computes [`Attention::forward`] with `change` applied to the queries and keys after their norm, both
    /// [B, heads, N, head size], before their positions.
    pub fn forward_with(
        &self,
        x: &Tensor,
        rope: Option<&Rope>,
        change: impl FnOnce(Tensor, Tensor) -> Result<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let (batch, tokens, width) = (x.size(0)?, x.size(1)?, x.size(2)?);
        let packed = self.qkv.forward(x)?.reshape(&[batch, tokens, 3, self.heads, width / self.heads])?;
        let part = |i: i64| packed.select(2, i)?.transpose(1, 2);
        let (q, k) = self.norm.forward(part(0)?, part(1)?)?;
        let (mut q, mut k) = change(q, k)?;
        if let Some(rope) = rope {
            (q, k) = (rope.forward(&q)?, rope.forward(&k)?);
        }
        let v = part(2)?;
        // Under autocast, norms and rotations may return float32.
        let [q, k] = [q, k].map(|part| part.to_dtype(v.dtype()));
        let mixed = q?.attention(&k?, &v, None, false)?;
        self.proj.forward(&mixed.transpose(1, 2)?.reshape(&[batch, tokens, width])?)
    }

    /// Applies attention to tokens [B, N, D] and returns [B, N, D]; `rope` rotates queries and keys.
    pub fn forward(&self, x: &Tensor, rope: Option<&Rope>) -> Result<Tensor> {
        let norm = match (&self.norm, rope) {
            (HeadNorm::None, None) => None,
            (HeadNorm::Rms([q, k]), None) => {
                Some(RmsOfHeads { q_weight: &q.weight, k_weight: &k.weight, eps: q.eps })
            }
            _ => return self.forward_with(x, rope, |q, k| Ok((q, k))),
        };
        let mixed = fused::attend_with(&self.qkv.forward(x)?, norm, self.heads)?;
        self.proj.forward(&mixed)
    }
}
