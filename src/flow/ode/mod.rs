//! Numerical solvers of `dx/dt = v(x, t)`, one file each.
//!
//! A solver with given steps is a [`Method`]: its name, its order, the cost of a step, and the step itself. To add one, write a file
//! with a `METHOD` and add it to [`Solver`].

pub mod adaptive;
mod euler;
mod heun;
mod rk4;

use self::adaptive::Adaptive;
use crate::declare::Choice;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Velocity field that maps a state [B, ..] and its time, one for the whole state, to the velocity there.
pub type Field<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// A solver.
#[derive(Debug)]
pub struct Method {
    /// Name in options.
    pub name: &'static str,
    /// One sentence on what it does, with its source.
    pub doc: &'static str,
    /// Order of convergence: the error of a whole path falls as the step size to this power.
    pub order: u32,
    /// Number of velocity evaluations per step.
    pub evaluations: usize,
    /// Function that maps the state at `t` to the state at `t + dt`.
    pub step: fn(&mut Field, &Tensor, t: f64, dt: f64) -> Result<Tensor>,
}

/// Name of a solver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Solver {
    /// One evaluation per step.
    #[default]
    Euler,
    /// Two evaluations per step.
    Heun,
    /// Four evaluations per step.
    Rk4,
    /// Steps of order 5, whose sizes follow from `rtol` and `atol` (Dormand and Prince 1980).
    Dopri5,
    /// Steps of order 2, whose sizes follow from `rtol` and `atol`.
    AdaptiveHeun,
    /// Euler-Maruyama steps of a stochastic equation with the same distributions, one evaluation each.
    EulerMaruyama,
    /// Heun steps of this stochastic equation, two evaluations each (Karras et al. 2022, as in SiT).
    SdeHeun,
    /// Steps of a discrete diffusion with noise (Ho et al. 2020, algorithm 2), one evaluation each, as in the public code of
    /// DiT.
    Ddpm,
    /// Steps of this diffusion without noise, or with less (Song et al. 2021, DDIM, equation 12).
    Ddim,
}

/// Name of a solver of any velocity: those of [`Solver`] without noise and without steps of a diffusion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum OdeSolver {
    /// One evaluation per step.
    #[default]
    Euler,
    /// Two evaluations per step.
    Heun,
    /// Four evaluations per step.
    Rk4,
    /// Steps of order 5, whose sizes follow from `rtol` and `atol` (Dormand and Prince 1980).
    Dopri5,
    /// Steps of order 2, whose sizes follow from `rtol` and `atol`.
    AdaptiveHeun,
}

impl From<OdeSolver> for Solver {
    fn from(solver: OdeSolver) -> Self {
        match solver {
            OdeSolver::Euler => Self::Euler,
            OdeSolver::Heun => Self::Heun,
            OdeSolver::Rk4 => Self::Rk4,
            OdeSolver::Dopri5 => Self::Dopri5,
            OdeSolver::AdaptiveHeun => Self::AdaptiveHeun,
        }
    }
}

