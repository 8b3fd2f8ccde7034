//! Solvers that choose the size of their steps from an estimate of the error.
//!
//! Each sample of a batch has a time and a step size of its own, so its result does not depend on the others.

use super::along;
use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

/// Velocity field that maps the states of some samples [N, ..], their times and their rows in the batch to the velocities
/// there.
pub type Fields<'a> = dyn FnMut(&Tensor, &[f64], &[usize]) -> Result<Tensor> + 'a;

/// An explicit Runge-Kutta method with an embedded estimate of the error of a step.
#[derive(Debug)]
pub struct Adaptive {
    /// Name in options.
    pub name: &'static str,
    /// One sentence on what it does, with its source.
    pub doc: &'static str,
    /// Order of convergence.
    pub order: u32,
    /// Nodes c of the stages after the first.
    nodes: &'static [f64],
    /// Rows of the matrix a for these stages.
    stages: &'static [&'static [f64]],
    /// Weights b of all stages.
    weights: &'static [f64],
    /// Weights b minus those of the embedded method.
    error: &'static [f64],
    /// Whether the last stage is the velocity at the end of the step.
    first_same_as_last: bool,
}

/// The method of Dormand and Prince, order 5 with an embedded method of order 4.
pub const DOPRI5: Adaptive = Adaptive {
    name: "dopri5",
    doc: "Order 5 with step sizes from the error (Dormand and Prince 1980), as `dopri5` of torchdiffeq.",
    order: 5,
    nodes: &[1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
    stages: &[
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    weights: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    error: &[
        71.0 / 57600.0,
        0.0,
        -71.0 / 16695.0,
        71.0 / 1920.0,
        -17253.0 / 339200.0,
        22.0 / 525.0,
        -1.0 / 40.0,
    ],
    first_same_as_last: true,
};

/// Heun's method with Euler's as the embedded one.
pub const ADAPTIVE_HEUN: Adaptive = Adaptive {
    name: "adaptive_heun",
    doc: "Heun's method with step sizes from its difference to Euler's.",
    order: 2,
    nodes: &[1.0],
    stages: &[&[1.0]],
    weights: &[0.5, 0.5],
    error: &[-0.5, 0.5],
    first_same_as_last: false,
};

/// Permitted error of a step, per element: `atol + rtol |x|`.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Relative to the larger of the states before and after the step.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
}

/// Factors of the next step size: the largest and the smallest, and the margin of the estimate (Hairer, Nørsett and Wanner
/// 1993, section II.4).
const GROWTH: (f64, f64, f64) = (10.0, 0.2, 0.9);

/// Largest number of evaluations of the field for one sample.
const MOST_EVALUATIONS: usize = 20_000;

/// Smallest step, relative to the whole interval.
const SMALLEST: f64 = 1e-9;

/// Samples that are being integrated, and the steps they take.
struct Course {
    x: Tensor,
    /// Velocity at `x`.
    v: Tensor,
    /// Rows of the result.
    rows: Vec<usize>,
    t: Vec<f64>,
    h: Vec<f64>,
}

impl Adaptive {
    /// Integrates the velocity from the first to the second of `times`, and returns the states there and the number of
    /// evaluations of each sample. `after` receives the smallest part of the interval that a sample has covered.
    pub fn integrate(
        &self,
        field: &mut Fields,
        start: &Tensor,
        (from, to): (f64, f64),
        tolerance: Tolerance,
        mut after: impl FnMut(f64),
    ) -> Result<(Tensor, Vec<usize>)> {
        let Some(count) = start.shape().first().map(|count| *count as usize) else {
            return Err(Error::argument(format!("`{}` needs a state [B, ..], found one number", self.name))
                .hint("pass a tensor with one dimension more, of size 1"));
        };
        if count == 0 {
            return Ok((start.clone(), Vec::new()));
        }
        let mut evaluations = vec![2; count];
        let mut results: Vec<Option<Tensor>> = vec![None; count];
        let mut course = self.begin(field, start, (from, to), tolerance)?;
        while !course.rows.is_empty() {
            let (y, v, ratios) = self.step(field, &mut course, to, tolerance)?;
            let cost = self.stages.len() + usize::from(!self.first_same_as_last);
            let mut accepted = Vec::new();
            for (i, ratio) in ratios.iter().enumerate() {
                let row = course.rows[i];
                evaluations[row] += cost;
                accepted.push(*ratio <= 1.0);
                if *ratio <= 1.0 {
                    course.t[i] = if course.h[i].abs() >= (to - course.t[i]).abs() {
                        to
                    } else {
                        course.t[i] + course.h[i]
                    };
                }
                let (most, least, margin) = GROWTH;
                // A step that is not finite is tried again with a smaller size.
                let wanted =
                    if ratio.is_finite() { margin * ratio.powf(-1.0 / f64::from(self.order)) } else { least };
                course.h[i] *= wanted.clamp(if accepted[i] { 1.0 } else { least }, most);
                let stuck =
                    course.h[i].abs() < SMALLEST * (to - from).abs() || evaluations[row] > MOST_EVALUATIONS;
                if stuck && course.t[i] != to {
                    return Err(self.unreachable(course.t[i], evaluations[row], tolerance));
                }
            }
            course.accept(&accepted, &y, &v)?;
            course.leave(to, &mut results)?;
            let left = course.t.iter().map(|t| (to - t).abs()).fold(0.0, f64::max);
            after(1.0 - left / (to - from).abs());
        }
        let results: Vec<Tensor> = results.into_iter().flatten().collect();
        let end = if results.is_empty() { start.clone() } else { Tensor::cat(&results, 0)? };
        Ok((end, evaluations))
    }

    /// Chooses the first step sizes (Hairer, Nørsett and Wanner 1993, section II.4).
    fn begin(
        &self,
        field: &mut Fields,
        start: &Tensor,
        (from, to): (f64, f64),
        tolerance: Tolerance,
    ) -> Result<Course> {
        let count = start.shape().first().copied().unwrap_or(0) as usize;
        let t = vec![from; count];
        let rows: Vec<usize> = (0..count).collect();
        let v = field(start, &t, &rows)?;
        let scale = start.abs()?.mul_scalar(tolerance.rtol)?.add_scalar(tolerance.atol)?;
        let sizes = |x: &Tensor| rms(&x.div(&scale)?);
        let (state, first) = (sizes(start)?, sizes(&v)?);
        let sign = (to - from).signum();
        let guess: Vec<f64> = state
            .iter()
            .zip(&first)
            .map(|(d0, d1)| if *d0 < 1e-5 || *d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 })
            .collect();
        let moved: Vec<f64> = guess.iter().map(|h| sign * h).collect();
        let ahead: Vec<f64> = moved.iter().map(|h| from + h).collect();
        let second = field(&start.add(&v.mul(&column(&moved, &v)?)?)?, &ahead, &rows)?;
        let change = sizes(&second.sub(&v)?)?;
        let h = (0..count)
            .map(|i| {
                let largest = first[i].max(change[i] / guess[i]);
                let other = match largest <= 1e-15 {
                    true => (guess[i] * 1e-3).max(1e-6),
                    false => (0.01 / largest).powf(1.0 / f64::from(self.order)),
                };
                let h = (100.0 * guess[i]).min(other).min((to - from).abs());
                sign * if h.is_finite() { h } else { (to - from).abs() * 1e-3 }
            })
            .collect();
        Ok(Course { x: start.clone(), v, rows, t, h })
    }

    /// Tries a step of every sample; returns the states and velocities there, and the ratio of each error to the tolerance.
    fn step(
        &self,
        field: &mut Fields,
        course: &mut Course,
        to: f64,
        tolerance: Tolerance,
    ) -> Result<(Tensor, Tensor, Vec<f64>)> {
        let Course { x, v, t, h, rows } = course;
        let taken: Vec<f64> =
            t.iter().zip(h.iter()).map(|(t, h)| if h.abs() > (to - t).abs() { to - t } else { *h }).collect();
        h.clone_from(&taken);
        let width = column(&taken, x)?;
        let mut slopes = vec![v.clone()];
        for (node, row) in self.nodes.iter().zip(self.stages) {
            let times: Vec<f64> = t.iter().zip(&taken).map(|(t, h)| t + node * h).collect();
            slopes.push(field(&x.add(&weighted(&slopes, row)?.mul(&width)?)?, &times, rows)?);
        }
        let y = x.add(&weighted(&slopes, self.weights)?.mul(&width)?)?;
        let error = weighted(&slopes, self.error)?.mul(&width)?;
        let scale = x.abs()?.maximum(&y.abs()?)?.mul_scalar(tolerance.rtol)?.add_scalar(tolerance.atol)?;
        let ratios = rms(&error.div(&scale)?)?;
        let end = match slopes.pop() {
            Some(last) if self.first_same_as_last => last,
            _ => {
                let times: Vec<f64> = t.iter().zip(&taken).map(|(t, h)| t + h).collect();
                field(&y, &times, rows)?
            }
        };
        Ok((y, end, ratios))
    }

    fn unreachable(&self, t: f64, evaluations: usize, tolerance: Tolerance) -> Error {
        let Tolerance { rtol, atol } = tolerance;
        Error::argument(format!(
            "`{}` cannot reach rtol {rtol} and atol {atol} at t = {t:.6}, after {evaluations} evaluations",
            self.name
        ))
        .hint("raise the tolerances, or use a sampler with a fixed number of `steps`; float32 allows an rtol of about 1e-6")
    }
}

