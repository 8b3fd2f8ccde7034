//! Layers between two axes: curves, points, bars, intervals and reference lines, with their drawing.

use crate::plot::axis::{Scale, Span};
use crate::plot::color::Color;
use crate::plot::geometry::{Point, Rect, thinned};
use crate::plot::scene::{Anchor, Ink, Scene, Stroke};
use crate::plot::style::{Dash, GRID, Hatch, Marker, TEXT};
use crate::plot::ticks;

/// Line across the whole plot at one value, such as a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub(crate) value: f64,
    pub(crate) label: String,
    pub(crate) spread: f64,
    pub(crate) color: Color,
    pub(crate) dash: Dash,
}

impl Reference {
    /// Creates a dashed gray line at `value`.
    pub fn new(value: f64) -> Self {
        Self { value, label: String::new(), spread: 0.0, color: Color::GRAY, dash: Dash::Dashed }
    }

    /// Sets the name of the line in the legend.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Shades value - spread to value + spread, such as one standard deviation.
    #[must_use]
    pub fn spread(mut self, spread: f64) -> Self {
        self.spread = spread;
        self
    }

    /// Sets the color.
    #[must_use]
    pub fn color(mut self, color: Color) -> Self {
        self.color = color;
        self
    }

    /// Sets the dash.
    #[must_use]
    pub fn dash(mut self, dash: Dash) -> Self {
        self.dash = dash;
        self
    }

    pub(crate) fn stroke(&self) -> Stroke {
        Stroke::new(self.color, 1.5).dashed(self.dash)
    }

    /// Returns the values that must lie on its axis.
    pub(crate) fn reach(&self) -> [f64; 2] {
        [self.value - self.spread, self.value + self.spread]
    }
}

/// Uncertainty of a curve, as the values at its lower and upper edge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spread {
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    pub band: bool,
}

/// A bar from `left` to `right` on the x axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bar {
    pub left: f64,
    pub right: f64,
    pub value: f64,
    /// Lengths of the error bar.
    pub below: f64,
    pub above: f64,
}

/// Look of the bars of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BarLook {
    /// Whether all bars are one shape with an outline.
    pub steps: bool,
    pub alpha: f64,
    /// Whether each value is written beyond the end of its bar.
    pub values: bool,
    pub hatch: Hatch,
}

/// A value in a row, with the interval around it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Interval {
    pub row: f64,
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Line through points; points that are not finite are gaps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Curve {
    pub points: Vec<Point>,
    pub spread: Option<Spread>,
    pub width: f64,
    pub dash: Dash,
    pub marker: Option<Marker>,
    pub dodge: Option<Dodge>,
}

/// Place of the error bars and markers of a series beside those of other series at the same x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dodge {
    pub index: usize,
    pub count: usize,
    /// The two x values with the smallest distance.
    pub nearest: Option<(f64, f64)>,
}

impl Dodge {
    /// Returns the shifts to the right of this series and of the last one, in pixels; `place` gives the pixel of an x
    /// value.
    ///
    /// All series together take at most a part of the distance of neighbors, so that every bar stays at its point.
    pub fn shift(&self, place: impl Fn(f64) -> Option<f64>) -> (f64, f64) {
        const STEP: f64 = 5.0;
        const SHARE: f64 = 0.3;
        let last = self.count as f64 - 1.0;
        let room = self.nearest.and_then(|(a, b)| Some(SHARE * (place(b)? - place(a)?).abs()));
        let most = (STEP * last).min(room.unwrap_or(f64::INFINITY)) / 2.0;
        if last > 0.0 { (most * (2.0 * self.index as f64 / last - 1.0), most) } else { (0.0, 0.0) }
    }
}

/// Marks by which a layer shows its data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    Curve(Curve),
    Points { points: Vec<Point>, errors: Option<Spread>, marker: Marker, radius: f64, alpha: f64 },
    Bars { bars: Vec<Bar>, look: BarLook },
    Intervals { intervals: Vec<Interval>, marker: Marker },
}

/// Data with one name and one color.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub name: String,
    pub color: Color,
    pub shape: Shape,
}

