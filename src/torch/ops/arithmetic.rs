//! Element-wise arithmetic, with broadcasting.

use super::declare::operators;
use super::{binary, single};
use crate::declare::{Choice, IntoValue, Map, Number, Options, Value};
use crate::error::Result;
use crate::torch::Tensor;
use crate::torch::call::call_one;
use crate::torch::operand::{ADD, AND, DIV, MUL, OR, Operand, POW, REM, SUB, XOR};
use crate::{ensure, functions};

crate::api! { functions: [symbols, scripts, methods] }

mod symbols {
    use super::*;
    functions! { methods;
        /// Adds element-wise, with broadcasting.
        ///
        /// Sizes are compared from the last dimension; they must be equal, or one of them 1.
        /// ```rhai
        /// let x = tensor([[1.0], [2.0]]);
        /// assert_eq(x + tensor([10.0, 20.0]), tensor([[11.0, 21.0], [12.0, 22.0]]));
        /// assert_eq(tensor([1, 2]) + 1, tensor([2, 3]));
        /// assert_eq(tensor([1, 2]) + 0.5, tensor([1.5, 2.5]));
        /// ```
        fn add["+"](x: Tensor, y: Operand) -> Tensor { ADD.apply(&Operand::Tensor(x), &y) }

        /// Adds a tensor to a number.
        /// ```rhai
        /// assert_eq(1 + tensor([1, 2]), tensor([2, 3]));
        /// ```
        fn add_to_number["+"](x: Operand, y: Tensor) -> Tensor { ADD.apply(&x, &Operand::Tensor(y)) }

        /// Subtracts element-wise, with broadcasting.
        ///
        /// An integer operand keeps integer tensors integer; a float makes them float32.
        /// ```rhai
        /// assert_eq(tensor([5, 7]) - tensor([1, 2]), tensor([4, 5]));
        /// assert_eq(tensor([0.5]) - 1, tensor([-0.5]));
        /// ```
        fn sub["-"](x: Tensor, y: Operand) -> Tensor { SUB.apply(&Operand::Tensor(x), &y) }

        /// Subtracts a tensor from a number.
        /// ```rhai
        /// assert_eq(1.0 - tensor([0.25, 1.0]), tensor([0.75, 0.0]));
        /// ```
        fn sub_to_number["-"](x: Operand, y: Tensor) -> Tensor { SUB.apply(&x, &Operand::Tensor(y)) }

        /// Multiplies element-wise, with broadcasting.
        ///
        /// The matrix product is `@`.
        /// ```rhai
        /// assert_eq(tensor([1, 2]) * tensor([[3], [4]]), tensor([[3, 6], [4, 8]]));
        /// assert_eq(tensor([1.5]) * 2, tensor([3.0]));
        /// ```
        fn mul["*"](x: Tensor, y: Operand) -> Tensor { MUL.apply(&Operand::Tensor(x), &y) }

        /// Multiplies a number by a tensor.
        /// ```rhai
        /// assert_eq(2 * tensor([1, 2]), tensor([2, 4]));
        /// ```
        fn mul_to_number["*"](x: Operand, y: Tensor) -> Tensor { MUL.apply(&x, &Operand::Tensor(y)) }

        /// Divides element-wise, with broadcasting.
        ///
        /// The quotient of integers is a float; `floor_divide` keeps integers.
        /// ```rhai
        /// assert_eq(tensor([1, 2]) / 2, tensor([0.5, 1.0]));
        /// assert((tensor([1.0]) / 0.0).isinf().item());
        /// ```
        fn div["/"](x: Tensor, y: Operand) -> Tensor { DIV.apply(&Operand::Tensor(x), &y) }

        /// Divides a number by a tensor.
        /// ```rhai
        /// assert_eq(1 / tensor([2.0, 4.0]), tensor([0.5, 0.25]));
        /// ```
        fn div_to_number["/"](x: Operand, y: Tensor) -> Tensor { DIV.apply(&x, &Operand::Tensor(y)) }

        /// Returns the remainder of a division, with the sign of the divisor as in Python.
        ///
        /// `fmod` takes the sign of the dividend instead.
        /// ```rhai
        /// assert_eq(tensor([7, -7]) % 3, tensor([1, 2]));
        /// ```
        fn rem["%"](x: Tensor, y: Operand) -> Tensor { REM.apply(&Operand::Tensor(x), &y) }

        /// Returns the remainder of a number divided by a tensor.
        /// ```rhai
        /// assert_eq(7 % tensor([4, 5]), tensor([3, 2]));
        /// ```
        fn rem_to_number["%"](x: Operand, y: Tensor) -> Tensor { REM.apply(&x, &Operand::Tensor(y)) }

        /// Raises to a power element-wise.
        ///
        /// Integers stay integers; a negative exponent needs floats.
        /// ```rhai
        /// assert_eq(tensor([1.0, 2.0, 3.0]) ** 2, tensor([1.0, 4.0, 9.0]));
        /// assert_eq(tensor([4.0]) ** 0.5, tensor([2.0]));
        /// ```
        fn pow["**"](x: Tensor, y: Operand) -> Tensor { POW.apply(&Operand::Tensor(x), &y) }

        /// Raises a number to the powers in a tensor.
        /// ```rhai
        /// assert_eq(2 ** tensor([1, 2, 3]), tensor([2, 4, 8]));
        /// ```
        fn pow_to_number["**"](x: Operand, y: Tensor) -> Tensor { POW.apply(&x, &Operand::Tensor(y)) }

        /// Computes the bitwise and of integers, or the logical and of bool masks.
        ///
        /// Rhai's `&&` combines two bools, not masks.
        /// ```rhai
        /// let x = tensor([1, 5, 9]);
        /// assert_eq((x > 2) & (x < 8), tensor([false, true, false]));
        /// assert_eq(tensor([6]) & 3, tensor([2]));
        /// ```
        fn bit_and["&"](x: Tensor, y: Operand) -> Tensor { AND.apply(&Operand::Tensor(x), &y) }

        /// Computes the bitwise and of a number or bool with a tensor.
        /// ```rhai
        /// assert_eq(true & tensor([true, false]), tensor([true, false]));
        /// ```
        fn bit_and_to_number["&"](x: Operand, y: Tensor) -> Tensor { AND.apply(&x, &Operand::Tensor(y)) }

        /// Computes the bitwise or of integers, or the logical or of bool masks.
        ///
        /// Rhai's `||` combines two bools, not masks.
        /// ```rhai
        /// let x = tensor([1, 5, 9]);
        /// assert_eq((x < 2) | (x > 8), tensor([true, false, true]));
        /// ```
        fn bit_or["|"](x: Tensor, y: Operand) -> Tensor { OR.apply(&Operand::Tensor(x), &y) }

        /// Computes the bitwise or of a number or bool with a tensor.
        /// ```rhai
        /// assert_eq(1 | tensor([4, 5]), tensor([5, 5]));
        /// ```
        fn bit_or_to_number["|"](x: Operand, y: Tensor) -> Tensor { OR.apply(&x, &Operand::Tensor(y)) }

        /// Computes the bitwise exclusive or; of bool masks, true where exactly one is true.
        ///
        /// `^` is not a power; use `**` for that.
        /// ```rhai
        /// assert_eq(tensor([true, true]) ^ tensor([true, false]), tensor([false, true]));
        /// assert_eq(tensor([6]) ^ 3, tensor([5]));
        /// ```
        fn bit_xor["^"](x: Tensor, y: Operand) -> Tensor { XOR.apply(&Operand::Tensor(x), &y) }

        /// Computes the bitwise exclusive or of a number or bool with a tensor.
        /// ```rhai
        /// assert_eq(true ^ tensor([true, false]), tensor([false, true]));
        /// ```
        fn bit_xor_to_number["^"](x: Operand, y: Tensor) -> Tensor { XOR.apply(&x, &Operand::Tensor(y)) }

        /// Returns the matrix product, batched over leading dimensions.
        /// ```rhai
        /// let a = tensor([[1.0, 2.0], [3.0, 4.0]]);
        /// assert_eq(a @ tensor([1.0, 1.0]), tensor([3.0, 7.0]));
        /// assert_eq((tensor::zeros([5, 2, 3]) @ tensor::zeros([3, 4])).shape, [5, 2, 4]);
        /// ```
        fn matmul["@"](x: Tensor, y: Tensor) -> Tensor { x.matmul(&y) }

        /// Changes the sign.
        /// ```rhai
        /// assert_eq(-tensor([1, -2]), tensor([-1, 2]));
        /// ```
        fn negative["-"](x: Tensor) -> Tensor { x.neg() }

        /// Inverts a mask; of integers, computes the bitwise not.
        /// ```rhai
        /// assert_eq(!tensor([true, false]), tensor([false, true]));
        /// ```
        fn not["!"](x: Tensor) -> Tensor { x.bit_not() }
    }
}

