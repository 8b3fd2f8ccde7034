//! Log likelihoods of images, from the change of variables along the flow.
//!
//! `log p(x_1) = log p(x_0) - int_0^1 div v(x_t, t) dt`, where x_0 is the noise that the flow leads to x_1 (Chen et al. 2018, theorem
//! 1). The divergence is estimated by `mean of e^T (dv / dx) e` over probes e with the covariance 1 (Hutchinson's estimate;
//! Grathwohl et al. 2019, FFJORD, equation 8; Song et al. 2021, section 4.3).

use std::sync::Arc;

use crate::context::Context;
use crate::declare::{Choice, Options, record};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::Path;
use crate::flow::ode::adaptive::{DOPRI5, Tolerance};
use crate::flow::sample::step::{Memory, SamplingStep};
use crate::flow::sample::{self, Captured, Conditions, Labels};
use crate::model::{Model, Pass};
use crate::ranks::Ranks;
use crate::torch::{DType, Fields, Tensor, autograd, enable_grad, no_grad};

/// Probes with which a divergence is estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Probe {
    /// 1 or -1, which has the smallest variance.
    #[default]
    Rademacher,
    /// Standard normal numbers.
    Gaussian,
    /// The exact divergence, with one derivative for each number of an image.
    Exact,
}

/// Options of `flow::log_likelihood`.
#[derive(Debug, Clone, Options)]
pub struct LikelihoodOptions {
    /// One label per image, 0 to K - 1, or K for no label, which is the default.
    pub labels: Option<Labels>,
    /// Fields of the images by name, tensors [B, ..] that parts read as `c.fields.NAME`. Or a function `|x, t, c| map` that is
    /// called before each evaluation and returns the fields of its images, as in `flow::sample`; the divergence includes what
    /// they change with x.
    #[option(takes = ["x, t, c"])]
    pub fields: Conditions,
    /// Path that the model was trained on.
    pub path: Path,
    /// Distribution of the probes.
    pub probe: Probe,
    /// Number of probes of each image; each takes one derivative in every evaluation.
    #[option(default = 1, range = 1..=1000)]
    pub probes: usize,
    /// Seed of the probes, which stay the same for all times.
    #[option(default = 0, range = 0..)]
    pub seed: u64,
    /// Probes [P, B, C, H, W], used instead of drawing them.
    pub probe_noise: Option<Tensor>,
    /// Permitted error of a step, relative to the state.
    #[option(default = 1e-5, range = 1e-12..=1.0)]
    pub rtol: f64,
    /// Permitted absolute error of a step.
    #[option(default = 1e-5, range = 1e-12..=1.0)]
    pub atol: f64,
    /// Time of the images; a little below 1 for a path whose velocity is infinite there.
    #[option(default = 1.0, range = 0.0..=1.0)]
    pub from: f64,
    /// Time of the noise; a little above 0 for a path whose velocity is infinite there.
    #[option(default = 0.0, range = 0.0..=1.0)]
    pub to: f64,
    /// Number of images computed at once; by default 32 on the CPU and 256 on CUDA. The result does not depend on it
    /// beyond rounding.
    #[option(range = 1..)]
    pub batch: Option<usize>,
}

/// Log likelihoods of images.
#[derive(Debug, Clone)]
pub struct Likelihood {
    /// Negative log likelihood in bits per number of an image, float64 `[B]`.
    pub bits_per_dim: Tensor,
    /// Log likelihood in nats, float64 `[B]`.
    pub nats: Tensor,
    /// Noise to which the flow leads back [B, C, H, W].
    pub noise: Tensor,
    /// Number of evaluations of the model for each image, int64 `[B]`.
    pub evaluations: Tensor,
}

record!(Likelihood { bits_per_dim, nats, noise, evaluations });

/// Velocity of the images in some rows [N, ..] at their times.
type Velocity<'a> = dyn Fn(&Tensor, &[f64], &[usize]) -> Result<Tensor> + 'a;

/// Parts of a progress bar, since the number of steps is not known before.
const PARTS: u64 = 100;

