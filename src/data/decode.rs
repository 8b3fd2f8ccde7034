//! Decoding of PNG, JPEG and WebP files to pixels of a given shape.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{BufRead, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use image_webp::WebPDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_jpeg::{ImageInfo, JpegDecoder};

use super::background::Background;
use super::exif;
use crate::error::{Error, Result};
use crate::files;
use crate::torch::{DType, Tensor};

/// Maximum width and height; a header with larger ones is damaged.
const LARGEST: usize = 1 << 16;

/// Maximum number of pixels, since their memory is allocated before they are read.
const MOST: usize = 1 << 28;

/// Maximum number of missing pixels at the end of a JPEG, or 1/50 of all if that is more: the last block of 16 by
/// 16 and its border.
const MOST_PIXELS: usize = 320;

/// Maximum number of missing rows at the end of a PNG, or 1/8 of all if that is less.
const MOST_ROWS: usize = 8;

/// Shape that images are fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// 1 or 3.
    pub channels: i64,
    /// Height and width.
    pub side: i64,
    /// Background of transparent images.
    pub background: Background,
}

/// An image as a viewer shows it, in rows of pixels of `channels` bytes.
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
    /// Whether the file has barely visible damage.
    pub damaged: bool,
}

/// Decodes a PNG, JPEG or WebP file as a viewer shows it: turned upright by its EXIF orientation, and laid over
/// `background` if it is transparent; 16 bits become 8.
///
/// Stray bytes and a missing end of at most a few blocks or rows of a PNG or JPEG are tolerated, and reported in the image.
/// Animations are refused.
pub fn decode(bytes: &[u8], path: &Path, background: Background) -> Result<Image> {
    let place = Cell::new(0);
    let decoded = match bytes {
        [0x89, b'P', b'N', b'G', ..] => png(bytes, &place, background),
        [0xff, 0xd8, ..] => jpeg(bytes, &place),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            if is_animated(bytes) {
                return Err(Error::file(path, "expected a still image, found a WebP animation")
                    .hint("convert the frame that is wanted to PNG"));
            }
            webp(bytes, &place, background)
        }
        _ => {
            let (found, hint) = match files::recognize(bytes) {
                Some(kind) => (kind.describe().to_string(), kind.advice()),
                None => (
                    format!("bytes {:02x?}", &bytes[..bytes.len().min(4)]),
                    "the file is not what its name says",
                ),
            };
            return Err(
                Error::file(path, format!("expected a PNG, JPEG or WebP image, found {found}")).hint(hint)
            );
        }
    };
    let image = decoded.map_err(|message| {
        Error::file(
            path,
            format!("the image is damaged at byte {} of {}: {message}", place.get(), bytes.len()),
        )
        .hint("replace the file; of a folder, remove it or pass over such files with `on_error: \"skip\"`")
    })?;
    let Image { width, height, channels, pixels, damaged } = image;
    let (pixels, width, height) = exif::upright(pixels, width, height, channels, exif::orientation(bytes));
    Ok(Image { width, height, channels, pixels, damaged })
}

/// Returns the pixels of a file, [C, side, side] bytes: the central square, resized with antialiasing. The second
/// value tells whether the file has barely visible damage.
pub fn fitted(bytes: &[u8], path: &Path, fit: Fit) -> Result<(Vec<u8>, bool)> {
    let image = decode(bytes, path, fit.background)?;
    let (side, left, top) = middle(&image);
    let wanted = fit.channels as usize;
    let mut square = Vec::with_capacity(side * side * wanted);
    for y in top..top + side {
        let row = &image.pixels[(y * image.width + left) * image.channels..][..side * image.channels];
        recolor(row, [image.channels, wanted], &mut square);
    }
    let shape = [side as i64, side as i64, fit.channels];
    let planes = Tensor::from_u8(&square, &shape)?.permute(&[2, 0, 1])?;
    if side as i64 == fit.side {
        return Ok((planes.to_u8()?, image.damaged));
    }
    let images = planes.unsqueeze(0)?.to_dtype(DType::Float32)?.contiguous()?;
    let resized = images.interpolate([fit.side, fit.side], "bicubic", false, true)?;
    // Rounded to the nearest byte; the cubic filter overshoots at edges.
    let bytes = resized.add_scalar(0.5)?.floor()?.clamp(0.0, 255.0)?.to_dtype(DType::UInt8)?.to_u8()?;
    Ok((bytes, image.damaged))
}

