//! Layer type of scripts.

use std::sync::Arc;

use super::{
    Attention, Conv2d, ConvTranspose2d, CrossAttention, Embedding, GroupNorm, LabelEmbed, LayerNorm, Linear,
    Mlp, PatchEmbed, RmsNorm, Rope, SwiGlu, TimestepEmbed,
};
use crate::declare::{Display, IntoValue, Map};
use crate::error::{Error, Result};
use crate::torch::autograd::is_autocasting;
use crate::torch::placement::together;
use crate::torch::{Tensor, is_out_of_memory};
use crate::{functions, scripted};

/// Kinds of layers that scripts can create.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `x @ weight^T + bias`.
    Linear(Linear),
    /// Convolution of images.
    Conv2d(Conv2d),
    /// Transposed convolution of images.
    ConvTranspose2d(ConvTranspose2d),
    /// Layer norm over the last dimension.
    Norm(LayerNorm),
    /// RMS norm over the last dimension.
    RmsNorm(RmsNorm),
    /// Group norm of images.
    GroupNorm(GroupNorm),
    /// Embedding table.
    Embedding(Embedding),
    /// Self-attention, with or without rotary positions.
    Attention(Attention, Option<Rope>),
    /// Attention to other tokens.
    CrossAttention(CrossAttention),
    /// Two linear maps with a GELU between them.
    Mlp(Mlp),
    /// SwiGLU.
    SwiGlu(SwiGlu),
    /// Patch embedding of images.
    PatchEmbed(PatchEmbed),
    /// Timestep embedding.
    TimestepEmbed(TimestepEmbed),
    /// Label embedding.
    LabelEmbed(LabelEmbed),
}

/// Input that a layer takes, for messages.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// [.., size].
    Last(i64),
    /// [B, N, size].
    Tokens(i64),
    /// [B, channels, H, W], where patches fill height and width.
    Images {
        /// Channels.
        channels: i64,
        /// Side of a patch.
        patch: i64,
    },
    /// Times `[B]` of any float dtype.
    Times,
    /// Integers of any shape.
    Indices,
}

impl Input {
    /// Returns what is wrong with the shape of an input.
    fn wrong_shape(self, x: &Tensor) -> Option<Error> {
        let (shape, rank) = (x.shape(), x.rank());
        let (expected, fits) = match self {
            Input::Last(size) => (format!("[.., {size}]"), shape.last() == Some(&size)),
            Input::Tokens(size) => (format!("[B, N, {size}]"), rank == 3 && shape[2] == size),
            Input::Images { channels, patch } => {
                let sides = match patch {
                    1 => String::new(),
                    _ => format!(" with H and W divisible by {patch}"),
                };
                let fits = rank == 4 && shape[1] == channels && shape[2..].iter().all(|s| s % patch == 0);
                (format!("[B, {channels}, H, W]{sides}"), fits)
            }
            Input::Times => ("[B]".to_string(), rank == 1),
            Input::Indices => return None,
        };
        let found = x.signature();
        (!fits).then(|| Error::argument(format!("expected an input {expected}, found a {found}")))
    }
}

/// Layer with its parameters, returned by the methods of a builder. Clones share the parameters.
#[derive(Debug, Clone)]
pub struct Layer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    kind: Kind,
    input: Input,
    parameters: Vec<(String, Tensor)>,
}

scripted!(
    Layer,
    "layer",
    |l| Display::text(l.to_string()),
    describe = |l| ("the", l.to_string()),
    bytes = |l| l.0.parameters.iter().map(|(_, p)| p.bytes()).sum(),
);

impl std::fmt::Display for Layer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shapes = self.0.parameters.iter().map(|(name, p)| format!("{name} {:?}", p.shape()));
        write!(f, "layer {}: {}", self.0.what, shapes.collect::<Vec<_>>().join(", "))
    }
}

impl Layer {
    /// Creates a layer of a kind, described in words by `what`, with the parameters that it created.
    pub fn new(what: String, (kind, input): (Kind, Input), parameters: Vec<(String, Tensor)>) -> Self {
        Self(Arc::new(Inner { what, kind, input, parameters }))
    }

