//! The embedded features: a small classifier of Fashion-MNIST.
//!
//! `scripts/train_features.rhai` created the file from the 60,000 training images. The embedded data set consists
//! of the original's test images, which the network has not seen.

use std::path::Path;

use super::Classifier;
use crate::context::Context;
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

/// Note on images in color, about which these features, the default ones, say little.
const COLOR: &str = "the images are in color, and the default features are those of a classifier of gray images of clothing \
     (Fashion-MNIST); give others with option `features`, such as `eval::inception(path)`";

/// Returns a note if the images are in color.
pub fn note(images: &Images, cx: &Context) -> Result<Option<String>> {
    Ok(images.are_in_color(cx)?.then(|| COLOR.to_string()))
}
