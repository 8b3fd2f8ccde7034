//! Labels of the images to sample.

use crate::declare::{FromValue, IntoValue, Value};
use crate::ensure;
use crate::error::Result;
use crate::torch::{DType, Tensor};

/// One label per image: integers, or an int64 tensor `[B]`.
#[derive(Debug, Clone)]
pub enum Labels {
    /// An int64 tensor `[B]`.
    Tensor(Tensor),
    /// Integers.
    List(Vec<i64>),
}

impl Labels {
    /// Returns the labels as an int64 tensor `[B]`.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Labels::List(numbers) => Tensor::from_i64(numbers, &[numbers.len() as i64]),
            Labels::Tensor(tensor) => {
                ensure!(
                    tensor.rank() == 1 && tensor.dtype() == DType::Int64,
                    "expected labels as an int64 tensor [B], found {}",
                    tensor.signature()
                );
                Ok(tensor.clone())
            }
        }
    }
}

impl From<Tensor> for Labels {
    fn from(tensor: Tensor) -> Self {
        Labels::Tensor(tensor)
    }
}

impl From<&Tensor> for Labels {
    fn from(tensor: &Tensor) -> Self {
        Labels::Tensor(tensor.clone())
    }
}

impl From<Vec<i64>> for Labels {
    fn from(numbers: Vec<i64>) -> Self {
        Labels::List(numbers)
    }
}

impl<const N: usize> From<[i64; N]> for Labels {
    fn from(numbers: [i64; N]) -> Self {
        Labels::List(numbers.to_vec())
    }
}

impl From<std::ops::Range<i64>> for Labels {
    fn from(numbers: std::ops::Range<i64>) -> Self {
        Labels::List(numbers.collect())
    }
}

impl FromValue for Labels {
    fn label() -> String {
        "array of ints, range or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Some(tensor) = value.downcast() {
            let labels = Labels::Tensor(tensor);
            return labels.tensor().map(|_| labels);
        }
        match value {
            Value::Range(first, end) => Ok(Labels::List(Value::entries(*first, *end)?.collect())),
            Value::List(_) => Vec::from_value(value).map(Labels::List),
            other => Err(other.mismatch("labels: an array of integers, a range or an int64 tensor")),
        }
    }
}

impl IntoValue for Labels {
    fn label() -> String {
        "tensor".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Labels::Tensor(tensor) => tensor.into_value(),
            Labels::List(numbers) => numbers.into_value(),
        }
    }
}
