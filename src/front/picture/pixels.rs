//! Pixels of a PNG, scaled to the terminal.

use std::io::Cursor;

/// An image in 8-bit RGB, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    pub width: usize,
    pub height: usize,
    pub rgb: Vec<[u8; 3]>,
}

/// Returns the width and height of a PNG without decoding it.
pub fn size(png: &[u8]) -> Option<(usize, usize)> {
    let reader = png::Decoder::new(Cursor::new(png)).read_info().ok()?;
    Some((reader.info().width as usize, reader.info().height as usize))
}

/// Decodes a PNG; transparent pixels are blended with white.
pub fn decode(png: &[u8]) -> Option<Pixels> {
    let mut decoder = png::Decoder::new(Cursor::new(png));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let mut bytes = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut bytes).ok()?;
    let bytes = &bytes[..info.buffer_size()];
    let over_white = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb = match info.color_type {
        png::ColorType::Grayscale => bytes.iter().map(|v| [*v; 3]).collect(),
        png::ColorType::GrayscaleAlpha => {
            bytes.chunks_exact(2).map(|p| [over_white(p[0], p[1]); 3]).collect()
        }
        png::ColorType::Rgb => bytes.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect(),
        png::ColorType::Rgba => {
            bytes.chunks_exact(4).map(|p| [0, 1, 2].map(|i| over_white(p[i], p[3]))).collect()
        }
        png::ColorType::Indexed => return None,
    };
    Some(Pixels { width: info.width as usize, height: info.height as usize, rgb })
}

impl Pixels {
    /// Returns the pixel in a column and a row.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        self.rgb[y * self.width + x]
    }

    /// Returns the image in another size; each pixel is the mean of the area that it covers.
    pub fn scaled(&self, width: usize, height: usize) -> Pixels {
        let (width, height) = (width.max(1), height.max(1));
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let (columns, rows) = (covered(self.width, width), covered(self.height, height));
        let mut rgb = Vec::with_capacity(width * height);
        for row in &rows {
            for column in &columns {
                let (mut sum, mut area) = ([0.0; 3], 0.0);
                for (y, part_y) in row {
                    for (x, part_x) in column {
                        let part = part_x * part_y;
                        let pixel = self.at(*x, *y);
                        for (sum, value) in sum.iter_mut().zip(pixel) {
                            *sum += part * f64::from(value);
                        }
                        area += part;
                    }
                }
                rgb.push(sum.map(|sum| (sum / area).round() as u8));
            }
        }
        Pixels { width, height, rgb }
    }
}

/// Returns, for each of `to` equal pieces of a line of `from` pixels, the pixels it covers and how much of each.
fn covered(from: usize, to: usize) -> Vec<Vec<(usize, f64)>> {
    let piece = from as f64 / to as f64;
    let pixels = |i: usize| {
        let (start, end) = (i as f64 * piece, (i + 1) as f64 * piece);
        let last = (end.ceil() as usize).clamp(1, from);
        let part = |x: usize| (x, (end.min(x as f64 + 1.0) - start.max(x as f64)).max(0.0));
        let covered: Vec<_> =
            ((start as usize).min(last - 1)..last).map(part).filter(|(_, p)| *p > 1e-9).collect();
        if covered.is_empty() { vec![(last - 1, 1.0)] } else { covered }
    };
    (0..to).map(pixels).collect()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Encodes RGB pixels as a PNG with rows of the given width.
    pub fn png(rgb: &[[u8; 3]], width: usize) -> Vec<u8> {
        encoded(png::ColorType::Rgb, &rgb.concat(), width, rgb.len() / width)
    }

    fn encoded(color: png::ColorType, data: &[u8], width: usize, height: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width as u32, height as u32);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(data).unwrap();
        bytes
    }

    #[test]
    fn what_is_transparent_is_white() {
        let bytes = encoded(png::ColorType::Rgba, &[200, 0, 0, 255, 200, 0, 0, 0, 0, 0, 0, 128], 3, 1);
        let pixels = decode(&bytes).unwrap();
        // White shows through with 255 * 127 / 255.
        assert_eq!(pixels.rgb, [[200, 0, 0], [255, 255, 255], [127, 127, 127]]);
        let gray = decode(&encoded(png::ColorType::Grayscale, &[7, 9], 1, 2)).unwrap();
        assert_eq!((gray.rgb, gray.height), (vec![[7; 3], [9; 3]], 2));
        assert!(decode(b"no picture").is_none() && size(b"").is_none());
    }

    #[test]
    fn a_smaller_image_has_the_means_of_what_it_covers() {
        let row = |values: &[u8]| Pixels {
            width: values.len(),
            height: 1,
            rgb: values.iter().map(|v| [*v; 3]).collect(),
        };
        assert_eq!(row(&[0, 100, 50, 150]).scaled(2, 1), row(&[50, 100]));
        // Pieces of 1.5 pixels: (0 + 90 / 2) / 1.5 and (90 / 2 + 30) / 1.5.
        assert_eq!(row(&[0, 90, 30]).scaled(2, 1), row(&[30, 50]));
        assert_eq!(row(&[0, 90]).scaled(4, 1), row(&[0, 0, 90, 90]));
        let flat = Pixels { width: 7, height: 5, rgb: vec![[9, 8, 7]; 35] }.scaled(3, 4);
        assert_eq!(flat.rgb, vec![[9, 8, 7]; 12]);
    }
}
