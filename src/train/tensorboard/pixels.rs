//! Images as pixels.

use super::events::Png;
use crate::ensure;
use crate::error::Result;
use crate::torch::{DType, Device, Tensor};

/// Returns an image [C, H, W], or several [B, C, H, W] in a square, as PNG.
pub fn png_of(images: &Tensor) -> Result<Png> {
    let images = if images.rank() == 3 { images.unsqueeze(0)? } else { images.clone() };
    let shape = images.shape();
    ensure!(
        images.dtype().is_float() && matches!(shape[..], [_, 1 | 3, _, _]) && images.count() > 0,
        "expected images [C, H, W] or [B, C, H, W] from -1 to 1 with 1 or 3 channels, found a {}",
        images.signature()
    );
    let [count, channels, height, width] = [0, 1, 2, 3].map(|i| shape[i] as usize);
    let images = images.detach()?.to_device(Device::Cpu)?.to_dtype(DType::Float32)?.to_f32()?;
    let columns = (count as f64).sqrt().ceil() as usize;
    let rows = count.div_ceil(columns);
    let mut rgb = vec![0u8; rows * height * columns * width * 3];
    for (i, image) in images.chunks_exact(channels * height * width).enumerate() {
        let (top, left) = (i / columns * height, i % columns * width);
        for y in 0..height {
            for x in 0..width {
                let at = ((top + y) * columns * width + left + x) * 3;
                for c in 0..3 {
                    let value = image[(c.min(channels - 1) * height + y) * width + x];
                    // NaN becomes black.
                    rgb[at + c] = ((value.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
                }
            }
        }
    }
    Png::new(&rgb, rows * height, columns * width)
}
