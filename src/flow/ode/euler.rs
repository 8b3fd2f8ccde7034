//! Euler's method.

use super::{Field, Method, along};
use crate::error::Result;
use crate::torch::Tensor;

pub const METHOD: Method = Method {
    name: "euler",
    doc: "Follows the velocity at the start of each step; the paper samples with 50 of them.",
    order: 1,
    evaluations: 1,
    step,
};

fn step(field: &mut Field, x: &Tensor, t: f64, dt: f64) -> Result<Tensor> {
    along(x, &field(x, t)?, dt)
}
