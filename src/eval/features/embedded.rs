//! The embedded features: a small classifier of Fashion-MNIST.
//!
//! `scripts/train_features.rhai` created the file from the 60,000 training images. The embedded data set consists
//! of the original's test images, which the network has not seen.

use std::path::Path;

use super::Classifier;
use crate::error::Result;
use crate::torch::Device;

static FILE: &[u8] = include_bytes!("../../../examples/data/features/fashion-mnist-cnn.safetensors");

/// Returns the network and its name.
pub fn load(device: Device) -> Result<(String, Classifier)> {
    let (net, metadata) =
        Classifier::parse(FILE, Path::new("embedded fashion-mnist-cnn.safetensors"), device)?;
    Ok((metadata.get("name").cloned().unwrap_or_default(), net))
}
