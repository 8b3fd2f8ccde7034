//! The training loop.

use super::checkpoint::Folder;
use super::training::Training;
use super::{Groups, Run};
use crate::context::Context;
use crate::data::Dataset;
use crate::declare::{Function, IntoValue, Map, OneOrMany, Options, Value};
use crate::error::{Error, Kind, Result};
use crate::flow::{Loss, Path, Timesteps};
use crate::model::{Model, Part};
use crate::torch::uninterrupted;
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
        /// Groups of parameters with other constants, as in `optim::adamw`: maps of `match`, a glob such as
        /// `"*.freq_gate*"` or an array of globs, and any of `lr`, `weight_decay`, `betas` and `eps`. The schedule acts on all.
        groups: Groups = Groups::default();
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
        /// How times are drawn: `"uniform"`, which it is unless given, `"logit_normal"`, or a timestep sampler with options.
        timesteps: Option<Timesteps> = None;
        /// The path from noise to data, which `flow::sample` is given too: its noise, points and times, and what the model
        /// predicts. See `flow::path`.
        path: Path = Path::default();
        /// What is minimized: a loss such as `loss::spectral(..)`, or `|s| scalar` of a map s with `v`, the velocity that the
        /// model predicts, its `target`, `x_t`, `x1`, `noise`, `t`, `y` (labels after dropping), `model`, `step` (from 0), `kept`,
        /// what parts of the model kept in its forward, and `also`. Of the parts of `accumulate` the mean counts.
        loss: Loss = Loss::default();
        /// Parts with parameters that are trained beside the model's, for a loss: `nn::part(make, #{ name: "project" })` is
        /// called in it as `s.also.project.call(x)`. They are stored with checkpoints, and neither averaged nor part of the model.
        also: OneOrMany<Part> = OneOrMany(Vec::new());
        /// Whether each image is mirrored left to right with probability 0.5.
        flip: bool = false;
        /// Precision of matrix products: `float32`, or `bfloat16` by autocast with weights in float32.
        precision: String = "float32".to_string() => one_of(&["float32", "bfloat16"]);
        /// Seed of the order of the images, the times, the noise and the dropped labels.
        seed: i64 = 0;
        /// Steps between rows of the history and of the log.
        log_every: usize = 10 => at_least(1.0);
        /// Folder for checkpoints, `log.csv`, `weights.safetensors` and `ema.safetensors`; empty for none. A run that
        /// was stopped goes on where it was when the same call is made again.
        out: String = String::new();
        /// Steps between checkpoints; one is written at the end in any case.
        checkpoint_every: usize = 500 => at_least(1.0);
        /// How many of the last checkpoints are kept, beside the best one.
        keep: usize = 2 => at_least(1.0);
        /// Called with `#{ step, loss, model, ema }` at each checkpoint; gives a number, and the checkpoint with the
        /// lowest one is the best. Unless given it is `loss`, the mean since the checkpoint before.
        score: Option<Function> = None;
        /// Whether a run that `out` holds goes on; `false` removes its checkpoints and starts over.
        resume: bool = true;
        /// Parts that each batch is computed in, one after the other, to save memory; divides `batch`. The images,
        /// times and noise stay the same, and so do results up to rounding.
        accumulate: usize = 1 => at_least(1.0);
        /// Whether CUDA records loss and gradients of a batch as a graph and replays them in the steps that follow, which
        /// takes less of the processor's time and matters for small models and batches. Not measured yet, so off. What
        /// is drawn, clipping, update and average stay outside, and the weights are the same. Parameters then keep no
        /// gradients between steps. The first two steps are computed plainly, and so is everything on the CPU, with
        /// `filter::custom`, with a `loss` that calls code, or where nothing can be recorded; a warning then says why.
        cuda_graph: bool = false;
        /// What a loss or gradient that is not finite does: `stop` ends the run before that update, `skip` leaves the
        /// batch out and counts it. Ten in a row end the run all the same. With `skip`, CUDA waits at each step.
        not_finite: String = "stop".to_string() => one_of(&["stop", "skip"]);
        /// Called after each step with `#{ step, loss, lr, grad_norm, seconds, indices }`, the last of which says where
        /// in the data set the images were; `false` ends the run.
        on_step: Option<Function> = None;
    }
}

/// Options that do not change what is computed, so that a resumed run may have others.
const FREE: [&str; 9] = [
    "out",
    "checkpoint_every",
    "keep",
    "score",
    "resume",
    "log_every",
    "not_finite",
    "on_step",
    "cuda_graph",
];

