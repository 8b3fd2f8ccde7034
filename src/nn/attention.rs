//! Multi-head self-attention.

use super::{Builder, Init, Linear, RmsNorm, Rope};
use crate::declare::{Choice, FromValue, IntoValue, Value};
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
/// Without a norm of queries and keys, or with RMS norm, it is a fused operator, rotary positions included. With layer
/// norm it is libtorch's operators.
#[derive(Debug, Clone)]
pub struct Attention {
    qkv: Linear,
    norm: HeadNorm,
    proj: Linear,
    heads: i64,
}

/// Norms of queries and of keys, with their parameters.
#[derive(Debug, Clone)]
pub(super) enum HeadNorm {
    None,
    Rms([RmsNorm; 2]),
    Layer([(Tensor, Tensor); 2]),
}

impl HeadNorm {
    pub(super) fn new(b: &mut Builder, size: i64, options: AttentionOptions) -> Result<Self> {
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

    /// Returns the norm as the fused operator takes it; nothing if that operator does not apply.
    fn fused(&self) -> Option<Option<RmsOfHeads<'_>>> {
        match self {
            HeadNorm::None => Some(None),
            HeadNorm::Rms([q, k]) => {
                Some(Some(RmsOfHeads { q_weight: &q.weight, k_weight: &k.weight, eps: q.eps }))
            }
            HeadNorm::Layer(_) => None,
        }
    }

    /// Normalizes queries and keys [B, heads, N, head size].
    pub(super) fn forward(&self, q: Tensor, k: Tensor) -> Result<(Tensor, Tensor)> {
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

    /// Computes queries and keys of tokens [B, N, D] after their norm, before their positions, and values.
    pub fn split(&self, x: &Tensor) -> Result<(Heads, Packed)> {
        let packed = self.qkv.forward(x)?;
        let part = |i: i64| entry(&packed, self.heads, i);
        let (q, k) = self.norm.forward(part(0)?, part(1)?)?;
        let heads = Heads { q, k, v: part(2)? };
        Ok((
            heads.clone(),
            Packed { heads: self.heads, norm: self.norm.clone(), given: Given::of(&heads), packed },
        ))
    }

    /// Mixes tokens [B, N, D] as [`Attention::forward`] does before its last map.
    pub fn mixed(&self, x: &Tensor, rope: Option<&Rope>) -> Result<Tensor> {
        let Some(norm) = self.norm.fused() else {
            let (heads, packed) = self.split(x)?;
            let (heads, usual) = packed.rotated(heads, rope)?;
            return joined(&usual.forward(&heads)?);
        };
        fused::attend_rotated(&self.qkv.forward(x)?, norm, rope.map(Rope::rotation), self.heads)
    }

    /// Applies the last map to mixed tokens [B, N, D].
    pub fn project(&self, mixed: &Tensor) -> Result<Tensor> {
        self.proj.forward(mixed)
    }

    /// Applies attention to tokens [B, N, D] and returns [B, N, D]; `rope` rotates queries and keys.
    pub fn forward(&self, x: &Tensor, rope: Option<&Rope>) -> Result<Tensor> {
        self.project(&self.mixed(x, rope)?)
    }
}

/// Queries, keys and values of all heads, [B, heads, N, head size] each.
#[derive(Debug, Clone)]
pub struct Heads {
    /// Queries.
    pub q: Tensor,
    /// Keys.
    pub k: Tensor,
    /// Values.
    pub v: Tensor,
}

/// A map `#{ q, k, v }`.
impl FromValue for Heads {
    fn label() -> String {
        "map".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let Value::Map(map) = value else { return Err(value.mismatch("a map `#{ q, k, v }`")) };
        let part = |name: &str| {
            let value = map.get(name).unwrap_or(&Value::Unit);
            Tensor::from_value(value).map_err(|e| e.context(format!("`{name}` of `#{{ q, k, v }}`")))
        };
        Ok(Self { q: part("q")?, k: part("k")?, v: part("v")? })
    }
}

impl IntoValue for Heads {
    fn label() -> String {
        <Self as FromValue>::label()
    }
    fn into_value(self) -> Value {
        let all = [("q", self.q), ("k", self.k), ("v", self.v)];
        Value::Map(all.map(|(name, tensor)| (name.to_string(), tensor.into_value())).into())
    }
}

/// Tensors as they were given to code, which may write into them.
#[derive(Debug, Clone)]
struct Given([(Tensor, i64); 3]);

impl Given {
    fn of(heads: &Heads) -> Self {
        Self([&heads.q, &heads.k, &heads.v].map(|tensor| (tensor.clone(), tensor.version())))
    }

