//! Legend, placed where the plot is emptiest, or beside the plot.

use crate::declare::Choice;
use crate::plot::color::Color;
use crate::plot::geometry::{Point, Rect};
use crate::plot::layer::{Curve, Layer, Reference, Shape};
use crate::plot::lettering::Face;
use crate::plot::scene::{Anchor, Scene, Stroke};
use crate::plot::style::{Hatch, LEGEND_EDGE, Marker, TEXT, TICK_SIZE};

/// Place of the legend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Choice)]
pub enum Legend {
    /// Inside the plot if it covers nothing there, else to the right of it, or above it in a narrow figure.
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
    Block { alpha: f64, hatch: Hatch },
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
            Shape::Bars { look, .. } => Swatch::Block { alpha: look.alpha, hatch: look.hatch },
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

/// Returns the size of a legend above a plot, at most `widest`, and the start of every entry as x and row: in columns,
/// or one after the other if this takes fewer rows.
pub(crate) fn above(face: &Face, entries: &[Entry], widest: f64) -> ((f64, f64), Vec<(f64, usize)>) {
    const APART: f64 = 12.0;
    let inside = widest - 2.0 * PAD;
    let wide = |entry: &Entry| (SWATCH + GAP + face.width(&entry.name, TICK_SIZE)).min(inside) + APART;
    let column = entries.iter().map(wide).fold(0.0, f64::max);
    let most = ((inside + APART) / column).max(1.0) as usize;
    // Columns that are filled evenly.
    let columns = entries.len().div_ceil(entries.len().div_ceil(most).max(1)).max(1);
    let rows = entries.len().div_ceil(columns);
    let (mut starts, mut x, mut row, mut reached) = (Vec::with_capacity(entries.len()), 0.0, 0, 0.0_f64);
    for entry in entries {
        if x + wide(entry) - APART > inside + 1e-9 && x > 0.0 {
            (x, row) = (0.0, row + 1);
        }
        starts.push((PAD + x, row));
        x += wide(entry);
        reached = reached.max(x - APART);
    }
    if row + 1 >= rows {
        starts = (0..entries.len()).map(|i| (PAD + column * (i % columns) as f64, i / columns)).collect();
        (row, reached) = (rows - 1, column * columns as f64 - APART);
    }
    ((2.0 * PAD + reached, height(row + 1)), starts)
}

/// Returns the height of a legend with this number of rows.
pub(crate) fn height(rows: usize) -> f64 {
    2.0 * (PAD - 3.0) + ROW * rows as f64
}

/// Returns whether names are shortened at this width.
pub(crate) fn shortens(face: &Face, entries: &[Entry], widest: f64) -> bool {
    entries.iter().any(|entry| face.width(&entry.name, TICK_SIZE) > widest)
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

/// Place of a legend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    pub rect: Rect,
    /// Start of every entry as x and row; one below the other if empty.
    pub starts: Vec<(f64, usize)>,
    /// Whether it has a thin frame, since it is inside the plot.
    pub framed: bool,
}

/// Draws the entries. The last row says how many do not fit.
pub(crate) fn draw(scene: &mut Scene, entries: &[Entry], spot: &Spot) {
    let rect = spot.rect;
    if spot.framed {
        scene.rect(rect, Color::WHITE.faint(0.9));
        scene.frame(rect, 0.75, LEGEND_EDGE);
    }
    let room = rect.width() - 2.0 * PAD - SWATCH - GAP + 0.5;
    let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
    let names = scene.face.shorten_all(&names, TICK_SIZE, room);
    let rows = ((rect.height() - height(0) + 0.5) / ROW).max(1.0) as usize;
    let shown = if spot.starts.is_empty() && rows < entries.len() { rows - 1 } else { entries.len() };
    let start = |i: usize| {
        let (x, row) = spot.starts.get(i).copied().unwrap_or((PAD, i));
        (rect.left + x, rect.top + PAD - 3.0 + ROW * (row as f64 + 0.5))
    };
    for (i, entry) in entries.iter().take(shown).enumerate() {
        let (left, y) = start(i);
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
            Swatch::Block { alpha, hatch } => {
                let block = Rect::new(left + 4.0, y - 5.0, SWATCH - 8.0, 10.0);
                scene.block(block, entry.color.faint(*alpha), *hatch);
                if *alpha < 1.0 {
                    scene.frame(block, 1.0, entry.color);
                }
            }
        }
        scene.text_centered(&names[i], (left + SWATCH + GAP, y), TICK_SIZE, Anchor::Start, TEXT);
    }
    if shown < entries.len() {
        let rest = format!("and {} more", entries.len() - shown);
        scene.text_centered(&rest, start(shown), TICK_SIZE, Anchor::Start, TEXT);
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
    fn a_legend_above_has_even_columns_or_the_fewest_rows() {
        let face = Face::new().unwrap();
        let rows = |names: &[&str], width: f64| {
            let line = |name: &&str| Entry::reference(&Reference::new(0.0).label(*name), false);
            let entries: Vec<Entry> = names.iter().filter_map(line).collect();
            let ((wide, high), starts) = above(&face, &entries, width);
            assert!(wide <= width + 1e-9 && starts.len() == names.len(), "{wide} of {width}");
            let last = starts.last().unwrap().1;
            assert_eq!(high, height(last + 1));
            starts.iter().map(|(_, row)| *row).collect::<Vec<_>>()
        };
        let runs = ["run 1", "run 2", "run 3", "run 4"];
        assert_eq!(rows(&runs, 600.0), [0, 0, 0, 0]);
        assert_eq!(rows(&runs, 280.0), [0, 0, 1, 1], "three columns would fit");
        assert_eq!(rows(&runs, 100.0), [0, 1, 2, 3]);
        assert_eq!(rows(&["a", "b", "a name that is much longer than the others"], 320.0), [0, 0, 1]);
    }

    #[test]
    fn a_crowded_or_small_plot_has_no_place_inside() {
        let everywhere: Vec<Point> =
            (0..40).flat_map(|x| (0..30).map(move |y| (10.0 * f64::from(x), 10.0 * f64::from(y)))).collect();
        assert_eq!(place(&PLOT, (100.0, 60.0), &everywhere), None);
        assert_eq!(place(&PLOT, (300.0, 60.0), &[]), None);
    }
}
