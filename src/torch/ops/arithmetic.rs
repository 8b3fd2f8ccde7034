//! Arithmetic and comparison, with broadcasting, and element-wise mathematics.

use super::{binary, ops};
use crate::declare::Number;
use crate::error::Result;
use crate::torch::{Tensor, checked};

pub(crate) fn scalar(number: impl Into<Number>) -> tch::Scalar {
    match number.into() {
        Number::Int(i) => tch::Scalar::int(i),
        Number::Float(x) => tch::Scalar::float(x),
    }
}

macro_rules! binary_ops {
    ($( $(#[doc = $doc:literal])* $name:ident, $with_scalar:ident, $symbol:literal, $f:ident, $fs:ident; )*) => {
        impl Tensor {$(
            $(#[doc = $doc])*
            pub fn $name(&self, other: &Tensor) -> Result<Tensor> {
                binary($symbol, self, other, self.raw().$f(other.raw()))
            }

            $(#[doc = $doc])*
            pub fn $with_scalar(&self, other: impl Into<Number>) -> Result<Tensor> {
                checked(self.raw().$fs(scalar(other))).map(Tensor::wrap)
            }
        )*}
    };
}

binary_ops! {
    /// Sum.
    add, add_scalar, "+", f_add, f_add_scalar;
    /// Difference.
    sub, sub_scalar, "-", f_sub, f_sub_scalar;
    /// Product.
    mul, mul_scalar, "*", f_mul, f_mul_scalar;
    /// Quotient; integers give floats.
    div, div_scalar, "/", f_div, f_div_scalar;
    /// Remainder with the sign of the divisor, as in Python.
    rem, rem_scalar, "%", f_remainder_tensor, f_remainder;
    /// Power.
    pow, pow_scalar, "**", f_pow, f_pow_tensor_scalar;
    /// Whether elements are equal, bool.
    eq, eq_scalar, "==", f_eq_tensor, f_eq;
    /// Whether elements differ, bool.
    ne, ne_scalar, "!=", f_ne_tensor, f_ne;
    /// Whether left is less, bool.
    lt, lt_scalar, "<", f_lt_tensor, f_lt;
    /// Whether left is less or equal, bool.
    le, le_scalar, "<=", f_le_tensor, f_le;
    /// Whether left is greater, bool.
    gt, gt_scalar, ">", f_gt_tensor, f_gt;
    /// Whether left is greater or equal, bool.
    ge, ge_scalar, ">=", f_ge_tensor, f_ge;
    /// Bitwise and; logical and of bools.
    bit_and, bit_and_scalar, "&", f_bitwise_and_tensor, f_bitwise_and;
    /// Bitwise or; logical or of bools.
    bit_or, bit_or_scalar, "|", f_bitwise_or_tensor, f_bitwise_or;
    /// Bitwise exclusive or.
    bit_xor, bit_xor_scalar, "^", f_bitwise_xor_tensor, f_bitwise_xor;
    /// Remainder with the sign of the dividend, as in C.
    fmod, fmod_scalar, "fmod", f_fmod_tensor, f_fmod;
    /// Quotient rounded down.
    floor_divide, floor_divide_scalar, "floor_divide", f_floor_divide, f_floor_divide_scalar;
}

ops! {
    /// The larger of two elements.
    maximum(other: &Tensor) = f_maximum(other.raw());
    /// The smaller of two elements.
    minimum(other: &Tensor) = f_minimum(other.raw());
    /// `self + weight * (end - self)`.
    lerp(end: &Tensor, weight: f64) = f_lerp(end.raw(), weight);
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
        checked(self.raw().f_rsub_scalar(scalar(number))).map(Tensor::wrap)
    }

    /// `number / self`.
    pub fn rdiv_scalar(&self, number: impl Into<Number>) -> Result<Tensor> {
        checked(self.raw().f_reciprocal())
            .and_then(|r| checked(r.f_mul_scalar(scalar(number))))
            .map(Tensor::wrap)
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
