//! Input of what a part surrounds.

use crate::declare::{FromValue, Value};
use crate::error::Result;
use crate::nn::Heads;
use crate::torch::Tensor;

/// Input of what a part surrounds: tokens of blocks, or queries, keys and values of attention.
pub(super) enum Inside {
    Tokens(Tensor),
    Heads(Heads),
}

impl FromValue for Inside {
    fn label() -> String {
        "tensor or map".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Map(_) => Heads::from_value(value).map(Inside::Heads),
            _ => value
                .downcast::<Tensor>()
                .map(Inside::Tokens)
                .ok_or_else(|| value.mismatch("a tensor, or a map `#{ q, k, v }`")),
        }
    }
}
