//! The embedded features: a small classifier of Fashion-MNIST.
//!
//! `scripts/train_features.rhai` created the file from the 60,000 training images. The embedded data set consists
//! of the original's test images, which the network has not seen.

use std::path::Path;

use super::Classifier;
use crate::error::Result;
use crate::eval::Images;
use crate::torch::Device;

static FILE: &[u8] = include_bytes!("../../../examples/data/features/fashion-mnist-cnn.safetensors");

/// Returns the network and its name.
pub fn load(device: Device) -> Result<(String, Classifier)> {
    let (net, metadata) =
        Classifier::parse(FILE, Path::new("embedded fashion-mnist-cnn.safetensors"), device)?;
    Ok((metadata.get("name").cloned().unwrap_or_default(), net))
}

/// Returns a note for images in color, about which these features, the default ones, say little.
pub fn note(images: &Images) -> Option<String> {
    (images.shape()[0] == 3).then(|| {
        "the images are in color, and the default features are those of a classifier of gray images of clothing \
         (Fashion-MNIST); give others with option `features`, such as `eval::inception(path)`"
            .to_string()
    })
}
