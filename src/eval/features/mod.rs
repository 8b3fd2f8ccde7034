//! Feature extractors: networks whose outputs are the input of FID, precision, recall and other metrics.
//!
//! - [`extractor`]: the trait of all extractors; [`prepare`]: conversion of images to a network's input
//! - [`classifier`]: a small convolutional network, trainable in a script; [`embedded`]: a classifier trained on
//!   Fashion-MNIST, part of the program
//! - [`inception`]: Inception-v3 in the variant used for published FIDs
//! - [`torchscript`]: a network in a TorchScript file; [`function`]: a user-defined function
//! - [`cache`]: extracted features of data sets, stored in a folder

pub mod cache;
pub mod classifier;
pub mod embedded;
pub mod extractor;
pub mod function;
pub mod inception;
pub mod prepare;
pub mod torchscript;

use std::path::Path;
use std::sync::Arc;

pub use classifier::{Classifier, ClassifierOptions};
pub use extractor::{Extractor, Outputs};

use super::Images;
use super::images::{recorded_vectors, vectors};
use crate::context::Context;
use crate::data::Dataset;
use crate::declare::{Display, Options};
use crate::ensure;
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::scripted;
use crate::torch::{DType, Device, Tensor, no_grad};

/// A feature extractor with a name and a hash, which are recorded with every result.
#[derive(Debug, Clone)]
pub struct Features(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    net: Box<dyn Extractor>,
}

scripted!(
    Features,
    "features",
    |f| Display::text(f.summary()),
    describe = |f| ("the features", f.label().clone()),
    bytes = |f| f.0.net.bytes(),
    facts = |f| vec![
        ("name", f.name().to_string()),
        ("dims", f.dims().map_or("unknown before the first images".to_string(), |d| d.to_string())),
        ("device", f.device().to_string()),
    ],
);

/// Outputs of an extractor for a set of images.
#[derive(Debug, Clone)]
pub struct Extracted {
    /// [N, D] float64 on the CPU.
    pub features: Tensor,
    /// [N, K] float64 on the CPU, if the network is a classifier.
    pub logits: Option<Tensor>,
    /// [N, S] float64 on the CPU: spatial features, if the network has them.
    pub spatial: Option<Tensor>,
    /// How the images were prepared, such as `gray, 32 x 32 resized to 28 x 28`; empty if they were not changed.
    pub prepared: String,
}

/// Options of [`features`].
#[derive(Debug, Clone, Options)]
pub struct FeaturesOptions {
    /// Safetensors file of a saved classifier; by default the embedded network is used.
    pub path: Option<String>,
    /// Classifier in memory, instead of a file.
    pub classifier: Option<Classifier>,
    /// Name of the features in results; by default the name in the file.
    pub name: Option<String>,
    /// Device of the network.
    #[option(default = Device::of_new())]
    pub device: Device,
}

/// Loads a feature extractor: the embedded one, or that of a file or classifier.
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
            (metadata.get("name").cloned().unwrap_or(stem(path)), net)
        }
        (None, Some(net)) => ("classifier".to_string(), net.copy_to(options.device)?),
        (None, None) => embedded::load(options.device)?,
    };
    Features::of(options.name.as_deref().unwrap_or(&name), classifier::Hashed::new(net)?)
}

/// Returns a file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem().map_or("features".to_string(), |s| s.to_string_lossy().into_owned())
}

impl Features {
    /// Creates named features from any extractor.
    pub fn of(name: &str, net: impl Extractor + 'static) -> Result<Self> {
        ensure!(!name.is_empty(), "features need a name, which results record; found an empty one");
        Ok(Self(Arc::new(Inner { name: name.to_string(), net: Box::new(net) })))
    }

    /// Returns the name, such as `fashion-mnist-cnn`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the first 12 hexadecimal digits of the SHA-256 of what determines the features, such as the
    /// network's weights.
    pub fn hash(&self) -> &str {
        self.0.net.hash()
    }

    /// Returns name and hash: `fashion-mnist-cnn@0123456789ab`.
    pub fn label(&self) -> String {
        format!("{}@{}", self.name(), self.hash())
    }

    /// Returns the length of a feature vector, if known before the first images.
    pub fn dims(&self) -> Option<i64> {
        self.0.net.dims()
    }

    /// Returns the device of the network.
    pub fn device(&self) -> Device {
        self.0.net.device()
    }

    /// Returns whether the features are worth caching in a file.
    pub fn is_slow(&self) -> bool {
        self.0.net.is_slow()
    }

    /// Same as [`Features::extract`], but keeps the gradient history of a tensor that records gradients, whose images
    /// this rank computes alone. An extractor that rounds images has no gradients, which is an error.
    pub fn extract_recorded(&self, images: &Images, cx: &Context) -> Result<Extracted> {
        let Some(tensor) = images.recorded() else { return self.extract(images, cx) };
        if self.0.net.rounds() {
            return Err(Error::argument(format!(
                "{} rounds images to bytes, so gradients do not pass through it",
                self.label()
            ))
            .hint("pass `x.detach()` for features without gradients"));
        }
        let (size, count) = (self.0.net.batch(), tensor.size(0)?);
        let mut parts = Vec::new();
        let mut prepared = String::new();
        for first in (0..count).step_by(size as usize) {
            cx.check()?;
            let part = tensor.narrow(0, first, size.min(count - first))?;
            let (outputs, how) = self.outputs(&part, recorded_vectors)?;
            parts.push(outputs);
            prepared = how;
        }
        let join = |of: &dyn Fn(&Outputs) -> Option<Tensor>| {
            let all: Vec<Tensor> = parts.iter().filter_map(of).collect();
            if all.is_empty() { Ok(None) } else { Tensor::cat(&all, 0).map(Some) }
        };
        let features = join(&|part| Some(part.features.clone()))?;
        let features = features.ok_or_else(|| Error::argument("expected at least one image, found none"))?;
        let (logits, spatial) = (join(&|part| part.logits.clone())?, join(&|part| part.spatial.clone())?);
        Ok(Extracted { features, logits, spatial, prepared })
    }

