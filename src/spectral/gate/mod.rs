//! Gates: what decides the coefficients of the low and the high band, one file each.
//!
//! To add a gate, write a file like `time.rs` and name it in `gates!` below. Its options give the script
//! constructor, the help, the printed form and the stored form.

use std::fmt;
use std::sync::Arc;

use crate::declare::function::plain;
use crate::declare::{Declaration, Display, Map, Options, Value};
use crate::error::Result;
use crate::nn::Builder;
use crate::scripted;
use crate::torch::Tensor;

use super::kind::{self, Kind};

mod network;

/// What a gate may look at: embeddings [B, D].
#[derive(Debug, Clone, Copy)]
pub struct Condition<'a> {
    /// The embedding of time.
    pub time: &'a Tensor,
    /// The sum of the embeddings of time and label, which DiT calls `c`.
    pub time_label: &'a Tensor,
}

/// A gate with its parameters, inside one block.
pub trait GateLayer: fmt::Debug + Send + Sync {
    /// Coefficients [B, 2]: of the low band, of the high band.
    fn forward(&self, condition: &Condition) -> Result<Tensor>;
}

/// What a gate's file implements.
pub trait GateKind: fmt::Debug + Send + Sync {
    /// Makes the gate of one block; its parameters have names that start with `name`.
    fn layer(&self, builder: &mut Builder, name: &str, hidden: i64) -> Result<Box<dyn GateLayer>>;

    /// How many parameters the gate of one block has.
    fn parameters(&self, hidden: i64) -> i64;

    /// Multiplications with a weight for one sample in one block.
    fn multiplications(&self, hidden: i64) -> i64;
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
        self.to_map()
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
        Ok(Self(Arc::new(spec)))
    }

    /// The name of its kind: `time`.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// Its options, defaults included.
    pub fn options(&self) -> Map {
        self.0.options()
    }

    /// Makes the gate of one block; its parameters have names that start with `name`.
    pub fn layer(&self, builder: &mut Builder, name: &str, hidden: i64) -> Result<Box<dyn GateLayer>> {
        self.0.layer(builder, name, hidden)
    }

    /// How many parameters the gate of one block has.
    pub fn parameters(&self, hidden: i64) -> i64 {
        self.0.parameters(hidden)
    }

    /// Multiplications with a weight for one sample in one block.
    pub fn multiplications(&self, hidden: i64) -> i64 {
        self.0.multiplications(hidden)
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
        write!(f, "gate::{}({:?})", self.name(), Value::Map(self.options()))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Equal kinds with equal options.
impl PartialEq for Gate {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
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
}

#[cfg(test)]
mod tests;
