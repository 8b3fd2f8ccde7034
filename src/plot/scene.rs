//! Drawing as a list of marks in pixels, with the origin at the top left; input of both output formats.

use crate::error::Result;
use crate::plot::color::Color;
use crate::plot::figure::DrawCheck;
use crate::plot::geometry::{Point, Rect, clip_line, clip_polygon, dash_line};
use crate::plot::lettering::{CAPITAL, Face, LEADING};
use crate::plot::style::{Dash, Hatch, Marker};

/// Position of a text relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// Color with opacity, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ink {
    pub color: Color,
    pub alpha: f64,
}

impl From<Color> for Ink {
    fn from(color: Color) -> Self {
        Self { color, alpha: 1.0 }
    }
}

impl Color {
    /// Returns this color with an opacity.
    pub(crate) fn faint(self, alpha: f64) -> Ink {
        Ink { color: self, alpha }
    }
}

/// Style of a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stroke {
    pub ink: Ink,
    pub width: f64,
    pub dash: Dash,
}

impl Stroke {
    pub fn new(ink: impl Into<Ink>, width: f64) -> Self {
        Self { ink: ink.into(), width, dash: Dash::Solid }
    }

    pub fn dashed(mut self, dash: Dash) -> Self {
        self.dash = dash;
        self
    }
}

/// A mark of a drawing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mark {
    Polygon { points: Vec<Point>, ink: Ink },
    Line { points: Vec<Point>, width: f64, ink: Ink },
    Rect { rect: Rect, ink: Ink },
    Circle { center: Point, radius: f64, ink: Ink },
    Text { text: String, at: Point, size: f64, anchor: Anchor, upwards: bool, ink: Ink },
    Image { rect: Rect, width: usize, height: usize, rgb: Vec<u8> },
}

/// Drawing with its marks, and the font to measure text for it.
#[derive(Debug)]
pub(crate) struct Scene {
    pub width: f64,
    pub height: f64,
    pub marks: Vec<Mark>,
    pub face: Face,
    /// Called between the marks.
    pub watch: DrawCheck,
}

impl Scene {
    pub fn new(width: f64, height: f64) -> Result<Self> {
        Ok(Self { width, height, marks: Vec::new(), face: Face::new()?, watch: DrawCheck::default() })
    }

    pub fn rect(&mut self, rect: Rect, ink: impl Into<Ink>) {
        if rect.width() > 0.0 && rect.height() > 0.0 {
            self.marks.push(Mark::Rect { rect, ink: ink.into() });
        }
    }

    /// Draws a rectangle with white lines across it.
    pub fn block(&mut self, rect: Rect, ink: impl Into<Ink>, hatch: Hatch) {
        self.rect(rect, ink);
        for line in hatch.lines(&rect) {
            self.line(&line, Stroke::new(Color::WHITE, 1.2), Some(&rect));
        }
    }

    /// Draws the outline of a rectangle, inside its sides.
    pub fn frame(&mut self, rect: Rect, width: f64, ink: impl Into<Ink>) {
        let ink = ink.into();
        let inner = rect.grown(-width);
        self.rect(Rect { bottom: inner.top, ..rect }, ink);
        self.rect(Rect { top: inner.bottom, ..rect }, ink);
        self.rect(Rect { right: inner.left, top: inner.top, bottom: inner.bottom, ..rect }, ink);
        self.rect(Rect { left: inner.right, top: inner.top, bottom: inner.bottom, ..rect }, ink);
    }

    pub fn polygon(&mut self, points: &[Point], ink: impl Into<Ink>, clip: Option<&Rect>) {
        let points = clip.map_or_else(|| points.to_vec(), |area| clip_polygon(points, area));
        if points.len() > 2 {
            self.marks.push(Mark::Polygon { points, ink: ink.into() });
        }
    }

    pub fn line(&mut self, points: &[Point], stroke: Stroke, clip: Option<&Rect>) {
        let pieces = clip.map_or_else(|| vec![points.to_vec()], |area| clip_line(points, area));
        let pattern: Vec<f64> = stroke.dash.pattern().iter().map(|part| part * stroke.width).collect();
        for piece in pieces {
            let parts = if pattern.is_empty() { vec![piece] } else { dash_line(&piece, &pattern) };
            for points in parts.into_iter().filter(|points| points.len() > 1) {
                self.marks.push(Mark::Line { points, width: stroke.width, ink: stroke.ink });
            }
        }
    }

    /// Draws a marker with a thin white rim, which separates it from the lines below.
    pub fn marker(&mut self, marker: Marker, at: Point, radius: f64, ink: impl Into<Ink>, rim: f64) {
        let ink = ink.into();
        let coats = [(radius + rim, Color::WHITE.into()), (radius, ink)];
        for (radius, ink) in coats.into_iter().skip(usize::from(rim <= 0.0)) {
            match marker {
                Marker::Circle => self.marks.push(Mark::Circle { center: at, radius, ink }),
                _ => self.marks.push(Mark::Polygon { points: marker.corners(at, radius), ink }),
            }
        }
    }

    /// Draws a line of text whose baseline contains `at`.
    pub fn text(&mut self, text: &str, at: Point, size: f64, anchor: Anchor, ink: impl Into<Ink>) {
        self.put(text, at, size, anchor, false, ink.into());
    }

    /// Draws a line of text whose capitals are vertically centered on `at`.
    pub fn text_centered(&mut self, text: &str, at: Point, size: f64, anchor: Anchor, ink: impl Into<Ink>) {
        self.put(text, (at.0, at.1 + CAPITAL / 2.0 * size), size, anchor, false, ink.into());
    }

    /// Draws text that reads upwards; its baseline, to the right of the letters, contains `at`.
    pub fn text_upwards(&mut self, text: &str, at: Point, size: f64, anchor: Anchor, ink: impl Into<Ink>) {
        self.put(text, at, size, anchor, true, ink.into());
    }

    fn put(&mut self, text: &str, at: Point, size: f64, anchor: Anchor, upwards: bool, ink: Ink) {
        if !text.is_empty() {
            self.marks.push(Mark::Text { text: text.to_owned(), at, size, anchor, upwards, ink });
        }
    }

    /// Draws centered lines of text, from `top` downwards.
    pub fn lines(&mut self, lines: &[String], center: f64, top: f64, size: f64, ink: impl Into<Ink>) {
        let ink = ink.into();
        for (i, line) in lines.iter().enumerate() {
            let base = top + size * (0.95 + LEADING * i as f64);
            self.text(line, (center, base), size, Anchor::Middle, ink);
        }
    }
}

/// Returns the height of `count` lines of text.
pub(crate) fn lines_height(count: usize, size: f64) -> f64 {
    if count == 0 { 0.0 } else { size * (LEADING * count as f64) }
}
