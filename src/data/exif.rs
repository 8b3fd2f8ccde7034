//! EXIF orientation of JPEG, PNG and WebP files.

/// Tag of the orientation in the first directory.
const ORIENTATION: u16 = 0x0112;

/// Returns the EXIF orientation of an image file, from 1 to 8; 1 (upright) if it has no valid one.
pub fn orientation(bytes: &[u8]) -> u8 {
    let found = match bytes {
        [0x89, b'P', b'N', b'G', ..] => in_png(bytes),
        [0xff, 0xd8, ..] => in_jpeg(bytes),
        [b'R', b'I', b'F', b'F', ..] => in_webp(bytes),
        _ => None,
    };
    found.filter(|n| (1..=8).contains(n)).map_or(1, |n| n as u8)
}

/// Searches all chunks for `eXIf`.
fn in_png(bytes: &[u8]) -> Option<u16> {
    let mut rest = bytes.get(8..)?;
    loop {
        let length = u32::from_be_bytes(*rest.first_chunk()?) as usize;
        let kind = rest.get(4..8)?;
        let data = rest.get(8..)?.get(..length)?;
        match kind {
            b"eXIf" => return in_tiff(data.strip_prefix(b"Exif\0\0").unwrap_or(data)),
            _ => rest = rest.get(12 + length..)?,
        }
    }
}

/// Searches all chunks for `EXIF`; one of odd length is followed by a byte of padding.
fn in_webp(bytes: &[u8]) -> Option<u16> {
    let mut rest = bytes.get(12..)?;
    loop {
        let length = u32::from_le_bytes(*rest.get(4..)?.first_chunk()?) as usize;
        let data = rest.get(8..)?.get(..length)?;
        match rest.get(..4)? {
            b"EXIF" => return in_tiff(data.strip_prefix(b"Exif\0\0").unwrap_or(data)),
            _ => rest = rest.get(8 + length + length % 2..)?,
        }
    }
}

/// Searches for the first APP1 segment that begins with `Exif`; bytes between segments are skipped.
fn in_jpeg(bytes: &[u8]) -> Option<u16> {
    let mut rest = bytes.get(2..)?;
    loop {
        let at = rest.windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff))?;
        let marker = rest[at + 1];
        rest = &rest[at + 2..];
        match marker {
            // Start of scan or end of image.
            0xda | 0xd9 => return None,
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk()?));
        let data = rest.get(2..length)?;
        if marker == 0xe1
            && let Some(tiff) = data.strip_prefix(b"Exif\0\0")
        {
            return in_tiff(tiff);
        }
        rest = &rest[length..];
    }
}

/// Returns the tag in the first directory of a TIFF structure of either byte order.
fn in_tiff(tiff: &[u8]) -> Option<u16> {
    let little = match tiff.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let pair = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let long = |at: usize| {
        let four = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    };
    let directory = long(4)? as usize;
    let count = usize::from(short(directory)?);
    let entry = (0..count).map(|i| directory + 2 + 12 * i).find(|at| short(*at) == Some(ORIENTATION))?;
    // A short by the standard, but some programs write a long.
    match short(entry + 2)? {
        3 => short(entry + 8),
        4 => u16::try_from(long(entry + 8)?).ok(),
        _ => None,
    }
}

