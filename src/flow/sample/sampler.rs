//! Samplers and fields that are named or given, or functions.

use std::fmt;

use crate::declare::{Allowed, FromValue, Function, IntoValue, Value};
use crate::error::Result;
use crate::flow::ode::{Scheme, Solver};
use crate::torch::Fields;

/// A solver by its name, or a function that makes a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Sampler {
    /// A solver.
    Named(Solver),
    /// A function `|velocity, x, t, next, c| x`.
    Function(Function),
}

impl Sampler {
    /// Returns how it steps.
    pub(super) fn scheme(&self) -> Scheme {
        match self {
            Sampler::Named(solver) => solver.scheme(),
            Sampler::Function(_) => Scheme::Own,
        }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::Named(Solver::default())
    }
}

impl fmt::Display for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sampler::Named(solver) => write!(f, "{solver}"),
            Sampler::Function(_) => f.write_str("function"),
        }
    }
}

impl From<Solver> for Sampler {
    fn from(solver: Solver) -> Self {
        Sampler::Named(solver)
    }
}

impl From<Function> for Sampler {
    fn from(function: Function) -> Self {
        Sampler::Function(function)
    }
}

impl PartialEq<Solver> for Sampler {
    fn eq(&self, solver: &Solver) -> bool {
        matches!(self, Sampler::Named(own) if own == solver)
    }
}

impl FromValue for Sampler {
    fn label() -> String {
        "string or function".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Function(function) => Ok(Sampler::Function(function.clone())),
            Value::Str(_) => Solver::from_value(value).map(Sampler::Named),
            other => Err(other.mismatch("the name of a solver or a function |velocity, x, t, next, c|")),
        }
    }
    fn allowed() -> Allowed {
        Solver::allowed()
    }
}

impl IntoValue for Sampler {
    fn label() -> String {
        "string or function".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Sampler::Named(solver) => solver.into_value(),
            Sampler::Function(function) => Value::Function(function),
        }
    }
}

/// Fields of all images, or a function that returns those of an evaluation.
#[derive(Debug, Clone)]
pub enum Conditions {
    /// Tensors with one row per image.
    Given(Fields),
    /// A function `|x, t, c| map`.
    Function(Function),
}

impl Conditions {
    /// Returns the fields that are given for all images; none for a function.
    pub(in crate::flow) fn given(&self) -> Fields {
        match self {
            Conditions::Given(fields) => fields.clone(),
            Conditions::Function(_) => Fields::default(),
        }
    }
}

impl Default for Conditions {
    fn default() -> Self {
        Conditions::Given(Fields::default())
    }
}

impl<T: Into<Fields>> From<T> for Conditions {
    fn from(fields: T) -> Self {
        Conditions::Given(fields.into())
    }
}

impl From<Function> for Conditions {
    fn from(function: Function) -> Self {
        Conditions::Function(function)
    }
}

impl FromValue for Conditions {
    fn label() -> String {
        "map of tensors or function".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Function(function) => Ok(Conditions::Function(function.clone())),
            other => Fields::from_value(other).map(Conditions::Given),
        }
    }
}

impl IntoValue for Conditions {
    fn label() -> String {
        "map of tensors or function".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Conditions::Given(fields) => fields.into_value(),
            Conditions::Function(function) => Value::Function(function),
        }
    }
}
