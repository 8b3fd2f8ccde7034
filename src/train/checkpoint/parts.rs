//! The parts of a training loop that a checkpoint holds.

use std::collections::BTreeMap;

use super::{OTHERS, TENSORS};
use crate::data::Loader;
use crate::declare::{FromValue, IntoValue, Map, Named, OneOrMany, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::{Design, Model};
use crate::torch::{Device, Generator, Tensor};
use crate::train::{Ema, Optimizer};

/// Parts of a training loop to save in a checkpoint or restore from one.
#[derive(Debug, Clone, Options)]
pub struct PartsOptions {
    /// Model: its weights, and the configuration to rebuild it.
    pub model: Option<Model>,
    /// Average of the weights.
    pub ema: Option<Ema>,
    /// Additional averages, which are restored in the same order.
    pub averages: OneOrMany<Ema>,
    /// Optimizer: moments, counts and learning rate.
    pub optimizer: Option<Optimizer>,
    /// Loader: its position, and the settings that determine its order.
    pub loader: Option<Loader>,
    /// Random number generator; the default generators are always saved.
    pub generator: Option<Generator>,
    /// Tensors by name, such as separate parameters. Their numbers are saved, and loading copies the saved numbers
    /// into them.
    pub tensors: Named<Tensor>,
    /// Further parts by name, each a map of the options above:
    /// `#{ critic: #{ model: critic, optimizer: critic_opt } }`.
    pub others: Others,
    /// Other data: numbers, text, arrays and maps.
    pub values: Map,
}

impl PartsOptions {
    /// Returns the names of the parts that a checkpoint must have.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let there = [
            (self.model.is_some(), "model"),
            (self.ema.is_some(), "ema"),
            (self.optimizer.is_some(), "optimizer"),
            (self.loader.is_some(), "loader"),
            (self.generator.is_some(), "generator"),
            (!self.tensors.0.is_empty(), TENSORS),
        ];
        there.into_iter().filter(|(there, _)| *there).map(|(_, name)| name).collect()
    }

    /// Returns the CPU and the devices of the parts, each once.
    pub(super) fn devices(&self) -> Vec<Device> {
        let mut all = vec![Device::Cpu];
        for parts in [self].into_iter().chain(self.others.0.values()) {
            let model = parts.model.as_ref().map(Model::device);
            let own = model.or(parts.optimizer.as_ref().map(Optimizer::device));
            all.extend(own.filter(|device| !all.contains(device)));
        }
        all
    }

    /// Returns the configuration of the model, or of the model that is averaged.
    pub(super) fn config(&self) -> Option<Design> {
        let model = self.model.clone().or(self.ema.as_ref().map(Ema::model))?;
        Some(model.design().clone())
    }
}

/// Parts by name, beside the main ones.
#[derive(Debug, Clone, Default)]
pub struct Others(pub BTreeMap<String, PartsOptions>);

/// Reads a map of maps; `values` and further `others` belong to the main parts.
impl FromValue for Others {
    fn label() -> String {
        "map of maps".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let Named(all) = Named::<PartsOptions>::from_value(value)?;
        for (name, parts) in &all {
            ensure!(
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')),
                "a name in `{OTHERS}` has letters, digits, `_` and `-`, found \"{name}\""
            );
            if !parts.values.is_empty() || !parts.others.0.is_empty() {
                return Err(Error::argument(format!(
                    "`{OTHERS}.{name}` has `values` or `{OTHERS}` of its own"
                ))
                .hint(format!("put `values` beside `{OTHERS}`, and all parts into one `{OTHERS}`")));
            }
        }
        Ok(Self(all))
    }
}

impl IntoValue for Others {
    fn label() -> String {
        "map of maps".to_string()
    }
    fn into_value(self) -> Value {
        Value::Map(self.0.into_iter().map(|(name, parts)| (name, Value::Map(parts.to_map()))).collect())
    }
}
