//! Classifier-free guidance (Ho and Salimans 2022).

use crate::declare::Options;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::torch::{DType, Fields, Tensor};

/// Options of classifier-free guidance.
#[derive(Debug, Clone, Options)]
pub struct GuidanceOptions {
    /// Scale s of `v_null + s (v_cond - v_null)`; 1 evaluates only the velocity of the label, at half the cost.
    #[option(default = 1.0, range = -1000.0..=1000.0)]
    pub guidance: f64,
    /// Fields of the images by name, tensors [B, ..] that parts read as `c.fields.NAME`.
    pub fields: Fields,
}

/// Returns the velocity of `x` [B, C, H, W] at times `t` `[B]` with labels `y` `[B]`, guided with `scale`.
///
/// Computes `v_null + scale (v_cond - v_null)` with one forward pass of batch size 2 B; a scale of 1 is a plain
/// forward pass.
pub(crate) fn velocity(
    model: &Model,
    x: &Tensor,
    t: &Tensor,
    y: &Tensor,
    options: &GuidanceOptions,
) -> Result<Tensor> {
    let (null, own) = (model.num_classes(), x.size(0)?);
    // The model of a loss has those of its step, which guidance doubles like those that are given.
    let fields = model.pass(Some(&own), &options.fields).fields;
    // Before they are doubled, so that messages say what the caller gave.
    model.check_devices(x, t, y)?;
    model.check_fields(x, &fields)?;
    let forward =
        |x: &Tensor, t: &Tensor, y: &Tensor| model.forward_with(x, t, y, &fields.for_copies(x.size(0)?)?);
    guided(forward, null, (x, t, y), options.guidance)
}

/// Same as [`velocity`], for any forward function.
pub(super) fn guided(
    forward: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    null: i64,
    (x, t, y): (&Tensor, &Tensor, &Tensor),
    scale: f64,
) -> Result<Tensor> {
    if scale == 1.0 {
        return forward(x, t, y);
    }
    let [conditional, unconditional] = both(forward, null, (x, t, y))?;
    unconditional.lerp(&conditional, scale)
}

/// Returns the velocities for the labels and for the null label, computed in one forward pass.
pub(super) fn both(
    forward: impl Fn(&Tensor, &Tensor, &Tensor) -> Result<Tensor>,
    null: i64,
    (x, t, y): (&Tensor, &Tensor, &Tensor),
) -> Result<[Tensor; 2]> {
    let null = Tensor::full(&y.shape(), null as f64, DType::Int64, y.device())?;
    let twice = |a: &Tensor, b: &Tensor| Tensor::cat(&[a.clone(), b.clone()], 0);
    let both = forward(&twice(x, x)?, &twice(t, t)?, &twice(y, &null)?)?;
    let halves = both.chunk(2, 0)?;
    <[Tensor; 2]>::try_from(halves)
        .map_err(|_| Error::argument("expected at least one image to guide, found none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn it_extrapolates_from_the_null_label_in_one_forward() {
        let x = Tensor::from_f32(&[1.0, 2.0], &[2, 1]).unwrap();
        let t = Tensor::from_f32(&[0.5, 0.5], &[2]).unwrap();
        let y = Tensor::from_i64(&[3, 4], &[2]).unwrap();
        let calls = Cell::new(0);
        // The velocity is the image times the label; the null label is 10.
        let forward = |x: &Tensor, t: &Tensor, y: &Tensor| {
            calls.set(calls.get() + 1);
            assert_eq!(t.shape(), y.shape());
            x.mul(&y.reshape(&[-1, 1])?.to_dtype(DType::Float32)?)
        };
        let at = |scale| guided(forward, 10, (&x, &t, &y), scale).unwrap().to_f32().unwrap();
        assert_eq!(at(1.0), [3.0, 8.0]);
        assert_eq!(at(0.0), [10.0, 20.0]);
        assert_eq!(at(2.0), [-4.0, -4.0]);
        assert_eq!(calls.get(), 3);
    }
}