    /// Returns the cause of an error in the words of the layer, if its input does not fit.
    fn explain(&self, x: &Tensor, error: Error) -> Error {
        if error.kind() == crate::error::Kind::Interrupted || is_out_of_memory(&error) {
            return error;
        }
        if let Some(wrong) = self.0.input.wrong_shape(x) {
            return wrong;
        }
        let own = self.0.parameters.first().map(|(_, parameter)| parameter.dtype());
        match (self.0.input, own) {
            (Input::Times | Input::Indices, _) | (_, None) => error,
            (_, Some(own)) if own == x.dtype() || is_autocasting(x.device()) => error,
            (_, Some(own)) => {
                let (own, found) = (own.name(), x.dtype().name());
                Error::argument(format!("expected an input of {own}, the dtype of the layer, found {found}"))
                    .hint(format!("convert it: `.to(\"{own}\")`"))
            }
        }
    }

    /// Returns an error unless the inputs are on the device of the parameters, if there are any.
    fn check_devices(&self, x: &Tensor, context: Option<&Tensor>, mask: Option<&Tensor>) -> Result<()> {
        let Some((_, own)) = self.0.parameters.first() else { return Ok(()) };
        let inputs = [("`x`", Some(x)), ("`context`", context), ("`mask`", mask)];
        let places = inputs.into_iter().filter_map(|(name, input)| Some((name, input?.device())));
        together("the layer", own.device(), places)
    }

    /// Applies the layer to its input.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_to(x, None, None)
    }

    /// Applies the layer to its input and, if it is attention to other tokens, to their `context` with a `mask`.
    pub fn forward_to(&self, x: &Tensor, context: Option<&Tensor>, mask: Option<&Tensor>) -> Result<Tensor> {
        if let (Some(_), false) = (context.or(mask), matches!(self.0.kind, Kind::CrossAttention(_))) {
            return Err(Error::argument(format!("the layer {} takes one input", self.0.what))
                .hint("only `b.cross_attention` takes a context and a mask"));
        }
        self.check_devices(x, context, mask).map_err(|e| e.context(&self.0.what))?;
        match &self.0.kind {
            Kind::Linear(layer) => layer.forward(x),
            Kind::Conv2d(layer) => layer.forward(x),
            Kind::ConvTranspose2d(layer) => layer.forward(x),
            Kind::Norm(layer) => layer.forward(x),
            Kind::RmsNorm(layer) => layer.forward(x),
            Kind::GroupNorm(layer) => layer.forward(x),
            Kind::Embedding(layer) => layer.forward(x),
            Kind::Attention(layer, rope) => match rope {
                Some(rope) => {
                    x.size(1).and_then(|tokens| rope.fits(tokens)).and_then(|()| layer.forward(x, Some(rope)))
                }
                None => layer.forward(x, None),
            },
            Kind::CrossAttention(layer) => match context {
                Some(context) => layer.forward(x, context, mask),
                None => Err(Error::argument("expected two inputs, found one")
                    .hint("attention to other tokens: `forward(x, context)`")),
            },
            Kind::Mlp(layer) => layer.forward(x),
            Kind::SwiGlu(layer) => layer.forward(x),
            Kind::PatchEmbed(layer) => layer.forward(x),
            Kind::TimestepEmbed(layer) => layer.forward(x),
            Kind::LabelEmbed(layer) => layer.forward(x),
        }
        .map_err(|e| self.explain(x, e).context(&self.0.what))
    }

    /// Returns its parameters with their full names.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.0.parameters
    }
}

/// Methods of a layer.
pub mod methods {
    use super::*;
    functions! { methods;
        /// Applies the layer to its input; gradients flow to the input and the parameters.
        ///
        /// Only `cross_attention` takes a `context` and a `mask`.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// let double = b.linear("double", 2, 2, #{ init: "identity" });
        /// assert_close(double.forward(tensor([[1.0, 2.0]])), [[1.0, 2.0]], 1e-7);
        /// ```
        fn forward(layer: Layer, x: Tensor, context: Option<Tensor>, mask: Option<Tensor>) -> Tensor {
            layer.forward_to(&x, context.as_ref(), mask.as_ref())
        }

        /// Returns the layer's parameters by their full names.
        ///
        /// The tensors are the layer's own: writing into one in place changes the layer.
        ///
        /// ```rhai
        /// let b = nn::builder();
        /// assert_eq(b.linear("out", 4, 2).parameters()["out.weight"].shape, [2, 4]);
        /// ```
        fn parameters(layer: Layer) -> Map {
            Ok(layer.parameters().iter().map(|(name, p)| (name.clone(), p.clone().into_value())).collect())
        }
    }
}
