//! The training loop.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::log::{Log, Row};
use super::run::Record;
use super::schedule::{Constant, Cosine};
use super::{AdamW, AdamWOptions, Ema, EmaOptions, Parameters, Run};
use crate::context::{Bar, Context};
use crate::data::{Batch, Dataset, Loader, LoaderOptions};
use crate::declare::{Function, IntoValue, Map, Options, Value};
use crate::error::{Error, Result};
use crate::flow::{self, Timesteps};
use crate::model::Model;
use crate::torch::{Generator, Tensor, autograd, uninterrupted};
use crate::{ensure, options};

options! {
    /// How a model is trained; the defaults are those of the paper (arXiv 2606.18765), but for the length of
    /// the run.
    pub struct Fit {
        /// Updates to make.
        steps: usize = 400 => at_least(1.0);
        /// Images per update.
        batch: usize = 64 => at_least(1.0);
        /// Learning rate of AdamW.
        lr: f64 = 1e-4 => range(0.0, 1000.0);
        /// Decay of AdamW's first and second moment.
        betas: (f64, f64) = (0.9, 0.99) => range(0.0, 1.0);
        /// Decoupled weight decay.
        weight_decay: f64 = 0.0 => range(0.0, 1000.0);
        /// Updates over which the learning rate rises linearly.
        warmup: usize = 0;
        /// After the warm-up: `constant`, or `cosine` down to `min_lr_ratio` at the last step.
        schedule: String = "constant".to_string() => one_of(&["constant", "cosine"]);
        /// The lowest learning rate of the cosine as a part of `lr`.
        min_lr_ratio: f64 = 0.1 => range(0.0, 1.0);
        /// Largest global norm of the gradient; `()` for no clipping.
        clip: Option<f64> = Some(1.0) => at_least(1e-12);
        /// Decay of the averaged weights.
        ema: f64 = 0.9999 => range(0.0, 1.0);
        /// Whether the average forgets faster in the beginning: decay `min(ema, (1 + n) / (10 + n))` at update
        /// n, which serves runs of some hundred steps; with 0.9999 it makes no difference from n = 90,000 on.
        ema_warmup: bool = true;
        /// How times are drawn: `"uniform"`, `"logit_normal"`, or a timestep sampler with options.
        timesteps: Timesteps = Timesteps::default();
        /// Whether each image is mirrored left to right with probability 0.5.
        flip: bool = false;
        /// Precision of matrix products: `float32`, or `bfloat16` by autocast with weights in float32.
        precision: String = "float32".to_string() => one_of(&["float32", "bfloat16"]);
        /// Seed of the order of the images, the times, the noise and the dropped labels.
        seed: i64 = 0;
        /// Steps between rows of the history and of the log.
        log_every: usize = 10 => at_least(1.0);
        /// Folder for `log.csv`, `weights.safetensors` and `ema.safetensors`; empty for none.
        out: String = String::new();
        /// Called after each step with `#{ step, loss, lr, grad_norm, seconds }`; `false` ends the run.
        on_step: Option<Function> = None;
    }
}

/// Trains a model in place by flow matching, and averages its weights beside it.
///
/// Each step draws a batch, times and noise, and makes one AdamW update of the loss
/// `|v(x_t, t, y) - (x - noise)|^2`. On the CPU equal seeds give equal weights, bit for bit.
///
/// A loss or gradient that is not finite ends the run with an error that names the step, before that update;
/// so does an interrupt, between or within steps. In both cases the model keeps its last good weights, and
/// `out` receives them.
pub fn fit(model: &Model, dataset: &Dataset, options: &Fit, context: &Context) -> Result<Run> {
    options.check()?;
    check_fit(model, dataset)?;
    let folder = (!options.out.is_empty()).then(|| PathBuf::from(&options.out));
    let log = folder.as_deref().map(Log::create).transpose()?;
    let mut training = Training::start(model, dataset, options, log, context)?;
    let outcome = training.run(context);
    if let Some(folder) = &folder {
        // Saved after a failure too; that error is the one to report.
        let saved = training.save(folder);
        outcome.and(saved)?;
    } else {
        outcome?;
    }
    Ok(training.finish())
}

/// That the images and labels are what the model takes.
fn check_fit(model: &Model, dataset: &Dataset) -> Result<()> {
    let config = model.config();
    let wanted = [config.in_channels, config.image_size, config.image_size];
    ensure!(
        dataset.image_shape() == wanted,
        "the model takes images of shape {wanted:?}, but {} has {:?}",
        dataset.name(),
        dataset.image_shape()
    );
    ensure!(
        dataset.classes() <= config.num_classes as usize,
        "the model knows {} classes, but {} has {}",
        config.num_classes,
        dataset.name(),
        dataset.classes()
    );
    Ok(())
}

/// A run in progress.
struct Training<'a> {
    model: &'a Model,
    options: &'a Fit,
    loader: Loader,
    generator: Generator,
    optimizer: AdamW,
    ema: Ema,
    bar: Box<dyn Bar>,
    log: Option<Log>,
    start: Instant,
    /// Steps whose loss and norm still lie on the device.
    pending: Vec<Pending>,
    losses: Vec<f64>,
    history: Vec<Row>,
}

struct Pending {
    loss: Tensor,
    norm: Tensor,
    lr: f64,
}

