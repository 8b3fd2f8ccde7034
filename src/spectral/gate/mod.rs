//! Gates: what decides the coefficients of the bands, one file each.
//!
//! To add a gate, write a file like `time.rs` and name it in `gates!` below. Its options give the script
//! constructor, the help, the printed form and the stored form.

use std::fmt;
use std::sync::Arc;

use crate::context::Context;
use crate::declare::function::plain;
use crate::declare::{Code, Declaration, Display, Map, Options, Value};
use crate::error::{Error, Result};
use crate::nn::Builder;
use crate::scripted;
use crate::torch::Tensor;

use super::kind::{self, Kind};

mod given;
mod network;

/// What a gate may look at: the times `[B]` and embeddings [B, D].
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    /// The times as the model was given them.
    pub t: &'a Tensor,
    /// The embedding of time.
    pub time: &'a Tensor,
    /// The sum of the embeddings of time and label, which DiT calls `c`.
    pub time_label: &'a Tensor,
}

/// How wide what a gate looks at is, and what it weights.
#[derive(Debug, Clone, Copy)]
pub struct Width {
    /// Of the embeddings.
    pub embedding: i64,
    /// Of what is corrected: the same, unless that is an image.
    pub channels: i64,
}

/// A gate with its parameters, inside one block.
pub trait GateLayer: fmt::Debug + Send + Sync {
    /// Coefficients of the bands, the lowest first: [B, k], or [B, k, D] where each channel has its own.
    fn forward(&self, condition: &Condition) -> Result<Tensor>;
}

/// What a gate's file implements.
pub trait GateKind: fmt::Debug + Send + Sync {
    /// Checks what the ranges of the options cannot say.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The number of bands where the options fix it.
    fn bands(&self) -> Option<i64> {
        None
    }

    /// Code of the user's that it calls, where it does.
    fn code(&self) -> Option<&Code> {
        None
    }

    /// The same with its code compiled, where it has some.
    fn compiled(&self, _: &Context) -> Result<Option<Gate>> {
        Ok(None)
    }

    /// The options to print and store: those that are not used are left out.
    fn shown(&self, options: Map) -> Map {
        options
    }

    /// Makes the gate of one block for tokens of a width; its parameters have names that start with `name`.
    fn layer(
        &self,
        builder: &mut Builder,
        name: &str,
        bands: i64,
        width: Width,
    ) -> Result<Box<dyn GateLayer>>;

    /// How many parameters the gate of one block has.
    fn parameters(&self, bands: i64, width: Width) -> i64;

    /// Multiplications with a weight for one sample in one block.
    fn multiplications(&self, bands: i64, width: Width) -> i64;
}

/// The values of the option `per`: whether a band has one coefficient, or one for each channel.
const PER: &[&str] = &["band", "channel"];

/// How many coefficients an image has, and in which shape.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    bands: i64,
    /// Of the tokens, where each has coefficients of its own.
    channels: Option<i64>,
}

impl Coefficients {
    fn new(per: &str, bands: i64, width: Width) -> Self {
        Self { bands, channels: (per == "channel").then_some(width.channels) }
    }

    fn count(self) -> i64 {
        self.bands * self.channels.unwrap_or(1)
    }

    /// [k] or [k, D].
    fn shape(self) -> Vec<i64> {
        [Some(self.bands), self.channels].into_iter().flatten().collect()
    }

    /// [B, k] or [B, k, D].
    fn shape_for(self, batch: i64) -> Vec<i64> {
        [vec![batch], self.shape()].concat()
    }
}

/// Leaves out `per` at its default, so that gates print and are stored as they were before they had it.
fn without_default_per(mut options: Map) -> Map {
    options.retain(|name, value| name != "per" || !matches!(value, Value::Str(per) if per == PER[0]));
    options
}

/// Small numbers as words.
fn in_words(number: i64) -> String {
    let words = ["zero", "one", "two", "three", "four", "five", "six"];
    usize::try_from(number).ok().and_then(|i| words.get(i)).map_or(number.to_string(), ToString::to_string)
}

/// `two bands`.
fn counted(bands: i64) -> String {
    format!("{} band{}", in_words(bands), if bands == 1 { "" } else { "s" })
}