    /// Returns which of the queries, keys and values are those that were given.
    fn same(&self, heads: &Heads) -> [bool; 3] {
        let now = [&heads.q, &heads.k, &heads.v];
        [0, 1, 2].map(|i| now[i].is_same(&self.0[i].0) && self.0[i].1 == now[i].version())
    }
}

/// Output of `qkv`, with the queries, keys and values that were made of it.
#[derive(Debug, Clone)]
pub struct Packed {
    packed: Tensor,
    heads: i64,
    norm: HeadNorm,
    given: Given,
}

impl Packed {
    /// Gives queries and keys, as code may have changed them, their positions and the dtype of the values. Returns
    /// what attention mixes, and the usual attention.
    pub fn rotated(self, heads: Heads, rope: Option<&Rope>) -> Result<(Heads, Usual)> {
        let [q, k, _] = self.given.same(&heads);
        let untouched = q && k;
        let Heads { mut q, mut k, v } = heads;
        let level = [q.clone(), k.clone()];
        if let Some(rope) = rope {
            (q, k) = (rope.forward(&q)?, rope.forward(&k)?);
        }
        let heads = Heads { q: like(q, &v)?, k: like(k, &v)?, v };
        let given = Given::of(&heads);
        Ok((heads, Usual { from: Self { given, ..self }, untouched, level, rope: rope.cloned() }))
    }
}

/// Scaled dot-product attention. The fused operator computes what it can, so that what was not changed keeps every
/// bit of [`Attention::forward`].
#[derive(Debug, Clone)]
pub struct Usual {
    from: Packed,
    /// Whether the queries and keys are those of the packed tensor.
    untouched: bool,
    /// Queries and keys before their rotation.
    level: [Tensor; 2],
    rope: Option<Rope>,
}

impl Usual {
    /// Mixes values [B, heads, N, head size]; keys and values may be of another number of tokens than queries.
    pub fn forward(&self, heads: &Heads) -> Result<Tensor> {
        let Heads { q, k, v } = heads;
        let from = &self.from;
        let [same_q, same_k, same_v] = from.given.same(heads);
        // Rotated queries and keys that nobody changed are rotated again by the fused operator.
        let rotated = same_q && same_k;
        let raw = self.untouched && rotated;
        let alike = [k, v].iter().all(|x| x.shape() == q.shape() && x.dtype() == q.dtype());
        let norm = match &from.norm {
            norm if raw => norm.fused(),
            HeadNorm::None => Some(None),
            _ => None,
        };
        let Some(norm) = norm.filter(|_| alike) else {
            return like(q.clone(), v)?.attention(&like(k.clone(), v)?, v, None, false);
        };
        let rotation = self.rope.as_ref().filter(|_| rotated).map(Rope::rotation);
        let mixed = match raw && same_v {
            true => fused::attend_rotated(&from.packed, norm, rotation, from.heads)?,
            false => {
                let part = |i: i64, new: &Tensor, level: &Tensor| match (raw, rotated) {
                    (true, _) => entry(&from.packed, from.heads, i),
                    (false, true) => like(level.clone(), v),
                    (false, false) => Ok(new.clone()),
                };
                let [level_q, level_k] = &self.level;
                let all = [part(0, q, level_q)?, part(1, k, level_k)?, v.clone()];
                let all = [all[0].transpose(1, 2)?, all[1].transpose(1, 2)?, all[2].transpose(1, 2)?];
                let shape = [q.size(0)?, q.size(2)?, 3 * from.heads * q.size(3)?];
                fused::attend_rotated(&Tensor::stack(&all, 2)?.reshape(&shape)?, norm, rotation, from.heads)?
            }
        };
        mixed.reshape(&[q.size(0)?, q.size(2)?, from.heads, q.size(3)?])?.transpose(1, 2)
    }
}

/// Returns the queries, keys or values, [B, heads, N, head size], of a packed tensor [B, N, 3 D].
fn entry(packed: &Tensor, heads: i64, i: i64) -> Result<Tensor> {
    let (batch, tokens, width) = (packed.size(0)?, packed.size(1)?, packed.size(2)? / 3);
    packed.reshape(&[batch, tokens, 3, heads, width / heads])?.select(2, i)?.transpose(1, 2)
}

/// Joins heads [B, heads, N, head size] to tokens [B, N, D].
pub fn joined(mixed: &Tensor) -> Result<Tensor> {
    let shape = [mixed.size(0)?, mixed.size(2)?, mixed.size(1)? * mixed.size(3)?];
    mixed.transpose(1, 2)?.reshape(&shape)
}

/// Converts to the dtype of the values: under autocast, norms and rotations may return float32.
fn like(x: Tensor, values: &Tensor) -> Result<Tensor> {
    if x.dtype() == values.dtype() { Ok(x) } else { x.to_dtype(values.dtype()) }
}
