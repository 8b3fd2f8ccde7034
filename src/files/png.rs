//! Pixels as a PNG file.

use crate::error::{Error, Result};

/// Encodes 8-bit RGB pixels as PNG.
pub fn png(rgb: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let failed = |error: png::EncodingError| Error::internal(format!("the png encoder failed: {error}"));
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(rgb).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}