impl<'a> Training<'a> {
    fn start(
        model: &'a Model,
        dataset: &Dataset,
        options: &'a Fit,
        log: Option<Log>,
        context: &Context,
    ) -> Result<Self> {
        let device = model.device();
        let loader = Loader::new(
            dataset,
            &LoaderOptions {
                batch: options.batch as i64,
                seed: options.seed,
                flip: options.flip,
                device,
                ..LoaderOptions::default()
            },
        )?;
        let optimizer = AdamW::new(
            &Parameters::of(model)?,
            &AdamWOptions {
                lr: options.lr,
                betas: options.betas,
                weight_decay: options.weight_decay,
                ..AdamWOptions::default()
            },
        )?;
        Ok(Self {
            ema: Ema::new(model, options.ema, &EmaOptions { warmup: options.ema_warmup })?,
            // The loader draws from streams of its own, made from the same seed.
            generator: Generator::new(options.seed as u64, device)?,
            bar: context.bar("train", options.steps as u64),
            start: Instant::now(),
            pending: Vec::new(),
            losses: Vec::with_capacity(options.steps),
            history: Vec::new(),
            model,
            options,
            loader,
            optimizer,
            log,
        })
    }

    fn run(&mut self, context: &Context) -> Result<()> {
        for step in 0..self.options.steps {
            context.check()?;
            let pending = self.step(step, context)?;
            self.pending.push(pending);
            let done = step + 1;
            // On CUDA, reading a loss makes the CPU wait, so that the device runs idle.
            let logged = done.is_multiple_of(self.options.log_every) || done == self.options.steps;
            if logged || !self.model.device().is_cuda() || self.options.on_step.is_some() {
                self.settle()?;
                if !self.report(step, logged)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One update; what it measured stays on the device.
    fn step(&mut self, step: usize, context: &Context) -> Result<Pending> {
        let lr = self.options.lr * self.factor(step);
        self.optimizer.set_lr(lr)?;
        let batch = self.loader.next()?;
        let loss = self.loss(&batch)?;
        context.check()?;
        self.optimizer.zero_grad()?;
        loss.backward(None, false)?;
        context.check()?;
        // The average follows every update, also the one in which the user asks to stop.
        let norm = uninterrupted(|| {
            let norm = self.optimizer.update(Some(&loss), self.options.clip)?;
            self.ema.update(self.model)?;
            Ok::<_, Error>(norm)
        })?;
        Ok(Pending { loss: loss.detach()?, norm, lr })
    }

    fn loss(&self, batch: &Batch) -> Result<Tensor> {
        let (device, generator) = (self.model.device(), Some(&self.generator));
        let t = self.options.timesteps.draw(batch.len() as i64, device, generator)?;
        let images = batch.images.to_dtype(self.model.config().dtype)?;
        let pair = flow::pair(&images, &t, None, generator)?;
        // Labels were checked against the model before the first step.
        let labels = self.model.drop_labels(&batch.labels, generator)?;
        let forward = || self.model.forward_unchecked(&pair.x_t, &t, &labels);
        let velocity = match self.options.precision.as_str() {
            "bfloat16" => autograd::autocast(device, forward)?,
            _ => forward()?,
        };
        flow::loss(&velocity, &pair.target)
    }

    fn factor(&self, step: usize) -> f64 {
        let Fit { warmup, steps, min_lr_ratio, .. } = *self.options;
        match self.options.schedule.as_str() {
            "cosine" => Cosine { warmup, steps, min_ratio: min_lr_ratio }.factor(step),
            _ => Constant { warmup }.factor(step),
        }
    }

    /// Reads the pending losses; a step that failed ends the run.
    fn settle(&mut self) -> Result<()> {
        if let Some(step) = self.optimizer.take_failure()? {
            let Fit { steps, lr, .. } = *self.options;
            return Err(Error::argument(format!(
                "the loss or its gradient is not finite at step {step} of {steps}; the weights are those before it"
            ))
            .hint(format!("try a smaller learning rate than {lr}, or look for broken values in the images")));
        }
        let scalars: Vec<Tensor> = self.pending.iter().map(|p| p.loss.clone()).collect();
        self.losses.extend(Tensor::stack(&scalars, 0)?.to_f64()?);
        Ok(())
    }

    /// Tells everyone about the last step, which has been settled; `false` when the user's function wants
    /// to end the run.
    fn report(&mut self, step: usize, logged: bool) -> Result<bool> {
        let Some(last) = self.pending.last() else { return Ok(true) };
        let since = self.history.last().map_or(0, |r| r.step);
        let row = Row {
            step: step + 1,
            loss: mean(&self.losses[since..]),
            lr: last.lr,
            grad_norm: last.norm.item()?,
            seconds: self.start.elapsed().as_secs_f64(),
        };
        self.pending.clear();
        // A single loss jumps about with its batch and times.
        let recent = mean(&self.losses[self.losses.len().saturating_sub(20)..]);
        self.bar.update(row.step as u64, &format!("loss {recent:.4}  lr {:.1e}", row.lr));
        let goes_on = match &self.options.on_step {
            Some(on_step) => {
                let own = Row { loss: self.losses[step], ..row };
                !matches!(on_step.call(&[own.into_value()])?, Value::Bool(false))
            }
            None => true,
        };
        if logged || !goes_on {
            self.history.push(row);
            if let Some(log) = &mut self.log {
                log.row(&row)?;
            }
        }
        Ok(goes_on)
    }

    fn save(&self, folder: &Path) -> Result<()> {
        self.model.save(folder.join("weights.safetensors"))?;
        self.ema.model().save(folder.join("ema.safetensors"))
    }

    fn finish(self) -> Run {
        Run::new(Record {
            model: self.model.clone(),
            ema: self.ema.model(),
            seconds: self.start.elapsed().as_secs_f64(),
            images: self.losses.len() * self.options.batch,
            losses: self.losses,
            history: self.history,
            settings: settings(self.options),
        })
    }
}

/// The options as data; a function is none.
fn settings(options: &Fit) -> Map {
    let mut map = options.to_map();
    map.remove("on_step");
    for value in map.values_mut() {
        if let Value::Object(object) = value {
            *value = object.to_data().unwrap_or(Value::Unit);
        }
    }
    map
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
