//! Operators with tensors or numbers on either side.

use super::ops::declare::Argument;
use crate::declare::{FromValue, IntoValue, Map, Number, Value};
use crate::error::{Error, Result};
use crate::torch::call::call_one;
use crate::torch::{DType, Device, Tensor};

/// Operand of an operator: a tensor, or a number that takes the other operand's dtype as in PyTorch.
#[derive(Debug, Clone)]
pub enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A number; an integer keeps integer tensors integer, a float makes them float32.
    Number(Number),
}

impl Operand {
    /// Applies the function of libtorch for tensors or that for numbers, which convert a number in different ways.
    pub(super) fn apply(
        &self,
        x: &Tensor,
        tensors: fn(&Tensor, &Tensor) -> Result<Tensor>,
        number: fn(&Tensor, Number) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match self {
            Operand::Tensor(other) => tensors(x, other),
            Operand::Number(other) => number(x, *other),
        }
    }

    /// Converts the operand to a tensor with the same effect on the dtype of a result as the operand itself.
    pub fn tensor_for(&self, other: &Tensor) -> Result<Tensor> {
        let number = match self {
            Operand::Tensor(tensor) => return Ok(tensor.clone()),
            Operand::Number(number) => *number,
        };
        let dtype = match (number, other.dtype()) {
            (_, dtype) if dtype.is_float() || dtype.is_complex() => dtype,
            (Number::Float(_), _) => DType::Float32,
            (Number::Int(_), DType::Bool) => DType::Int64,
            (Number::Int(i), dtype) => {
                let (low, high) = dtype.integers();
                // libtorch would count a negative number from 256.
                if !(low..=high).contains(&i) {
                    return Err(dtype.too_small_for(i));
                }
                dtype
            }
        };
        Tensor::filled(&[], number, dtype, other.device())
    }
}

impl Argument for Operand {
    type Held = Tensor;
    type Rust<'a> = &'a Tensor;
    fn hold(self, x: &Tensor) -> Result<Tensor> {
        self.tensor_for(x)
    }
    fn lend(held: &Tensor) -> &Tensor {
        held
    }
}

impl From<Tensor> for Operand {
    fn from(tensor: Tensor) -> Self {
        Operand::Tensor(tensor)
    }
}

impl From<&Tensor> for Operand {
    fn from(tensor: &Tensor) -> Self {
        Operand::Tensor(tensor.clone())
    }
}

impl From<Number> for Operand {
    fn from(number: Number) -> Self {
        Operand::Number(number)
    }
}

impl From<i64> for Operand {
    fn from(number: i64) -> Self {
        Operand::Number(number.into())
    }
}

impl From<f64> for Operand {
    fn from(number: f64) -> Self {
        Operand::Number(number.into())
    }
}

impl FromValue for Operand {
    fn label() -> String {
        "tensor or number".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Int(i) => Ok(Operand::Number(Number::Int(*i))),
            Value::Float(x) => Ok(Operand::Number(Number::Float(*x))),
            Value::Bool(_) => Tensor::from_nested(value, None, Device::Cpu).map(Operand::Tensor),
            Value::List(_) => {
                Err(value.mismatch("a tensor or a number").hint("make the array a tensor: `tensor([..])`"))
            }
            other => match other.downcast() {
                Some(tensor) => Ok(Operand::Tensor(tensor)),
                None => Err(other.mismatch("a tensor or a number")),
            },
        }
    }
}

/// Binary operator for two tensors, a number on the right, or a number on the left.
pub struct Binary {
    tensors: fn(&Tensor, &Tensor) -> Result<Tensor>,
    number_right: fn(&Tensor, Number) -> Result<Tensor>,
    number_left: fn(Number, &Tensor) -> Result<Tensor>,
}

impl Binary {
    /// Applies the operator; at least one side must be a tensor.
    pub fn apply(&self, left: &Operand, right: &Operand) -> Result<Tensor> {
        match (left, right) {
            (Operand::Tensor(a), Operand::Tensor(b)) => (self.tensors)(a, b),
            (Operand::Tensor(a), Operand::Number(b)) => (self.number_right)(a, *b),
            (Operand::Number(a), Operand::Tensor(b)) => (self.number_left)(*a, b),
            (Operand::Number(_), Operand::Number(_)) => Err(Error::argument("expected at least one tensor")),
        }
    }
}

