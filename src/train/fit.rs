//! The training loop.

use super::checkpoint::{Folder, difference, with_code_of};
use super::compared::compared;
use super::from;
use super::schedule::Schedule;
use super::training::Training;
use super::{Averages, Companions, Groups, Method, PosthocOptions, Run, received};
use crate::context::Context;
use crate::data::weights::ImageWeights;
use crate::data::{Dataset, augment};
use crate::declare::{Choice, FromValue, Function, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Kind, Result};
use crate::flow::{Loss, Path, Times};
use crate::model::{Model, Part};
use crate::ranks::Ranks;
use crate::torch::uninterrupted;

/// Options of [`fit`]. Defaults follow the paper (arXiv 2606.18765), except for the length of the run.
#[derive(Debug, Clone, Options)]
pub struct FitOptions {
    /// Number of updates.
    #[option(default = 400, range = 1..)]
    pub steps: usize,
    /// Images per update.
    #[option(default = 64, range = 1..)]
    pub batch: usize,
    /// Optimizer: `"adamw"`; `"muon"`, which updates the matrices of blocks by Muon and all others by AdamW; a map of
    /// `kind: "muon"` and its options, see `optim::muon`; or a map with a function, `#{ update: |u| .. }`, see `optim::custom`
    /// and the namespace `optimizers`. The schedule multiplies all learning rates.
    pub optimizer: Method,
    /// Learning rate of AdamW, and of a custom optimizer that sets none.
    #[option(default = 1e-4, range = 0.0..=1000.0)]
    pub lr: f64,
    /// Decay rates of the first and the second moment of AdamW; a custom optimizer receives them.
    #[option(default = (0.9, 0.99), range = 0.0..1.0)]
    pub betas: (f64, f64),
    /// Decoupled weight decay of AdamW; Muon has its own, `optimizer: #{ kind: "muon", weight_decay }`.
    #[option(default = 0.0, range = 0.0..=1000.0)]
    pub weight_decay: f64,
    /// Parameter groups with their own settings, as in `optim::adamw`: maps with `match`, a glob such as
    /// `"*.freq_gate*"` or an array of globs, and any of `lr`, `weight_decay`, `betas` and `eps`. The schedule
    /// applies to all groups.
    pub groups: Groups,
    /// Number of updates over which the learning rate rises linearly.
    #[option(default = 0)]
    pub warmup: usize,
    /// Schedule after the warm-up: `constant`; `cosine`, which falls towards `min_lr_ratio` and would reach it one
    /// step after the last; or a function `|step| factor` that returns a factor for all learning rates, where the
    /// step is counted from 0.
    #[option(takes = ["step"])]
    pub schedule: Schedule,
    /// Lowest learning rate of the cosine schedule, as a fraction of `lr`.
    #[option(default = 0.1, range = 0.0..=1.0)]
    pub min_lr_ratio: f64,
    /// Maximum global norm of the gradient; `()` for no clipping.
    #[option(default = Some(1.0), range = 1e-12..)]
    pub clip: Option<f64>,
    /// Decay of the averaged weights, or a map of options: `decay`, `warmup`, `name`, and `sigma_rel` for a
    /// power-function average. An array creates several averages; the first one is `run.ema`, and `run.averages` has
    /// all of them by name, by default their decay.
    #[option(range = 0.0..=1.0)]
    pub ema: Averages,
    /// Whether early updates use a smaller decay: `min(ema, (1 + n) / (10 + n))` at update n. This helps runs
    /// of a few hundred steps; with 0.9999 it makes no difference from n = 90,000 on.
    #[option(default = true)]
    pub ema_warmup: bool,
    /// Power-function averages whose snapshots are saved in `out`, for averages of any length after training: a map
    /// of `sigma_rel`, by default `[0.05, 0.1]`, and `every`, steps between snapshots. See
    /// `train::posthoc_average`.
    pub posthoc: Option<PosthocOptions>,
    /// Distribution of the times: `"uniform"` (the default), `"logit_normal"`, `"mode"`, `"cosmap"`, `"edm"`, a
    /// timestep sampler with options, or a function `|n, g| t`, which returns n times in [0, 1] drawn from the
    /// generator g; or `|n, g, c|` with the step, like `times` of `flow::path`.
    #[option(takes = ["n, g", "n, g, c"])]
    pub timesteps: Option<Times>,
    /// Path from noise to data: its noise, interpolation and times, and what the model predicts. Pass the same path
    /// to `flow::sample`. See `flow::path`.
    pub path: Path,
    /// Loss to minimize: a loss such as `loss::spectral(..)`, or a function `|s| scalar` of the step s. The step has
    /// the predicted velocity `v`, computed only if the loss reads it, its `target`, `x_t`, `x1`, `noise`, `t` and
    /// `y` (labels after dropout); `pair` (additional entries from `mix` of the path), `fields` of the images and
    /// `indices` (their positions in the data set, int64 `[B]`); `model`, `ema` (the first average), `path` and
    /// `also`; `kept` (tensors that parts of the model kept in the forward pass of `v`); and `step` (from 0), `seed`
    /// of the step, and `row`, the position of the first image in the batch of `batch` images. With `accumulate`, the
    /// losses of the micro-batches are averaged.
    #[option(receives = received::LOSS, takes = ["s"])]
    pub loss: Loss,
    /// Parts and models that are trained together with the model, for use in a loss: a map
    /// `#{ project: part, critic: other }`, whose entries the loss calls as `s.also.project.call(x)` and
    /// `s.also.critic.forward(x, t, y)`. A part with a name, `nn::part(make, #{ name: "project" })`, needs no map,
    /// and a model without a map is called `model`. Models are trained in place. All are saved in checkpoints, but
    /// they are neither averaged nor saved with the model.
    pub also: Companions,
    /// Whether to mirror each image horizontally with probability 0.5, together with its fields that look like
    /// images: [N, .., C, h, w] with the aspect ratio of the images, and [N, H, W] of the size of the images.
    #[option(default = false)]
    pub flip: bool,
    /// How often each image is drawn, relative to others: one number per image, or one per class. In an epoch of N
    /// images, an image of weight w is drawn N w / sum(w) times, rounded up or down at random.
    /// `set.counts().map(|n| 1.0 / n)` draws all classes equally often.
    pub image_weights: Option<ImageWeights>,
    /// Function `|s| images` that augments the images of each batch. The map s has `images` [B, C, H, W] float32,
    /// after `flip`, their `labels`, `indices` and `fields`, and for random numbers that do not depend on ranks a
    /// `seed` of the batch, `row`, the position of the first image in the batch, and `batch`, the size of the whole
    /// batch. The function returns images of the model's shape, or a map of `images` and new or changed `fields`,
    /// which parts read as `c.fields.NAME`.
    #[option(receives = augment::RECEIVED, takes = ["s"])]
    pub augment: Option<Function>,
    /// Precision of matrix products: `float32`, or `bfloat16` by autocast with float32 weights. It applies to `s.v`
    /// and to calls of `s.model` and `s.ema` in a loss; for other networks call `autocast`.
    pub precision: Precision,
    /// Seed of the image order, the times, the noise and the dropped labels.
    #[option(default = 0)]
    pub seed: i64,
    /// Steps between rows of the history and the log.
    #[option(default = 10, range = 1.., changeable)]
    pub log_every: usize,
    /// Number of equal bins of the times. The history and the log contain the mean squared error of the velocity for
    /// each bin, whatever the loss is; 0 for none.
    #[option(default = 0, range = 0..=1000)]
    pub loss_bins: usize,
    /// Folder for checkpoints, `log.csv`, `weights.safetensors` and `ema.safetensors`; empty for none. Calling
    /// `fit` again with the same arguments resumes a run that was stopped.
    #[option(changeable)]
    pub out: String,
    /// Folder for an event file that TensorBoard shows during the run: the columns of the log, images per second and
    /// the settings; empty for none. A resumed run continues the same curves.
    #[option(changeable)]
    pub tensorboard: String,
    /// Steps between checkpoints; one is always written at the end.
    #[option(default = 500, range = 1.., changeable)]
    pub checkpoint_every: usize,
    /// Number of latest checkpoints to keep, besides the best one.
    #[option(default = 2, range = 1.., changeable)]
    pub keep: usize,
    /// Function called with `#{ step, loss, model, ema, averages, tensorboard }` at each checkpoint. It returns a
    /// number, and the checkpoint with the lowest number is the best; NaN is ignored. By default the score is `loss`,
    /// the mean of the last `checkpoint_every` steps. A resumed run with another `score` forgets the best checkpoint
    /// so far. The step of a checkpoint has a row of the history and the log with its `score`, which `on_step` receives
    /// for that step.
    #[option(changeable, receives = received::SCORE, takes = ["s"])]
    pub score: Option<Function>,
    /// Number of scores in a row that are not lower than the best one, after which the run ends; `()` for none. It needs
    /// `score` and `out`. The count is in the checkpoints, so a resumed run ends at the same step. The same call then
    /// returns the ended run; a larger `patience` goes on.
    #[option(range = 1.., changeable)]
    pub patience: Option<usize>,
    /// Run to begin from: its folder, for its newest checkpoint, or one of its checkpoints; empty for none. The new
    /// run takes over the weights, the averages, and the moments and counts of the optimizer, but no options. The
    /// weights of `model` are replaced, and `steps` are counted from 0. An average continues the one with the same
    /// name, or else the first one. Set another `seed` to draw images and noise in another order.
    pub from: String,
    /// Whether to resume the run in `out`; `false` removes its checkpoints, snapshots and weights, and starts over.
    #[option(default = true, changeable)]
    pub resume: bool,
    /// Whether a run in `out` that `on_step` or `patience` has ended goes on. Scores are then counted anew.
    #[option(default = false, changeable)]
    pub go_on: bool,
    /// Whether to resume a run whose code differs from that of the checkpoint, or captured other values, because it
    /// was changed on purpose. Later checkpoints list such changes as `accepted`. Comments and layout of code may
    /// always change.
    #[option(default = false, changeable)]
    pub accept_code: bool,
    /// Number of micro-batches into which each batch is split to save memory; divides `batch`. They are computed one
    /// after the other, or divided among the ranks of a run. Images, times and noise stay the same, and results agree
    /// up to rounding, unless a loss compares the images of its micro-batch with each other.
    #[option(default = 1, range = 1..)]
    pub accumulate: usize,
    /// Whether the backward pass computes the activations of each block again instead of keeping them. This takes
    /// about a third more time and, in one measurement, half of the memory. It changes no bit of a DiT with at most
    /// one correction; with several, gradients of their gates differ by rounding. In a custom network, it applies to
    /// the blocks of `b.dit_block` that receive the call. It is refused for blocks with code, for a DiT with parts
    /// other than those at `weight`, and with `cuda_graph`.
    #[option(default = false)]
    pub checkpoint_activations: bool,
    /// Whether to record loss and gradients of a batch as a CUDA graph and replay it in the steps that follow. This
    /// takes less CPU time, which matters for small models and batches; a step of 68.8 ms took 67.8 ms on an H100.
    /// Random draws, clipping, update and average stay outside the graph, and the weights are the same. Parameters
    /// then keep no gradients between steps. The first two steps run without a graph. No step uses a graph on the
    /// CPU, with `filter::custom`, with a `loss` that calls code, or if recording is impossible; a warning then says
    /// why.
    #[option(default = false, changeable)]
    pub cuda_graph: bool,
    /// What happens if a loss or gradient is not finite: `stop` ends the run before that update, `skip` skips the
    /// batch and counts it. Ten in a row end the run in any case. With `skip`, the CPU waits for CUDA at each step.
    #[option(changeable)]
    pub not_finite: NotFinite,
    /// Function called after each step with
    /// `#{ step, loss, lr, grad_norm, seconds, score, best, history, indices, model, ema, tensorboard }`: `score` of this
    /// step, or `()` if it has none; `best`, a map of `step` and `score` of the lowest score so far, or `()`; `history`, the
    /// rows so far, as in `run.history`; `indices`, the positions of the images in the data set; `model` and `ema` with the
    /// weights after the step, to sample from or to measure; and `tensorboard`, the log of the option `tensorboard`, to
    /// which it can add images and numbers: `s.tensorboard.image("samples", images, s.step)`. If it returns `false`, the
    /// run ends, and the same call returns the ended run; more `steps`, another `on_step` or none, or `go_on` goes on. A
    /// variable that it captures and changes begins anew in a resumed run, `best` and `history` do not. If it fails or is
    /// interrupted, the resumed run calls it for that step again.
    #[option(changeable, receives = received::STEP, takes = ["s"])]
    pub on_step: Option<Function>,
}