    /// Returns the outputs for one batch of images, and how it was prepared.
    fn outputs(&self, images: &Tensor, vectors: fn(&Tensor) -> Result<Tensor>) -> Result<(Outputs, String)> {
        let (images, how) = self.0.net.prepare(images)?;
        let outputs = self.0.net.outputs(&images).map_err(|e| e.context(self.label()))?;
        ensure!(
            outputs.features.size(0)? == images.size(0)?,
            "{}: expected features [{}, D], one row per image, found shape {:?}",
            self.label(),
            images.size(0)?,
            outputs.features.shape()
        );
        let each = |tensor: &Option<Tensor>| tensor.as_ref().map(vectors).transpose();
        let (logits, spatial) = (each(&outputs.logits)?, each(&outputs.spatial)?);
        Ok((Outputs { features: vectors(&outputs.features)?, logits, spatial }, how))
    }

    /// Returns features and logits of images of any size, gray or color, in [-1, 1]. On several ranks each computes
    /// a part of the batches, and all return everything.
    pub fn extract(&self, images: &Images, cx: &Context) -> Result<Extracted> {
        let net = &self.0.net;
        let (mut features, mut logits, mut spatial) = (Vec::new(), Vec::new(), Vec::new());
        let mut prepared = String::new();
        // What fits in one batch has nothing to share; a loss calls this with other images on every rank.
        let alone = images.count() <= net.batch();
        let ranks = if alone { Ranks::default() } else { Ranks::of(cx) };
        ranks.same(&[("the number of images to measure", images.count().to_string())])?;
        let groups = (images.count() as u64).div_ceil(net.batch() as u64);
        let (first, own) = ranks.share(groups as usize);
        let own = images.part(first as i64 * net.batch(), own as i64 * net.batch())?;
        let mut bar = net.is_slow().then(|| cx.bar("features", own.count() as u64));
        let mut done = 0;
        own.in_groups(net.batch(), cx, |part| {
            let (outputs, how) = no_grad(|| self.outputs(&part, vectors))?;
            features.push(outputs.features);
            logits.extend(outputs.logits);
            spatial.extend(outputs.spatial);
            prepared = how;
            done += part.size(0)?;
            if let Some(bar) = &mut bar {
                bar.update(done as u64, "");
            }
            Ok(())
        })?;
        let join = |parts: &[Tensor]| match parts.is_empty() {
            true => Ok(None),
            false => Tensor::cat(parts, 0).map(Some),
        };
        let (features, logits, spatial) = (join(&features)?, join(&logits)?, join(&spatial)?);
        if !ranks.are_several() {
            let features =
                features.ok_or_else(|| Error::argument("expected at least one image, found none"))?;
            return Ok(Extracted { features, logits, spatial, prepared });
        }
        // Rank 0 has images if any rank has, so it knows which outputs there are and how wide.
        let width = |tensor: &Option<Tensor>| tensor.as_ref().map_or(Ok(0), |t| t.size(1));
        let widths = [width(&features)?, width(&logits)?, width(&spatial)?];
        let widths = Tensor::from_i64(&widths, &[3])?;
        ranks.broadcast(&widths, 0)?;
        let widths = widths.to_i64()?;
        let all = |own: Option<Tensor>, width: i64| match (own, width) {
            (_, 0) => Ok(None),
            (Some(own), _) => ranks.gather(&own).map(Some),
            (None, width) => {
                ranks.gather(&Tensor::zeros(&[0, width], DType::Float64, Device::Cpu)?).map(Some)
            }
        };
        let (features, logits, spatial) =
            (all(features, widths[0])?, all(logits, widths[1])?, all(spatial, widths[2])?);
        let features = features.ok_or_else(|| Error::argument("expected at least one image, found none"))?;
        Ok(Extracted { features, logits, spatial, prepared: ranks.broadcast_text(&prepared)? })
    }

    /// Returns the fraction of a data set's images whose label has the largest logit, from 0 to 1.
    pub fn accuracy(&self, set: &Dataset, cx: &Context) -> Result<f64> {
        let logits = self.extract(&Images::of(set), cx)?.logits.ok_or_else(|| self.lacks("logits"))?;
        let classes = logits.size(1)?;
        ensure!(
            set.classes() as i64 == classes,
            "expected a data set of {classes} classes, found {}",
            set.classes()
        );
        let right = logits.argmax(Some(1), false)?.eq(set.labels())?.sum(&[], false)?.item_i64()?;
        Ok(right as f64 / set.len() as f64)
    }

    /// Returns the error that the network has no logits or no spatial features.
    pub fn lacks(&self, what: &str) -> Error {
        Error::argument(format!("the features {} have no {what}", self.label())).hint(match what {
            "logits" => "use a classifier, Inception, or a function that returns `logits`",
            _ => "use a classifier, Inception, or a function that returns `spatial`",
        })
    }

    fn summary(&self) -> String {
        format!("features {}, sha256 {}: {}", self.name(), self.hash(), self.0.net.describe())
    }
}
