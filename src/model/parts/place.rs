//! Places of a DiT where parts can be inserted.

use std::fmt;

use crate::declare::{Allowed, FromValue, IntoValue, Value};
use crate::document::{Block, Column, Document, Line, Look, Table};
use crate::error::{Error, Result};

/// A place; variants are in the order of the data flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The noisy image.
    Image,
    /// Tokens with their positions.
    Tokens,
    /// The embedding of time and label.
    Condition,
    /// Around several blocks.
    Span,
    /// Coefficients of a block.
    Modulation,
    /// Input of attention.
    NormAttn,
    /// Around attention.
    Attention,
    /// Queries and keys.
    Qk,
    /// Attention of the heads.
    Attend,
    /// Output of all heads.
    Heads,
    /// Residual of attention.
    Attn,
    /// Input of the MLP.
    NormMlp,
    /// Around the MLP.
    FeedForward,
    /// Hidden units of the MLP.
    Hidden,
    /// Residual of the MLP.
    Mlp,
    /// Output of a block.
    Block,
    /// Output of the model.
    Velocity,
    /// Weights of linear maps.
    Weight,
}

/// Description of a place.
pub struct About {
    /// Name in scripts.
    pub name: &'static str,
    /// Shape of what a part takes and returns there.
    pub shape: &'static str,
    /// Description of the value there.
    pub what: &'static str,
}

/// All places, in order.
pub const PLACES: [Place; 18] = [
    Place::Image,
    Place::Tokens,
    Place::Condition,
    Place::Span,
    Place::Modulation,
    Place::NormAttn,
    Place::Attention,
    Place::Qk,
    Place::Attend,
    Place::Heads,
    Place::Attn,
    Place::NormMlp,
    Place::FeedForward,
    Place::Hidden,
    Place::Mlp,
    Place::Block,
    Place::Velocity,
    Place::Weight,
];

/// Places of the modules of a block.
pub const MODULES: [Place; 5] =
    [Place::Modulation, Place::NormAttn, Place::Attention, Place::NormMlp, Place::FeedForward];

/// Names of all places, in order.
pub const NAMES: [&str; PLACES.len()] = {
    let mut names = [""; PLACES.len()];
    let mut i = 0;
    while i < names.len() {
        names[i] = PLACES[i].about().name;
        i += 1;
    }
    names
};

impl Place {
    /// Returns the description of the place.
    pub const fn about(self) -> About {
        let (name, shape, what) = match self {
            Place::Image => ("image", "[B, C, H, W]", "x_t, the noisy image, before it is cut into patches"),
            Place::Tokens => ("tokens", "[B, N, D]", "the tokens, once their positions were added"),
            Place::Condition => {
                ("condition", "[B, D]", "the embedding c, the sum of the embeddings of time and label")
            }
            Place::Span => {
                ("span", "[B, N, D]", "the input of the given blocks, which the part runs with `c.inner(x)`")
            }
            Place::Modulation => (
                "modulation",
                "#{ shift_attn, .. }, [B, 1, D] each",
                "the shift, scale and gate of attention, and those of the MLP, that the adaLN of a block computes",
            ),
            Place::NormAttn => {
                ("norm_attn", "[B, N, D]", "the input of attention: the normalized and modulated tokens")
            }
            Place::Attention => (
                "attention",
                "[B, N, D]",
                "the input of attention, which the part runs with `c.inner(x)`; it returns the output",
            ),
            Place::Qk => (
                "qk",
                "#{ q, k }, [B, heads, N, D / heads]",
                "the queries and keys after `qk_norm`, before attention multiplies them",
            ),
            Place::Attend => (
                "attend",
                "#{ q, k, v } to [B, heads, N, D / heads]",
                "queries, keys and values of attention, which the part mixes, or runs with `c.inner(x)`",
            ),
            Place::Heads => {
                ("heads", "[B, N, D]", "the mixed values of all heads, before the output map of attention")
            }
            Place::Attn => {
                ("attn", "[B, N, D]", "the gated residual of attention, before it is added to the stream")
            }
            Place::NormMlp => {
                ("norm_mlp", "[B, N, D]", "the input of the MLP: the normalized and modulated tokens")
            }
            Place::FeedForward => (
                "feed_forward",
                "[B, N, D]",
                "the input of the MLP, which the part runs with `c.inner(x)`; it returns the output",
            ),
            Place::Hidden => (
                "hidden",
                "[B, N, inner]",
                "the hidden units of the MLP after the activation, before its last map",
            ),
            Place::Mlp => {
                ("mlp", "[B, N, D]", "the gated residual of the MLP, before it is added to the stream")
            }
            Place::Block => ("block", "[B, N, D]", "the output of a block"),
            Place::Velocity => (
                "velocity",
                "[B, C, H, W]",
                "the output: the velocity, unless the path predicts something else",
            ),
            Place::Weight => (
                "weight",
                "[outputs, inputs]",
                "the weights of linear maps, instead of which each forward pass uses what the part returns",
            ),
        };
        About { name, shape, what }
    }