impl Layer {
    /// Returns its points, if it shows any.
    fn points(&self) -> &[Point] {
        match &self.shape {
            Shape::Curve(Curve { points, .. }) | Shape::Points { points, .. } => points,
            Shape::Bars { .. } | Shape::Intervals { .. } => &[],
        }
    }

    /// Returns whether the x axis can show any point, even one without a y value.
    pub fn has_x(&self, x: Scale) -> bool {
        self.points().iter().any(|p| x.shows(p.0))
    }

    /// Returns the number of points with finite values that logarithmic axes cannot show.
    pub fn hidden(&self, x: Scale, y: Scale) -> usize {
        let hidden = |p: &&Point| p.0.is_finite() && p.1.is_finite() && !(x.shows(p.0) && y.shows(p.1));
        self.points().iter().filter(hidden).count()
    }

    /// Returns all x values that must lie on the axis; `y` is the scale of the other axis.
    pub fn xs(&self, y: Scale) -> Vec<f64> {
        match &self.shape {
            // A point that the y axis cannot show is not drawn, so it does not widen the x axis.
            Shape::Curve(_) | Shape::Points { .. } => {
                self.points().iter().filter(|p| y.shows(p.1)).map(|p| p.0).collect()
            }
            Shape::Bars { bars, .. } => bars.iter().flat_map(|bar| [bar.left, bar.right]).collect(),
            Shape::Intervals { intervals, .. } => {
                intervals.iter().flat_map(|i| [i.low, i.value, i.high]).collect()
            }
        }
    }

    /// Returns all y values that must lie on the axis, including the ends of error bars; `x` and `y` are
    /// the scales of the axes.
    pub fn ys(&self, x: Scale, y: Scale) -> Vec<f64> {
        match &self.shape {
            Shape::Curve(Curve { points, spread, .. }) | Shape::Points { points, errors: spread, .. } => {
                let shown = |i: &usize| x.shows(points[*i].0);
                let edges = spread.iter().flat_map(|s| {
                    let ends = |i: usize| [s.low[i], s.high[i]];
                    (0..points.len()).filter(shown).filter(|i| y.shows(points[*i].1)).flat_map(ends)
                });
                (0..points.len()).filter(shown).map(|i| points[i].1).chain(edges).collect()
            }
            Shape::Bars { bars, .. } => {
                bars.iter().flat_map(|b| [0.0, b.value, b.value - b.below, b.value + b.above]).collect()
            }
            Shape::Intervals { intervals, .. } => intervals.iter().map(|i| i.row).collect(),
        }
    }
}

/// Plot area and the spans of its axes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub plot: Rect,
    pub x: Span,
    pub y: Span,
}

impl Frame {
    pub fn x(&self, value: f64) -> Option<f64> {
        self.x.part(value).map(|part| self.plot.left + part * self.plot.width())
    }

    pub fn y(&self, value: f64) -> Option<f64> {
        self.y.part(value).map(|part| self.plot.bottom - part * self.plot.height())
    }

    /// As [`Frame::y`], but places values that a logarithmic axis cannot show below its low end.
    fn y_or_below(&self, value: f64) -> Option<f64> {
        match value.is_finite() && self.y.log && value <= 0.0 {
            true => Some(self.plot.bottom + 1e3),
            false => self.y(value),
        }
    }

    /// As [`Frame::x`], but places values that a logarithmic axis cannot show beyond its low end.
    fn x_or_below(&self, value: f64) -> Option<f64> {
        match value.is_finite() && self.x.log && value <= 0.0 {
            true => Some(self.plot.left - 1e3),
            false => self.x(value),
        }
    }

    /// Returns the ends of the line of an interval, and whether each is an end of the interval: from an unknown end,
    /// the line starts at the value. Ends that a logarithmic axis cannot show lie beyond the plot.
    fn ends(&self, interval: &Interval) -> Option<[(Point, bool); 2]> {
        let y = self.y(interval.row)?;
        let value = self.x_or_below(interval.value);
        let end = |end: f64| match self.x_or_below(end) {
            Some(x) => Some(((x, y), true)),
            None => Some(((value?, y), false)),
        };
        let ends = [end(interval.low)?, end(interval.high)?];
        ends.iter().any(|(_, known)| *known).then_some(ends)
    }