/// A gate whose kind has been forgotten.
trait Erased: GateKind {
    fn name(&self) -> &'static str;
    fn options(&self) -> Map;
}

impl<T: GateKind + Kind> Erased for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn options(&self) -> Map {
        self.shown(self.to_map())
    }
}

/// A gate: a value that prints, compares and is stored by its kind and options.
#[derive(Clone)]
pub struct Gate(Arc<dyn Erased>);

scripted!(
    Gate,
    "gate",
    |g| Display::text(g.to_string()),
    describe = |g| format!("the gate {g}"),
    data = |g| Some(g.to_data()),
);

impl Gate {
    /// Checks the options and makes a gate of them.
    pub fn new(spec: impl GateKind + Kind + 'static) -> Result<Self> {
        Options::check(&spec)?;
        GateKind::check(&spec)?;
        Ok(Self(Arc::new(spec)))
    }

    /// The name of its kind: `time`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Its options; `per` and `values` where they are set, the others with their defaults.
    pub fn options(&self) -> Map {
        self.0.options()
    }

    /// Whether it calls code of the user's in every forward.
    pub fn calls_code(&self) -> bool {
        self.0.code().is_some()
    }

    /// Why its code cannot be stored, where that is so.
    pub fn not_stored(&self) -> Option<Error> {
        self.0.code().and_then(|code| code.to_data().err())
    }

    /// The same with its code compiled, where it came from a file.
    pub fn compiled(&self, context: &Context) -> Result<Self> {
        let compiled = self.0.compiled(context).map_err(|e| e.context(self.to_string()))?;
        Ok(compiled.unwrap_or_else(|| self.clone()))
    }

    /// Fails unless the gate can weight this many bands.
    pub fn check_bands(&self, bands: i64) -> Result<()> {
        match self.0.bands() {
            Some(own) if own != bands => {
                Err(Error::argument(format!("a gate for {} on {}", counted(own), in_words(bands))).hint(
                    format!("{self} has one coefficient for each of its bands; n filters make n + 1 bands"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Makes the gate of one block for tokens of a width; its parameters have names that start with `name`.
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

    /// How many parameters the gate of one block has.
    pub fn parameters(&self, bands: i64, width: Width) -> i64 {
        self.0.parameters(bands, width)
    }

    /// Multiplications with a weight for one sample in one block.
    pub fn multiplications(&self, bands: i64, width: Width) -> i64 {
        self.0.multiplications(bands, width)
    }

    /// Its kind and options as data.
    pub fn to_data(&self) -> Value {
        kind::stored(self.name(), self.options())
    }

    /// The gate that [`Gate::to_data`] stored.
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

/// Equal kinds with equal options; code that is not stored is equal to itself alone.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.code(), other.0.code()) {
            (Some(a), Some(b)) => self.name() == other.name() && a == b,
            _ => self.to_string() == other.to_string(),
        }
    }
}

/// Names every gate: the module, its constructor for Rust users, and its options.
macro_rules! gates {
    ($($name:ident: $spec:ident),* $(,)?) => {
        $(
            mod $name;
            pub use $name::$spec;

            impl Kind for $spec {
                const NAME: &'static str = plain(stringify!($name));
            }

            #[doc = concat!("Makes a `", stringify!($name), "` gate; [`", stringify!($spec), "`] says what it does.")]
            pub fn $name(spec: $spec) -> Result<Gate> {
                Gate::new(spec)
            }
        )*

        /// The names of all gates.
        pub const NAMES: &[&str] = &[$(<$spec as Kind>::NAME),*];

        /// The constructors of all gates for Rust programs, with options as scripts write them.
        pub mod rust {
            $(pub use super::$name::rust::*;)*
        }

        /// The script constructors of all gates.
        pub fn declarations() -> Vec<&'static Declaration> {
            [$($name::declarations()),*].into_iter().flatten().collect()
        }

        fn restore(name: &str, options: &Map) -> Result<Gate> {
            match name {
                $(name if name == <$spec as Kind>::NAME => Gate::new($spec::from_map(options)?),)*
                other => Err(kind::unknown("gate", other, NAMES)),
            }
        }
    };
}

gates! {
    time: Time,
    time_label: TimeLabel,
    r#static: Static,
    constant: Constant,
    schedule: Schedule,
    custom: Custom,
}

#[cfg(test)]
mod tests;