mod scripts {
    use super::*;

    /// Options of `add` and `sub`.
    #[derive(Debug, Clone, Options)]
    pub struct ScaleOptions {
        /// Factor of the second operand.
        #[option(default = Number::Int(1))]
        pub alpha: Number,
    }

    /// Direction of rounding.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
    pub enum Direction {
        /// Down.
        Floor,
        /// Towards zero.
        Trunc,
    }

    /// Options of `div`.
    #[derive(Debug, Clone, Options)]
    pub struct RoundingOptions {
        /// "floor" rounds down, "trunc" rounds towards zero; when left out, the quotient is exact.
        pub rounding: Option<Direction>,
    }

    /// Multiplies `y` by `alpha`; an integer times an integer stays an integer.
    fn scaled(y: Operand, alpha: Number) -> Result<Operand> {
        match (y, alpha) {
            (y, alpha) if alpha.as_f64() == 1.0 => Ok(y),
            (Operand::Tensor(y), alpha) => y.mul_scalar(alpha).map(Operand::Tensor),
            (Operand::Number(Number::Int(y)), Number::Int(alpha)) if y.checked_mul(alpha).is_some() => {
                Ok(Operand::Number(Number::Int(y * alpha)))
            }
            (Operand::Number(y), alpha) => Ok(Operand::Number((y.as_f64() * alpha.as_f64()).into())),
        }
    }

