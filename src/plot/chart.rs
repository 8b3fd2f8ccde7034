//! Charts: two axes with ticks, labels and a legend around any number of layers.

use crate::error::Result;
use crate::plot::axis::{Axis, Scale, Span};
use crate::plot::decor::Decor;
use crate::plot::figure::{Drawing, too_small};
use crate::plot::geometry::{Margins, Point, Rect, snap};
use crate::plot::layer::{Frame, Layer, Reference, Shape};
use crate::plot::legend::{self, Entry, Legend, Spot};
use crate::plot::lettering::{Face, LEADING};
use crate::plot::scene::{Anchor, Scene, Stroke, lines_height};
use crate::plot::style::{EDGE, LABEL_SIZE, SPINE, TEXT, TICK_SIZE, TICK_TEXT, TITLE_SIZE};
use crate::plot::ticks::{Tick, Ticks};

const TICK: f64 = 4.0;
const MINOR: f64 = 2.5;
const NEAR: f64 = 4.0;
/// Smallest plot area that is drawn.
const SMALLEST: (f64, f64) = (60.0, 50.0);

/// Parts of a chart that builders fill in.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub noun: &'static str,
    pub decor: Decor,
    pub x: Axis,
    pub y: Axis,
    /// Names under the x values 0, 1, 2 ..; empty for a numeric axis.
    pub categories: Vec<String>,
    /// Names beside the y values 0, 1, 2 .. from the top; empty for a numeric axis.
    pub rows: Vec<String>,
    pub layers: Vec<Layer>,
}

/// A checked chart.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    parts: Parts,
    x: Span,
    y: Span,
    entries: Vec<Entry>,
}

struct Layout {
    frame: Frame,
    margins: Margins,
    x_ticks: Vec<(f64, String)>,
    y_ticks: Vec<(f64, String)>,
    title: Vec<String>,
    x_label: Vec<String>,
    y_label: Vec<String>,
    categories: Categories,
    legend: Option<Spot>,
    /// Height of a legend above the plot.
    above: f64,
}

#[derive(Default)]
struct Categories {
    names: Vec<Vec<String>>,
    upright: bool,
    height: f64,
}

impl Chart {
    /// Computes the spans of both axes; fails if an axis has no values to show.
    pub fn new(parts: Parts) -> Result<Self> {
        let bars = parts.layers.iter().any(|layer| matches!(layer.shape, Shape::Bars { .. }));
        let room = if bars { 0.0 } else { 0.04 };
        let (x_scale, y_scale) = (parts.x.scale, parts.y.scale);
        let xs = parts.layers.iter().flat_map(|layer| layer.xs(y_scale));
        let xs = xs.chain(parts.decor.vertical.iter().flat_map(Reference::reach));
        let x = match parts.categories.len() {
            0 => parts.x.span("x", xs, (room, room)),
            count => Ok(Span { lo: -0.5, hi: count as f64 - 0.5, log: false }),
        };
        let ys: Vec<f64> = parts
            .layers
            .iter()
            .flat_map(|layer| layer.ys(x_scale, y_scale))
            .chain(parts.decor.horizontal.iter().flat_map(Reference::reach))
            .collect();
        let grounded = bars && ys.iter().all(|v| v.is_nan() || *v >= 0.0);
        let below: f64 = match (grounded, y_scale) {
            // Bars on a logarithmic axis start at its low end, where the smallest would have no height.
            (_, Scale::Log) if bars => 0.15,
            (true, _) => 0.0,
            (false, _) => 0.05,
        };
        // Values are written beyond the ends of bars.
        let valued =
            parts.layers.iter().any(|layer| matches!(&layer.shape, Shape::Bars { look, .. } if look.values));
        let (below, above) = match valued {
            true => (if grounded { below } else { below.max(0.1) }, 0.1),
            false => (below, 0.06),
        };
        let y = match parts.rows.len() {
            0 => parts.y.span("y", ys.into_iter(), (below, above)),
            count => Ok(Span { lo: count as f64 - 0.5, hi: -0.5, log: false }),
        };
        // A point without y has no x on the axis either, so the missing y is the cause.
        let (x, y) = match parts.layers.iter().any(|layer| layer.has_x(x_scale)) {
            true => (y.and_then(|y| Ok((x?, y))))?,
            false => (x?, y?),
        };
        let entries = parts
            .layers
            .iter()
            .filter_map(Entry::layer)
            .chain(parts.decor.horizontal.iter().filter_map(|r| Entry::reference(r, false)))
            .chain(parts.decor.vertical.iter().filter_map(|r| Entry::reference(r, true)))
            .collect();
        Ok(Self { parts, x, y, entries })
    }

