//! Training losses: built-in ones and user functions.
//!
//! - [`Loss`]: a loss of a predicted velocity; `weight`: weights by time with a name; `step`: what a user's loss
//!   receives; `api`: the script functions

pub(crate) mod api;
pub(crate) mod step;
mod weight;

pub use api::space::*;
pub use step::Step;
pub use weight::{EdmOptions, MinSnrOptions, Weight};

use std::fmt;

use super::path::{Path, alike, as_compared, as_data, failures};
use crate::context::Context;
use crate::declare::{Display, FromValue, Function, IntoValue, Value};
use crate::document::Document;
use crate::ensure;
use crate::error::{Error, Result};
use crate::spectral::basis::Basis;
use crate::spectral::kind;
use crate::torch::{DType, Tensor};

/// Loss of a predicted velocity. Clones share its components.
#[derive(Clone, Default)]
pub enum Loss {
    /// Mean squared error, see [`flow::loss`](super::loss()).
    #[default]
    Mse,
    /// Squared error of each sample, weighted by a function of the times.
    Weighted(Function),
    /// Squared error of each sample with a weight that has a name.
    Named(Weight),
    /// Squared error of coefficients, weighted by a function of their frequency radius.
    Spectral(Basis, Function),
    /// User function of a [`Step`].
    Function(Function),
}

impl Loss {
    /// Returns whether it calls code, which cannot be recorded as a graph.
    pub fn calls_code(&self) -> bool {
        !matches!(self, Loss::Mse | Loss::Named(_))
    }

