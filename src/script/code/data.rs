//! Values that stored code captured, as data.

use std::sync::Arc;

use rhai::Dynamic;

use crate::context::Context;
use crate::declare::{FromValue, Function, IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::flow::{Loss, Path, Timesteps};
use crate::model::{Model, Part};
use crate::script::values::Types;
use crate::spectral::basis::Basis;
use crate::spectral::{Correction, Filter, Gate};
use crate::torch::{DType, Device, Tensor};

/// Converts a captured value to data that may hold handles, for comparisons, and returns why no file can hold it, if so.
///
/// Each function in it is converted once: two ways would double the work for every function that a function captures.
pub fn compared(types: &Arc<Types>, value: &Dynamic) -> (Value, Option<Error>) {
    let mut why = None;
    let data = match types.lift(value) {
        Ok(value) => converted(value, &mut why),
        Err(error) => {
            why = Some(error);
            Value::Unit
        }
    };
    (data, why)
}

fn converted(value: Value, why: &mut Option<Error>) -> Value {
    let mut failed = |error: Error| _ = why.get_or_insert(error);
    match value {
        Value::List(list) => Value::List(list.into_iter().map(|value| converted(value, why)).collect()),
        Value::Map(map) => {
            let entries = map.into_iter().map(|(name, value)| (name, converted(value, why)));
            tag("map", Value::Map(entries.collect()))
        }
        Value::Function(function) => {
            let data = function.to_compared().unwrap_or_else(|error| {
                failed(error);
                Value::Unit
            });
            if let Some(error) = Function::not_stored(&data) {
                failed(error);
            }
            tag("code", data)
        }
        value => tagged(&value).unwrap_or_else(|error| {
            failed(error);
            tag("handle", value)
        }),
    }
}

fn tag(name: &str, value: Value) -> Value {
    Value::Map(Map::from([(name.to_string(), value)]))
}

/// Converts a number, a text, a range or a handle to data; a handle that no file can hold is an error.
fn tagged(value: &Value) -> Result<Value> {
    Ok(match value {
        Value::Range(a, b) => tag("range", Value::List(vec![Value::Int(*a), Value::Int(*b)])),
        Value::Function(function) => tag("code", function.to_data()?),
        Value::Object(_) if value.downcast::<Tensor>().is_some_and(|t| t.count() <= NUMBERS) => {
            tag("tensor", numbers(value)?)
        }
        Value::Object(_) if value.downcast::<Model>().is_some_and(|model| model.is_inside()) => {
            tag("model", Model::from_value(value)?.settings()?)
        }
        Value::Object(object) => match object.to_data() {
            Some(data) if RESTORED.contains(&object.type_name()) => {
                complete(value)?;
                tag(object.type_name(), data)
            }
            _ => {
                let advice = match value.downcast::<Model>() {
                    Some(_) => "make it a module of the network: `b.model(name, model)`",
                    None => {
                        "create it inside the function; a large tensor can become a parameter of the builder"
                    }
                };
                return Err(
                    Error::argument(format!("{} is not stored with code", value.describe())).hint(advice)
                );
            }
        },
        plain => plain.clone(),
    })
}

/// Handles that can be rebuilt from their data.
const RESTORED: [&str; 8] = ["filter", "gate", "correction", "part", "basis", "loss", "path", "timesteps"];

/// Returns an error if the value is a loss or a path with a function that cannot be stored.
fn complete(value: &Value) -> Result<()> {
    let loss = value.downcast::<Loss>().map(|loss| loss.not_stored());
    let path = value.downcast::<Path>().map(|path| path.not_stored());
    match loss.or(path).unwrap_or_default().into_iter().next() {
        Some((name, why)) => Err(why.context(format!("`{name}` of {}", value.describe()))),
        None => Ok(()),
    }
}

/// Largest number of elements of a tensor that is stored as a constant of a function.
const NUMBERS: usize = 1 << 16;

/// Converts a tensor to data.
fn numbers(value: &Value) -> Result<Value> {
    let tensor = Tensor::from_value(value)?;
    let plain = |what: DType| Tensor::detach(&tensor)?.to_device(Device::Cpu)?.to_dtype(what);
    let values = match tensor.dtype() {
        dtype if dtype.is_float() => plain(DType::Float64)?.to_f64()?.into_value(),
        dtype if dtype.is_complex() => {
            return Err(Error::argument(format!("a {} is not stored with code", tensor.signature())));
        }
        _ => plain(DType::Int64)?.to_i64()?.into_value(),
    };
    let entries =
        [("dtype", tensor.dtype().into_value()), ("shape", tensor.shape().into_value()), ("values", values)];
    Ok(Value::Map(entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect()))
}

fn from_numbers(data: &Value) -> Result<Tensor> {
    let map = Map::from_value(data)?;
    let entry = |name: &str| map.get(name).cloned().unwrap_or(Value::Unit);
    let (dtype, shape) = (DType::from_value(&entry("dtype"))?, Vec::<i64>::from_value(&entry("shape"))?);
    let tensor = match dtype.is_float() {
        true => Tensor::from_f64(&Vec::<f64>::from_value(&entry("values"))?, &shape)?,
        false => Tensor::from_i64(&Vec::<i64>::from_value(&entry("values"))?, &shape)?,
    };
    // Of a model that is opened on another device, the code computes there.
    tensor.to_dtype(dtype)?.to_device(Device::of_new())
}

pub fn from_data(types: &Arc<Types>, context: &Context, data: &Value) -> Result<Dynamic> {
    types.lower(untagged(context, data)?)
}

fn untagged(context: &Context, data: &Value) -> Result<Value> {
    let map = match data {
        Value::List(list) => {
            return list.iter().map(|v| untagged(context, v)).collect::<Result<_>>().map(Value::List);
        }
        Value::Map(map) => map,
        plain => return Ok(plain.clone()),
    };
    let (Some((tag, value)), 1) = (map.iter().next(), map.len()) else {
        return Err(data.mismatch("a stored value"));
    };
    Ok(match (tag.as_str(), value) {
        ("map", Value::Map(map)) => {
            let entries = map.iter().map(|(name, value)| Ok((name.clone(), untagged(context, value)?)));
            Value::Map(entries.collect::<Result<_>>()?)
        }
        ("range", _) => {
            let (a, b) = <(i64, i64)>::from_value(value)?;
            Value::Range(a, b)
        }
        ("code", _) => Value::Function(Function::of_code(value, context)?),
        ("filter", _) => Filter::from_data(value)?.into_value(),
        ("gate", _) => Gate::from_data(value)?.compiled(context)?.into_value(),
        ("correction", _) => Correction::from_data(value)?.compiled(context)?.into_value(),
        ("basis", _) => Basis::from_data(value)?.into_value(),
        ("loss", _) => Loss::compiled(value, context)?.into_value(),
        ("path", _) => Path::from_data(value, context)?.into_value(),
        ("timesteps", _) => Timesteps::from_data(value)?.into_value(),
        ("tensor", _) => from_numbers(value)?.into_value(),
        ("part", _) => Part::from_data(value)?.compiled(context)?.into_value(),
        ("model", _) => Model::of_settings(value, context)?.into_value(),
        (other, _) => return Err(Error::argument(format!("there is no stored value of the kind `{other}`"))),
    })
}
