//! What a network sees in images: the vectors that FID, precision and recall are measured on.
//!
//! - [`classifier`]: a small convolutional network, trainable in a script
//! - [`embedded`]: one that was trained on Fashion-MNIST, part of the program

pub mod classifier;
pub mod embedded;

use std::path::Path;
use std::sync::Arc;

pub use classifier::{Classifier, ClassifierOptions};

use super::Images;
use super::images::{luma, vectors};
use crate::context::Context;
use crate::data::Dataset;
use crate::declare::{Display, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::scripted;
use crate::torch::{DType, Device, Tensor, no_grad};

/// How many images go through the network at once.
const BATCH: i64 = 250;

/// A feature extractor with a name and a hash, which every result on its features records.
#[derive(Debug, Clone)]
pub struct Features(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    hash: String,
    net: Classifier,
}

scripted!(
    Features,
    "features",
    |f| Display::text(f.summary()),
    describe = |f| format!("the features {}", f.label()),
    bytes = |f| f.0.net.bytes(),
    facts = |f| vec![
        ("name", f.name().to_string()),
        ("dims", f.dims().to_string()),
        ("device", f.net().device().to_string()),
    ],
);

/// What a set of images gives.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// [N, D] float64 on the CPU.
    pub features: Tensor,
    /// [N, K] float64 on the CPU.
    pub logits: Tensor,
    /// What was done to the images first, such as `grey, 32 x 32 resized to 28 x 28`; empty for nothing.
    pub prepared: String,
}

crate::options! {
    /// Which network gives the features.
    pub struct FeaturesOptions {
        /// A safetensors file that a classifier was saved to; by default the embedded network.
        path: Option<String> = None;
        /// A classifier in memory instead of a file.
        classifier: Option<Classifier> = None;
        /// What results call the features; by default the name in the file.
        name: Option<String> = None;
        /// Where the network runs.
        device: Device = Device::Cpu;
    }
}

/// Loads a feature extractor: the embedded one, a file's, or a classifier's.
pub fn features(options: &FeaturesOptions) -> Result<Features> {
    options.check()?;
    let (name, net) = match (&options.path, &options.classifier) {
        (Some(_), Some(_)) => {
            return Err(Error::argument(
                "options `path` and `classifier` both say where the network is from",
            )
            .hint("leave one of them out"));
        }
        (Some(path), None) => {
            let path = Path::new(path);
            let (net, metadata) = Classifier::load(path, options.device)?;
            let stem = path.file_stem().map_or("features".to_string(), |s| s.to_string_lossy().into_owned());
            (metadata.get("name").cloned().unwrap_or(stem), net)
        }
        (None, Some(net)) => ("classifier".to_string(), net.copy_to(options.device)?),
        (None, None) => embedded::load(options.device)?,
    };
    Features::new(options.name.as_deref().unwrap_or(&name), net)
}

impl Features {
    /// Features of a classifier, under a name. Later training of the classifier would falsify the hash, so
    /// give a copy.
    pub fn new(name: &str, net: Classifier) -> Result<Self> {
        let hash = net.hash()?;
        Ok(Self(Arc::new(Inner { name: name.to_string(), hash, net })))
    }

    /// Their name, such as `fashion-mnist-cnn`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The first 12 hexadecimal digits of the SHA-256 of the network's weights.
    pub fn hash(&self) -> &str {
        &self.0.hash
    }

    /// Name and hash: `fashion-mnist-cnn@0123456789ab`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.0.name, self.0.hash)
    }

    /// Length of a feature vector.
    pub fn dims(&self) -> i64 {
        self.0.net.options().features
    }

    /// Number of classes of the logits.
    pub fn classes(&self) -> i64 {
        self.0.net.options().classes
    }

    /// The network.
    pub fn net(&self) -> &Classifier {
        &self.0.net
    }

    /// Features and logits of images of any size, grey or colour, in [-1, 1].
    pub fn extract(&self, images: &Images, cx: &Context) -> Result<Extracted> {
        let (mut features, mut logits, mut prepared) = (Vec::new(), Vec::new(), String::new());
        images.in_chunks(cx, |chunk| {
            for part in chunk.split(BATCH, 0)? {
                cx.check()?;
                let (part, how) = self.prepare(&part)?;
                let outputs = no_grad(|| self.0.net.outputs(&part))?;
                features.push(vectors(&outputs.features)?);
                logits.push(vectors(&outputs.logits)?);
                prepared = how;
            }
            Ok(())
        })?;
        Ok(Extracted { features: Tensor::cat(&features, 0)?, logits: Tensor::cat(&logits, 0)?, prepared })
    }

    /// Share of a data set's images whose label has the largest logit, from 0 to 1.
    pub fn accuracy(&self, set: &Dataset, cx: &Context) -> Result<f64> {
        ensure!(
            set.classes() as i64 == self.classes(),
            "expected a data set of {} classes, found {}",
            self.classes(),
            set.classes()
        );
        let logits = self.extract(&Images::of(set), cx)?.logits;
        let right = logits.argmax(Some(1), false)?.eq(set.labels())?.sum(&[], false)?.item_i64()?;
        Ok(right as f64 / set.len() as f64)
    }

    /// Images as the network takes them, and what was done to them.
    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)> {
        let options = self.0.net.options();
        let mut how = Vec::new();
        let mut images = images.to_device(self.0.net.device())?.to_dtype(DType::Float32)?;
        let channels = images.size(1)?;
        if channels != options.in_channels {
            images = match (channels, options.in_channels) {
                (3, 1) => luma(&images)?,
                (1, wanted) => images.expand(&[-1, wanted, -1, -1])?,
                (found, wanted) => {
                    return Err(Error::argument(format!(
                        "the features {} take images of {wanted} channels, found {found}",
                        self.label()
                    )));
                }
            };
            how.push(if channels == 3 { "grey".to_string() } else { "grey repeated".to_string() });
        }
        let (side, height, width) = (options.image_size, images.size(2)?, images.size(3)?);
        if (height, width) != (side, side) {
            // Without the filter, shrinking would alias the very frequencies that experiments are about.
            let shrinks = height > side || width > side;
            images = images.interpolate([side, side], "bilinear", false, shrinks)?;
            how.push(format!("{height} x {width} resized to {side} x {side}"));
        }
        Ok((images, how.join(", ")))
    }

    fn summary(&self) -> String {
        let options = self.0.net.options();
        format!(
            "features {}, sha256 {}: [N, {}] features and [N, {}] logits of images [N, {}, {s}, {s}]",
            self.name(),
            self.hash(),
            options.features,
            options.classes,
            options.in_channels,
            s = options.image_size
        )
    }
}
