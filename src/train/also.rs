//! Parts and models that are trained together with a model, for losses with their own parameters.

use std::collections::BTreeMap;

use super::Parameters;
use super::checkpoint::Checkpoint;
use super::saved::weights_hash;
use crate::declare::{FromValue, Function, IntoValue, Map, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::{Model, Part, Pass};
use crate::nn::Builder;
use crate::torch::Tensor;

/// Key of the parts in a checkpoint, and prefix of their parameters' names.
const ALSO: &str = "also";

/// Name of a model that is given without one.
const MODEL: &str = "model";

/// What is trained together with a model.
#[derive(Debug, Clone)]
pub enum Companion {
    /// A part, which is built for the run.
    Part(Part),
    /// A model, which is trained in place, and its name.
    Model(String, Model),
}

/// What is trained together with a model, in order.
#[derive(Debug, Clone, Default)]
pub struct Companions(pub Vec<Companion>);

impl From<Part> for Companion {
    fn from(part: Part) -> Self {
        Self::Part(part)
    }
}

/// Names the model `model`.
impl From<Model> for Companion {
    fn from(model: Model) -> Self {
        Self::Model(MODEL.to_string(), model)
    }
}

impl<T: Into<Companion>> From<T> for Companions {
    fn from(one: T) -> Self {
        Self(vec![one.into()])
    }
}

impl<T: Into<Companion>> From<Vec<T>> for Companions {
    fn from(all: Vec<T>) -> Self {
        Self(all.into_iter().map(Into::into).collect())
    }
}

/// Reads a part, a model, an array of them, or a map from names to them.
impl FromValue for Companions {
    fn label() -> String {
        "part, model, or array or map of them".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        let one = |value: &Value| match (value.downcast::<Part>(), value.downcast::<Model>()) {
            (Some(part), _) => Ok(Companion::from(part)),
            (_, Some(model)) => Ok(Companion::from(model)),
            _ => Err(value.mismatch("a part or a model")),
        };
        let named = |(name, value): (&String, &Value)| match one(value)
            .map_err(|e| e.context(format!("`{name}`")))?
        {
            Companion::Part(part) => part.named(name).map(Companion::Part),
            Companion::Model(_, model) => Ok(Companion::Model(name.clone(), model)),
        };
        match value {
            Value::List(all) => all.iter().map(one).collect(),
            Value::Map(all) => all.iter().map(named).collect(),
            other => {
                one(other).map(|one| vec![one]).map_err(|_| other.mismatch(&<Self as FromValue>::label()))
            }
        }
        .map(Self)
    }
    fn from_stored(value: &Value) -> Result<Self> {
        Vec::<Part>::from_stored(value).map(Self::from)
    }
}

impl IntoValue for Companions {
    fn label() -> String {
        "array of parts and models".to_string()
    }
    fn into_value(self) -> Value {
        let one = |one| match one {
            Companion::Part(part) => part.into_value(),
            Companion::Model(name, model) => Value::Map(Map::from([(name, model.into_value())])),
        };
        Value::List(self.0.into_iter().map(one).collect())
    }
}

impl Companions {
    /// Returns the settings of all as data for comparisons, without weights.
    pub(super) fn to_compared(&self) -> Value {
        let one = |one: &Companion| match one {
            Companion::Part(part) => part.to_compared(),
            Companion::Model(name, model) => {
                let design = model.design();
                let mut map = Map::from([
                    ("name".to_string(), name.as_str().into_value()),
                    (MODEL.to_string(), Value::Map(design.to_map())),
                ]);
                let code = design.compared_only();
                if !code.is_empty() {
                    map.insert("code".to_string(), Value::Map(code));
                }
                Value::Map(map)
            }
        };
        Value::List(self.0.iter().map(one).collect())
    }

    /// Returns the parts whose code cannot be compared with that of another run, and why.
    pub(super) fn not_compared(&self) -> impl Iterator<Item = (&Part, Error)> {
        self.0.iter().filter_map(|one| match one {
            Companion::Part(part) => Some((part, part.not_compared()?)),
            Companion::Model(..) => None,
        })
    }
}

/// Parts built for a run, and models.
pub(super) struct Also {
    /// Functions of the parts, and models, by name.
    values: Map,
    models: Vec<(String, Model)>,
    /// Parameters of all, those of frozen ones included.
    parameters: Vec<(String, Tensor)>,
    /// Functions of code that they call, by path.
    called: Vec<(String, Function)>,
}

impl Also {
    /// Builds the parts. Their initial parameters depend on the seed, their name and their shape.
    pub fn new(companions: &Companions, seed: i64, model: &Model) -> Result<Self> {
        let mut builder = Builder::seeded(seed, model.dtype(), model.device());
        let (mut values, mut models) = (Map::new(), Vec::new());
        builder.within(ALSO, |builder| {
            for one in &companions.0 {
                let (name, value) = match one {
                    Companion::Part(part) => {
                        let Some(name) = part.name() else {
                            return Err(Error::argument(format!("the {part} of `also` has no name")).hint(
                                "a loss calls it by its name: `also: #{ project: part }`, or `nn::part(make, #{ name: \"project\" })`",
                            ));
                        };
                        let function = builder.within(name, |b| part.alone(b, &model.facts()))?;
                        (name, Value::Function(function))
                    }
                    Companion::Model(name, own) => {
                        check_model(name, own)?;
                        builder.adopt(name, own.parameters());
                        models.push((name.clone(), own.clone()));
                        (name.as_str(), own.clone().into_value())
                    }
                };
                if values.insert(name.to_string(), value).is_some() {
                    return Err(Error::argument(format!("two entries of `also` are called `{name}`"))
                        .hint("give them names with a map: `also: #{ critic: model, project: part }`"));
                }
            }
            Ok(())
        })?;
        let mut called = builder.take_called();
        for (name, model) in &models {
            let path = |own: &str| {
                if own.is_empty() { format!("{ALSO}.{name}") } else { format!("{ALSO}.{name}.{own}") }
            };
            called.extend(model.called().iter().map(|(own, function)| (path(own), function.clone())));
        }
        Ok(Self { values, models, parameters: builder.finish(), called })
    }

    /// Returns the functions of the parts, and the models, by name.
    pub fn values(&self) -> &Map {
        &self.values
    }

    /// As [`Also::values`], with models whose parts run in the training step of `pass`.
    pub fn values_in(&self, pass: &Pass) -> Map {
        let models = self.models.iter().map(|(name, model)| (name.clone(), model.in_step(pass).into_value()));
        self.values.clone().into_iter().chain(models).collect()
    }

    /// Returns the functions of code that they call, by the path of the parameters.
    pub fn called(&self) -> &[(String, Function)] {
        &self.called
    }

    /// Appends the parameters to be trained to `parameters`.
    pub fn with(&self, parameters: Parameters) -> Result<Parameters> {
        if self.parameters.is_empty() {
            return Ok(parameters);
        }
        let (trained, frozen): (Vec<_>, Vec<_>) =
            self.parameters.iter().cloned().partition(|(_, tensor)| tensor.requires_grad());
        parameters.and(&trained, &frozen)
    }

    /// Returns a hash of the weights of each model.
    pub fn origins(&self) -> Result<Map> {
        let hash = |(name, model): &(String, Model)| {
            let weights = model.parameters().iter().cloned().collect();
            Ok((name.clone(), weights_hash(&weights)?.into_value()))
        };
        self.models.iter().map(hash).collect()
    }

    /// Returns the tensors to save in a checkpoint.
    pub fn saved(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.parameters.iter().cloned()
    }

    /// Returns an error unless the models have the weights with which a run began, `origins`, or those of its checkpoint, which
    /// an interrupted cell left in them.
    pub fn check_origins(&self, origins: &Map, saved: &Checkpoint) -> Result<()> {
        for (name, here) in self.origins()? {
            let text =
                |value: &Value| if let Value::Str(text) = value { text.clone() } else { String::new() };
            let here = text(&here);
            let begun = origins.get(&name).map(text);
            ensure!(
                begun.as_ref().is_none_or(|begun| *begun == here)
                    || weights_hash(&self.weights(&name, saved))? == here,
                "the run started from other weights of `{ALSO}.{name}`"
            );
        }
        Ok(())
    }

    /// Returns the saved weights of a model.
    fn weights(&self, name: &str, saved: &Checkpoint) -> BTreeMap<String, Tensor> {
        saved.of(&format!("{ALSO}.{name}"))
    }

    /// Returns the error that [`Also::restore`] would return, and changes nothing.
    pub fn check(&self, saved: &Checkpoint) -> Result<()> {
        self.parameters.iter().try_for_each(|(name, parameter)| {
            let found = saved.tensors.get(name).ok_or_else(|| {
                Error::argument(format!("the checkpoint has no `{name}`, which `also` has"))
            })?;
            ensure!(
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

/// Returns an error unless a model can be trained under a name.
fn check_model(name: &str, model: &Model) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    ensure!(
        name.chars().all(fits) && name.starts_with(|c: char| !c.is_ascii_digit()),
        "the name of a model in `also` has letters, digits and `_` and starts with a letter, found {name:?}"
    );
    if !model.parameters().iter().any(|(_, tensor)| tensor.requires_grad()) {
        return Err(Error::argument(format!(
            "`{ALSO}.{name}` has no parameter that records gradients, so there is nothing to train"
        ))
        .hint("a frozen model can be captured by the loss instead; `unfreeze` makes it record gradients"));
    }
    Ok(())
}
