//! Encodings of whole numbers in the pages of Parquet.

use super::thrift::{varint, zigzag};

/// Returns an empty list with room for some values, unless the memory is short.
pub fn room<T>(count: usize) -> Option<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).ok()?;
    Some(list)
}

/// Returns the number of bits that hold numbers up to `largest`.
pub fn width(largest: u32) -> u32 {
    u32::BITS - largest.leading_zeros()
}

/// Reads `count` numbers of `width` bits that are packed, the lowest bits first.
fn packed(bytes: &[u8], width: u32, count: usize, out: &mut Vec<u64>) -> Option<()> {
    for i in 0..count {
        let (mut number, mut at, mut found) = (0, i * width as usize, 0);
        while found < width {
            let byte = u64::from(*bytes.get(at / 8)?);
            let (from, taken) = (at % 8, (8 - at as u32 % 8).min(width - found));
            number |= (byte >> from & ((1 << taken) - 1)) << found;
            (at, found) = (at + taken as usize, found + taken);
        }
        out.push(number);
    }
    Some(())
}

/// Reads `count` numbers in runs of equal ones or of packed ones (the encoding RLE).
pub fn runs(mut bytes: &[u8], width: u32, count: usize) -> Option<Vec<u32>> {
    if width > 32 {
        return None;
    }
    let (mut out, mut group) = (room(count)?, Vec::new());
    while out.len() < count {
        if width == 0 {
            out.resize(count, 0);
            break;
        }
        let (head, length) = varint(bytes)?;
        bytes = &bytes[length..];
        let left = count - out.len();
        if head & 1 == 0 {
            let size = width.div_ceil(8) as usize;
            let number = bytes.get(..size)?.iter().rev().fold(0, |n, byte| n << 8 | u32::from(*byte));
            bytes = &bytes[size..];
            let length = usize::try_from(head >> 1).ok().filter(|length| *length > 0)?;
            out.resize(out.len() + length.min(left), number);
            continue;
        }
        let size = usize::try_from(head >> 1).ok()?.checked_mul(width as usize)?;
        // The last group may end with its last value.
        let all = bytes.get(..size.min(bytes.len()))?;
        group.clear();
        packed(all, width, left.min(size / width as usize * 8), &mut group)?;
        if group.is_empty() {
            return None;
        }
        out.extend(group.iter().map(|number| *number as u32));
        bytes = &bytes[all.len()..];
    }
    Some(out)
}

/// Reads numbers stored as differences (DELTA_BINARY_PACKED), and returns them with their length in bytes.
pub fn differences(bytes: &[u8], most: usize) -> Option<(Vec<i64>, usize)> {
    let mut at = 0;
    let number = |at: &mut usize| {
        let (number, length) = varint(bytes.get(*at..)?)?;
        *at += length;
        Some(number)
    };
    let (block, parts) = (number(&mut at)? as usize, number(&mut at)? as usize);
    let count = usize::try_from(number(&mut at)?).ok().filter(|count| *count <= most)?;
    let mut last = zigzag(number(&mut at)?);
    if parts == 0 || parts > 1 << 16 || block > 1 << 30 || block / parts == 0 || block / parts % 8 != 0 {
        return None;
    }
    let (mut out, mut group) = (room(count)?, Vec::new());
    if count > 0 {
        out.push(last);
    }
    while out.len() < count {
        let least = zigzag(number(&mut at)?);
        let widths = bytes.get(at..at + parts)?;
        at += parts;
        for width in widths.iter().map(|width| u32::from(*width)) {
            // Parts after the last value have no bytes.
            if out.len() == count {
                break;
            }
            if width > 64 {
                return None;
            }
            group.clear();
            let size = block / parts * width as usize / 8;
            let taken = (block / parts).min(count - out.len());
            packed(bytes.get(at..(at + size).min(bytes.len()))?, width, taken, &mut group)?;
            at += size;
            for number in &group {
                last = last.wrapping_add(least).wrapping_add(*number as i64);
                out.push(last);
            }
        }
    }
    Some((out, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_both_kinds_are_read() {
        // The example of the format: 0 to 7 with 3 bits; then 5 times 4.
        let bytes = [3, 0b1000_1000, 0b1100_0110, 0b1111_1010, 10, 4];
        assert_eq!(runs(&bytes, 3, 13).unwrap(), [0, 1, 2, 3, 4, 5, 6, 7, 4, 4, 4, 4, 4]);
        assert_eq!(runs(&bytes, 3, 6).unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(runs(&[], 0, 3).unwrap(), [0, 0, 0]);
        for (bytes, count) in [(&bytes[..], 14), (&bytes[..3], 8), (&[0, 1][..], 1), (&[1][..], 1)] {
            assert_eq!(runs(bytes, 3, count), None, "{bytes:?}");
        }
        assert_eq!([0, 1, 2, 255, 256].map(width), [0, 1, 2, 8, 9]);
    }

    #[test]
    fn differences_are_added_up() {
        // The examples of the format: 1 to 5, and 7, 5, 3, 1, 2, 3, 4, 5.
        let head = |count: u8, first: u8| vec![128, 1, 4, count, first];
        let one = [head(5, 2), vec![2, 0, 0, 0, 0]].concat();
        assert_eq!(differences(&one, 5).unwrap(), (vec![1, 2, 3, 4, 5], 10));
        assert_eq!(differences(&one, 4), None);
        let two = [head(8, 14), vec![3, 2, 0, 0, 0, 0b1100_0000, 0b11_1111, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(differences(&two, 8).unwrap().0, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert_eq!(differences(&two[..9], 8), None);
        assert_eq!(differences(&[128, 1, 0, 1, 0], 1), None);
    }
}