    /// Returns an error if its weights do not hold for a path.
    pub fn check(&self, path: &Path) -> Result<()> {
        match self {
            Loss::Named(weight) if weight.is_of_straight_path() && !path.is_straight() => {
                Err(Error::argument(format!("{self:?} weights errors on the straight path, found {path:?}"))
                    .hint("`loss::weighted(|t| ..)` takes the weights of another path"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the loss of the velocity `v` against `target`, both [B, ..], at times `t` `[B]`, as a scalar.
    ///
    /// A user function takes the step that `seen` creates, and `v` is not called for it.
    pub fn compute(
        &self,
        v: impl FnOnce() -> Result<Tensor>,
        target: &Tensor,
        t: &Tensor,
        seen: impl FnOnce() -> Result<Value>,
    ) -> Result<Tensor> {
        match self {
            Loss::Mse => super::loss(&v()?, target),
            Loss::Weighted(weight) => {
                // Before the code of the weight, which may draw random numbers as the model may.
                let v = v()?;
                let answer = [t.clone().into_value()];
                let weights = super::answer::like(t, "the weight of `loss::weighted`", weight, &answer)?;
                weighted_error(&weights, &wide(&v)?.sub(&wide(target)?)?)
            }
            Loss::Named(weight) => {
                let error = wide(&v()?)?.sub(&wide(target)?)?;
                weighted_error(&weight.at(t)?, &error)
            }
            Loss::Spectral(basis, weight) => {
                spectral_error(basis, weight, &wide(&v()?)?.sub(&wide(target)?)?)
            }
            Loss::Function(function) => {
                let seen = [seen()?];
                scalar(&target.device().within(|| function.call_as("`loss`", &seen))?)
            }
        }
    }

    /// Returns the functions that it calls.
    pub fn functions(&self) -> Vec<Function> {
        let function = |(_, value)| if let Value::Function(function) = value { Some(function) } else { None };
        self.made_of().into_iter().filter_map(function).collect()
    }

    /// Returns the functions that cannot be stored, by name, and why.
    pub fn not_stored(&self) -> Vec<(&'static str, Error)> {
        failures(&self.made_of(), Function::to_data)
    }

    /// Returns the functions that cannot be compared with those of another run, by name, and why.
    pub fn not_compared(&self) -> Vec<(&'static str, Error)> {
        failures(&self.made_of(), Function::to_compared)
    }

    /// As [`Loss::to_data`], with the functions as [`Function::to_compared`] returns them.
    pub fn to_compared(&self) -> Value {
        let options = self.made_of().into_iter().map(|(name, value)| (name.to_string(), as_compared(&value)));
        kind::stored(self.name(), options.collect())
    }

    /// Returns its kind and components as data; a function becomes its code, or `()` if it cannot be stored.
    pub fn to_data(&self) -> Value {
        let options = self.made_of().into_iter().map(|(name, value)| (name.to_string(), as_data(&value)));
        kind::stored(self.name(), options.collect())
    }

    /// Restores a loss without functions from the output of [`Loss::to_data`].
    pub fn from_data(data: &Value) -> Result<Self> {
        let (name, options) = kind::read_stored("loss", data)?;
        match (name.as_str(), Weight::from_stored(&name, &options)?) {
            ("mse", _) => Ok(Loss::Mse),
            (_, Some(weight)) => Ok(Loss::Named(weight)),
            _ => Err(Error::argument(format!(
                "the stored loss \"{name}\" has functions, which are not read back"
            ))
            .hint("make the loss again with its functions")),
        }
    }

    /// Restores a loss from the output of [`Loss::to_data`], and compiles its functions.
    pub fn compiled(data: &Value, context: &Context) -> Result<Self> {
        let (name, options) = kind::read_stored("loss", data)?;
        let part = |name: &str| options.get(name).unwrap_or(&Value::Unit);
        match name.as_str() {
            "weighted" => Function::of_code(part("weight"), context).map(Loss::Weighted),
            "function" => Function::of_code(part("function"), context).map(Loss::Function),
            "spectral" => {
                let weight = Function::of_code(part("weight"), context)?;
                Ok(Loss::Spectral(Basis::from_data(part("basis"))?, weight))
            }
            _ => Self::from_data(data),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Loss::Mse => "mse",
            Loss::Weighted(_) => "weighted",
            Loss::Named(weight) => weight.name(),
            Loss::Spectral(..) => "spectral",
            Loss::Function(_) => "function",
        }
    }

    fn made_of(&self) -> Vec<(&'static str, Value)> {
        match self {
            Loss::Mse => Vec::new(),
            Loss::Weighted(weight) => vec![("weight", Value::Function(weight.clone()))],
            Loss::Named(weight) => weight.made_of(),
            Loss::Spectral(basis, weight) => {
                vec![("basis", basis.clone().into_value()), ("weight", Value::Function(weight.clone()))]
            }
            Loss::Function(function) => vec![("function", Value::Function(function.clone()))],
        }
    }
}

/// Converts half precision to float32, so that a mean over a batch is accurate enough.
pub fn wide(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::BFloat16 | DType::Float16 => tensor.to_dtype(DType::Float32),
        _ => Ok(tensor.clone()),
    }
}

/// Returns the mean over samples of the weight `[B]` times the squared error of the sample; or over pixels, with weights of pixels.
fn weighted_error(weights: &Tensor, error: &Tensor) -> Result<Tensor> {
    if weights.rank() > 1 {
        return error.square()?.mul(&weights.to_dtype(error.dtype())?)?.mean(&[], false);
    }
    let each = error_of_samples(error)?;
    each.mul(&weights.to_dtype(each.dtype())?)?.mean(&[], false)
}

/// Returns the mean squared error `[B]` of each sample of an error [B, ..].
pub fn error_of_samples(error: &Tensor) -> Result<Tensor> {
    let rest: Vec<i64> = (1..error.rank() as i64).collect();
    if rest.is_empty() { error.square() } else { error.square()?.mean(&rest, false) }
}

fn spectral_error(basis: &Basis, weight: &Function, error: &Tensor) -> Result<Tensor> {
    let radii = basis.radius_of(error)?;
    let answer = weight.call(&[radii.clone().into_value()])?;
    let coefficients = basis.forward(error)?;
    let squares = match coefficients.dtype().is_complex() {
        true => coefficients.real()?.square()?.add(&coefficients.imag()?.square()?)?,
        false => coefficients.square()?,
    };
    const WHAT: &str = "the weight of `loss::spectral`";
    let weights = super::answer::tensor(&answer, WHAT, &radii.signature())?;
    ensure!(!weights.dtype().is_complex(), "{WHAT} must be real, found a {}", weights.signature());
    // A comparison returns booleans.
    let weights = weights.to_dtype(squares.dtype())?;
    let scaled =
        if broadcasts(&weights.shape(), &squares.shape()) { squares.mul(&weights)? } else { weights.clone() };
    ensure!(
        scaled.shape() == squares.shape(),
        "{WHAT} must broadcast from the radii {:?} to the coefficients {:?}, found shape {:?}",
        radii.shape(),
        squares.shape(),
        weights.shape()
    );
    scaled.sum(&[], false)?.mul_scalar(1.0 / error.count().max(1) as f64)
}

/// Returns whether a shape broadcasts to another without changing it.
fn broadcasts(shape: &[i64], to: &[i64]) -> bool {
    shape.len() <= to.len() && shape.iter().rev().zip(to.iter().rev()).all(|(a, b)| a == b || *a == 1)
}

/// Returns the scalar that a user's loss returned.
fn scalar(answer: &Value) -> Result<Tensor> {
    const EXPECTED: &str = "a scalar tensor that records gradients";
    let Some(tensor) = answer.downcast::<Tensor>() else {
        return Err(answer.mismatch(EXPECTED).context("`loss`"));
    };
    if tensor.count() != 1 || !tensor.dtype().is_float() {
        return Err(Error::argument(format!(
            "`loss` must return {EXPECTED}, found a {}",
            tensor.signature()
        ))
        .hint("reduce the error of each element with `.mean()`"));
    }
    tensor.reshape(&[])
}

/// Losses are equal if their kinds and components are; functions are equal if their code is, or if they are the
/// same function.
impl PartialEq for Loss {
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (self.made_of(), other.made_of());
        self.name() == other.name() && a.iter().zip(&b).all(|((_, x), (_, y))| alike(x, y))
    }
}

/// Prints the loss as written in a script.
impl fmt::Debug for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::Mse => f.write_str("loss::mse()"),
            Loss::Weighted(_) => f.write_str("loss::weighted(<function>)"),
            Loss::Named(weight) => f.write_str(&weight.text()),
            Loss::Spectral(basis, _) => write!(f, "loss::spectral({basis}, <function>)"),
            Loss::Function(_) => f.write_str("<function>"),
        }
    }
}