    fn layout(&self, face: &Face, area: Rect, floor: Margins) -> Result<Layout> {
        let widest = 0.34 * area.width();
        let size = legend::size(face, &self.entries, widest);
        let inside = self.arrange(face, area, floor, (0.0, 0.0));
        if self.entries.is_empty() || self.parts.decor.legend == Legend::Hidden {
            return inside;
        }
        let auto = self.parts.decor.legend == Legend::Auto;
        if auto {
            let mut layout = inside?;
            let frame = &layout.frame;
            let mut trace: Vec<Point> =
                self.parts.layers.iter().flat_map(|layer| frame.trace(layer)).collect();
            trace.extend(self.parts.decor.horizontal.iter().flat_map(|r| frame.trace_reference(r, false)));
            trace.extend(self.parts.decor.vertical.iter().flat_map(|r| frame.trace_reference(r, true)));
            if let Some(rect) = legend::place(&frame.plot, size, &trace) {
                layout.legend = Some(Spot { rect, starts: Vec::new(), framed: true });
                return Ok(layout);
            }
        }
        let beside = self.arrange(face, area, floor, (size.0 + NEAR, 0.0)).map(|mut layout| {
            let plot = layout.frame.plot;
            let high = size.1.min(area.bottom - EDGE - plot.top);
            let rect = Rect::new(plot.right + NEAR, plot.top, size.0, high);
            layout.legend = Some(Spot { rect, starts: Vec::new(), framed: false });
            layout
        });
        let fits = |layout: &Layout| {
            let whole = layout.legend.as_ref().is_some_and(|spot| spot.rect.height() >= size.1);
            whole && layout.frame.plot.width() >= 0.5 * area.width()
        };
        if !auto || beside.as_ref().is_ok_and(fits) && !legend::shortens(face, &self.entries, widest) {
            return beside;
        }
        // Above a narrow plot, the legend takes less of it and shows whole names.
        let (size, starts) = legend::above(face, &self.entries, area.width() - 2.0 * EDGE);
        match self.arrange(face, area, floor, (0.0, size.1)) {
            Ok(mut layout) if size.1 <= 0.4 * area.height() || beside.is_err() => {
                let plot = layout.frame.plot;
                let most = (area.right - EDGE - size.0).max(area.left + EDGE);
                let left = (plot.center().0 - size.0 / 2.0).clamp(area.left + EDGE, most);
                let rect = Rect::new(left, plot.top - NEAR - size.1, size.0, size.1);
                layout.legend = Some(Spot { rect, starts, framed: false });
                Ok(layout)
            }
            _ => beside,
        }
    }

