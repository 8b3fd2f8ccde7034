//! Parts that are trained together with a model, for losses with their own parameters.

use super::Parameters;
use super::checkpoint::Checkpoint;
use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::model::{Model, Part};
use crate::nn::Builder;
use crate::torch::Tensor;

/// Key of the parts in a checkpoint, and prefix of their parameters' names.
const ALSO: &str = "also";

/// Parts built for a run.
pub(super) struct Also {
    functions: Map,
    parameters: Vec<(String, Tensor)>,
}

impl Also {
    /// Builds the parts. Their initial parameters depend on the seed, their name and their shape.
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

    /// Returns the functions of the parts by name.
    pub fn functions(&self) -> &Map {
        &self.functions
    }

    /// Appends the parameters of the parts to `parameters`.
    pub fn with(&self, parameters: Parameters) -> Result<Parameters> {
        if self.parameters.is_empty() {
            return Ok(parameters);
        }
        parameters.and(&self.parameters)
    }

    /// Returns the tensors to save in a checkpoint.
    pub fn saved(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.parameters.iter().cloned()
    }

    /// Returns the error that [`Also::restore`] would return, and changes nothing.
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

    /// Restores the parameters from a checkpoint.
    pub fn restore(&self, saved: &Checkpoint) -> Result<()> {
        self.parameters.iter().try_for_each(|(name, parameter)| match saved.tensors.get(name) {
            Some(found) => parameter.copy_(found),
            None => Err(Error::internal(format!("`{name}` is missing from a checked checkpoint"))),
        })
    }
}