/// Computes the log likelihoods of `images` [B, C, H, W].
///
/// Stops between evaluations of the model if the context is interrupted. On several ranks each computes a part of the groups of
/// `batch` images, and all return all results.
pub fn log_likelihood(
    model: &Model,
    images: &Tensor,
    options: &LikelihoodOptions,
    context: &Context,
) -> Result<Likelihood> {
    options.check()?;
    ensure!(model.check_images(images)? > 0, "expected at least one image, found a {}", images.signature());
    check(options, model, images)?;
    let (device, count) = (model.device(), images.size(0)?);
    let labels = match &options.labels {
        Some(labels) => sample::labels(model, Some(labels))?,
        None if model.last_label() < model.num_classes() => {
            return Err(Error::argument("option `labels` is missing, and the model has no null label")
                .hint("give one label per image, for example `labels: [0, 1, 2]`"));
        }
        None => Tensor::full(&[count], model.num_classes() as f64, DType::Int64, device)?,
    };
    ensure!(
        labels.size(0)? == count,
        "`labels` must have one label per image, {count}, found {}",
        labels.size(0)?
    );
    let labels = labels.to_device(device)?;
    let fields = sample::given(&options.fields.given(), count, model)?;
    // Half precision is too coarse for the sums of a solver.
    let dtype = sample::state_dtype(model);
    let images = images.detach()?.to_device(device)?.to_dtype(dtype)?;
    let probes = probes(options, &images)?;
    let batch = options.batch.map_or(if device.is_cuda() { 256 } else { 32 }, |batch| batch as i64);
    let groups = count.div_euclid(batch) + i64::from(count % batch != 0);
    let ranks = Ranks::of(context);
    ranks.same(&[
        ("the number of images", count.to_string()),
        ("the size of a batch", batch.to_string()),
        ("the seed", options.seed.to_string()),
    ])?;
    let (first, own) = ranks.share(groups as usize);
    let mut bar = context.bar("log likelihood", own as u64 * PARTS);
    let code = || options.fields.function().into_iter().collect();
    let captured = Captured::of(code(), own);
    let draws = Arc::new(sample::Draws::new((options.seed, &[]), count, shape_of(&images)));
    let mut parts = Vec::new();
    for (made, first) in (0..count).step_by(batch as usize).skip(first).take(own).enumerate() {
        let size = batch.min(count - first);
        let (labels, fields) = (labels.narrow(0, first, size)?, fields.narrow(first, size)?);
        let memory = Memory::new(&draws, options.seed);
        let velocity = |x: &Tensor, t: &[f64], rows: &[usize]| {
            context.check()?;
            let t = Tensor::from_f64(t, &[t.len() as i64])?.to_dtype(dtype)?.to_device(device)?;
            let index = index(rows, &labels)?;
            let (y, fields) = (labels.index_select(0, &index)?, fields.index_select(&index)?);
            let (stage, rows) =
                (memory.evaluation(), rows.iter().map(|row| first as usize + row).collect::<Vec<_>>());
            let told =
                |fields: &Fields| SamplingStep::of_evaluation(&memory, stage, (&y, fields), &rows, dtype);
            let fields = options.fields.of((x, &t), &fields, &told)?;
            let (input, times) = options.path.input(x, &t, model.time_scale())?;
            let pass = Pass { fields, ..Pass::default() };
            let output = model.forward_in(&input.to_dtype(model.dtype())?, &times, &y, &pass)?;
            options.path.velocity(output, x, &t)?.to_dtype(dtype)
        };
        let probes = probes.as_ref().map(|probes| probes.narrow(1, first, size)).transpose()?;
        let done = made as u64 * PARTS;
        parts.push(integrate(
            &velocity,
            &images.narrow(0, first, size)?,
            probes.as_ref(),
            (options.from, options.to),
            Tolerance { rtol: options.rtol, atol: options.atol },
            |part| bar.update(done + (part * PARTS as f64) as u64, ""),
        )?);
        if made == 0 {
            captured.check(code(), context);
        }
    }
    drop(bar);
    let all = match parts.is_empty() {
        true => Tensor::zeros(&[0, numbers(&images) + 2], DType::Float64, device)?,
        false => Tensor::cat(&parts, 0)?,
    };
    result(&ranks.gather(&all)?, &images, options.path.spread(options.to)?, context)
}

