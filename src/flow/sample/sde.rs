//! Steps of the stochastic equation that has the same distributions as the flow.
//!
//! `dx = (v + w s) dt + sqrt(2 w) dW` with the velocity v, the score s and any diffusion coefficient `w(t) >= 0` (Ma et al.
//! 2024, SiT, equation 9).

use crate::declare::Choice;
use crate::error::Result;
use crate::flow::Path;
use crate::torch::{DType, Tensor};

/// Diffusion coefficient `w(t)` of the stochastic equation, before its factor (SiT, table 2 and its code).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Diffusion {
    /// `sigma(t)`, which falls to 0 at the data.
    #[default]
    Sigma,
    /// `sigma^2 alpha' / alpha - sigma sigma'`, that of score-based diffusion; sampling begins at time 0.001 except with the
    /// interpolant `vp`.
    Sbdm,
    /// `1 - t`.
    Linear,
    /// 1 at all times.
    Constant,
    /// `(norm cos(pi t) + 1)^2 / 4`.
    Decreasing,
    /// `sin(pi t)^2`.
    IncreasingDecreasing,
}

/// Last step of the stochastic equation, without noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum LastStep {
    /// The drift of the stochastic equation.
    #[default]
    Mean,
    /// The expected image (Tweedie's formula).
    Tweedie,
    /// The velocity of the flow.
    Euler,
    /// No such step: the last one has noise too.
    None,
}

/// First time with [`Diffusion::Sbdm`], whose coefficient is infinite at 0 where alpha is 0.
pub(super) const FIRST: f64 = 1e-3;

/// How the stochastic equation is solved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Noise<'a> {
    pub path: &'a Path,
    /// Whether steps are Heun's.
    pub heun: bool,
    pub diffusion: Diffusion,
    pub norm: f64,
    pub last: LastStep,
}

impl Noise<'_> {
    /// Returns the coefficient at time t.
    pub fn coefficient(&self, t: f64) -> Result<f64> {
        let pi = std::f64::consts::PI;
        Ok(match self.diffusion {
            Diffusion::Constant => self.norm,
            Diffusion::Linear => self.norm * (1.0 - t),
            Diffusion::Decreasing => 0.25 * (self.norm * (pi * t).cos() + 1.0).powi(2),
            Diffusion::IncreasingDecreasing => self.norm * (pi * t).sin().powi(2),
            Diffusion::Sigma | Diffusion::Sbdm => {
                let [alpha, sigma, d_alpha, d_sigma] = self.path.slopes(t)?;
                match self.diffusion {
                    Diffusion::Sigma => self.norm * sigma,
                    _ => self.norm * (sigma * sigma * d_alpha / alpha - sigma * d_sigma),
                }
            }
        })
    }

    /// Makes the steps between the times, the last one without noise unless there is no such step. `velocity` is that of
    /// the flow, and `draw` returns standard normal numbers for a step.
    pub fn run(
        &self,
        start: &Tensor,
        times: &[f64],
        velocity: &mut dyn FnMut(&Tensor, f64) -> Result<Tensor>,
        draw: &dyn Fn(usize) -> Result<Tensor>,
        after: &mut dyn FnMut(usize, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let drift = |velocity: &mut dyn FnMut(&Tensor, f64) -> Result<Tensor>, x: &Tensor, t: f64| {
            let v = velocity(x, t)?;
            let score = self.path.score(&v, x, &at(x, t)?)?;
            v.add(&score.mul_scalar(self.coefficient(t)?)?)
        };
        let steps = times.len() - 1;
        let mut x = start.clone();
        for (i, ends) in times.windows(2).enumerate() {
            let (t, dt) = (ends[0], ends[1] - ends[0]);
            x = if i + 1 == steps && self.last != LastStep::None {
                match self.last {
                    LastStep::Mean => x.add(&drift(velocity, &x, t)?.mul_scalar(dt)?)?,
                    LastStep::Euler => x.add(&velocity(&x, t)?.mul_scalar(dt)?)?,
                    LastStep::Tweedie | LastStep::None => {
                        self.path.image(&velocity(&x, t)?, &x, &at(&x, t)?)?
                    }
                }
            } else {
                let spread = (2.0 * self.coefficient(t)? * dt).sqrt();
                let noise = draw(i)?.mul_scalar(spread)?;
                match self.heun {
                    false => x.add(&drift(velocity, &x, t)?.mul_scalar(dt)?)?.add(&noise)?,
                    true => {
                        let x = x.add(&noise)?;
                        let first = drift(velocity, &x, t)?;
                        let second = drift(velocity, &x.add(&first.mul_scalar(dt)?)?, t + dt)?;
                        x.add(&first.add(&second)?.mul_scalar(0.5 * dt)?)?
                    }
                }
            };
            x = after(i + 1, x)?;
        }
        Ok(x)
    }
}

/// Returns one time for each sample.
fn at(x: &Tensor, t: f64) -> Result<Tensor> {
    Tensor::full(&[x.size(0)?], t, DType::Float64, x.device())
}
