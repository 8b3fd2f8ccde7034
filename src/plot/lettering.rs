//! Text: the embedded DejaVu Sans, measured and outlined, with system fonts for characters that it lacks.
//!
//! Layout measures text here, and both outputs follow it: the PNG fills these outlines, and the SVG asks for the
//! same family first, whose common substitutes are no wider.

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve};

use crate::error::{Error, Result};
use crate::plot::fonts::Fonts;
use crate::plot::geometry::Point;

/// Height of a capital letter over the font size, for centering text on a line.
pub(crate) const CAPITAL: f64 = 0.73;
/// Distance between baselines over the font size.
pub(crate) const LEADING: f64 = 1.25;

/// The embedded font, and system fonts for characters that it lacks.
#[derive(Debug)]
pub(crate) struct Face {
    font: FontRef<'static>,
    units: f64,
    others: Fonts,
}

/// A glyph on its line, in units of the embedded font.
pub(crate) struct Placed {
    pub character: char,
    pub id: GlyphId,
    /// Whether the glyph comes from a system font.
    pub foreign: bool,
    pub start: f64,
    pub end: f64,
}

impl Face {
    /// Reads the embedded font; cheap, since nothing is copied.
    pub fn new() -> Result<Self> {
        let font = FontRef::try_from_slice(Self::file())
            .map_err(|_| Error::internal("the embedded font cannot be read"))?;
        let units = f64::from(font.units_per_em().unwrap_or(2048.0));
        Ok(Self { font, units, others: Fonts::default() })
    }

