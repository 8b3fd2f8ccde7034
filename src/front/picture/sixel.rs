//! Sixel graphics: bands of six rows, drawn color by color, at most 256 colors.

use std::collections::HashMap;

use super::pixels::Pixels;

/// Number of colors that every terminal with sixels supports.
const COLORS: usize = 256;

/// Encodes the picture in pixels of the terminal.
pub fn encode(picture: &Pixels) -> String {
    let (palette, indices) = quantized(picture);
    // Aspect ratio 1:1; pixels that no color sets stay unchanged.
    let mut out = format!("\x1bP0;1;0q\"1;1;{};{}", picture.width, picture.height);
    for (i, rgb) in palette.iter().enumerate() {
        let [r, g, b] = rgb.map(|v| (u32::from(v) * 100 + 127) / 255);
        out += &format!("#{i};2;{r};{g};{b}");
    }
    for top in (0..picture.height).step_by(6) {
        if top > 0 {
            out.push('-');
        }
        band(&mut out, &indices, picture, top);
    }
    out += "\x1b\\";
    out
}

/// Writes six rows: the pixels of each color in them, starting at the left for each color.
fn band(out: &mut String, indices: &[u8], picture: &Pixels, top: usize) {
    let rows = (picture.height - top).min(6);
    let mut masks: Vec<Option<Vec<u8>>> = vec![None; COLORS];
    for row in 0..rows {
        for x in 0..picture.width {
            let color = usize::from(indices[(top + row) * picture.width + x]);
            masks[color].get_or_insert_with(|| vec![0; picture.width])[x] |= 1 << row;
        }
    }
    let mut first = true;
    for (color, mask) in masks.iter().enumerate().filter_map(|(i, mask)| Some((i, mask.as_ref()?))) {
        if !std::mem::take(&mut first) {
            out.push('$');
        }
        out.push_str(&format!("#{color}"));
        let used = mask.len() - mask.iter().rev().take_while(|bits| **bits == 0).count();
        for run in mask[..used].chunk_by(|a, b| a == b) {
            let character = char::from(63 + run[0]);
            match run.len() {
                count @ 0..=3 => out.extend(std::iter::repeat_n(character, count)),
                count => out.push_str(&format!("!{count}{character}")),
            }
        }
    }
}

/// Returns a palette and the palette index of each pixel: exact if the picture has few colors, else by median cut.
fn quantized(picture: &Pixels) -> (Vec<[u8; 3]>, Vec<u8>) {
    // If there are too many colors, those that differ only in the lowest bits count as one.
    for shift in [0, 3] {
        let mut counts: HashMap<[u8; 3], u32> = HashMap::new();
        for rgb in &picture.rgb {
            *counts.entry(rgb.map(|v| v >> shift << shift)).or_default() += 1;
        }
        let mut colors: Vec<([u8; 3], u32)> = counts.into_iter().collect();
        colors.sort_unstable();
        if colors.len() > COLORS && shift == 0 {
            continue;
        }
        let boxes = cut(colors);
        let mut index = HashMap::new();
        let mut palette = Vec::with_capacity(boxes.len());
        for (i, members) in boxes.iter().enumerate() {
            let weight: u64 = members.iter().map(|(_, count)| u64::from(*count)).sum();
            let mean = |c: usize| {
                let sum: u64 = members.iter().map(|(rgb, count)| u64::from(rgb[c]) * u64::from(*count)).sum();
                // The dropped bits are half of their maximum on average; the ends of the range are unchanged.
                let value = (sum + weight / 2) / weight.max(1);
                (value + (value * ((1 << shift) - 1) + 124) / 248).min(255) as u8
            };
            palette.push([0, 1, 2].map(mean));
            index.extend(members.iter().map(|(rgb, _)| (*rgb, i as u8)));
        }
        let indices =
            picture.rgb.iter().map(|rgb| index.get(&rgb.map(|v| v >> shift << shift)).copied().unwrap_or(0));
        return (palette, indices.collect());
    }
    (Vec::new(), Vec::new())
}

type Counted = Vec<([u8; 3], u32)>;

