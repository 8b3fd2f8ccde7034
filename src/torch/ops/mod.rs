//! Operators as fallible methods of [`Tensor`], by topic.
//!
//! When libtorch refuses a binary operator, the error names the shapes and dtypes of both operands.

pub mod activation;
pub mod arithmetic;
pub mod fft;
pub mod index;
pub mod inplace;
pub mod linalg;
pub mod loss;
pub mod maths;
pub mod nn;
pub mod operand;
pub mod operators;
pub mod print;
pub mod reduce;
pub mod shape;
pub mod sort;

use super::{Tensor, checked};
use crate::error::{Error, Problem, Result};

/// Defines methods that pass their arguments to a fallible function of tch. Arguments listed after `small` are
/// checked first, see [`small`].
macro_rules! ops {
    ($( $(#[doc = $doc:literal])* $name:ident($($arg:ident : $type:ty),*) $(small($($small:ident),*))?
        = $f:ident($($pass:expr),*); )*) => {
        impl $crate::torch::Tensor {$(
            $(#[doc = $doc])*
            // The arguments are those of PyTorch.
            #[allow(clippy::too_many_arguments)]
            pub fn $name(&self, $($arg: $type),*) -> $crate::error::Result<$crate::torch::Tensor> {
                $($( $crate::torch::ops::small(stringify!($small), $small)?; )*)?
                $crate::torch::checked(self.raw().$f($($pass),*)).map($crate::torch::Tensor::wrap)
            }
        )*}
    };
}
pub(crate) use ops;

/// One or several numbers.
pub(crate) trait Numbers {
    /// Returns the numbers as a slice.
    fn numbers(&self) -> &[i64];
}

impl Numbers for i64 {
    fn numbers(&self) -> &[i64] {
        std::slice::from_ref(self)
    }
}

impl Numbers for &[i64] {
    fn numbers(&self) -> &[i64] {
        self
    }
}

/// Checks numbers that libtorch multiplies and adds before it validates them. If those products overflow, libtorch
/// reads out of bounds and the process crashes.
pub(crate) fn small(name: &str, numbers: impl Numbers) -> Result<()> {
    const MOST: i64 = i32::MAX as i64;
    match numbers.numbers().iter().find(|n| n.unsigned_abs() > MOST.unsigned_abs()) {
        Some(large) => Err(Error::argument(format!("expected a `{name}` of at most {MOST}, found {large}"))),
        None => Ok(()),
    }
}

/// Adds both operands to the error of a refused operation.
pub(crate) fn binary(
    op: &str,
    a: &Tensor,
    b: &Tensor,
    result: Result<tch::Tensor, tch::TchError>,
) -> Result<Tensor> {
    checked(result).map(Tensor::wrap).map_err(|error| refused(op, a, b, error))
}

/// Returns the error of a refused operation with both operands named.
pub(crate) fn refused(op: &str, a: &Tensor, b: &Tensor, error: Error) -> Error {
    if let Problem::Sizes(message) = error.problem() {
        let error =
            Error::argument(format!("`{op}` of shapes {:?} and {:?} does not work", a.shape(), b.shape()))
                .detail(Some(error.detail_text().unwrap_or(message)));
        match op {
            "@" => error.hint("the last size on the left must equal the second last on the right"),
            _ => {
                error.hint("sizes are compared from the last dimension; they must be equal, or one of them 1")
            }
        }
    } else {
        error.context(format!("`{op}` of {} and {}", a.signature(), b.signature()))
    }
}
