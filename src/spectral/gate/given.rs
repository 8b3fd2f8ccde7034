//! Coefficients returned by user functions.

use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;

use super::Condition;

/// Returns the input of a user-defined gate as a map: `t` `[B]`, and the embeddings `time`, `label` and `both`
/// [B, D].
pub(super) fn seen(condition: &Condition) -> Result<Map> {
    use crate::declare::IntoValue;
    let label = condition.time_label.sub(condition.time)?;
    let entries = [
        ("t", condition.t.clone()),
        ("time", condition.time.clone()),
        ("label", label),
        ("both", condition.time_label.clone()),
    ];
    Ok(entries.into_iter().map(|(name, tensor)| (name.to_string(), tensor.into_value())).collect())
}

/// Converts a function's result to coefficients [B, k] or [B, k, D].
///
/// The result is a tensor of such a shape, or an array of k numbers or tensors `[B]`.
pub(super) fn coefficients(given: &Value, bands: i64, condition: &Condition) -> Result<Tensor> {
    let batch = condition.time.size(0)?;
    let like = condition.time;
    let tensor = match given {
        Value::List(entries) => {
            let each = |value: &Value| match value {
                Value::Int(_) | Value::Float(_) => {
                    let number = if let Value::Int(i) = value { *i as f64 } else { float(value) };
                    Tensor::full(&[batch], number, like.dtype(), like.device())
                }
                other => {
                    let tensor = other
                        .downcast::<Tensor>()
                        .ok_or_else(|| other.mismatch("a number or a tensor [B]"))?;
                    tensor.to_dtype(like.dtype())?.expand(&[batch])
                }
            };
            if entries.len() as i64 != bands {
                return Err(wrong(format!("an array of {}", entries.len()), bands));
            }
            Tensor::stack(&entries.iter().map(each).collect::<Result<Vec<_>>>()?, 1)?
        }
        other => other
            .downcast::<Tensor>()
            .ok_or_else(|| {
                other.mismatch(&format!("{bands} coefficients, an array or a tensor [B, {bands}]"))
            })?
            .to_dtype(like.dtype())?,
    };
    match tensor.shape()[..] {
        [b, k] | [b, k, _] if b == batch && k == bands => Ok(tensor),
        _ => Err(wrong(format!("shape {:?}", tensor.shape()), bands)),
    }
}

fn float(value: &Value) -> f64 {
    if let Value::Float(x) = value { *x } else { f64::NAN }
}

fn wrong(found: String, bands: i64) -> Error {
    Error::argument(format!(
        "expected coefficients of {bands} bands, [B, {bands}] or [B, {bands}, D], found {found}"
    ))
    .hint("n filters make n + 1 bands, the lowest first")
}
