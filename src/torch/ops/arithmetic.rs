//! Arithmetic and comparison, with broadcasting, and element-wise mathematics.

use super::{binary, ops};
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::Result;
use crate::torch::call::call_one;
use crate::torch::{Tensor, checked};

/// Calls an operator that takes numbers. It goes through the dispatcher, because tch frees a number before
/// it asks for the error of the call, and then takes that error for one of freeing.
pub(crate) fn with_numbers(name: &str, tensors: &[&Tensor], numbers: &[Number]) -> Result<Tensor> {
    let tensors = tensors.iter().map(|t| (*t).clone().into_value());
    let arguments: Vec<Value> = tensors.chain(numbers.iter().map(|n| n.into_value())).collect();
    call_one(name, &arguments, &Map::new())
}

macro_rules! binary_ops {
    ($( $(#[doc = $doc:literal])* $name:ident, $with_scalar:ident, $symbol:literal, $f:ident, $fs:literal; )*) => {
        impl Tensor {$(
            $(#[doc = $doc])*
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                binary($symbol, self, other, self.raw().$f(other.raw()))
            }

            $(#[doc = $doc])*
            pub fn $with_scalar(&self, other: impl Into<Number>) -> Result<Tensor> {
                with_numbers($fs, &[self], &[other.into()])
            }
        )*}
    };
}

binary_ops! {
    /// Sum.
    add, add_scalar, "+", f_add, "add.Scalar";
    /// Difference.
    sub, sub_scalar, "-", f_sub, "sub.Scalar";
    /// Product.
    mul, mul_scalar, "*", f_mul, "mul.Scalar";
    /// Quotient; integers give floats.
    div, div_scalar, "/", f_div, "div.Scalar";
    /// Remainder with the sign of the divisor, as in Python.
    rem, rem_scalar, "%", f_remainder_tensor, "remainder.Scalar";
    /// Power.
    pow, pow_scalar, "**", f_pow, "pow.Tensor_Scalar";
    /// Whether elements are equal, bool.
    eq, eq_scalar, "==", f_eq_tensor, "eq.Scalar";
    /// Whether elements differ, bool.
    ne, ne_scalar, "!=", f_ne_tensor, "ne.Scalar";
    /// Whether left is less, bool.
    lt, lt_scalar, "<", f_lt_tensor, "lt.Scalar";
    /// Whether left is less or equal, bool.
    le, le_scalar, "<=", f_le_tensor, "le.Scalar";
    /// Whether left is greater, bool.
    gt, gt_scalar, ">", f_gt_tensor, "gt.Scalar";
    /// Whether left is greater or equal, bool.
    ge, ge_scalar, ">=", f_ge_tensor, "ge.Scalar";
    /// Bitwise and; logical and of bools.
    bit_and, bit_and_scalar, "&", f_bitwise_and_tensor, "bitwise_and.Scalar";
    /// Bitwise or; logical or of bools.
    bit_or, bit_or_scalar, "|", f_bitwise_or_tensor, "bitwise_or.Scalar";
    /// Bitwise exclusive or.
    bit_xor, bit_xor_scalar, "^", f_bitwise_xor_tensor, "bitwise_xor.Scalar";
    /// Remainder with the sign of the dividend, as in C.
    fmod, fmod_scalar, "fmod", f_fmod_tensor, "fmod.Scalar";
    /// Quotient rounded down.
    floor_divide, floor_divide_scalar, "floor_divide", f_floor_divide, "floor_divide.Scalar";
}

ops! {
    /// The larger of two elements.
    maximum(other: &Tensor) = f_maximum(other.raw());
    /// The smaller of two elements.
    minimum(other: &Tensor) = f_minimum(other.raw());
    /// `self + weight * (end - self)` with a weight for each element.
    lerp_by(end: &Tensor, weight: &Tensor) = f_lerp_tensor(end.raw(), weight.raw());
    /// Elements of self where `condition` holds, else of `other`.
    where_true(condition: &Tensor, other: &Tensor) = f_where_self(condition.raw(), other.raw());
    /// Bitwise not; logical not of bools.
    bit_not() = f_bitwise_not();
    /// Whether both are non-zero, bool.
    logical_and(other: &Tensor) = f_logical_and(other.raw());
    /// Whether at least one is non-zero, bool.
    logical_or(other: &Tensor) = f_logical_or(other.raw());
    /// Whether exactly one is non-zero, bool.
    logical_xor(other: &Tensor) = f_logical_xor(other.raw());
    /// Whether an element is zero, bool.
    logical_not() = f_logical_not();
    /// Whether elements agree within `atol + rtol * |other|`, bool.
    isclose(other: &Tensor, rtol: f64, atol: f64) = f_isclose(other.raw(), rtol, atol, false);
    /// Angle of the point (other, self), in radians.
    atan2(other: &Tensor) = f_atan2(other.raw());
    /// `sqrt(self^2 + other^2)` without overflow.
    hypot(other: &Tensor) = f_hypot(other.raw());
    /// `log(exp(self) + exp(other))` without overflow.
    logaddexp(other: &Tensor) = f_logaddexp(other.raw());
    /// `self * log(other)`, zero where self is zero.
    xlogy(other: &Tensor) = f_xlogy(other.raw());
    /// Magnitude of self with the sign of `other`.
    copysign(other: &Tensor) = f_copysign(other.raw());
}

impl Tensor {
    /// `number - self`.
    pub fn rsub_scalar(&self, number: impl Into<Number>) -> Result<Tensor> {
        with_numbers("rsub.Scalar", &[self], &[number.into()])
    }

    /// `number / self`.
    pub fn rdiv_scalar(&self, number: impl Into<Number>) -> Result<Tensor> {
        self.reciprocal()?.mul_scalar(number)
    }

    /// `self + weight * (end - self)`.
    pub fn lerp(&self, end: &Tensor, weight: f64) -> Result<Tensor> {
        with_numbers("lerp.Scalar", &[self, end], &[Number::Float(weight)])
    }

    /// Quotient rounded: `floor` or `trunc`.
    pub fn div_rounded(&self, other: &Tensor, rounding: &str) -> Result<Tensor> {
        binary("/", self, other, self.raw().f_div_tensor_mode(other.raw(), rounding))
    }

    /// Which elements of self occur in `values`, bool.
    pub fn isin(&self, values: &Tensor) -> Result<Tensor> {
        checked(tch::Tensor::f_isin(self.raw(), values.raw(), false, false)).map(Tensor::wrap)
    }

    /// `self + value * a * b`; one pass over memory when `value` is 1.
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: f64) -> Result<Tensor> {
        if value == 1.0 {
            return checked(self.raw().f_addcmul(a.raw(), b.raw())).map(Tensor::wrap);
        }
        self.add(&a.mul(b)?.mul_scalar(value)?)
    }

    /// `self + value * a / b`.
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: f64) -> Result<Tensor> {
        self.add(&a.div(b)?.mul_scalar(value)?)
    }
}
