//! Graphics protocol of kitty: a PNG in base64, split into pieces.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Maximum size of a piece that terminals accept.
const PIECE: usize = 4096;

/// Encodes a PNG to be shown over this many columns; the terminal keeps the aspect ratio.
pub fn encode(png: &[u8], columns: usize) -> String {
    let data = BASE64_STANDARD.encode(png);
    let mut out = String::with_capacity(data.len() + data.len() / PIECE * 12 + 64);
    let mut rest = data.as_str();
    let mut keys = format!("a=T,f=100,q=2,c={columns},");
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(PIECE));
        let more = u8::from(!after.is_empty());
        out += &format!("\x1b_G{keys}m={more};{piece}\x1b\\");
        keys.clear();
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_picture() {
        let png: Vec<u8> = (0..10_000u32).map(|i| (i * i % 251) as u8).collect();
        let text = encode(&png, 40);
        let (mut data, mut marks) = (String::new(), Vec::new());
        for piece in text.split_terminator("\x1b\\") {
            let (keys, piece) = piece.strip_prefix("\x1b_G").unwrap().split_once(';').unwrap();
            assert!(piece.len() <= PIECE);
            // Only the last piece may end between groups of four characters.
            marks.push(keys.to_string());
            data += piece;
        }
        assert_eq!(marks, ["a=T,f=100,q=2,c=40,m=1", "m=1", "m=1", "m=0"]);
        assert_eq!(BASE64_STANDARD.decode(data).unwrap(), png);
    }
}
