//! Features of a user-defined function.

use super::extractor::{Extractor, Outputs, hash_with};
use super::prepare::Prepared;
use super::{Features, Tensor};
use crate::declare::{Function, IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::Device;

/// Options of [`function`].
#[derive(Debug, Clone, Options)]
pub struct FunctionOptions {
    /// Name of the features in results.
    #[option(default = "function")]
    pub name: String,
    /// Version of the function, hashed in place of its code: change it with the function, so that results
    /// before and after are not mixed.
    #[option(default = "1")]
    pub version: String,
    /// Channels of the function's input; by default those of the images.
    #[option(range = 1..=1024)]
    pub channels: Option<i64>,
    /// Height and width of the function's input, in pixels; by default those of the images.
    #[option(range = 1..=4096)]
    pub image_size: Option<i64>,
    /// Number of images per call.
    #[option(default = 250, range = 1..=1e6)]
    pub batch: i64,
    /// Device of the images that the function receives.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Returns features computed by a function from images [B, C, H, W] float32 in [-1, 1]. The function returns a
/// tensor [B, D], or a map of `features` [B, D], `logits` [B, K] and `spatial` [B, S], of which the last two are
/// optional. Name, version, `channels` and `image_size` make the hash.
pub fn function(function: &Function, options: &FunctionOptions) -> Result<Features> {
    options.check()?;
    let hash = hash_with(
        format!("{}\n{}", options.name, options.version).as_bytes(),
        &[
            ("channels", options.channels.map(|channels| channels.to_string())),
            ("image_size", options.image_size.map(|side| side.to_string())),
        ],
    );
    Features::of(&options.name, OfFunction { function: function.clone(), options: options.clone(), hash })
}

#[derive(Debug)]
struct OfFunction {
    function: Function,
    options: FunctionOptions,
    hash: String,
}

impl Extractor for OfFunction {
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
        let mut prepared = Prepared::new(images, self.options.device)?;
        if let Some(channels) = self.options.channels {
            prepared = prepared.channels(channels)?;
        }
        if let Some(side) = self.options.image_size {
            prepared = prepared.resized(side)?;
        }
        Ok(prepared.finish())
    }

    fn outputs(&self, images: &Tensor) -> Result<Outputs> {
        outputs_of(self.function.call(&[images.clone().into_value()])?)
    }

    fn describe(&self) -> String {
        format!("of a function, version {}", self.options.version)
    }

    fn bytes(&self) -> u64 {
        0
    }
}

/// Converts the result of a function or a network; tensors of more than two dimensions are flattened.
pub fn outputs_of(value: Value) -> Result<Outputs> {
    let flat = |tensor: Tensor| match tensor.rank() {
        0 | 1 => Err(Error::argument(format!("expected features [B, D], found shape {:?}", tensor.shape()))),
        2 => Ok(tensor),
        _ => tensor.flatten(1, -1),
    };
    if let Some(tensor) = value.downcast::<Tensor>() {
        return Ok(Outputs { features: flat(tensor)?, logits: None, spatial: None });
    }
    let Value::Map(map) = &value else {
        return Err(
            value.mismatch("a tensor of features [B, D], or a map of `features`, `logits`, `spatial`")
        );
    };
    const KNOWN: [&str; 3] = ["features", "logits", "spatial"];
    if let Some(unknown) = map.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(Error::argument(format!("unknown entry `{unknown}` in the map of features"))
            .did_you_mean(unknown, KNOWN));
    }
    let entry = |map: &Map, name: &str| match map.get(name) {
        None | Some(Value::Unit) => Ok(None),
        Some(value) => {
            let tensor =
                value.downcast::<Tensor>().ok_or_else(|| value.mismatch("a tensor").context(name))?;
            flat(tensor).map(Some)
        }
    };
    let features = entry(map, "features")?;
    ensure!(features.is_some(), "expected a map with an entry `features`, found {}", value.describe());
    Ok(Outputs {
        features: features.ok_or_else(|| Error::internal("no features"))?,
        logits: entry(map, "logits")?,
        spatial: entry(map, "spatial")?,
    })
}
