//! Arithmetic and comparison, with broadcasting, and element-wise mathematics.

use super::{binary, ops};
use crate::declare::Number;
use crate::error::Result;
use crate::torch::{Tensor, checked};

fn scalar(number: impl Into<Number>) -> tch::Scalar {
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
}

ops! {
    /// Negative.
    neg() = f_neg();
    /// Absolute value.
    abs() = f_abs();
    /// Square.
    square() = f_square();
    /// Square root.
    sqrt() = f_sqrt();
    /// Reciprocal square root.
    rsqrt() = f_rsqrt();
    /// Exponential.
    exp() = f_exp();
    /// Natural logarithm.
    log() = f_log();
    /// Sine.
    sin() = f_sin();
    /// Cosine.
    cos() = f_cos();
    /// Hyperbolic tangent.
    tanh() = f_tanh();
    /// Largest integer not above, as a float.
    floor() = f_floor();
    /// Nearest integer, halves to even.
    round() = f_round();
    /// Complex conjugate.
    conj() = f_conj_physical();
    /// Whether elements are finite, bool.
    isfinite() = f_isfinite();
    /// Elements held between two bounds.
    clamp(low: f64, high: f64) = f_clamp(low, high);
    /// Elements held above a bound.
    clamp_min(low: f64) = f_clamp_min(low);
    /// The larger of two elements.
    maximum(other: &Tensor) = f_maximum(other.raw());
    /// The smaller of two elements.
    minimum(other: &Tensor) = f_minimum(other.raw());
    /// `self + weight * (end - self)`.
    lerp(end: &Tensor, weight: f64) = f_lerp(end.raw(), weight);
    /// Elements of self where `condition` holds, else of `other`.
    where_true(condition: &Tensor, other: &Tensor) = f_where_self(condition.raw(), other.raw());
    /// Real part of the modulus: `|z|`.
    modulus() = f_abs();
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

    /// Adds in place.
    pub fn add_(&self, other: &Tensor) -> Result<()> {
        binary("+=", self, other, self.alias().f_add_(other.raw())).map(drop)
    }

    /// Multiplies by a number in place.
    pub fn mul_scalar_(&self, number: impl Into<Number>) -> Result<()> {
        checked(self.alias().f_mul_scalar_(scalar(number))).map(drop)
    }

    /// Copies the elements of `other` into this tensor, converting dtype and device; shapes broadcast.
    pub fn copy_(&self, other: &Tensor) -> Result<()> {
        let mut target = self.alias();
        crate::torch::no_grad(|| checked(target.f_copy_(other.raw()))).map(drop)
    }

    /// Fills with one value in place.
    pub fn fill_(&self, value: f64) -> Result<()> {
        let mut target = self.alias();
        crate::torch::no_grad(|| checked(target.f_fill_(value))).map(drop)
    }

    /// Moves in place towards `end`: `self += weight * (end - self)`.
    pub fn lerp_(&self, end: &Tensor, weight: f64) -> Result<()> {
        let mut target = self.alias();
        crate::torch::no_grad(|| checked(target.f_lerp_(end.raw(), weight))).map(drop)
    }
}
