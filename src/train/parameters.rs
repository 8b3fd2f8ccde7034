//! Named tensors to optimize.

use std::collections::HashMap;

use crate::declare::{FromValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::torch::Tensor;
use crate::torch::placement::together;

/// Named tensors that require gradients; the argument of optimizers and clipping.
#[derive(Debug, Clone)]
pub struct Parameters {
    named: Vec<(String, Tensor)>,
    /// Frozen parameters of the model, which are not among them.
    frozen: Vec<(String, Tensor)>,
}

impl Parameters {
    /// Creates parameters from named tensors, on one device, each of which must require gradients and be
    /// dense in memory.
    pub fn new(named: Vec<(String, Tensor)>) -> Result<Self> {
        ensure!(!named.is_empty(), "expected at least one parameter, found none");
        let places = named.iter().map(|(name, tensor)| (format!("parameter `{name}`"), tensor.device()));
        together(format!("parameter `{}`", named[0].0), named[0].1.device(), places)?;
        let mut seen = HashMap::new();
        for (name, tensor) in &named {
            if let Some(other) = seen.insert(tensor.address(), name)
                && tensor.count() > 0
            {
                return Err(Error::argument(format!("`{other}` and `{name}` are the same parameter"))
                    .hint("leave one of them out, since each would update it"));
            }
            if !tensor.requires_grad() {
                return Err(Error::argument(format!("parameter `{name}` does not record gradients"))
                    .hint("turn them on with `requires_grad(true)`"));
            }
            ensure!(
                tensor.dtype().is_float(),
                "parameter `{name}` must hold floats, found {}",
                tensor.signature()
            );
            if !tensor.is_contiguous() {
                return Err(Error::argument(format!("parameter `{name}` is a strided view"))
                    .hint("make it dense with `.contiguous()` before `requires_grad(true)`"));
            }
        }
        Ok(Self { named, frozen: Vec::new() })
    }

    /// Returns the parameters of a model that require gradients, with their names; frozen ones are left out.
    pub fn of(model: &Model) -> Result<Self> {
        let (trained, frozen): (Vec<_>, Vec<_>) =
            model.parameters().iter().cloned().partition(|(_, t)| t.requires_grad());
        if trained.is_empty() {
            return Err(Error::argument(
                "the model has no parameter that records gradients, so there is nothing to train",
            )
            .hint("turn gradients on for some parameters with `requires_grad(true)`"));
        }
        Ok(Self { frozen, ..Self::new(trained)? })
    }

    /// Returns these parameters and more, with further ones that are frozen.
    pub(super) fn and(&self, more: &[(String, Tensor)], frozen: &[(String, Tensor)]) -> Result<Self> {
        let named = self.named.iter().chain(more).cloned().collect();
        Ok(Self { frozen: self.frozen.iter().chain(frozen).cloned().collect(), ..Self::new(named)? })
    }

    /// Returns the parameters of the model that are not among them because they were frozen.
    pub(super) fn frozen(&self) -> &[(String, Tensor)] {
        &self.frozen
    }

    /// Returns names and tensors, in order.
    pub fn named(&self) -> &[(String, Tensor)] {
        &self.named
    }

    /// Returns the tensors, in order.
    pub fn tensors(&self) -> Vec<Tensor> {
        self.named.iter().map(|(_, t)| t.clone()).collect()
    }
}

/// See [`Parameters::of`].
impl TryFrom<&Model> for Parameters {
    type Error = Error;

    fn try_from(model: &Model) -> Result<Self> {
        Self::of(model)
    }
}

/// Names the tensor `0`.
impl TryFrom<&Tensor> for Parameters {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        Self::new(vec![("0".to_string(), tensor.clone())])
    }
}

/// Names the tensors by their index.
impl TryFrom<&[Tensor]> for Parameters {
    type Error = Error;

    fn try_from(tensors: &[Tensor]) -> Result<Self> {
        Self::new(tensors.iter().enumerate().map(|(i, tensor)| (i.to_string(), tensor.clone())).collect())
    }
}

/// See [`Parameters::new`].
impl TryFrom<Vec<(String, Tensor)>> for Parameters {
    type Error = Error;

    fn try_from(named: Vec<(String, Tensor)>) -> Result<Self> {
        Self::new(named)
    }
}

impl From<&Parameters> for Parameters {
    fn from(parameters: &Parameters) -> Self {
        parameters.clone()
    }
}

/// Reads a model, a tensor, an array of tensors (named by their index) or a map from names to tensors.
impl FromValue for Parameters {
    fn label() -> String {
        "model, tensor, array or map of tensors".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Some(model) = value.downcast::<Model>() {
            return Self::of(&model);
        }
        if let Some(tensor) = value.downcast::<Tensor>() {
            return Self::new(vec![("0".to_string(), tensor)]);
        }
        let entry = |name: String, value: &Value| {
            Tensor::from_value(value).map_err(|e| e.context(format!("parameter `{name}`"))).map(|t| (name, t))
        };
        Self::new(match value {
            Value::List(list) => {
                list.iter().enumerate().map(|(i, v)| entry(i.to_string(), v)).collect::<Result<_>>()?
            }
            Value::Map(map) => map.iter().map(|(k, v)| entry(k.clone(), v)).collect::<Result<_>>()?,
            other => return Err(other.mismatch("a model, a tensor, an array or a map of tensors")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::torch::{DType, Device};

    #[test]
    fn one_parameter_under_two_names_is_refused() {
        let tensor = |size| {
            let tensor = Tensor::ones(&[size], DType::Float32, Device::Cpu).unwrap();
            tensor.set_requires_grad(true).unwrap()
        };
        let named = |tensors: [&Tensor; 2]| {
            let names = ["a", "b"].map(str::to_string).into_iter();
            Parameters::new(names.zip(tensors.map(Tensor::clone)).collect())
        };
        let w = tensor(2);
        assert_eq!(named([&w, &w]).unwrap_err().message(), "`a` and `b` are the same parameter");
        named([&w, &tensor(2)]).unwrap();
        named([&tensor(0), &tensor(0)]).unwrap();
    }
}
