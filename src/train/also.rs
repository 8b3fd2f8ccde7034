//! Parts that are trained beside a model, for a loss that needs parameters of its own.

use super::Parameters;
use super::checkpoint::Checkpoint;
use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::model::{Model, Part};
use crate::nn::Builder;
use crate::torch::Tensor;

/// The name under which they stand in a checkpoint, and in front of their parameters' names.
const ALSO: &str = "also";

/// Parts that were built for a run.
pub(super) struct Also {
    functions: Map,
    parameters: Vec<(String, Tensor)>,
}

impl Also {
    /// Builds the parts; their parameters depend on the seed, their name and their shape.
    pub fn new(parts: &[Part], seed: i64, model: &Model) -> Result<Self> {
        let mut builder = Builder::seeded(seed, model.dtype(), model.device());
        let mut functions = Map::new();
        builder.within(ALSO, |builder| {
            for part in parts {
                let Some(name) = part.name() else {
                    return Err(Error::argument(format!("the {part} of `also` has no name"))
                        .hint("a loss calls it by its name: `nn::part(make, #{ name: \"project\" })`"));
                };
                let function = builder.within(name, |b| part.alone(b, &model.facts()))?;
                if functions.insert(name.to_string(), Value::Function(function)).is_some() {
                    return Err(Error::argument(format!("two parts of `also` are called `{name}`")));
                }
            }
            Ok(())
        })?;
        Ok(Self { functions, parameters: builder.finish() })
    }

    /// The functions of the parts by name.
    pub fn functions(&self) -> &Map {
        &self.functions
    }

    /// Parameters with those of the parts behind them.
    pub fn with(&self, parameters: Parameters) -> Result<Parameters> {
        if self.parameters.is_empty() {
            return Ok(parameters);
        }
        Parameters::new(parameters.named().iter().chain(&self.parameters).cloned().collect())
    }

    /// What a checkpoint holds of them.
    pub fn saved(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.parameters.iter().cloned()
    }

    /// Fails where [`Also::restore`] would, and changes nothing.
    pub fn check(&self, saved: &Checkpoint) -> Result<()> {
        self.parameters.iter().try_for_each(|(name, parameter)| {
            let found = saved.tensors.get(name).ok_or_else(|| {
                Error::argument(format!("the checkpoint has no `{name}`, which `also` has"))
            })?;
            crate::ensure!(
                found.shape() == parameter.shape() && found.dtype() == parameter.dtype(),
                "expected `{name}` to be a {}, found a {}",
                parameter.signature(),
                found.signature()
            );
            Ok(())
        })
    }

    /// Takes the parameters of a checkpoint over.
    pub fn restore(&self, saved: &Checkpoint) -> Result<()> {
        self.parameters.iter().try_for_each(|(name, parameter)| match saved.tensors.get(name) {
            Some(found) => parameter.copy_(found),
            None => Err(Error::internal(format!("`{name}` was there a moment ago"))),
        })
    }
}
