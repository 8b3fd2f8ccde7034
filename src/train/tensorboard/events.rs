//! Events in TensorFlow's formats: records with checksums around messages of protocol buffers.

use crate::error::Result;
use crate::files;

/// What an event says.
pub enum Content<'a> {
    /// Version of the format, the first event of a file.
    Version,
    /// Steps from this one on that earlier files have do not count.
    Start,
    /// A number by name.
    Scalar(&'a str, f64),
    /// An image by name.
    Image(&'a str, &'a Png),
    /// A text by name.
    Text(&'a str, &'a str),
}

/// An encoded RGB image.
pub struct Png {
    pub bytes: Vec<u8>,
    pub height: usize,
    pub width: usize,
}

impl Png {
    /// Encodes 8-bit RGB pixels.
    pub fn new(rgb: &[u8], height: usize, width: usize) -> Result<Self> {
        Ok(Self { bytes: files::png(rgb, width as u32, height as u32)?, height, width })
    }
}

/// Returns an `Event`; the numbers are those of `event.proto`, `summary.proto` and `tensor.proto`.
pub fn event(seconds: f64, step: i64, content: &Content) -> Vec<u8> {
    let mut event = Message::default().double(1, seconds).int(2, step);
    let value = |name: &str| Message::default().bytes(1, name.as_bytes());
    let summary = |value: Message| Message::default().message(1, value);
    event = match content {
        Content::Version => event.bytes(3, b"brain.Event:2"),
        Content::Start => event.message(7, Message::default().int(1, 1)),
        Content::Scalar(name, x) => event.message(5, summary(value(name).float(2, *x as f32))),
        Content::Image(name, png) => {
            let size = Message::default().int(1, png.height as i64).int(2, png.width as i64).int(3, 3);
            event.message(5, summary(value(name).message(4, size.bytes(4, &png.bytes))))
        }
        Content::Text(name, text) => {
            // A tensor of one string.
            let shape = Message::default().message(2, Message::default().int(1, 1));
            let tensor = Message::default().int(1, 7).message(2, shape).bytes(8, text.as_bytes());
            let plugin = Message::default().message(1, Message::default().bytes(1, b"text"));
            event.message(5, summary(value(name).message(8, tensor).message(9, plugin)))
        }
    };
    event.0
}

/// Returns a record of a `TFRecord` file: the length, its checksum, the data and its checksum.
pub fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let parts: [&[u8]; 4] = [&length, &masked(&length), data, &masked(data)];
    parts.concat()
}

/// Returns the checksum of a record: CRC-32C, rotated and moved, so that data may hold checksums.
pub fn masked(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// CRC-32 of each byte with Castagnoli's polynomial.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

/// A message of protocol buffers, written field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn tag(self, field: u64, kind: u64) -> Self {
        self.varint(field << 3 | kind)
    }

    fn int(self, field: u64, value: i64) -> Self {
        self.tag(field, 0).varint(value as u64)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.tag(field, 1).fixed(&value.to_le_bytes())
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.tag(field, 5).fixed(&value.to_le_bytes())
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        self.tag(field, 2).varint(value.len() as u64).fixed(value)
    }

    fn message(self, field: u64, value: Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of RFC 3720, appendix B.4, and of a record that TensorFlow wrote.
    #[test]
    fn checksums_have_the_published_values() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
