//! A picture of characters: an upper half block is two pixels, its own colour above and that of the background below.

use super::pixels::Pixels;

/// One character for two rows; each line ends in the terminal's own colours.
pub fn encode(picture: &Pixels, true_colour: bool) -> String {
    let code = |ground: u8, rgb: [u8; 3]| match true_colour {
        true => format!("{ground};2;{};{};{}", rgb[0], rgb[1], rgb[2]),
        false => format!("{ground};5;{}", nearest(rgb)),
    };
    let mut lines = Vec::new();
    for y in (0..picture.height).step_by(2) {
        let (mut line, mut current) = (String::new(), String::new());
        for x in 0..picture.width {
            let mut codes = code(38, picture.at(x, y));
            if y + 1 < picture.height {
                codes = format!("{codes};{}", code(48, picture.at(x, y + 1)));
            }
            if codes != current {
                line += &format!("\x1b[{codes}m");
                current = codes;
            }
            line.push('▀');
        }
        line += "\x1b[0m";
        lines.push(line);
    }
    lines.join("\n")
}

/// The levels of the palette's cube of 6 x 6 x 6 colours.
const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];

/// The nearest of the 240 fixed colours of the palette: those of the cube, then 24 greys.
fn nearest(rgb: [u8; 3]) -> u8 {
    let distance = |other: [u8; 3]| -> i32 {
        rgb.iter().zip(other).map(|(a, b)| (i32::from(*a) - i32::from(b)).pow(2)).sum()
    };
    let level = |value: u8| (0..6u8).min_by_key(|i| value.abs_diff(LEVELS[usize::from(*i)])).unwrap_or(0);
    let [r, g, b] = rgb.map(level);
    let cube = [r, g, b].map(|i| LEVELS[usize::from(i)]);
    let mean = rgb.iter().map(|v| i32::from(*v)).sum::<i32>() / 3;
    let step = ((mean - 8 + 5) / 10).clamp(0, 23) as u8;
    let grey = 8 + 10 * step;
    if distance([grey; 3]) < distance(cube) { 232 + step } else { 16 + 36 * r + 6 * g + b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(rgb: &[[u8; 3]], width: usize) -> Pixels {
        Pixels { width, height: rgb.len() / width, rgb: rgb.to_vec() }
    }

    #[test]
    fn two_rows_of_two_pixels_are_two_characters() {
        let square = picture(&[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], 2);
        let expected = "\x1b[38;2;0;0;0;48;2;0;255;0m▀\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[0m";
        assert_eq!(encode(&square, true), expected);
        assert_eq!(encode(&square, false), "\x1b[38;5;16;48;5;46m▀\x1b[38;5;196;48;5;21m▀\x1b[0m");
    }

    #[test]
    fn equal_neighbours_share_their_codes_and_an_odd_row_keeps_the_background() {
        let three = picture(&[[1, 2, 3]; 6], 2);
        assert_eq!(encode(&three, true), "\x1b[38;2;1;2;3;48;2;1;2;3m▀▀\x1b[0m\n\x1b[38;2;1;2;3m▀▀\x1b[0m");
    }

    #[test]
    fn colours_of_the_palette_are_found() {
        assert_eq!(nearest([0, 0, 0]), 16);
        assert_eq!(nearest([255, 255, 255]), 231);
        assert_eq!(nearest([95, 135, 175]), 16 + 36 + 12 + 3);
        assert_eq!(nearest([128, 128, 128]), 244);
        assert_eq!(nearest([9, 8, 8]), 232);
    }
}
