//! A function of the user's own that gives features.

use super::extractor::{Extractor, Outputs, hash_bytes};
use super::prepare::Prepared;
use super::{Features, Tensor};
use crate::declare::{Function, IntoValue, Map, Options, Value};
use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::Device;

crate::options! {
    /// What a function of features is given, and what results call it.
    pub struct FunctionOptions {
        /// What results call the features.
        name: String = "function".to_string();
        /// Stands for the content of the function, which nobody else can tell: change it when the function
        /// changes, and results before and after are not mixed up.
        version: String = "1".to_string();
        /// Channels that the function takes; by default those of the images.
        channels: Option<i64> = None => range(1.0, 1024.0);
        /// Height and width that the function takes, in pixels; by default those of the images.
        image_size: Option<i64> = None => range(1.0, 4096.0);
        /// How many images it takes at once.
        batch: i64 = 250 => range(1.0, 1e6);
        /// Where the images are when it is called.
        device: Device = Device::Cpu;
    }
}

/// The features that a function gives of images [B, C, H, W] float32 in [-1, 1]: a tensor [B, D], or a map of
/// `features` [B, D], `logits` [B, K] and `spatial` [B, S], of which the last two may be missing.
pub fn function(function: &Function, options: &FunctionOptions) -> Result<Features> {
    options.check()?;
    let hash = hash_bytes(format!("{}\n{}", options.name, options.version).as_bytes());
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

/// Features from what a function or a network returned; images of more dimensions than two are made vectors.
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
        return Err(Error::argument(format!("unknown entry `{unknown}` beside the features"))
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
