//! Learning rate factors for update `step`, counted from 0.

use crate::declare::{Allowed, Choice, FromValue, Function, IntoValue, Options, Value};
use crate::ensure;
use crate::error::Result;
use std::f64::consts::PI;

/// Schedule of the learning rate after the warm-up.
#[derive(Debug, Clone, Default)]
pub enum Schedule {
    /// The learning rate itself.
    #[default]
    Constant,
    /// Half a cosine, which would reach the lowest learning rate one step after the last.
    Cosine,
    /// The learning rate times what a function of the step, from 0, returns.
    Function(Function),
}

/// Words of the schedules that have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Choice)]
enum Word {
    /// The learning rate itself.
    Constant,
    /// Half a cosine, which would reach the lowest learning rate one step after the last.
    Cosine,
}

impl Schedule {
    /// Returns the factor of update `step`; `cosine` has the constants of all schedules.
    pub(super) fn factor(&self, step: usize, cosine: &Cosine) -> Result<f64> {
        let constant = Constant { warmup: cosine.warmup };
        match self {
            Schedule::Cosine => Ok(cosine.factor(step)),
            Schedule::Constant => Ok(constant.factor(step)),
            Schedule::Function(_) if step < cosine.warmup => Ok(constant.factor(step)),
            Schedule::Function(function) => {
                let answer = function.call_as("`schedule`", &[step.into_value()])?;
                let factor = f64::from_value(&answer).map_err(|e| e.context("`schedule`"))?;
                ensure!(
                    factor.is_finite() && factor >= 0.0,
                    "`schedule` must return a factor of at least 0, found {factor} at step {step}"
                );
                Ok(factor)
            }
        }
    }

    /// Returns whether the factor of a step does not depend on the number of steps.
    pub(super) fn may_be_made_longer(&self) -> bool {
        !matches!(self, Schedule::Cosine)
    }

    /// Returns the schedule as data for comparisons: its word, or the code of the function, which is an error without a
    /// known text.
    pub(super) fn to_compared(&self) -> Result<Value> {
        match self {
            Schedule::Function(function) => function.to_compared(),
            other => Ok(other.clone().into_value()),
        }
    }
}

impl From<Function> for Schedule {
    fn from(function: Function) -> Self {
        Schedule::Function(function)
    }
}

impl FromValue for Schedule {
    fn label() -> String {
        "function or string".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Function(function) => Ok(Schedule::Function(function.clone())),
            Value::Str(_) => Ok(match Word::from_value(value)? {
                Word::Constant => Schedule::Constant,
                Word::Cosine => Schedule::Cosine,
            }),
            other => Err(other.mismatch("\"constant\", \"cosine\" or a function |step| factor")),
        }
    }
    fn allowed() -> Allowed {
        Word::allowed()
    }
}

impl IntoValue for Schedule {
    fn label() -> String {
        <Self as FromValue>::label()
    }
    fn into_value(self) -> Value {
        match self {
            Schedule::Constant => Word::Constant.into_value(),
            Schedule::Cosine => Word::Cosine.into_value(),
            Schedule::Function(function) => Value::Function(function),
        }
    }
}

/// Linear warm-up, followed by half a cosine.
#[derive(Debug, Clone, Options)]
pub struct Cosine {
    /// Updates over which the rate rises linearly from 1 / warmup to the full rate.
    #[option(default = 0)]
    pub warmup: usize,
    /// Total number of updates, including the warm-up; the lowest rate is reached there and kept.
    #[option(default = 1000, range = 1..)]
    pub steps: usize,
    /// Lowest rate as a fraction of the full rate.
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub min_ratio: f64,
}

/// Linear warm-up, followed by the full rate.
#[derive(Debug, Clone, Options)]
pub struct Constant {
    /// Updates over which the rate rises linearly from 1 / warmup to the full rate.
    #[option(default = 0)]
    pub warmup: usize,
}

impl Cosine {
    /// Returns the factor of update `step`: `min + (1 - min) (1 + cos(pi p)) / 2`, where p grows from 0 after the
    /// warm-up to 1 at `steps`.
    ///
    /// Source: Loshchilov and Hutter 2017 (SGDR), equation 5, without restarts.
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup {
            return rising(step, self.warmup);
        }
        if self.steps <= self.warmup {
            return self.min_ratio;
        }
        let progress = ((step - self.warmup) as f64 / (self.steps - self.warmup) as f64).min(1.0);
        self.min_ratio + (1.0 - self.min_ratio) * 0.5 * (1.0 + (PI * progress).cos())
    }
}

impl Constant {
    /// Returns the factor of update `step`.
    pub fn factor(&self, step: usize) -> f64 {
        if step < self.warmup { rising(step, self.warmup) } else { 1.0 }
    }
}

fn rising(step: usize, warmup: usize) -> f64 {
    (step + 1) as f64 / warmup as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_rises_falls_and_stays() {
        let cosine = Cosine { warmup: 4, steps: 104, min_ratio: 0.2 };
        let factors: Vec<f64> = [0, 3, 4, 54, 104, 9999].into_iter().map(|s| cosine.factor(s)).collect();
        for (found, expected) in factors.iter().zip([0.25, 1.0, 1.0, 0.6, 0.2, 0.2]) {
            assert!((found - expected).abs() < 1e-12, "{factors:?}");
        }
    }

    #[test]
    fn without_room_after_the_warm_up_the_lowest_rate_holds() {
        assert_eq!(Cosine { warmup: 5, steps: 5, min_ratio: 0.1 }.factor(5), 0.1);
        assert_eq!(Cosine { warmup: 0, steps: 10, min_ratio: 0.1 }.factor(0), 1.0);
    }

    #[test]
    fn the_constant_rate_only_rises() {
        let constant = Constant { warmup: 2 };
        assert_eq!([0, 1, 2, 500].map(|s| constant.factor(s)), [0.5, 1.0, 1.0, 1.0]);
    }
}