    functions! { methods;
        /// Adds `alpha * y`, like `+`.
        /// ```rhai
        /// assert_eq(tensor([1.0, 2.0]).add(tensor([10.0, 20.0]), #{ alpha: 0.5 }), tensor([6.0, 12.0]));
        /// ```
        fn add(x: Tensor, y: Operand, options: ScaleOptions) -> Tensor {
            ADD.apply(&Operand::Tensor(x), &scaled(y, options.alpha)?)
        }

        /// Subtracts `alpha * y`, like `-`.
        /// ```rhai
        /// assert_eq(tensor([5.0]).sub(2, #{ alpha: 2.0 }), tensor([1.0]));
        /// assert_eq(tensor([9007199254740993]).sub(tensor([1]), #{ alpha: 2 }), tensor([9007199254740991]));
        /// ```
        fn sub(x: Tensor, y: Operand, options: ScaleOptions) -> Tensor {
            SUB.apply(&Operand::Tensor(x), &scaled(y, options.alpha)?)
        }

        /// Multiplies, like `*`.
        /// ```rhai
        /// assert_eq(tensor([3, 4]).mul(tensor([5, 6])), tensor([15, 24]));
        /// ```
        fn mul(x: Tensor, y: Operand) -> Tensor { MUL.apply(&Operand::Tensor(x), &y) }

        /// Divides, like `/`, or rounds the quotient.
        /// ```rhai
        /// assert_eq(tensor([7.0]).div(2), tensor([3.5]));
        /// assert_eq(tensor([-7.0]).div(2, #{ rounding: "floor" }), tensor([-4.0]));
        /// assert_eq(tensor([-7.0]).div(2, #{ rounding: "trunc" }), tensor([-3.0]));
        /// ```
        fn div(x: Tensor, y: Operand, options: RoundingOptions) -> Tensor {
            match options.rounding {
                None => DIV.apply(&Operand::Tensor(x), &y),
                Some(rounding) => {
                    let named = Map::from([("rounding_mode".to_string(), rounding.into_value())]);
                    match y {
                        Operand::Tensor(y) => x.div_rounded(&y, rounding.name()),
                        Operand::Number(y) => {
                            call_one("div.Scalar_mode", &[x.into_value(), y.into_value()], &named)
                        }
                    }
                }
            }
        }

        /// Divides and rounds down; integers stay integers.
        /// ```rhai
        /// assert_eq(tensor([7, -7]).floor_divide(2), tensor([3, -4]));
        /// ```
        fn floor_divide(x: Tensor, y: Operand) -> Tensor {
            y.apply(&x, Tensor::floor_divide, |x, y| x.floor_divide_scalar(y))
        }

        /// Returns the remainder with the sign of the dividend, like C's `fmod`.
        /// ```rhai
        /// assert_eq(tensor([7, -7]).fmod(3), tensor([1, -1]));
        /// ```
        fn fmod(x: Tensor, y: Operand) -> Tensor { y.apply(&x, Tensor::fmod, |x, y| x.fmod_scalar(y)) }

        /// Returns the magnitude of `x` with the sign of `y`.
        /// ```rhai
        /// assert_eq(tensor([1.0, -2.0]).copysign(tensor([-1.0, 1.0])), tensor([-1.0, 2.0]));
        /// ```
        fn copysign(x: Tensor, y: Operand) -> Tensor {
            y.apply(&x, Tensor::copysign, |x, y| x.copysign_scalar(y))
        }

        /// Returns the remainder with the sign of the divisor, like `%`.
        /// ```rhai
        /// assert_eq(tensor([-1.5]).remainder(1.0), tensor([0.5]));
        /// ```
        fn remainder(x: Tensor, y: Operand) -> Tensor { REM.apply(&Operand::Tensor(x), &y) }

        /// Raises to a power, like `**`.
        /// ```rhai
        /// assert_eq(tensor([2.0, 3.0]).pow(tensor([3.0, 2.0])), tensor([8.0, 9.0]));
        /// ```
        fn pow(x: Tensor, y: Operand) -> Tensor { POW.apply(&Operand::Tensor(x), &y) }

        /// Interpolates linearly from `x` to `end` by `weight`: `x + weight * (end - x)`.
        ///
        /// The weight is a number or a tensor that broadcasts.
        /// ```rhai
        /// assert_eq(tensor([0.0, 10.0]).lerp(tensor([10.0, 20.0]), 0.25), tensor([2.5, 12.5]));
        /// assert_eq(tensor([0.0, 0.0]).lerp(tensor([4.0, 4.0]), tensor([0.0, 1.0])), tensor([0.0, 4.0]));
        /// ```
        fn lerp(x: Tensor, end: Tensor, weight: Operand) -> Tensor {
            match weight {
                Operand::Number(weight) => x.lerp(&end, weight.as_f64()),
                Operand::Tensor(weight) => x.lerp_by(&end, &weight),
            }
        }
    }
}

