//! Training loss of the discrete diffusion of DiT, as in its public code: the squared error of the noise and, for a model that
//! returns variances, the term of the variational bound that trains them (Nichol and Dhariwal 2021, section 3.1).

use crate::declare::{Choice, Options, record};
use crate::ensure;
use crate::error::{Error, Result};
use crate::flow::losses::wide;
use crate::flow::path::ddpm::STEPS;
use crate::flow::sample::{Chain, Labels, Spacing};
use crate::model::{Family, Model};
use crate::torch::{DType, Device, Fields, Generator, Tensor, no_grad};

/// Options of `flow::diffusion_loss`.
#[derive(Debug, Clone, Options)]
pub struct DiffusionLossOptions {
    /// Steps of the diffusion `[B]` from 0 to 999, int64; by default drawn, all with equal probability.
    pub steps: Option<Tensor>,
    /// Noise of the images' shape, used instead of drawing it.
    pub noise: Option<Tensor>,
    /// Generator to draw from, instead of the device's default one.
    pub generator: Option<Generator>,
    /// Fields of the images by name, tensors [B, ..] that parts read as `c.fields.NAME`.
    pub fields: Fields,
}

/// Loss of a batch, and its parts.
#[derive(Debug, Clone)]
pub struct DiffusionLoss {
    /// Mean of the sums of both parts, a scalar.
    pub loss: Tensor,
    /// Mean squared error of the noise of each image `[B]`.
    pub mse: Tensor,
    /// Term of the variational bound of each image in bits per number `[B]`; zeros for a model without variances.
    pub vb: Tensor,
}

record!(DiffusionLoss { loss, mse, vb });

/// Computes the loss of images [B, C, H, W] with labels `[B]`. Gradients flow to the parameters of the model.
pub fn diffusion_loss(
    model: &Model,
    images: &Tensor,
    labels: &Labels,
    options: &DiffusionLossOptions,
) -> Result<DiffusionLoss> {
    let family = model.config().map(|config| config.family);
    if let Some(family) = family.filter(|family| *family != Family::Dit) {
        return Err(Error::argument(format!(
            "the loss of a diffusion needs a model that takes steps from 0 to 999, and one of the family `{}` takes times in \
             [0, 1]",
            family.name()
        ))
        .hint("make the model with `family: \"dit\"`; `flow::loss` and `train::fit` train the others"));
    }
    ensure!(
        images.rank() == 4 && images.size(0)? > 0,
        "expected images [B, C, H, W], at least one, found {}",
        images.signature()
    );
    let (count, device) = (images.size(0)?, images.device());
    let images = wide(images)?;
    let (noise, numbers) = no_grad(|| draws(&images, options))?;
    let chain = Chain::new(STEPS as usize, Spacing::Even)?;
    let column = |of: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = numbers.iter().map(|step| of(*step)).collect();
        Tensor::from_f64(&values, &[count, 1, 1, 1])?.to_device(device)?.to_dtype(images.dtype())
    };
    let kept = |step: usize| chain.kept(step);
    let x_t =
        images.mul(&column(&|i| kept(i).sqrt())?)?.add(&noise.mul(&column(&|i| (1.0 - kept(i)).sqrt())?)?)?;
    let steps = column(&|i| i as f64 / model.time_scale())?.reshape(&[count])?;
    let labels = labels.tensor()?.to_device(device)?;
    let output =
        wide(&model.forward_with(&x_t.to_dtype(model.dtype())?, &steps, &labels, &options.fields)?)?;
    let channels = images.size(1)?;
    let predicted = output.narrow(1, 0, channels)?;
    let mse = each(&noise.sub(&predicted)?.square()?)?;
    let vb = match output.size(1)? > channels {
        false => mse.detach()?.mul_scalar(0.0)?,
        true => {
            // The bound trains the variances alone.
            let predicted = predicted.detach()?;
            let image = x_t
                .mul(&column(&|i| (1.0 / kept(i)).sqrt())?)?
                .sub(&predicted.mul(&column(&|i| (1.0 / kept(i) - 1.0).sqrt())?)?)?;
            let (small, large) = (
                // The variance of the first step is 0, and that of the second stands for it.
                column(&|i| chain.variances(i.max(1)).0.ln())?,
                column(&|i| chain.variances(i).1.ln())?,
            );
            let part = output.narrow(1, channels, channels)?.mul_scalar(0.5)?.add_scalar(0.5)?;
            let variance = small.add(&part.mul(&large.sub(&small)?)?)?;
            let (own, other) = (column(&|i| chain.weights(i).0)?, column(&|i| chain.weights(i).1)?);
            let mean = image.mul(&own)?.add(&x_t.mul(&other)?)?;
            let error = images.sub(&image)?.mul(&own)?;
            let between = divergence(&error, &small, &variance)?;
            let decoded = code_length(&images, &mean, &variance)?;
            let first = column(&|i| f64::from(u8::from(i == 0)))?.to_dtype(DType::Bool)?;
            each(&decoded.where_true(&first, &between)?)?.mul_scalar(1.0 / std::f64::consts::LN_2)?
        }
    };
    Ok(DiffusionLoss { loss: mse.add(&vb)?.mean(&[], false)?, mse, vb })
}

