//! Coefficients returned by user functions.

use crate::declare::{Map, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;

use super::Condition;

/// Returns the input of a user-defined gate as a map: `t` `[B]`, and the embeddings `time`, `label` and `both`
/// [B, D]; of tokens [B, N] and [B, N, D].
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

/// Converts a function's result to coefficients [B, k] or [B, k, D], or to those of tokens, [B, N, k] or [B, N, k, D].
///
/// The result is a tensor of such a shape, or an array of k numbers or tensors `[B]` or [B, N]. Tokens may share the coefficients
/// [B, k] of their image.
pub(super) fn coefficients(given: &Value, bands: i64, condition: &Condition) -> Result<Tensor> {
    let (rows, like) = (condition.rows(), condition.time);
    let wrong = |found| wrong(found, bands, condition.is_of_tokens());
    let tensor = match given {
        Value::List(entries) => {
            let each = |value: &Value| match value {
                Value::Int(_) | Value::Float(_) => {
                    let number = if let Value::Int(i) = value { *i as f64 } else { float(value) };
                    Tensor::full(&rows, number, like.dtype(), like.device())
                }
                other => {
                    let tensor = other
                        .downcast::<Tensor>()
                        .ok_or_else(|| other.mismatch("a number or a tensor [B]"))?;
                    let tensor = tensor.to_dtype(like.dtype())?;
                    // Those of images are the same for all of their tokens.
                    let of_images = rows.len() == 2 && tensor.rank() == 1;
                    let tensor = if of_images { tensor.unsqueeze(1)? } else { tensor };
                    tensor.expand(&rows)
                }
            };
            if entries.len() as i64 != bands {
                return Err(wrong(format!("an array of {}", entries.len())));
            }
            Tensor::stack(&entries.iter().map(each).collect::<Result<Vec<_>>>()?, rows.len() as i64)?
        }
        other => other
            .downcast::<Tensor>()
            .ok_or_else(|| {
                other.mismatch(&format!("{bands} coefficients, an array or a tensor [B, {bands}]"))
            })?
            .to_dtype(like.dtype())?,
    };
    let found = tensor.shape();
    match (&rows[..], &found[..]) {
        ([batch], [b, k] | [b, k, _]) if b == batch && *k == bands => Ok(tensor),
        ([batch, count], [b, k]) if b == batch && *k == bands => {
            tensor.unsqueeze(1)?.expand(&[*batch, *count, bands])
        }
        ([batch, count], [b, n, k] | [b, n, k, _]) if b == batch && n == count && *k == bands => Ok(tensor),
        _ => Err(wrong(format!("shape {found:?}"))),
    }
}

fn float(value: &Value) -> f64 {
    if let Value::Float(x) = value { *x } else { f64::NAN }
}

fn wrong(found: String, bands: i64, of_tokens: bool) -> Error {
    let (rows, more) = match of_tokens {
        true => (
            "B, N",
            "; with times of pixels t is [B, N], embeddings are [B, N, D], and bands follow the tokens",
        ),
        false => ("B", ""),
    };
    Error::argument(format!(
        "expected coefficients of {bands} bands, [{rows}, {bands}] or [{rows}, {bands}, D], found {found}"
    ))
    .hint(format!("n filters make n + 1 bands, the lowest first{more}"))
}
