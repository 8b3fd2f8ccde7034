//! The trait of feature extractors.

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::torch::{Device, Tensor};

/// Outputs of a network for a batch of images.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// [B, D].
    pub features: Tensor,
    /// [B, K], if the network is a classifier.
    pub logits: Option<Tensor>,
    /// [B, S]: spatial features, if the network has them.
    pub spatial: Option<Tensor>,
}

/// Number of channels of an inner layer used as spatial features, as in the definition of sFID.
const SPATIAL_CHANNELS: i64 = 7;

/// Returns the spatial features of sFID of an inner layer [B, C, H, W]: its first channels, of each position in turn.
/// The order is that of the statistics which ADM's evaluator stores.
pub fn spatial_features(layer: &Tensor) -> Result<Tensor> {
    let channels = SPATIAL_CHANNELS.min(layer.size(1)?);
    layer.narrow(1, 0, channels)?.permute(&[0, 2, 3, 1])?.flatten(1, -1)
}

/// A network or function that extracts features from images.
pub trait Extractor: Send + Sync + std::fmt::Debug {
    /// Returns the first 12 hexadecimal digits of the SHA-256 of what determines the features.
    fn hash(&self) -> &str;

    /// Returns the length of a feature vector, if known before the first images.
    fn dims(&self) -> Option<i64>;

    /// Returns the device it runs on.
    fn device(&self) -> Device;

    /// Returns the number of images per batch.
    fn batch(&self) -> i64 {
        250
    }

    /// Converts images [B, C, H, W] in [-1, 1] to its input; also returns a description of the changes, empty for
    /// none.
    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)>;

    /// Returns the features of images from [`prepare`](Self::prepare).
    fn outputs(&self, images: &Tensor) -> Result<Outputs>;

    /// Returns a description of its inputs and outputs.
    fn describe(&self) -> String;

    /// Returns the bytes of its tensors.
    fn bytes(&self) -> u64;

    /// Returns whether it rounds images, so that its features have no gradients.
    fn rounds(&self) -> bool {
        false
    }

    /// Returns whether its features are worth caching in a file.
    fn is_slow(&self) -> bool {
        false
    }
}

/// Returns the first 12 hexadecimal digits of the SHA-256 of named tensors: of each name, shape and the
/// little-endian float32 values, in the given order.
pub fn hash_tensors<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<String> {
    let mut hasher = Sha256::new();
    for (name, tensor) in tensors {
        hasher.update(name.as_bytes());
        tensor.shape().iter().for_each(|size| hasher.update(size.to_le_bytes()));
        let values: Vec<u8> = tensor.to_f32()?.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&values);
    }
    Ok(short(hasher))
}

/// Returns the hash of what computes features and of the settings that prepare its images. A setting that is not given
/// leaves the hash as it is, so that statistics in files stay comparable.
pub fn hash_with(content: &[u8], settings: &[(&str, Option<String>)]) -> String {
    let mut hasher = Sha256::new_with_prefix(content);
    for (name, value) in settings {
        if let Some(value) = value {
            hasher.update(format!("\0{name} {value}"));
        }
    }
    short(hasher)
}

/// Returns the first 12 hexadecimal digits of a finished hash.
pub fn short(hasher: Sha256) -> String {
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
