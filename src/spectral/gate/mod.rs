//! Gates that compute the coefficients of the bands, one file each.
//!
//! To add a gate, write a file like `time.rs` and add it to `kinds!` below. The script constructor, the help, the
//! printed form and the stored form follow from its options.

use std::fmt;
use std::sync::Arc;

use crate::context::Context;
use crate::declare::{Choice, Code, Display, Map, Options, Value};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::Tensor;

use super::kind::{self, Kind, kinds};

pub(crate) mod api;
mod given;
mod network;

pub use network::NetworkOptions;

/// Input of a gate: the times `[B]` and embeddings [B, D]; and the grid of the tokens, which filters read.
///
/// Where each token has a time of its own, times are [B, N] and embeddings [B, N, D].
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    /// The times in [0, 1], even if the model takes diffusion steps.
    pub t: &'a Tensor,
    /// The embedding of time.
    pub time: &'a Tensor,
    /// The sum of the embeddings of time and label, which DiT calls `c`.
    pub time_label: &'a Tensor,
    /// Height and width of the grid of tokens; `None` is the grid that the model was built for.
    pub grid: Option<[i64; 2]>,
}

impl Condition<'_> {
    /// Returns whether each token has a time of its own, and so coefficients of its own.
    pub fn is_of_tokens(&self) -> bool {
        self.time.rank() == 3
    }

    /// Returns the shape of what has coefficients of its own: `[B]`, or [B, N].
    fn rows(&self) -> Vec<i64> {
        let mut shape = self.time.shape();
        shape.pop();
        shape
    }

    /// Returns coefficients [B, N, ..] of tokens for each place of the grid [B, H W, ..], which has several places for a
    /// token if it is that of the pixels. Coefficients of images are returned as they are.
    pub fn on_grid(&self, coefficients: Tensor) -> Result<Tensor> {
        let (Some([height, width]), true) = (self.grid, self.is_of_tokens()) else { return Ok(coefficients) };
        let (batch, tokens) = (coefficients.size(0)?, coefficients.size(1)?);
        let side = ((height * width / tokens.max(1)) as f64).sqrt() as i64;
        if side <= 1 {
            return Ok(coefficients);
        }
        let rest = coefficients.shape().split_off(2);
        let of = |grid: [i64; 4]| [&[batch][..], &grid, &rest].concat();
        let [rows, columns] = [height / side, width / side];
        coefficients
            .reshape(&of([rows, 1, columns, 1]))?
            .expand(&of([rows, side, columns, side]))?
            .reshape(&[&[batch, height * width][..], &rest].concat())
    }
}

/// Widths of a gate's input and of the values that it weights.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// Width of the embeddings.
    pub embedding: i64,
    /// Width of the corrected values: the same, unless they are an image.
    pub channels: i64,
}

/// A gate with its parameters, inside one block.
pub trait GateLayer: fmt::Debug + Send + Sync {
    /// Computes the coefficients of the bands, the lowest first: [B, k], or [B, k, D] if each channel has its own. Where each
    /// token has a time of its own, they are [B, N, k] or [B, N, k, D].
    fn forward(&self, condition: &Condition) -> Result<Tensor>;
}

/// Interface that every gate file implements.
pub trait GateKind: fmt::Debug + Send + Sync {
    /// Checks constraints that the ranges of the options cannot express.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Returns the number of bands if the options fix it.
    fn bands(&self) -> Option<i64> {
        None
    }

    /// Returns the user code that it calls, if any.
    fn code(&self) -> Option<&Code> {
        None
    }

    /// Returns a copy with its code compiled, if it has code.
    fn compiled(&self, _: &Context) -> Result<Option<Gate>> {
        Ok(None)
    }

    /// Selects the options to print and store, without unused ones.
    fn shown(&self, options: Map) -> Map {
        options
    }

    /// Builds the gate of one block for tokens of a given width; its parameter names start with `name`.
    fn layer(
        &self,
        builder: &mut Builder,
        name: &str,
        bands: i64,
        width: Width,
    ) -> Result<Box<dyn GateLayer>>;

    /// Returns the number of parameters of the gate in one block.
    fn parameters(&self, bands: i64, width: Width) -> i64;

    /// Returns the number of multiplications with a weight for one sample in one block.
    fn multiplications(&self, bands: i64, width: Width) -> i64;
}

/// What has a coefficient of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Per {
    /// Each band.
    #[default]
    Band,
    /// Each band and channel of the tokens.
    Channel,
}

/// Number and shape of the coefficients of one image.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    bands: i64,
    /// Channels of the tokens, if each has its own coefficients.
    channels: Option<i64>,
}

impl Coefficients {
    fn new(per: Per, bands: i64, width: Width) -> Self {
        Self { bands, channels: (per == Per::Channel).then_some(width.channels) }
    }

