//! Distributions of the training times t, one file each.
//!
//! To add one, write a file like `logit_normal.rs` and add it to `kinds!` below. The script constructor, the help,
//! the printed form and the stored form follow from its options.

use std::fmt;
use std::sync::Arc;

use crate::declare::{Declaration, Display, FromValue, IntoValue, Map, Object, Scripted, Value};
use crate::document::Document;
use crate::error::{Error, Result};
use crate::flow::shift::{shifted_all, unshifted_all};
use crate::spectral::kind::{Kind, read_stored, stored, unknown};
use crate::torch::{DType, Device, Generator, Tensor};

/// A distribution of times in [0, 1].
pub trait Draw: fmt::Debug + Send + Sync {
    /// Draws `count` times `[B]`, float32 in [0, 1], on `device`, before the shift.
    fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor>;

    /// Returns the probability density at times t `[B]`, float64 in [0, 1], before the shift.
    fn density(&self, t: &Tensor) -> Result<Tensor>;
}

/// A distribution with the option `shift`, which every one has.
pub trait Shifted: Draw + Kind {
    /// Returns the factor of the noise levels.
    fn shift(&self) -> f64;
}

/// Type-erased distribution.
trait AnyDraw: Draw {
    fn name(&self) -> &'static str;
    fn options(&self) -> Map;
    fn shift(&self) -> f64;
}

impl<T: Shifted> AnyDraw for T {
    fn name(&self) -> &'static str {
        T::NAME
    }
    fn options(&self) -> Map {
        let mut options = self.to_map();
        // Checkpoints from before this option leave it out, and must stay comparable.
        if Shifted::shift(self) == 1.0 {
            options.remove("shift");
        }
        options
    }
    fn shift(&self) -> f64 {
        Shifted::shift(self)
    }
}

/// Declares every kind: its module, its constructor, and its options.
macro_rules! kinds {
    ($($name:ident: $spec:ident),* $(,)?) => {
        $(
            mod $name;
            pub use self::$name::{$name, $spec};

            impl Kind for $spec {
                const NAME: &'static str = stringify!($name);
            }

            impl Shifted for $spec {
                fn shift(&self) -> f64 {
                    self.shift
                }
            }
        )*

        /// Names of all kinds.
        pub const NAMES: &[&str] = &[$(<$spec as Kind>::NAME),*];

        /// Returns the script constructors of all kinds.
        pub(crate) fn declarations() -> Vec<&'static Declaration> {
            [$($name::declarations()),*].into_iter().flatten().collect()
        }

        impl Timesteps {
            /// Restores a sampler from stored data.
            pub fn from_data(data: &Value) -> Result<Self> {
                let (name, options) = read_stored("timestep sampler", data)?;
                match name.as_str() {
                    $(stringify!($name) => Self::new(<$spec as crate::declare::Options>::from_map(&options)?),)*
                    other => Err(unknown("timestep sampler", other, NAMES)),
                }
            }

            /// Returns the kind of that name with its default options.
            pub fn named(name: &str) -> Result<Self> {
                match name {
                    $(stringify!($name) => Self::new($spec::default()),)*
                    other => Err(unknown("timestep sampler", other, NAMES)),
                }
            }
        }
    };
}

kinds! {
    uniform: Uniform,
    logit_normal: LogitNormal,
    mode: Mode,
    cosmap: Cosmap,
    edm: Edm,
}

/// A timestep sampler, as returned by `flow::uniform` and similar functions. Clones share it.
#[derive(Clone)]
pub struct Timesteps(Arc<dyn AnyDraw>);

impl Timesteps {
    /// Checks the options and creates a sampler from them.
    pub fn new(spec: impl Shifted + 'static) -> Result<Self> {
        spec.check()?;
        Ok(Self(Arc::new(spec)))
    }

    /// Draws `count` times `[B]`, float32 in [0, 1], on `device`.
    pub fn draw(&self, count: i64, device: Device, generator: Option<&Generator>) -> Result<Tensor> {
        if count < 0 {
            return Err(Error::argument(format!("expected a count of at least 0, found {count}")));
        }
        shifted_all(&self.0.draw(count, device, generator)?, self.0.shift())
    }

    /// Returns the probability density at times t in [0, 1], in float64.
    pub fn density(&self, t: &Tensor) -> Result<Tensor> {
        let (t, slope) = unshifted_all(&t.to_dtype(DType::Float64)?, self.0.shift())?;
        self.0.density(&t)?.mul(&slope)
    }
}

impl Default for Timesteps {
    fn default() -> Self {
        Self(Arc::new(Uniform::default()))
    }
}

/// Prints the sampler as written in a script.
impl fmt::Debug for Timesteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = self.0.options();
        match options.is_empty() {
            true => write!(f, "flow::{}()", self.0.name()),
            false => write!(f, "flow::{}({:?})", self.0.name(), Value::Map(options)),
        }
    }
}

impl Scripted for Timesteps {
    const NAME: &'static str = "timesteps";
}

