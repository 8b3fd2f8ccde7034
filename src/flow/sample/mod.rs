//! Sampling of images from noise.

use std::sync::Arc;

use crate::context::Context;
use crate::declare::{Function, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ranks::Ranks;
use crate::torch::graph::{self, Graphs};
use crate::torch::ops::vision::Pair;
use crate::torch::{DType, Fields, Tensor, no_grad};

mod captured;
mod check;
mod discrete;
mod draws;
mod grid;
mod group;
mod labels;
mod sampler;
mod sde;
pub(super) mod step;
mod velocity;

pub(super) use captured::Captured;
use check::{check, per_image};
pub use discrete::{Spacing, Variance};
pub(super) use draws::Draws;
use group::{Group, PARTS};
pub use labels::Labels;
pub use sampler::{Conditions, Sampler};
pub use sde::{Diffusion, LastStep};
pub use step::{SamplingStep, State};

use super::Path;
use super::ode::Scheme;
use super::path::{Facts, Interpolant};
pub(super) use discrete::Chain;

/// Options of `flow::sample`.
#[derive(Debug, Clone, Options)]
pub struct SampleOptions {
    /// One label per image, 0 to K - 1, or K for no label; the number of labels is the number of images.
    pub labels: Option<Labels>,
    /// Fields of the images by name, tensors with one row per label that parts read as `c.fields.NAME`. They are
    /// moved to the device of the model; the model of `autoguidance` receives them too. Or a function `|x, t, c| map`
    /// that is called before each evaluation and returns the fields of its images, which may depend on the step c.
    #[option(takes = ["x, t, c"])]
    pub fields: Conditions,
    /// Height and width of the images, or one integer for both, in pixels or cells of latents; by default those of
    /// the model. The `patch_size` must divide both. `position_scaling` of the model sets the positions of the
    /// tokens.
    #[option(range = 1.0..=65536.0)]
    pub size: Option<Pair>,
    /// Number of steps from noise to data; the paper uses 50.
    #[option(default = 50, range = 1..=1000000)]
    pub steps: usize,
    /// Guidance scale s of `v_null + s (v_cond - v_null)`; 1 means none. The null label must have been trained, with a
    /// `class_dropout_prob` above 0.
    #[option(default = 1.0, range = -1000.0..=1000.0)]
    pub guidance: f64,
    /// Times `[first, last]` between which guidance applies, both included (Kynkäänniemi et al. 2024). Adaptive solvers begin
    /// a step at each.
    #[option(default = (0.0, 1.0), range = 0.0..=1.0)]
    pub guidance_interval: (f64, f64),
    /// Number of first channels that guidance changes; by default all. The public code of DiT and SiT guides 3 of the
    /// 4 channels. Not with `guide`.
    #[option(range = 1..)]
    pub guidance_channels: Option<i64>,
    /// Guidance scale of each image, one per label, instead of `guidance`.
    #[option(range = -1000.0..=1000.0)]
    pub guidances: Vec<f64>,
    /// Weaker model of the same images that guides instead of the null label, `v_weak + guidance (v - v_weak)`, both with
    /// the labels (Karras et al. 2024, "Guiding a Diffusion Model with a Bad Version of Itself").
    pub autoguidance: Option<Model>,
    /// Solver: `euler` evaluates the model once per step, `heun` twice, `rk4` four times. `dopri5` and
    /// `adaptive_heun` choose the steps of each image by `rtol` and `atol`. `euler_maruyama` and `sde_heun` solve the
    /// stochastic equation with `diffusion`; they need the score, which is unknown for a path with `noise` or `mix`.
    /// `ddpm` and `ddim` are the samplers of the public code of DiT, for the path `predict: "ddpm"`. Or a function
    /// `|velocity, x, t, next, c| x` that makes the step from time t to time next and calls `velocity.call(x, t)` for
    /// the velocity with guidance, also with a tensor t of times of images `[B]` or pixels [B, 1, H, W].
    #[option(takes = ["velocity, x, t, next, c"])]
    pub sampler: Sampler,
    /// Permitted error of a step of an adaptive solver, relative to the state.
    #[option(default = 1e-3, range = 1e-12..=1.0)]
    pub rtol: f64,
    /// Permitted absolute error of a step of an adaptive solver.
    #[option(default = 1e-6, range = 1e-12..=1.0)]
    pub atol: f64,
    /// Boundaries of the steps, instead of `steps`, `from` and `to`; the state at the first one is the noise.
    pub times: Vec<f64>,
    /// Shift of equal steps, `t / (shift + (1 - shift) t)`: above 1 there are more steps near the noise (Esser et al. 2024,
    /// Stable Diffusion 3), below 1 near the data (LightningDiT uses 0.3).
    #[option(default = 1.0, range = 0.001..=1000.0)]
    pub shift: f64,
    /// Diffusion coefficient of a stochastic solver (SiT).
    pub diffusion: Diffusion,
    /// Factor of the diffusion coefficient.
    #[option(default = 1.0, range = 0.0..=1000.0)]
    pub diffusion_norm: f64,
    /// Last step of a stochastic solver, which adds no noise; it is the last of `steps`. "tweedie" ends at time 1. Where the
    /// diffusion coefficient is not small, as at a last time before 1, the images lack the noise of this step; "none" adds it.
    pub last_step: LastStep,
    /// Size of the last step of a stochastic solver.
    #[option(default = 0.04, range = 0.0..=0.5)]
    pub last_step_size: f64,
    /// Which of the 1000 diffusion steps `ddpm` and `ddim` take: "even" spreads them from the first to the last, like
    /// "250" in the public code, and "stride" takes every k-th, like "ddim50".
    pub spacing: Spacing,
    /// Variance of a step of `ddpm`: that of the model, or one of the two fixed ones. By default "learned" if the model
    /// has `learn_sigma`, otherwise "large".
    pub variance: Option<Variance>,
    /// Amount of noise of `ddim`, from 0 (none) to 1 (as `ddpm` with the variance "small"; Song et al. 2021, DDIM,
    /// equation 16).
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub eta: f64,
    /// Whether `ddpm` and `ddim` clamp the predicted image to [-1, 1] in each step; not for latents.
    #[option(default = false)]
    pub clip_denoised: bool,
    /// Seed of the starting noise, which is drawn on the CPU so that it is the same for every device. libtorch's generator
    /// takes the lowest 32 bits of it.
    #[option(default = 0, range = 0..)]
    pub seed: u64,
    /// Seed of each image, one per label, instead of `seed`: an image does not depend on those sampled with it.
    #[option(range = 0..)]
    pub seeds: Vec<u64>,
    /// Noise [N, B, C, H, W] for the N noisy steps of a stochastic solver, used instead of the seed.
    pub step_noise: Option<Tensor>,
    /// Starting noise [B, C, H, W], used instead of the seed; `noise` of the path does not change it, and its `sigma` scales it.
    pub noise: Option<Tensor>,
    /// Path that the model was trained on: its noise, and what the model predicts.
    pub path: Path,
    /// Function that replaces the guidance formula: `|cond, uncond, x, t| v` from the velocities [B, C, H, W] for the
    /// labels and for the null label, the state x and the times t `[B]`, of `batch` images. Applies within
    /// `guidance_interval`. A function with five arguments also receives the labels `[B]`, and one with six also the
    /// step c, which has `c.step`, `c.next`, `c.rows`, `c.state` and others. With `ddpm` and `ddim` it combines
    /// predicted noises, and t is the time of the straight path with the step's signal-to-noise ratio, as for
    /// `guidance_interval`.
    #[option(takes = ["cond, uncond, x, t", "cond, uncond, x, t, y", "cond, uncond, x, t, y, c"])]
    pub guide: Option<Function>,
    /// Function that changes the velocity of each evaluation, after guidance: `|v, x, t| v`,
    /// `|v, x, t, y| v` with the labels, or `|v, x, t, y, c| v` with the step too.
    #[option(takes = ["v, x, t", "v, x, t, y", "v, x, t, y, c"])]
    pub velocity: Option<Function>,
    /// Function that changes the state after each step, as for inpainting: `|x, t| x`, where t is the time after the
    /// step, or `|x, t, c| x` with the step. With this option all images are computed at once, unless `batch` is
    /// given.
    #[option(takes = ["x, t", "x, t, c"])]
    pub keep: Option<Function>,
    /// State [B, C, H, W] to start from instead of noise, such as an image mixed with noise (SDEdit, Meng et
    /// al. 2022).
    pub start: Option<Tensor>,
    /// Time of the state `start`; 0 is noise and 1 is data.
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub from: f64,
    /// Time at which sampling ends; a time before `from` runs back towards noise.
    #[option(default = 1.0, range = 0.0..=1.0)]
    pub to: f64,
    /// Number of images computed at once; by default 32 on the CPU, whose caches hold that many, and 256 on
    /// CUDA. The result does not depend on it beyond rounding.
    #[option(range = 1..)]
    pub batch: Option<usize>,
    /// Whether to record one evaluation of the model as a CUDA graph and replay it for all others of its size, which
    /// takes less CPU time and matters for small batches. Off by default. The result is the same. The first two
    /// evaluations of a size run without a graph. No evaluation uses a graph on the CPU, with `filter::custom`, with
    /// `guide`, `velocity` or functions for `fields` or `sampler`, or if recording is impossible; a warning then says
    /// why.
    #[option(default = false)]
    pub cuda_graph: bool,
    /// Whether to clamp the result to [-1, 1]; only at time 1, since noise lies outside.
    #[option(default = true)]
    pub clamp: bool,
}

impl SampleOptions {
    /// Returns the channels, height and width of the images.
    fn shape(&self, model: &Model) -> [i64; 3] {
        let [channels, height, width] = model.image_shape();
        let [height, width] = self.size.map_or([height, width], |Pair(size)| size);
        [channels, height, width]
    }

    /// Returns the guidance scale of the image in row `row` at time `t`.
    fn scale_at(&self, t: f64, row: usize) -> f64 {
        match self.guides_at(t) {
            true => self.guidances.get(row).copied().unwrap_or(self.guidance),
            false => 1.0,
        }
    }

    /// Returns whether guidance applies at time `t`.
    fn guides_at(&self, t: f64) -> bool {
        // Times are rounded, and both ends belong to the interval.
        const ROUNDING: f64 = 1e-9;
        let (first, last) = self.guidance_interval;
        (first - ROUNDING..=last + ROUNDING).contains(&t)
    }

    /// Returns whether any image is guided.
    fn guides(&self) -> bool {
        self.guide.is_some() || self.guidance != 1.0 || self.guidances.iter().any(|scale| *scale != 1.0)
    }

    /// Returns the times between which the velocity is smooth: no step of an adaptive solver may cross an end of the
    /// guidance interval, where it jumps.
    fn cuts(&self) -> Vec<f64> {
        let (first, last) = self.guidance_interval;
        let mut cuts = vec![self.from];
        if self.guides() {
            let (low, high) = (self.from.min(self.to), self.from.max(self.to));
            cuts.extend([first, last].into_iter().filter(|t| low < *t && *t < high));
            cuts.dedup();
            if self.to < self.from {
                cuts[1..].reverse();
            }
        }
        cuts.push(self.to);
        cuts
    }

    /// Returns the ends of all steps.
    fn times(&self) -> Vec<f64> {
        if !self.times.is_empty() {
            return self.times.clone();
        }
        let Scheme::Stochastic(_) = self.sampler.scheme() else {
            return grid::steps(self.from, self.to, self.steps, self.shift);
        };
        let endless = self.diffusion == Diffusion::Sbdm && self.path.options().interpolant != Interpolant::Vp;
        let from = if endless { self.from.max(sde::FIRST) } else { self.from };
        match self.last_step {
            LastStep::None => grid::steps(from, self.to, self.steps, self.shift),
            _ if self.steps == 1 => vec![from, self.to],
            _ => {
                let mut times = grid::steps(from, self.to - self.last_step_size, self.steps - 1, self.shift);
                times.push(self.to);
                times
            }
        }
    }
}

/// Samples images [B, C, H, W] in [-1, 1], one per label, by integrating the model's velocity from noise to data.
///
/// The state, and the images, are float64 for a float64 model and float32 for every other.
///
/// Records no gradients. Stops between evaluations of the model if the context is interrupted.
///
/// On several ranks, each computes a part of the groups of `batch` images, and all return all images, equal to those of
/// one rank.
pub fn sample(model: &Model, options: &SampleOptions, context: &Context) -> Result<Tensor> {
    options.check()?;
    check(options, model)?;
    options.path.check(model)?;
    if options.guides() && options.autoguidance.is_none() && model.last_label() < model.num_classes() {
        return Err(Error::argument("the model has no null label, which guidance needs")
            .hint("it was trained without label dropout; leave `guidance` and `guide` out"));
    }
    let untrained = options.guides() && options.autoguidance.is_none();
    if untrained && model.design().class_dropout_prob() == 0.0 && context.warn.is_first("null label") {
        context.note(
            "guidance needs the null label, which training with the model's `class_dropout_prob: 0.0` never sees; the \
             images are right only if the weights come from another training",
        );
    }
    let device = model.device();
    let labels = labels(model, options.labels.as_ref())?.to_device(device)?;
    let count = labels.count() as i64;
    per_image(options, count, options.shape(model))?;
    let fields = given(&options.fields.given(), count, model)?;
    let facts = Facts {
        labels: Some(labels.clone()),
        fields: fields.clone(),
        // With `seeds` the images have seeds of their own.
        seed: options.seeds.is_empty().then(|| Facts::seed_of(options.seed, 0)),
        ..Facts::default()
    };
    let start = no_grad(|| starting_state(model, options, count, facts))?;
    let usual = if device.is_cuda() { 256 } else { 32 };
    let batch = match options.batch {
        Some(batch) => batch as i64,
        None if options.keep.is_some() => count,
        None => usual,
    };
    let chunks = count.div_euclid(batch) + i64::from(count % batch != 0);
    let ranks = Ranks::of(context);
    ranks.same(&[
        ("the number of images to sample", count.to_string()),
        ("the size of a batch", batch.to_string()),
        ("the seed", options.seed.to_string()),
        ("the number of steps", options.steps.to_string()),
    ])?;
    let (first, own) = ranks.share(chunks as usize);
    let steps = match options.sampler.scheme() {
        Scheme::Adaptive(_) => PARTS,
        Scheme::Discrete { .. } => options.steps as u64,
        _ => options.times().len() as u64 - 1,
    };
    let mut bar = context.bar("sample", own as u64 * steps);
    let mut graphs = graphs(model, options);
    let draws = Arc::new(Draws::new((options.seed, &options.seeds), count, options.shape(model)));
    let options = &Arc::new(options.clone());
    let captured = Captured::of(captured::functions(options), own);
    let (mut parts, mut evaluations) = (Vec::new(), Vec::new());
    for (made, first) in (0..count).step_by(batch as usize).skip(first).take(own).enumerate() {
        let size = batch.min(count - first);
        let group = Arc::new(Group {
            model: model.clone(),
            options: Arc::clone(options),
            context: context.clone(),
            memory: step::Memory::new(&draws, options.seed),
            start: start.narrow(0, first, size)?,
            labels: labels.narrow(0, first, size)?,
            fields: fields.narrow(first, size)?,
            first: first as usize,
            size,
        });
        let mut update = |done: u64| bar.update(made as u64 * steps + done, "");
        parts.push(no_grad(|| match options.sampler.scheme() {
            Scheme::Fixed(method) => group.fixed(method, &mut graphs, &mut update),
            Scheme::Adaptive(method) => group.adaptive(method, &mut evaluations, &mut update),
            Scheme::Stochastic(heun) => group.stochastic(heun, &mut update),
            Scheme::Discrete { ddim } => group.discrete(ddim, &mut update),
            Scheme::Own => group.own(&mut update),
        })?);
        if made == 0 {
            captured.check(captured::functions(options), context);
        }
    }
    drop(bar);
    if let (Some(least), Some(most)) = (evaluations.iter().min(), evaluations.iter().max()) {
        let number = if least == most { most.to_string() } else { format!("{least} to {most}") };
        context.note(&format!("{} took {number} evaluations of the model for each image", options.sampler));
    }
    let images = match parts.is_empty() {
        true => start.narrow(0, 0, 0)?,
        false => Tensor::cat(&parts, 0)?,
    };
    let images = ranks.gather(&images)?;
    let end = options.times.last().copied().unwrap_or(options.to);
    if options.clamp && end == 1.0 { images.clamp(-1.0, 1.0) } else { Ok(images) }
}

/// Returns recorded graphs of the velocity, if requested and possible.
fn graphs(model: &Model, options: &SampleOptions) -> Option<Graphs> {
    if !options.cuda_graph {
        return None;
    }
    let fields = matches!(options.fields, Conditions::Function(_));
    let code =
        [("guide", options.guide.is_some()), ("velocity", options.velocity.is_some()), ("fields", fields)];
    if options.path.converts_by_code() {
        graph::refuse("`alpha` and `sigma` of the path are called at each step, which cannot be recorded");
        return None;
    }
    if let Some((name, _)) = code.iter().find(|(_, given)| *given) {
        graph::refuse(&format!("`{name}` calls code at each step, which cannot be recorded"));
        return None;
    }
    if !matches!(options.sampler.scheme(), Scheme::Fixed(_)) || !options.guidances.is_empty() {
        graph::refuse("a recording needs a sampler with given steps and one guidance scale for all images");
        return None;
    }
    model.graphs(options.autoguidance.as_ref())
}

/// Returns the labels, checked against the model's classes.
pub(super) fn labels(model: &Model, given: Option<&Labels>) -> Result<Tensor> {
    let (classes, last) = (model.num_classes(), model.last_label());
    let Some(labels) = given.map(Labels::tensor).transpose()? else {
        return Err(Error::argument(
            "option `labels` is missing: it lists the class of each image to sample",
        )
        .hint(format!("for example `labels: [0, 1, 2]`; {classes} is the label for no class")));
    };
    let numbers = labels.to_i64()?;
    ensure!(!numbers.is_empty(), "expected at least one label, found none");
    match numbers.iter().find(|l| !(0..=last).contains(*l)) {
        Some(wrong) => Err(Error::argument(format!(
            "label {wrong} is out of range: expected 0 to {}{}",
            classes - 1,
            if last == classes { format!(", or {classes} for no class") } else { String::new() }
        ))),
        None => Ok(labels.clone()),
    }
}

/// Returns the fields of `count` images on the device of the model.
pub(super) fn given(fields: &Fields, count: i64, model: &Model) -> Result<Fields> {
    fields.check_rows(count)?;
    fields.to_device(model.device())
}

/// Returns the dtype of the state: rounding to 16 bits would add up over the steps.
pub(super) fn state_dtype(model: &Model) -> DType {
    model.dtype().at_least_float32()
}

/// Returns the state from which sampling starts, on the model's device.
fn starting_state(model: &Model, options: &SampleOptions, count: i64, facts: Facts) -> Result<Tensor> {
    let [channels, height, width] = options.shape(model);
    let shape = [count, channels, height, width];
    let own = |x: &Tensor| x.to_device(model.device())?.to_dtype(state_dtype(model));
    let first = options.times().first().copied().unwrap_or(options.from);
    for (what, given) in [("noise", &options.noise), ("a `start`", &options.start)] {
        let Some(given) = given else { continue };
        if given.shape() != shape {
            let error = Error::argument(format!(
                "expected {what} of shape {shape:?}, one image per label, found {:?}",
                given.shape()
            ));
            return Err(match given.shape()[..] {
                [_, _, h, w] if [h, w] != [height, width] && model.check_size([h, w]).is_ok() => {
                    error.hint(format!("images of another size need `size: [{h}, {w}]`"))
                }
                _ => error,
            });
        }
        let given = own(given)?;
        return if what == "noise" { options.path.starting(given, first) } else { Ok(given) };
    }
    let seeds = (options.seed, options.seeds.as_slice());
    let z = Draws::new(seeds, count, [channels, height, width]).draw(None, 0, count)?;
    options.path.starting(options.path.noise(own(&z)?, None, &facts.into())?, first)
}

#[cfg(test)]
pub(super) mod tests;
