//! In-place operators.
//!
//! As in PyTorch, operators recorded by autograd are refused for a parameter outside `no_grad`; `copy_`, `fill_`
//! and `lerp_` are never recorded and serve optimizers and initialization.

use super::arithmetic::with_numbers;
use super::declare::operators;
use super::maths::either;
use super::{binary, refused};
use crate::declare::{IntoValue, Map, Number};
use crate::error::Result;
use crate::functions;
use crate::torch::call::call_one;
use crate::torch::operand::Operand;
use crate::torch::{Tensor, checked};

crate::api! { functions: [symbols, scripts, methods] }

/// Operators that write into their left operand, as in PyTorch.
mod symbols {
    use super::*;
    functions! { methods;
        /// Adds in place, with broadcasting: every variable that refers to the tensor sees the change.
        ///
        /// `x += y` writes into `x`, as in PyTorch; `x = x + y` creates a new tensor and leaves variables that
        /// share the old one unchanged. Shape and dtype stay the same. A leaf that requires gradients, such as a
        /// parameter, can be changed only inside `no_grad(|| ..)`.
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// let same = x;
        /// x += 1;
        /// assert_eq(same, tensor([2.0, 3.0]));
        /// x = x + 1;
        /// assert_eq(same, tensor([2.0, 3.0]));
        /// ```
        fn add_assign["+="](x: Tensor, y: Operand) -> () { x.update_(Update::Add, &y) }

        /// Subtracts in place, with broadcasting: every variable that refers to the tensor sees the change.
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// let row = x[0];
        /// row -= tensor([1.0, 1.0]);
        /// assert_eq(x, tensor([[0.0, 1.0], [3.0, 4.0]]));
        /// ```
        fn sub_assign["-="](x: Tensor, y: Operand) -> () { x.update_(Update::Sub, &y) }

        /// Multiplies in place, with broadcasting: every variable that refers to the tensor sees the change.
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// x *= 3;
        /// assert_eq(x, tensor([3, 6]));
        /// ```
        fn mul_assign["*="](x: Tensor, y: Operand) -> () { x.update_(Update::Mul, &y) }

        /// Divides in place: every variable that refers to the tensor sees the change. Integer tensors cannot hold
        /// the quotient.
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x /= 4;
        /// assert_eq(x, tensor([0.25, 0.5]));
        /// ```
        fn div_assign["/="](x: Tensor, y: Operand) -> () { x.update_(Update::Div, &y) }

        /// Takes the remainder in place, with the sign of the divisor: every variable that refers to the tensor
        /// sees the change.
        /// ```rhai
        /// let x = tensor([7, -7]);
        /// x %= 3;
        /// assert_eq(x, tensor([1, 2]));
        /// ```
        fn rem_assign["%="](x: Tensor, y: Operand) -> () { x.update_(Update::Rem, &y) }

        /// Raises to a power in place: every variable that refers to the tensor sees the change.
        /// ```rhai
        /// let x = tensor([2.0, 3.0]);
        /// x **= 2;
        /// assert_eq(x, tensor([4.0, 9.0]));
        /// ```
        fn pow_assign["**="](x: Tensor, y: Operand) -> () { x.update_(Update::Pow, &y) }

        /// Computes bitwise and of integers or logical and of masks in place: every variable that refers to the
        /// tensor sees the change.
        /// ```rhai
        /// let mask = tensor([true, true]);
        /// mask &= tensor([true, false]);
        /// assert_eq(mask, tensor([true, false]));
        /// ```
        fn bit_and_assign["&="](x: Tensor, y: Operand) -> () { x.update_(Update::And, &y) }

        /// Computes bitwise or of integers or logical or of masks in place: every variable that refers to the
        /// tensor sees the change.
        /// ```rhai
        /// let mask = tensor([true, false]);
        /// mask |= tensor([false, false]);
        /// assert_eq(mask, tensor([true, false]));
        /// ```
        fn bit_or_assign["|="](x: Tensor, y: Operand) -> () { x.update_(Update::Or, &y) }

        /// Computes bitwise or logical exclusive or in place: every variable that refers to the tensor sees the
        /// change.
        /// ```rhai
        /// let mask = tensor([true, false]);
        /// mask ^= true;
        /// assert_eq(mask, tensor([false, true]));
        /// ```
        fn bit_xor_assign["^="](x: Tensor, y: Operand) -> () { x.update_(Update::Xor, &y) }
    }
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Adds in place and returns the tensor.
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x.add_(1).add_(tensor([10.0, 20.0]));
        /// assert_eq(x, tensor([12.0, 23.0]));
        /// ```
        fn add_(x: Tensor, y: Operand) -> Tensor {
            x.update_(Update::Add, &y)?;
            Ok(x.clone())
        }

