//! Heun's method, the explicit trapezoid rule.

use super::{Field, Method, along};
use crate::error::Result;
use crate::torch::Tensor;

pub const METHOD: Method = Method {
    name: "heun",
    doc: "Averages the velocities at both ends of an Euler step (Karras et al. 2022, algorithm 1).",
    order: 2,
    evaluations: 2,
    step,
};

fn step(field: &mut Field, x: &Tensor, t: f64, dt: f64) -> Result<Tensor> {
    let first = field(x, t)?;
    let second = field(&along(x, &first, dt)?, t + dt)?;
    along(x, &first.add(&second)?, dt / 2.0)
}