/// Returns all pixels of a file as uint8 [C, H, W], and whether the file has barely visible damage.
pub fn whole(bytes: &[u8], path: &Path, channels: i64, background: Background) -> Result<(Tensor, bool)> {
    let image = decode(bytes, path, background)?;
    let mut pixels = Vec::with_capacity(image.width * image.height * channels as usize);
    recolor(&image.pixels, [image.channels, channels as usize], &mut pixels);
    let shape = [image.height as i64, image.width as i64, channels];
    Ok((Tensor::from_u8(&pixels, &shape)?.permute(&[2, 0, 1])?.contiguous()?, image.damaged))
}

/// Appends pixels of `found` channels as pixels of `wanted` channels.
fn recolor(pixels: &[u8], [found, wanted]: [usize; 2], out: &mut Vec<u8>) {
    match (found, wanted) {
        (1, 3) => pixels.iter().for_each(|gray| out.extend([*gray; 3])),
        (3, 1) => pixels.chunks_exact(3).for_each(|rgb| out.push(gray(rgb))),
        _ => out.extend_from_slice(pixels),
    }
}

/// Returns side, left and top of the largest central square.
fn middle(image: &Image) -> (usize, usize, usize) {
    let side = image.width.min(image.height);
    (side, (image.width - side) / 2, (image.height - side) / 2)
}

/// Returns the luma with the weights 0.299, 0.587, 0.114 (ITU-R BT.601).
fn gray(rgb: &[u8]) -> u8 {
    let weighted = 299 * u32::from(rgb[0]) + 587 * u32::from(rgb[1]) + 114 * u32::from(rgb[2]);
    ((weighted + 500) / 1000) as u8
}