/// Returns the likelihoods from the state at the noise, whose standard deviation is `spread`, the change of the log density and the
/// evaluations of each image [B, D + 2].
fn result(all: &Tensor, images: &Tensor, spread: f64, context: &Context) -> Result<Likelihood> {
    let count = numbers(images);
    let state = all.narrow(1, 0, count)?;
    let noise = if spread == 1.0 { state } else { state.mul_scalar(1.0 / spread)? };
    let evaluations = all.select(1, count + 1)?;
    let number = |which: Tensor| Ok::<_, Error>(which.item()? as i64);
    let (least, most) = (number(evaluations.amin(&[], false)?)?, number(evaluations.amax(&[], false)?)?);
    let each = if least == most { most.to_string() } else { format!("{least} to {most}") };
    context.note(&format!("dopri5 took {each} evaluations of the model for each image"));
    let normal = noise.square()?.sum(&[1], false)?.mul_scalar(-0.5)?;
    let constant = -0.5 * count as f64 * (2.0 * std::f64::consts::PI).ln() - count as f64 * spread.ln();
    let nats = normal.add_scalar(constant)?.add(&all.select(1, count)?)?;
    Ok(Likelihood {
        bits_per_dim: nats.mul_scalar(-1.0 / (count as f64 * std::f64::consts::LN_2))?,
        nats,
        noise: noise.reshape(&images.shape())?.to_dtype(images.dtype())?,
        evaluations: evaluations.to_dtype(DType::Int64)?,
    })
}

/// Checks that the options do not contradict each other, the model and the images.
fn check(options: &LikelihoodOptions, model: &Model, images: &Tensor) -> Result<()> {
    let path = &options.path;
    path.check(model)?;
    ensure!(
        path.options().noise.is_none(),
        "a path with `noise` has noise of another distribution, whose log likelihood is not known"
    );
    ensure!(
        options.to < options.from,
        "the images must come after the noise: `from` must be above `to`, found {} and {}",
        options.from,
        options.to
    );
    let exact = options.probe == Probe::Exact;
    ensure!(
        !exact || (options.probes == 1 && options.probe_noise.is_none()),
        "the exact divergence takes no probes: leave out `probes` and `probe_noise`"
    );
    if let Some(given) = &options.probe_noise {
        ensure!(
            given.rank() == 5 && given.shape()[1..] == images.shape()[..] && given.size(0)? > 0,
            "`probe_noise` must be [P, B, C, H, W] for the images {:?}, found {}",
            images.shape(),
            given.signature()
        );
        ensure!(options.probes == 1, "give either `probes` or `probe_noise`");
    }
    Ok(())
}

/// Returns the probes [P, B, C, H, W], or none for the exact divergence.
fn probes(options: &LikelihoodOptions, images: &Tensor) -> Result<Option<Tensor>> {
    if let Some(given) = &options.probe_noise {
        return Ok(Some(given.to_device(images.device())?.to_dtype(images.dtype())?));
    }
    let count = images.size(0)?;
    let draws = sample::Draws::new((options.seed, &[]), count, shape_of(images));
    let draw = |probe: usize| {
        let numbers = draws.draw(Some(probe), 0, count)?;
        match options.probe {
            Probe::Rademacher => numbers.sign(),
            _ => Ok(numbers),
        }
    };
    if options.probe == Probe::Exact {
        return Ok(None);
    }
    let all: Vec<Tensor> = (0..options.probes).map(draw).collect::<Result<_>>()?;
    Ok(Some(Tensor::stack(&all, 0)?.to_device(images.device())?.to_dtype(images.dtype())?))
}

/// Returns the channels, height and width of images [B, C, H, W].
fn shape_of(images: &Tensor) -> [i64; 3] {
    let shape = images.shape();
    [shape[1], shape[2], shape[3]]
}

