//! Snappy, with the positions from which a part can be unpacked by itself.
//!
//! Compressors work on blocks of 64 KiB that do not refer to each other, though the format does not demand it. An image in a
//! large page is therefore read by unpacking a few blocks of it.

use super::thrift::varint;

/// Bytes of content in a block.
pub const BLOCK: usize = 1 << 16;

/// Unpacked bytes.
#[derive(Debug)]
pub struct Unpacked {
    /// The content.
    pub bytes: Vec<u8>,
    /// Where each block begins in the packed bytes; none if they refer to each other.
    pub starts: Option<Vec<u32>>,
}

/// Unpacks content of a known size.
pub fn unpack(packed: &[u8], size: usize) -> Option<Unpacked> {
    let (declared, start) = varint(packed)?;
    if declared != size as u64 || u32::try_from(packed.len()).is_err() {
        return None;
    }
    let (mut starts, mut apart) = (Vec::new(), true);
    let bytes = elements(&packed[start..], size, |at, done, reach| {
        if done % BLOCK == 0 {
            starts.push((start + at) as u32);
        }
        // An element before the next block's, and one that refers to an earlier block.
        apart &= done / BLOCK + 1 == starts.len() && reach <= done % BLOCK;
    })?;
    apart &= starts.len() == size.div_ceil(BLOCK);
    Some(Unpacked { bytes, starts: apart.then_some(starts) })
}

/// Unpacks some whole blocks, of `size` bytes together.
pub fn unpack_blocks(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    elements(packed, size, |_, _, _| {})
}

/// Unpacks elements, until there are `size` bytes. `each` is told the position of an element, the number of bytes
/// before it, and how far back it refers.
fn elements(packed: &[u8], size: usize, mut each: impl FnMut(usize, usize, usize)) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::new();
    out.try_reserve_exact(size).ok()?;
    let mut rest = packed;
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte));
    while let Some((tag, after)) = rest.split_first() {
        let (at, high) = (packed.len() - rest.len(), usize::from(tag >> 2));
        let (extra, length, back) = match tag & 3 {
            0 => {
                let extra = if high < 60 { 0 } else { high - 59 };
                let length = if extra == 0 { high } else { number(after.get(..extra)?) } + 1;
                (extra, length, 0)
            }
            1 => (1, (high & 7) + 4, (high >> 3) << 8 | number(after.get(..1)?)),
            2 => (2, high + 1, number(after.get(..2)?)),
            _ => (4, high + 1, number(after.get(..4)?)),
        };
        rest = &after[extra..];
        each(at, out.len(), back);
        if length > size - out.len() {
            return None;
        }
        if tag & 3 == 0 {
            out.extend_from_slice(rest.get(..length)?);
            rest = &rest[length..];
            continue;
        }
        let from = out.len().checked_sub(back).filter(|_| back > 0)?;
        let mut left = length;
        while left > 0 {
            // A copy may reach into what it writes, which repeats its bytes.
            let part = left.min(out.len() - from);
            out.extend_from_within(from..from + part);
            left -= part;
        }
    }
    (out.len() == size).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A literal of three bytes, a copy of 7 bytes from 3 back, and one of 4 from 5 back.
    const SMALL: [u8; 9] = [14, 0b1000, b'a', b'b', b'c', 0b1101, 3, 0b1, 5];

    #[test]
    fn literals_and_copies_are_unpacked() {
        let unpacked = unpack(&SMALL, 14).unwrap();
        assert_eq!(unpacked.bytes, b"abcabcabcacabc");
        assert_eq!(unpacked.starts, Some(vec![1]));
        for cut in 0..SMALL.len() {
            assert!(unpack(&SMALL[..cut], 14).is_none(), "{cut}");
        }
        assert!(unpack(&SMALL, 13).is_none());
        assert!(unpack(&[4, 0, b'a', 0b1, 2], 5).is_none());
        assert!(unpack(&[4, 0b1, 0], 4).is_none());
    }

    #[test]
    fn blocks_are_known_only_if_they_stand_alone() {
        let literal = |length: usize| {
            let mut bytes = vec![0xf4];
            bytes.extend_from_slice(&((length - 1) as u16).to_le_bytes());
            bytes.extend((0..length).map(|i| i as u8));
            bytes
        };
        let of = |parts: &[Vec<u8>], size: usize| {
            let mut packed =
                vec![size as u8 & 0x7f | 0x80, (size >> 7) as u8 & 0x7f | 0x80, (size >> 14) as u8];
            packed.extend(parts.concat());
            (unpack(&packed, size).unwrap(), packed)
        };
        let copy = |back: u16| [&[0b10][..], &back.to_le_bytes()].concat();
        let (apart, packed) = of(&[literal(BLOCK), literal(9), copy(9)], BLOCK + 10);
        let starts = apart.starts.unwrap();
        assert_eq!(starts, [3, 3 + 3 + BLOCK as u32]);
        assert_eq!(unpack_blocks(&packed[starts[1] as usize..], 10).unwrap(), apart.bytes[BLOCK..]);
        assert!(of(&[literal(BLOCK), literal(9), copy(10)], BLOCK + 10).0.starts.is_none());
        assert!(of(&[literal(BLOCK - 1), literal(9), copy(2)], BLOCK + 9).0.starts.is_none());
    }
}
