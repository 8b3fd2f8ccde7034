//! Feed-forward part of a block.

use super::{Builder, Init, Linear};
use crate::declare::Choice;
use crate::error::Result;
use crate::torch::{Tensor, fused};

/// Feed-forward part of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum MlpKind {
    /// Two linear maps with a tanh-approximated GELU between them, as in DiT.
    #[default]
    Gelu,
    /// SwiGLU: a linear map to two halves, of which one is gated by the SiLU of the other, and a second linear map
    /// (Shazeer 2020, equation 6). Two thirds of the inner width take as many parameters.
    #[choice(name = "swiglu")]
    SwiGlu,
}

/// Two linear maps with a tanh-approximated GELU between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    first: Linear,
    second: Linear,
}

impl Mlp {
    /// Creates `net.0` and `net.2` under `name`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, inner: i64) -> Result<Self> {
        Self::named(builder, name, ["net.0", "net.2"], hidden, inner)
    }

    /// Creates both maps under other names below `name`.
    pub fn named(
        builder: &mut Builder,
        name: &str,
        maps: [&str; 2],
        hidden: i64,
        inner: i64,
    ) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                first: Linear::new(b, maps[0], hidden, inner, Init::XavierUniform)?,
                second: Linear::new(b, maps[1], inner, hidden, Init::XavierUniform)?,
            })
        })
    }

    /// Maps [.., hidden] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let ((first, first_bias), (second, second_bias)) = (self.first.parts()?, self.second.parts()?);
        fused::mlp(x, (&first, first_bias), (&second, second_bias))
    }

    /// Computes [`Mlp::forward`] with `change` applied to the hidden units [.., inner] after the GELU.
    pub fn forward_with(&self, x: &Tensor, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let units = fused::gelu(&self.first.forward(x)?)?;
        let (given, version) = (units.clone(), units.version());
        let units = change(units)?;
        // The fused operator adds its second product in slices, so what was not changed keeps every bit in it alone.
        if units.is_same(&given) && units.version() == version {
            return self.forward(x);
        }
        self.second.forward(&units)
    }
}

/// SwiGLU: `w3 (silu(a) b)`, where a and b are the halves of `w12 x` (Shazeer 2020, equation 6, with biases).
#[derive(Debug, Clone)]
pub struct SwiGlu {
    both: Linear,
    second: Linear,
}

impl SwiGlu {
    /// Creates `w12` [2 inner, hidden] and `w3` [hidden, inner] under `name`.
    pub fn new(builder: &mut Builder, name: &str, hidden: i64, inner: i64) -> Result<Self> {
        builder.within(name, |b| {
            Ok(Self {
                both: Linear::new(b, "w12", hidden, 2 * inner, Init::XavierUniform)?,
                second: Linear::new(b, "w3", inner, hidden, Init::XavierUniform)?,
            })
        })
    }

    /// Maps [.., hidden] to the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Ok)
    }

    /// Computes [`SwiGlu::forward`] with `change` applied to the hidden units [.., inner], the gated products.
    pub fn forward_with(&self, x: &Tensor, change: impl FnOnce(Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let both = self.both.forward(x)?;
        let inner = both.size(-1)? / 2;
        let gated = both.narrow(-1, 0, inner)?.silu()?.mul(&both.narrow(-1, inner, inner)?)?;
        self.second.forward(&change(gated)?)
    }
}
