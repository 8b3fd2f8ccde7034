//! Times of images, and of each of their pixels.

use super::Config;
use super::parts::Place;
use crate::error::{Error, Result};
use crate::torch::Tensor;

/// Returns an error unless times are one per image, `[B]`, or times of pixels, which broadcast to images of the shape: [B, 1, H, W].
pub(crate) fn check_times(t: &Tensor, shape: &[i64]) -> Result<()> {
    let (found, count) = (t.shape(), shape.first().copied().unwrap_or(0));
    let broadcasts = || found.iter().zip(shape).skip(1).all(|(own, whole)| own == whole || *own == 1);
    let same_rank = found.len() > 1 && found.len() == shape.len();
    if found.first() == Some(&count) && (found.len() == 1 || (same_rank && broadcasts())) {
        return Ok(());
    }
    let error = Error::argument(format!("expected times [{count}], one per image, found {}", t.signature()));
    Err(match shape.len() {
        4 => error.hint(format!(
            "times of pixels broadcast to the images: [{count}, 1, {}, {}]",
            shape[2], shape[3]
        )),
        _ => error,
    })
}

/// Returns an error if a part of a DiT needs one time for all pixels of an image.
pub(super) fn check_pixels(config: &Config) -> Result<()> {
    // With as many images as tokens, an embedding of each image would be added to the tokens without an error. Coefficients at
    // `modulation` have three dimensions in both cases, so that a wrong shape is always found.
    match config.parts.iter().find(|part| matches!(part.place(), Ok(Place::Condition))) {
        None => Ok(()),
        Some(part) => Err(Error::argument(format!(
            "expected times [B], one per image, found times of pixels, and the {} changes the embedding of an image",
            part.title()
        ))
        .hint("a part at `tokens` may add what it computes to each token instead: `x + e.unsqueeze(1)`")),
    }
}

/// Returns the times of tokens [B, N] from times of pixels, which broadcast to images [B, C, H, W]: means over the pixels of a
/// patch.
pub(super) fn of_tokens(t: &Tensor, shape: &[i64], patch: i64) -> Result<Tensor> {
    let [batch, _, height, width] = *shape else {
        return Err(Error::internal("images have four dimensions"));
    };
    let t = t.expand(&[batch, t.size(1)?, height, width])?.mean(&[1], false)?;
    let patches = t.reshape(&[batch, height / patch, patch, width / patch, patch])?;
    patches.mean(&[2, 4], false)?.reshape(&[batch, -1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_the_mean_time_of_their_pixels() {
        let t = Tensor::from_f32(&[0.0, 0.2, 0.4, 1.0], &[1, 1, 1, 4]).unwrap();
        let found = of_tokens(&t, &[1, 3, 4, 4], 2).unwrap().to_f32().unwrap();
        assert_eq!(found.len(), 4);
        for (found, expected) in found.iter().zip([0.1, 0.7, 0.1, 0.7]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn times_are_those_of_images_or_broadcast_to_pixels() {
        let of = |shape: &[i64]| {
            let t = Tensor::from_f32(&vec![0.5; shape.iter().product::<i64>() as usize], shape).unwrap();
            check_times(&t, &[2, 3, 4, 4])
        };
        [&[2][..], &[2, 1, 4, 4], &[2, 1, 1, 4], &[2, 3, 4, 4]].iter().for_each(|shape| of(shape).unwrap());
        for shape in [&[3][..], &[2, 4], &[1, 1, 4, 4], &[2, 1, 4, 2], &[2, 2, 4, 4]] {
            let error = of(shape).unwrap_err();
            assert!(
                error.message().starts_with("expected times [2], one per image, found tensor"),
                "{error}"
            );
        }
    }
}
