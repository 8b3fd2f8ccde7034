//! Sampling of images from noise.

use crate::context::Context;
use crate::declare::{FromValue, Function, IntoValue, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ranks::Ranks;
use crate::torch::graph::{self, Graphs};
use crate::torch::{DType, Device, Generator, Tensor, no_grad};

use super::guidance::{both, guided};
use super::ode::Solver;
use super::{Path, answer};

/// One label per image: integers, or an int64 tensor `[B]`.
#[derive(Debug, Clone)]
pub enum Labels {
    /// An int64 tensor `[B]`.
    Tensor(Tensor),
    /// Integers.
    List(Vec<i64>),
}

impl Labels {
    /// Returns the labels as an int64 tensor `[B]`.
    pub fn tensor(&self) -> Result<Tensor> {
        match self {
            Labels::List(numbers) => Tensor::from_i64(numbers, &[numbers.len() as i64]),
            Labels::Tensor(tensor) => {
                ensure!(
                    tensor.rank() == 1 && tensor.dtype() == DType::Int64,
                    "expected labels as an int64 tensor [B], found {}",
                    tensor.signature()
                );
                Ok(tensor.clone())
            }
        }
    }
}

impl From<Tensor> for Labels {
    fn from(tensor: Tensor) -> Self {
        Labels::Tensor(tensor)
    }
}

impl From<&Tensor> for Labels {
    fn from(tensor: &Tensor) -> Self {
        Labels::Tensor(tensor.clone())
    }
}

impl From<Vec<i64>> for Labels {
    fn from(numbers: Vec<i64>) -> Self {
        Labels::List(numbers)
    }
}

impl<const N: usize> From<[i64; N]> for Labels {
    fn from(numbers: [i64; N]) -> Self {
        Labels::List(numbers.to_vec())
    }
}

impl From<std::ops::Range<i64>> for Labels {
    fn from(numbers: std::ops::Range<i64>) -> Self {
        Labels::List(numbers.collect())
    }
}

impl FromValue for Labels {
    fn label() -> String {
        "array of int, range or tensor".to_string()
    }
    fn from_value(value: &Value) -> Result<Self> {
        if let Some(tensor) = value.downcast() {
            let labels = Labels::Tensor(tensor);
            return labels.tensor().map(|_| labels);
        }
        match value {
            Value::Range(first, end) => Ok(Labels::List(Value::entries(*first, *end)?.collect())),
            Value::List(_) => Vec::from_value(value).map(Labels::List),
            other => Err(other.mismatch("labels: an array of integers, a range or an int64 tensor")),
        }
    }
}

impl IntoValue for Labels {
    fn label() -> String {
        "tensor".to_string()
    }
    fn into_value(self) -> Value {
        match self {
            Labels::Tensor(tensor) => tensor.into_value(),
            Labels::List(numbers) => numbers.into_value(),
        }
    }
}

/// Options of `flow::sample`.
#[derive(Debug, Clone, Options)]
pub struct SampleOptions {
    /// One label per image, 0 to K - 1, or K for no label; the number of labels is the number of images.
    pub labels: Option<Labels>,
    /// Number of steps from noise to data; the paper uses 50.
    #[option(default = 50, range = 1..)]
    pub steps: usize,
    /// Guidance scale s of `v_null + s (v_cond - v_null)`; 1 means none.
    #[option(default = 1.0, range = -1000.0..=1000.0)]
    pub guidance: f64,
    /// Times `[first, last]` between which guidance applies (Kynkäänniemi et al. 2024).
    #[option(default = (0.0, 1.0), range = 0.0..=1.0)]
    pub guidance_interval: (f64, f64),
    /// Solver: `euler` evaluates the model once per step, `heun` twice, `rk4` four times.
    pub sampler: Solver,
    /// Seed of the starting noise, which is drawn on the CPU so that it is the same for every device.
    #[option(default = 0, range = 0..)]
    pub seed: u64,
    /// Starting noise [B, C, H, W], used instead of the seed; `noise` of the path does not change it.
    pub noise: Option<Tensor>,
    /// Path that the model was trained on: its noise, and what the model predicts.
    pub path: Path,
    /// Function that replaces the guidance formula: `|cond, uncond, x, t| v` from the velocities [B, C, H, W]
    /// for the labels and for the null label, the state x and the times t `[B]`, of `batch` images. Applies
    /// within `guidance_interval`. A function with one argument more also receives the labels `[B]`.
    pub guide: Option<Function>,
    /// Function that changes the velocity of each evaluation, after guidance: `|v, x, t| v`, or
    /// `|v, x, t, y| v` with the labels.
    pub velocity: Option<Function>,
    /// Function that changes the state after each step, as for inpainting: `|x, t| x`, where t is the time
    /// after the step. With it all images are computed at once, unless `batch` is given.
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
    /// Whether to record one evaluation of the model as a CUDA graph and replay it for all others of its size,
    /// which takes less CPU time and matters for small batches. Not measured yet, so off by default. The result
    /// is the same. The first two evaluations of a size run without a graph, and so does everything on the CPU,
    /// with `filter::custom`, with `guide` or `velocity`, or where recording is impossible; a warning then says
    /// why.
    #[option(default = false)]
    pub cuda_graph: bool,
    /// Whether to clamp the result to [-1, 1]; only at time 1, since noise lies outside.
    #[option(default = true)]
    pub clamp: bool,
}

impl SampleOptions {
    /// Returns the guidance scale at time `t`.
    pub fn scale_at(&self, t: f64) -> f64 {
        if self.guides_at(t) { self.guidance } else { 1.0 }
    }

    /// Returns whether guidance applies at time `t`.
    fn guides_at(&self, t: f64) -> bool {
        let (first, last) = self.guidance_interval;
        (first..=last).contains(&t)
    }
}

/// Samples images [B, C, H, W] in [-1, 1], one per label, by integrating the model's velocity from noise to data.
///
/// Records no gradients. Stops between evaluations of the model if the context is interrupted.
///
/// On several ranks, each computes a part of the groups of `batch` images, and all return all images, equal to those of
/// one rank.
pub fn sample(model: &Model, options: &SampleOptions, context: &Context) -> Result<Tensor> {
    options.check()?;
    check(options)?;
    options.path.check(model)?;
    if (options.guidance != 1.0 || options.guide.is_some()) && model.last_label() < model.num_classes() {
        return Err(Error::argument("the model has no null label, which guidance needs")
            .hint("it was trained without label dropout; leave `guidance` and `guide` out"));
    }
    let method = options.sampler.method();
    let device = model.device();
    let labels = labels(model, options.labels.as_ref())?.to_device(device)?;
    let count = labels.count() as i64;
    let start = no_grad(|| starting_state(model, options, count))?;
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
    let mut bar = context.bar("sample", own as u64 * options.steps as u64);
    let mut graphs = graphs(model, options);
    let (mut done, mut parts) = (0, Vec::new());
    for first in (0..count).step_by(batch as usize).skip(first).take(own) {
        let size = batch.min(count - first);
        let (x, y) = (start.narrow(0, first, size)?, labels.narrow(0, first, size)?);
        let mut field = |x: &Tensor, t: f64| {
            context.check()?;
            let times = Tensor::full(&[size], t, DType::Float32, device)?;
            let Some(graphs) = &mut graphs else { return velocity(model, options, (x, &times, &y), t) };
            let recorded = |v: &[Tensor]| Ok(vec![velocity(model, options, (&v[0], &v[1], &v[2]), t)?]);
            // A recording keeps the scale as a constant. The result is copied because higher-order solvers hold
            // several velocities at once.
            let scale = options.scale_at(t).to_bits();
            graphs.run(scale, &[x.clone(), times, y.clone()], &recorded)?[0].copy()
        };
        let step = (options.to - options.from) / options.steps as f64;
        let x = no_grad(|| {
            method.integrate_and(&mut field, &x, (options.from, options.to), options.steps, |made, x| {
                done += 1;
                bar.update(done, "");
                let Some(keep) = &options.keep else { return Ok(x) };
                let t = Tensor::full(&[size], options.from + made as f64 * step, DType::Float32, device)?;
                answer::like(&x, "`keep`", keep, &answer::with_times(&[], &x, &t)?)
            })
        })?;
        parts.push(x);
    }
    let images = match parts.is_empty() {
        true => start.narrow(0, 0, 0)?,
        false => Tensor::cat(&parts, 0)?,
    };
    let images = ranks.gather(&images)?;
    if options.clamp && options.to == 1.0 { images.clamp(-1.0, 1.0) } else { Ok(images) }
}

/// Checks that the options do not contradict each other.
fn check(options: &SampleOptions) -> Result<()> {
    ensure!(
        options.guide.is_none() || options.guidance == 1.0,
        "give either `guidance`, the scale of the usual formula, or `guide`, a formula of your own"
    );
    ensure!(options.from != options.to, "`from` and `to` must differ, found {} for both", options.to);
    match &options.start {
        Some(_) if options.noise.is_some() => {
            Err(Error::argument("give either `start` or `noise`, found both"))
        }
        None if options.from != 0.0 => {
            Err(Error::argument(format!("`from: {}` needs `start`, the state at that time", options.from))
                .hint("without `start`, sampling begins at noise, at time 0"))
        }
        _ => Ok(()),
    }
}

/// Returns recorded graphs of the velocity, if requested and possible.
fn graphs(model: &Model, options: &SampleOptions) -> Option<Graphs> {
    if !options.cuda_graph {
        return None;
    }
    let code = [("guide", &options.guide), ("velocity", &options.velocity)];
    if let Some((name, _)) = code.iter().find(|(_, function)| function.is_some()) {
        graph::refuse(&format!("`{name}` calls code at each step, which cannot be recorded"));
        return None;
    }
    model.graphs()
}

/// Returns the velocity at a state for checked labels, with guidance and the user's functions applied.
fn velocity(
    model: &Model,
    options: &SampleOptions,
    (x, times, y): (&Tensor, &Tensor, &Tensor),
    t: f64,
) -> Result<Tensor> {
    let forward = |x: &Tensor, t: &Tensor, y: &Tensor| {
        if options.path.predicts_velocity() {
            return model.forward_unchecked(x, t, y);
        }
        let (input, times) = options.path.input(x, t, model.time_scale())?;
        let output = model.forward_unchecked(&input, &times, y)?;
        options.path.velocity(output, x, t)?.to_dtype(x.dtype())
    };
    let classes = model.num_classes();
    let guided = match &options.guide {
        Some(guide) if options.guides_at(t) => {
            let [conditional, null] = both(forward, classes, (x, times, y))?;
            let arguments = answer::with_times(&[&conditional, &null], x, times)?;
            answer::like(&conditional, "`guide`", guide, &answer::with_labels(arguments, guide, y))?
        }
        _ => guided(forward, classes, (x, times, y), options.scale_at(t))?,
    };
    match &options.velocity {
        None => Ok(guided),
        Some(change) => {
            let arguments = answer::with_times(&[&guided], x, times)?;
            answer::like(&guided, "`velocity`", change, &answer::with_labels(arguments, change, y))
        }
    }
}

/// Returns the labels, checked against the model's classes.
fn labels(model: &Model, given: Option<&Labels>) -> Result<Tensor> {
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

/// Returns the state from which sampling starts, on the model's device and in its dtype.
fn starting_state(model: &Model, options: &SampleOptions, count: i64) -> Result<Tensor> {
    let [channels, height, width] = model.image_shape();
    let shape = [count, channels, height, width];
    let own = |x: &Tensor| x.to_device(model.device())?.to_dtype(model.dtype());
    for (what, given) in [("noise", &options.noise), ("a `start`", &options.start)] {
        let Some(given) = given else { continue };
        ensure!(
            given.shape() == shape,
            "expected {what} of shape {shape:?}, one image per label, found {:?}",
            given.shape()
        );
        return own(given);
    }
    let generator = Generator::new(options.seed, Device::Cpu)?;
    let z = Tensor::randn(&shape, DType::Float32, Device::Cpu, Some(&generator))?;
    options.path.noise(own(&z)?, None)
}

#[cfg(test)]
mod tests;