impl Course {
    /// Moves the samples whose step was accepted.
    fn accept(&mut self, accepted: &[bool], y: &Tensor, v: &Tensor) -> Result<()> {
        if accepted.iter().all(|yes| *yes) {
            (self.x, self.v) = (y.clone(), v.clone());
        } else if accepted.iter().any(|yes| *yes) {
            let numbers: Vec<u8> = accepted.iter().map(|yes| u8::from(*yes)).collect();
            let mut shape = vec![1; y.rank()];
            shape[0] = numbers.len() as i64;
            let mask = Tensor::from_u8(&numbers, &shape)?.to_dtype(DType::Bool)?.to_device(y.device())?;
            self.x = y.where_true(&mask, &self.x)?;
            self.v = v.where_true(&mask, &self.v)?;
        }
        Ok(())
    }

    /// Moves the states of samples that have reached the end to the results.
    fn leave(&mut self, to: f64, results: &mut [Option<Tensor>]) -> Result<()> {
        let (done, going): (Vec<usize>, Vec<usize>) = (0..self.rows.len()).partition(|i| self.t[*i] == to);
        if done.is_empty() {
            return Ok(());
        }
        for i in done {
            results[self.rows[i]] = Some(self.x.narrow(0, i as i64, 1)?.copy()?);
        }
        let index: Vec<i64> = going.iter().map(|i| *i as i64).collect();
        let index = Tensor::from_i64(&index, &[index.len() as i64])?.to_device(self.x.device())?;
        self.x = self.x.index_select(0, &index)?;
        self.v = self.v.index_select(0, &index)?;
        let keep = |all: &[f64]| going.iter().map(|i| all[*i]).collect();
        (self.t, self.h) = (keep(&self.t), keep(&self.h));
        self.rows = going.iter().map(|i| self.rows[*i]).collect();
        Ok(())
    }
}