        /// Subtracts in place.
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x.sub_(0.5);
        /// assert_eq(x, tensor([0.5, 1.5]));
        /// ```
        fn sub_(x: Tensor, y: Operand) -> Tensor {
            x.update_(Update::Sub, &y)?;
            Ok(x.clone())
        }

        /// Multiplies in place.
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// x.mul_(3);
        /// assert_eq(x, tensor([3, 6]));
        /// ```
        fn mul_(x: Tensor, y: Operand) -> Tensor {
            x.update_(Update::Mul, &y)?;
            Ok(x.clone())
        }

        /// Divides in place; integer tensors cannot hold the quotient.
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x.div_(4);
        /// assert_eq(x, tensor([0.25, 0.5]));
        /// ```
        fn div_(x: Tensor, y: Operand) -> Tensor {
            x.update_(Update::Div, &y)?;
            Ok(x.clone())
        }

        /// Fills the tensor with one value.
        /// ```rhai
        /// let x = tensor::zeros([2]);
        /// x.fill_(7);
        /// assert_eq(x, tensor([7.0, 7.0]));
        /// ```
        fn fill_(x: Tensor, value: Operand) -> Tensor {
            x.write_(&value)?;
            Ok(x.clone())
        }

        /// Fills the tensor with zeros.
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// x.zero_();
        /// assert_eq(x, tensor([0, 0]));
        /// ```
        fn zero_(x: Tensor) -> Tensor {
            x.write_(&Operand::Number(Number::Int(0)))?;
            Ok(x.clone())
        }

        /// Copies the elements of `source` into the tensor, converting dtype and device; shapes broadcast.
        /// ```rhai
        /// let x = tensor::zeros([2, 2]);
        /// x.copy_(tensor([1, 2]));
        /// assert_eq(x, tensor([[1.0, 2.0], [1.0, 2.0]]));
        /// ```
        fn copy_(x: Tensor, source: Tensor) -> Tensor {
            x.write_(&Operand::Tensor(source))?;
            Ok(x.clone())
        }

        /// Clamps elements between two bounds in place; `()` leaves a side open.
        /// ```rhai
        /// let x = tensor([-2.0, 0.5, 2.0]);
        /// x.clamp_(0, 1);
        /// assert_eq(x, tensor([0.0, 0.5, 1.0]));
        /// ```
        fn clamp_(x: Tensor, low: Option<Number>, high: Option<Number>) -> Tensor {
            either(low.is_some() || high.is_some())?;
            call_one("clamp_", &[x.clone().into_value(), low.into_value(), high.into_value()], &Map::new())?;
            Ok(x.clone())
        }
    }
}

