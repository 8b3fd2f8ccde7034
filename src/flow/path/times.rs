//! Times drawn by a sampler or a user function.

use super::PathStep;
use crate::declare::{FromValue, Function, IntoValue, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::{Timesteps, answer};
use crate::model::check_times;
use crate::torch::{DType, Device, Generator, Tensor};

/// A sampler or function that draws times.
#[derive(Debug, Clone)]
pub enum Times {
    /// A timestep sampler.
    Sampler(Timesteps),
    /// A function that maps a count and a generator, and perhaps the step, to times `[count]`, or to times of pixels.
    Function(Function),
}

impl Times {
    /// Draws times `[B]` for images of a shape [B, C, H, W], float32 in [0, 1]. A function may return times of pixels, which
    /// broadcast to the images; `what` names it in messages.
    ///
    /// The values that a function returns are checked, which waits for CUDA. With `later` nothing waits: times outside of
    /// [0, 1] are returned as 0, with what [`Unread::check`] needs to report them.
    pub(crate) fn draw(
        &self,
        (shape, device): (&[i64], Device),
        generator: &Generator,
        step: &PathStep,
        what: &'static str,
        later: bool,
    ) -> Result<(Tensor, Option<Unread>)> {
        let count = shape.first().copied().unwrap_or(0);
        let function = match self {
            Times::Sampler(sampler) => return Ok((sampler.draw(count, device, Some(generator))?, None)),
            Times::Function(function) => function,
        };
        let expected = format!("tensor [{count}] float32");
        let arguments = vec![count.into_value(), generator.clone().into_value()];
        let arguments = answer::with_step(arguments, function, || step.clone().into_value());
        let answer = step.unwritten(|| function.call_as(what, &arguments))?;
        let t = answer::tensor(&answer, what, &expected)?;
        ensure!(
            t.dtype().is_float() && check_times(&t, shape).is_ok(),
            "{what} must return a {expected}{}, found a {}",
            if t.rank() > 1 { format!(" or times of pixels for images {shape:?}") } else { String::new() },
            t.signature()
        );
        let t = t.to_dtype(DType::Float32)?;
        if count == 0 {
            return Ok((t.to_device(device)?, None));
        }
        let ends = Tensor::stack(&[t.amin(&[], false)?, t.amax(&[], false)?], 0)?;
        let unread = Unread { ends, what };
        if !later || t.device() == Device::Cpu {
            unread.check()?;
            return Ok((t.to_device(device)?, None));
        }
        let zeros = Tensor::zeros(&t.shape(), DType::Float32, t.device())?;
        Ok((t.where_true(&within(&t)?, &zeros)?.to_device(device)?, Some(unread)))
    }

    /// Returns the times as data: the stored sampler, or the code of the function, which is an error without a stored
    /// form.
    pub(crate) fn to_data(&self) -> Result<Value> {
        match self {
            Times::Sampler(sampler) => Ok(crate::declare::Object::to_data(sampler).unwrap_or(Value::Unit)),
            Times::Function(function) => function.to_data(),
        }
    }

    /// As [`Times::to_data`], with the function as [`Function::to_compared`] returns it.
    pub(crate) fn to_compared(&self) -> Result<Value> {
        match self {
            Times::Function(function) => function.to_compared(),
            sampler @ Times::Sampler(_) => sampler.to_data(),
        }
    }

    /// Returns whether it calls a function that takes the step, and may read what belongs to the images of the batch.
    pub(crate) fn takes_step(&self) -> bool {
        matches!(self, Times::Function(function) if function.takes() == Some(3))
    }

    /// Returns whether it calls user code.
    pub(crate) fn calls_code(&self) -> bool {
        matches!(self, Times::Function(_))
    }
}

/// Least and largest of the times that a function returned, on the device until they are read.
#[derive(Debug)]
pub(crate) struct Unread {
    ends: Tensor,
    what: &'static str,
}

impl Unread {
    /// Returns a loss, or NaN in its place if a time is wrong, so that the step makes no update. Does not wait.
    pub fn mark(&self, loss: &Tensor) -> Result<Tensor> {
        let right = within(&self.ends)?.all(&[], false)?.to_device(loss.device())?;
        loss.where_true(&right, &Tensor::full(&loss.shape(), f64::NAN, loss.dtype(), loss.device())?)
    }

    /// Returns an error if a time is wrong. Waits for the device.
    pub fn check(&self) -> Result<()> {
        // A comparison with NaN is false.
        match self.ends.to_f64()?.iter().find(|t| !(0.0..=1.0).contains(*t)) {
            Some(wrong) => Err(Error::argument(format!(
                "{} must return times from 0, noise, to 1, data, found {wrong}",
                self.what
            ))),
            None => Ok(()),
        }
    }
}

/// Returns which times are in [0, 1]; NaN is not.
fn within(t: &Tensor) -> Result<Tensor> {
    t.ge_scalar(0.0)?.logical_and(&t.le_scalar(1.0)?)
}

impl Default for Times {
    fn default() -> Self {
        Times::Sampler(Timesteps::default())
    }
}

impl From<Timesteps> for Times {
    fn from(sampler: Timesteps) -> Self {
        Times::Sampler(sampler)
    }
}

impl From<Function> for Times {
    fn from(function: Function) -> Self {
        Times::Function(function)
    }
}

impl FromValue for Times {
    fn label() -> String {
        "function, timesteps or string".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        match value {
            Value::Function(function) => Ok(Times::Function(function.clone())),
            Value::Str(_) | Value::Object(_) => Timesteps::from_value(value).map(Times::Sampler),
            other => Err(other.mismatch("a function |n, g| or a timestep sampler")),
        }
    }
    fn from_stored(value: &Value) -> Result<Self> {
        match value {
            Value::Map(_) => Timesteps::from_stored(value).map(Times::Sampler),
            other => Self::from_value(other),
        }
    }
}

impl IntoValue for Times {
    fn label() -> String {
        "function or timesteps".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Times::Sampler(sampler) => sampler.into_value(),
            Times::Function(function) => Value::Function(function),
        }
    }
}
