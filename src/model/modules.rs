//! Attention and the MLP of a block, with the parts inside of them.

use std::sync::Arc;

use super::Config;
use super::dit::Forward;
use super::parts::built::Steps;
use super::parts::call::At;
use super::parts::module::OfTokens;
use crate::error::Result;
use crate::nn::attention::joined;
use crate::nn::{Attention, Builder, Mlp, MlpKind, SwiGlu};
use crate::torch::Tensor;

/// Feed-forward part of a block.
#[derive(Debug)]
pub(super) enum FeedForward {
    Gelu(Mlp),
    SwiGlu(SwiGlu),
}

impl FeedForward {
    pub fn new(builder: &mut Builder, config: &Config) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.inner_size());
        Ok(match config.mlp() {
            MlpKind::Gelu => {
                Self::Gelu(Mlp::named(builder, "mlp", config.family.names().mlp, hidden, inner)?)
            }
            MlpKind::SwiGlu => Self::SwiGlu(SwiGlu::new(builder, "mlp", hidden, inner)?),
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu(mlp) => mlp.forward(x),
            Self::SwiGlu(mlp) => mlp.forward(x),
        }
    }

    /// Computes the MLP with `change` applied to its hidden units.
    fn forward_with(&self, x: &Tensor, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        match self {
            Self::Gelu(mlp) => mlp.forward_with(x, change),
            Self::SwiGlu(mlp) => mlp.forward_with(x, change),
        }
    }
}

/// Attention, with the parts inside of it.
#[derive(Debug)]
pub(super) struct SelfAttention {
    pub attn: Attention,
    pub qk: Steps,
    /// Shared with the calls of these parts, which run the next ones.
    pub attend: Arc<Steps>,
    pub heads: Steps,
}

impl OfTokens for SelfAttention {
    fn forward(&self, x: &Tensor, run: &Forward) -> Result<Tensor> {
        let rope = run.rope.as_ref();
        if let Some(rope) = rope {
            let whole = "a part at `span` runs whole blocks on some tokens: `c.inner(x, indices)`";
            rope.fits(x.size(1)?).map_err(|e| e.hint(whole))?;
        }
        let mixed = match &run.parts {
            Some(passing) if !(self.qk.is_empty() && self.attend.is_empty()) => {
                let (heads, packed) = self.attn.split(x)?;
                let heads = self.qk.pair(heads, passing, x)?;
                let (heads, usual) = packed.rotated(heads, rope)?;
                joined(&self.attend.mix(heads, usual, passing, x)?)?
            }
            _ => self.attn.mixed(x, rope)?,
        };
        self.attn.project(&run.within(&self.heads, mixed, || input(x))?)
    }
}

/// The MLP, with the parts inside of it.
#[derive(Debug)]
pub(super) struct MlpWithParts {
    pub mlp: FeedForward,
    pub hidden: Steps,
}

impl OfTokens for MlpWithParts {
    fn forward(&self, x: &Tensor, run: &Forward) -> Result<Tensor> {
        match self.hidden.is_empty() {
            true => self.mlp.forward(x),
            false => self.mlp.forward_with(x, |units| run.within(&self.hidden, units, || input(x))),
        }
    }
}

/// Describes a place inside of attention to x, or of the MLP.
fn input(x: &Tensor) -> At {
    At { input: Some(x.clone()), ..At::default() }
}