    /// Returns the file of the embedded font.
    pub fn file() -> &'static [u8] {
        dejavu::sans::regular()
    }

    /// Returns the units of the embedded font per font size.
    pub fn units(&self) -> f64 {
        self.units
    }

    /// Returns the lowest and the highest place of a line of text, in units of the embedded font.
    pub fn reach(&self) -> (f32, f32) {
        (self.font.descent_unscaled(), self.font.ascent_unscaled())
    }

    /// Returns the width of a text in pixels at a font size in pixels.
    pub fn width(&self, text: &str, size: f64) -> f64 {
        self.placed(text).last().map_or(0.0, |glyph| glyph.end * size / self.units)
    }

    /// Returns the characters of a text that no font has; they are drawn as boxes.
    pub fn missing(&self, text: &str) -> Vec<char> {
        let lacking: Vec<char> = self.lacking(text).collect();
        self.others.look_for(lacking.iter().copied());
        lacking.into_iter().filter(|c| self.others.with(*c, |_, _, _| ()).is_none()).collect()
    }

    /// Returns the characters that the embedded font lacks.
    fn lacking<'a>(&'a self, text: &'a str) -> impl Iterator<Item = char> + 'a {
        text.chars().filter(|c| self.font.glyph_id(*c).0 == 0 && !is_invisible(*c))
    }

    /// Returns every glyph of a text with its position.
    pub fn placed(&self, text: &str) -> Vec<Placed> {
        if self.lacking(text).next().is_some() {
            self.others.look_for(self.lacking(text));
        }
        let (mut x, mut previous, mut placed) = (0.0, None, Vec::new());
        for character in text.chars() {
            let own = self.font.glyph_id(character);
            if own.0 == 0 && is_invisible(character) {
                continue;
            }
            let other = (own.0 == 0).then(|| {
                self.others.with(character, |number, font, id| {
                    let units = f64::from(font.units_per_em().unwrap_or(1000.0));
                    (number, id, f64::from(font.h_advance_unscaled(id)) * self.units / units)
                })
            });
            let other = other.flatten();
            let (source, id, advance) = match other {
                Some((number, id, advance)) => (Some(number), id, advance),
                None => (None, own, f64::from(self.font.h_advance_unscaled(own))),
            };
            if let Some((before, glyph)) = previous.replace((source, id))
                && before == source
                && source.is_none()
            {
                x += f64::from(self.font.kern_unscaled(glyph, id));
            }
            placed.push(Placed { character, id, foreign: source.is_some(), start: x, end: x + advance });
            x += advance;
        }
        placed
    }

    /// Returns the outlines of a text that starts at the origin, as closed contours in pixels with y downwards.
    pub fn outlines(&self, text: &str, size: f64) -> Vec<Vec<Point>> {
        self.placed(text).iter().flat_map(|glyph| self.outline(glyph, size)).collect()
    }

    /// Returns the outline of one glyph of a text, as [`Face::outlines`] does.
    pub fn outline(&self, glyph: &Placed, size: f64) -> Vec<Vec<Point>> {
        let scale = size / self.units;
        // Outlines are in the units of their font.
        let (outline, own) = match glyph.foreign {
            false => (self.font.outline(glyph.id), 1.0),
            true => self
                .others
                .with(glyph.character, |_, font, id| {
                    (font.outline(id), self.units / f64::from(font.units_per_em().unwrap_or(1000.0)))
                })
                .unwrap_or((None, 1.0)),
        };
        let mut contours: Vec<Vec<Point>> = Vec::new();
        let Some(outline) = outline else { return contours };
        let place = |p: ab_glyph::Point| {
            ((glyph.start + f64::from(p.x) * own) * scale, -f64::from(p.y) * own * scale)
        };
        let mut last = None;
        for curve in outline.curves {
            let (from, to, rest) = match curve {
                OutlineCurve::Line(a, b) => (a, b, vec![place(b)]),
                OutlineCurve::Quad(a, b, c) => (a, c, bend(&[place(a), place(b), place(c)])),
                OutlineCurve::Cubic(a, b, c, d) => (a, d, bend(&[place(a), place(b), place(c), place(d)])),
            };
            // Compared in font units, which are exact, since pixels differ by rounding at some sizes.
            if last != Some(from) {
                contours.push(vec![place(from)]);
            }
            last = Some(to);
            if let Some(contour) = contours.last_mut() {
                contour.extend(rest);
            }
        }
        contours
    }

    /// Breaks a text at spaces, and after hyphens if that is not enough, into lines no wider than `width`; a single
    /// long word stays whole.
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

    /// Shortens texts to `width`: at the end, or in the middle if texts that differ would look alike.
    pub fn shorten_all(&self, texts: &[String], size: f64, width: f64) -> Vec<String> {
        let distinct = |texts: &[String]| texts.iter().collect::<std::collections::BTreeSet<_>>().len();
        let short: Vec<String> = texts.iter().map(|text| self.shorten(text, size, width)).collect();
        if distinct(&short) == distinct(texts) {
            return short;
        }
        texts.iter().map(|text| self.shorten_middle(text, size, width)).collect()
    }

    fn shorten_middle(&self, text: &str, size: f64, width: f64) -> String {
        if self.width(text, size) <= width {
            return text.to_owned();
        }
        let all: Vec<char> = text.chars().collect();
        for kept in (1..all.len()).rev() {
            let (head, tail): (String, String) =
                (all[..kept.div_ceil(2)].iter().collect(), all[all.len() - kept / 2..].iter().collect());
            let short = format!("{}…{}", head.trim_end(), tail.trim_start());
            if self.width(&short, size) <= width {
                return short;
            }
        }
        String::new()
    }
}

/// Returns whether a character is invisible: controls, joiners, direction marks, variation selectors.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || c.is_whitespace()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// Returns points along a Bezier curve after its start (de Casteljau), precise enough for text at figure sizes.
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
    fn characters_that_no_font_has_are_named_and_invisible_ones_take_no_room() {
        let face = Face::new().unwrap();
        assert_eq!(face.missing("loss α → ² é"), []);
        // Private-use characters, which no system font has.
        assert_eq!(face.missing("a\u{10fffd}b\u{10fffc}"), ['\u{10fffd}', '\u{10fffc}']);
        assert_eq!(face.width("a\u{fe0f}\u{200d}b", 12.0), face.width("ab", 12.0));
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

    #[test]
    fn names_that_differ_stay_different() {
        let face = Face::new().unwrap();
        let names: Vec<String> = (0..40).map(|i| format!("configuration number {i}")).collect();
        let short = face.shorten_all(&names, 10.5, 110.0);
        assert!(short[12].starts_with("confi") && short[12].ends_with("r 12"), "{}", short[12]);
        assert_eq!(short.iter().collect::<std::collections::BTreeSet<_>>().len(), 40);
        assert!(short.iter().all(|name| face.width(name, 10.5) <= 110.0));
        assert!(face.shorten_all(&["a long name that is cut".to_owned()], 10.5, 60.0)[0].ends_with('…'));
    }
}