operators! {
    /// Returns the element-wise maximum.
    /// ```rhai
    /// assert_eq(tensor([1, 5]).maximum(tensor([3, 3])), tensor([3, 5]));
    /// assert_eq(tensor([-1.0, 2.0]).maximum(0), tensor([0.0, 2.0]));
    /// ```
    fn maximum(x, y: Operand) = f_maximum(y.raw());

    /// Returns the element-wise minimum.
    /// ```rhai
    /// assert_eq(tensor([1, 5]).minimum(tensor([3, 3])), tensor([1, 3]));
    /// ```
    fn minimum(x, y: Operand) = f_minimum(y.raw());

    /// Returns `x + value * a * b`; integers take a whole `value` and stay integers.
    /// ```rhai
    /// assert_eq(tensor([1.0]).addcmul(tensor([2.0]), tensor([3.0]), 0.5), tensor([4.0]));
    /// assert_eq(tensor([1]).addcmul(tensor([2]), tensor([3]), 2), tensor([13]));
    /// ```
    fn addcmul(x, a: Tensor, b: Tensor, value: f64 = 1.0) -> Tensor {
        if value == 1.0 {
            return single(x.raw().f_addcmul(a.raw(), b.raw()));
        }
        let product = a.mul(b)?;
        let whole = |y: &Tensor| !y.dtype().is_float() && !y.dtype().is_complex();
        if !whole(x) || !whole(&product) {
            return x.add(&product.mul_scalar(value)?);
        }
        ensure!(value.fract() == 0.0, "expected a whole `value` for tensors of integers, found {value}");
        x.add(&product.mul(&Tensor::from_i64(&[value as i64], &[])?)?)
    }

    /// Returns `x + value * a / b`.
    /// ```rhai
    /// assert_eq(tensor([1.0]).addcdiv(tensor([6.0]), tensor([3.0]), 2.0), tensor([5.0]));
    /// ```
    fn addcdiv(x, a: Tensor, b: Tensor, value: f64 = 1.0) -> Tensor { x.add(&a.div(b)?.mul_scalar(value)?) }

    /// Returns the length of the hypotenuse, `sqrt(x^2 + y^2)`, without overflow.
    /// ```rhai
    /// assert_eq(tensor([3.0]).hypot(tensor([4.0])), tensor([5.0]));
    /// ```
    fn hypot(x, y: Operand) = f_hypot(y.raw());

    /// Returns `log(exp(x) + exp(y))`, without overflow.
    /// ```rhai
    /// assert_close(tensor([1000.0]).logaddexp(tensor([1000.0])), [1000.6931], 1e-3);
    /// ```
    fn logaddexp(x, y: Tensor) = f_logaddexp(y.raw());

    /// Returns `x * log(y)`, which is zero where `x` is zero.
    /// ```rhai
    /// assert_close(tensor([0.0, 2.0]).xlogy(tensor([0.0, 2.718281828])), [0.0, 2.0], 1e-6);
    /// ```
    fn xlogy(x, y: Tensor) = f_xlogy(y.raw());

    /// Returns the angle of the point (`x`, this tensor), in radians from -pi to pi.
    /// ```rhai
    /// assert_close(tensor([1.0, -1.0]).atan2(tensor([1.0, -1.0])), [0.785398, -2.356194], 1e-5);
    /// ```
    fn atan2(y, x: Operand) = f_atan2(x.raw());
}

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
    /// Returns the magnitude of `self` with the sign of `other`.
    copysign, copysign_scalar, "copysign", f_copysign, "copysign.Scalar";
}

impl Tensor {
    /// Selects elements of `self` where `condition` holds, else of `other`.
    pub fn where_true(&self, condition: &Tensor, other: &Tensor) -> Result<Tensor> {
        single(self.raw().f_where_self(condition.raw(), other.raw()))
    }

    /// Returns the bitwise not, or the logical not for bools.
    pub fn bit_not(&self) -> Result<Tensor> {
        single(self.raw().f_bitwise_not())
    }

    /// Returns `self + weight * (end - self)` with a weight for each element.
    pub fn lerp_by(&self, end: &Tensor, weight: &Tensor) -> Result<Tensor> {
        single(self.raw().f_lerp_tensor(end.raw(), weight.raw()))
    }

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
}