macro_rules! binaries {
    ($( $(#[doc = $doc:literal])* $name:ident = $tensors:expr, $right:expr, $left:expr; )*) => {$(
        $(#[doc = $doc])*
        pub const $name: Binary = Binary { tensors: $tensors, number_right: $right, number_left: $left };
    )*};
}

binaries! {
    /// `a + b`.
    ADD = Tensor::add, |a, b| a.add_scalar(b), |a, b| b.add_scalar(a);
    /// `a - b`.
    SUB = Tensor::sub, |a, b| a.sub_scalar(b), |a, b| b.rsub_scalar(a);
    /// `a * b`.
    MUL = Tensor::mul, |a, b| a.mul_scalar(b), |a, b| b.mul_scalar(a);
    /// `a / b`.
    DIV = Tensor::div, |a, b| a.div_scalar(b), |a, b| b.rdiv_scalar(a);
    /// `a % b`, with the sign of `b`.
    REM = Tensor::rem, |a, b| a.rem_scalar(b), |a, b| {
        call_one("remainder.Scalar_Tensor", &[a.into_value(), b.clone().into_value()], &Map::new())
    };
    /// `a ** b`.
    POW = Tensor::pow, |a, b| a.pow_scalar(b), |a, b| {
        call_one("pow.Scalar", &[a.into_value(), b.clone().into_value()], &Map::new())
    };
    /// `a & b`.
    AND = Tensor::bit_and, |a, b| a.bit_and_scalar(b), |a, b| b.bit_and_scalar(a);
    /// `a | b`.
    OR = Tensor::bit_or, |a, b| a.bit_or_scalar(b), |a, b| b.bit_or_scalar(a);
    /// `a ^ b`.
    XOR = Tensor::bit_xor, |a, b| a.bit_xor_scalar(b), |a, b| b.bit_xor_scalar(a);
    /// `a == b`.
    EQ = Tensor::eq, |a, b| a.eq_scalar(b), |a, b| b.eq_scalar(a);
    /// `a != b`.
    NE = Tensor::ne, |a, b| a.ne_scalar(b), |a, b| b.ne_scalar(a);
    /// `a < b`.
    LT = Tensor::lt, |a, b| a.lt_scalar(b), |a, b| b.gt_scalar(a);
    /// `a <= b`.
    LE = Tensor::le, |a, b| a.le_scalar(b), |a, b| b.ge_scalar(a);
    /// `a > b`.
    GT = Tensor::gt, |a, b| a.gt_scalar(b), |a, b| b.lt_scalar(a);
    /// `a >= b`.
    GE = Tensor::ge, |a, b| a.ge_scalar(b), |a, b| b.le_scalar(a);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operator returns the same for a number as for a tensor without dimensions, on either side.
    #[test]
    fn numbers_act_as_tensors_without_dimensions() {
        let arithmetic = [("+", ADD), ("-", SUB), ("*", MUL), ("/", DIV), ("%", REM), ("**", POW)];
        let compare = [("==", EQ), ("!=", NE), ("<", LT), ("<=", LE), (">", GT), (">=", GE)];
        let bits = [("&", AND), ("|", OR), ("^", XOR)];
        let floats = Tensor::from_f32(&[0.5, 2.0, 3.0, 7.25], &[2, 2]).unwrap();
        let integers = Tensor::from_i64(&[1, 2, 3, 7], &[4]).unwrap();
        let check = |name: &str, op: &Binary, tensor: &Tensor, number: Number| {
            let alone = Operand::Number(number);
            let wrapped = Operand::Tensor(alone.tensor_for(tensor).unwrap());
            let tensor = Operand::Tensor(tensor.clone());
            for (a, b) in [
                (op.apply(&tensor, &alone).unwrap(), op.apply(&tensor, &wrapped).unwrap()),
                (op.apply(&alone, &tensor).unwrap(), op.apply(&wrapped, &tensor).unwrap()),
            ] {
                assert_eq!(a.dtype(), b.dtype(), "{name} with {number:?}");
                assert!(a.allclose(&b, 1e-6, 0.0).unwrap(), "{name} with {number:?}: {a:?} and {b:?}");
            }
        };
        for (name, op) in arithmetic.iter().chain(&compare) {
            for number in [Number::Int(2), Number::Float(2.0), Number::Float(0.75)] {
                check(name, op, &floats, number);
            }
            check(name, op, &integers, Number::Int(3));
        }
        for (name, op) in &bits {
            check(name, op, &integers, Number::Int(6));
        }
    }

    #[test]
    fn integers_stay_integers_until_a_float_comes() {
        let integers = Operand::Tensor(Tensor::from_i64(&[1, 2], &[2]).unwrap());
        let dtype = |n| MUL.apply(&integers, &Operand::Number(n)).unwrap().dtype();
        assert_eq!(dtype(Number::Int(2)), DType::Int64);
        assert_eq!(dtype(Number::Float(2.0)), DType::Float32);
    }
}
