//! Comparison of script values for assertions.

use crate::declare::Value;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Fails unless both values are the same: integers differ from floats, and tensors must agree in shape and dtype, wherever
/// they are. NaN equals NaN here.
pub fn equal(found: &Value, expected: &Value) -> Result<()> {
    match same(found, expected)? {
        true => Ok(()),
        false => Err(differ(found, expected, "")),
    }
}

/// Fails unless numbers, or arrays, maps and tensors of numbers, agree within `tolerance` everywhere.
///
/// A tensor may be compared with nested arrays, and a tensor of one element with a number. Shapes must agree;
/// dtypes need not.
pub fn close(found: &Value, expected: &Value, tolerance: f64) -> Result<()> {
    match distance(found, expected)? {
        Some(distance) if distance <= tolerance => Ok(()),
        Some(distance) => Err(differ(
            found,
            expected,
            &format!("; the largest difference is {distance:.3e}, the tolerance {tolerance:e}"),
        )),
        None => Err(differ(found, expected, "; they have different shapes or types")),
    }
}

fn differ(found: &Value, expected: &Value, reason: &str) -> Error {
    Error::argument(format!("expected {}, found {}{reason}", show(expected), show(found)))
}

/// Formats the value as a script would write it, with tensors as they print.
fn show(value: &Value) -> String {
    match value {
        Value::Object(object) => object.text(),
        other => format!("{other:?}"),
    }
}

fn same(a: &Value, b: &Value) -> Result<bool> {
    Ok(match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b || a.is_nan() && b.is_nan(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && all(a.iter().zip(b), |(a, b)| same(a, b))?,
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && all(a.iter().zip(b), |((ka, a), (kb, b))| Ok(ka == kb && same(a, b)?))?
        }
        (Value::Object(one), Value::Object(two)) => match (a.downcast::<Tensor>(), b.downcast::<Tensor>()) {
            (Some(a), Some(b)) => {
                a.shape() == b.shape() && a.dtype() == b.dtype() && same(&a.to_nested()?, &b.to_nested()?)?
            }
            _ => one.type_name() == two.type_name() && one.text() == two.text(),
        },
        _ => format!("{a:?}") == format!("{b:?}"),
    })
}

fn all<T>(items: impl Iterator<Item = T>, test: impl Fn(T) -> Result<bool>) -> Result<bool> {
    for item in items {
        if !test(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the largest absolute difference, or `None` if the values cannot be compared.
fn distance(a: &Value, b: &Value) -> Result<Option<f64>> {
    let number = |v: &Value| match v {
        Value::Int(i) => Some(*i as f64),
        Value::Float(x) => Some(*x),
        _ => None,
    };
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return Ok(Some(a.abs_diff(*b) as f64));
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        // The difference of equal infinities is not a number.
        return Ok(Some(if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() }));
    }
    match (a, b) {
        (Value::List(a), Value::List(b)) if a.len() == b.len() => largest(a.iter().zip(b)),
        (Value::Map(a), Value::Map(b)) if a.keys().eq(b.keys()) => largest(a.values().zip(b.values())),
        _ => match (a.downcast::<Tensor>(), b.downcast::<Tensor>()) {
            // Empty tensors of different shapes give the same nested arrays.
            (Some(a), Some(b)) if a.shape() == b.shape() => distance(&a.to_nested()?, &b.to_nested()?),
            (Some(_), Some(_)) => Ok(None),
            (Some(a), None) => distance(&beside(&a, b)?, b),
            (None, Some(b)) => distance(a, &beside(&b, a)?),
            (None, None) => Ok(same(a, b)?.then_some(0.0)),
        },
    }
}

/// Converts a tensor for a comparison: compared with a number, one element is a number too.
fn beside(tensor: &Tensor, other: &Value) -> Result<Value> {
    match other {
        Value::Int(_) | Value::Float(_) if tensor.count() == 1 => tensor.item_value(),
        _ => tensor.to_nested(),
    }
}

fn largest<'a>(pairs: impl Iterator<Item = (&'a Value, &'a Value)>) -> Result<Option<f64>> {
    let mut most = 0.0;
    for (a, b) in pairs {
        match distance(a, b)? {
            // NaN must win, so that it fails the comparison with the tolerance.
            Some(d) => most = if d > most || d.is_nan() { d } else { most },
            None => return Ok(None),
        }
        if f64::is_nan(most) {
            break;
        }
    }
    Ok(Some(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::torch::{DType, Device};

    #[test]
    fn integers_and_floats_are_distinct_but_close() {
        assert!(equal(&Value::Int(1), &Value::Float(1.0)).is_err());
        assert!(close(&Value::Int(1), &Value::Float(1.0), 0.0).is_ok());
    }

    #[test]
    fn tensors_are_equal_with_shape_and_dtype() {
        let make = |dtype| Tensor::ones(&[2], dtype, Device::Cpu).unwrap().into_value();
        assert!(equal(&make(DType::Float32), &make(DType::Float32)).is_ok());
        let message = equal(&make(DType::Float32), &make(DType::Int64)).unwrap_err().to_string();
        assert!(message.contains("float32") && message.contains("int64"), "{message}");
    }

    #[test]
    fn closeness_checks_shapes_and_refuses_nan() {
        let make = |x: f64, n: i64| Tensor::full(&[n], x, DType::Float32, Device::Cpu).unwrap().into_value();
        assert!(close(&make(1.0, 2), &make(1.25, 2), 0.25).is_ok());
        assert!(close(&make(1.0, 2), &make(1.5, 2), 0.25).is_err());
        assert!(close(&make(1.0, 2), &make(1.0, 1), 9.0).is_err());
        assert!(close(&make(f64::NAN, 2), &make(1.0, 2), 9.0).is_err());
        assert!(close(&make(1.0, 1), &Value::List(vec![Value::Float(1.0)]), 0.0).is_ok());
    }
}
