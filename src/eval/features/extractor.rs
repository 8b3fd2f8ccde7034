//! What every network that gives features can do.

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::torch::{Device, Tensor};

/// What a network makes of images.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// [B, D].
    pub features: Tensor,
    /// [B, K], where it classifies.
    pub logits: Option<Tensor>,
    /// [B, S]: features that keep their places in the image, where it gives some.
    pub spatial: Option<Tensor>,
}

/// How many channels of an inner layer make the spatial features: the number that sFID was defined with.
pub const SPATIAL_CHANNELS: i64 = 7;

/// A network, or anything else, that gives features of images.
pub trait Extractor: Send + Sync + std::fmt::Debug {
    /// The first 12 hexadecimal digits of the SHA-256 of what decides the features.
    fn hash(&self) -> &str;

    /// Length of a feature vector, where it is known before the first images.
    fn dims(&self) -> Option<i64>;

    /// Where it runs.
    fn device(&self) -> Device;

    /// How many images it takes at once.
    fn batch(&self) -> i64 {
        250
    }

    /// Images [B, C, H, W] in [-1, 1] as it takes them, and what was done to them in words, empty for nothing.
    fn prepare(&self, images: &Tensor) -> Result<(Tensor, String)>;

    /// Features of images that [`prepare`](Self::prepare) gave.
    fn outputs(&self, images: &Tensor) -> Result<Outputs>;

    /// What it takes and gives, in words.
    fn describe(&self) -> String;

    /// How many bytes its tensors hold.
    fn bytes(&self) -> u64;

    /// Whether what it extracts is worth keeping in a file.
    fn is_slow(&self) -> bool {
        false
    }
}

/// The first 12 hexadecimal digits of the SHA-256 of named tensors: over each name, shape and the little-endian
/// float32 values, in the given order.
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

/// The first 12 hexadecimal digits of the SHA-256 of bytes.
pub fn hash_bytes(bytes: &[u8]) -> String {
    short(Sha256::new_with_prefix(bytes))
}

/// The first 12 hexadecimal digits of a finished hash.
pub fn short(hasher: Sha256) -> String {
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