impl FitOptions {
    /// Returns the lengths of the averages that `posthoc` tracks.
    pub(super) fn widths(&self) -> &[f64] {
        self.posthoc.as_ref().map_or(&[], |posthoc| &posthoc.sigma_rel)
    }
}

/// Precision of the matrix products of training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Precision {
    /// float32.
    #[default]
    Float32,
    /// bfloat16 by autocast, with float32 weights.
    #[choice(name = "bfloat16")]
    BFloat16,
}

/// What happens if a loss or gradient is not finite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum NotFinite {
    /// The run ends before that update.
    #[default]
    Stop,
    /// The batch is left out and counted.
    Skip,
}

/// Trains a model in place by flow matching, and averages its weights.
///
/// Each step draws a batch, times and noise, and makes one update of the loss
/// `|v(x_t, t, y) - (x - noise)|^2`. All random numbers depend only on the seed and the step, so a resumed run
/// equals an uninterrupted one. On the CPU, equal seeds give equal weights, bit for bit.
///
/// A loss or gradient that is not finite ends the run before that update, with an error that names the step; so
/// does an interrupt. In both cases the model keeps its last good weights, and they are saved to `out`. With `out`,
/// an interrupt lets the step finish and writes a checkpoint; without it, the run stops within the step. In a session,
/// [`last`](super::last) returns such a run as far as it came.
///
/// On several [ranks](crate::ranks) every rank draws the random numbers of the whole batch and computes its share of
/// the images, and losses and gradients are summed. On the CPU, N ranks give the bits of one process that has
/// `accumulate: N` and as many threads as each of them. An interrupt of any rank stops all after the same step.
pub fn fit(model: &Model, dataset: &Dataset, options: &FitOptions, context: &Context) -> Result<Run> {
    options.check()?;
    // Its averages may be what the new run needs the memory for.
    context.stopped.clear();
    check_fit(model, dataset, options.augment.is_some(), context)?;
    options.path.check(model)?;
    options.loss.check(&options.path)?;
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
    if options.checkpoint_activations {
        check_recomputation(model, options)?;
    }
    if let Some(posthoc) = &options.posthoc {
        posthoc.check().map_err(|e| e.context("`posthoc`"))?;
        ensure!(!options.out.is_empty(), "`posthoc` saves snapshots in the folder `out`, which is not given");
        ensure!(!posthoc.sigma_rel.is_empty(), "`posthoc` tracks at least one `sigma_rel`, found none");
        ensure!(
            posthoc.every <= options.steps,
            "`posthoc` saves the first snapshot after {} steps, and the run has {}",
            posthoc.every,
            options.steps
        );
    }
    if options.patience.is_some() {
        ensure!(options.score.is_some(), "`patience` counts the results of `score`, which is not given");
        ensure!(
            !options.out.is_empty(),
            "`patience` counts the scores of checkpoints in the folder `out`, which is not given"
        );
    }
    from::check(options)?;
    let ranks = Ranks::of(context);
    ensure!(
        options.batch >= ranks.size(),
        "a batch of {} cannot be divided over {} ranks: every rank computes at least one image",
        options.batch,
        ranks.size()
    );
    if options.score.is_some() && options.out.is_empty() {
        context.note("`score` is called at checkpoints, which a run without the option `out` has not");
    }
    let saves = ranks.is_first() && !options.out.is_empty();
    let folder = ranks.agree(saves.then(|| Folder::open(&options.out)).transpose())?;
    let mut training = Training::start(model, dataset, options, folder, context)?;
    // Rank 0 alone writes files, and the others would not know which machine's disk is full.
    let outcome = training.run(context).map_err(|error| match ranks.are_several() && ranks.is_first() {
        true if error.kind() == Kind::File => error.context(ranks.name(0)),
        _ => error,
    });
    // Weights are saved after a failure too, but that failure is the error to report. If the failure was writing a
    // file, and not reading an image, saving again would fail as well.
    let saved = match &outcome {
        Err(error) if error.kind() == Kind::File && error.origin().is_none() && !training.unread => Ok(()),
        _ => uninterrupted(|| training.end(outcome.as_ref().err())),
    };
    let unsaved = if outcome.is_err() { saved.as_ref().err().cloned() } else { None };
    if let Err(error) = outcome.and(saved) {
        uninterrupted(|| training.leave(&error, unsaved, context));
        return Err(error);
    }
    if training.saves() {
        // What rank 0 has written can then be read by all.
        ranks.barrier()?;
    }
    uninterrupted(|| training.finish())
}