    /// Returns the place of that name.
    pub fn named(name: &str) -> Result<Self> {
        PLACES.into_iter().find(|p| p.about().name == name).ok_or_else(|| {
            let error = Error::argument(format!("there is no place called \"{name}\""));
            let near = crate::error::nearest(name, NAMES);
            match near {
                Some(_) => error.did_you_mean(name, NAMES),
                None => error.hint(format!("a model has the places {}", crate::error::list(&NAMES))),
            }
        })
    }

    /// Checks that a custom network has the place; the error names what is there as the given part.
    pub fn check_of_network(self, part: impl fmt::Display) -> Result<()> {
        if matches!(self, Place::Image | Place::Velocity | Place::Weight) {
            return Ok(());
        }
        Err(Error::argument(format!(
            "a custom network has the places `image`, `velocity` and `weight`, found the {part}"
        ))
        .hint("blocks take parts themselves, as in `b.dit_block(name, width, heads, #{ parts: .. })`"))
    }

    /// Returns whether the place exists in each block, so that a part can be in some of them.
    pub fn in_blocks(self) -> bool {
        !matches!(self, Place::Image | Place::Tokens | Place::Condition | Place::Velocity)
    }

    /// Returns whether the value there lies on a grid, so that a filter applies.
    pub fn on_grid(self) -> bool {
        !matches!(
            self,
            Place::Condition
                | Place::Span
                | Place::Modulation
                | Place::Attention
                | Place::Qk
                | Place::Attend
                | Place::FeedForward
                | Place::Weight
        )
    }

    /// Returns an error unless the place is that of a module of a block, which a part can replace.
    pub fn check_replaced(self) -> Result<()> {
        if MODULES.contains(&self) {
            return Ok(());
        }
        let modules = MODULES.map(|place| place.about().name);
        Err(Error::argument(format!("the part replaces a module, and there is none at `{self}`"))
            .hint(format!("a part with `replaces: true` stands at {}", crate::error::list(&modules))))
    }

    /// Returns the place of the module inside of which the place is, if any.
    pub fn module(self) -> Option<Self> {
        match self {
            Place::Qk | Place::Attend | Place::Heads => Some(Place::Attention),
            Place::Hidden => Some(Place::FeedForward),
            _ => None,
        }
    }
}

/// Reads the name of a place.
impl FromValue for Place {
    fn label() -> String {
        "string".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(name) => Self::named(name),
            other => Err(other.mismatch("the name of a place, such as \"attn\"")),
        }
    }
    fn allowed() -> Allowed {
        Allowed::OneOf(&NAMES)
    }
}

impl IntoValue for Place {
    fn label() -> String {
        "string".to_string()
    }
    fn into_value(self) -> Value {
        Value::Str(self.to_string())
    }
}

/// Returns a help page on all places.
pub fn page() -> Document {
    let mut table = Table::new(Look::Open, vec![Column::left().after(2); 3]);
    for place in PLACES {
        let About { name, shape, what } = place.about();
        table.push([name, shape, what]);
    }
    let first = "The places of a DiT for parts, in the order of the data flow:";
    let last = "Put a part there with `.at(NAME)`; places from `span` to `block` are in blocks and take \
                `#{ blocks: 2..4 }`, and `weight` takes `#{ names: \"*.attn.*\" }` as well. A part with \
                `replaces: true` stands for the module at its place: `help(\"nn::part\")`.";
    Document::of(Block::Lines(vec![first.into()]))
        .with(Block::Gap)
        .with(Block::Table(table))
        .with(Block::Gap)
        .with(Block::Lines(vec![Line::quoted(last)]))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.about().name)
    }
}