    /// Lays out everything except the legend, which gets `beside` pixels on the right and `above` over the plot.
    fn arrange(
        &self,
        face: &Face,
        area: Rect,
        floor: Margins,
        (beside, above): (f64, f64),
    ) -> Result<Layout> {
        let title = wrapped(face, &self.parts.decor.title, TITLE_SIZE, area.width() - 2.0 * EDGE);
        let top = EDGE + lines_height(title.len(), TITLE_SIZE) + if title.is_empty() { 4.0 } else { 8.0 };
        let top = top + above;
        let mut margins = Margins { left: 50.0, top, right: EDGE + beside, bottom: 45.0 };
        // Margins depend on tick labels and tick labels on margins; two rounds suffice.
        let mut round = 0;
        loop {
            let plot = area.inside(margins.max(floor));
            if plot.width() < SMALLEST.0 || plot.height() < SMALLEST.1 {
                let m = margins.max(floor);
                let needed = (m.left + m.right + 2.0 * SMALLEST.0, m.top + m.bottom + 2.0 * SMALLEST.1);
                return Err(too_small(area, needed));
            }
            let plot = Rect {
                left: snap(plot.left),
                right: snap(plot.right),
                top: snap(plot.top),
                bottom: snap(plot.bottom),
            };
            let frame = Frame { plot, x: self.x, y: self.y };
            let y_ticks = match self.parts.rows.is_empty() {
                true => self.parts.y.place(&self.y, ((plot.height() / 36.0) as usize).clamp(2, 9)),
                false => Ticks::default(),
            };
            let x_ticks = self.x_ticks(face, &frame);
            let categories = self.categories(face, plot.width());
            // The label is centered under the plot and stays on the page.
            let side = (area.right - EDGE - plot.center().0).min(plot.center().0 - area.left - EDGE);
            let x_label = wrapped(
                face,
                &x_ticks.with_power(&self.parts.x.label),
                LABEL_SIZE,
                (2.0 * side).min(plot.width() + 40.0),
            );
            let y_label =
                wrapped(face, &y_ticks.with_power(&self.parts.y.label), LABEL_SIZE, plot.height() + 20.0);
            let x_ticks = placed(&x_ticks, |v| frame.x(v));
            let y_ticks = match self.parts.rows.is_empty() {
                true => placed(&y_ticks, |v| frame.y(v)),
                false => self.rows(face, &frame, 0.45 * area.width()),
            };
            let widest = y_ticks.iter().map(|(_, label)| face.width(label, TICK_SIZE)).fold(0.0, f64::max);
            let label_height = |lines: &[String], gap: f64| match lines.len() {
                0 => 0.0,
                count => lines_height(count, LABEL_SIZE) + gap,
            };
            let below = if categories.names.is_empty() { TICK_SIZE * LEADING } else { categories.height };
            let reach = |(at, label): &(f64, String)| (*at, face.width(label, TICK_SIZE) / 2.0);
            let over_right =
                x_ticks.iter().map(reach).map(|(at, half)| at + half - plot.right).fold(0.0, f64::max);
            let over_left =
                x_ticks.iter().map(reach).map(|(at, half)| plot.left - at + half).fold(0.0, f64::max);
            margins = Margins {
                left: EDGE + (label_height(&y_label, 5.0) + widest + TICK + NEAR).max(over_left),
                top,
                right: EDGE + over_right.max(beside),
                bottom: EDGE + label_height(&x_label, 5.0) + below + TICK + 3.0,
            };
            round += 1;
            if round == 3 {
                return Ok(Layout {
                    frame,
                    margins,
                    x_ticks: thinned(face, x_ticks),
                    y_ticks,
                    title,
                    x_label,
                    y_label,
                    categories,
                    legend: None,
                    above,
                });
            }
        }
    }

    /// Returns the names of rows with their positions, shortened to `width`.
    fn rows(&self, face: &Face, frame: &Frame, width: f64) -> Vec<(f64, String)> {
        let mut names = face.shorten_all(&self.parts.rows, TICK_SIZE, width);
        every_few(&mut names, frame.plot.height());
        let name = |(row, name)| Some((snap(frame.y(row as f64)?), name));
        names.into_iter().enumerate().filter_map(name).collect()
    }

    /// Returns as many ticks as fit side by side.
    fn x_ticks(&self, face: &Face, frame: &Frame) -> Ticks {
        if !self.parts.categories.is_empty() {
            return Ticks::default();
        }
        let mut most = ((frame.plot.width() / 55.0) as usize).clamp(2, 11);
        loop {
            let ticks = self.parts.x.place(&self.x, most);
            let named: Vec<(f64, String)> = placed(&ticks, |v| frame.x(v));
            if most == 2 || fits(face, &named) {
                return ticks;
            }
            most -= 1;
        }
    }

