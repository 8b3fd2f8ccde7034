//! Checked results of user functions.

use crate::declare::{Function, IntoValue, Value};
use crate::ensure;
use crate::error::Result;
use crate::torch::Tensor;

/// Calls a function that must return a tensor of the shape and dtype of `like`, which is moved to its device; `what` names it in
/// messages.
pub(super) fn like(like: &Tensor, what: &str, function: &Function, arguments: &[Value]) -> Result<Tensor> {
    let answer = function.call_as(what, arguments)?;
    let tensor = tensor(&answer, what, &like.signature())?;
    ensure!(
        tensor.shape() == like.shape() && tensor.dtype() == like.dtype(),
        "{what} must return a {}, found a {}",
        like.signature(),
        tensor.signature()
    );
    tensor.to_device(like.device())
}

/// Returns the tensor in a function's result; `expected` is its signature in messages.
pub(super) fn tensor(answer: &Value, what: &str, expected: &str) -> Result<Tensor> {
    answer.downcast::<Tensor>().ok_or_else(|| answer.mismatch(&format!("a {expected}")).context(what))
}

/// Appends the labels to the arguments of a function that takes one argument more, and what `told` returns for one that takes
/// two.
pub(super) fn with_more(
    mut arguments: Vec<Value>,
    function: &Function,
    y: &Tensor,
    told: impl FnOnce() -> Value,
) -> Vec<Value> {
    let more = function.takes().unwrap_or(0).saturating_sub(arguments.len());
    if more > 0 {
        arguments.push(y.clone().into_value());
    }
    if more > 1 {
        arguments.push(told());
    }
    arguments
}

/// Appends what `told` returns to the arguments of a function that takes one argument more.
pub(super) fn with_step(
    mut arguments: Vec<Value>,
    function: &Function,
    told: impl FnOnce() -> Value,
) -> Vec<Value> {
    if function.takes() == Some(arguments.len() + 1) {
        arguments.push(told());
    }
    arguments
}

/// Returns the arguments of a function, with the times in the dtype of the state, so that products with it keep
/// that dtype.
pub(super) fn with_times(tensors: &[&Tensor], x: &Tensor, t: &Tensor) -> Result<Vec<Value>> {
    let t = t.to_dtype(x.dtype())?;
    Ok(tensors.iter().copied().chain([x, &t]).map(|t| t.clone().into_value()).collect())
}