operators! {
    /// Raises to a power in place.
    /// ```rhai
    /// let x = tensor([2.0, 3.0]);
    /// x.pow_(2);
    /// assert_eq(x, tensor([4.0, 9.0]));
    /// ```
    fn pow_(x, exponent: Number) -> Tensor {
        with_numbers("pow_.Scalar", &[x], &[exponent])?;
        Ok(x.clone())
    }

    /// Changes the sign in place.
    /// ```rhai
    /// let x = tensor([1, -2]);
    /// x.neg_();
    /// assert_eq(x, tensor([-1, 2]));
    /// ```
    fn neg_(x) -> Tensor {
        let _ = checked(x.alias().f_neg_())?;
        Ok(x.clone())
    }

    /// Interpolates in place towards `end` by `weight`, as for a moving average; never recorded for gradients.
    /// ```rhai
    /// let mean = tensor([0.0]);
    /// mean.lerp_(tensor([10.0]), 0.1);
    /// assert_close(mean, [1.0], 1e-6);
    /// ```
    fn lerp_(x, end: Tensor, weight: f64) -> Tensor {
        crate::torch::no_grad(|| with_numbers("lerp_.Scalar", &[x, end], &[weight.into()]))?;
        Ok(x.clone())
    }

    /// Fills elements with one value where the mask is true, in place.
    /// ```rhai
    /// let x = tensor([1.0, -1.0]);
    /// x.masked_fill_(x < 0, 0);
    /// assert_eq(x, tensor([1.0, 0.0]));
    /// ```
    fn masked_fill_(x, mask: Tensor, value: Number) -> Tensor {
        with_numbers("masked_fill_.Scalar", &[x, mask], &[value])?;
        Ok(x.clone())
    }

    /// Adds the slices of `source` at int64 indices along a dimension, in place; an index may occur twice.
    /// ```rhai
    /// let x = tensor::zeros([3]);
    /// x.index_add_(0, tensor([0, 2, 0]), tensor([1.0, 5.0, 2.0]));
    /// assert_eq(x, tensor([3.0, 0.0, 5.0]));
    /// ```
    fn index_add_(x, dim: i64, index: Tensor, source: Tensor) -> Tensor {
        let _ = x.naming(dim, index, checked(x.alias().f_index_add_(dim, index.raw(), source.raw())))?;
        Ok(x.clone())
    }
}

impl Tensor {
    /// Adds in place.
    pub fn add_(&self, other: &Tensor) -> Result<()> {
        binary("+=", self, other, self.alias().f_add_(other.raw())).map(drop)
    }

    /// Multiplies by a number in place.
    pub fn mul_scalar_(&self, number: impl Into<Number>) -> Result<()> {
        with_numbers("mul_.Scalar", &[self], &[number.into()]).map(drop)
    }

    /// Copies the elements of `other` into this tensor, converting dtype and device; shapes broadcast.
    pub fn copy_(&self, other: &Tensor) -> Result<()> {
        let mut target = self.alias();
        crate::torch::no_grad(|| checked(target.f_copy_(other.raw()))).map(drop)
    }

    /// Fills with one value in place.
    pub fn fill_(&self, value: impl Into<Number>) -> Result<()> {
        crate::torch::no_grad(|| with_numbers("fill_.Scalar", &[self], &[value.into()])).map(drop)
    }
    /// Applies an operator in place, recorded by autograd.
    pub fn update_(&self, op: Update, other: &Operand) -> Result<()> {
        let name = op.name();
        match other {
            Operand::Tensor(t) => {
                let arguments = [self.clone().into_value(), t.clone().into_value()];
                call_one(&format!("{name}.Tensor"), &arguments, &Map::new())
                    .map(drop)
                    .map_err(|error| refused(name, self, t, error))
            }
            Operand::Number(n) => with_numbers(&format!("{name}.Scalar"), &[self], &[*n]).map(drop),
        }
    }

    /// Writes a number, or a tensor that broadcasts, into all elements, recorded by autograd.
    pub fn write_(&self, value: &Operand) -> Result<()> {
        let mut target = self.alias();
        match value {
            Operand::Tensor(t) => binary("=", self, t, target.f_copy_(t.raw()).map(|()| target)).map(drop),
            Operand::Number(n) => {
                self.dtype().admit(*n)?;
                with_numbers("fill_.Scalar", &[self], &[*n]).map(drop)
            }
        }
    }
}

/// Operator of [`Tensor::update_`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Adds.
    Add,
    /// Subtracts.
    Sub,
    /// Multiplies.
    Mul,
    /// Divides.
    Div,
    /// Takes the remainder.
    Rem,
    /// Raises to a power.
    Pow,
    /// Bitwise or logical and.
    And,
    /// Bitwise or logical or.
    Or,
    /// Bitwise or logical exclusive or.
    Xor,
}

impl Update {
    /// Returns libtorch's name of the operator.
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add_",
            Self::Sub => "sub_",
            Self::Mul => "mul_",
            Self::Div => "div_",
            Self::Rem => "remainder_",
            Self::Pow => "pow_",
            Self::And => "bitwise_and_",
            Self::Or => "bitwise_or_",
            Self::Xor => "bitwise_xor_",
        }
    }
}
