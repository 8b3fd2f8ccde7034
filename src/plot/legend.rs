//! Legend, placed where the plot is emptiest, or beside the plot.

use crate::declare::Choice;
use crate::plot::color::Color;
use crate::plot::geometry::{Point, Rect};
use crate::plot::layer::{Curve, Layer, Reference, Shape};
use crate::plot::lettering::Face;
use crate::plot::scene::{Anchor, Scene, Stroke};
use crate::plot::style::{LEGEND_EDGE, Marker, TEXT, TICK_SIZE};

/// Place of the legend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Legend {
    /// Inside the plot if it covers nothing there, else to the right of it.
    #[default]
    Auto,
    /// To the right of the plot.
    Right,
    /// Not drawn.
    Hidden,
}

const SWATCH: f64 = 26.0;
const ROW: f64 = 17.0;
const PAD: f64 = 8.0;
const GAP: f64 = 7.0;

#[derive(Debug, Clone, PartialEq)]
enum Swatch {
    Line { stroke: Stroke, marker: Option<Marker>, band: bool },
    Upright { stroke: Stroke },
    Point { marker: Marker, radius: f64 },
    Block { alpha: f64 },
}

/// One row of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    name: String,
    color: Color,
    swatch: Swatch,
}

impl Entry {
    /// Returns the row of a layer, if it has a name.
    pub fn layer(layer: &Layer) -> Option<Self> {
        let swatch = match &layer.shape {
            Shape::Curve(Curve { spread, width, dash, marker, .. }) => Swatch::Line {
                stroke: Stroke::new(layer.color, *width).dashed(*dash),
                marker: *marker,
                band: spread.as_ref().is_some_and(|s| s.band),
            },
            Shape::Points { marker, radius, .. } => {
                Swatch::Point { marker: *marker, radius: radius.max(3.0) }
            }
            Shape::Bars { alpha, .. } => Swatch::Block { alpha: *alpha },
            Shape::Intervals { marker, .. } => {
                Swatch::Line { stroke: Stroke::new(layer.color, 1.6), marker: Some(*marker), band: false }
            }
        };
        (!layer.name.is_empty()).then(|| Self { name: layer.name.clone(), color: layer.color, swatch })
    }

    /// Returns the row of a reference line, if it has a label.
    pub fn reference(reference: &Reference, upright: bool) -> Option<Self> {
        let stroke = reference.stroke();
        let swatch = match upright {
            true => Swatch::Upright { stroke },
            false => Swatch::Line { stroke, marker: None, band: reference.spread > 0.0 },
        };
        (!reference.label.is_empty()).then(|| Self {
            name: reference.label.clone(),
            color: reference.color,
            swatch,
        })
    }
}

/// Returns the size of a legend with these rows, with names shortened to `widest`.
pub(crate) fn size(face: &Face, entries: &[Entry], widest: f64) -> (f64, f64) {
    let text = entries.iter().map(|e| face.width(&e.name, TICK_SIZE)).fold(0.0, f64::max);
    (2.0 * PAD + SWATCH + GAP + text.min(widest), height(entries.len()))
}

/// Returns the height of a legend with this number of rows.
pub(crate) fn height(rows: usize) -> f64 {
    2.0 * (PAD - 3.0) + ROW * rows as f64
}

/// Returns a place inside the plot where a legend of this size covers none of the traced points.
pub(crate) fn place(plot: &Rect, (width, height): (f64, f64), trace: &[Point]) -> Option<Rect> {
    const INSET: f64 = 8.0;
    if width > 0.5 * plot.width() || height > 0.6 * plot.height() {
        return None;
    }
    let (left, right) = (plot.left + INSET, plot.right - INSET - width);
    let (top, bottom) = (plot.top + INSET, plot.bottom - INSET - height);
    let (middle, center) = (plot.center().1 - height / 2.0, plot.center().0 - width / 2.0);
    let places = [
        (right, top),
        (left, top),
        (right, bottom),
        (left, bottom),
        (center, top),
        (center, bottom),
        (right, middle),
        (left, middle),
    ];
    places
        .into_iter()
        .map(|(x, y)| Rect::new(x, y, width, height))
        .find(|rect| !trace.iter().any(|point| rect.grown(5.0).contains(*point)))
}

/// Draws the rows into `rect`, with a thin frame if they are inside the plot. The last row says how many do not fit.
pub(crate) fn draw(scene: &mut Scene, entries: &[Entry], rect: Rect, framed: bool) {
    if framed {
        scene.rect(rect, Color::WHITE.faint(0.9));
        scene.frame(rect, 0.75, LEGEND_EDGE);
    }
    let left = rect.left + PAD;
    let room = rect.right - PAD - (left + SWATCH + GAP) + 0.5;
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let names = scene.face.shorten_all(&names, TICK_SIZE, room);
    let rows = ((rect.height() - height(0) + 0.5) / ROW).max(1.0) as usize;
    let shown = if rows < entries.len() { rows - 1 } else { entries.len() };
    let middle_of = |i: usize| rect.top + PAD - 3.0 + ROW * (i as f64 + 0.5);
    for (i, entry) in entries.iter().take(shown).enumerate() {
        let y = middle_of(i);
        let middle = left + SWATCH / 2.0;
        match &entry.swatch {
            Swatch::Line { stroke, marker, band } => {
                if *band {
                    scene.rect(Rect::new(left, y - 5.0, SWATCH, 10.0), entry.color.faint(0.18));
                }
                scene.line(&[(left, y), (left + SWATCH, y)], *stroke, None);
                if let Some(marker) = marker {
                    scene.marker(*marker, (middle, y), 3.4, entry.color, 0.9);
                }
            }
            Swatch::Upright { stroke } => {
                scene.line(&[(middle, y + 7.5), (middle, y - 7.5)], *stroke, None);
            }
            Swatch::Point { marker, radius } => {
                scene.marker(*marker, (middle, y), *radius, entry.color, 0.0);
            }
            Swatch::Block { alpha } => {
                let block = Rect::new(left + 4.0, y - 5.0, SWATCH - 8.0, 10.0);
                scene.rect(block, entry.color.faint(*alpha));
                if *alpha < 1.0 {
                    scene.frame(block, 1.0, entry.color);
                }
            }
        }
        scene.text_centered(&names[i], (left + SWATCH + GAP, y), TICK_SIZE, Anchor::Start, TEXT);
    }
    if shown < entries.len() {
        let rest = format!("and {} more", entries.len() - shown);
        scene.text_centered(&rest, (left, middle_of(shown)), TICK_SIZE, Anchor::Start, TEXT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLOT: Rect = Rect { left: 0.0, top: 0.0, right: 400.0, bottom: 300.0 };

    #[test]
    fn the_legend_goes_where_there_is_nothing() {
        assert_eq!(place(&PLOT, (100.0, 60.0), &[]).unwrap().right, 392.0);
        let right_half: Vec<Point> = (0..60).map(|i| (380.0, 5.0 * f64::from(i))).collect();
        assert_eq!(place(&PLOT, (100.0, 60.0), &right_half).unwrap().left, 8.0);
    }

    #[test]
    fn a_crowded_or_small_plot_has_no_place_inside() {
        let everywhere: Vec<Point> =
            (0..40).flat_map(|x| (0..30).map(move |y| (10.0 * f64::from(x), 10.0 * f64::from(y)))).collect();
        assert_eq!(place(&PLOT, (100.0, 60.0), &everywhere), None);
        assert_eq!(place(&PLOT, (300.0, 60.0), &[]), None);
    }
}
