//! Comparisons, logic and masks.

use super::declare::operators;
use super::single;
use crate::declare::{FromValue, IntoValue, Map, Options, Value};
use crate::error::Result;
use crate::functions;
use crate::torch::call::call_one;
use crate::torch::operand::{Binary, EQ, GE, GT, LE, LT, NE, Operand};
use crate::torch::{Tensor, checked};

crate::api! { functions: [symbols, scripts, methods, space] }

/// Takes elements of `a` where the condition holds and of `b` elsewhere.
fn chosen(condition: Tensor, a: Operand, b: Operand) -> Result<Tensor> {
    let (name, a, b) = match (a, b) {
        (Operand::Tensor(a), Operand::Tensor(b)) => return a.where_true(&condition, &b),
        (Operand::Tensor(a), Operand::Number(b)) => ("where.ScalarOther", a.into_value(), b.into_value()),
        (Operand::Number(a), Operand::Tensor(b)) => ("where.ScalarSelf", a.into_value(), b.into_value()),
        (Operand::Number(a), Operand::Number(b)) => ("where.Scalar", a.into_value(), b.into_value()),
    };
    call_one(name, &[condition.into_value(), a, b], &Map::new())
}

/// Compares with any value: a tensor is never equal to `()` or text.
fn compare(op: &Binary, x: &Value, y: &Value, otherwise: bool) -> Result<Value> {
    match (Operand::from_value(x), Operand::from_value(y)) {
        (Ok(x), Ok(y)) => op.apply(&x, &y).map(Tensor::into_value),
        _ => Ok(Value::Bool(otherwise)),
    }
}