fn png(bytes: &[u8], place: &Cell<u64>, background: Background) -> Result<Image, String> {
    let mut decoder = png::Decoder::new(Tracked { cursor: Cursor::new(bytes), place });
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size(width, height)?;
    // The library takes three bytes for each entry without a look at the length.
    if let Some(length) = reader.info().palette.as_ref().map(|palette| palette.len()).filter(|n| n % 3 != 0) {
        return Err(format!("its palette has {length} bytes, which is not a multiple of 3"));
    }
    let interlaced = reader.info().interlaced;
    let size = reader.output_buffer_size().ok_or("the image is too large")?;
    let (color, mut pixels, mut damaged) = (reader.output_color_type().0, Vec::new(), false);
    match interlaced {
        true => {
            pixels.resize(size, 0);
            let frame = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
            pixels.truncate(frame.buffer_size());
        }
        false => {
            let mut failure = None;
            while pixels.len() < size {
                match reader.next_row() {
                    Ok(Some(row)) => pixels.extend_from_slice(row.data()),
                    Ok(None) => break,
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            let row = size / height;
            let missing = height - pixels.len() / row;
            let end = failure.or_else(|| reader.finish().err());
            // Only in a truncated file are the rows before the error intact.
            let cut = |e: &png::DecodingError| matches!(e, png::DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof);
            if end.as_ref().is_some_and(|e| !cut(e))
                || missing > (height / 8).clamp(1, MOST_ROWS)
                || pixels.len() < row
            {
                return Err(end.map_or("rows are missing".to_string(), |e| e.to_string()));
            }
            damaged = missing > 0 || end.is_some();
            for _ in 0..missing {
                pixels.extend_from_within(pixels.len() - row..);
            }
        }
    }
    let channels = match color {
        png::ColorType::Grayscale => 1,
        png::ColorType::GrayscaleAlpha => {
            let over = |p: &[u8]| background.under([p[0]; 3], p[1]);
            pixels = pixels.chunks_exact(2).flat_map(over).collect();
            3
        }
        png::ColorType::Rgba => {
            pixels = over(&pixels, background);
            3
        }
        _ => 3,
    };
    Ok(Image { width, height, channels, pixels, damaged })
}

/// Returns pixels of red, green, blue and opacity over a background.
fn over(pixels: &[u8], background: Background) -> Vec<u8> {
    pixels.chunks_exact(4).flat_map(|p| background.under([p[0], p[1], p[2]], p[3])).collect()
}

/// Returns whether the header of a WebP file declares an animation.
fn is_animated(bytes: &[u8]) -> bool {
    const ANIMATED: u8 = 2;
    bytes.get(12..16) == Some(b"VP8X") && bytes.get(20).is_some_and(|flags| flags & ANIMATED != 0)
}

fn webp(bytes: &[u8], place: &Cell<u64>, background: Background) -> Result<Image, String> {
    let mut decoder =
        WebPDecoder::new(Tracked { cursor: Cursor::new(bytes), place }).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut pixels = vec![0; width * height * channels];
    decoder.read_image(&mut pixels).map_err(|e| e.to_string())?;
    if channels == 4 {
        pixels = over(&pixels, background);
    }
    Ok(Image { width, height, channels: 3, pixels, damaged: false })
}

fn jpeg(bytes: &[u8], place: &Cell<u64>) -> Result<Image, String> {
    let (tidy, scan, stray) = without_stray_bytes(bytes);
    let Some(scan) = scan else { return jpeg_as(&tidy, true, place) };
    let end = tidy[scan..].windows(2).rposition(|pair| pair == END);
    // The library notices that data are missing only where no end marker follows.
    let data = &tidy[..end.map_or(tidy.len(), |end| scan + end)];
    let (_, info) = opened(data, true, place)?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    // Every block of 8 by 8 pixels takes at least one bit.
    if width * height / 512 > 2 * data.len() {
        return Err(format!("its header declares {width} x {height} pixels, more than its bytes can hold"));
    }
    // After one of several scans it looks for the next marker, and fails without an end marker.
    let several = info.sof.is_progressive() || tidy[scan + 2..].windows(2).any(|pair| pair == SCAN);
    let whole = match end {
        Some(end) if several => &tidy[..scan + end + END.len()],
        _ => data,
    };
    match (jpeg_as(whole, true, place), end) {
        (Ok(image), Some(_)) => Ok(Image { damaged: stray, ..image }),
        (decoded, _) => match cut(data, width * height, place) {
            Ok(Some(image)) => Ok(image),
            _ => Err(decoded.err().unwrap_or_else(|| "it is cut short".to_string())),
        },
    }
}

/// End marker of a JPEG file.
const END: [u8; 2] = [0xff, 0xd9];

/// Marker before the header of a scan.
const SCAN: [u8; 2] = [0xff, 0xda];

/// Decodes a JPEG with truncated data, or returns `None` if too many pixels are missing.
///
/// The missing bytes are replaced by different values; pixels that depend on them were not in the file. `count` is the
/// number of pixels.
fn cut(bytes: &[u8], count: usize, place: &Cell<u64>) -> Result<Option<Image>, String> {
    // Programs that reserve the space of a file before they write it leave zeros at its end.
    let mut kept = bytes;
    while let [before @ .., 0 | 0xff] = kept {
        kept = before;
    }
    // More than the pixels that may be missing take, at 26 bits for each of 64 coefficients of up to 4 channels.
    let most = missing_pixels(count) / 64 * (4 * 64 * 26 / 8) + (1 << 14);
    let continued = |byte: u8, strict: bool| {
        let filled = [kept, &vec![byte; most], &END[..]].concat();
        jpeg_as(&filled, strict, &Cell::new(0))
    };
    // Zeros are valid codes, so an error here is in the bytes before the end.
    continued(0, true)?;
    let ends = [continued(0, false)?, continued(0x55, false)?, continued(0xaa, false)?];
    let channels = ends[0].channels;
    let missing = (0..count * channels)
        .step_by(channels)
        .filter(|at| {
            let pixel = |image: &Image| image.pixels[*at..at + channels].to_vec();
            let first = pixel(&ends[0]);
            let differs = |other: Vec<u8>| first.iter().zip(&other).any(|(a, b)| a.abs_diff(*b) > 8);
            differs(pixel(&ends[1])) || differs(pixel(&ends[2]))
        })
        .count();
    if missing > missing_pixels(count) {
        return Ok(None);
    }
    let image = jpeg_as(&[kept, &END[..]].concat(), false, place)?;
    Ok(Some(Image { damaged: true, ..image }))
}

/// Returns how many of `count` pixels may be missing at the end of a JPEG.
fn missing_pixels(count: usize) -> usize {
    MOST_PIXELS.max(count / 50)
}

/// Returns a JPEG file without the bytes between its segments, the offset of its first scan, and whether these bytes are
/// damage: any number of 0xff may come before a marker (ITU T.81, B.1.1.2).
fn without_stray_bytes(bytes: &[u8]) -> (Cow<'_, [u8]>, Option<usize>, bool) {
    let mut kept = bytes[..2].to_vec();
    let (mut at, mut stray) = (2, false);
    while let Some(found) =
        bytes[at..].windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))
    {
        let start = at + found;
        stray |= bytes[at..start].iter().any(|byte| *byte != 0xff);
        let marker = bytes[start + 1];
        let length =
            bytes.get(start + 2..).and_then(|rest| rest.first_chunk()).map(|l| u16::from_be_bytes(*l));
        // The scan data follows its header without a length.
        let end = match (marker, length) {
            (0xda, _) => bytes.len(),
            (0x01 | 0xd0..=0xd9, _) => start + 2,
            (_, Some(length)) if length >= 2 => start + 2 + usize::from(length),
            _ => return (Cow::Borrowed(bytes), None, stray),
        };
        let (scan, end) = (kept.len(), end.min(bytes.len()));
        kept.extend_from_slice(&bytes[start..end]);
        at = end;
        if marker == 0xda {
            return match kept.len() == bytes.len() {
                true => (Cow::Borrowed(bytes), Some(scan), stray),
                false => (Cow::Owned(kept), Some(scan), stray),
            };
        }
    }
    (Cow::Borrowed(bytes), None, stray)
}

