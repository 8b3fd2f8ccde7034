//! Rust's operators on tensors and numbers: `(&a - &b)?`, `(x * 2)?`.
//!
//! Each returns a [`Result`], as the methods do: incompatible shapes are an error, not a panic.

use std::ops::{Add, Div, Mul, Neg, Rem, Sub};

use crate::declare::Number;
use crate::error::Result;
use crate::torch::Tensor;

macro_rules! operator {
    ($trait:ident, $name:ident, $scalar:ident, $left:ty) => {
        impl $trait<Tensor> for $left {
            type Output = Result<Tensor>;
            fn $name(self, other: Tensor) -> Result<Tensor> {
                Tensor::$name(&self, &other)
            }
        }
        impl $trait<&Tensor> for $left {
            type Output = Result<Tensor>;
            fn $name(self, other: &Tensor) -> Result<Tensor> {
                Tensor::$name(&self, other)
            }
        }
        impl<N: Into<Number>> $trait<N> for $left {
            type Output = Result<Tensor>;
            fn $name(self, other: N) -> Result<Tensor> {
                Tensor::$scalar(&self, other)
            }
        }
    };
}

macro_rules! operators {
    ($($trait:ident, $name:ident, $scalar:ident;)*) => {$(
        operator!($trait, $name, $scalar, Tensor);
        operator!($trait, $name, $scalar, &Tensor);
    )*};
}

operators! {
    Add, add, add_scalar;
    Sub, sub, sub_scalar;
    Mul, mul, mul_scalar;
    Div, div, div_scalar;
    Rem, rem, rem_scalar;
}

impl Neg for Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        Tensor::neg(&self)
    }
}

impl Neg for &Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        Tensor::neg(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_the_methods_and_refuse_what_they_refuse() {
        let x = Tensor::from_f32(&[1.0, 2.0, 7.0], &[3]).unwrap();
        let numbers = |t: Result<Tensor>| t.unwrap().to_f64().unwrap();
        assert_eq!(numbers(&x + &x), [2.0, 4.0, 14.0]);
        assert_eq!(numbers((&x - 1).unwrap() * 0.5), [0.0, 0.5, 3.0]);
        assert_eq!(numbers(&x % 3), [1.0, 2.0, 1.0]);
        assert_eq!(numbers((-x.clone()).unwrap() / &x), [-1.0; 3]);
        assert!(
            (&x + Tensor::from_i64(&[1, 2], &[2]).unwrap()).unwrap_err().message().contains("[3] and [2]")
        );
    }
}
