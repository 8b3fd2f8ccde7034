//! Numbers to draw: arrays, ranges and tensors.

use crate::declare::{FromValue, IntoValue, Value};
use crate::error::{Error, Result, Subject};
use crate::plot::Errors;
use crate::torch::Tensor;

/// Numbers from an array, a range or a tensor of one dimension; `()` and NaN are gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl FromValue for Numbers {
    fn label() -> String {
        "array or tensor of numbers".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::List(list) => {
                let one = |(i, v): (usize, &Value)| number(v).map_err(|e| e.within(Subject::Entry(i)));
                list.iter().enumerate().map(one).collect::<Result<_>>().map(Numbers)
            }
            Value::Range(start, end) => {
                Ok(Numbers(Value::entries(*start, *end)?.map(|i| i as f64).collect()))
            }
            other => match other.downcast::<Tensor>() {
                Some(tensor) => Numbers::try_from(&tensor),
                None => Err(other.mismatch("numbers (an array, a range or a tensor of one dimension)")),
            },
        }
    }
}

/// From a tensor of one dimension.
impl TryFrom<&Tensor> for Numbers {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        of_tensor(tensor).map(Numbers)
    }
}

impl IntoValue for Numbers {
    fn label() -> String {
        "array of floats".to_string()
    }

    fn into_value(self) -> Value {
        self.0.into_value()
    }
}

/// Numbers that are not read yet: some charts take tensors of any shape.
#[derive(Debug, Clone)]
pub enum Data {
    /// Numbers in one dimension.
    Numbers(Numbers),
    /// A tensor of any shape.
    Tensor(Tensor),
}

impl Data {
    /// Returns numbers in one dimension; tensors of another rank are an error.
    pub fn numbers(&self) -> Result<Numbers> {
        match self {
            Data::Numbers(numbers) => Ok(numbers.clone()),
            Data::Tensor(tensor) => of_tensor(tensor).map(Numbers),
        }
    }
}

impl FromValue for Data {
    fn label() -> String {
        <Numbers as FromValue>::label()
    }

    fn from_value(value: &Value) -> Result<Self> {
        match value.downcast() {
            Some(tensor) => Ok(Data::Tensor(tensor)),
            None => Numbers::from_value(value).map(Data::Numbers),
        }
    }
}

impl IntoValue for Data {
    fn label() -> String {
        <Numbers as IntoValue>::label()
    }

    fn into_value(self) -> Value {
        match self {
            Data::Numbers(numbers) => numbers.into_value(),
            Data::Tensor(tensor) => tensor.into_value(),
        }
    }
}

impl FromValue for Errors {
    fn label() -> String {
        "array or tensor of numbers or pairs".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        if let Some(tensor) = value.downcast::<Tensor>().filter(|tensor| tensor.rank() == 2) {
            return match tensor.size(1)? {
                2 => Ok(Errors::from(real(&tensor)?.chunks(2).map(|p| (p[0], p[1])).collect::<Vec<_>>())),
                _ => Err(Error::argument(format!(
                    "expected lengths [N], or [N, 2] below and above, found a tensor of shape {:?}",
                    tensor.shape()
                ))),
            };
        }
        let Value::List(list) = value else { return Numbers::from_value(value).map(|n| n.0.into()) };
        let one = |value: &Value| match value {
            Value::List(pair) if pair.len() == 2 => Ok((number(&pair[0])?, number(&pair[1])?)),
            Value::List(_) => Err(value.mismatch("a length, or a pair [below, above]")),
            other => number(other).map(|length| (length, length)),
        };
        let entry = |(i, v): (usize, &Value)| one(v).map_err(|e| e.within(Subject::Entry(i)));
        list.iter().enumerate().map(entry).collect::<Result<Vec<_>>>().map(Errors::from)
    }
}

impl IntoValue for Errors {
    fn label() -> String {
        "array of pairs of floats".to_string()
    }

    fn into_value(self) -> Value {
        self.pairs().to_vec().into_value()
    }
}

fn of_tensor(tensor: &Tensor) -> Result<Vec<f64>> {
    if tensor.rank() != 1 {
        return Err(Error::argument(format!(
            "expected numbers in one dimension, found a tensor of shape {:?}",
            tensor.shape()
        ))
        .hint("index a row or column of it, or `.flatten()` it"));
    }
    real(tensor)
}

/// Returns all elements in row-major order; complex tensors are refused.
pub fn real(tensor: &Tensor) -> Result<Vec<f64>> {
    if tensor.dtype().is_complex() {
        return Err(Error::argument("complex numbers cannot be drawn")
            .hint("draw their size with `.abs()`, or their real or imaginary part"));
    }
    tensor.to_f64()
}

/// Returns one number; a tensor of one element, such as a loss, is accepted too.
pub fn number(value: &Value) -> Result<f64> {
    match value {
        Value::Int(i) => Ok(*i as f64),
        Value::Float(x) => Ok(*x),
        Value::Bool(b) => Ok(f64::from(*b)),
        Value::Unit => Ok(f64::NAN),
        other => match other.downcast::<Tensor>() {
            Some(tensor) if tensor.count() == 1 => Ok(real(&tensor)?[0]),
            _ => Err(other.mismatch("a number")),
        },
    }
}

/// Returns the nesting depth of numbers: 0 for a number, 1 for a row of them, 2 for a matrix; `None` for anything
/// else.
///
/// Only the first entry is inspected; decoding finds entries that differ.
pub fn depth(value: &Value) -> Option<usize> {
    match value {
        Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Unit => Some(0),
        Value::Range(..) => Some(1),
        Value::List(list) => list.first().map_or(Some(1), |v| depth(v).map(|d| d + 1)),
        other => other.downcast::<Tensor>().map(|t| t.rank()),
    }
}
