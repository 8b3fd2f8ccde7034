//! The forward pass of a step.

use std::sync::OnceLock;

use super::Drawn;
use crate::declare::{IntoValue, Map, Value};
use crate::error::{Error, Result};
use crate::flow::Path;
use crate::flow::losses::wide;
use crate::model::{Model, Pass};
use crate::torch::autograd::{self, Modes};
use crate::torch::{Tensor, no_grad};
use crate::train::{FitOptions, Precision};

/// The forward pass of a step, which runs when its velocity is first read: in the modes of the step, even where code reads
/// it within `no_grad` or `autocast`.
pub(super) struct Forward {
    model: Model,
    path: Path,
    precision: Precision,
    x_t: Tensor,
    t: Tensor,
    labels: Tensor,
    pass: Pass,
    modes: Modes,
    velocity: OnceLock<Tensor>,
}

impl Forward {
    /// Returns the forward pass of a model for these draws.
    pub fn new(model: &Model, options: &FitOptions, drawn: &Drawn, pass: Pass) -> Self {
        Self {
            model: model.clone(),
            path: options.path.clone(),
            precision: options.precision,
            x_t: drawn.x_t.clone(),
            t: drawn.t.clone(),
            labels: drawn.labels.clone(),
            pass,
            modes: Modes::now(model.device()),
            velocity: OnceLock::new(),
        }
    }

    /// Returns its context, which holds what parts of the model kept once it has run.
    pub fn pass(&self) -> &Pass {
        &self.pass
    }

    /// Returns the velocity that the model predicts.
    pub fn velocity(&self) -> Result<Tensor> {
        if let Some(velocity) = self.velocity.get() {
            return Ok(velocity.clone());
        }
        let velocity = self.modes.run(|| self.run())?;
        Ok(self.velocity.get_or_init(|| velocity).clone())
    }

    /// Runs it before the loss. If the model asks for a field that is not given, the loss may make it, and gets this error if
    /// it reads the velocity.
    pub fn early(&self) -> Result<()> {
        match self.velocity() {
            Err(_) if self.pass.fields.missed() => Ok(()),
            velocity => velocity.map(drop),
        }
    }

    /// Returns what a loss reads of it.
    pub fn seen(&self) -> Result<Map> {
        let v = self.modes.run(|| wide(&self.velocity()?))?.into_value();
        let kept = Value::Map(self.pass.kept.to_map());
        Ok(Map::from([("v".to_string(), v), ("kept".to_string(), kept)]))
    }

    /// Returns the velocity to be measured, without gradients if the loss did not read it.
    pub fn measured(&self) -> Result<Tensor> {
        if let Some(velocity) = self.velocity.get() {
            return Ok(velocity.clone());
        }
        no_grad(|| self.run()).map_err(|error| match self.pass.fields.missed() {
            true => Error::argument(format!(
                "`loss_bins` measure the velocity with the fields of the data set: {}",
                error.message()
            ))
            .hint("leave out `loss_bins` where the loss makes the fields"),
            false => error,
        })
    }

    fn run(&self) -> Result<Tensor> {
        let Self { model, path, x_t, t, labels, pass, .. } = self;
        let (input, times) = path.input(x_t, t, model.time_scale())?;
        let forward = || model.forward_in(&input, &times, labels, pass);
        let output = match self.precision {
            Precision::BFloat16 => autograd::autocast(model.device(), forward)?,
            Precision::Float32 => forward()?,
        };
        path.velocity(output, x_t, t)
    }
}