/// Turns pixels of `channels` bytes upright; returns them with their width and height.
pub fn upright(
    pixels: Vec<u8>,
    width: usize,
    height: usize,
    channels: usize,
    orientation: u8,
) -> (Vec<u8>, usize, usize) {
    if !(2..=8).contains(&orientation) {
        return (pixels, width, height);
    }
    let (w, h) = if orientation < 5 { (width, height) } else { (height, width) };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..h {
        for x in 0..w {
            // Column and row in the file.
            let (column, row) = match orientation {
                2 => (width - 1 - x, y),
                3 => (width - 1 - x, height - 1 - y),
                4 => (x, height - 1 - y),
                5 => (y, x),
                6 => (y, height - 1 - x),
                7 => (width - 1 - y, height - 1 - x),
                _ => (width - 1 - y, x),
            };
            let at = (row * width + column) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    (out, w, h)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a TIFF structure with an orientation after another tag.
    pub fn tiff(orientation: u16, little: bool, long: bool) -> Vec<u8> {
        let short = |x: u16| if little { x.to_le_bytes() } else { x.to_be_bytes() };
        let four = |x: u32| if little { x.to_le_bytes() } else { x.to_be_bytes() };
        let mut out = if little { b"II*\0".to_vec() } else { b"MM\0*".to_vec() };
        out.extend(four(8));
        out.extend(short(2));
        for (tag, value) in [(0x010f, 9), (ORIENTATION, orientation)] {
            out.extend([short(tag), short(if long { 4 } else { 3 })].concat());
            out.extend(four(1));
            match long {
                true => out.extend(four(value.into())),
                false => out.extend([short(value), [0; 2]].concat()),
            }
        }
        out.extend([0; 4]);
        out
    }

    /// Returns a JPEG file with an EXIF segment after its first marker.
    pub fn in_jpeg_file(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
        let length = (tiff.len() as u16 + 8).to_be_bytes();
        [&jpeg[..2], b"\xff\xe1", &length, b"Exif\0\0", tiff, &jpeg[2..]].concat()
    }

    #[test]
    fn orientations_of_both_byte_orders_and_formats_are_found() {
        let jpeg = include_bytes!("../../tests/fixtures/gradient.jpg");
        assert_eq!(orientation(jpeg), 1);
        for n in 1..=8 {
            for (little, long) in [(true, false), (false, false), (true, true), (false, true)] {
                let tiff = tiff(n, little, long);
                assert_eq!(orientation(&in_jpeg_file(jpeg, &tiff)), n as u8);
                let chunk = [&(tiff.len() as u32).to_be_bytes()[..], b"eXIf", &tiff, &[0; 4]].concat();
                let text = [&3u32.to_be_bytes()[..], b"tEXtabc", &[0; 4]].concat();
                let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &text, &chunk].concat();
                assert_eq!(orientation(&png), n as u8);
                let length = (tiff.len() as u32).to_le_bytes();
                let head = [b"RIFF\xff\0\0\0WEBPVP8 ".as_slice(), &3u32.to_le_bytes(), b"abc\0"].concat();
                assert_eq!(orientation(&[&head[..], b"EXIF", &length, &tiff].concat()), n as u8);
            }
        }
    }

    #[test]
    fn broken_exif_is_upright() {
        let jpeg = include_bytes!("../../tests/fixtures/gradient.jpg");
        let whole = in_jpeg_file(jpeg, &tiff(6, true, false));
        for length in 0..70 {
            assert!([1, 6].contains(&orientation(&whole[..length])));
        }
        for n in [0, 9, 6 << 8] {
            assert_eq!(orientation(&in_jpeg_file(jpeg, &tiff(n, true, false))), 1);
        }
        let mut far = tiff(6, true, false);
        far[4..8].fill(255);
        assert_eq!(orientation(&in_jpeg_file(jpeg, &far)), 1);
    }

    /// The eight orientations of a 2 x 3 image, by hand from the EXIF standard's description of row 0 and column 0.
    #[test]
    fn every_orientation_is_turned_upright() {
        // 0 1
        // 2 3
        // 4 5
        let turned = |n| upright((0..6).collect(), 2, 3, 1, n);
        assert_eq!(turned(1), (vec![0, 1, 2, 3, 4, 5], 2, 3));
        assert_eq!(turned(2), (vec![1, 0, 3, 2, 5, 4], 2, 3));
        assert_eq!(turned(3), (vec![5, 4, 3, 2, 1, 0], 2, 3));
        assert_eq!(turned(4), (vec![4, 5, 2, 3, 0, 1], 2, 3));
        assert_eq!(turned(5), (vec![0, 2, 4, 1, 3, 5], 3, 2));
        assert_eq!(turned(6), (vec![4, 2, 0, 5, 3, 1], 3, 2));
        assert_eq!(turned(7), (vec![5, 3, 1, 4, 2, 0], 3, 2));
        assert_eq!(turned(8), (vec![1, 3, 5, 0, 2, 4], 3, 2));
    }
}
