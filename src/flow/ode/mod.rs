//! Numerical solvers of `dx/dt = v(x, t)` with equal steps, one file each.
//!
//! A solver is a [`Method`]: its name, its order, the cost of a step, and the step itself. To add one, write a file
//! with a `METHOD` and add it to [`Solver`].

mod euler;
mod heun;
mod rk4;

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
}

impl Solver {
    /// Returns the solver of that name.
    pub fn method(self) -> &'static Method {
        match self {
            Solver::Euler => &euler::METHOD,
            Solver::Heun => &heun::METHOD,
            Solver::Rk4 => &rk4::METHOD,
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
        self.integrate_and(field, start, times, steps, |done, x| {
            after(done);
            Ok(x)
        })
    }

    /// Same as [`Method::integrate`], but `after` also takes the state after each step and returns the state to
    /// continue from.
    pub fn integrate_and(
        &self,
        field: &mut Field,
        start: &Tensor,
        (from, to): (f64, f64),
        steps: usize,
        mut after: impl FnMut(usize, Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if steps == 0 {
            return Err(Error::argument("expected at least 1 step, found 0"));
        }
        let dt = (to - from) / steps as f64;
        let mut x = start.clone();
        for i in 0..steps {
            // Computing the time from the index keeps rounding errors from accumulating.
            x = (self.step)(field, &x, from + i as f64 * dt, dt)?;
            x = after(i + 1, x)?;
        }
        Ok(x)
    }
}

/// Returns `x + factor * v`.
fn along(x: &Tensor, v: &Tensor, factor: f64) -> Result<Tensor> {
    x.add(&v.mul_scalar(factor)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error on `dx/dt = x cos(t)`, whose solution is `exp(sin t)`: no solver is exact on it.
    fn error(method: &Method, steps: usize) -> f64 {
        let start = Tensor::from_f64(&[1.0], &[1]).unwrap();
        let mut field = |x: &Tensor, t: f64| x.mul_scalar(t.cos());
        let end = method.integrate(&mut field, &start, (0.0, 1.0), steps, |_| ()).unwrap();
        (end.item().unwrap() - 1f64.sin().exp()).abs()
    }

    #[test]
    fn the_error_falls_with_the_order_of_each_method() {
        for method in Solver::ALL.iter().map(|solver| solver.method()) {
            let measured = (error(method, 32) / error(method, 64)).log2();
            let order = f64::from(method.order);
            assert!((measured - order).abs() < 0.15, "{}: order {measured}", method.name);
        }
    }

    #[test]
    fn a_step_costs_what_the_method_says() {
        for method in Solver::ALL.iter().map(|solver| solver.method()) {
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
    fn running_back_returns_to_the_start() {
        let start = Tensor::from_f64(&[0.7], &[1]).unwrap();
        let mut field = |x: &Tensor, t: f64| x.mul_scalar(t.cos());
        let rk4 = Solver::Rk4.method();
        let end = rk4.integrate(&mut field, &start, (0.0, 1.0), 40, |_| ()).unwrap();
        let back = rk4.integrate(&mut field, &end, (1.0, 0.0), 40, |_| ()).unwrap();
        assert!((back.item().unwrap() - 0.7).abs() < 1e-7);
    }

    #[test]
    fn every_solver_is_found_by_its_own_name() {
        for solver in Solver::ALL {
            assert_eq!(solver.method().name, solver.name());
        }
        assert_eq!(Solver::named("eular").unwrap_err().hint_text(), Some("did you mean `euler`?"));
    }
}