/// Returns the sum of the slopes times their weights.
fn weighted(slopes: &[Tensor], weights: &[f64]) -> Result<Tensor> {
    let mut terms = slopes.iter().zip(weights).filter(|(_, weight)| **weight != 0.0);
    let Some((first, weight)) = terms.next() else { return slopes[0].mul_scalar(0.0) };
    terms.try_fold(first.mul_scalar(*weight)?, |sum, (slope, weight)| along(&sum, slope, *weight))
}

/// Returns the root mean square of each sample [B, ..], float64.
fn rms(x: &Tensor) -> Result<Vec<f64>> {
    let rows = x.to_dtype(DType::Float64)?.reshape(&[x.shape().first().copied().unwrap_or(0), -1])?;
    rows.square()?.mean(&[1], false)?.sqrt()?.to_f64()
}

/// Returns one number per sample in the shape, dtype and device that multiply `like` [B, ..].
pub(in crate::flow) fn column(numbers: &[f64], like: &Tensor) -> Result<Tensor> {
    let numbers = Tensor::from_f64(numbers, &[numbers.len() as i64])?.to_device(like.device())?;
    crate::flow::path::column(&numbers, like)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [&Adaptive; 2] = [&DOPRI5, &ADAPTIVE_HEUN];

    /// Integrates `dx/dt = x cos(w t)` for several w at once, whose solutions are `exp(sin(w t) / w)`.
    fn run(method: &Adaptive, w: &[f64], times: (f64, f64), rtol: f64) -> (Vec<f64>, Vec<usize>) {
        let (from, to) = times;
        let begin: Vec<f64> = w.iter().map(|w| ((w * from).sin() / w).exp()).collect();
        let start = Tensor::from_f64(&begin, &[w.len() as i64, 1]).unwrap();
        let mut field = |x: &Tensor, t: &[f64], rows: &[usize]| {
            let slope: Vec<f64> = t.iter().zip(rows).map(|(t, row)| (w[*row] * t).cos()).collect();
            x.mul(&column(&slope, x)?)
        };
        let tolerance = Tolerance { rtol, atol: rtol * 1e-3 };
        let (end, evaluations) = method.integrate(&mut field, &start, (from, to), tolerance, |_| ()).unwrap();
        let exact: Vec<f64> = w.iter().map(|w| ((w * to).sin() / w).exp()).collect();
        let errors = end.to_f64().unwrap().iter().zip(&exact).map(|(x, y)| (x - y).abs()).collect();
        (errors, evaluations)
    }

    #[test]
    fn the_weights_satisfy_the_conditions_of_their_order() {
        for method in BOTH {
            let nodes: Vec<f64> = std::iter::once(0.0).chain(method.nodes.iter().copied()).collect();
            for (node, row) in method.nodes.iter().zip(method.stages) {
                assert!((row.iter().sum::<f64>() - node).abs() < 1e-14, "{}", method.name);
            }
            for power in 0..method.order as i32 {
                let sum: f64 = method.weights.iter().zip(&nodes).map(|(b, c)| b * c.powi(power)).sum();
                assert!((sum - 1.0 / f64::from(power + 1)).abs() < 1e-14, "{} c^{power}", method.name);
            }
            assert!(method.error.iter().sum::<f64>().abs() < 1e-14);
        }
    }

    #[test]
    fn the_error_follows_the_tolerance_in_both_directions() {
        for method in BOTH {
            for times in [(0.0, 1.0), (1.0, 0.0)] {
                let (loose, few) = run(method, &[5.0], times, 1e-3);
                let (tight, many) = run(method, &[5.0], times, 1e-6);
                assert!(loose[0] < 5e-3 && tight[0] < 5e-6, "{} {loose:?} {tight:?}", method.name);
                assert!(many[0] > few[0], "{} {few:?} {many:?}", method.name);
            }
        }
    }

    #[test]
    fn the_cost_grows_with_the_order_of_the_method() {
        // A thousandth of the tolerance takes 1000^(1/5) = 4 and 1000^(1/2) = 32 times the steps.
        let steps = |method, rtol| run(method, &[20.0], (0.0, 1.0), rtol).1[0] as f64;
        let ratio = |method| steps(method, 1e-7) / steps(method, 1e-4);
        assert!((2.5..5.5).contains(&ratio(&DOPRI5)), "{}", ratio(&DOPRI5));
        assert!((22.0..40.0).contains(&ratio(&ADAPTIVE_HEUN)), "{}", ratio(&ADAPTIVE_HEUN));
    }

    #[test]
    fn a_sample_does_not_depend_on_the_others() {
        for method in BOTH {
            let (errors, evaluations) = run(method, &[2.0, 9.0], (0.0, 1.0), 1e-5);
            let (alone, own) = run(method, &[9.0], (0.0, 1.0), 1e-5);
            assert_eq!((errors[1], evaluations[1]), (alone[0], own[0]), "{}", method.name);
            assert!(evaluations[0] < evaluations[1]);
        }
    }

    #[test]
    fn an_empty_batch_is_returned_and_a_number_without_one_is_refused() {
        let tolerance = Tolerance { rtol: 1e-5, atol: 1e-8 };
        let mut field = |x: &Tensor, _: &[f64], _: &[usize]| Ok(x.clone());
        let empty = Tensor::from_f64(&[], &[0, 3]).unwrap();
        let (end, cost) = DOPRI5.integrate(&mut field, &empty, (0.0, 1.0), tolerance, |_| ()).unwrap();
        assert!(end.shape() == [0, 3] && cost.is_empty());
        let number = Tensor::from_f64(&[1.0], &[]).unwrap();
        let error = DOPRI5.integrate(&mut field, &number, (0.0, 1.0), tolerance, |_| ()).unwrap_err();
        assert_eq!(error.message(), "`dopri5` needs a state [B, ..], found one number");
    }

    #[test]
    fn what_cannot_be_reached_is_an_error_with_the_time() {
        let start = Tensor::from_f64(&[1.0], &[1, 1]).unwrap();
        let tolerance = Tolerance { rtol: 1e-5, atol: 1e-8 };
        // The solution 1 / (0.5 - t) has a pole.
        let mut field = |x: &Tensor, t: &[f64], _: &[usize]| x.mul_scalar(1.0 / (0.5 - t[0]));
        let error = DOPRI5.integrate(&mut field, &start, (0.0, 1.0), tolerance, |_| ()).unwrap_err();
        assert!(error.message().starts_with("`dopri5` cannot reach rtol 0.00001 and atol"), "{error}");
        assert!(error.message().contains("at t = 0.5") || error.message().contains("at t = 0.4"), "{error}");
        let mut field = |x: &Tensor, _: &[f64], _: &[usize]| x.mul_scalar(f64::NAN);
        assert!(DOPRI5.integrate(&mut field, &start, (0.0, 1.0), tolerance, |_| ()).is_err());
    }
}
