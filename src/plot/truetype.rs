//! Subset of a TrueType font: the outlines of some glyphs under their old numbers.

use std::collections::BTreeSet;

/// Tables that drawing glyphs by number needs, in the order of a font file.
const TABLES: [&[u8; 4]; 9] =
    [b"cvt ", b"fpgm", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp", b"prep"];
/// Flags of a component of a composite glyph.
const WORDS: u16 = 1;
const SCALE: u16 = 8;
const MORE: u16 = 32;
const TWO_SCALES: u16 = 64;
const MATRIX: u16 = 128;

/// Returns a font with the outlines and widths of `glyphs` and of what they consist of; all others are empty.
///
/// Returns `None` if the bytes are not a TrueType font.
pub(crate) fn subset(font: &[u8], glyphs: &BTreeSet<u16>) -> Option<Vec<u8>> {
    let table = |tag: &[u8; 4]| table(font, tag);
    let (head, maxp, loca, outlines) = (table(b"head")?, table(b"maxp")?, table(b"loca")?, table(b"glyf")?);
    let count = usize::from(u16_at(maxp, 4)?);
    let long = u16_at(head, 50)? == 1;
    let offset = |glyph: usize| match long {
        true => u32_at(loca, 4 * glyph).map(|at| at as usize),
        false => u16_at(loca, 2 * glyph).map(|at| 2 * usize::from(at)),
    };
    let outline = |glyph: u16| outlines.get(offset(usize::from(glyph))?..offset(usize::from(glyph) + 1)?);

    let mut kept = BTreeSet::new();
    let mut next: Vec<u16> = glyphs.iter().copied().chain([0]).collect();
    while let Some(glyph) = next.pop() {
        if kept.insert(glyph) {
            next.extend(components(outline(glyph)?));
        }
    }
    let (mut places, mut shapes) = (Vec::with_capacity(4 * count + 4), Vec::new());
    for glyph in 0..count {
        places.extend_from_slice(&(shapes.len() as u32).to_be_bytes());
        if let Some(glyph) = u16::try_from(glyph).ok().filter(|glyph| kept.contains(glyph)) {
            shapes.extend_from_slice(outline(glyph)?);
            shapes.resize(shapes.len().next_multiple_of(4), 0);
        }
    }
    places.extend_from_slice(&(shapes.len() as u32).to_be_bytes());
    // Numbers of glyphs that are not drawn would only make the file larger.
    let mut widths = table(b"hmtx")?.to_vec();
    let wide = usize::from(u16_at(table(b"hhea")?, 34)?);
    for glyph in (0..wide).filter(|glyph| u16::try_from(*glyph).is_ok_and(|glyph| !kept.contains(&glyph))) {
        widths.get_mut(4 * glyph..4 * glyph + 4)?.fill(0);
    }
    let mut first = head.to_vec();
    first.get_mut(8..12)?.fill(0);
    first.get_mut(50..52)?.copy_from_slice(&[0, 1]);

    let parts: Vec<(&[u8; 4], Vec<u8>)> = TABLES
        .into_iter()
        .filter_map(|tag| {
            let content = match tag {
                b"glyf" => shapes.clone(),
                b"head" => first.clone(),
                b"hmtx" => widths.clone(),
                b"loca" => places.clone(),
                other => table(other)?.to_vec(),
            };
            Some((tag, content))
        })
        .collect();
    Some(assembled(&parts))
}

/// Returns a font file of these tables.
fn assembled(parts: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let count = parts.len() as u16;
    let power = count.ilog2() as u16;
    let mut file = 0x0001_0000_u32.to_be_bytes().to_vec();
    for number in [count, 16 << power, power, 16 * count - (16 << power)] {
        file.extend_from_slice(&number.to_be_bytes());
    }
    let (mut start, mut head) = (12 + 16 * parts.len(), None);
    for (tag, content) in parts {
        if *tag == b"head" {
            head = Some(start);
        }
        file.extend_from_slice(*tag);
        for number in [sum(content), start as u32, content.len() as u32] {
            file.extend_from_slice(&number.to_be_bytes());
        }
        start += content.len().next_multiple_of(4);
    }
    for (_, content) in parts {
        file.extend_from_slice(content);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    // The sum of the whole file is a constant of the format.
    let rest = 0xb1b0_afba_u32.wrapping_sub(sum(&file));
    if let Some(place) = head.and_then(|at| file.get_mut(at + 8..at + 12)) {
        place.copy_from_slice(&rest.to_be_bytes());
    }
    file
}

/// Returns the sum of big-endian words.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(4).fold(0_u32, |sum, part| {
        let mut word = [0; 4];
        word[..part.len()].copy_from_slice(part);
        sum.wrapping_add(u32::from_be_bytes(word))
    })
}

/// Returns the glyphs of which a composite glyph consists.
fn components(outline: &[u8]) -> Vec<u16> {
    let mut found = Vec::new();
    // A negative number of contours marks a composite.
    if u16_at(outline, 0).is_none_or(|contours| contours < 0x8000) {
        return found;
    }
    let mut at = 10;
    while let (Some(flags), Some(glyph)) = (u16_at(outline, at), u16_at(outline, at + 2)) {
        found.push(glyph);
        at += if flags & WORDS != 0 { 8 } else { 6 };
        at += match flags {
            _ if flags & SCALE != 0 => 2,
            _ if flags & TWO_SCALES != 0 => 4,
            _ if flags & MATRIX != 0 => 8,
            _ => 0,
        };
        if flags & MORE == 0 {
            break;
        }
    }
    found
}

fn table<'a>(font: &'a [u8], tag: &[u8; 4]) -> Option<&'a [u8]> {
    let count = usize::from(u16_at(font, 4)?);
    let entry = (0..count).map(|i| 12 + 16 * i).find(|at| font.get(*at..at + 4) == Some(tag))?;
    let (start, length) = (u32_at(font, entry + 8)? as usize, u32_at(font, entry + 12)? as usize);
    font.get(start..start.checked_add(length)?)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ab_glyph::{Font, FontRef};

    #[test]
    fn a_subset_keeps_the_outlines_of_its_glyphs_alone() {
        let whole = dejavu::sans::regular();
        let font = FontRef::try_from_slice(whole).unwrap();
        // The letter ä is a composite of two glyphs.
        let [a, umlaut, other] = ['a', 'ä', 'z'].map(|c| font.glyph_id(c));
        let small = subset(whole, &BTreeSet::from([umlaut.0])).unwrap();
        let part = FontRef::try_from_slice(&small).unwrap();
        let bounds = |font: &FontRef<'_>, id| font.outline(id).map(|outline| outline.curves.len());
        for id in [umlaut, a] {
            assert_eq!(bounds(&part, id), bounds(&font, id));
            assert!(bounds(&part, id).is_some_and(|curves| curves > 10));
        }
        assert_eq!(bounds(&part, other).unwrap_or(0), 0);
        assert_eq!(part.h_advance_unscaled(umlaut), font.h_advance_unscaled(umlaut));
        assert!(small.len() < whole.len() / 5, "{}", small.len());
        assert_eq!(sum(&small), 0xb1b0_afba);
        assert!(subset(b"no font", &BTreeSet::new()).is_none());
    }
}
