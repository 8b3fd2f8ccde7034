//! Tensors from nested arrays of numbers, and back.

use super::{DType, Device, Tensor, checked};
use crate::declare::Value;
use crate::error::{Error, Result};

impl Tensor {
    /// Returns a tensor with the shape of nested arrays of numbers, of bools or of tensors of one shape.
    ///
    /// Without a dtype, bools become bool, integers int64 and arrays with any float float32; tensors keep their own
    /// dtype. For arrays of unequal lengths the error says where they differ.
    pub fn from_nested(value: &Value, dtype: Option<DType>, device: Device) -> Result<Tensor> {
        if let Some(tensor) = value.downcast::<Tensor>() {
            return tensor.to_dtype(dtype.unwrap_or(tensor.dtype()))?.to_device(device);
        }
        if holds_tensors(value) {
            let Value::List(list) = value else {
                return Err(value.mismatch("an array of tensors"));
            };
            list.iter().try_for_each(|v| v.downcast::<Tensor>().map_or(Ok(()), |x| admitted(&x, dtype)))?;
            let parts: Vec<Tensor> =
                list.iter().map(|v| Self::from_nested(v, dtype, device)).collect::<Result<_>>()?;
            if let Some(i) = parts.iter().position(|p| p.shape() != parts[0].shape()) {
                return Err(uneven(i, &parts[i].shape(), &parts[0].shape()));
            }
            return Tensor::stack(&parts, 0);
        }
        let mut flat = Flat::default();
        let shape = flat.push(value)?;
        let natural = flat.dtype();
        let dtype = dtype.unwrap_or(natural);
        let tensor = match natural {
            DType::Float32 => {
                let floats = flat.floats();
                floats.iter().try_for_each(|x| dtype.admit((*x).into()))?;
                Tensor::from_f64(&floats, &shape)
            }
            _ => {
                flat.integers.iter().try_for_each(|i| dtype.admit((*i).into()))?;
                Tensor::from_i64(&flat.integers, &shape)
            }
        }?;
        tensor.to_dtype(dtype)?.to_device(device)
    }

    /// Returns all elements as nested arrays of ints, floats or bools, or a single number for a tensor without
    /// dimensions.
    ///
    /// A complex element becomes the array `[real, imaginary]`.
    pub fn to_nested(&self) -> Result<Value> {
        let dtype = self.dtype();
        if dtype.is_complex() {
            return checked(self.detach()?.raw().f_resolve_conj())
                .and_then(|t| checked(t.f_view_as_real()))
                .map(Tensor::wrap)?
                .to_nested();
        }
        let flat: Vec<Value> = match dtype {
            DType::Bool => self.to_i64()?.into_iter().map(|i| Value::Bool(i != 0)).collect(),
            dtype if dtype.is_float() => self.to_f64()?.into_iter().map(Value::Float).collect(),
            _ => self.to_i64()?.into_iter().map(Value::Int).collect(),
        };
        Ok(nest(&self.shape(), &mut flat.into_iter()))
    }

    /// Returns the only element as a script value: an int, a float, a bool, or `[real, imaginary]`.
    pub fn item_value(&self) -> Result<Value> {
        match self.dtype() {
            DType::Bool => Ok(Value::Bool(self.item_i64()? != 0)),
            dtype if dtype.is_float() => self.item().map(Value::Float),
            dtype if dtype.is_complex() => {
                self.one()?;
                self.reshape(&[])?.to_nested()
            }
            _ => self.item_i64().map(Value::Int),
        }
    }
}

fn nest(shape: &[i64], flat: &mut impl Iterator<Item = Value>) -> Value {
    match shape {
        [] => flat.next().unwrap_or(Value::Unit),
        [size, rest @ ..] => Value::List((0..*size).map(|_| nest(rest, flat)).collect()),
    }
}

fn holds_tensors(value: &Value) -> bool {
    match value {
        Value::List(list) => list.iter().any(holds_tensors),
        other => other.downcast::<Tensor>().is_some(),
    }
}

/// Fails if a dtype of integers cannot hold all elements of an entry, as for an entry that is a number.
fn admitted(x: &Tensor, dtype: Option<DType>) -> Result<()> {
    let Some(dtype) = dtype.filter(|to| !to.is_float() && *to != x.dtype()) else { return Ok(()) };
    if x.count() == 0 || x.dtype() == DType::Bool || x.dtype().is_complex() {
        return Ok(());
    }
    let x = x.detach()?;
    [x.amin(&[], false)?, x.amax(&[], false)?].iter().try_for_each(|end| match end.dtype().is_float() {
        true => dtype.admit(end.item()?.into()),
        false => dtype.admit(end.item_i64()?.into()),
    })
}

fn uneven(entry: usize, found: &[i64], expected: &[i64]) -> Error {
    Error::argument(format!("entry {entry} has shape {found:?}, but entry 0 has shape {expected:?}"))
        .hint("the rows of a tensor must have equal lengths; `pad` or `narrow` them")
}

/// Numbers of nested arrays, row-major. Integers are kept as integers until a float occurs, so that large ones stay
/// exact.
#[derive(Default)]
struct Flat {
    integers: Vec<i64>,
    reals: Option<Vec<f64>>,
    saw_number: bool,
    saw_bool: bool,
}

