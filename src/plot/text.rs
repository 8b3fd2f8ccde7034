//! Type: the embedded DejaVu Sans, measured and outlined.
//!
//! Layout asks here how wide a text is and both outputs follow it: the PNG fills these very outlines, and the SVG
//! asks for the same family first, whose common stand-ins are no wider.

use ab_glyph::{Font, FontRef, OutlineCurve};

use crate::error::{Error, Result};
use crate::plot::geometry::Point;

/// Height of a capital letter over the font size, for centring text on a line.
pub(crate) const CAPITAL: f64 = 0.73;
/// Distance between base lines over the font size.
pub(crate) const LEADING: f64 = 1.25;

/// The embedded font.
#[derive(Debug)]
pub(crate) struct Face {
    font: FontRef<'static>,
    units: f64,
}

impl Face {
    /// Reads the embedded font; cheap, since nothing is copied.
    pub fn new() -> Result<Self> {
        let font = FontRef::try_from_slice(dejavu::sans::regular())
            .map_err(|_| Error::internal("the embedded font cannot be read"))?;
        let units = f64::from(font.units_per_em().unwrap_or(2048.0));
        Ok(Self { font, units })
    }

    /// The width of a text in pixels at a font size in pixels.
    pub fn width(&self, text: &str, size: f64) -> f64 {
        self.advances(text).last().map_or(0.0, |(_, end)| end * size / self.units)
    }

    /// The glyph and its right end, in font units, for every character.
    fn advances<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (ab_glyph::GlyphId, f64)> + 'a {
        let mut x = 0.0;
        let mut previous = None;
        text.chars().map(move |c| {
            let id = self.font.glyph_id(c);
            if let Some(previous) = previous.replace(id) {
                x += f64::from(self.font.kern_unscaled(previous, id));
            }
            x += f64::from(self.font.h_advance_unscaled(id));
            (id, x)
        })
    }

    /// The outlines of a text that starts at the origin, as closed contours in pixels with y downwards.
    pub fn outlines(&self, text: &str, size: f64) -> Vec<Vec<Point>> {
        let scale = size / self.units;
        let mut contours: Vec<Vec<Point>> = Vec::new();
        for (id, end) in self.advances(text) {
            let start = end - f64::from(self.font.h_advance_unscaled(id));
            let Some(outline) = self.font.outline(id) else { continue };
            let place = |p: ab_glyph::Point| ((start + f64::from(p.x)) * scale, -f64::from(p.y) * scale);
            let mut last = None;
            for curve in outline.curves {
                let (from, to, rest) = match curve {
                    OutlineCurve::Line(a, b) => (a, b, vec![place(b)]),
                    OutlineCurve::Quad(a, b, c) => (a, c, bend(&[place(a), place(b), place(c)])),
                    OutlineCurve::Cubic(a, b, c, d) => {
                        (a, d, bend(&[place(a), place(b), place(c), place(d)]))
                    }
                };
                // Compared in font units, which are exact; pixels differ by rounding at some sizes.
                if last != Some(from) {
                    contours.push(vec![place(from)]);
                }
                last = Some(to);
                if let Some(contour) = contours.last_mut() {
                    contour.extend(rest);
                }
            }
        }
        contours
    }

    /// Breaks a text at spaces, and where that is not enough after hyphens, into lines no wider than `width`; a
    /// single long word stays whole.
    pub fn wrap(&self, text: &str, size: f64, width: f64) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for paragraph in text.lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                let mut joint = if line.is_empty() { "" } else { " " };
                let whole = self.width(word, size) <= width;
                let parts: Vec<&str> = if whole { vec![word] } else { word.split_inclusive('-').collect() };
                for part in parts {
                    let longer = format!("{line}{joint}{part}");
                    if !line.is_empty() && self.width(&longer, size) > width {
                        lines.push(std::mem::replace(&mut line, part.to_owned()));
                    } else {
                        line = longer;
                    }
                    joint = "";
                }
            }
            lines.push(line);
        }
        lines
    }

    /// Shortens a text with an ellipsis until it is no wider than `width`.
    pub fn shorten(&self, text: &str, size: f64, width: f64) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let mut kept: Vec<char> = text.chars().collect();
        while kept.pop().is_some() {
            let short: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
            if self.width(&short, size) <= width {
                return short;
            }
        }
        String::new()
    }
}

/// Points along a Bezier curve after its start (de Casteljau), close enough for type at figure sizes.
fn bend(controls: &[Point]) -> Vec<Point> {
    const STEPS: usize = 6;
    (1..=STEPS)
        .map(|step| {
            let t = step as f64 / STEPS as f64;
            let mut points = controls.to_vec();
            while points.len() > 1 {
                points = points
                    .windows(2)
                    .map(|p| (p[0].0 + t * (p[1].0 - p[0].0), p[0].1 + t * (p[1].1 - p[0].1)))
                    .collect();
            }
            points[0]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_the_same_contours_at_every_size() {
        let face = Face::new().unwrap();
        for size in (70..200).map(|tenth| f64::from(tenth) / 10.0) {
            // 0 has a hole, 8 has two, and i a dot.
            assert_eq!(face.outlines("0.38i", size).len(), 2 + 1 + 1 + 3 + 2, "at size {size}");
        }
    }

    #[test]
    fn widths_follow_the_font_and_scale_with_size() {
        let face = Face::new().unwrap();
        // The advance of `0` in DejaVu Sans is 1303 of 2048 units.
        assert!((face.width("0", 2048.0) - 1303.0).abs() < 1e-6);
        assert!((face.width("spectral", 24.0) - 2.0 * face.width("spectral", 12.0)).abs() < 1e-9);
        assert_eq!(face.width("", 12.0), 0.0);
    }

    #[test]
    fn wrapped_lines_fit_and_lose_no_word() {
        let face = Face::new().unwrap();
        let text = "radial power spectrum of the velocity field";
        let lines = face.wrap(text, 12.0, 120.0);
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| face.width(line, 12.0) <= 120.0));
        assert_eq!(lines.join(" "), text);
        assert_eq!(face.wrap("high-frequency ratio", 10.0, 50.0), ["high-", "frequency", "ratio"]);
    }

    #[test]
    fn shortened_text_fits_and_says_so() {
        let face = Face::new().unwrap();
        let short = face.shorten("a very long caption", 12.0, 60.0);
        assert!(short.ends_with('…') && face.width(&short, 12.0) <= 60.0);
        assert_eq!(face.shorten("abc", 12.0, 60.0), "abc");
    }
}