/// Reads the headers of a JPEG file.
fn opened<'a>(
    bytes: &'a [u8],
    strict: bool,
    place: &'a Cell<u64>,
) -> Result<(JpegDecoder<Tracked<'a>>, ImageInfo), String> {
    let options =
        DecoderOptions::default().set_strict_mode(strict).set_max_width(LARGEST).set_max_height(LARGEST);
    let mut decoder = JpegDecoder::new_with_options(Tracked { cursor: Cursor::new(bytes), place }, options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let info = decoder.info().ok_or("the header is missing")?;
    check_size(usize::from(info.width), usize::from(info.height))?;
    Ok((decoder, info))
}

fn jpeg_as(bytes: &[u8], strict: bool, place: &Cell<u64>) -> Result<Image, String> {
    let (mut decoder, info) = opened(bytes, strict, place)?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    let gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let (colors, channels) = if gray { (ColorSpace::Luma, 1) } else { (ColorSpace::RGB, 3) };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(colors));
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    if pixels.len() != width * height * channels {
        return Err(format!(
            "expected {} bytes of pixels, found {}",
            width * height * channels,
            pixels.len()
        ));
    }
    Ok(Image { width, height, channels, pixels, damaged: false })
}

fn check_size(width: usize, height: usize) -> Result<(), String> {
    let sides = (1..=LARGEST).contains(&width) && (1..=LARGEST).contains(&height);
    match sides && width * height <= MOST {
        true => Ok(()),
        false => Err(format!("the header declares an unsupported size of {width} x {height} pixels")),
    }
}

/// A reader that remembers how far a file was read.
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
pub(crate) mod tests {
    use super::*;

    /// Returns a PNG of RGB pixels given by a function of column and row.
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

    fn read(bytes: &[u8], name: &str) -> Result<Image> {
        decode(bytes, Path::new(name), Background::default())
    }

