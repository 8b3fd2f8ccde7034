//! Indices of images.

use crate::declare::{FromValue, OneOrMany, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Indices as scripts give them: an integer, an array or a range of integers, or a tensor of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Indices(pub Vec<i64>);

impl FromValue for Indices {
    fn label() -> String {
        "integer or array of integers or tensor".to_string()
    }

    fn from_value(value: &Value) -> Result<Self> {
        let Some(tensor) = value.downcast::<Tensor>() else {
            return OneOrMany::<i64>::from_value(value).map(|all| Self(all.0));
        };
        if tensor.dtype().is_float() || tensor.dtype().is_complex() || tensor.rank() > 1 {
            let error =
                Error::argument(format!("expected a tensor [N] of integers, found a {}", tensor.signature()));
            return Err(error.hint(
                "`.to(\"int64\")` converts it, and `mask.nonzero().flatten()` gives the indices of a mask",
            ));
        }
        if tensor.dtype() == crate::torch::DType::Bool {
            return Err(Error::argument("expected indices, found a mask of bool")
                .hint("`mask.nonzero().flatten()` gives the indices of a mask"));
        }
        tensor.to_i64().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::DType;

    #[test]
    fn a_tensor_of_integers_is_as_good_as_an_array() {
        let tensor = Tensor::from_i64(&[3, 0], &[2]).unwrap();
        let read = |value: &Value| Indices::from_value(value);
        assert_eq!(read(&tensor.clone().into_value()).unwrap().0, [3, 0]);
        assert_eq!(read(&Value::List(vec![Value::Int(3), Value::Int(0)])).unwrap().0, [3, 0]);
        assert_eq!(read(&Value::Int(2)).unwrap().0, [2]);
        for dtype in [DType::Float32, DType::Bool] {
            assert!(read(&tensor.to_dtype(dtype).unwrap().into_value()).is_err());
        }
    }
}