    /// Returns where the marker and the error bar of a point of a curve are drawn, in pixels.
    fn beside(&self, x: f64, curve: &Curve) -> f64 {
        // They may reach over an end of the plot up to the labels of ticks.
        const OVER: f64 = 4.0;
        let Some(dodge) = curve.dodge else { return x };
        let (shift, most) = dodge.shift(|x| self.x(x));
        let room = if shift < 0.0 { x - self.plot.left } else { self.plot.right - x };
        x + shift * ((room.max(0.0) + OVER) / most.max(OVER)).min(1.0)
    }

    /// Returns whether a pixel lies between the left and the right end of the plot.
    fn shows_x(&self, x: f64) -> bool {
        (self.plot.left - 0.5..=self.plot.right + 0.5).contains(&x)
    }

    fn point(&self, (x, y): Point) -> Option<Point> {
        Some((self.x(x)?, self.y(y)?))
    }

    /// Splits points into runs without a gap.
    fn runs(&self, points: &[Point]) -> Vec<Vec<Point>> {
        points
            .split(|p| self.point(*p).is_none())
            .map(|run| run.iter().filter_map(|p| self.point(*p)).collect::<Vec<_>>())
            .filter(|run| !run.is_empty())
            .collect()
    }

    /// Returns the pixel rectangle of a bar, which starts at zero or at the low end of the axis.
    fn bar(&self, bar: &Bar) -> Option<Rect> {
        let zero = self.y(0.0).unwrap_or(self.plot.bottom).clamp(self.plot.top, self.plot.bottom);
        let end = self.y_or_below(bar.value)?.clamp(self.plot.top, self.plot.bottom);
        let (left, right) = (self.x(bar.left)?, self.x(bar.right)?);
        Some(Rect { left, right, top: zero.min(end), bottom: zero.max(end) })
    }

    /// Returns points along everything a layer draws, a few pixels apart, which a legend must not cover.
    pub fn trace(&self, layer: &Layer) -> Vec<Point> {
        let mut trace = Vec::new();
        match &layer.shape {
            Shape::Curve(Curve { points, spread, .. }) => {
                for run in self.runs(points) {
                    follow(&run, &mut trace);
                }
                if let Some(spread) = spread {
                    for edge in [&spread.low, &spread.high] {
                        let edge: Vec<Point> = points.iter().zip(edge).map(|(p, y)| (p.0, *y)).collect();
                        for run in self.runs(&edge) {
                            match spread.band {
                                true => follow(&run, &mut trace),
                                false => trace.extend(run),
                            }
                        }
                    }
                }
            }
            Shape::Points { points, errors, .. } => {
                trace.extend(points.iter().filter_map(|p| self.point(*p)));
                for (x, low, high) in errors.iter().flat_map(|spread| self.edges(points, spread)).flatten() {
                    follow(&[(x, low.min(self.plot.bottom)), (x, high)], &mut trace);
                }
            }
            Shape::Bars { bars, .. } => {
                for bar in bars {
                    let Some(rect) = self.bar(bar) else { continue };
                    let top = self.y_or_below(bar.value + bar.above).unwrap_or(rect.top).min(rect.top);
                    for x in [rect.left, rect.center().0, rect.right] {
                        follow(&[(x, top), (x, rect.bottom)], &mut trace);
                    }
                }
            }
            Shape::Intervals { intervals, .. } => {
                for i in intervals {
                    trace.extend(self.point((i.value, i.row)));
                    if let Some([(low, _), (high, _)]) = self.ends(i) {
                        let low = (low.0.max(self.plot.left), low.1);
                        follow(&[low, high], &mut trace);
                    }
                }
            }
        }
        trace
    }

