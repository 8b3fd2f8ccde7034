//! The classical Runge-Kutta method.

use super::{Field, Method, along};
use crate::error::Result;
use crate::torch::Tensor;

pub const METHOD: Method = Method {
    name: "rk4",
    doc: "Weighs four velocities within each step (Kutta 1901, the classical method of order 4).",
    order: 4,
    evaluations: 4,
    step,
};

fn step(field: &mut Field, x: &Tensor, t: f64, dt: f64) -> Result<Tensor> {
    let k1 = field(x, t)?;
    let k2 = field(&along(x, &k1, dt / 2.0)?, t + dt / 2.0)?;
    let k3 = field(&along(x, &k2, dt / 2.0)?, t + dt / 2.0)?;
    let k4 = field(&along(x, &k3, dt)?, t + dt)?;
    let middle = k2.add(&k3)?.mul_scalar(2.0)?;
    along(x, &k1.add(&middle)?.add(&k4)?, dt / 6.0)
}
