//! Coefficients of a block, as parts at `modulation` see them.

use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::torch::Tensor;
use crate::torch::autograd::is_autocasting;

/// Names of the coefficients, in the order in which adaLN computes them.
pub const NAMES: [&str; 6] = ["shift_attn", "scale_attn", "gate_attn", "shift_mlp", "scale_mlp", "gate_mlp"];

/// The shift, scale and gate of attention, then those of the MLP, [B, 1, D] each; with times of pixels [B, N, D].
#[derive(Debug, Clone)]
pub struct Coefficients(pub [Tensor; 6]);

/// A map by name.
impl IntoValue for Coefficients {
    fn label() -> String {
        "map".to_string()
    }
    fn into_value(self) -> Value {
        let named = NAMES.iter().map(ToString::to_string).zip(self.0);
        Value::Map(named.map(|(name, tensor)| (name, tensor.into_value())).collect())
    }
}

impl Coefficients {
    /// Returns the coefficients that a part returned, which must have the shape and dtype of `like`, [B, 1, D] or [B, N, D].
    pub fn of(given: &Value, like: &Tensor) -> Result<Self> {
        let Value::Map(map) = given else { return Err(given.mismatch(&described())) };
        if let Some(unknown) = map.keys().find(|key| !NAMES.contains(&key.as_str())) {
            let error = Error::argument(format!("a block has no coefficient `{unknown}`"));
            return Err(match crate::error::nearest(unknown, NAMES) {
                Some(_) => error.did_you_mean(unknown, NAMES),
                None => error.hint(format!("it has {}", crate::error::list(&NAMES))),
            });
        }
        let all = NAMES.iter().map(|name| one(map, name, like)).collect::<Result<Vec<_>>>()?;
        let all = all.try_into().map_err(|_| Error::internal("a block has six coefficients"))?;
        Ok(Self(all))
    }
}

/// Returns how the map is described in messages.
fn described() -> String {
    format!("a map `#{{ {} }}`", NAMES.join(", "))
}

fn one(map: &Map, name: &str, like: &Tensor) -> Result<Tensor> {
    let (shape, dtype) = (like.shape(), like.dtype());
    let each = if shape.get(1) == Some(&1) { "image" } else { "token" };
    let wanted = format!("expected `{name}` of shape {shape:?}, one vector for each {each}");
    let Some(value) = map.get(name) else { return Err(Error::argument(format!("{wanted}, found none"))) };
    let Some(found) = value.downcast::<Tensor>() else {
        return Err(value.mismatch(&format!("a tensor of shape {shape:?} as `{name}`")));
    };
    if found.shape() != shape {
        return Err(Error::argument(format!("{wanted}, found {:?}", found.shape()))
            .hint(format!("give it that shape, such as by `.expand({shape:?})`")));
    }
    if found.dtype() != dtype && !is_autocasting(like.device()) {
        let (expected, found) = (dtype.name(), found.dtype().name());
        return Err(Error::argument(format!("expected `{name}` of {expected}, found {found}"))
            .hint(format!("convert it: `.to(\"{expected}\")`")));
    }
    Ok(found)
}