/// Lists what the checkpoints of a run will not store or compare, one sentence each with the reason.
pub fn not_stored(model: &Model, options: &FitOptions) -> Vec<String> {
    let sentence = |what: String, why: Error| {
        format!("{what} is not stored, so a resumed run cannot tell whether it changed: {}", why.message())
    };
    let mut all = model.design().not_stored();
    let also = options.also.not_compared().map(|(part, why)| (format!("the {}", part.title()), why));
    let path = options.path.not_compared().into_iter().map(|(name, why)| (format!("`path.{name}`"), why));
    let loss = options.loss.not_compared().into_iter().map(|(name, why)| match name {
        "function" => ("`loss`".to_string(), why),
        part => (format!("`loss.{part}`"), why),
    });
    let times = options.timesteps.as_ref().and_then(|times| times.to_compared().err());
    let times = times.map(|why| ("`timesteps`".to_string(), why));
    let schedule = options.schedule.to_compared().err().map(|why| ("`schedule`".to_string(), why));
    let augment = options.augment.as_ref().and_then(|augment| augment.to_compared().err());
    let augment = augment.map(|why| ("`augment`".to_string(), why));
    let optimizer = options.optimizer.not_compared().into_iter();
    let optimizer = optimizer.map(|(name, why)| (format!("`optimizer.{name}`"), why));
    let functions = also.chain(path).chain(loss).chain(times).chain(schedule).chain(augment).chain(optimizer);
    all.extend(functions.map(|(what, why)| sentence(what, why)));
    all
}

