//! The loss of a batch, and what a user-defined loss receives.

mod forward;
mod reads;

use std::sync::Arc;

use super::fit::Precision;
use super::training::Training;
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::flow::losses::{Step, wide};
use crate::flow::path::narrowed;
use crate::model::{Model, Pass, Rows};
use crate::torch::fields::GivenFields;
use crate::torch::{Fields, Tensor};
use forward::Forward;
pub(super) use reads::{reads_key, reads_velocity};

/// Random draws for one update, or for a part of its batch.
pub(super) struct Drawn {
    pub x_t: Tensor,
    pub t: Tensor,
    pub labels: Tensor,
    pub target: Tensor,
    /// Positions of the images in the data set, on the CPU.
    pub indices: Tensor,
    /// Fields of the images.
    pub fields: Fields,
    /// Index of the first sample in the whole batch.
    pub first: i64,
    /// Ends of the paths, if the loss uses them.
    pub ends: Option<Ends>,
}

/// Images and noise, and what the path returned besides points.
pub(super) struct Ends {
    pub x1: Tensor,
    pub noise: Tensor,
    pub others: Map,
}

impl Ends {
    fn part(&self, start: i64, size: i64) -> Result<Self> {
        let of = |tensor: &Tensor| tensor.narrow(0, start, size);
        let others = narrowed(&self.others, start, size)?;
        Ok(Self { x1: of(&self.x1)?, noise: of(&self.noise)?, others })
    }
}

impl Drawn {
    /// Returns the `size` samples from `start` on.
    pub fn part(&self, start: i64, size: i64) -> Result<Self> {
        let of = |tensor: &Tensor| tensor.narrow(0, start, size);
        let ends = self.ends.as_ref().map(|ends| ends.part(start, size)).transpose()?;
        Ok(Self {
            x_t: of(&self.x_t)?,
            t: of(&self.t)?,
            labels: of(&self.labels)?,
            target: of(&self.target)?,
            indices: of(&self.indices)?,
            fields: self.fields.narrow(start, size)?,
            first: self.first + start,
            ends,
        })
    }
}

/// Keeps the weights of an average from recording gradients, which nothing would use.
struct Frozen(Vec<Tensor>);

impl Frozen {
    fn new(average: &Model) -> Result<Self> {
        let weights = average.parameters().iter().map(|(_, p)| p.clone());
        let frozen = Self(weights.filter(Tensor::requires_grad).collect());
        frozen.0.iter().try_for_each(|weight| weight.set_requires_grad(false).map(drop))?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // A weight is a leaf, which may always record.
        self.0.iter().for_each(|weight| drop(weight.set_requires_grad(true)));
    }
}

impl Training<'_> {
    /// Returns the loss for `drawn` at `step`, a scalar with gradient history, and the errors by time if they are wanted.
    pub(super) fn loss(&self, drawn: &Drawn, step: usize) -> Result<(Tensor, Option<Tensor>)> {
        let Drawn { t, target, .. } = drawn;
        let recompute = self.options.checkpoint_activations;
        let rows = Rows { first: drawn.first, count: t.size(0)?, batch: self.options.batch as i64 };
        let (step_seen, seed) = (Some(step as i64), self.options.seed);
        let fields = drawn.fields.anew();
        let pass = Pass { step: step_seen, seed, rows: Some(rows), fields, recompute, ..Pass::default() };
        let forward = Arc::new(Forward::new(self.model, self.options, drawn, pass));
        if self.reads_velocity {
            forward.early()?;
        }
        let (mut seen, mut frozen) = (None, None);
        let loss = self.options.loss.compute(
            || forward.velocity(),
            target,
            t,
            || {
                frozen = self.averages.first().map(|average| Frozen::new(&average.model())).transpose()?;
                Ok(seen.insert(self.seen(drawn, &forward, step)?).clone().into_value())
            },
        );
        drop(frozen);
        // Code may keep what it received.
        seen.iter().for_each(Step::end);
        let loss = loss?;
        if !loss.requires_grad() {
            return Err(Error::argument(format!(
                "`loss` must return a scalar tensor that records gradients, found a {} that records none",
                loss.signature()
            ))
            .hint("compute it from `s.v`, the velocity that the network predicts, or from what `s.model` returns"));
        }
        let bins =
            self.bins.as_ref().map(|bins| bins.measure(&forward.measured()?, target, t)).transpose()?;
        Ok((loss, bins))
    }

    /// Returns what a user-defined loss receives.
    fn seen(&self, drawn: &Drawn, forward: &Arc<Forward>, step: usize) -> Result<Step> {
        let pass = forward.pass();
        let autocast = self.options.precision == Precision::BFloat16;
        // The average is not trained: its parts are outside of the step, but the images have their fields.
        let of_images = Pass { fields: pass.fields.clone(), autocast, ..Pass::default() };
        let of_step = Pass { autocast, ..pass.clone() };
        let ema = self.averages.first().map(|a| a.model().in_step(&of_images));
        let mut seen = Map::from([
            ("target".to_string(), wide(&drawn.target)?.into_value()),
            ("x_t".to_string(), drawn.x_t.clone().into_value()),
            ("t".to_string(), drawn.t.clone().into_value()),
            ("y".to_string(), drawn.labels.clone().into_value()),
            ("indices".to_string(), drawn.indices.clone().into_value()),
            ("fields".to_string(), GivenFields(drawn.fields.clone()).into_value()),
            // Its parts run in the training step, as those that gave `v`.
            ("model".to_string(), self.model.in_step(&of_step).into_value()),
            ("ema".to_string(), ema.map_or(Value::Unit, IntoValue::into_value)),
            ("path".to_string(), self.options.path.clone().into_value()),
            ("step".to_string(), step.into_value()),
            ("seed".to_string(), pass.seed_of_loss().map_or(Value::Unit, Value::Int)),
            ("row".to_string(), drawn.first.into_value()),
            ("batch".to_string(), (self.options.batch as i64).into_value()),
            ("also".to_string(), Value::Map(self.also.values_in(&of_step))),
        ]);
        if let Some(Ends { x1, noise, others }) = &drawn.ends {
            seen.insert("x1".to_string(), x1.clone().into_value());
            seen.insert("noise".to_string(), noise.clone().into_value());
            seen.insert("pair".to_string(), Value::Map(others.clone()));
        }
        let forward = Arc::clone(forward);
        Ok(Step::new(seen, move || forward.seen()))
    }
}

#[cfg(test)]
mod tests;
