//! Check of a few training steps of a small SpectralDiT on the device.

use std::time::Instant;

use super::Finding;
use crate::error::Result;
use crate::flow;
use crate::model::{Config, Model};
use crate::spectral::{Filter, correction, gate};
use crate::torch::{DType, Device, Generator, Tensor, autograd};
use crate::train::{AdamWOptions, Optimizer, Parameters};

const BATCH: i64 = 32;
const STEPS: usize = 8;

/// Trains on one batch and reports the time per step.
pub(super) fn check(device: Device) -> Finding {
    match train(device) {
        Err(error) => Finding::error("training", &error),
        Ok((first, last, milliseconds)) => {
            let loss = format!("loss {first:.2} to {last:.2}");
            let found = format!("{milliseconds:.0} ms a step of fashion_tiny at batch {BATCH}; {loss}");
            // Repeated steps on one batch lower its loss on any machine.
            match last < first {
                true => Finding::ok("training", found),
                false => Finding::failure(
                    "training",
                    format!("{loss} over steps on a single batch, expected it to decrease"),
                    "check the operators above; report this if they match libtorch",
                ),
            }
        }
    }
}

/// Returns the first and the last loss, and the milliseconds of the fastest step.
fn train(device: Device) -> Result<(f64, f64, f64)> {
    let correction = correction(Filter::named("binomial")?, gate::time(())?)?;
    let config = Config::preset("fashion_tiny")?.with_corrections(vec![correction]);
    let shape = [BATCH, config.in_channels, config.image_size, config.image_size];
    let model = Model::new(config, 0, device)?;
    let options = AdamWOptions { lr: 1e-3, ..AdamWOptions::default() };
    let optimizer = Optimizer::new(&Parameters::of(&model)?, &options)?;
    let generator = Generator::new(1, Device::Cpu)?;
    let images = Tensor::randn(&shape, DType::Float32, Device::Cpu, Some(&generator))?.to_device(device)?;
    let t = Tensor::rand(&shape[..1], DType::Float32, Device::Cpu, Some(&generator))?.to_device(device)?;
    let labels = Tensor::randint(0, 10, &shape[..1], Device::Cpu, Some(&generator))?.to_device(device)?;
    let noise = Tensor::randn(&shape, DType::Float32, Device::Cpu, Some(&generator))?.to_device(device)?;
    let pair = flow::pair(&images, &t, flow::PairOptions { noise: Some(noise), ..Default::default() })?;
    let velocity = || match device {
        Device::Cpu => model.forward_unchecked(&pair.x_t, &t, &labels),
        cuda => autograd::autocast(cuda, || model.forward_unchecked(&pair.x_t, &t, &labels)),
    };
    let (mut losses, mut fastest) = (Vec::new(), f64::INFINITY);
    for _ in 0..STEPS {
        let start = Instant::now();
        let loss = flow::loss(&velocity()?, &pair.target)?;
        optimizer.step(&loss, Some(1.0))?;
        losses.push(loss.item()?);
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
    }
    let (first, last) =
        (losses.first().copied().unwrap_or(f64::NAN), losses.last().copied().unwrap_or(f64::NAN));
    Ok((first, last, fastest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_one_batch_falls() {
        crate::torch::start();
        let (first, last, milliseconds) = train(Device::Cpu).unwrap();
        assert!(last < first && milliseconds > 0.0, "{first} {last}");
    }
}