/// Advice where a folder holds another run.
const OTHER_RUN: &str = "choose another folder with `out`, or start over with `resume: false`, which removes its \
    checkpoints and weights";

/// Advice where only code differs.
pub(super) const OTHER_CODE: &str = "choose another folder with `out`, go on with the changed code with \
    `accept_code: true`, or start over with `resume: false`, which removes its checkpoints and weights";

/// Returns an error unless the saved settings match those of this run, `here`.
pub(super) fn check_settings(saved: &Map, here: &Map, options: &FitOptions) -> Result<()> {
    let mut free: Vec<&str> =
        FitOptions::FIELDS.iter().filter(|option| option.changeable).map(|option| option.name).collect();
    if options.schedule.may_be_made_longer() {
        // A longer run starts the same way as a shorter one.
        free.push("steps");
    }
    // Options that an earlier version did not have count as default.
    let mut all = settings(&FitOptions::default());
    all.extend(saved.clone());
    match difference(&all, here, &free) {
        None => Ok(()),
        Some(found) => {
            let error = Error::argument(format!("{} holds a run with other settings: {found}", options.out));
            let only_code = difference(&with_code_of(&all, here).0, here, &free).is_none();
            Err(error.hint(if only_code { OTHER_CODE } else { OTHER_RUN }))
        }
    }
}

