//! Operators on tensors, by topic, each declared once for Rust and for scripts.
//!
//! [`declare`] turns an entry into a method of [`Tensor`] and a method of scripts. An operator of which the two differ (a
//! script's `max` returns a number or a map) is a method in an `impl Tensor` block, and a declaration in `scripts`.
//! When libtorch refuses a binary operator, the error names the shapes and dtypes of both operands.

pub mod activation;
pub mod arithmetic;
pub mod compare;
pub mod declare;
pub mod fft;
pub mod index;
pub mod inplace;
pub mod join;
pub mod linalg;
pub mod loss;
pub mod maths;
pub mod nn;
pub mod operators;
pub mod reduce;
pub mod shape;
pub mod sort;
pub mod vision;

use super::{Tensor, checked};
use crate::error::{Error, Problem, Result};

/// Checks the result of an operator that returns one tensor.
pub(crate) fn single(result: Result<tch::Tensor, tch::TchError>) -> Result<Tensor> {
    checked(result).map(Tensor::wrap)
}

/// Checks the result of an operator that returns two tensors.
pub(crate) fn pair(result: Result<(tch::Tensor, tch::Tensor), tch::TchError>) -> Result<(Tensor, Tensor)> {
    checked(result).map(|(a, b)| (Tensor::wrap(a), Tensor::wrap(b)))
}

/// Checks the result of an operator that returns three tensors.
pub(crate) fn three(
    result: Result<(tch::Tensor, tch::Tensor, tch::Tensor), tch::TchError>,
) -> Result<(Tensor, Tensor, Tensor)> {
    checked(result).map(|(a, b, c)| (Tensor::wrap(a), Tensor::wrap(b), Tensor::wrap(c)))
}

/// Checks the result of an operator that returns a list of tensors.
pub(crate) fn many(result: Result<Vec<tch::Tensor>, tch::TchError>) -> Result<Vec<Tensor>> {
    checked(result).map(|list| list.into_iter().map(Tensor::wrap).collect())
}

/// Adds both operands to the error of a refused operation.
pub(crate) fn binary(
    op: &str,
    a: &Tensor,
    b: &Tensor,
    result: Result<tch::Tensor, tch::TchError>,
) -> Result<Tensor> {
    single(result).map_err(|error| refused(op, a, b, error))
}

/// Returns the error of a refused operation with both operands named.
pub(crate) fn refused(op: &str, a: &Tensor, b: &Tensor, error: Error) -> Error {
    if let Problem::Sizes(message) = error.problem() {
        let what = if op == "@" { "multiplied" } else { "broadcast" };
        let error =
            Error::argument(format!("`{op}`: shapes {:?} and {:?} cannot be {what}", a.shape(), b.shape()))
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
