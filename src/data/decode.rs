//! PNG and JPEG files as pixels of a wanted shape.

use std::cell::Cell;
use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::{Error, Result};
use crate::torch::{DType, Tensor};

/// No image is larger in either direction; a header that says so is damaged.
const LARGEST: usize = 1 << 16;

/// The shape that images are brought into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// 1 or 3.
    pub channels: i64,
    /// Height and width.
    pub side: i64,
}

/// An image as it is in its file: rows of pixels of `channels` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
    /// 1 or 3.
    pub channels: usize,
    /// `height x width x channels`.
    pub pixels: Vec<u8>,
}

/// Decodes a PNG or JPEG file; an alpha channel is left out, and 16 bits become 8.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Image> {
    let place = Cell::new(0);
    let reader = Tracked { cursor: Cursor::new(bytes), place: &place };
    let decoded = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(reader),
        [0xff, 0xd8, ..] => jpeg(reader),
        _ => {
            return Err(Error::file(
                path,
                format!("expected a PNG or JPEG image, found bytes {:02x?}", &bytes[..bytes.len().min(4)]),
            )
            .hint("the file is not what its name says"));
        }
    };
    decoded.map_err(|message| {
        Error::file(
            path,
            format!("the image is damaged at byte {} of {}: {message}", place.get(), bytes.len()),
        )
        .hint("replace the file, or remove it from the folder")
    })
}

/// The pixels of a file, [C, side, side] bytes: the middle square, resized with antialiasing.
pub fn fitted(bytes: &[u8], path: &Path, fit: Fit) -> Result<Vec<u8>> {
    let image = decode(bytes, path)?;
    let (side, left, top) = middle(&image);
    let wanted = fit.channels as usize;
    let mut square = Vec::with_capacity(side * side * wanted);
    for y in top..top + side {
        let row = &image.pixels[(y * image.width + left) * image.channels..][..side * image.channels];
        match (image.channels, wanted) {
            (1, 3) => row.iter().for_each(|grey| square.extend([*grey; 3])),
            (3, 1) => row.chunks_exact(3).for_each(|rgb| square.push(grey(rgb))),
            _ => square.extend_from_slice(row),
        }
    }
    let shape = [side as i64, side as i64, fit.channels];
    let planes = Tensor::from_u8(&square, &shape)?.permute(&[2, 0, 1])?;
    if side as i64 == fit.side {
        return planes.to_u8();
    }
    let images = planes.unsqueeze(0)?.to_dtype(DType::Float32)?.contiguous()?;
    let resized = images.interpolate([fit.side, fit.side], "bicubic", false, true)?;
    // To the nearest byte; the cubic filter overshoots at edges.
    resized.add_scalar(0.5)?.floor()?.clamp(0.0, 255.0)?.to_dtype(DType::UInt8)?.to_u8()
}

/// Side, left and top of the largest square in the middle.
fn middle(image: &Image) -> (usize, usize, usize) {
    let side = image.width.min(image.height);
    (side, (image.width - side) / 2, (image.height - side) / 2)
}

/// Brightness with the weights 0.299, 0.587, 0.114 (ITU-R BT.601).
fn grey(rgb: &[u8]) -> u8 {
    let weighted = 299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2]);
    ((weighted + 500) / 1000) as u8
}

fn png(reader: Tracked) -> Result<Image, String> {
    let mut decoder = png::Decoder::new(reader);
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width, height)?;
    let size = reader.output_buffer_size().ok_or("the image is too large")?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
    pixels.truncate(frame.buffer_size());
    let (channels, kept) = match frame.color_type {
        png::ColorType::Grayscale => (1, 1),
        png::ColorType::GrayscaleAlpha => (2, 1),
        png::ColorType::Rgba => (4, 3),
        _ => (3, 3),
    };
    if channels != kept {
        pixels = pixels.chunks_exact(channels).flat_map(|pixel| pixel[..kept].to_vec()).collect();
    }
    Ok(Image { width, height, channels: kept, pixels })
}