/// Splits colors into at most 256 groups of neighbors, always splitting the group with the widest spread.
fn cut(colors: Counted) -> Vec<Counted> {
    if colors.len() <= COLORS {
        return colors.into_iter().map(|color| vec![color]).collect();
    }
    let spread = |members: &Counted| {
        (0..3)
            .map(|c| {
                let values = || members.iter().map(|(rgb, _)| rgb[c]);
                (values().max().unwrap_or(0) - values().min().unwrap_or(0), c)
            })
            .max()
            .unwrap_or((0, 0))
    };
    let first = spread(&colors);
    let mut groups = vec![(first, colors)];
    while groups.len() < COLORS {
        let widest = groups.iter().enumerate().max_by_key(|(_, (spread, _))| spread.0).map(|(i, _)| i);
        let Some(((width, channel), mut members)) = widest.map(|i| groups.swap_remove(i)) else { break };
        if width == 0 {
            groups.push(((width, channel), members));
            break;
        }
        members.sort_unstable_by_key(|(rgb, _)| rgb[channel]);
        // Rare colors count too, since the lines of a figure would otherwise vanish in its white background.
        let weight = |count: u32| f64::from(count).sqrt();
        let half = members.iter().map(|(_, count)| weight(*count)).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let middle = members.iter().take_while(|(_, count)| {
            sum += weight(*count);
            sum <= half
        });
        let middle = middle.count().clamp(1, members.len() - 1);
        let upper = members.split_off(middle);
        groups.push((spread(&members), members));
        groups.push((spread(&upper), upper));
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses the output of `encode`; channels are in percent.
    fn decode(text: &str) -> (usize, usize, Vec<Option<[u32; 3]>>) {
        let body = text.strip_prefix("\x1bP0;1;0q\"").unwrap().strip_suffix("\x1b\\").unwrap();
        let mut characters = body.chars().peekable();
        let numbers = |characters: &mut std::iter::Peekable<std::str::Chars>| {
            let mut text = String::new();
            while let Some(c) = characters.next_if(|c| c.is_ascii_digit() || *c == ';') {
                text.push(c);
            }
            text.split(';').map(|n| n.parse::<usize>().unwrap()).collect::<Vec<_>>()
        };
        let size = numbers(&mut characters);
        let (width, height) = (size[2], size[3]);
        let mut pixels = vec![None; width * height];
        let (mut palette, mut color) = (HashMap::new(), 0);
        let (mut x, mut y, mut count) = (0, 0, 1);
        while let Some(c) = characters.next() {
            match c {
                '#' => {
                    let given = numbers(&mut characters);
                    color = given[0];
                    if let [_, 2, r, g, b] = given[..] {
                        palette.insert(color, [r as u32, g as u32, b as u32]);
                    }
                }
                '!' => count = numbers(&mut characters)[0],
                '$' => x = 0,
                '-' => (x, y) = (0, y + 6),
                '?'..='~' => {
                    for _ in 0..std::mem::replace(&mut count, 1) {
                        for row in (0..6).filter(|row| (c as u8 - 63) >> row & 1 == 1) {
                            pixels[(y + row) * width + x] = Some(palette[&color]);
                        }
                        x += 1;
                    }
                }
                other => panic!("{other:?} is no sixel"),
            }
        }
        (width, height, pixels)
    }

    #[test]
    fn a_small_picture_comes_back_as_it_was() {
        let colors = [[0, 0, 0], [255, 255, 255], [255, 0, 0]];
        let rgb: Vec<[u8; 3]> = (0..9 * 8).map(|i| colors[(i * i / 5) % 3]).collect();
        let (width, height, pixels) = decode(&encode(&Pixels { width: 9, height: 8, rgb: rgb.clone() }));
        assert_eq!((width, height), (9, 8));
        let expected: Vec<_> = rgb.iter().map(|p| Some(p.map(|v| if v == 0 { 0 } else { 100 }))).collect();
        assert_eq!(pixels, expected);
    }

    #[test]
    fn two_pixels_by_hand() {
        let picture = Pixels { width: 5, height: 1, rgb: [vec![[255, 0, 0]; 4], vec![[0, 0, 51]]].concat() };
        // Bit 0 is the upper row: 63 + 1 is `@`.
        assert_eq!(encode(&picture), "\x1bP0;1;0q\"1;1;5;1#0;2;0;0;20#1;2;100;0;0#0!4?@$#1!4@\x1b\\");
    }

    #[test]
    fn many_colors_stay_near_to_what_they_were() {
        let rgb: Vec<[u8; 3]> = (0..64 * 64).map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 128]).collect();
        let picture = Pixels { width: 64, height: 64, rgb: rgb.clone() };
        let (palette, _) = quantized(&picture);
        assert!(palette.len() <= COLORS);
        let (.., pixels) = decode(&encode(&picture));
        for (was, is) in rgb.iter().zip(pixels) {
            let is = is.unwrap();
            for (was, is) in was.iter().zip(is) {
                let off = (f64::from(*was) - f64::from(is) * 2.55).abs();
                // 16 x 16 groups over 256 values are 16 wide.
                assert!(off <= 17.0, "{was} became {is} %");
            }
        }
    }

    #[test]
    fn white_stays_white_among_many_colors() {
        let mut rgb: Vec<[u8; 3]> =
            (0..4000u32).map(|i| [(i % 251) as u8, (i % 241) as u8, (i % 239) as u8]).collect();
        rgb.extend(vec![[255; 3]; 6000]);
        let (palette, indices) = quantized(&Pixels { width: 100, height: 100, rgb });
        let white = palette[usize::from(indices[9_999])];
        assert!(white.iter().all(|v| *v >= 250), "{white:?}");
    }
}
