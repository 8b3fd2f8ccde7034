//! Output of a scene as SVG by plotters' backend: text stays text, images are embedded with hard pixel edges.
//!
//! plotters works in whole pixels, so it draws on a grid [`FINE`] times finer than the page, which the view box
//! scales down. Its backend cannot embed images without more crates, so they are placed before its elements; this
//! is correct since no figure draws an image over anything else.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use plotters::backend::SVGBackend;
use plotters::prelude::{Color, DrawingBackend, IntoFont, RGBAColor, RGBColor, ShapeStyle};
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, Result};
use crate::files;
use crate::plot::geometry::{Point, Rect};

use crate::plot::scene::{Anchor, Ink, Mark, Scene};

/// Steps of the drawing grid per pixel of layout.
const FINE: f64 = 50.0;
const FAMILY: &str = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif";
/// Factor by which plotters divides the sizes it writes.
const POINTS: f64 = 1.24;
/// plotters raises the baseline of bottom-anchored text by half an x-height, which is 0.547 em here.
const LIFT: f64 = 0.273;

/// Writes a scene on white as one SVG document.
pub(crate) fn write(scene: &Scene) -> Result<String> {
    let fine = |v: f64| (v * FINE).round() as i32;
    let mut body = String::new();
    let mut backend =
        SVGBackend::with_string(&mut body, (fine(scene.width) as u32, fine(scene.height) as u32));
    let mut images = String::new();
    for mark in &scene.marks {
        scene.watch.check()?;
        if let Mark::Image { rect, width, height, rgb } = mark {
            image(&mut images, rect, *width, *height, rgb)?;
        } else {
            draw(&mut backend, mark)?;
        }
    }
    backend.present().map_err(failed)?;
    drop(backend);
    // The backend's root element is replaced, since this one scales the grid and rounds the joints of lines.
    let elements = body.find('\n').map_or("", |end| &body[end + 1..]);
    let (width, height) = (scene.width, scene.height);
    let (wide, high) = (fine(width), fine(height));
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {wide} {high}\" \
         stroke-linejoin=\"round\">\n<rect width=\"{wide}\" height=\"{high}\" fill=\"#FFFFFF\"/>\n{images}{elements}"
    ))
}

/// Returns the text with a replacement for each character that XML does not allow, escaped or not.
pub(crate) fn writable(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if allowed(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

fn image(out: &mut String, rect: &Rect, width: usize, height: usize, rgb: &[u8]) -> Result<()> {
    let data = STANDARD.encode(files::png(rgb, width as u32, height as u32)?);
    let fine = |v: f64| (v * FINE).round();
    writeln!(
        out,
        "<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:pixelated\" href=\"data:image/png;base64,{data}\"/>",
        fine(rect.left),
        fine(rect.top),
        fine(rect.width()),
        fine(rect.height()),
    )
    .map_err(|error| Error::internal(format!("writing svg text failed: {error}")))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::internal(format!("the svg backend failed: {error}"))
}

fn draw(backend: &mut SVGBackend, mark: &Mark) -> Result<()> {
    let at = |(x, y): &Point| ((x * FINE).round() as i32, (y * FINE).round() as i32);
    let outcome = match mark {
        Mark::Polygon { points, ink } => backend.fill_polygon(points.iter().map(at), &shape(*ink, 1.0)),
        Mark::Line { points, width, ink } => backend.draw_path(points.iter().map(at), &shape(*ink, *width)),
        Mark::Rect { rect, ink } => {
            let (from, to) = (at(&(rect.left, rect.top)), at(&(rect.right, rect.bottom)));
            backend.draw_rect(from, to, &shape(*ink, 1.0), true)
        }
        Mark::Circle { center, radius, ink } => {
            backend.draw_circle(at(center), (radius * FINE).round() as u32, &shape(*ink, 1.0), true)
        }
        Mark::Text { text, at: place, size, anchor, upwards, ink } => {
            let anchor = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let (shift, turn) = match upwards {
                false => ((0.0, LIFT * size), FontTransform::None),
                true => ((LIFT * size, 0.0), FontTransform::Rotate270),
            };
            let style = (FAMILY, size * FINE * POINTS)
                .into_font()
                .transform(turn)
                .color(&color(*ink))
                .pos(Pos::new(anchor, VPos::Bottom));
            let text = writable(&text.replace(char::is_control, " "));
            backend.draw_text(&text, &style, at(&(place.0 + shift.0, place.1 + shift.1)))
        }
        Mark::Image { .. } => Ok(()),
    };
    outcome.map_err(failed)
}

fn color(ink: Ink) -> RGBAColor {
    RGBColor(ink.color.red, ink.color.green, ink.color.blue).mix(ink.alpha)
}

fn shape(ink: Ink, width: f64) -> ShapeStyle {
    ShapeStyle { color: color(ink), filled: true, stroke_width: (width * FINE).round() as u32 }
}