impl Flat {
    fn push(&mut self, value: &Value) -> Result<Vec<i64>> {
        match value {
            Value::Int(i) => {
                self.saw_number = true;
                self.integer(*i);
            }
            Value::Bool(b) => {
                self.saw_bool = true;
                self.integer(i64::from(*b));
            }
            Value::Float(x) => {
                let integers = &self.integers;
                self.reals.get_or_insert_with(|| integers.iter().map(|i| *i as f64).collect()).push(*x);
            }
            Value::Range(start, end) => {
                let values: Vec<Value> = Value::entries(*start, *end)?.map(Value::Int).collect();
                return self.push(&Value::List(values));
            }
            Value::List(list) => {
                let mut first: Option<Vec<i64>> = None;
                for (i, entry) in list.iter().enumerate() {
                    let shape = self.push(entry)?;
                    match &first {
                        None => first = Some(shape),
                        Some(first) if *first == shape => {}
                        Some(first) => return Err(uneven(i, &shape, first)),
                    }
                }
                let mut shape = vec![list.len() as i64];
                shape.extend(first.unwrap_or_default());
                return Ok(shape);
            }
            other => return Err(other.mismatch("numbers, bools or nested arrays of them")),
        }
        Ok(Vec::new())
    }

    fn integer(&mut self, i: i64) {
        match &mut self.reals {
            Some(reals) => reals.push(i as f64),
            None => self.integers.push(i),
        }
    }

    fn dtype(&self) -> DType {
        match (&self.reals, self.saw_number, self.saw_bool) {
            (Some(_), ..) => DType::Float32,
            (None, true, _) => DType::Int64,
            (None, false, true) => DType::Bool,
            // An empty array holds floats, as in PyTorch.
            (None, false, false) => DType::Float32,
        }
    }

    fn floats(&self) -> Vec<f64> {
        self.reals.clone().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: &[Value]) -> Value {
        Value::List(values.to_vec())
    }

    #[test]
    fn the_dtype_follows_from_the_numbers() {
        let make = |v: &Value| Tensor::from_nested(v, None, Device::Cpu).unwrap();
        assert_eq!(make(&Value::Int(3)).dtype(), DType::Int64);
        assert_eq!(make(&list(&[Value::Bool(true)])).dtype(), DType::Bool);
        let mixed = make(&list(&[Value::Int(1), Value::Float(0.5)]));
        assert_eq!((mixed.dtype(), mixed.to_f32().unwrap()), (DType::Float32, vec![1.0, 0.5]));
        assert_eq!(make(&list(&[])).shape(), [0]);
    }

    #[test]
    fn large_integers_stay_exact() {
        let value = list(&[Value::Int(i64::MAX), Value::Int(i64::MIN + 1)]);
        let tensor = Tensor::from_nested(&value, None, Device::Cpu).unwrap();
        assert_eq!(tensor.to_i64().unwrap(), [i64::MAX, i64::MIN + 1]);
    }

    #[test]
    fn numbers_outside_the_range_of_the_dtype_are_refused() {
        let make = |v: Value, dtype| Tensor::from_nested(&list(&[v]), Some(dtype), Device::Cpu);
        for (value, dtype) in [
            (Value::Int(300), DType::UInt8),
            (Value::Int(-256), DType::UInt8),
            (Value::Int(-129), DType::Int8),
            (Value::Int(3_000_000_000), DType::Int32),
            (Value::Float(3e9), DType::Int32),
            (Value::Float(-1.0), DType::UInt8),
            (Value::Float(f64::NAN), DType::Int32),
            (Value::Float(9.3e18), DType::Int64),
        ] {
            let error = make(value, dtype).unwrap_err();
            assert!(error.message().starts_with("expected numbers from "), "{error}");
        }
        for (value, dtype, expected) in [
            (Value::Int(255), DType::UInt8, 255),
            (Value::Int(-1), DType::UInt8, 255),
            (Value::Float(-7.9), DType::Int8, -7),
            (Value::Float(f64::NAN), DType::Bool, 1),
            (Value::Int(i64::MIN), DType::Int64, i64::MIN),
        ] {
            assert_eq!(make(value, dtype).unwrap().to_i64().unwrap(), [expected]);
        }
    }

    #[test]
    fn ragged_rows_are_refused_with_their_place() {
        let ragged = list(&[list(&[Value::Int(1), Value::Int(2)]), list(&[Value::Int(3)])]);
        let error = Tensor::from_nested(&ragged, None, Device::Cpu).unwrap_err();
        assert_eq!(error.message(), "entry 1 has shape [1], but entry 0 has shape [2]");
    }

    #[test]
    fn nested_values_come_back_as_they_went_in() {
        let value = list(&[
            list(&[Value::Float(0.5), Value::Float(-2.0)]),
            list(&[Value::Float(1.0), Value::Float(3.0)]),
        ]);
        let tensor = Tensor::from_nested(&value, None, Device::Cpu).unwrap();
        assert_eq!(format!("{:?}", tensor.to_nested().unwrap()), format!("{value:?}"));
    }
}
