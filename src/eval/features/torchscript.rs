//! Features of a network in a TorchScript file.

use std::path::Path;

use super::extractor::{Extractor, Outputs, hash_with};
use super::function::outputs_of;
use super::prepare::Prepared;
use super::{Features, stem};
use crate::declare::{Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::torchscript::Script;
use crate::torch::{Device, Tensor};

/// Options of [`torchscript`].
#[derive(Debug, Clone, Options)]
pub struct TorchScriptOptions {
    /// Name of the features in results; by default the file name.
    pub name: Option<String>,
    /// Channels of the network's input.
    #[option(default = 3, range = 1..=1024)]
    pub channels: i64,
    /// Height and width of the network's input, in pixels; by default those of the images.
    #[option(range = 1..=4096)]
    pub image_size: Option<i64>,
    /// Mean subtracted from values in [0, 1], for each channel; without it values are in [-1, 1].
    pub mean: Vec<f64>,
    /// Standard deviation that values are then divided by, for each channel.
    pub std: Vec<f64>,
    /// Number of images per batch.
    #[option(default = 64, range = 1..=1e6)]
    pub batch: i64,
    /// Device of the network.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Returns features computed by the `forward` of a TorchScript file from images [B, C, H, W] float32. `forward`
/// returns a tensor [B, D], a list or tuple with features first and logits second, or a dictionary of `features`,
/// `logits`, `spatial`. The bytes of the file and the options that prepare the images make the hash.
pub fn torchscript(path: &Path, options: &TorchScriptOptions) -> Result<Features> {
    options.check()?;
    ensure!(
        options.mean.len() == options.std.len()
            && (options.mean.is_empty() || options.mean.len() as i64 == options.channels),
        "expected `mean` and `std` with one number for each of {} channels, found {} and {}",
        options.channels,
        options.mean.len(),
        options.std.len()
    );
    ensure!(options.std.iter().all(|s| *s > 0.0), "expected `std` above 0, found {:?}", options.std);
    let (script, bytes) = Script::load(path, options.device)?;
    let usual = TorchScriptOptions::default();
    let given = |values: &[f64]| (!values.is_empty()).then(|| format!("{values:?}"));
    let hash = hash_with(
        &bytes,
        &[
            ("channels", (options.channels != usual.channels).then(|| options.channels.to_string())),
            ("image_size", options.image_size.map(|side| side.to_string())),
            ("mean", given(&options.mean)),
            ("std", given(&options.std)),
        ],
    );
    let name = options.name.clone().unwrap_or(stem(path));
    Features::of(&name, OfScript { script, options: options.clone(), hash })
}

#[derive(Debug)]
struct OfScript {
    script: Script,
    options: TorchScriptOptions,
    hash: String,
}

impl Extractor for OfScript {
    fn hash(&self) -> &str {
        &self.hash
    }

    fn dims(&self) -> Option<i64> {
        None
    }

    fn device(&self) -> Device {
        self.options.device
    }

    fn batch(&self) -> i64 {
        self.options.batch
    }

    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)> {
        let mut prepared = Prepared::new(images, self.options.device)?.channels(self.options.channels)?;
        if let Some(side) = self.options.image_size {
            prepared = prepared.resized(side)?;
        }
        let (mut images, mut how) = prepared.finish();
        let TorchScriptOptions { mean, std, channels, .. } = &self.options;
        if !mean.is_empty() {
            let shaped = |values: &[f64]| {
                let tensor = Tensor::from_f64(values, &[1, *channels, 1, 1])?;
                tensor.to_dtype(images.dtype())?.to_device(images.device())
            };
            let (mean, std) = (shaped(mean)?, shaped(std)?);
            images = images.add_scalar(1.0)?.div_scalar(2.0)?.sub(&mean)?.div(&std)?;
            let step = format!("normalized by {:?} and {:?}", self.options.mean, self.options.std);
            how = if how.is_empty() { step } else { format!("{how}, {step}") };
        }
        Ok((images, how))
    }

    fn outputs(&self, images: &Tensor) -> Result<Outputs> {
        match self.script.forward(images)? {
            Value::List(list) => match list.as_slice() {
                [features] => outputs_of(features.clone()),
                [features, logits, ..] => {
                    Ok(Outputs { logits: logits.downcast(), ..outputs_of(features.clone())? })
                }
                [] => Err(Error::argument("the network returned an empty list")),
            },
            other => outputs_of(other),
        }
    }

    fn describe(&self) -> String {
        format!("of a TorchScript network on {}", self.options.device)
    }

    fn bytes(&self) -> u64 {
        self.script.bytes()
    }

    fn is_slow(&self) -> bool {
        true
    }
}