mod symbols {
    use super::*;
    functions! { methods;
        /// Returns a bool mask that is true where elements are equal.
        ///
        /// A comparison with `()`, text or an array returns plain `false`, so that `x.grad == ()` tests whether a
        /// gradient is missing. `x.equal(y)` returns one bool for whole tensors. As in PyTorch, all comparisons of an
        /// integer tensor with a number outside the range of its dtype wrap the number: a byte of 44 equals 300.
        /// ```rhai
        /// assert_eq(tensor([1, 2]) == tensor([1, 3]), tensor([true, false]));
        /// assert_eq(tensor([1.0, 2.0]) == 2, tensor([false, true]));
        /// assert((tensor([1.0]) == ()) == false);
        /// ```
        fn equal["=="](x: Tensor, y: Value) -> Value { compare(&EQ, &x.into_value(), &y, false) }

        /// Returns a bool mask that is true where elements equal a number.
        /// ```rhai
        /// assert_eq(2 == tensor([1, 2]), tensor([false, true]));
        /// ```
        fn equal_number["=="](x: Value, y: Tensor) -> Value { compare(&EQ, &x, &y.into_value(), false) }

        /// Returns a bool mask that is true where elements differ, or plain `true` for `()`, text or an array.
        /// ```rhai
        /// assert_eq(tensor([1, 2]) != tensor([1, 3]), tensor([false, true]));
        /// assert(tensor([1.0]) != ());
        /// ```
        fn not_equal["!="](x: Tensor, y: Value) -> Value { compare(&NE, &x.into_value(), &y, true) }

        /// Returns a bool mask that is true where elements differ from a number.
        /// ```rhai
        /// assert_eq(2 != tensor([1, 2]), tensor([true, false]));
        /// ```
        fn not_equal_number["!="](x: Value, y: Tensor) -> Value { compare(&NE, &x, &y.into_value(), true) }

        /// Returns a bool mask that is true where elements are less than those of `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 5]) < tensor([3, 3]), tensor([true, false]));
        /// ```
        fn less["<"](x: Tensor, y: Operand) -> Tensor { LT.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where a number is less than the element.
        /// ```rhai
        /// assert_eq(3 < tensor([1, 5]), tensor([false, true]));
        /// ```
        fn less_number["<"](x: Operand, y: Tensor) -> Tensor { LT.apply(&x, &Operand::Tensor(y)) }

        /// Returns a bool mask that is true where elements are less than or equal to those of `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 3, 5]) <= 3, tensor([true, true, false]));
        /// ```
        fn less_equal["<="](x: Tensor, y: Operand) -> Tensor { LE.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where a number is less than or equal to the element.
        /// ```rhai
        /// assert_eq(3.0 <= tensor([1, 3]), tensor([false, true]));
        /// ```
        fn less_equal_number["<="](x: Operand, y: Tensor) -> Tensor { LE.apply(&x, &Operand::Tensor(y)) }

        /// Returns a bool mask that is true where elements are greater than those of `y`.
        /// ```rhai
        /// assert_eq(tensor([0.5, 1.5]) > 1, tensor([false, true]));
        /// ```
        fn greater[">"](x: Tensor, y: Operand) -> Tensor { GT.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where a number is greater than the element.
        /// ```rhai
        /// assert_eq(1 > tensor([0.5, 1.5]), tensor([true, false]));
        /// ```
        fn greater_number[">"](x: Operand, y: Tensor) -> Tensor { GT.apply(&x, &Operand::Tensor(y)) }

        /// Returns a bool mask that is true where elements are greater than or equal to those of `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 3, 5]) >= 3, tensor([false, true, true]));
        /// ```
        fn greater_equal[">="](x: Tensor, y: Operand) -> Tensor { GE.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where a number is greater than or equal to the element.
        /// ```rhai
        /// assert_eq(3 >= tensor([3, 4]), tensor([true, false]));
        /// ```
        fn greater_equal_number[">="](x: Operand, y: Tensor) -> Tensor { GE.apply(&x, &Operand::Tensor(y)) }
    }
}

mod scripts {
    use super::*;
    functions! { methods;
        /// Returns a bool mask that is true where elements are equal.
        /// ```rhai
        /// assert_eq(tensor([1, 2]).eq(2), tensor([false, true]));
        /// ```
        fn eq(x: Tensor, y: Operand) -> Tensor { EQ.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where elements differ.
        /// ```rhai
        /// assert_eq(tensor([1, 2]).ne(2), tensor([true, false]));
        /// ```
        fn ne(x: Tensor, y: Operand) -> Tensor { NE.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where elements are less than `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 2]).lt(2), tensor([true, false]));
        /// ```
        fn lt(x: Tensor, y: Operand) -> Tensor { LT.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where elements are less than or equal to `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).le(2), tensor([true, true, false]));
        /// ```
        fn le(x: Tensor, y: Operand) -> Tensor { LE.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where elements are greater than `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).gt(tensor([2, 1, 3])), tensor([false, true, false]));
        /// ```
        fn gt(x: Tensor, y: Operand) -> Tensor { GT.apply(&Operand::Tensor(x), &y) }

        /// Returns a bool mask that is true where elements are greater than or equal to `y`.
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).ge(2), tensor([false, true, true]));
        /// ```
        fn ge(x: Tensor, y: Operand) -> Tensor { GE.apply(&Operand::Tensor(x), &y) }

        /// Keeps elements where `condition` is true and takes `other`, a tensor or number, elsewhere.
        /// ```rhai
        /// let x = tensor([1.0, -2.0, 3.0]);
        /// assert_eq(x.where(x > 0, 0), tensor([1.0, 0.0, 3.0]));
        /// ```
        fn r#where(x: Tensor, condition: Tensor, other: Operand) -> Tensor {
            chosen(condition, Operand::Tensor(x), other)
        }

        /// Returns a copy filled with one value where the mask is true.
        /// ```rhai
        /// assert_eq(tensor([1, 2, 3]).masked_fill(tensor([true, false, true]), 0), tensor([0, 2, 0]));
        /// ```
        fn masked_fill(x: Tensor, mask: Tensor, value: Operand) -> Tensor {
            x.masked_fill(&mask, value)
        }
    }
}

/// Options of `allclose` and `isclose`.
#[derive(Debug, Clone, Options)]
pub struct ToleranceOptions {
    /// Tolerance relative to the second tensor.
    #[option(default = 1e-5, range = 0.0..)]
    pub rtol: f64,
    /// Absolute tolerance.
    #[option(default = 1e-8, range = 0.0..)]
    pub atol: f64,
}

pub(crate) mod space {
    use super::*;
    functions! { in "tensor";
        /// Takes elements of `a` where `condition` is true and of `b` elsewhere; both may be numbers.
        /// ```rhai
        /// let mask = tensor([true, false]);
        /// assert_eq(tensor::where(mask, tensor([1, 2]), tensor([8, 9])), tensor([1, 9]));
        /// assert_eq(tensor::where(mask, 1.0, 0.0), tensor([1.0, 0.0]));
        /// ```
        fn r#where(condition: Tensor, a: Operand, b: Operand) -> Tensor {
            chosen(condition, a, b)
        }
    }
}

operators! {
    /// Returns one bool: whether shapes, dtypes and all elements are equal.
    /// ```rhai
    /// assert(tensor([1, 2]).equal(tensor([1, 2])));
    /// assert(!tensor([1, 2]).equal(tensor([1.0, 2.0])));
    /// ```
    fn equal(x, y: Tensor) -> bool {
        if x.shape() != y.shape() || x.dtype() != y.dtype() {
            return Ok(false);
        }
        checked(x.raw().f_equal(y.raw()))
    }

    /// Returns one bool: whether all elements agree within `atol + rtol * |y|`.
    /// ```rhai
    /// assert(tensor([1.0]).allclose(tensor([1.000001])));
    /// assert(!tensor([1.0]).allclose(tensor([1.1]), #{ atol: 0.01 }));
    /// ```
    fn allclose(x, y: Tensor; options: ToleranceOptions { rtol: f64, atol: f64 }) -> bool {
        checked(x.raw().f_allclose(y.raw(), rtol, atol, false))
    }

    /// Returns a bool mask that is true where elements agree within `atol + rtol * |y|`.
    /// ```rhai
    /// assert_eq(tensor([1.0, 2.0]).isclose(tensor([1.000001, 2.1])), tensor([true, false]));
    /// ```
    fn isclose(x, y: Tensor; options: ToleranceOptions { rtol: f64, atol: f64 })
        = f_isclose(y.raw(), rtol, atol, false);

    /// Returns a bool mask that is true where elements are NaN.
    /// ```rhai
    /// assert_eq((tensor([0.0, 1.0]) / 0.0).isnan(), tensor([true, false]));
    /// ```
    fn isnan(x) = f_isnan();

    /// Returns a bool mask that is true where elements are infinite.
    /// ```rhai
    /// assert_eq((tensor([0.0, 1.0]) / 0.0).isinf(), tensor([false, true]));
    /// ```
    fn isinf(x) = f_isinf();

    /// Returns a bool mask that is true where elements are neither infinite nor NaN.
    /// ```rhai
    /// assert_eq(tensor([1.0, -1.0]).log().isfinite(), tensor([true, false]));
    /// ```
    fn isfinite(x) = f_isfinite();

    /// Returns a bool mask that is true where elements occur among `values`.
    /// ```rhai
    /// assert_eq(tensor([1, 2, 3]).isin(tensor([3, 1])), tensor([true, false, true]));
    /// ```
    fn isin(x, values: Tensor) -> Tensor {
        single(tch::Tensor::f_isin(x.raw(), values.raw(), false, false))
    }

    /// Returns a bool mask that is true where both elements are non-zero.
    /// ```rhai
    /// assert_eq(tensor([0, 2]).logical_and(tensor([1, 1])), tensor([false, true]));
    /// ```
    fn logical_and(x, y: Tensor) = f_logical_and(y.raw());

    /// Returns a bool mask that is true where at least one element is non-zero.
    /// ```rhai
    /// assert_eq(tensor([0, 2]).logical_or(tensor([0, 1])), tensor([false, true]));
    /// ```
    fn logical_or(x, y: Tensor) = f_logical_or(y.raw());

    /// Returns a bool mask that is true where exactly one element is non-zero.
    /// ```rhai
    /// assert_eq(tensor([0, 2]).logical_xor(tensor([1, 1])), tensor([true, false]));
    /// ```
    fn logical_xor(x, y: Tensor) = f_logical_xor(y.raw());

    /// Returns a bool mask that is true where elements are zero.
    /// ```rhai
    /// assert_eq(tensor([0.0, 2.0]).logical_not(), tensor([true, false]));
    /// ```
    fn logical_not(x) = f_logical_not();

    /// Returns the elements where the mask is true, as a vector.
    /// ```rhai
    /// let x = tensor([[1, 2], [3, 4]]);
    /// assert_eq(x.masked_select(x > 2), tensor([3, 4]));
    /// ```
    fn masked_select(x, mask: Tensor) = f_masked_select(mask.raw());
}
