//! Velocity of one evaluation: conversion of the prediction, guidance, and the user's functions.

use super::{Conditions, SampleOptions, SamplingStep};
use crate::declare::{FromValue, IntoValue, Value};
use crate::error::Result;
use crate::flow::answer;
use crate::flow::guidance::{both, guided};
use crate::flow::ode::Scheme;
use crate::flow::ode::adaptive::column;
use crate::model::{Model, Pass};
use crate::torch::unwritten::unwritten;
use crate::torch::{DType, Fields, Tensor};

/// Makes what functions know of an evaluation, with its fields.
pub(in crate::flow) type Told<'a> = dyn Fn(&Fields) -> SamplingStep + 'a;

/// Returns the velocity at a state for checked labels, with guidance and the user's functions applied. `t` and `rows` are
/// the time of each image at which guidance is looked up and its row among all images.
pub(super) fn velocity(
    model: &Model,
    options: &SampleOptions,
    (x, times, y, fields): (&Tensor, &Tensor, &Tensor, &Fields),
    (t, rows): (&[f64], &[usize]),
    told: &Told,
) -> Result<Tensor> {
    let fields = &options.fields.of((x, times), fields, told)?;
    let told = || told(fields).into_value();
    let of = |model: &Model, x: &Tensor, t: &Tensor, y: &Tensor| {
        let (input, times) = options.path.input(x, t, model.time_scale())?;
        let pass = Pass { fields: fields.for_copies(x.size(0)?)?, ..Pass::default() };
        let output = model.forward_in(&input.to_dtype(model.dtype())?, &times, y, &pass)?;
        options.path.velocity(output.to_dtype(x.dtype())?, x, t)
    };
    let guided = combined(model, options, &of, (x, times, y), (t, rows), &told)?;
    match &options.velocity {
        None => Ok(guided),
        Some(change) => {
            let arguments = answer::with_times(&[&guided], x, times)?;
            let arguments = answer::with_more(arguments, change, y, told);
            unwritten(&[("the states", x)], || answer::like(&guided, "`velocity`", change, &arguments))
        }
    }
}

/// Returns the output of a model of the discrete diffusion at one step, with guidance of the noise, in the dtype of the
/// state. `t` is the time of the straight path that belongs to the step.
pub(super) fn noise(
    model: &Model,
    options: &SampleOptions,
    (x, y, fields): (&Tensor, &Tensor, &Fields),
    step: usize,
    (t, rows): (f64, &[usize]),
    told: &Told,
) -> Result<Tensor> {
    let times = Tensor::full(&[x.size(0)?], t, x.dtype(), x.device())?;
    let fields = &options.fields.of((x, &times), fields, told)?;
    let told = || told(fields).into_value();
    let of = |model: &Model, x: &Tensor, _: &Tensor, y: &Tensor| {
        let step = step as f64 / model.time_scale();
        let steps = Tensor::full(&[x.size(0)?], step, x.dtype(), x.device())?;
        let pass = Pass { fields: fields.for_copies(x.size(0)?)?, ..Pass::default() };
        model.forward_in(&x.to_dtype(model.dtype())?, &steps, y, &pass)?.to_dtype(x.dtype())
    };
    combined(model, options, &of, (x, &times, y), (&vec![t; rows.len()], rows), &told)
}

impl Conditions {
    /// Returns the fields of an evaluation of images x [B, ..] at times `[B]`: those `given` for them, or what the function
    /// returns.
    pub(in crate::flow) fn of(
        &self,
        (x, times): (&Tensor, &Tensor),
        given: &Fields,
        told: &Told,
    ) -> Result<Fields> {
        let Conditions::Function(function) = self else { return Ok(given.clone()) };
        let mut arguments = answer::with_times(&[], x, times)?;
        arguments.push(told(given).into_value());
        let made = unwritten(&[("the states", x)], || function.call_as("`fields`", &arguments))?;
        let made = Fields::from_value(&made).map_err(|e| e.context("`fields`"))?;
        made.check_rows(x.size(0)?).map_err(|e| e.context("`fields`"))?;
        made.to_device(x.device())
    }
}