/// Returns the noise and the step of each image.
fn draws(images: &Tensor, options: &DiffusionLossOptions) -> Result<(Tensor, Vec<usize>)> {
    let (count, device) = (images.size(0)?, images.device());
    let generator = options.generator.as_ref();
    let noise = match &options.noise {
        Some(noise) => {
            ensure!(
                noise.shape() == images.shape(),
                "expected noise of shape {:?}, found {}",
                images.shape(),
                noise.signature()
            );
            noise.to_device(device)?.to_dtype(images.dtype())?
        }
        None => Tensor::randn(&images.shape(), images.dtype(), device, generator)?,
    };
    let steps = match &options.steps {
        Some(steps) => steps.clone(),
        None => Tensor::randint(0, STEPS, &[count], device, generator)?,
    };
    ensure!(steps.shape() == [count], "expected steps [{count}], one per image, found {}", steps.signature());
    let numbers = steps.to_device(Device::Cpu)?.to_i64()?;
    if let Some(wrong) = numbers.iter().find(|step| !(0..STEPS).contains(*step)) {
        ensure!(false, "steps of the diffusion are from 0 to {}, found {wrong}", STEPS - 1);
    }
    Ok((noise, numbers.into_iter().map(|step| step as usize).collect()))
}

/// Returns the mean over each image `[B]`.
fn each(x: &Tensor) -> Result<Tensor> {
    x.mean(&[1, 2, 3], false)
}

/// Returns the divergence of a normal distribution from another, in nats, from the difference of the means and both
/// logarithms of the variances.
fn divergence(error: &Tensor, own: &Tensor, other: &Tensor) -> Result<Tensor> {
    let ratio = own.sub(other)?;
    let distance = error.square()?.mul(&other.neg()?.exp()?)?;
    ratio.exp()?.sub(&ratio)?.add(&distance)?.sub_scalar(1.0)?.mul_scalar(0.5)
}

/// Returns the code length in nats of images of 8 bits in [-1, 1] under normal distributions with these means and logarithms of
/// variances (Ho et al. 2020, equation 13).
fn code_length(images: &Tensor, mean: &Tensor, variance: &Tensor) -> Result<Tensor> {
    let scale = variance.mul_scalar(-0.5)?.exp()?;
    let distance = images.sub(mean)?;
    let half = 1.0 / 255.0;
    let above = below(&distance.add_scalar(half)?.mul(&scale)?)?;
    let under = below(&distance.sub_scalar(half)?.mul(&scale)?)?;
    // The lowest and the highest level extend without end.
    let lowest = images.lt_scalar(-0.999)?;
    let highest = images.gt_scalar(0.999)?;
    let inner = above.sub(&under)?;
    let probability = above.where_true(&lowest, &under.rsub_scalar(1.0)?.where_true(&highest, &inner)?)?;
    probability.clamp_min(1e-12)?.log()?.neg()
}

/// Returns an approximation of the distribution function of the normal distribution (as in GELU, Hendrycks and Gimpel 2016).
fn below(x: &Tensor) -> Result<Tensor> {
    let cubic = x.mul(&x.square()?)?.mul_scalar(0.044715)?.add(x)?;
    cubic.mul_scalar((2.0 / std::f64::consts::PI).sqrt())?.tanh()?.add_scalar(1.0)?.mul_scalar(0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::from_f64(values, &[values.len() as i64]).unwrap()
    }

    #[test]
    fn divergences_by_hand() {
        let of = |error: f64, own: f64, other: f64| {
            divergence(&tensor(&[error]), &tensor(&[own.ln()]), &tensor(&[other.ln()]))
                .unwrap()
                .item()
                .unwrap()
        };
        assert!(of(0.0, 2.0, 2.0).abs() < 1e-15);
        // The square of the distance over twice the variance.
        assert!((of(3.0, 2.0, 2.0) - 9.0 / 4.0).abs() < 1e-12);
        assert!((of(0.0, 1.0, 4.0) - 0.5 * (0.25 - 1.0 + 4f64.ln())).abs() < 1e-12);
    }

    #[test]
    fn the_probabilities_of_all_levels_add_up_to_one() {
        let levels = tensor(&(0..256).map(|i| f64::from(i) / 127.5 - 1.0).collect::<Vec<_>>());
        for (mean, variance) in [(0.2, 0.01), (-1.1, 0.3), (0.99, 2.0)] {
            let all = |value: f64| levels.mul_scalar(0.0).unwrap().add_scalar(value).unwrap();
            let lengths = code_length(&levels, &all(mean), &all(f64::ln(variance))).unwrap();
            let sum: f64 = lengths.neg().unwrap().exp().unwrap().to_f64().unwrap().iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        }
        // A known level takes no bits, and a normal distribution function is 0.8413 at 1.
        let sure = code_length(&tensor(&[0.0]), &tensor(&[0.0]), &tensor(&[-20.0])).unwrap().item().unwrap();
        assert!(sure.abs() < 1e-6 && (below(&tensor(&[1.0])).unwrap().item().unwrap() - 0.8413).abs() < 1e-3);
    }
}