    fn fit(bytes: &[u8], channels: i64, side: i64) -> Vec<u8> {
        fitted(bytes, Path::new("x.png"), Fit { channels, side, background: Background::default() })
            .unwrap()
            .0
    }

    #[test]
    fn the_middle_square_is_taken_and_colors_become_planes() {
        // Columns count from 0 to 5; the central square of 6 x 2 pixels is columns 2 and 3.
        let bytes = png_of(6, 2, |x, y| [x as u8, y as u8, 7]);
        assert_eq!(fit(&bytes, 3, 2), [2, 3, 2, 3, 0, 0, 1, 1, 7, 7, 7, 7]);
        assert_eq!(fit(&png_of(1, 1, |_, _| [255, 0, 0]), 1, 1), [76]);
    }

    #[test]
    fn shrinking_averages_instead_of_picking() {
        // Stripes of one pixel: without antialiasing the result would be black or white.
        let bytes = png_of(64, 64, |x, _| [if x % 2 == 0 { 0 } else { 255 }; 3]);
        let shrunk = fit(&bytes, 1, 16);
        assert!(shrunk.iter().all(|p| (110..=146).contains(p)), "{shrunk:?}");
    }

    #[test]
    fn damaged_files_name_path_and_byte() {
        let bytes = png_of(40, 40, |x, y| [(x * y) as u8, x as u8, y as u8]);
        let message = |bytes: &[u8]| read(bytes, "a/b.png").unwrap_err().message();
        let cut = message(&bytes[..bytes.len() / 2]);
        assert!(cut.starts_with("a/b.png: the image is damaged at byte "), "{cut}");
        assert!(cut.contains(&format!("of {}", bytes.len() / 2)), "{cut}");
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0xff;
        assert!(message(&flipped).contains("damaged at byte"), "{}", message(&flipped));
        assert!(message(b"GIF89a").contains("expected a PNG, JPEG or WebP image"));
        assert!(message(b"").contains("expected a PNG, JPEG or WebP image"));
    }

    #[test]
    fn a_jpeg_is_read_and_a_cut_one_is_not() {
        let bytes = include_bytes!("../../tests/fixtures/gradient.jpg");
        let image = read(bytes, "gradient.jpg").unwrap();
        assert!(!image.damaged);
        assert_eq!((image.width, image.height, image.channels), (24, 16, 3));
        // Red increases to the right, green to the bottom.
        let at = |x: usize, y: usize| &image.pixels[(y * 24 + x) * 3..][..3];
        assert!(at(22, 8)[0] > at(1, 8)[0] + 150 && at(12, 14)[1] > at(12, 1)[1] + 150);
        let cut = read(&bytes[..bytes.len() / 2], "cut.jpg").unwrap_err();
        assert!(cut.message().starts_with("cut.jpg: the image is damaged at byte "), "{cut}");
    }

    const JPEG: &[u8] = include_bytes!("../../tests/fixtures/gradient.jpg");

    #[test]
    fn damage_that_hardly_shows_is_read_and_reported() {
        let whole = read(JPEG, "x").unwrap();
        // Stray bytes before the second segment and before the scan, which viewers skip.
        let second = 4 + usize::from(u16::from_be_bytes([JPEG[4], JPEG[5]]));
        let scan = JPEG.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
        for at in [2, second, scan] {
            let stray = [&JPEG[..at], &[0, 7, 0, 1, 2, 3], &JPEG[at..]].concat();
            assert_eq!(read(&stray, "x").unwrap(), Image { damaged: true, ..whole.clone() });
            let fill = [&JPEG[..at], &[0xff, 0xff, 0xff], &JPEG[at..]].concat();
            assert_eq!(read(&fill, "x").unwrap(), whole);
        }
        // Bytes after the end are not damage: cameras store data there.
        assert_eq!(read(&[JPEG, b"more"].concat(), "x").unwrap(), whole);
        for missing in [1, 2, 4, 8, 16] {
            let cut = read(&JPEG[..JPEG.len() - missing], "x").unwrap();
            assert!(cut.damaged, "{missing}");
            // The first block is unchanged; only the last one is affected.
            assert_eq!(cut.pixels[..12], whole.pixels[..12]);
        }
        let png = png_of(16, 64, |x, y| [(x * 16) as u8, (x * y) as u8, y as u8]);
        for missing in [4, 12, 16, 20, 24] {
            let cut = read(&png[..png.len() - missing], "x.png").unwrap();
            assert!(cut.damaged && cut.pixels.len() == 3 * 16 * 64, "{missing}");
            assert_eq!(cut.pixels[..3 * 16 * 56], read(&png, "x.png").unwrap().pixels[..3 * 16 * 56]);
        }
    }