/// Returns an error unless the blocks of a model can be computed again to the same bits. Blocks of a custom network check
/// themselves in its forward pass.
fn check_recomputation(model: &Model, options: &FitOptions) -> Result<()> {
    // A part at `weight` is a function of its parameters.
    let plain = model.config().is_none_or(|config| {
        config.parts.iter().all(Part::changes_weights)
            && !config.corrections.iter().any(|correction| correction.calls_code())
    });
    if !plain {
        return Err(Error::argument(
            "`checkpoint_activations` is for a DiT without code and parts, other than parts at `weight`: they could keep \
             tensors or draw numbers",
        )
        .hint("save memory with `accumulate: 2` or more"));
    }
    ensure!(
        !options.cuda_graph,
        "give either `checkpoint_activations` or `cuda_graph`: a recording cannot hold a backward pass within another"
    );
    Ok(())
}

/// Returns an error unless images and labels fit the model. Images that are augmented may have any height and width.
fn check_fit(model: &Model, dataset: &Dataset, augmented: bool, context: &Context) -> Result<()> {
    let (wanted, classes) = (model.image_shape(), model.num_classes());
    let [channels, height, width] = dataset.image_shape();
    let other = [height, width] != wanted[1..];
    ensure!(
        channels == wanted[0] && (!other || augmented || model.config().is_some()),
        "the model takes images of shape {wanted:?}, but {} has {:?}",
        dataset.name(),
        dataset.image_shape()
    );
    if other && !augmented {
        model.check_size([height, width]).map_err(|e| e.context(dataset.name().to_string()))?;
        context.note(&format!(
            "{} has images of {height} x {width}, and the model was made for {} x {}: it learns at their size",
            dataset.name(),
            wanted[1],
            wanted[2]
        ));
    }
    ensure!(
        dataset.classes() <= classes as usize,
        "the model knows {} classes, but {} has {}",
        classes,
        dataset.name(),
        dataset.classes()
    );
    Ok(())
}

