//! In-place operators.
//!
//! As in PyTorch, operators recorded by autograd are refused for a parameter outside `no_grad`; `copy_`, `fill_`
//! and `lerp_` are never recorded and serve optimizers and initialisation.

use super::arithmetic::with_numbers;
use super::operand::Operand;
use super::{binary, refused};
use crate::declare::{IntoValue, Map, Number, Value};
use crate::error::Result;
use crate::torch::call::call_one;
use crate::torch::{Generator, Tensor, checked};

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

    /// Interpolates towards `end` in place: `self += weight * (end - self)`.
    pub fn lerp_(&self, end: &Tensor, weight: f64) -> Result<()> {
        crate::torch::no_grad(|| with_numbers("lerp_.Scalar", &[self, end], &[weight.into()])).map(drop)
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
            Operand::Number(n) => with_numbers("fill_.Scalar", &[self], &[*n]).map(drop),
        }
    }

    /// Raises to a power in place.
    pub fn pow_(&self, exponent: impl Into<Number>) -> Result<()> {
        with_numbers("pow_.Scalar", &[self], &[exponent.into()]).map(drop)
    }

    /// Negates in place.
    pub fn neg_(&self) -> Result<()> {
        checked(self.alias().f_neg_()).map(drop)
    }

    /// Clamps elements between two bounds in place.
    pub fn clamp_(&self, low: impl Into<Number>, high: impl Into<Number>) -> Result<()> {
        with_numbers("clamp_", &[self], &[low.into(), high.into()]).map(drop)
    }

    /// Adds the slices of `source` at int64 indices along a dimension, in place.
    pub fn index_add_(&self, dim: i64, index: &Tensor, source: &Tensor) -> Result<()> {
        checked(self.alias().f_index_add_(dim, index.raw(), source.raw())).map(drop)
    }

    /// Writes one value where the mask holds, in place.
    pub fn masked_fill_(&self, mask: &Tensor, value: impl Into<Number>) -> Result<()> {
        with_numbers("masked_fill_.Scalar", &[self, mask], &[value.into()]).map(drop)
    }

    /// Fills with uniform random numbers in `[low, high)`, in place.
    pub fn uniform_(&self, low: f64, high: f64, generator: Option<&Generator>) -> Result<()> {
        self.draw_("uniform_", &[Value::Float(low), Value::Float(high)], generator)
    }

    /// Fills with normal random numbers, in place.
    pub fn normal_(&self, mean: f64, std: f64, generator: Option<&Generator>) -> Result<()> {
        self.draw_("normal_", &[Value::Float(mean), Value::Float(std)], generator)
    }

    fn draw_(&self, op: &str, numbers: &[Value], generator: Option<&Generator>) -> Result<()> {
        let mut positional = vec![self.clone().into_value()];
        positional.extend_from_slice(numbers);
        let named = generator.map(|g| ("generator".to_string(), g.clone().into_value()));
        call_one(op, &positional, &named.into_iter().collect()).map(drop)
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
