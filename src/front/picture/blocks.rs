//! Pictures made of characters: each shows four pixels in two colors, foreground and background.

use super::pixels::Pixels;

/// Characters whose bits say which quarters have the foreground color: 1 upper left, 2 upper right, 4 lower left,
/// 8 lower right. The other eight are these with the colors exchanged.
const QUARTERS: [char; 8] = [' ', '▘', '▝', '▀', '▖', '▌', '▞', '▛'];

/// Encodes a picture with two columns and two rows of pixels per character; resets the colors at the end of each
/// line.
pub fn encode(picture: &Pixels, true_color: bool) -> String {
    let code = |ground: u8, rgb: [u8; 3]| match true_color {
        true => format!("{ground};2;{};{};{}", rgb[0], rgb[1], rgb[2]),
        false => format!("{ground};5;{}", nearest(rgb)),
    };
    let mut lines = Vec::new();
    for y in (0..picture.height).step_by(2) {
        let (mut line, mut current) = (String::new(), String::new());
        for x in (0..picture.width).step_by(2) {
            let (right, lower) = ((x + 1).min(picture.width - 1), (y + 1).min(picture.height - 1));
            let four = [(x, y), (right, y), (x, lower), (right, lower)].map(|(x, y)| picture.at(x, y));
            let (bits, front, back) = split(four);
            let codes = match bits {
                0 => code(48, back),
                _ => format!("{};{}", code(38, front), code(48, back)),
            };
            if codes != current {
                line += &format!("\x1b[{codes}m");
                current = codes;
            }
            line.push(QUARTERS[bits]);
        }
        line += "\x1b[0m";
        lines.push(line);
    }
    lines.join("\n")
}

/// Splits four pixels into the two groups with the least variation inside; returns the bits of the first group and
/// the mean colors.
fn split(four: [[u8; 3]; 4]) -> (usize, [u8; 3], [u8; 3]) {
    let mean = |bits: usize| {
        let group = || (0..4).filter(|i| bits >> i & 1 == 1).map(|i| four[i]);
        let count = group().count().max(1) as u32;
        [0, 1, 2].map(|c| ((group().map(|rgb| u32::from(rgb[c])).sum::<u32>() + count / 2) / count) as u8)
    };
    let loss = |bits: usize| -> i32 {
        let (front, back) = (mean(bits), mean(!bits));
        (0..4).map(|i| distance(four[i], if bits >> i & 1 == 1 { front } else { back })).sum()
    };
    // Without a difference the character is a space.
    let bits = (0..QUARTERS.len()).min_by_key(|bits| loss(*bits)).unwrap_or(0);
    (bits, mean(bits), mean(!bits))
}

fn distance(a: [u8; 3], b: [u8; 3]) -> i32 {
    a.iter().zip(b).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum()
}

/// Levels of the palette's 6 x 6 x 6 color cube.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// Returns the nearest of the 240 fixed colors of the palette: those of the cube, then 24 grays.
fn nearest(rgb: [u8; 3]) -> u8 {
    let level = |value: u8| (0..6u8).min_by_key(|i| value.abs_diff(LEVELS[usize::from(*i)])).unwrap_or(0);
    let [r, g, b] = rgb.map(level);
    let cube = [r, g, b].map(|i| LEVELS[usize::from(i)]);
    let mean = rgb.iter().map(|v| i32::from(*v)).sum::<i32>() / 3;
    let step = ((mean - 8 + 5) / 10).clamp(0, 23) as u8;
    let gray = 8 + 10 * step;
    if distance(rgb, [gray; 3]) < distance(rgb, cube) { 232 + step } else { 16 + 36 * r + 6 * g + b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rgb: &[[u8; 3]], width: usize) -> Pixels {
        Pixels { width, height: rgb.len() / width, rgb: rgb.to_vec() }
    }

    const BLACK: [u8; 3] = [0, 0, 0];
    const RED: [u8; 3] = [255, 0, 0];

    #[test]
    fn four_pixels_are_one_character() {
        let square = picture(&[RED, BLACK, BLACK, BLACK], 2);
        assert_eq!(encode(&square, true), "\x1b[38;2;255;0;0;48;2;0;0;0m▘\x1b[0m");
        assert_eq!(encode(&square, false), "\x1b[38;5;196;48;5;16m▘\x1b[0m");
        // The lower right quarter is the upper left three with the colors exchanged.
        let square = picture(&[BLACK, BLACK, BLACK, RED], 2);
        assert_eq!(encode(&square, true), "\x1b[38;2;0;0;0;48;2;255;0;0m▛\x1b[0m");
    }

    #[test]
    fn more_than_two_colors_are_the_two_nearest_groups() {
        let square = picture(&[[250, 0, 0], [0, 0, 10], [240, 0, 0], [0, 0, 20]], 2);
        assert_eq!(encode(&square, true), "\x1b[38;2;245;0;0;48;2;0;0;15m▌\x1b[0m");
    }

    #[test]
    fn equal_neighbors_share_their_codes_and_odd_sides_are_filled() {
        let three = picture(&[[1, 2, 3]; 9], 3);
        assert_eq!(encode(&three, true), "\x1b[48;2;1;2;3m  \x1b[0m\n\x1b[48;2;1;2;3m  \x1b[0m");
    }

    #[test]
    fn colors_of_the_palette_are_found() {
        assert_eq!(nearest([0, 0, 0]), 16);
        assert_eq!(nearest([255, 255, 255]), 231);
        assert_eq!(nearest([95, 135, 175]), 16 + 36 + 12 + 3);
        assert_eq!(nearest([128, 128, 128]), 244);
        assert_eq!(nearest([9, 8, 8]), 232);
    }
}