    fn categories(&self, face: &Face, width: f64) -> Categories {
        let names = &self.parts.categories;
        if names.is_empty() {
            return Categories::default();
        }
        let slot = width / names.len() as f64 - 8.0;
        let broken: Vec<Vec<String>> = names.iter().map(|name| face.wrap(name, TICK_SIZE, slot)).collect();
        let fit = broken.iter().flatten().all(|line| face.width(line, TICK_SIZE) <= slot);
        let rows = broken.iter().map(Vec::len).max().unwrap_or(1);
        if fit && rows <= 3 {
            return Categories { names: broken, upright: false, height: lines_height(rows, TICK_SIZE) };
        }
        let mut short = face.shorten_all(names, TICK_SIZE, 110.0);
        every_few(&mut short, width);
        let short: Vec<Vec<String>> = short.into_iter().map(|name| vec![name]).collect();
        let height = short.iter().flatten().map(|n| face.width(n, TICK_SIZE)).fold(0.0, f64::max) + 4.0;
        Categories { names: short, upright: true, height }
    }

    fn axes(&self, scene: &mut Scene, layout: &Layout) {
        let plot = layout.frame.plot;
        let stroke = Stroke::new(SPINE, 1.0);
        scene.line(
            &[(plot.left, plot.top), (plot.left, plot.bottom), (plot.right, plot.bottom)],
            stroke,
            None,
        );
        for (x, label) in &layout.x_ticks {
            let length = if label.is_empty() { MINOR } else { TICK };
            scene.line(&[(*x, plot.bottom), (*x, plot.bottom + length)], stroke, None);
            let base = plot.bottom + TICK + 3.0 + TICK_SIZE * 0.9;
            scene.text(label, (*x, base), TICK_SIZE, Anchor::Middle, TICK_TEXT);
        }
        for (y, label) in &layout.y_ticks {
            let length = if label.is_empty() { MINOR } else { TICK };
            scene.line(&[(plot.left - length, *y), (plot.left, *y)], stroke, None);
            scene.text_centered(label, (plot.left - TICK - NEAR, *y), TICK_SIZE, Anchor::End, TICK_TEXT);
        }
        for (i, lines) in layout.categories.names.iter().enumerate() {
            let Some(x) = layout.frame.x(i as f64) else { continue };
            let top = plot.bottom + TICK + 1.0;
            match (layout.categories.upright, lines.first()) {
                (true, Some(name)) => {
                    let at = (x + 0.36 * TICK_SIZE, top + 2.0);
                    scene.text_upwards(name, at, TICK_SIZE, Anchor::End, TICK_TEXT);
                }
                _ => scene.lines(lines, x, top, TICK_SIZE, TICK_TEXT),
            }
        }
    }

    fn labels(&self, scene: &mut Scene, layout: &Layout, area: Rect, floor: Margins) {
        let plot = layout.frame.plot;
        let margins = layout.margins.max(floor);
        // A title is centered over the plot if it fits there, else over the whole area.
        let widest = layout.title.iter().map(|line| scene.face.width(line, TITLE_SIZE)).fold(0.0, f64::max);
        let (low, high) = (area.left + EDGE + widest / 2.0, area.right - EDGE - widest / 2.0);
        let center = if low > high { area.center().0 } else { plot.center().0.clamp(low, high) };
        let top = plot.top - 8.0 - layout.above - lines_height(layout.title.len(), TITLE_SIZE);
        scene.lines(&layout.title, center, top, TITLE_SIZE, TEXT);
        let bottom = area.bottom - EDGE - (margins.bottom - layout.margins.bottom);
        let top = bottom - lines_height(layout.x_label.len(), LABEL_SIZE);
        scene.lines(&layout.x_label, plot.center().0, top, LABEL_SIZE, TEXT);
        let left = area.left + EDGE + (margins.left - layout.margins.left);
        for (i, line) in layout.y_label.iter().enumerate() {
            let base = left + LABEL_SIZE * (0.95 + LEADING * i as f64);
            scene.text_upwards(line, (base, plot.center().1), LABEL_SIZE, Anchor::Middle, TEXT);
        }
    }
}

