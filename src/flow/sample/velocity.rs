//! Velocity of one evaluation: conversion of the prediction, guidance, and the user's functions.

use super::SampleOptions;
use crate::error::Result;
use crate::flow::answer;
use crate::flow::guidance::{both, guided};
use crate::flow::ode::adaptive::column;
use crate::model::Model;
use crate::torch::{DType, Tensor};

/// Returns the velocity at a state for checked labels, with guidance and the user's functions applied. `t` and `rows` are
/// the time of each image and its row among all images.
pub(super) fn velocity(
    model: &Model,
    options: &SampleOptions,
    (x, times, y): (&Tensor, &Tensor, &Tensor),
    (t, rows): (&[f64], &[usize]),
) -> Result<Tensor> {
    let of = |model: &Model, x: &Tensor, t: &Tensor, y: &Tensor| {
        if options.path.predicts_velocity() {
            return model.forward_unchecked(x, t, y);
        }
        let (input, times) = options.path.input(x, t, model.time_scale())?;
        let output = model.forward_unchecked(&input, &times, y)?;
        options.path.velocity(output, x, t)?.to_dtype(x.dtype())
    };
    let forward = |x: &Tensor, t: &Tensor, y: &Tensor| of(model, x, t, y);
    let scales: Vec<f64> = t.iter().zip(rows).map(|(t, row)| options.scale_at(*t, *row)).collect();
    let equal = scales.windows(2).all(|pair| pair[0] == pair[1]);
    let scale = scales.first().copied().unwrap_or(1.0);
    let state = (x, times, y);
    let guided = match (&options.guide, &options.autoguidance) {
        (Some(guide), _) if t.iter().any(|t| options.guides_at(*t)) => {
            let [conditional, null] = both(forward, model.num_classes(), state)?;
            let arguments = answer::with_times(&[&conditional, &null], x, times)?;
            let own =
                answer::like(&conditional, "`guide`", guide, &answer::with_labels(arguments, guide, y))?;
            within(options, t, &own, &conditional)?
        }
        (_, Some(weak)) if scales.iter().any(|scale| *scale != 1.0) => {
            let (strong, weak) = (forward(x, times, y)?, of(weak, x, times, y)?);
            extrapolated(options, &weak, &strong, &scales)?
        }
        (None, None) if !equal || (options.guidance_channels.is_some() && scale != 1.0) => {
            let [conditional, null] = both(forward, model.num_classes(), state)?;
            extrapolated(options, &null, &conditional, &scales)?
        }
        (None, None) => guided(forward, model.num_classes(), state, scale)?,
        _ => forward(x, times, y)?,
    };
    match &options.velocity {
        None => Ok(guided),
        Some(change) => {
            let arguments = answer::with_times(&[&guided], x, times)?;
            answer::like(&guided, "`velocity`", change, &answer::with_labels(arguments, change, y))
        }
    }
}

/// Returns `from + scale (to - from)` with one scale per image, in the channels that are guided; the others are `to`.
fn extrapolated(options: &SampleOptions, from: &Tensor, to: &Tensor, scales: &[f64]) -> Result<Tensor> {
    let all = from.add(&to.sub(from)?.mul(&column(scales, to)?)?)?;
    match options.guidance_channels {
        Some(channels) if channels < to.size(1)? => {
            Tensor::cat(&[all.narrow(1, 0, channels)?, to.narrow(1, channels, to.size(1)? - channels)?], 1)
        }
        _ => Ok(all),
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