    pub fn draw(&self, scene: &mut Scene, layer: &Layer) {
        match &layer.shape {
            Shape::Curve(curve) => self.curve(scene, layer.color, curve),
            Shape::Points { points, errors, marker, radius, alpha } => {
                if let Some(spread) = errors {
                    for (x, low, high) in self.edges(points, spread).into_iter().flatten() {
                        if self.shows_x(x) {
                            self.error_bar(scene, layer.color.faint(*alpha), x, low, high);
                        }
                    }
                }
                let seen = points.iter().filter_map(|p| self.point(*p));
                for at in seen.filter(|p| self.plot.grown(0.5).contains(*p)) {
                    scene.marker(*marker, at, *radius, layer.color.faint(*alpha), 0.0);
                }
            }
            Shape::Bars { bars, look } => self.bars(scene, layer.color, bars, look),
            Shape::Intervals { intervals, marker } => {
                self.intervals(scene, layer.color, intervals, *marker);
            }
        }
    }

    fn curve(&self, scene: &mut Scene, color: Color, curve: &Curve) {
        if let Some(spread) = &curve.spread {
            self.spread(scene, color, curve, spread);
        }
        let stroke = Stroke::new(color, curve.width).dashed(curve.dash);
        for run in self.runs(&curve.points) {
            scene.line(&thinned(&run), stroke, Some(&self.plot));
            // A single point between gaps has no line that would show it.
            let lone = (run.len() == 1 && curve.marker.is_none()).then_some(Marker::Circle);
            if let Some(marker) = curve.marker.or(lone) {
                let radius = if lone.is_some() { curve.width * 0.9 } else { 3.4 };
                for at in run.iter().filter(|p| self.plot.grown(0.5).contains(**p)) {
                    scene.marker(marker, (self.beside(at.0, curve), at.1), radius, color, 0.9);
                }
            }
        }
    }

    /// Returns x and the two edges of a spread in pixels; `None` where a point is a gap.
    fn edges(&self, points: &[Point], spread: &Spread) -> Vec<Option<(f64, f64, f64)>> {
        points
            .iter()
            .zip(spread.low.iter().zip(&spread.high))
            .map(|(p, (low, high))| {
                self.point(*p)?;
                Some((self.x(p.0)?, self.y_or_below(*low)?, self.y_or_below(*high)?))
            })
            .collect()
    }

    fn spread(&self, scene: &mut Scene, color: Color, curve: &Curve, spread: &Spread) {
        let edges = self.edges(&curve.points, spread);
        if spread.band {
            for run in edges.split(Option::is_none) {
                let upper = run.iter().flatten().map(|(x, _, high)| (*x, *high));
                let lower = run.iter().rev().flatten().map(|(x, low, _)| (*x, *low));
                let outline: Vec<Point> = upper.chain(lower).collect();
                scene.polygon(&outline, color.faint(0.18), Some(&self.plot));
            }
            return;
        }
        for (x, low, high) in edges.into_iter().flatten().filter(|e| self.shows_x(e.0)) {
            self.error_bar(scene, color, self.beside(x, curve), low, high);
        }
    }

    fn intervals(&self, scene: &mut Scene, color: Color, intervals: &[Interval], marker: Marker) {
        let stroke = Stroke::new(color, 1.6);
        for i in intervals {
            if let Some(ends) = self.ends(i) {
                scene.line(&ends.map(|(at, _)| at), stroke, Some(&self.plot));
                for ((x, y), _) in ends.into_iter().filter(|(_, known)| *known) {
                    scene.line(&[(x, y - 3.0), (x, y + 3.0)], stroke, Some(&self.plot));
                }
            }
            let seen = self.point((i.value, i.row)).filter(|at| self.plot.grown(0.5).contains(*at));
            if let Some(at) = seen {
                scene.marker(marker, at, 3.8, color, 0.9);
            }
        }
    }

    fn error_bar(&self, scene: &mut Scene, ink: impl Into<Ink>, x: f64, low: f64, high: f64) {
        let stroke = Stroke::new(ink, 1.2);
        // A bar at the edge keeps its whole cap.
        let area =
            Rect { left: self.plot.left.min(x - 3.0), right: self.plot.right.max(x + 3.0), ..self.plot };
        scene.line(&[(x, low), (x, high)], stroke, Some(&area));
        for y in [low, high] {
            scene.line(&[(x - 3.0, y), (x + 3.0, y)], stroke, Some(&area));
        }
    }