impl Drawing for Chart {
    fn natural(&self) -> (f64, f64) {
        if !self.parts.rows.is_empty() {
            let row = 16.0 + 10.0 * self.parts.layers.len() as f64;
            return (660.0, (row * self.parts.rows.len() as f64 + 100.0).clamp(180.0, 1600.0));
        }
        // A legend of many rows stands beside the plot and needs its height.
        let legend = match self.parts.decor.legend {
            Legend::Hidden => 0.0,
            Legend::Auto | Legend::Right => legend::height(self.entries.len()) + 80.0,
        };
        let high = legend.clamp(400.0, 1600.0);
        match self.parts.categories.len() {
            0 => (600.0, high),
            count => ((90.0 * count as f64 + 150.0).clamp(520.0, 1300.0), high),
        }
    }

    fn margins(&self, face: &Face, area: Rect) -> Result<Margins> {
        // The right margin is left out, so that one legend beside its plot does not narrow the plots above and
        // below it.
        Ok(Margins { right: 0.0, ..self.layout(face, area, Margins::default())?.margins })
    }

    fn draw(&self, scene: &mut Scene, area: Rect, floor: Margins) -> Result<()> {
        let layout = self.layout(&scene.face, area, floor)?;
        let frame = &layout.frame;
        let named = |list: &[(f64, String)]| -> Vec<f64> {
            list.iter().filter(|(_, label)| !label.is_empty()).map(|(at, _)| *at).collect()
        };
        frame.grid(scene, &named(&layout.x_ticks), &named(&layout.y_ticks));
        let (bars, others): (Vec<&Layer>, Vec<&Layer>) =
            self.parts.layers.iter().partition(|layer| matches!(layer.shape, Shape::Bars { .. }));
        bars.into_iter().for_each(|layer| frame.draw(scene, layer));
        self.parts.decor.horizontal.iter().for_each(|r| frame.reference(scene, r, false));
        self.parts.decor.vertical.iter().for_each(|r| frame.reference(scene, r, true));
        others.into_iter().for_each(|layer| frame.draw(scene, layer));
        self.axes(scene, &layout);
        self.labels(scene, &layout, area, floor);
        if let Some(spot) = &layout.legend {
            legend::draw(scene, &self.entries, spot);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let series = match self.parts.layers.len() {
            1 => "1 series".to_owned(),
            count => format!("{count} series"),
        };
        let Parts { x, y, layers, noun, rows, .. } = &self.parts;
        let xs = layers.iter().flat_map(|layer| layer.xs(y.scale));
        let ys = layers.iter().flat_map(|layer| layer.ys(x.scale, y.scale));
        let across = match self.parts.categories.len() {
            0 => format!("x {}", data(x, xs, &self.x)),
            count => format!("{count} categories"),
        };
        if !rows.is_empty() {
            return format!("{noun} figure: {series}, {} rows, {across}", rows.len());
        }
        let hidden = match layers.iter().map(|layer| layer.hidden(x.scale, y.scale)).sum() {
            0 => String::new(),
            1_usize => ", 1 point not drawn (not positive on a logarithmic axis)".to_owned(),
            count => format!(", {count} points not drawn (not positive on a logarithmic axis)"),
        };
        format!("{noun} figure: {series}, {across}, y {}{hidden}", data(y, ys, &self.y))
    }
}

/// Describes the range of the data, without the space that the axis leaves around it.
fn data(axis: &Axis, values: impl Iterator<Item = f64>, shown: &Span) -> String {
    let tight = Axis { limits: None, ticks: None, include: Vec::new(), ..axis.clone() };
    let span = tight.span("", values, (0.0, 0.0)).unwrap_or(*shown);
    axis.describe(&span)
}

fn wrapped(face: &Face, text: &str, size: f64, width: f64) -> Vec<String> {
    if text.trim().is_empty() { Vec::new() } else { face.wrap(text, size, width) }
}

fn placed(ticks: &Ticks, place: impl Fn(f64) -> Option<f64>) -> Vec<(f64, String)> {
    let at = |tick: &Tick| Some((snap(place(tick.value)?), tick.label.clone()));
    ticks.list.iter().filter_map(at).collect()
}

const APART: f64 = 9.0;

fn fits(face: &Face, ticks: &[(f64, String)]) -> bool {
    let named = |ticks: &[(f64, String)]| ticks.iter().filter(|(_, label)| !label.is_empty()).count();
    named(&thinned(face, ticks.to_vec())) == named(ticks)
}

/// Removes names of neighbors where lines of text for all of them do not fit into a length.
fn every_few(names: &mut [String], length: f64) {
    let step = (names.len() as f64 * TICK_SIZE / length).ceil().max(1.0) as usize;
    names.iter_mut().enumerate().filter(|(i, _)| i % step > 0).for_each(|(_, name)| name.clear());
}

/// Removes the label of every tick that would touch the previous label.
fn thinned(face: &Face, mut ticks: Vec<(f64, String)>) -> Vec<(f64, String)> {
    // They may be given in any order, and an axis may run from right to left.
    ticks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::NEG_INFINITY;
    for (at, label) in ticks.iter_mut().filter(|(_, label)| !label.is_empty()) {
        let half = face.width(label, TICK_SIZE) / 2.0;
        if *at - half < free {
            label.clear();
        } else {
            free = *at + half + APART;
        }
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Line, Points, Scatter, Series};

    #[test]
    fn labels_that_touch_are_dropped_and_ticks_stay() {
        let face = Face::new().unwrap();
        let ticks = [0.0, 10.0, 60.0].map(|at| (at, "0.25".to_owned())).to_vec();
        let thin: Vec<String> = thinned(&face, ticks).into_iter().map(|(_, label)| label).collect();
        assert_eq!(thin, ["0.25", "", "0.25"]);
        let falling = [120.0, 60.0, 0.0].map(|at| (at, "0.25".to_owned())).to_vec();
        assert!(thinned(&face, falling).iter().all(|(_, label)| label == "0.25"));
    }

    #[test]
    fn points_that_one_axis_cannot_show_leave_the_other_alone() {
        let figure = |x: [f64; 4], y: [f64; 4]| {
            let series = Series::new("", x, y).errors([0.5; 4]);
            Line::new(Axis::new("").log(), Axis::new("")).series(series).figure()
        };
        let found = figure([0.0, 1.0, 10.0, 100.0], [1e6, 1.0, 2.0, 3.0]).unwrap().describe();
        assert_eq!(
            found,
            "line figure: 1 series, x 1 to 100, y 0.5 to 3.5, 1 point not drawn (not positive on a logarithmic axis)"
        );
        let points = Points::new("", [1e6, 2.0, 3.0, 1e7], [0.0, 1.0, 2.0, -1.0]);
        let found =
            Scatter::new(Axis::new(""), Axis::new("").log()).points(points).figure().unwrap().describe();
        assert!(found.contains("x 2 to 3, y 1 to 2, 2 points not drawn"), "{found}");
        let error = figure([0.0, -1.0, 0.0, -2.0], [1.0; 4]).unwrap_err().message();
        assert!(error.contains("no x value is positive"), "{error}");
        assert!(!figure([1.0, 2.0, f64::NAN, 3.0], [1.0; 4]).unwrap().describe().contains("not drawn"));
    }

    #[test]
    fn names_without_room_for_a_line_each_are_left_out() {
        let mut names: Vec<String> = (0..6).map(|i| i.to_string()).collect();
        every_few(&mut names, 6.0 * TICK_SIZE);
        assert_eq!(names, ["0", "1", "2", "3", "4", "5"]);
        every_few(&mut names, 2.5 * TICK_SIZE);
        assert_eq!(names, ["0", "", "", "3", "", ""]);
    }
}
