//! Element-wise arithmetic and comparison, with broadcasting.

use super::{binary, ops};
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::Result;
use crate::torch::call::call_one;
use crate::torch::{Tensor, checked};

/// Calls an operator that takes numbers, through the dispatcher. tch frees a number before it checks the call for
/// an error, and then reports that error as one of the freeing.
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
    /// Returns the sum.
    add, add_scalar, "+", f_add, "add.Scalar";
    /// Returns the difference.
    sub, sub_scalar, "-", f_sub, "sub.Scalar";
    /// Returns the product.
    mul, mul_scalar, "*", f_mul, "mul.Scalar";
    /// Returns the quotient; integers give floats.
    div, div_scalar, "/", f_div, "div.Scalar";
    /// Returns the remainder with the sign of the divisor, as in Python.
    rem, rem_scalar, "%", f_remainder_tensor, "remainder.Scalar";
    /// Raises to a power.
    pow, pow_scalar, "**", f_pow, "pow.Tensor_Scalar";
    /// Returns whether elements are equal, bool.
    eq, eq_scalar, "==", f_eq_tensor, "eq.Scalar";
    /// Returns whether elements differ, bool.
    ne, ne_scalar, "!=", f_ne_tensor, "ne.Scalar";
    /// Returns whether `self` is less than `other`, bool.
    lt, lt_scalar, "<", f_lt_tensor, "lt.Scalar";
    /// Returns whether `self` is less than or equal to `other`, bool.
    le, le_scalar, "<=", f_le_tensor, "le.Scalar";
    /// Returns whether `self` is greater than `other`, bool.
    gt, gt_scalar, ">", f_gt_tensor, "gt.Scalar";
    /// Returns whether `self` is greater than or equal to `other`, bool.
    ge, ge_scalar, ">=", f_ge_tensor, "ge.Scalar";
    /// Returns the bitwise and, or the logical and for bools.
    bit_and, bit_and_scalar, "&", f_bitwise_and_tensor, "bitwise_and.Scalar";
    /// Returns the bitwise or, or the logical or for bools.
    bit_or, bit_or_scalar, "|", f_bitwise_or_tensor, "bitwise_or.Scalar";
    /// Returns the bitwise exclusive or.
    bit_xor, bit_xor_scalar, "^", f_bitwise_xor_tensor, "bitwise_xor.Scalar";
    /// Returns the remainder with the sign of the dividend, as in C.
    fmod, fmod_scalar, "fmod", f_fmod_tensor, "fmod.Scalar";
    /// Returns the quotient rounded down.
    floor_divide, floor_divide_scalar, "floor_divide", f_floor_divide, "floor_divide.Scalar";
}

ops! {
    /// Returns the larger of two elements.
    maximum(other: &Tensor) = f_maximum(other.raw());
    /// Returns the smaller of two elements.
    minimum(other: &Tensor) = f_minimum(other.raw());
    /// Returns `self + weight * (end - self)` with a weight for each element.
    lerp_by(end: &Tensor, weight: &Tensor) = f_lerp_tensor(end.raw(), weight.raw());
    /// Selects elements of `self` where `condition` holds, else of `other`.
    where_true(condition: &Tensor, other: &Tensor) = f_where_self(condition.raw(), other.raw());
    /// Returns the bitwise not, or the logical not for bools.
    bit_not() = f_bitwise_not();
    /// Returns whether both are nonzero, bool.
    logical_and(other: &Tensor) = f_logical_and(other.raw());
    /// Returns whether at least one is nonzero, bool.
    logical_or(other: &Tensor) = f_logical_or(other.raw());
    /// Returns whether exactly one is nonzero, bool.
    logical_xor(other: &Tensor) = f_logical_xor(other.raw());
    /// Returns whether elements are zero, bool.
    logical_not() = f_logical_not();
    /// Returns whether elements agree within `atol + rtol * |other|`, bool.
    isclose(other: &Tensor, rtol: f64, atol: f64) = f_isclose(other.raw(), rtol, atol, false);
    /// Returns the angle of the point (other, self), in radians.
    atan2(other: &Tensor) = f_atan2(other.raw());
    /// Returns `sqrt(self^2 + other^2)` without overflow.
    hypot(other: &Tensor) = f_hypot(other.raw());
    /// Returns `log(exp(self) + exp(other))` without overflow.
    logaddexp(other: &Tensor) = f_logaddexp(other.raw());
    /// Returns `self * log(other)`, zero where `self` is zero.
    xlogy(other: &Tensor) = f_xlogy(other.raw());
    /// Returns the magnitude of `self` with the sign of `other`.
    copysign(other: &Tensor) = f_copysign(other.raw());
}

impl Tensor {
    /// Returns `number - self`.
    pub fn rsub_scalar(&self, number: impl Into<Number>) -> Result<Tensor> {
        with_numbers("rsub.Scalar", &[self], &[number.into()])
    }

    /// Returns `number / self`.
    pub fn rdiv_scalar(&self, number: impl Into<Number>) -> Result<Tensor> {
        self.reciprocal()?.mul_scalar(number)
    }

    /// Returns `self + weight * (end - self)`.
    pub fn lerp(&self, end: &Tensor, weight: f64) -> Result<Tensor> {
        with_numbers("lerp.Scalar", &[self, end], &[Number::Float(weight)])
    }

    /// Returns the quotient, rounded by `floor` or `trunc`.
    pub fn div_rounded(&self, other: &Tensor, rounding: &str) -> Result<Tensor> {
        binary("/", self, other, self.raw().f_div_tensor_mode(other.raw(), rounding))
    }

    /// Returns which elements of `self` occur in `values`, bool.
    pub fn isin(&self, values: &Tensor) -> Result<Tensor> {
        checked(tch::Tensor::f_isin(self.raw(), values.raw(), false, false)).map(Tensor::wrap)
    }

    /// Returns `self + value * a * b`, in one pass over memory when `value` is 1.
    pub fn addcmul(&self, a: &Tensor, b: &Tensor, value: f64) -> Result<Tensor> {
        if value == 1.0 {
            return checked(self.raw().f_addcmul(a.raw(), b.raw())).map(Tensor::wrap);
        }
        self.add(&a.mul(b)?.mul_scalar(value)?)
    }

    /// Returns `self + value * a / b`.
    pub fn addcdiv(&self, a: &Tensor, b: &Tensor, value: f64) -> Result<Tensor> {
        self.add(&a.div(b)?.mul_scalar(value)?)
    }
}