impl crate::declare::Scripted for Loss {
    const NAME: &'static str = "loss";
}

// Written out, since `scripted!` reads only handles and this type also reads functions.
impl crate::declare::Object for Loss {
    fn type_name(&self) -> &'static str {
        <Self as crate::declare::Scripted>::NAME
    }
    fn display(&self) -> Display {
        Display::text(format!("{self:?}"))
    }
    fn document(&self, _: Option<usize>) -> Option<Document> {
        Some(Document::code(&format!("{self:?}")))
    }
    fn described(&self) -> (std::borrow::Cow<'static, str>, String) {
        ("the loss".into(), format!("{self:?}"))
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn to_data(&self) -> Option<Value> {
        Some(Loss::to_data(self))
    }
}

impl From<&Loss> for Loss {
    fn from(handle: &Loss) -> Self {
        handle.clone()
    }
}

impl From<Function> for Loss {
    fn from(function: Function) -> Self {
        Loss::Function(function)
    }
}

/// Reads a built-in loss or a function.
impl FromValue for Loss {
    fn label() -> String {
        "loss or function".to_string()
    }
    fn receiver() -> Option<&'static str> {
        Some(<Self as crate::declare::Scripted>::NAME)
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Function(function) => Ok(Loss::Function(function.clone())),
            other => other
                .downcast()
                .ok_or_else(|| other.mismatch("a loss such as loss::mse() or a function |s| scalar")),
        }
    }
    fn from_stored(value: &Value) -> Result<Self> {
        match value {
            Value::Map(_) => Self::from_data(value),
            other => Self::from_value(other),
        }
    }
}

impl IntoValue for Loss {
    fn label() -> String {
        "loss".to_string()
    }
    fn into_value(self) -> Value {
        Value::Object(std::sync::Arc::new(self))
    }
}

#[cfg(test)]
mod tests;
