//! In-place methods and operators; each method returns its tensor, so that calls chain.
//!
//! Every variable that refers to the tensor sees the change. A parameter that records gradients can be changed only
//! inside `no_grad(|| ..)`.

use super::join;
use super::maths::bounded;
use crate::declare::{Declaration, Number};
use crate::functions;
use crate::torch::Tensor;
use crate::torch::ops::inplace::Update;
use crate::torch::ops::operand::Operand;

pub fn declarations() -> Vec<&'static Declaration> {
    join(&[assigning::declarations(), methods::declarations()])
}

/// Operators that write into their left operand, as in PyTorch.
mod assigning {
    use super::*;
    functions! { methods;
        /// Adds in place, with broadcasting: every variable that refers to the tensor sees the change.
        ///
        /// `x += y` writes into `x`, as in PyTorch; `x = x + y` creates a new tensor and leaves variables that
        /// share the old one unchanged. Shape and dtype stay the same. A leaf that requires gradients, such as a
        /// parameter, can be changed only inside `no_grad(|| ..)`.
        ///
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
        ///
        /// ```rhai
        /// let x = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// let row = x[0];
        /// row -= tensor([1.0, 1.0]);
        /// assert_eq(x, tensor([[0.0, 1.0], [3.0, 4.0]]));
        /// ```
        fn sub_assign["-="](x: Tensor, y: Operand) -> () { x.update_(Update::Sub, &y) }

        /// Multiplies in place, with broadcasting: every variable that refers to the tensor sees the change.
        ///
        /// ```rhai
        /// let x = tensor([1, 2]);
        /// x *= 3;
        /// assert_eq(x, tensor([3, 6]));
        /// ```
        fn mul_assign["*="](x: Tensor, y: Operand) -> () { x.update_(Update::Mul, &y) }

        /// Divides in place: every variable that refers to the tensor sees the change. Integer tensors cannot hold
        /// the quotient.
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x /= 4;
        /// assert_eq(x, tensor([0.25, 0.5]));
        /// ```
        fn div_assign["/="](x: Tensor, y: Operand) -> () { x.update_(Update::Div, &y) }

        /// Takes the remainder in place, with the sign of the divisor: every variable that refers to the tensor
        /// sees the change.
        ///
        /// ```rhai
        /// let x = tensor([7, -7]);
        /// x %= 3;
        /// assert_eq(x, tensor([1, 2]));
        /// ```
        fn rem_assign["%="](x: Tensor, y: Operand) -> () { x.update_(Update::Rem, &y) }

        /// Raises to a power in place: every variable that refers to the tensor sees the change.
        ///
        /// ```rhai
        /// let x = tensor([2.0, 3.0]);
        /// x **= 2;
        /// assert_eq(x, tensor([4.0, 9.0]));
        /// ```
        fn pow_assign["**="](x: Tensor, y: Operand) -> () { x.update_(Update::Pow, &y) }

        /// Computes bitwise and of integers or logical and of masks in place: every variable that refers to the
        /// tensor sees the change.
        ///
        /// ```rhai
        /// let mask = tensor([true, true]);
        /// mask &= tensor([true, false]);
        /// assert_eq(mask, tensor([true, false]));
        /// ```
        fn bit_and_assign["&="](x: Tensor, y: Operand) -> () { x.update_(Update::And, &y) }

        /// Computes bitwise or of integers or logical or of masks in place: every variable that refers to the
        /// tensor sees the change.
        ///
        /// ```rhai
        /// let mask = tensor([true, false]);
        /// mask |= tensor([false, false]);
        /// assert_eq(mask, tensor([true, false]));
        /// ```
        fn bit_or_assign["|="](x: Tensor, y: Operand) -> () { x.update_(Update::Or, &y) }

        /// Computes bitwise or logical exclusive or in place: every variable that refers to the tensor sees the
        /// change.
        ///
        /// ```rhai
        /// let mask = tensor([true, false]);
        /// mask ^= true;
        /// assert_eq(mask, tensor([false, true]));
        /// ```
        fn bit_xor_assign["^="](x: Tensor, y: Operand) -> () { x.update_(Update::Xor, &y) }
    }
}

mod methods {
    use super::*;
    functions! { methods;
        /// Adds in place and returns the tensor.
        ///
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
        ///
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
        ///
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
        ///
        /// ```rhai
        /// let x = tensor([1.0, 2.0]);
        /// x.div_(4);
        /// assert_eq(x, tensor([0.25, 0.5]));
        /// ```
        fn div_(x: Tensor, y: Operand) -> Tensor {
            x.update_(Update::Div, &y)?;
            Ok(x.clone())
        }

        /// Raises to a power in place.
        ///
        /// ```rhai
        /// let x = tensor([2.0, 3.0]);
        /// x.pow_(2);
        /// assert_eq(x, tensor([4.0, 9.0]));
        /// ```
        fn pow_(x: Tensor, exponent: Number) -> Tensor {
            x.pow_(exponent)?;
            Ok(x.clone())
        }

        /// Changes the sign in place.
        ///
        /// ```rhai
        /// let x = tensor([1, -2]);
        /// x.neg_();
        /// assert_eq(x, tensor([-1, 2]));
        /// ```
        fn neg_(x: Tensor) -> Tensor {
            x.neg_()?;
            Ok(x.clone())
        }

        /// Fills the tensor with one value.
        ///
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
        ///
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
        ///
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
        ///
        /// ```rhai
        /// let x = tensor([-2.0, 0.5, 2.0]);
        /// x.clamp_(0, 1);
        /// assert_eq(x, tensor([0.0, 0.5, 1.0]));
        /// ```
        fn clamp_(x: Tensor, low: Option<Number>, high: Option<Number>) -> Tensor {
            let bounded = bounded(&x, low.map(Operand::Number), high.map(Operand::Number))?;
            x.write_(&Operand::Tensor(bounded))?;
            Ok(x.clone())
        }

        /// Interpolates in place towards `end` by `weight`, as for a moving average; never recorded for gradients.
        ///
        /// ```rhai
        /// let mean = tensor([0.0]);
        /// mean.lerp_(tensor([10.0]), 0.1);
        /// assert_close(mean, [1.0], 1e-6);
        /// ```
        fn lerp_(x: Tensor, end: Tensor, weight: f64) -> Tensor {
            x.lerp_(&end, weight)?;
            Ok(x.clone())
        }

        /// Fills elements with one value where the mask is true, in place.
        ///
        /// ```rhai
        /// let x = tensor([1.0, -1.0]);
        /// x.masked_fill_(x < 0, 0);
        /// assert_eq(x, tensor([1.0, 0.0]));
        /// ```
        fn masked_fill_(x: Tensor, mask: Tensor, value: Number) -> Tensor {
            x.masked_fill_(&mask, value)?;
            Ok(x.clone())
        }

        /// Adds the slices of `source` at int64 indices along a dimension, in place; an index may occur twice.
        ///
        /// ```rhai
        /// let x = tensor::zeros([3]);
        /// x.index_add_(0, tensor([0, 2, 0]), tensor([1.0, 5.0, 2.0]));
        /// assert_eq(x, tensor([3.0, 0.0, 5.0]));
        /// ```
        fn index_add_(x: Tensor, dim: i64, index: Tensor, source: Tensor) -> Tensor {
            x.index_add_(dim, &index, &source)?;
            Ok(x.clone())
        }
    }
}