/// Trains a model in place by flow matching, and averages its weights beside it.
///
/// Each step draws a batch, times and noise, and makes one AdamW update of the loss
/// `|v(x_t, t, y) - (x - noise)|^2`. Everything that is drawn is a function of the seed and the step, so that a run
/// that was stopped and resumed is the run that was not. On the CPU equal seeds give equal weights, bit for bit.
///
/// A loss or gradient that is not finite ends the run with an error that names the step, before that update;
/// so does an interrupt. In both cases the model keeps its last good weights, and `out` receives them. With `out` an
/// interrupt lets the step finish and a checkpoint be written; without, it stops within the step.
pub fn fit(model: &Model, dataset: &Dataset, options: &Fit, context: &Context) -> Result<Run> {
    options.check()?;
    check_fit(model, dataset)?;
    ensure!(
        options.batch.is_multiple_of(options.accumulate),
        "`accumulate` must divide `batch`, found {} and {}",
        options.accumulate,
        options.batch
    );
    ensure!(
        options.timesteps.is_none() || options.path.options().times.is_none(),
        "give either `timesteps` or `times` of the path, found both"
    );
    let folder = (!options.out.is_empty()).then(|| Folder::open(&options.out)).transpose()?;
    let mut training = Training::start(model, dataset, options, folder, context)?;
    let outcome = training.run(context);
    // What was reached is saved after a failure too; that error is the one to report. Where the failure is that a
    // file could not be written, trying again would not help.
    let saved = match &outcome {
        Err(error) if error.kind() == Kind::File && error.origin().is_none() => Ok(()),
        _ => uninterrupted(|| training.end(outcome.as_ref().err())),
    };
    outcome.and(saved)?;
    uninterrupted(|| training.finish())
}

/// What of a run its checkpoints will not hold, and why: a sentence each.
pub fn not_stored(model: &Model, options: &Fit) -> Vec<String> {
    let sentence = |what: String, why: Error| {
        format!(
            "{what} is not stored, so that a run that goes on cannot tell whether it changed: {}",
            why.message()
        )
    };
    let mut all = model.design().not_stored();
    let also =
        options.also.0.iter().filter_map(|part| Some((format!("the {}", part.title()), part.not_stored()?)));
    let path = options.path.not_stored().into_iter().map(|(name, why)| (format!("`path.{name}`"), why));
    let loss = options.loss.not_stored().into_iter().map(|(name, why)| match name {
        "function" => ("`loss`".to_string(), why),
        part => (format!("`loss.{part}`"), why),
    });
    all.extend(also.chain(path).chain(loss).map(|(what, why)| sentence(what, why)));
    all
}

/// That what `out` holds is this run, as far as its settings say.
pub(super) fn check_settings(saved: &Map, options: &Fit) -> Result<()> {
    let mut free = FREE.to_vec();
    if options.schedule == "constant" {
        // A longer run begins as the shorter one did.
        free.push("steps");
    }
    // What an earlier version had no option for is as it is unless given.
    let mut all = settings(&Fit::default());
    all.extend(saved.clone());
    match super::checkpoint::difference(&all, &settings(options), &free) {
        None => Ok(()),
        Some(difference) => Err(Error::argument(format!("{} holds a run with other settings: {difference}", options.out))
            .hint("choose another folder with `out`, or start over with `resume: false`, which removes its checkpoints")),
    }
}

/// That the images and labels are what the model takes.
fn check_fit(model: &Model, dataset: &Dataset) -> Result<()> {
    let (wanted, classes) = (model.image_shape(), model.num_classes());
    ensure!(
        dataset.image_shape() == wanted,
        "the model takes images of shape {wanted:?}, but {} has {:?}",
        dataset.name(),
        dataset.image_shape()
    );
    ensure!(
        dataset.classes() <= classes as usize,
        "the model knows {} classes, but {} has {}",
        classes,
        dataset.name(),
        dataset.classes()
    );
    Ok(())
}

/// The options as data. A function is its code, or `()` where that has no stored form.
pub(super) fn settings(options: &Fit) -> Map {
    let mut map = options.to_map();
    map.remove("on_step");
    map.remove("score");
    map.insert("timesteps".to_string(), options.timesteps.clone().unwrap_or_default().into_value());
    map.values_mut().for_each(to_data);
    map
}

fn to_data(value: &mut Value) {
    match value {
        Value::Object(object) => *value = object.to_data().unwrap_or(Value::Unit),
        Value::List(list) => list.iter_mut().for_each(to_data),
        _ => {}
    }
}
