//! Renders a screen as an SVG image with selectable text, for the guides.

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

/// Width and height of a character, and the margin around the screen.
const WIDTH: f64 = 8.4;
const HEIGHT: f64 = 18.0;
const MARGIN: f64 = 14.0;

const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d7dae0";

/// The sixteen colors that a terminal theme defines.
const THEME: [&str; 16] = [
    "#2b2f38", "#f0716f", "#8cc570", "#e5c07b", "#6cb2f5", "#c792ea", "#5fc9c9", "#c8ccd4", "#7f8694",
    "#ff8b89", "#a5dc86", "#f5d08a", "#8cc8ff", "#dbabf5", "#7de0e0", "#ffffff",
];

/// Style of a run of characters.
#[derive(PartialEq, Clone)]
struct Look {
    front: String,
    back: String,
    bold: bool,
    italic: bool,
    underline: bool,
    dim: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let (mut front, mut back) = (color(cell.fgcolor(), FOREGROUND), color(cell.bgcolor(), BACKGROUND));
        if cell.inverse() {
            std::mem::swap(&mut front, &mut back);
        }
        Self {
            front,
            back,
            bold: cell.bold(),
            italic: cell.italic(),
            underline: cell.underline(),
            dim: cell.dim(),
        }
    }
}

/// Returns the screen, down to its last non-empty row, as SVG.
pub fn svg(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let used = |row: &u16| (0..columns).any(|c| screen.cell(*row, c).is_some_and(shows));
    let rows = (0..rows).rev().find(used).map_or(1, |row| row + 1);
    let width = f64::from(columns) * WIDTH + 2.0 * MARGIN;
    let height = f64::from(rows) * HEIGHT + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.1} {height:.1}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" \
         xml:space=\"preserve\">\n<style>text {{ white-space: pre }}</style>\n"
    );
    for row in 0..rows {
        draw_row(&mut out, screen, row, columns);
    }
    out += "</g>\n</svg>\n";
    out
}

fn shows(cell: &Cell) -> bool {
    !cell.contents().trim().is_empty() || cell.bgcolor() != Color::Default || cell.inverse()
}

fn draw_row(out: &mut String, screen: &Screen, row: u16, columns: u16) {
    let y = MARGIN + f64::from(row) * HEIGHT;
    let last = (0..columns).rev().find(|c| screen.cell(row, *c).is_some_and(shows));
    let end = last.map_or(0, |c| c + 1);
    let (mut start, mut text, mut look) = (0, String::new(), None);
    for column in 0..=end {
        let cell = screen.cell(row, column).filter(|_| column < end);
        let here = cell.map(Look::of);
        if here != look {
            if let Some(look) = &look {
                draw_run(out, (start, column), y, &text, look);
            }
            (start, text, look) = (column, String::new(), here);
        }
        match cell {
            Some(cell) if cell.is_wide_continuation() => {}
            Some(cell) if cell.has_contents() => text += cell.contents(),
            _ => text.push(' '),
        }
    }
}

fn draw_run(out: &mut String, (start, end): (u16, u16), y: f64, text: &str, look: &Look) {
    let x = MARGIN + f64::from(start) * WIDTH;
    let width = f64::from(end - start) * WIDTH;
    if look.back != BACKGROUND {
        *out += &block((x, y), (width, HEIGHT), &look.back);
    }
    // Pictures made of block characters must not depend on the font.
    if text.chars().all(|c| quarters(c).is_some()) {
        for (i, bits) in text.chars().filter_map(quarters).enumerate() {
            let x = x + i as f64 * WIDTH;
            for quarter in (0..4).filter(|quarter| bits >> quarter & 1 == 1) {
                let (right, lower) = (f64::from(quarter % 2), f64::from(quarter / 2));
                let (width, height) = (WIDTH / 2.0, HEIGHT / 2.0);
                *out += &block((x + right * width, y + lower * height), (width, height), &look.front);
            }
        }
        return;
    }
    if text.trim().is_empty() {
        return;
    }
    let mut style = String::new();
    let mut add = |on: bool, attribute: &str| {
        if on {
            style += attribute;
        }
    };
    add(look.bold, " font-weight=\"bold\"");
    add(look.italic, " font-style=\"italic\"");
    add(look.underline, " text-decoration=\"underline\"");
    add(look.dim, " opacity=\"0.65\"");
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
         fill=\"{}\"{style}>{text}</text>",
        y + 13.5,
        look.front
    );
}

/// Returns a filled rectangle, slightly enlarged so that neighbors show no seam.
fn block((x, y): (f64, f64), (width, height): (f64, f64), fill: &str) -> String {
    let (width, height) = (width + 0.3, height + 0.3);
    format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
         shape-rendering=\"crispEdges\" fill=\"{fill}\"/>\n"
    )
}

/// Returns the filled quarters of a block character as bits, from the upper left, row by row.
fn quarters(c: char) -> Option<u8> {
    let known = [
        (' ', 0),
        ('▘', 1),
        ('▝', 2),
        ('▀', 3),
        ('▖', 4),
        ('▌', 5),
        ('▞', 6),
        ('▛', 7),
        ('▄', 12),
        ('█', 15),
    ];
    known.iter().find(|(known, _)| *known == c).map(|(_, bits)| *bits)
}

fn color(color: Color, default: &str) -> String {
    match color {
        Color::Default => default.to_string(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Idx(i @ 0..=15) => THEME[usize::from(i)].to_string(),
        // Color cube of 6 x 6 x 6, then 24 grays.
        Color::Idx(i @ 16..=231) => {
            let level = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
            let i = i - 16;
            format!("#{:02x}{:02x}{:02x}", level(i / 36), level(i / 6 % 6), level(i % 6))
        }
        Color::Idx(i) => {
            let gray = 8 + 10 * (i - 232);
            format!("#{gray:02x}{gray:02x}{gray:02x}")
        }
    }
}
