//! Description of any model: a DiT's configuration, or a user-defined network.

use super::custom::{CustomNetwork, MAKE};
use super::parts::Part;
use super::{Config, accounting};
use crate::context::Context;
use crate::declare::{Code, Map, Options, Value};
use crate::error::{Error, Result};
use crate::spectral::Correction;
use crate::torch::DType;

/// Description of a model.
#[derive(Debug, Clone, PartialEq)]
pub enum Design {
    /// A DiT, or with corrections a SpectralDiT.
    Dit(Config),
    /// A user-defined network.
    Custom(CustomNetwork),
}

impl Design {
    /// Returns the channels, height and width of the images.
    pub fn image_shape(&self) -> [i64; 3] {
        match self {
            Design::Dit(config) => [config.in_channels, config.image_size, config.image_size],
            Design::Custom(custom) => custom.interface.image_shape.into(),
        }
    }

    /// Returns the number of classes K; label K is the null label.
    pub fn num_classes(&self) -> i64 {
        match self {
            Design::Dit(config) => config.num_classes,
            Design::Custom(custom) => custom.interface.num_classes,
        }
    }

    /// Returns the probability with which training replaces a label by the null label.
    pub fn class_dropout_prob(&self) -> f64 {
        match self {
            Design::Dit(config) => config.class_dropout_prob,
            Design::Custom(custom) => custom.interface.class_dropout_prob,
        }
    }

    /// Returns the element type of the parameters.
    pub fn dtype(&self) -> DType {
        match self {
            Design::Dit(config) => config.dtype,
            Design::Custom(custom) => custom.interface.dtype,
        }
    }

    /// Returns the same design with another element type of the parameters.
    #[must_use]
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        match &mut self {
            Design::Dit(config) => config.dtype = dtype,
            Design::Custom(custom) => custom.interface.dtype = dtype,
        }
        self
    }

    /// Returns the parts, in order.
    pub fn parts(&self) -> &[Part] {
        match self {
            Design::Dit(config) => &config.parts,
            Design::Custom(custom) => &custom.interface.parts,
        }
    }

    /// Returns the same design with other parts.
    #[must_use]
    pub fn with_parts(mut self, parts: Vec<Part>) -> Self {
        match &mut self {
            Design::Dit(config) => config.parts = parts.into(),
            Design::Custom(custom) => custom.interface.parts = parts.into(),
        }
        self
    }

    /// Returns the same design without parts and corrections.
    #[must_use]
    pub fn plain(self) -> Self {
        match self.with_parts(Vec::new()) {
            Design::Dit(config) => Design::Dit(config.with_corrections(Vec::new())),
            custom @ Design::Custom(_) => custom,
        }
    }

    /// Checks all settings and returns an error for the first invalid one.
    pub fn check(&self) -> Result<()> {
        match self {
            Design::Dit(config) => config.check(),
            Design::Custom(custom) => custom.check(),
        }
    }

    /// Returns whether a forward pass calls user code.
    pub fn calls_code(&self) -> bool {
        match self {
            Design::Dit(config) => config.calls_code(),
            Design::Custom(_) => true,
        }
    }

    /// Compiles code that was read from a file.
    pub fn compiled(self, context: &Context) -> Result<Self> {
        match self {
            Design::Dit(config) => config.compiled(context).map(Design::Dit),
            Design::Custom(custom) => custom.compiled(context).map(Design::Custom),
        }
    }

    /// Returns the code that a file cannot store, as [`Code::to_compared`](crate::declare::Code::to_compared) returns it, by
    /// name.
    pub fn compared_only(&self) -> Map {
        let parts = self.parts().iter().enumerate().filter(|(_, part)| part.not_stored().is_some());
        let mut found: Map = parts.map(|(i, part)| (format!("parts[{i}]"), part.to_compared())).collect();
        match self {
            Design::Dit(config) => {
                for (i, correction) in config.corrections.iter().enumerate() {
                    let only = correction.code().into_iter().filter(|(_, code)| code.to_data().is_err());
                    found.extend(only.filter_map(|(place, code)| {
                        Some((format!("corrections[{i}].{place}"), code.to_compared().ok()?))
                    }));
                }
            }
            Design::Custom(custom) if custom.make.to_data().is_err() => {
                found.extend(custom.make.to_compared().ok().map(|code| (MAKE.to_string(), code)));
            }
            Design::Custom(_) => {}
        }
        found
    }

    /// Describes what a file cannot store, and why, in one sentence each.
    pub fn not_stored(&self) -> Vec<String> {
        let sentence = |what: String, why: Error| {
            format!(
                "{what} is not stored, so the model must be built again in code to be loaded: {}",
                why.message()
            )
        };
        let part = |part: &Part| Some(sentence(format!("the {}", part.title()), part.not_stored()?));
        let mut found: Vec<String> = match self {
            Design::Dit(config) => {
                let code = |c: &Correction| -> Vec<String> {
                    let why = |(place, code): (String, &Code)| {
                        let place = if place == "gate" { "gate" } else { "filter" };
                        Some(sentence(format!("the {place} of {c}"), code.to_data().err()?))
                    };
                    c.code().into_iter().filter_map(why).collect()
                };
                config.corrections.iter().flat_map(code).collect()
            }
            Design::Custom(custom) => {
                let why = custom.make.to_data().err();
                why.map(|why| sentence("the network's function".to_string(), why)).into_iter().collect()
            }
        };
        found.extend(self.parts().iter().filter_map(part));
        found
    }

    /// Returns a name for headings and messages.
    pub fn title(&self) -> String {
        match self {
            Design::Dit(config) => accounting::title(config),
            Design::Custom(custom) => custom.interface.name.clone(),
        }
    }

    /// Returns all fields by name.
    pub fn to_map(&self) -> Map {
        match self {
            Design::Dit(config) => config.to_stored(),
            Design::Custom(custom) => custom.to_map(),
        }
    }

    /// Returns all fields by name, where those that depend on the family have the values that the model uses.
    pub fn shown(&self) -> Map {
        match self {
            Design::Dit(config) => config.resolved().to_map(),
            Design::Custom(custom) => custom.to_map(),
        }
    }

    /// Returns the stored form, for checkpoints.
    pub fn to_json(&self) -> Result<serde_json::Value> {
        Value::Map(self.to_map())
            .to_json()
            .ok_or_else(|| Error::internal("a configuration holds something that cannot be stored"))
    }

    /// Restores a design from the output of [`Design::to_json`]; [`Design::compiled`] compiles its code.
    pub fn from_json(json: &serde_json::Value) -> Result<Self> {
        match Value::from_json(json)? {
            Value::Map(map) if map.contains_key(MAKE) => CustomNetwork::from_map(map).map(Design::Custom),
            Value::Map(map) => {
                let config = Config::from_stored(&map)?;
                config.check()?;
                Ok(Design::Dit(config))
            }
            other => Err(other.mismatch("a stored configuration")),
        }
    }
}

impl From<Config> for Design {
    fn from(config: Config) -> Self {
        Design::Dit(config)
    }
}

impl From<CustomNetwork> for Design {
    fn from(custom: CustomNetwork) -> Self {
        Design::Custom(custom)
    }
}