/// Computes what a model predicts, through `of`, for the labels and for what guides, and combines both.
fn combined(
    model: &Model,
    options: &SampleOptions,
    of: &dyn Fn(&Model, &Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    (x, times, y): (&Tensor, &Tensor, &Tensor),
    (t, rows): (&[f64], &[usize]),
    told: &dyn Fn() -> Value,
) -> Result<Tensor> {
    let forward = |x: &Tensor, t: &Tensor, y: &Tensor| of(model, x, t, y);
    let scales: Vec<f64> = t.iter().zip(rows).map(|(t, row)| options.scale_at(*t, *row)).collect();
    let equal = scales.windows(2).all(|pair| pair[0] == pair[1]);
    let scale = scales.first().copied().unwrap_or(1.0);
    let state = (x, times, y);
    // Variances may follow the channels of the images, and are never guided.
    let channels = x.size(1)?;
    let partly =
        options.guidance_channels.is_some() || matches!(options.sampler.scheme(), Scheme::Discrete { .. });
    match (&options.guide, &options.autoguidance) {
        (Some(guide), _) if t.iter().any(|t| options.guides_at(*t)) => {
            let [conditional, null] = both(forward, model.num_classes(), state)?;
            let [own, null] = [&conditional, &null].map(|output| output.narrow(1, 0, channels));
            let own = own?;
            let arguments = answer::with_times(&[&own, &null?], x, times)?;
            let arguments = answer::with_more(arguments, guide, y, told);
            let made = unwritten(&[("the states", x)], || answer::like(&own, "`guide`", guide, &arguments))?;
            replaced(&conditional, within(options, t, &made, &own)?)
        }
        (_, Some(weak)) if scales.iter().any(|scale| *scale != 1.0) => {
            let (strong, weak) = (forward(x, times, y)?, of(weak, x, times, y)?);
            extrapolated(options, &weak, &strong, channels, &scales)
        }
        (None, None) if !equal || (partly && scale != 1.0) => {
            let [conditional, null] = both(forward, model.num_classes(), state)?;
            extrapolated(options, &null, &conditional, channels, &scales)
        }
        (None, None) => guided(forward, model.num_classes(), state, scale),
        _ => forward(x, times, y),
    }
}

/// Returns `from + scale (to - from)` with one scale per image, in the channels that are guided; the others are `to`.
fn extrapolated(
    options: &SampleOptions,
    from: &Tensor,
    to: &Tensor,
    channels: i64,
    scales: &[f64],
) -> Result<Tensor> {
    let guided = options.guidance_channels.unwrap_or(channels).min(channels);
    let (from, own) = (from.narrow(1, 0, guided)?, to.narrow(1, 0, guided)?);
    let way = own.sub(&from)?;
    // A recording as a CUDA graph may not wait for a column to be copied to the device.
    let moved = match scales {
        [first, rest @ ..] if rest.iter().all(|scale| scale == first) => way.mul_scalar(*first)?,
        _ => way.mul(&column(scales, &own)?)?,
    };
    replaced(to, from.add(&moved)?)
}

/// Returns `output` with other first channels.
fn replaced(output: &Tensor, first: Tensor) -> Result<Tensor> {
    let (made, all) = (first.size(1)?, output.size(1)?);
    match made == all {
        true => Ok(first),
        false => Tensor::cat(&[first, output.narrow(1, made, all - made)?], 1),
    }
}

/// Returns the guided velocities of images within the interval, and the others.
fn within(options: &SampleOptions, t: &[f64], guided: &Tensor, other: &Tensor) -> Result<Tensor> {
    let inside: Vec<f64> = t.iter().map(|t| f64::from(u8::from(options.guides_at(*t)))).collect();
    if inside.iter().all(|inside| *inside == 1.0) {
        return Ok(guided.clone());
    }
    let mask = column(&inside, guided)?.to_dtype(DType::Bool)?;
    guided.where_true(&mask, other)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{model, of};
    use super::super::{SampleOptions, sample};
    use crate::context::Context;
    use crate::flow::Solver;
    use crate::torch::{DType, Device, Generator, Tensor};

    #[test]
    fn times_have_the_precision_of_a_float64_model() {
        let model = model().converted_copy(DType::Float64, Device::Cpu).unwrap();
        let generator = Generator::new(3, Device::Cpu).unwrap();
        let noise = Tensor::randn(&[2, 1, 4, 4], DType::Float64, Device::Cpu, Some(&generator)).unwrap();
        let sampler = Solver::Euler.into();
        let options =
            SampleOptions { steps: 3, sampler, clamp: false, noise: Some(noise.clone()), ..of(&[0, 2]) };
        let found = sample(&model, &options, &Context::default()).unwrap();

        let labels = Tensor::from_i64(&[0, 2], &[2]).unwrap();
        let mut x = noise;
        for step in 0..3 {
            let t = Tensor::full(&[2], f64::from(step) / 3.0, DType::Float64, Device::Cpu).unwrap();
            x = x.add(&model.forward(&x, &t, &labels).unwrap().mul_scalar(1.0 / 3.0).unwrap()).unwrap();
        }
        let apart = found.sub(&x).unwrap().abs().unwrap().amax(&[], false).unwrap().to_f64().unwrap()[0];
        assert!(apart < 1e-13, "{apart}");
    }
}