fn jpeg(reader: Tracked) -> Result<Image, String> {
    let options =
        DecoderOptions::default().set_strict_mode(true).set_max_width(LARGEST).set_max_height(LARGEST);
    let mut decoder = JpegDecoder::new_with_options(reader, options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colours, channels) = if grey { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(options.jpeg_set_out_colorspace(colours));
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    let info = decoder.info().ok_or("the header is missing")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    check_size(width, height)?;
    if pixels.len() != width * height * channels {
        return Err(format!(
            "expected {} bytes of pixels, found {}",
            width * height * channels,
            pixels.len()
        ));
    }
    Ok(Image { width, height, channels, pixels })
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    match (1..=LARGEST).contains(&width) && (1..=LARGEST).contains(&height) {
        true => Ok(()),
        false => Err(format!("the header asks for {width} x {height} pixels")),
    }
}

/// Remembers how far a file was read.
struct Tracked<'a> {
    cursor: Cursor<&'a [u8]>,
    place: &'a Cell<u64>,
}

impl Tracked<'_> {
    fn note(&self) {
        self.place.set(self.place.get().max(self.cursor.position()));
    }
}

impl Read for Tracked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.cursor.read(buffer);
        self.note();
        read
    }
}

impl BufRead for Tracked<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.cursor.fill_buf()
    }
    fn consume(&mut self, amount: usize) {
        self.cursor.consume(amount);
        self.note();
    }
}

impl Seek for Tracked<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.cursor.seek(to)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A PNG of RGB pixels that a function gives by column and row.
    pub fn png_of(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [(x, y)]))
            .flat_map(|(x, y)| pixel(x, y))
            .collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn fit(bytes: &[u8], channels: i64, side: i64) -> Vec<u8> {
        fitted(bytes, Path::new("x.png"), Fit { channels, side }).unwrap()
    }

    #[test]
    fn the_middle_square_is_taken_and_colours_become_planes() {
        // Columns count from 0 to 5; of 6 x 2 pixels the middle is columns 2 and 3.
        let bytes = png_of(6, 2, |x, y| [x as u8, y as u8, 7]);
        assert_eq!(fit(&bytes, 3, 2), [2, 3, 2, 3, 0, 0, 1, 1, 7, 7, 7, 7]);
        assert_eq!(fit(&png_of(1, 1, |_, _| [255, 0, 0]), 1, 1), [76]);
    }

    #[test]
    fn shrinking_averages_instead_of_picking() {
        // Stripes of one pixel: without a filter the result would be black or white.
        let bytes = png_of(64, 64, |x, _| [if x % 2 == 0 { 0 } else { 255 }; 3]);
        let shrunk = fit(&bytes, 1, 16);
        assert!(shrunk.iter().all(|p| (110..=146).contains(p)), "{shrunk:?}");
    }

    #[test]
    fn damaged_files_name_path_and_byte() {
        let bytes = png_of(40, 40, |x, y| [(x * y) as u8, x as u8, y as u8]);
        let message = |bytes: &[u8]| decode(bytes, Path::new("a/b.png")).unwrap_err().message().to_string();
        let cut = message(&bytes[..bytes.len() / 2]);
        assert!(cut.starts_with("a/b.png: the image is damaged at byte "), "{cut}");
        assert!(cut.contains(&format!("of {}", bytes.len() / 2)), "{cut}");
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        assert!(message(&flipped).contains("damaged at byte"), "{}", message(&flipped));
        assert!(message(b"GIF89a").contains("expected a PNG or JPEG image"));
        assert!(message(b"").contains("expected a PNG or JPEG image"));
    }

    #[test]
    fn a_jpeg_is_read_and_a_cut_one_is_not() {
        let bytes = include_bytes!("../../tests/fixtures/gradient.jpg");
        let image = decode(bytes, Path::new("gradient.jpg")).unwrap();
        assert_eq!((image.width, image.height, image.channels), (24, 16, 3));
        // Red grows to the right, green to the bottom.
        let at = |x: usize, y: usize| &image.pixels[(y * 24 + x) * 3..][..3];
        assert!(at(22, 8)[0] > at(1, 8)[0] + 150 && at(12, 14)[1] > at(12, 1)[1] + 150);
        let cut = decode(&bytes[..bytes.len() / 2], Path::new("cut.jpg")).unwrap_err();
        assert!(cut.message().starts_with("cut.jpg: the image is damaged at byte "), "{cut}");
    }
}
