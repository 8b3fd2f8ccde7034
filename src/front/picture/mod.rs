//! Pictures in the terminal, in the best format that it supports.
//!
//! - [`Protocol`]: the formats; [`detect`] chooses the one for a terminal
//! - [`Canvas`]: size of the terminal
//! - [`draw`]: the picture of a value as text with escape codes; [`shower`]: the same for `figure.show()`

mod blocks;
mod detect;
mod iterm;
mod kitty;
mod pixels;
mod sixel;

use std::sync::Arc;

use crate::context::{Display, Print, Show};
use crate::front::terminal;

pub use detect::{ask, detect};

/// Maximum number of PNG pixels per column, so that small pictures stay small. Figures are drawn with two pixels
/// per pixel of layout, in which a letter is about 8 wide, like a column.
const PER_COLUMN: f64 = 16.0;

/// Picture protocol of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Graphics protocol of kitty, also supported by Ghostty and others.
    Kitty,
    /// Inline images of iTerm2, also supported by WezTerm, VS Code and others.
    Iterm,
    /// Sixel graphics: xterm, foot, mlterm, Konsole, Windows Terminal.
    Sixel,
    /// Quarter blocks in color, for every terminal with Unicode.
    Blocks,
    /// No pictures.
    None,
}

impl Protocol {
    /// All protocols, with the names that `SPECTRAL_IMAGES` takes.
    pub const NAMES: [(&'static str, Protocol); 5] = [
        ("kitty", Protocol::Kitty),
        ("iterm", Protocol::Iterm),
        ("sixel", Protocol::Sixel),
        ("blocks", Protocol::Blocks),
        ("none", Protocol::None),
    ];

    /// Returns the protocol with this name.
    pub fn named(name: &str) -> Option<Protocol> {
        Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, protocol)| *protocol)
    }

    /// Returns the name that `SPECTRAL_IMAGES` takes.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, protocol)| *protocol == self).map_or("none", |(name, _)| name)
    }

    /// Returns the protocol of the terminal on standard output, from the environment or, if that is inconclusive,
    /// by querying the terminal.
    pub fn of_terminal() -> Protocol {
        let look = |name: &str| std::env::var(name).ok();
        match detect(look, None) {
            // The terminal may support more than the environment says.
            Protocol::Blocks if look("SPECTRAL_IMAGES").is_none() => detect(look, ask().as_deref()),
            known => known,
        }
    }
}

/// Size and colors of a terminal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canvas {
    /// Characters in a line.
    pub columns: usize,
    /// Lines on the screen.
    pub rows: usize,
    /// Width and height of a character in pixels, if the terminal reports them.
    pub cell: Option<(f64, f64)>,
    /// Whether the terminal shows 24-bit colors, or only the 256 of a palette.
    pub true_color: bool,
}

impl Canvas {
    /// Returns the canvas of the terminal on standard output.
    pub fn of_terminal() -> Self {
        let color = std::env::var("COLORTERM").unwrap_or_default();
        let (rows, cell) = terminal::rows_and_cell();
        Self {
            columns: terminal::width(),
            rows: rows.unwrap_or(24),
            cell,
            true_color: matches!(color.as_str(), "truecolor" | "24bit"),
        }
    }

    /// Returns the width of a character divided by its height.
    fn shape(&self) -> f64 {
        self.cell.map_or(0.5, |(width, height)| width / height)
    }

    /// Returns the number of columns for a picture of this size in pixels: up to the terminal's width, but not
    /// larger than intended, and not higher than the screen without the prompt.
    fn columns_for(&self, (width, height): (usize, usize), per_column: f64) -> usize {
        let (width, height) = (width.max(1) as f64, height.max(1) as f64);
        let natural = (width / per_column).max(1.0);
        let rows = self.rows.saturating_sub(3).max(1) as f64;
        let by_height = rows / self.shape() * width / height;
        natural.min(by_height).min(self.columns as f64).max(1.0) as usize
    }
}

/// Returns the picture of a value as text to write to the terminal without a line end; `None` if there is no
/// picture or no way to show it.
pub fn draw(display: &Display, protocol: Protocol, canvas: Canvas) -> Option<String> {
    let png = display.png.as_deref()?;
    let size = pixels::size(png)?;
    let columns = canvas.columns_for(size, PER_COLUMN);
    match protocol {
        Protocol::Kitty => Some(kitty::encode(png, columns)),
        Protocol::Iterm => Some(iterm::encode(png, columns)),
        Protocol::Sixel => {
            let (cell, shape) = (canvas.cell.map_or(8.0, |(width, _)| width), size.1 as f64 / size.0 as f64);
            let width = (columns as f64 * cell).round().max(1.0);
            let picture = pixels::decode(png)?.scaled(width as usize, (width * shape).round() as usize);
            Some(sixel::encode(&picture))
        }
        Protocol::Blocks => {
            // Four pixels per character are few, so such a picture uses all available space.
            let columns = canvas.columns_for(size, 1.0);
            let rows = columns as f64 * canvas.shape() * size.1 as f64 / size.0 as f64;
            let picture = pixels::decode(png)?.scaled(2 * columns, 2 * (rows.round() as usize).max(1));
            Some(blocks::encode(&picture, canvas.true_color))
        }
        Protocol::None => None,
    }
}

/// Returns the implementation of `figure.show()` for a terminal: the picture, and the line of text that describes
/// it.
///
/// The protocol is determined when the first picture is shown, the size for each picture.
pub fn shower(protocol: impl Fn() -> Protocol + Send + Sync + 'static, print: Print) -> Show {
    Arc::new(move |display| match draw(display, protocol(), Canvas::of_terminal()) {
        Some(picture) => {
            print(&format!("{picture}\n{}", display.text));
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canvas(columns: usize, rows: usize) -> Canvas {
        Canvas { columns, rows, cell: None, true_color: true }
    }

    #[test]
    fn a_picture_fits_both_ways_and_is_not_blown_up() {
        // 1280 x 800 is a figure of 640 x 400: 80 columns by 25 rows if there is enough space.
        assert_eq!(canvas(200, 100).columns_for((1280, 800), PER_COLUMN), 80);
        assert_eq!(canvas(60, 100).columns_for((1280, 800), PER_COLUMN), 60);
        // 13 rows less 3 are 10: 10 rows x 2 columns each x 1.6.
        assert_eq!(canvas(200, 13).columns_for((1280, 800), PER_COLUMN), 32);
        assert_eq!(canvas(200, 1).columns_for((1280, 80_000), PER_COLUMN), 1);
    }

    #[test]
    fn every_form_shows_the_same_picture() {
        let png = pixels::tests::png(&[[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], 2);
        let display = Display { png: Some(png), ..Display::text("a picture") };
        for (name, protocol) in Protocol::NAMES {
            let drawn = draw(&display, protocol, canvas(80, 24));
            assert_eq!(drawn.is_some(), protocol != Protocol::None, "{name}");
            assert!(drawn.is_none_or(|text| text.contains('\x1b') && !text.ends_with('\n')), "{name}");
            assert!(draw(&Display::text("no picture"), protocol, canvas(80, 24)).is_none());
            assert_eq!(Protocol::named(protocol.name()), Some(protocol));
        }
    }
}
