//! Generated images as a file for other evaluators.

use std::path::Path;

use super::{Images, Statistics};
use crate::context::Context;
use crate::declare::{Choice, Options};
use crate::error::Result;
use crate::torch::io::{About, write_npz};
use crate::torch::{DType, Tensor};

/// How values x in [-1, 1] become bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Rounding {
    /// floor(127.5 x + 128), as the sampling scripts of DiT, SiT and LightningDiT do and Inception expects here.
    #[default]
    Nearest,
    /// floor(127.5 (x + 1)), as that of ADM does.
    Down,
}

/// Options of [`save_samples`].
#[derive(Debug, Clone, Options)]
pub struct SaveSamplesOptions {
    /// How float values become bytes: "nearest" as in DiT and SiT, or "down" as in ADM. Bytes stay as they are.
    pub rounding: Rounding,
    /// Statistics to store beside the images, for a reference file of ADM's evaluator.
    pub statistics: Option<Statistics>,
}

/// Writes images as `arr_0` [N, H, W, 3] uint8 of an npz file, atomically and in groups; gray is repeated.
pub fn save_samples(path: &Path, images: &Images, options: &SaveSamplesOptions, cx: &Context) -> Result<()> {
    options.check()?;
    let [_, height, width] = images.shape();
    let about = About { shape: vec![images.count(), height, width, 3], dtype: DType::UInt8 };
    // Values that were bytes are bytes again with the first rounding.
    let rounding = if images.dtype() == DType::UInt8 { Rounding::Nearest } else { options.rounding };
    write_npz(path, |npz| {
        npz.array_of_rows("arr_0", &about)?;
        images.in_chunks(cx, |part| npz.rows(&bytes(&part, rounding)?))?;
        match &options.statistics {
            Some(statistics) => {
                statistics.arrays()?.iter().try_for_each(|(name, array)| npz.array(name, array))
            }
            None => Ok(()),
        }
    })
}

/// Converts images [N, C, H, W] in [-1, 1] to bytes [N, H, W, 3].
fn bytes(images: &Tensor, rounding: Rounding) -> Result<Tensor> {
    let images = images.to_dtype(DType::Float32)?;
    let scaled = match rounding {
        Rounding::Nearest => images.mul_scalar(127.5)?.add_scalar(128.0)?,
        Rounding::Down => images.add_scalar(1.0)?.mul_scalar(127.5)?,
    };
    let bytes = scaled.clamp(0.0, 255.0)?.to_dtype(DType::UInt8)?;
    bytes.permute(&[0, 2, 3, 1])?.expand(&[-1, -1, -1, 3])?.contiguous()
}