/// Returns how many numbers an image [B, ..] has.
fn numbers(images: &Tensor) -> i64 {
    images.shape()[1..].iter().product()
}

/// Returns rows as a tensor on the device of `like`.
fn index(rows: &[usize], like: &Tensor) -> Result<Tensor> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    Tensor::from_i64(&rows, &[rows.len() as i64])?.to_device(like.device())
}

/// Integrates images [B, ..] and their log densities from the first to the second of `times`. Returns the states there, the log
/// density of the images minus that of these states, and the numbers of evaluations, float64 [B, D + 2].
fn integrate(
    velocity: &Velocity,
    images: &Tensor,
    probes: Option<&Tensor>,
    times: (f64, f64),
    tolerance: Tolerance,
    after: impl FnMut(f64),
) -> Result<Tensor> {
    let (count, width) = (images.size(0)?, numbers(images));
    let zeros = Tensor::zeros(&[count, 1], images.dtype(), images.device())?;
    let start = Tensor::cat(&[images.reshape(&[count, width])?, zeros], 1)?;
    let mut shape = images.shape();
    let mut field = |state: &Tensor, t: &[f64], rows: &[usize]| {
        shape[0] = rows.len() as i64;
        let x = state.narrow(1, 0, width)?.reshape(&shape)?;
        let probes = probes.map(|probes| probes.index_select(1, &index(rows, probes)?)).transpose()?;
        let (v, divergence) = enable_grad(|| diverging(velocity, &x, t, rows, probes.as_ref()))?;
        Tensor::cat(&[v.reshape(&[shape[0], width])?, divergence.reshape(&[shape[0], 1])?], 1)
    };
    let (end, evaluations) = no_grad(|| DOPRI5.integrate(&mut field, &start, times, tolerance, after))?;
    let evaluations: Vec<f64> = evaluations.iter().map(|number| *number as f64).collect();
    let evaluations = Tensor::from_f64(&evaluations, &[count, 1])?.to_device(end.device())?;
    Tensor::cat(&[end.to_dtype(DType::Float64)?, evaluations], 1)
}

/// Returns the velocity at x [N, ..] and its divergence `[N]`, with probes [P, N, ..] or, without them, exactly.
fn diverging(
    velocity: &Velocity,
    x: &Tensor,
    t: &[f64],
    rows: &[usize],
    probes: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let x = x.detach()?.copy()?.set_requires_grad(true)?;
    let v = velocity(&x, t, rows)?;
    ensure!(
        v.shape() == x.shape(),
        "the velocity must have the shape of the images {:?}, found {}",
        x.shape(),
        v.signature()
    );
    let (count, width) = (x.size(0)?, numbers(&x));
    let mut sum = Tensor::zeros(&[count], x.dtype(), x.device())?;
    if !v.requires_grad() {
        return Ok((v, sum));
    }
    // The gradient of `probe . v`, times the probe.
    let along = |probe: &Tensor| {
        let gradient = autograd::grad(
            std::slice::from_ref(&v),
            std::slice::from_ref(&x),
            Some(std::slice::from_ref(probe)),
            true,
            false,
        )?;
        match gradient.into_iter().next().flatten() {
            Some(gradient) => gradient.mul(probe)?.reshape(&[count, width])?.sum(&[1], false),
            None => Tensor::zeros(&[count], x.dtype(), x.device()),
        }
    };
    match probes {
        Some(probes) => {
            let number = probes.size(0)?;
            for i in 0..number {
                sum = sum.add(&along(&probes.select(0, i)?)?)?;
            }
            sum = sum.mul_scalar(1.0 / number as f64)?;
        }
        None => {
            let unit = Tensor::eye(width, width, x.dtype(), x.device())?;
            for i in 0..width {
                let probe = unit.narrow(0, i, 1)?.expand(&[count, width])?.reshape(&x.shape())?;
                sum = sum.add(&along(&probe)?)?;
            }
        }
    }
    Ok((v.detach()?, sum.detach()?))
}

#[cfg(test)]
mod tests;
