//! Sizes, grays, dash patterns and marker shapes of all figures.

use crate::declare::Choice;
use crate::plot::color::Color;
use crate::plot::geometry::{Point, Rect};

pub(crate) const TITLE_SIZE: f64 = 14.0;
pub(crate) const LABEL_SIZE: f64 = 12.0;
pub(crate) const TICK_SIZE: f64 = 10.5;
pub(crate) const TEXT: Color = Color::hex(0x222222);
pub(crate) const TICK_TEXT: Color = Color::hex(0x404040);
pub(crate) const SPINE: Color = Color::hex(0x555555);
pub(crate) const GRID: Color = Color::hex(0xe6e6e6);
pub(crate) const LEGEND_EDGE: Color = Color::hex(0xd0d0d0);
/// White space around a figure.
pub(crate) const EDGE: f64 = 10.0;

/// Dash pattern of a line, which distinguishes lines in grayscale print; series take them in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Dash {
    /// An unbroken line.
    #[default]
    Solid,
    /// Long dashes.
    Dashed,
    /// Dashes and dots in alternation.
    DashDot,
    /// Dots.
    Dotted,
}

impl Dash {
    /// Returns alternating lengths of dash and gap, in line widths; empty for a solid line.
    pub(crate) fn pattern(self) -> &'static [f64] {
        match self {
            Self::Solid => &[],
            Self::Dashed => &[4.5, 2.6],
            Self::Dotted => &[0.9, 1.9],
            Self::DashDot => &[5.0, 2.2, 0.9, 2.2],
        }
    }
}

/// White lines across a bar, which distinguish groups of bars in grayscale print; groups take them in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Hatch {
    /// No lines.
    #[default]
    Plain,
    /// Lines that rise to the right.
    Rising,
    /// Lines that fall to the right.
    Falling,
    /// Both.
    Crossed,
    /// Level lines.
    Level,
    /// Upright lines.
    Upright,
    /// Level and upright lines.
    Squared,
}

impl Hatch {
    pub(crate) const ALL: [Self; 7] =
        [Self::Plain, Self::Rising, Self::Falling, Self::Crossed, Self::Level, Self::Upright, Self::Squared];

    /// Returns the lines across a rectangle, which reach beyond it.
    pub(crate) fn lines(self, rect: &Rect) -> Vec<[Point; 2]> {
        const APART: f64 = 6.0;
        let (width, height) = (rect.width(), rect.height());
        let steps = |length: f64| (1..).map(|i| APART * f64::from(i)).take_while(move |at| *at < length);
        // Lines start at the bottom, so that equal bars of other heights have the same pattern.
        let rising =
            |at: f64| [(rect.left + at - height, rect.bottom), (rect.left + at, rect.bottom - height)];
        let falling =
            |at: f64| [(rect.right - at + height, rect.bottom), (rect.right - at, rect.bottom - height)];
        let level = |at: f64| [(rect.left, rect.bottom - at), (rect.right, rect.bottom - at)];
        let upright = |at: f64| [(rect.left + at, rect.bottom), (rect.left + at, rect.top)];
        match self {
            Self::Plain => Vec::new(),
            Self::Rising => steps(width + height).map(rising).collect(),
            Self::Falling => steps(width + height).map(falling).collect(),
            Self::Crossed => steps(width + height).flat_map(|at| [rising(at), falling(at)]).collect(),
            Self::Level => steps(height).map(level).collect(),
            Self::Upright => steps(width).map(upright).collect(),
            Self::Squared => steps(height).map(level).chain(steps(width).map(upright)).collect(),
        }
    }
}

/// Shape of a point; series take them in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Marker {
    /// A disc.
    #[default]
    Circle,
    /// A square.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// A triangle that points down.
    Down,
    /// A plus.
    Plus,
    /// A cross.
    Cross,
}

const TRIANGLE: [Point; 3] = [(0.0, -1.25), (1.12, 0.75), (-1.12, 0.75)];
const SQUARE: [Point; 4] = [(-0.89, -0.89), (0.89, -0.89), (0.89, 0.89), (-0.89, 0.89)];
const A: f64 = 0.36;
const B: f64 = 1.15;
#[rustfmt::skip]
const PLUS: [Point; 12] = [
    (-A, -B), (A, -B), (A, -A), (B, -A), (B, A), (A, A), (A, B), (-A, B), (-A, A), (-B, A), (-B, -A), (-A, -A),
];

impl Marker {
    /// Returns the corners of the shape around `at`, with about the weight of a disc of radius `r`; none for the
    /// circle.
    pub(crate) fn corners(self, (x, y): Point, r: f64) -> Vec<Point> {
        let place = |shape: &[Point], size: f64, turn: f64| {
            let (sin, cos) = turn.sin_cos();
            shape
                .iter()
                .map(|(a, b)| (x + size * (a * cos - b * sin), y + size * (a * sin + b * cos)))
                .collect()
        };
        let quarter = std::f64::consts::FRAC_PI_4;
        match self {
            Self::Circle => Vec::new(),
            Self::Square => place(&SQUARE, r, 0.0),
            Self::Triangle => place(&TRIANGLE, r, 0.0),
            Self::Down => place(&TRIANGLE, r, std::f64::consts::PI),
            Self::Diamond => place(&SQUARE, r * 1.04, quarter),
            Self::Plus => place(&PLUS, r, 0.0),
            Self::Cross => place(&PLUS, r, quarter),
        }
    }
}