    /// Compares every type of PNG, JPEG and WebP with the result of Pillow 13.0: turned upright, over white if
    /// transparent, as RGB; 16-bit gray by its upper bytes.
    #[test]
    fn pixels_are_those_of_pillow() {
        let folder = Path::new("tests/fixtures/images");
        let text = std::fs::read_to_string(folder.join("pixels.json")).unwrap();
        let known: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
        assert!(known.len() > 15);
        for (name, expected) in &known {
            let image = read(&std::fs::read(folder.join(name)).unwrap(), name).unwrap();
            let size = ["width", "height"].map(|key| expected[key].as_u64().unwrap() as usize);
            assert_eq!([image.width, image.height], size, "{name}");
            assert!(!image.damaged, "{name}");
            let digits = expected["rgb"].as_str().unwrap();
            let wanted =
                (0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap());
            let found = image.pixels.iter().flat_map(|byte| vec![*byte; 3 / image.channels]);
            assert_eq!(image.pixels.len() * 3 / image.channels, digits.len() / 2, "{name}");
            for (i, (found, wanted)) in found.zip(wanted).enumerate() {
                assert!(found.abs_diff(wanted) <= 2, "{name}: byte {i} is {found}, Pillow has {wanted}");
            }
        }
    }

    #[test]
    fn a_webp_is_whole_and_still() {
        let folder = Path::new("tests/fixtures/images");
        for name in ["lossy.webp", "lossless.webp", "alpha.webp"] {
            let bytes = std::fs::read(folder.join(name)).unwrap();
            let error = read(&bytes[..bytes.len() * 2 / 3], "x").map(drop).unwrap_err();
            assert!(error.message().starts_with("x: the image is damaged at byte"), "{name}: {error}");
        }
        let error = read(&std::fs::read(folder.join("animated.webp")).unwrap(), "x").map(drop).unwrap_err();
        assert_eq!(error.message(), "x: expected a still image, found a WebP animation");
    }

    #[test]
    fn damage_that_shows_is_an_error() {
        for missing in [64, 100, 300] {
            let error = read(&JPEG[..JPEG.len() - missing], "x").map(drop).unwrap_err();
            assert!(error.message().starts_with("x: the image is damaged"), "{missing}");
        }
        // The space of the file was reserved, and its second half never written.
        let mut half = include_bytes!("../../tests/fixtures/noise.jpg").to_vec();
        assert!(!read(&half, "x").unwrap().damaged);
        let written = half.len() / 2;
        half[written..].fill(0);
        assert!(read(&half, "x").is_err());
        let png = png_of(16, 64, |x, y| [(x * 16) as u8, (x * y) as u8, y as u8]);
        assert!(read(&png[..png.len() / 2], "x").is_err());
    }

    #[test]
    fn a_header_that_asks_for_all_memory_is_refused() {
        // Height and width follow the marker, its length and the sample precision.
        let at = JPEG.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
        let mut huge = JPEG.to_vec();
        huge[at..at + 4].fill(0xff);
        let error = read(&huge, "x").map(drop).unwrap_err();
        assert!(error.message().contains("an unsupported size of 65535 x 65535 pixels"), "{error}");
    }