// Written out, since `scripted!` reads only handles and this type also reads names.
impl Object for Timesteps {
    fn type_name(&self) -> &'static str {
        Self::NAME
    }
    fn display(&self) -> Display {
        Display::text(format!("{self:?}"))
    }
    fn document(&self, _: Option<usize>) -> Option<Document> {
        Some(Document::code(&format!("{self:?}")))
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn to_data(&self) -> Option<Value> {
        Some(stored(self.0.name(), self.0.options()))
    }
}

impl From<&Timesteps> for Timesteps {
    fn from(handle: &Timesteps) -> Self {
        handle.clone()
    }
}

/// Reads a handle or the name of a kind.
impl FromValue for Timesteps {
    fn label() -> String {
        "timesteps or string".to_string()
    }
    fn receiver() -> Option<&'static str> {
        Some(Self::NAME)
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Str(name) => Self::named(name),
            other => other.downcast().ok_or_else(|| {
                other.mismatch("a timestep sampler such as \"uniform\" or flow::logit_normal(#{})")
            }),
        }
    }
    fn from_stored(value: &Value) -> Result<Self> {
        match value {
            Value::Map(_) => Self::from_data(value),
            other => Self::from_value(other),
        }
    }
}

impl IntoValue for Timesteps {
    fn label() -> String {
        Self::NAME.to_string()
    }
    fn into_value(self) -> Value {
        Value::Object(Arc::new(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_draws_times_between_0_and_1_and_repeats_with_its_seed() {
        for name in NAMES {
            let kind = Timesteps::named(name).unwrap();
            let draw = |seed| {
                let generator = Generator::new(seed, Device::Cpu).unwrap();
                kind.draw(1000, Device::Cpu, Some(&generator)).unwrap()
            };
            let t = draw(5);
            assert!(t.equal(&draw(5)).unwrap() && !t.equal(&draw(6)).unwrap(), "{name}");
            assert!(t.to_f64().unwrap().iter().all(|t| (0.0..=1.0).contains(t)), "{name}");
        }
    }

    /// The fraction of the times in each tenth is the integral of the density over it.
    #[test]
    fn times_have_their_density_with_and_without_a_shift() {
        for (name, shift) in NAMES.iter().flat_map(|name| [(name, 1.0), (name, 3.0), (name, 0.5)]) {
            let options = Map::from([("shift".to_string(), Value::Float(shift))]);
            let kind = Timesteps::from_data(&stored(name, options)).unwrap();
            let generator = Generator::new(5, Device::Cpu).unwrap();
            let t = kind.draw(200_000, Device::Cpu, Some(&generator)).unwrap().to_f64().unwrap();
            let points: Vec<f64> = (0..10_000).map(|i| (f64::from(i) + 0.5) / 10_000.0).collect();
            let points = Tensor::from_f64(&points, &[10, 1000]).unwrap();
            let expected = kind.density(&points).unwrap().mean(&[1], false).unwrap().to_f64().unwrap();
            for (tenth, expected) in expected.iter().enumerate() {
                let inside = t.iter().filter(|t| (**t * 10.0) as usize == tenth).count() as f64;
                let found = inside / t.len() as f64;
                assert!((found - expected / 10.0).abs() < 0.005, "{name} {shift}: {found} in tenth {tenth}");
            }
        }
    }

    #[test]
    fn a_shift_moves_the_times_and_is_stored() {
        let draw = |options: Map| {
            let kind = Timesteps::from_data(&stored("logit_normal", options)).unwrap();
            let generator = Generator::new(5, Device::Cpu).unwrap();
            (kind.draw(100, Device::Cpu, Some(&generator)).unwrap(), kind)
        };
        let shift = Map::from([("shift".to_string(), Value::Float(3.0))]);
        let ((usual, plain), (moved, kind)) = (draw(Map::new()), draw(shift));
        assert!(moved.equal(&shifted_all(&usual, 3.0).unwrap()).unwrap());
        assert_eq!(format!("{kind:?}"), "flow::logit_normal(#{ mean: 0.0, shift: 3.0, std: 1.0 })");
        let again = Timesteps::from_data(&kind.to_data().unwrap()).unwrap();
        assert_eq!(format!("{kind:?}"), format!("{again:?}"));
        // As stored by versions without this option.
        let data = format!("{:?}", plain.to_data().unwrap());
        assert!(!data.contains("shift"), "{data}");
    }

    #[test]
    fn a_name_or_a_handle_is_taken() {
        let by_name = Timesteps::from_value(&Value::Str("logit_normal".into())).unwrap();
        let handle = Timesteps::from_value(&by_name.clone().into_value()).unwrap();
        assert_eq!(format!("{by_name:?}"), format!("{handle:?}"));
        let again = Timesteps::from_data(&by_name.to_data().unwrap()).unwrap();
        assert_eq!(format!("{by_name:?}"), format!("{again:?}"));
        let error = Timesteps::from_value(&Value::Str("unifrom".into())).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `uniform`?"));
    }
}
