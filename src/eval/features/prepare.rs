//! Conversion of images to a network's input: channels, size, values. Each step adds a description.

use crate::data::pixels;
use crate::error::{Error, Result};
use crate::eval::images::luma;
use crate::torch::{DType, Device, Tensor};

/// Images in preparation for a network, with a description of the changes.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// [B, C, H, W].
    pub images: Tensor,
    steps: Vec<String>,
}

impl Prepared {
    /// Converts images in [-1, 1] to float32 on the network's device.
    pub fn new(images: &Tensor, device: Device) -> Result<Self> {
        Ok(Self { images: images.to_device(device)?.to_dtype(DType::Float32)?, steps: Vec::new() })
    }

    /// Converts color to gray, or repeats gray.
    pub fn channels(mut self, wanted: i64) -> Result<Self> {
        let found = self.images.size(1)?;
        if found == wanted {
            return Ok(self);
        }
        let step = match (found, wanted) {
            (3, 1) => {
                self.images = luma(&self.images)?;
                "gray"
            }
            (1, wanted) => {
                self.images = self.images.expand(&[-1, wanted, -1, -1])?;
                "gray repeated"
            }
            _ => {
                let error =
                    Error::argument(format!("the network takes images of {wanted} channels, found {found}"));
                return Err(match pixels::channels_first(&self.images.shape(), true) {
                    Some(hint) => error.hint(hint),
                    None => error,
                });
            }
        };
        self.steps.push(step.to_string());
        Ok(self)
    }

    /// Resizes bilinearly, with antialiasing when shrinking: aliasing would change the very frequencies that
    /// experiments are about.
    pub fn resized(mut self, side: i64) -> Result<Self> {
        let (height, width) = (self.images.size(2)?, self.images.size(3)?);
        if (height, width) != (side, side) {
            let shrinks = height > side || width > side;
            self.images = self.images.interpolate([side, side], "bilinear", false, shrinks)?;
            self.steps.push(format!("{height} x {width} resized to {side} x {side}"));
        }
        Ok(self)
    }

    /// Rounds values to bytes, 0 to 255, as in an image file.
    pub fn bytes(mut self) -> Result<Self> {
        let scaled = self.images.mul_scalar(127.5)?.add_scalar(128.0)?;
        self.images = scaled.floor()?.clamp(0.0, 255.0)?;
        Ok(self)
    }

    /// Resizes bilinearly as in TensorFlow 1: pixel `i` of the result is taken at `i * size / side`, without a
    /// half-pixel shift and without antialiasing.
    pub fn resized_like_tensorflow(mut self, side: i64) -> Result<Self> {
        let (height, width) = (self.images.size(2)?, self.images.size(3)?);
        if (height, width) != (side, side) {
            let device = self.images.device();
            let (rows, columns) =
                (weights(height, side)?.to_device(device)?, weights(width, side)?.to_device(device)?);
            self.images = rows.matmul(&self.images.matmul(&columns.transpose(0, 1)?)?)?;
            self.steps.push(format!("{height} x {width} resized to {side} x {side} as TensorFlow 1 does"));
        }
        Ok(self)
    }

    /// Returns the images and the description of the changes.
    pub fn finish(self) -> (Tensor, String) {
        (self.images, self.steps.join(", "))
    }
}

/// Returns weights [side, size] float32; each row holds the weights of the old pixels in one new pixel.
fn weights(size: i64, side: i64) -> Result<Tensor> {
    // In float32 like the original, because its rounding decides which pixels are mixed.
    let scale = (size as f64 / side as f64) as f32;
    let mut weights = vec![0f32; (size * side) as usize];
    for (i, row) in weights.chunks_exact_mut(size as usize).enumerate() {
        let place = i as f32 * scale;
        let low = place.floor();
        let (first, next) = (low as usize, (low as usize + 1).min(size as usize - 1));
        row[first] += 1.0 - (place - low);
        row[next] += place - low;
    }
    Tensor::from_f32(&weights, &[side, size])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[f32]) -> Prepared {
        let images = Tensor::from_f32(values, &[1, 1, 1, values.len() as i64]).unwrap();
        Prepared::new(&images, Device::Cpu).unwrap()
    }

    #[test]
    fn tensorflow_starts_at_the_first_pixel_and_repeats_the_last() {
        let (images, how) = row(&[0.0, 1.0, 3.0]).resized_like_tensorflow(6).unwrap().finish();
        let first = images.select(2, 0).unwrap().to_f32().unwrap();
        assert_eq!(first, [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(how, "1 x 3 resized to 6 x 6 as TensorFlow 1 does");
    }

    #[test]
    fn bytes_come_back_exactly_and_everything_else_is_rounded() {
        let all: Vec<f32> = (0..256).map(|b| b as f32 / 127.5 - 1.0).collect();
        let bytes = row(&all).bytes().unwrap().images.to_f32().unwrap();
        assert_eq!(bytes, (0..256).map(|b| b as f32).collect::<Vec<_>>());
        assert_eq!(row(&[0.001, -2.0, 2.0]).bytes().unwrap().images.to_f32().unwrap(), [128.0, 0.0, 255.0]);
    }
}