/// Returns the options as data. A function is stored as what tells its code from other code, or as `()` if it has no
/// known text.
pub(super) fn settings(options: &FitOptions) -> Map {
    let mut map = options.to_map();
    // A function that is called on the side is no setting.
    FitOptions::FIELDS.iter().filter(|option| (option.label)() == <Function as FromValue>::label()).for_each(
        |option| {
            map.remove(option.name);
        },
    );
    let times = options.timesteps.clone().unwrap_or_default().to_compared().unwrap_or(Value::Unit);
    map.insert("timesteps".to_string(), times);
    map.insert("also".to_string(), options.also.to_compared());
    let augment = options.augment.as_ref().and_then(|augment| augment.to_compared().ok());
    map.insert("augment".to_string(), augment.unwrap_or(Value::Unit));
    let weights = options.image_weights.as_ref().map_or(Value::Unit, ImageWeights::to_compared);
    map.insert("image_weights".to_string(), weights);
    map.insert("schedule".to_string(), options.schedule.to_compared().unwrap_or(Value::Unit));
    map.insert("optimizer".to_string(), options.optimizer.to_compared());
    map.values_mut().for_each(to_data);
    map
}

fn to_data(value: &mut Value) {
    match value {
        Value::Object(_) => *value = compared(value),
        Value::List(list) => list.iter_mut().for_each(to_data),
        _ => {}
    }
}
