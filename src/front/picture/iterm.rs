//! Inline images of iTerm2: a PNG in base64 inside one escape sequence.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Encodes a PNG to be shown over this many columns; the terminal keeps the aspect ratio.
pub fn encode(png: &[u8], columns: usize) -> String {
    let size = png.len();
    let data = BASE64_STANDARD.encode(png);
    format!(
        "\x1b]1337;File=inline=1;size={size};width={columns};height=auto;preserveAspectRatio=1:{data}\x07"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_holds_the_picture() {
        let text = encode(b"\x89PNG", 12);
        let expected =
            "\x1b]1337;File=inline=1;size=4;width=12;height=auto;preserveAspectRatio=1:iVBORw==\x07";
        assert_eq!(text, expected);
    }
}