    #[test]
    fn a_jpeg_with_too_few_bytes_for_its_size_is_refused() {
        let with_size = |height: u16, width: u16, scan: &[u8]| {
            let mut bytes = JPEG.to_vec();
            let at = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap() + 5;
            bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
            bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
            [&bytes[..bytes.len() - 2], scan, &END].concat()
        };
        let error = read(&with_size(60_000, 3_000, &[]), "x").map(drop).unwrap_err();
        let expected = "its header declares 3000 x 60000 pixels, more than its bytes can hold";
        assert!(error.message().contains(expected), "{error}");
        // Enough bytes for the size, but valid blocks for a small part of it only.
        for side in [800, 2000] {
            let zeros = vec![0; usize::from(side) * usize::from(side) / 1000];
            let error = read(&with_size(side, side, &zeros), "x").map(drop).unwrap_err();
            assert!(error.message().contains("the image is damaged at byte"), "{side}: {error}");
        }
    }

    #[test]
    fn a_palette_of_incomplete_colors_is_refused() {
        // Its palette has 49 bytes.
        let bytes = include_bytes!("../../fuzz/seeds/images/palette_cut.png");
        let error = read(bytes, "x.png").map(drop).unwrap_err();
        assert!(
            error.message().contains("its palette has 49 bytes, which is not a multiple of 3"),
            "{error}"
        );
    }

    #[test]
    fn transparency_shows_the_background() {
        let file = |color, pixels: &[u8], palette: Option<(&[u8], &[u8])>| {
            let mut bytes = Vec::new();
            let mut encoder = png::Encoder::new(&mut bytes, 2, 1);
            encoder.set_color(color);
            if let Some((colors, opacities)) = palette {
                encoder.set_palette(colors.to_vec());
                encoder.set_trns(opacities.to_vec());
            }
            let mut writer = encoder.write_header().unwrap();
            writer.write_image_data(pixels).unwrap();
            writer.finish().unwrap();
            bytes
        };
        let over = |bytes: &[u8], color| decode(bytes, Path::new("x"), Background(color)).unwrap().pixels;
        let rgba = file(png::ColorType::Rgba, &[255, 0, 0, 0, 200, 100, 0, 128], None);
        assert_eq!(over(&rgba, [255; 3]), [255, 255, 255, 227, 177, 127]);
        assert_eq!(over(&rgba, [0, 0, 255]), [0, 0, 255, 100, 50, 127]);
        let gray = file(png::ColorType::GrayscaleAlpha, &[9, 0, 200, 128], None);
        assert_eq!(over(&gray, [255; 3]), [255, 255, 255, 227, 227, 227]);
        assert_eq!(over(&gray, [0, 0, 255]), [0, 0, 255, 100, 100, 227]);
        let palette: (&[u8], &[u8]) = (&[255, 0, 0, 0, 255, 0], &[0]);
        let indexed = file(png::ColorType::Indexed, &[0, 1], Some(palette));
        assert_eq!(over(&indexed, [255; 3]), [255, 255, 255, 0, 255, 0]);
    }

    #[test]
    fn every_orientation_of_both_formats_is_turned_upright() {
        use super::super::exif::tests::{in_jpeg_file, tiff};
        let png = png_of(24, 16, |x, y| [(x * 10) as u8, (y * 15) as u8, 0]);
        for n in 1..=8u16 {
            let exif = tiff(n, n % 2 == 0, false);
            // After the header of 13 bytes and its chunk frame.
            let chunk = [&(exif.len() as u32).to_be_bytes()[..], b"eXIf", &exif].concat();
            let mut sum = flate2::Crc::new();
            sum.update(&chunk[4..]);
            let turned = [&png[..33], &chunk, &sum.sum().to_be_bytes(), &png[33..]].concat();
            for file in [turned, in_jpeg_file(JPEG, &exif)] {
                let image = read(&file, "x").unwrap();
                let flat = read(if file.starts_with(b"\x89") { &png } else { JPEG }, "x").unwrap();
                let (pixels, width, height) = exif::upright(flat.pixels, 24, 16, 3, n as u8);
                assert_eq!((image.width, image.height), (width, height), "{n}");
                assert!(image.pixels == pixels && !image.damaged, "{n}");
            }
        }
    }
}