    fn bars(&self, scene: &mut Scene, color: Color, bars: &[Bar], look: &BarLook) {
        let mut outline: Vec<Point> = Vec::new();
        for bar in bars {
            let Some(rect) = self.bar(bar) else { continue };
            if !look.steps {
                scene.block(rect, color.faint(look.alpha), look.hatch);
            }
            let end = if bar.value < 0.0 { rect.bottom } else { rect.top };
            outline.extend([(rect.left, end), (rect.right, end)]);
            let (low, high) =
                (self.y_or_below(bar.value - bar.below), self.y_or_below(bar.value + bar.above));
            let (mut top, mut bottom) = (rect.top, rect.bottom);
            if let (Some(low), Some(high), true) = (low, high, bar.below + bar.above > 0.0) {
                self.error_bar(scene, TEXT, rect.center().0, low, high);
                (top, bottom) = (top.min(high), bottom.max(low));
            }
            if look.values && bar.value.is_finite() {
                let y = match bar.value < 0.0 {
                    true => (bottom + 11.0).min(self.plot.bottom - 2.0),
                    false => (top - 4.0).max(self.plot.top + 8.0),
                };
                let at = (rect.center().0, y);
                scene.text(&ticks::minus(&ticks::brief(bar.value)), at, 9.0, Anchor::Middle, TEXT);
            }
        }
        if let (true, Some(&first), Some(&last)) = (look.steps, outline.first(), outline.last()) {
            let zero = self.y(0.0).unwrap_or(self.plot.bottom);
            outline.insert(0, (first.0, zero));
            outline.push((last.0, zero));
            // One shape for all bars, since seams between neighbors would be visible.
            scene.polygon(&outline, color.faint(look.alpha), Some(&self.plot));
            scene.line(&outline, Stroke::new(color, 1.3), Some(&self.plot));
        }
    }

    /// Draws a reference line across the plot; `upright` for a line on the x axis.
    pub fn reference(&self, scene: &mut Scene, reference: &Reference, upright: bool) {
        let place = |value: f64| if upright { self.x_or_below(value) } else { self.y_or_below(value) };
        let plot = self.plot;
        let [low, high] = reference.reach();
        if let (Some(a), Some(b), true) = (place(low), place(high), reference.spread > 0.0) {
            let band = match upright {
                true => Rect { left: a, right: b, ..plot },
                false => Rect { top: b, bottom: a, ..plot },
            };
            scene.polygon(&band.corners(), reference.color.faint(0.16), Some(&plot));
        }
        if let Some(at) = place(reference.value) {
            let ends = match upright {
                true => [(at, plot.bottom), (at, plot.top)],
                false => [(plot.left, at), (plot.right, at)],
            };
            scene.line(&ends, reference.stroke(), Some(&plot));
        }
    }

    /// Returns points along a reference line, for the same purpose as [`Frame::trace`].
    pub fn trace_reference(&self, reference: &Reference, upright: bool) -> Vec<Point> {
        let mut trace = Vec::new();
        let plot = self.plot;
        match (upright, self.x(reference.value), self.y(reference.value)) {
            (true, Some(x), _) => follow(&[(x, plot.bottom), (x, plot.top)], &mut trace),
            (false, _, Some(y)) => follow(&[(plot.left, y), (plot.right, y)], &mut trace),
            _ => {}
        }
        trace
    }

    pub fn grid(&self, scene: &mut Scene, xs: &[f64], ys: &[f64]) {
        let stroke = Stroke::new(GRID, 1.0);
        for x in xs {
            scene.line(&[(*x, self.plot.top), (*x, self.plot.bottom)], stroke, None);
        }
        for y in ys {
            scene.line(&[(self.plot.left, *y), (self.plot.right, *y)], stroke, None);
        }
    }
}

/// Appends points every few pixels along a polyline.
fn follow(points: &[Point], trace: &mut Vec<Point>) {
    trace.extend(points.first());
    for pair in points.windows(2) {
        let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
        let steps = ((bx - ax).hypot(by - ay) / 4.0).ceil().clamp(1.0, 1000.0) as usize;
        trace.extend((1..=steps).map(|i| {
            let t = i as f64 / steps as f64;
            (ax + t * (bx - ax), ay + t * (by - ay))
        }));
    }
}
