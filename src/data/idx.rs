//! IDX, the file format of MNIST: big-endian sizes, then bytes, uncompressed or gzip-compressed.
//!
//! A file consists of four bytes of magic (0, 0, 8 for unsigned bytes, the number of dimensions), each size as 32
//! bits, and the values, last dimension fastest (<http://yann.lecun.com/exdb/mnist/>).

use super::source::Source;
use crate::error::Result;
use crate::files;
use crate::torch::Tensor;

/// Reads an IDX file of unsigned bytes with `rank` dimensions as a uint8 tensor.
pub fn read(source: &Source, rank: usize) -> Result<Tensor> {
    let mut stream = source.content();
    let header_size = 4 + 4 * rank;
    let header = source.read_up_to(&mut stream, header_size as u64)?;
    let magic = [0, 0, 8, rank as u8];
    if header.len() >= 4 && header[..4] != magic {
        return Err(source
            .error(format!(
                "expected an IDX file of bytes with {rank} dimensions (magic {magic:?}), found {}",
                match files::recognize(&header) {
                    Some(kind) => kind.describe().to_string(),
                    None => format!("magic {:?}", &header[..4]),
                }
            ))
            .hint(match header[..4] {
                [0, 0, 8, 1] => "this is a file of labels; images were expected",
                [0, 0, 8, 3] => "this is a file of images; labels were expected",
                _ => files::recognize(&header)
                    .map_or("the file is not what its name says", files::Kind::advice),
            }));
    }
    if header.len() < header_size {
        return Err(source.error(format!(
            "the file is truncated: expected a header of {header_size} bytes, found {}",
            header.len()
        )));
    }
    let shape: Vec<i64> = header[4..]
        .chunks_exact(4)
        .map(|c| i64::from(u32::from_be_bytes([c[0], c[1], c[2], c[3]])))
        .collect();
    let count = shape.iter().try_fold(1i64, |product, size| product.checked_mul(*size));
    let Some(count) = count.filter(|c| (1..=1 << 36).contains(c)) else {
        let message = format!("the header declares an array of shape {shape:?}, which is empty or too large");
        return Err(source.error(message));
    };
    // One byte more than announced, to detect trailing data.
    let bytes = source.read_up_to(&mut stream, count as u64 + 1)?;
    match bytes.len() as i64 {
        found if found < count => Err(source
            .error(format!(
                "the file is truncated: its header promises {count} values of shape {shape:?}, found {found}; the \
                 content ends at byte {}",
                header_size as i64 + found
            ))
            .hint("download it again and compare its checksum")),
        found if found > count => Err(source
            .error(format!("more data than the {count} values of shape {shape:?} that its header promises"))),
        _ => Tensor::from_u8(&bytes, &shape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::borrow::Cow;
    use std::io::Write;

    fn file(bytes: &[u8]) -> Source {
        Source { name: "x.idx".to_string(), bytes: Cow::Owned(bytes.to_vec()) }
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    const TWO_BY_THREE: [u8; 18] = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    #[test]
    fn plain_and_compressed_files_give_the_same_array() {
        for bytes in [TWO_BY_THREE.to_vec(), packed(&TWO_BY_THREE)] {
            let array = read(&file(&bytes), 2).unwrap();
            assert_eq!(array.shape(), [2, 3]);
            assert_eq!(array.to_u8().unwrap(), [1, 2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let message = |bytes: &[u8], rank| read(&file(bytes), rank).unwrap_err().message();
        assert!(
            message(&TWO_BY_THREE[..15], 2)
                .contains("promises 6 values of shape [2, 3], found 3; the content ends at byte 15")
        );
        assert!(message(&TWO_BY_THREE[..7], 2).contains("header of 12 bytes, found 7"));
        assert!(message(&[], 2).contains("found 0"));
        assert!(message(&TWO_BY_THREE, 3).contains("found magic [0, 0, 8, 2]"));
        assert!(message(&[&TWO_BY_THREE[..], &[9]].concat(), 2).contains("more data"));
        assert!(message(b"<!doctype html>", 3).contains("expected an IDX file"));
        let whole = packed(&[&TWO_BY_THREE[..12], &[7; 6]].concat());
        let cut = message(&whole[..whole.len() - 12], 2);
        assert!(cut.contains("truncated") || cut.contains("damaged"), "{cut}");
        let huge = [&[0, 0, 8, 3][..], &[255; 12]].concat();
        assert!(message(&huge, 3).contains("declares an array"));
    }
}
