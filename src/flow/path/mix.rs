//! Points that a function of the user returns.

use super::{Pair, PathStep};
use crate::declare::{Function, IntoValue, Map, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::answer;
use crate::torch::Tensor;
use crate::torch::unwritten::unwritten;

/// Entries of the result that have a meaning. A `noise`, which the map of a pair has too, does not replace that of the path.
const KNOWN: [&str; 3] = ["noise", "target", "x_t"];

/// Returns the point, its target and the other entries that the function gives for images x1 [B, ..] at times t.
pub(super) fn mixed(mix: &Function, x1: &Tensor, t: &Tensor, noise: Tensor, step: &PathStep) -> Result<Pair> {
    let t = t.to_dtype(x1.dtype())?;
    let arguments = [x1, &noise, &t].map(|tensor| tensor.clone().into_value()).to_vec();
    let arguments = answer::with_step(arguments, mix, || step.clone().into_value());
    let shared = [("the images", x1), ("the noise", &noise), ("the times", &t)];
    let answer = unwritten(&shared, || step.unwritten(|| mix.call(&arguments)))?;
    let Value::Map(map) = &answer else {
        return Err(answer.mismatch("a map #{ x_t, target }").context("`mix` of the path"));
    };
    let part = |name: &str| {
        let what = format!("`{name}` of `mix`");
        let tensor = answer::tensor(map.get(name).unwrap_or(&Value::Unit), &what, &x1.signature())?;
        ensure!(
            tensor.shape() == x1.shape() && tensor.dtype() == x1.dtype(),
            "{what} must be a {}, as the images, found a {}",
            x1.signature(),
            tensor.signature()
        );
        Ok(tensor)
    };
    let (x_t, target) = (part("x_t")?, part("target")?);
    let mut others = map.clone();
    others.retain(|name, _| !KNOWN.contains(&name.as_str()));
    others.iter().try_for_each(|(name, value)| check(name, value, x1.size(0)?))?;
    Ok(Pair { x_t, target, noise, others })
}

/// Returns an error unless a value can be divided like the batch, of which a loss may get a part.
fn check(name: &str, value: &Value, count: i64) -> Result<()> {
    let tensor = value.downcast::<Tensor>();
    match (&tensor, value) {
        (Some(tensor), _) if tensor.shape().first() == Some(&count) => Ok(()),
        (None, Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Str(_)) => Ok(()),
        _ => {
            let found = tensor.map_or_else(|| value.describe(), |tensor| format!("a {}", tensor.signature()));
            Err(Error::argument(format!(
                "`{name}` of `mix` must be a tensor [{count}, ..] with one row per image, or a number, found {found}"
            ))
            .hint("`s.pair` gives a loss the rows of its images"))
        }
    }
}

/// Returns the `size` rows from `start` on of each tensor.
pub fn narrowed(others: &Map, start: i64, size: i64) -> Result<Map> {
    let of = |(name, value): (&String, &Value)| {
        let part = match value.downcast::<Tensor>() {
            Some(tensor) => tensor.narrow(0, start, size)?.into_value(),
            None => value.clone(),
        };
        Ok((name.clone(), part))
    };
    others.iter().map(of).collect()
}