    fn count(self) -> i64 {
        self.bands * self.channels.unwrap_or(1)
    }

    /// Returns the shape `[k]` or `[k, D]`.
    fn shape(self) -> Vec<i64> {
        [Some(self.bands), self.channels].into_iter().flatten().collect()
    }

    /// Returns the shape `[.., k]` or `[.., k, D]` for rows `[B]` or [B, N].
    fn shape_for(self, rows: &[i64]) -> Vec<i64> {
        [rows, &self.shape()].concat()
    }
}

/// Removes `per` if it has its default, so that gates print and are stored as before this option existed.
fn without_default_per(mut options: Map) -> Map {
    options
        .retain(|name, value| name != "per" || !matches!(value, Value::Str(per) if per == Per::Band.name()));
    options
}

/// Spells out small numbers.
fn in_words(number: i64) -> String {
    let words = ["zero", "one", "two", "three", "four", "five", "six"];
    usize::try_from(number).ok().and_then(|i| words.get(i)).map_or(number.to_string(), ToString::to_string)
}

/// Formats a number of bands, such as `two bands`.
fn counted(bands: i64) -> String {
    format!("{} band{}", in_words(bands), if bands == 1 { "" } else { "s" })
}

/// Type-erased gate kind.
trait AnyGate: GateKind {
    fn name(&self) -> &'static str;
    fn options(&self) -> Map;
}

impl<T: GateKind + Kind> AnyGate for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn options(&self) -> Map {
        self.shown(self.to_map())
    }
}

/// A gate; a value that is printed, compared and stored by its kind and options.
#[derive(Clone)]
pub struct Gate(Arc<dyn AnyGate>);

scripted!(
    Gate,
    "gate",
    |g| Display::text(g.to_string()),
    document = |g, _| Document::code(&g.to_string()),
    describe = |g| ("the gate", g.to_string()),
    data = |g| Some(g.to_data()),
    restore = Gate::from_data,
);

impl Gate {
    /// Checks the options and creates a gate from them.
    pub fn new(spec: impl GateKind + Kind + 'static) -> Result<Self> {
        Options::check(&spec)?;
        GateKind::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    /// Returns the name of its kind, such as `time`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Returns its options: `per` and `values` only if they are set, the others including defaults.
    pub fn options(&self) -> Map {
        self.0.options()
    }

    /// Returns the user code that it calls in every forward pass, if any.
    pub fn code(&self) -> Option<&Code> {
        self.0.code()
    }

    /// Returns a copy with its code compiled if it was read from a file.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        let compiled = self.0.compiled(context).map_err(|e| e.context(self.to_string()))?;
        Ok(compiled.unwrap_or_else(|| self.clone()))
    }

    /// Returns an error unless the gate can weight this number of bands.
    pub fn check_bands(&self, bands: i64) -> Result<()> {
        match self.0.bands() {
            Some(own) if own != bands => {
                let what = format!("a gate for {} cannot weight {}", counted(own), in_words(bands));
                Err(Error::argument(what).hint(format!(
                    "{self} has one coefficient for each of its bands; n filters make n + 1 bands"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Builds the gate of one block for tokens of a given width; its parameter names start with `name`.
    pub fn layer(
        &self,
        builder: &mut Builder,
        name: &str,
        bands: i64,
        width: Width,
    ) -> Result<Box<dyn GateLayer>> {
        self.check_bands(bands)?;
        self.0.layer(builder, name, bands, width)
    }

    /// Returns the number of parameters of the gate in one block.
    pub fn parameters(&self, bands: i64, width: Width) -> i64 {
        self.0.parameters(bands, width)
    }

    /// Returns the number of multiplications with a weight for one sample in one block.
    pub fn multiplications(&self, bands: i64, width: Width) -> i64 {
        self.0.multiplications(bands, width)
    }

    /// Returns its kind and options as data.
    pub fn to_data(&self) -> Value {
        kind::stored(self.name(), self.options())
    }

    /// Restores a gate from the output of [`Gate::to_data`].
    pub fn from_data(data: &Value) -> Result<Self> {
        let (name, options) = kind::read_stored("gate", data)?;
        restore(&name, &options).map_err(|e| e.context(format!("gate `{name}`")))
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code() {
            Some(code) => write!(f, "gate::{}(<{code}>)", self.name()),
            None => write!(f, "gate::{}({:?})", self.name(), Value::Map(self.options())),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Gates are equal if their kinds and options are; code that is not stored is equal only to itself.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.code(), other.0.code()) {
            (Some(a), Some(b)) => self.name() == other.name() && a == b,
            _ => self.to_string() == other.to_string(),
        }
    }
}

kinds! { "gate", Gate:
    time: Time,
    time_label: TimeLabel,
    r#static: Static,
    constant: Constant,
    schedule: Schedule,
    custom: Custom,
}

#[cfg(test)]
mod tests;
