//! The features that are part of the program: a small classifier of Fashion-MNIST.
//!
//! `scripts/train_features.rhai` made the file, from the 60,000 training images. The embedded data set is
//! made of the original's test images, which the network has not seen.

use std::path::Path;

use super::Classifier;
use crate::error::Result;
use crate::torch::Device;

static FILE: &[u8] = include_bytes!("../../../examples/data/features/fashion-mnist-cnn.safetensors");

/// The network and its name.
pub fn load(device: Device) -> Result<(String, Classifier)> {
    let (net, metadata) =
        Classifier::parse(FILE, Path::new("embedded fashion-mnist-cnn.safetensors"), device)?;
    Ok((metadata.get("name").cloned().unwrap_or_default(), net))
}
