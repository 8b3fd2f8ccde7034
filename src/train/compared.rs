//! Settings of a run as they are compared with those of a checkpoint.

use sha2::{Digest, Sha256};

use super::fit::{FitOptions, settings};
use crate::data::Loader;
use crate::declare::{Function, Map, Value};
use crate::error::Result;
use crate::flow::{Loss, Path};
use crate::model::{Model, Part};
use crate::torch::{Generator, Tensor};

/// Key of the model's code among the settings.
const MODEL: &str = "model";

/// Returns the options as data, with code that cannot be stored as its text. Of models and large tensors that it
/// captured it has a hash.
pub(super) fn settings_of(model: &Model, options: &FitOptions) -> Result<Map> {
    let mut all = settings(options);
    let code = model.design().compared_only();
    if !code.is_empty() {
        all.insert(MODEL.to_string(), Value::Map(code));
    }
    all.values_mut().try_for_each(|value| without_handles(value, model))?;
    Ok(all)
}

/// Returns a handle as data, or `()` if it has none. Captured values of its code may be handles.
pub(super) fn compared(value: &Value) -> Value {
    if let Some(loss) = value.downcast::<Loss>() {
        return loss.to_compared();
    }
    if let Some(path) = value.downcast::<Path>() {
        return path.to_compared();
    }
    if let Some(part) = value.downcast::<Part>() {
        return part.to_compared();
    }
    match value {
        Value::Object(object) => object.to_data().unwrap_or(Value::Unit),
        other => other.clone(),
    }
}

/// Returns the code of a function as data, or its kind if it has no text.
pub(super) fn code_of(function: &Function, trained: &Model) -> Result<Value> {
    let Ok(mut code) = function.to_compared() else { return Ok(Value::Str("function".to_string())) };
    without_handles(&mut code, trained)?;
    Ok(code)
}

/// Replaces handles by what identifies them.
fn without_handles(value: &mut Value, trained: &Model) -> Result<()> {
    match value {
        Value::List(list) => list.iter_mut().try_for_each(|value| without_handles(value, trained))?,
        Value::Map(map) => map.values_mut().try_for_each(|value| without_handles(value, trained))?,
        Value::Object(object) => {
            let kind = object.type_name();
            *value = match (value.downcast::<Model>(), value.downcast::<Tensor>()) {
                (Some(model), _) => {
                    Value::Str(match std::ptr::eq(model.parameters(), trained.parameters()) {
                        true => "the trained model".to_string(),
                        false => {
                            hash(model.parameters().iter().map(|(name, tensor)| (name.as_str(), tensor)))?
                        }
                    })
                }
                (_, Some(tensor)) => Value::Str(hash([("", &tensor)])?),
                _ => match compared(value) {
                    Value::Unit => Value::Str(state(value)?.unwrap_or_else(|| kind.to_string())),
                    mut data => {
                        without_handles(&mut data, trained)?;
                        data
                    }
                },
            };
        }
        _ => {}
    }
    Ok(())
}

/// Returns how far a generator or a loader has come, which draws change.
fn state(value: &Value) -> Result<Option<String>> {
    if let Some(generator) = value.downcast::<Generator>() {
        return Ok(Some(format!("generator {}", hash([("", &generator.state()?)])?)));
    }
    Ok(value.downcast::<Loader>().map(|loader| format!("loader at {}", loader.position())))
}

/// Largest number of elements of a tensor that are all read; of a larger one they are taken at equal distances, since
/// this is done at each checkpoint.
const READ: usize = 1 << 16;

fn hash<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        hash.update(format!("{name} {:?} {}\n", tensor.shape(), tensor.dtype().name()));
        let step = tensor.count().div_ceil(READ).max(1) as i64;
        let some = tensor.detach()?.reshape(&[-1])?.slice(0, None, None, step)?;
        hash.update(some.to_bytes()?);
    }
    Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::{DType, Device};

    #[test]
    fn a_generator_and_a_loader_are_compared_by_what_they_draw_next() {
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let of = |value: Value| state(&value).unwrap().unwrap();
        let first = of(generator.clone().into_value());
        assert_eq!(of(Generator::new(3, Device::Cpu).unwrap().into_value()), first);
        Tensor::rand(&[1], DType::Float32, Device::Cpu, Some(&generator)).unwrap();
        assert_ne!(of(generator.into_value()), first);
        let images = Tensor::from_u8(&[0; 12], &[4, 1, 1, 3]).unwrap();
        let labels = Tensor::from_i64(&[0; 4], &[4]).unwrap();
        let set =
            crate::data::from_tensors(&images, &labels, crate::data::FromTensorsOptions::default()).unwrap();
        let options = crate::data::LoaderOptions { batch: 2, ..Default::default() };
        let loader = set.loader(&options).unwrap();
        let first = of(loader.clone().into_value());
        loader.next().unwrap();
        assert_ne!(of(loader.into_value()), first);
        assert_eq!(state(&Value::Int(1)).unwrap(), None);
    }

    #[test]
    fn a_hash_reads_all_of_a_small_tensor_and_some_of_a_large_one() {
        let of = |tensor: &Tensor| hash([("w", tensor)]).unwrap();
        let small = Tensor::from_f64(&[0.5; 21], &[7, 3]).unwrap();
        assert_eq!(of(&Tensor::from_f64(&[0.5; 21], &[7, 3]).unwrap()), of(&small));
        assert_ne!(of(&small.reshape(&[21]).unwrap()), of(&small));
        let mut last = [0.5; 21];
        last[20] = 0.25;
        assert_ne!(of(&Tensor::from_f64(&last, &[7, 3]).unwrap()), of(&small));
        let large = |x: f64| Tensor::from_f64(&vec![x; 210_000], &[300, 700]).unwrap();
        assert_ne!(of(&large(1.0)), of(&large(2.0)));
    }
}
