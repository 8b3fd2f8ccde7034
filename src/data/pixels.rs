//! Pixel values: bytes from 0 to 255, or floats in [-1, 1].

use crate::ensure;
use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

/// Converts images to float32 in [-1, 1]: bytes are scaled by `x / 127.5 - 1`, floats are not changed.
pub fn to_float(images: &Tensor) -> Result<Tensor> {
    match images.dtype() {
        DType::UInt8 => images.to_dtype(DType::Float32)?.div_scalar(127.5)?.sub_scalar(1.0),
        _ => images.to_dtype(DType::Float32),
    }
}

/// Returns an error unless the tensor is [N, C, H, W] of bytes or finite floats, with at least one image.
pub fn check(images: &Tensor) -> Result<()> {
    let shape = images.shape();
    if shape.len() != 4 {
        return Err(Error::argument(format!("expected images [N, C, H, W], found shape {shape:?}"))
            .hint("`.unsqueeze(0)` adds the missing first dimension to a single image"));
    }
    ensure!(shape.iter().all(|s| *s > 0), "expected at least one image and pixel, found shape {shape:?}");
    if images.dtype() == DType::UInt8 {
        return Ok(());
    }
    if !images.dtype().is_float() {
        return Err(Error::argument(format!(
            "expected images of a float type in [-1, 1] or of uint8, found {}",
            images.dtype().name()
        )));
    }
    let finite = images.isfinite()?;
    if finite.all(&[], false)?.item_i64()? == 0 {
        let bad = images.count() as i64 - finite.sum(&[], false)?.item_i64()?;
        return Err(Error::argument(format!("{bad} of {} pixel values are NaN or infinite", images.count()))
            .hint("the model that made them has probably diverged"));
    }
    Ok(())
}

/// Returns an error unless all float values are in [-1, 1].
pub fn check_range(images: &Tensor) -> Result<()> {
    if images.dtype() == DType::UInt8 {
        return Ok(());
    }
    let (low, high) = (images.amin(&[], false)?.item()?, images.amax(&[], false)?.item()?);
    if low < -1.0 || high > 1.0 {
        return Err(Error::argument(format!("expected pixel values in [-1, 1], found {low} to {high}"))
            .hint(
                "scale bytes with `x / 127.5 - 1`, or give them as uint8; `.clamp(-1, 1)` holds samples within the range",
            ));
    }
    Ok(())
}

/// Returns a warning if all values of float images lie in [0, 1] instead of the expected range.
pub fn range_note(images: &Tensor) -> Result<Option<String>> {
    if images.dtype() == DType::UInt8 {
        return Ok(None);
    }
    let (low, high) = (images.amin(&[], false)?.item()?, images.amax(&[], false)?.item()?);
    // A constant image tells nothing about the range.
    let unit = (0.0..high).contains(&low) && high <= 1.0 && high > 0.5;
    Ok(unit.then(|| {
        format!("all pixel values are in [0, 1], from {low} to {high}; images are expected in [-1, 1]: `2 * x - 1` scales them")
    }))
}

/// Returns how to put the channels of images first, if they come last in a shape [N, H, W, C]: `refused` images have a
/// number of channels that no picture has, and others are square in their second and third dimension.
pub fn channels_first(shape: &[i64], refused: bool) -> Option<&'static str> {
    let [_, first, second, channels @ (1 | 3 | 4)] = *shape else { return None };
    let square = first == second && first > 4;
    if [1, 3, 4].contains(&first) || !(square || refused) {
        return None;
    }
    Some(match channels {
        4 => {
            "`.permute([0, 3, 1, 2])` puts the channels first, and `.narrow(1, 0, 3)` leaves out a fourth, opacity"
        }
        _ => "`.permute([0, 3, 1, 2])` puts the channels first",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_span_the_range() {
        let x = to_float(&Tensor::from_u8(&[0, 255, 51], &[1, 1, 1, 3]).unwrap()).unwrap();
        assert_eq!(x.to_f32().unwrap(), [-1.0, 1.0, -0.6]);
    }

    #[test]
    fn channels_that_come_last_are_noticed() {
        for (shape, accepted, refused) in [
            ([16, 32, 32, 3], true, true),
            ([16, 28, 28, 1], true, true),
            ([16, 32, 48, 3], false, true),
            ([16, 3, 32, 32], false, false),
            ([16, 4, 4, 4], false, false),
            ([16, 3, 3, 3], false, false),
            ([16, 16, 16, 16], false, false),
        ] {
            let found = [false, true].map(|refused| channels_first(&shape, refused).is_some());
            assert_eq!(found, [accepted, refused], "{shape:?}");
        }
        assert!(channels_first(&[2, 8, 8, 4], false).is_some_and(|hint| hint.contains("narrow")));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let message = |t: &Tensor| check(t).unwrap_err().to_string();
        assert!(message(&Tensor::from_f32(&[0.0], &[1, 1]).unwrap()).contains("[N, C, H, W]"));
        let nan = Tensor::from_f32(&[f32::NAN, 0.0], &[1, 1, 1, 2]).unwrap();
        assert!(message(&nan).contains("1 of 2 pixel values"));
        let high = Tensor::from_f32(&[255.0, 0.0], &[1, 1, 1, 2]).unwrap();
        assert!(check_range(&high).unwrap_err().message().contains("found 0 to 255"));
        let note = |values: &[f32]| {
            let images = Tensor::from_f32(values, &[1, 1, 1, values.len() as i64]).unwrap();
            range_note(&images).unwrap()
        };
        assert!(note(&[0.0, 1.0]).is_some_and(|n| n.contains("in [0, 1], from 0 to 1")));
        assert!(note(&[0.25, 0.75]).is_some());
        assert_eq!(
            [note(&[-0.01, 1.0]), note(&[0.0, 0.0]), note(&[1.0, 1.0]), note(&[0.0, 0.25])],
            [const { None }; 4]
        );
        assert_eq!(range_note(&Tensor::from_u8(&[0, 1], &[1, 1, 1, 2]).unwrap()).unwrap(), None);
        assert!(message(&Tensor::from_i64(&[1], &[1, 1, 1, 1]).unwrap()).contains("found int64"));
    }
}
