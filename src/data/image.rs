//! One image file as a tensor.

use std::path::Path;

use super::background::Background;
use super::decode::{self, Fit};
use super::pixels;
use crate::declare::Options;
use crate::error::{Error, Result};
use crate::files;
use crate::torch::Tensor;

/// Options of `image`.
#[derive(Debug, Clone, Options)]
pub struct ImageOptions {
    /// Height and width in pixels: the central square is resized to it, as in `data::image_folder`. By default the
    /// image keeps its own height and width.
    #[option(range = 1..=4096)]
    pub size: Option<i64>,
    /// Number of channels: 3 for color, 1 for gray.
    #[option(default = 3, range = 1..=3)]
    pub channels: i64,
    /// Background of transparent images, as in `data::image_folder`.
    pub background: Background,
}

/// Reads a PNG, JPEG or WebP file as float32 [C, H, W] in [-1, 1].
///
/// A file with barely visible damage is read, and `note` is told.
pub(crate) fn image(path: &Path, options: &ImageOptions, note: impl FnOnce(&str)) -> Result<Tensor> {
    options.check()?;
    if options.channels == 2 {
        return Err(Error::not_allowed("channels", "1 or 3", 2));
    }
    let bytes = files::read(path)?;
    let (pixels, damaged) = match options.size {
        Some(side) => {
            let fit = Fit { channels: options.channels, side, background: options.background };
            let (planes, damaged) = decode::fitted(&bytes, path, fit)?;
            (Tensor::from_u8(&planes, &[options.channels, side, side])?, damaged)
        }
        None => decode::whole(&bytes, path, options.channels, options.background)?,
    };
    if damaged {
        note(&format!("{}: the image is slightly damaged and was read as far as possible", path.display()));
    }
    pixels::to_float(&pixels)
}

#[cfg(test)]
mod tests {
    use super::super::decode::tests::png_of;
    use super::*;
    use crate::torch::DType;

    #[test]
    fn an_image_has_its_own_size_or_that_of_a_folder() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.png");
        // Red counts the columns, green the rows.
        std::fs::write(&path, png_of(6, 4, |x, y| [x as u8, 10 * y as u8, 255])).unwrap();
        let of = |options: &ImageOptions| image(&path, options, |_| {}).unwrap();
        let bytes =
            |x: &Tensor| x.add_scalar(1.0)?.mul_scalar(127.5)?.round()?.to_dtype(DType::Int64)?.to_i64();
        let whole = of(&ImageOptions::default());
        assert_eq!(whole.shape(), [3, 4, 6]);
        assert_eq!(bytes(&whole.select(0, 0).unwrap().select(0, 3).unwrap()).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(bytes(&whole.select(0, 1).unwrap().select(1, 5).unwrap()).unwrap(), [0, 10, 20, 30]);
        // The central square starts at column 1, and has its own size.
        let square = of(&ImageOptions { size: Some(4), ..ImageOptions::default() });
        assert_eq!(bytes(&square.select(0, 0).unwrap().select(0, 0).unwrap()).unwrap(), [1, 2, 3, 4]);
        let gray = of(&ImageOptions { channels: 1, ..ImageOptions::default() });
        assert_eq!(gray.shape(), [1, 4, 6]);
        // 0.299 * 5 + 0.587 * 30 + 0.114 * 255 = 48.2
        assert_eq!(bytes(&gray.reshape(&[-1]).unwrap()).unwrap()[23], 48);
    }

    #[test]
    fn a_wrong_file_is_named() {
        let place = tempfile::tempdir().unwrap();
        let message = |name: &str| {
            image(&place.path().join(name), &ImageOptions::default(), |_| {}).unwrap_err().message()
        };
        assert!(message("no.png").contains("no.png: there is no such file"), "{}", message("no.png"));
        std::fs::write(place.path().join("a.png"), "text").unwrap();
        assert!(message("a.png").contains("expected a PNG, JPEG or WebP image"), "{}", message("a.png"));
    }
}