/// How a solver steps.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    /// Given steps.
    Fixed(&'static Method),
    /// Steps whose sizes follow from the error.
    Adaptive(&'static Adaptive),
    /// Given steps with noise; `true` for Heun's.
    Stochastic(bool),
    /// Given steps of a discrete diffusion, from the noise that the network predicts.
    Discrete {
        /// Whether steps are DDIM's.
        ddim: bool,
    },
    /// Given steps, made by a function of the user.
    Own,
}

impl Solver {
    /// Returns whether the times of the steps are given, and not chosen by the solver.
    pub fn has_given_steps(self) -> bool {
        !matches!(self.scheme(), Scheme::Adaptive(_))
    }

    /// Returns how the solver steps.
    pub fn scheme(self) -> Scheme {
        match self {
            Solver::Euler => Scheme::Fixed(&euler::METHOD),
            Solver::Heun => Scheme::Fixed(&heun::METHOD),
            Solver::Rk4 => Scheme::Fixed(&rk4::METHOD),
            Solver::Dopri5 => Scheme::Adaptive(&adaptive::DOPRI5),
            Solver::AdaptiveHeun => Scheme::Adaptive(&adaptive::ADAPTIVE_HEUN),
            Solver::EulerMaruyama => Scheme::Stochastic(false),
            Solver::SdeHeun => Scheme::Stochastic(true),
            Solver::Ddpm => Scheme::Discrete { ddim: false },
            Solver::Ddim => Scheme::Discrete { ddim: true },
        }
    }
}

impl Method {
    /// Integrates the velocity from `from` to `to` in equal steps; `after` receives the number of finished steps.
    ///
    /// Costs `steps * evaluations` calls of the field. `to` may be smaller than `from`, which integrates backwards.
    pub fn integrate(
        &self,
        field: &mut Field,
        start: &Tensor,
        times: (f64, f64),
        steps: usize,
        mut after: impl FnMut(usize),
    ) -> Result<Tensor> {
        if steps == 0 {
            return Err(Error::argument("expected at least 1 step, found 0"));
        }
        self.integrate_over(field, start, &grid(times, steps), |done, x| {
            after(done);
            Ok(x)
        })
    }

    /// Same as [`Method::integrate`], with steps between the given times; `after` also takes the state after each step
    /// and returns the state to continue from.
    pub fn integrate_over(
        &self,
        field: &mut Field,
        start: &Tensor,
        times: &[f64],
        mut after: impl FnMut(usize, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut x = start.clone();
        for (i, ends) in times.windows(2).enumerate() {
            x = (self.step)(field, &x, ends[0], ends[1] - ends[0])?;
            x = after(i + 1, x)?;
        }
        Ok(x)
    }
}

/// Returns the ends of `steps` equal steps between two times, which are exact.
///
/// Every time is rounded once or twice, so that 3 of 10 steps from 0 to 1 end at 0.3 and not above it.
pub fn grid((from, to): (f64, f64), steps: usize) -> Vec<f64> {
    let at = |i: usize| if i == steps { to } else { from + (to - from) * i as f64 / steps as f64 };
    (0..=steps).map(at).collect()
}

/// Returns `x + factor * v`.
fn along(x: &Tensor, v: &Tensor, factor: f64) -> Result<Tensor> {
    x.add(&v.mul_scalar(factor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed() -> impl Iterator<Item = &'static Method> {
        Solver::ALL.iter().filter_map(|solver| match solver.scheme() {
            Scheme::Fixed(method) => Some(method),
            _ => None,
        })
    }

    /// Returns the error on `dx/dt = x cos(t)`, whose solution is `exp(sin t)`: no solver is exact on it.
    fn error(method: &Method, steps: usize) -> f64 {
        let start = Tensor::from_f64(&[1.0], &[1]).unwrap();
        let mut field = |x: &Tensor, t: f64| x.mul_scalar(t.cos());
        let end = method.integrate(&mut field, &start, (0.0, 1.0), steps, |_| ()).unwrap();
        (end.item().unwrap() - 1f64.sin().exp()).abs()
    }

    #[test]
    fn the_error_falls_with_the_order_of_each_method() {
        for method in fixed() {
            let measured = (error(method, 32) / error(method, 64)).log2();
            let order = f64::from(method.order);
            assert!((measured - order).abs() < 0.15, "{}: order {measured}", method.name);
        }
    }

    #[test]
    fn a_step_costs_what_the_method_says() {
        for method in fixed() {
            let (mut calls, mut heard) = (0, vec![]);
            let start = Tensor::from_f64(&[1.0], &[1]).unwrap();
            let mut field = |x: &Tensor, _: f64| {
                calls += 1;
                x.neg()
            };
            method.integrate(&mut field, &start, (0.0, 1.0), 3, |done| heard.push(done)).unwrap();
            assert_eq!(calls, 3 * method.evaluations, "{}", method.name);
            assert_eq!(heard, [1, 2, 3]);
        }
    }

    #[test]
    fn times_of_equal_steps_are_the_numbers_that_a_user_writes() {
        for steps in [3, 7, 10, 30, 50, 100] {
            let times = grid((0.0, 1.0), steps);
            assert!((0..=steps).all(|i| times[i] == i as f64 / steps as f64), "{steps}: {times:?}");
        }
        assert_eq!(grid((0.9, 0.1), 2), [0.9, 0.5, 0.1]);
    }

    #[test]
    fn running_back_returns_to_the_start() {
        let start = Tensor::from_f64(&[0.7], &[1]).unwrap();
        let mut field = |x: &Tensor, t: f64| x.mul_scalar(t.cos());
        let rk4 = &rk4::METHOD;
        let end = rk4.integrate(&mut field, &start, (0.0, 1.0), 40, |_| ()).unwrap();
        let back = rk4.integrate(&mut field, &end, (1.0, 0.0), 40, |_| ()).unwrap();
        assert!((back.item().unwrap() - 0.7).abs() < 1e-7);
    }

    #[test]
    fn given_times_are_stepped_over_with_the_same_order() {
        let error = |steps: usize| {
            let times: Vec<f64> = (0..=steps).map(|i| (i as f64 / steps as f64).powi(2)).collect();
            let start = Tensor::from_f64(&[1.0], &[1]).unwrap();
            let mut field = |x: &Tensor, t: f64| x.mul_scalar(t.cos());
            let end = heun::METHOD.integrate_over(&mut field, &start, &times, |_, x| Ok(x)).unwrap();
            (end.item().unwrap() - 1f64.sin().exp()).abs()
        };
        assert!(((error(32) / error(64)).log2() - 2.0).abs() < 0.15);
    }

    #[test]
    fn solvers_of_any_velocity_need_nothing_else() {
        for solver in OdeSolver::ALL {
            let own = Solver::from(*solver);
            assert_eq!(own.name(), solver.name());
            assert!(matches!(own.scheme(), Scheme::Fixed(_) | Scheme::Adaptive(_)), "{solver}");
        }
    }

    #[test]
    fn every_solver_is_found_by_its_own_name() {
        for solver in Solver::ALL {
            match solver.scheme() {
                Scheme::Fixed(method) => assert_eq!(method.name, solver.name()),
                Scheme::Adaptive(method) => assert_eq!(method.name, solver.name()),
                Scheme::Stochastic(_) | Scheme::Discrete { .. } | Scheme::Own => {}
            }
        }
        assert_eq!(Solver::named("eular").unwrap_err().hint_text(), Some("did you mean `euler`?"));
    }
}
