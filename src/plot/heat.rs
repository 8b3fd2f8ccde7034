//! Drawing of heat maps: cells, labels and the color bar.

use crate::error::Result;
use crate::plot::axis::{Axis, Span};
use crate::plot::color::Color;
use crate::plot::figure::{Drawing, too_small};
use crate::plot::geometry::{Margins, Rect};
use crate::plot::heatmap::{Heatmap, Labels, Matrix};
use crate::plot::lettering::{Face, LEADING};
use crate::plot::scene::{Anchor, Mark, Scene, Stroke, lines_height};
use crate::plot::style::{EDGE, LABEL_SIZE, SPINE, TEXT, TICK_SIZE, TICK_TEXT, TITLE_SIZE};
use crate::plot::ticks;

const GAP: f64 = 18.0;
const BAR: f64 = 13.0;
const NEAR: f64 = 6.0;
/// Space between the panels and the color bar.
const AWAY: f64 = 14.0;
/// Smallest font size of the titles of panels.
const CAPTION: f64 = 9.0;
/// Length to which names of columns are shortened.
const LONGEST_NAME: f64 = 110.0;

/// Distance of the names of neighboring rows.
const LINE: f64 = TICK_SIZE * 1.15;

/// A checked heat map.
#[derive(Debug, Clone)]
pub(crate) struct Heat {
    pub map: Heatmap,
    pub across: usize,
    pub rows: usize,
    pub columns: usize,
    pub span: Span,
}

impl Heat {
    fn down(&self) -> usize {
        self.map.panels.len().div_ceil(self.across)
    }

    fn color(&self, value: f64) -> Color {
        self.map.map.at(self.span.part(value).unwrap_or(f64::NAN))
    }

    /// Draws the cells of one panel, as rectangles with their values, or as an image if there are many.
    ///
    /// Values are divided by the power of ten that the color bar names.
    fn cells(&self, scene: &mut Scene, matrix: &Matrix, plot: Rect, exponent: i32) {
        let (wide, high) = (plot.width() / self.columns as f64, plot.height() / self.rows as f64);
        let gap = if wide.min(high) >= 12.0 { 1.0 } else { 0.0 };
        let texts = self.texts(&scene.face, matrix, (wide - gap, high - gap), exponent);
        // Rectangles that touch show thin seams in viewers of PDF and SVG.
        if self.rows * self.columns > 2500 || gap == 0.0 && texts.is_none() {
            let bytes = |v: &f64| {
                let c = self.color(*v);
                [c.red, c.green, c.blue]
            };
            let rgb = matrix.values.iter().flat_map(bytes).collect();
            scene.marks.push(Mark::Image { rect: plot, width: self.columns, height: self.rows, rgb });
            return;
        }
        // Edges on half pixels of layout lie on whole pixels of the PNG, so cells are sharp.
        let half = |v: f64| (v * 2.0).round() / 2.0;
        for (i, value) in matrix.values.iter().enumerate() {
            let (row, column) = ((i / self.columns) as f64, (i % self.columns) as f64);
            let rect = Rect {
                left: half(plot.left + wide * column),
                top: half(plot.top + high * row),
                right: half(plot.left + wide * (column + 1.0)) - gap,
                bottom: half(plot.top + high * (row + 1.0)) - gap,
            };
            let color = self.color(*value);
            scene.rect(rect, color);
            if let Some((texts, size)) = &texts {
                scene.text_centered(&texts[i], rect.center(), *size, Anchor::Middle, color.readable_text());
            }
        }
    }

    /// Returns the cell values as text and the font size, if they are wanted and fit.
    fn texts(
        &self,
        face: &Face,
        matrix: &Matrix,
        (wide, high): (f64, f64),
        exponent: i32,
    ) -> Option<(Vec<String>, f64)> {
        if !self.map.values.unwrap_or(self.rows * self.columns <= 150) {
            return None;
        }
        let unit = 10f64.powi(exponent);
        let decimals = |parts: f64| {
            let step = (self.span.hi - self.span.lo) / unit / parts;
            (-step.log10()).ceil().clamp(0.0, 12.0) as usize
        };
        // Narrow cells show a digit less.
        [decimals(100.0), decimals(10.0)].into_iter().find_map(|decimals| {
            let text = |v: &f64| match v.is_finite() {
                true => in_cell(v / unit, decimals),
                false => String::new(),
            };
            let texts: Vec<String> = matrix.values.iter().map(text).collect();
            let widest = texts.iter().map(|t| face.width(t, 1.0)).fold(0.0, f64::max);
            let size = ((wide - 4.0) / widest).min(high * 0.6).min(10.5);
            (size >= 7.0).then_some((texts, size))
        })
    }

    fn bar(&self, scene: &mut Scene, bar: Rect, ticks: &ticks::Ticks) {
        let steps = 256_u32;
        let rgb = (0..steps)
            .rev()
            .map(|i| self.map.map.at(f64::from(i) / f64::from(steps - 1)))
            .flat_map(|c| [c.red, c.green, c.blue])
            .collect();
        scene.marks.push(Mark::Image { rect: bar, width: 1, height: steps as usize, rgb });
        scene.frame(bar.grown(0.5), 0.75, SPINE);
        for tick in &ticks.list {
            let Some(part) = self.span.part(tick.value) else { continue };
            let y = bar.bottom - part * bar.height();
            scene.line(&[(bar.right + 0.5, y), (bar.right + 4.0, y)], Stroke::new(SPINE, 1.0), None);
            scene.text_centered(&tick.label, (bar.right + 7.0, y), TICK_SIZE, Anchor::Start, TICK_TEXT);
        }
    }
}

/// Formats a number with this many decimals, or as `1e−5` if they were all zeros.
fn in_cell(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match value != 0.0 && text.chars().all(|c| "-0.".contains(c)) {
        true => format!("{value:.0e}").replace('-', "−"),
        false => ticks::minus(&text),
    }
}

/// Returns the labels to show if each needs `needed` pixels and has `room`: all if they fit; else round numbers; else
/// every n-th label. Names are shortened or turned, so each needs the height of a line.
fn shown(labels: &Labels, count: usize, room: f64, needed: f64) -> Vec<usize> {
    let numbers: Vec<f64> = match labels {
        Labels::Names(_) => {
            let stride = ((LINE / room).ceil() as usize).clamp(1, count);
            return (0..count).step_by(stride).collect();
        }
        Labels::Numbers(numbers) => numbers.clone(),
        Labels::Index => (0..count).map(|i| i as f64).collect(),
    };
    let stride = ((needed / room).ceil() as usize).clamp(1, count);
    if stride == 1 {
        return (0..count).collect();
    }
    let (lo, hi) =
        numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
    let even =
        numbers.windows(2).all(|w| ((w[1] - w[0]) * (count - 1) as f64 - (hi - lo)).abs() < 1e-6 * (hi - lo));
    if even {
        let ticks = ticks::linear(lo, hi, (count / stride).max(2));
        let at = |value: f64| numbers.iter().position(|v| (v - value).abs() < 1e-6 * (hi - lo));
        let round: Vec<usize> = ticks.list.iter().filter_map(|tick| at(tick.value)).collect();
        if round.len() > 1 {
            return round;
        }
    }
    (0..count).step_by(stride).collect()
}

/// Layout of a heat map.
struct Plan {
    plots: Vec<Rect>,
    /// Area of all panels, without the titles over the first row.
    block: Rect,
    heading: f64,
    /// Titles of the panels, shortened if they would run into each other.
    titles: Vec<String>,
    title_size: f64,
    title: Vec<String>,
    x_label: Vec<String>,
    y_label: Vec<String>,
    bar_label: Vec<String>,
    bar_ticks: ticks::Ticks,
    bar_widest: f64,
    rows: Vec<String>,
    columns: Vec<String>,
    row_names: f64,
    column_widest: f64,
    upright: bool,
    under: f64,
}

impl Heat {
    fn plan(&self, face: &Face, area: Rect) -> Result<Plan> {
        let wrap = |text: &str, size: f64, width: f64| match text.is_empty() {
            true => Vec::new(),
            false => face.wrap(text, size, width),
        };
        let block = |lines: usize, size: f64, gap: f64| match lines {
            0 => 0.0,
            lines => lines_height(lines, size) + gap,
        };
        let widest = |texts: &[String]| texts.iter().map(|t| face.width(t, TICK_SIZE)).fold(0.0, f64::max);
        let (rows, columns) = (self.map.rows.texts(self.rows), self.map.columns.texts(self.columns));
        let tall = area.height() - 2.0 * EDGE;
        let title = wrap(&self.map.title, TITLE_SIZE, area.width() - 2.0 * EDGE);
        let y_label = wrap(&self.map.y_label, LABEL_SIZE, tall);
        let bar_ticks = Axis::new("").place(&self.span, ((area.height() / 60.0) as usize).clamp(3, 7));
        let bar_texts: Vec<String> = bar_ticks.list.iter().map(|t| t.label.clone()).collect();
        let bar_label = wrap(&bar_ticks.with_power(&self.map.bar_label), LABEL_SIZE, tall);
        let bar_widest = widest(&bar_texts);

        let row_names = widest(&rows).min(0.35 * area.width());
        let rows = face.shorten_all(&rows, TICK_SIZE, row_names + 0.5);
        let left = EDGE + block(y_label.len(), LABEL_SIZE, 5.0) + row_names + NEAR;
        let right = AWAY + BAR + 7.0 + bar_widest + block(bar_label.len(), LABEL_SIZE, 6.0) + EDGE;
        let (across, down) = (self.across as f64, self.down() as f64);
        let wide = (area.width() - left - right - (across - 1.0) * GAP) / across;

        // Column names that are too wide for their cells are rotated.
        let names = matches!(self.map.columns, Labels::Names(_));
        let column_widest = widest(&columns);
        let upright = names && column_widest + 6.0 > wide / self.columns as f64;
        let columns = if upright { face.shorten_all(&columns, TICK_SIZE, LONGEST_NAME) } else { columns };
        let under = if upright { column_widest.min(LONGEST_NAME) + NEAR } else { TICK_SIZE * LEADING + 4.0 };
        let x_label = wrap(&self.map.x_label, LABEL_SIZE, area.width() - left - right);
        let heading = match self.map.panels.iter().any(|p| !p.title.is_empty()) {
            true => LABEL_SIZE * LEADING + 4.0,
            false => 0.0,
        };
        let top = EDGE + block(title.len(), TITLE_SIZE, 8.0);
        let bottom = EDGE + block(x_label.len(), LABEL_SIZE, 5.0) + under;
        let high = (area.height() - top - bottom - down * heading - (down - 1.0) * GAP) / down;
        if wide < 30.0 || high < 24.0 {
            let needed = (left + right + across * (60.0 + GAP), top + bottom + down * (60.0 + heading + GAP));
            return Err(too_small(area, needed));
        }

        let (mut panel_wide, mut panel_high) = (wide, high);
        if self.map.square {
            let side = (wide / self.columns as f64).min(high / self.rows as f64);
            (panel_wide, panel_high) = (side * self.columns as f64, side * self.rows as f64);
        }
        let titles: Vec<String> = self.map.panels.iter().map(|panel| panel.title.clone()).collect();
        let room = match self.across {
            1 => area.width() - 2.0 * EDGE,
            _ => panel_wide + GAP - NEAR,
        };
        let longest = titles.iter().map(|title| face.width(title, 1.0)).fold(0.0, f64::max);
        let title_size = (room / longest.max(1e-9)).clamp(CAPTION, LABEL_SIZE);
        let titles = face.shorten_all(&titles, title_size, room + 0.5);
        // Square cells may leave space over; the whole is centered in it.
        let spare = (across * (wide - panel_wide), down * (high - panel_high));
        let start = (area.left + left + spare.0 / 2.0, area.top + top + spare.1 / 2.0 + heading);
        let plots: Vec<Rect> = (0..self.map.panels.len())
            .map(|i| {
                let (row, column) = ((i / self.across) as f64, (i % self.across) as f64);
                let x = start.0 + column * (panel_wide + GAP);
                let y = start.1 + row * (panel_high + heading + GAP);
                Rect::new(x.round(), y.round(), panel_wide.floor(), panel_high.floor())
            })
            .collect();
        let block = plots.iter().fold(plots[0], |all, plot| Rect {
            right: all.right.max(plot.right),
            bottom: all.bottom.max(plot.bottom),
            ..all
        });
        Ok(Plan {
            plots,
            block,
            heading,
            titles,
            title_size,
            title,
            x_label,
            y_label,
            bar_label,
            bar_ticks,
            bar_widest,
            rows,
            columns,
            row_names,
            column_widest,
            upright,
            under,
        })
    }

    fn row_names(&self, scene: &mut Scene, plan: &Plan, plot: &Rect) {
        let room = plot.height() / self.rows as f64;
        for row in shown(&self.map.rows, self.rows, room, TICK_SIZE * 1.6) {
            let at = (plot.left - NEAR, plot.top + room * (row as f64 + 0.5));
            scene.text_centered(&plan.rows[row], at, TICK_SIZE, Anchor::End, TICK_TEXT);
        }
    }

    fn column_names(&self, scene: &mut Scene, plan: &Plan, plot: &Rect) {
        let room = plot.width() / self.columns as f64;
        for column in shown(&self.map.columns, self.columns, room, plan.column_widest + 8.0) {
            let (x, name) = (plot.left + room * (column as f64 + 0.5), &plan.columns[column]);
            if plan.upright {
                let at = (x + 0.36 * TICK_SIZE, plot.bottom + NEAR);
                scene.text_upwards(name, at, TICK_SIZE, Anchor::End, TICK_TEXT);
            } else {
                scene.text(name, (x, plot.bottom + 4.0 + TICK_SIZE), TICK_SIZE, Anchor::Middle, TICK_TEXT);
            }
        }
    }
}

fn upward_lines(scene: &mut Scene, lines: &[String], left: f64, middle: f64) {
    for (i, line) in lines.iter().enumerate() {
        let base = left + LABEL_SIZE * (0.95 + LEADING * i as f64);
        scene.text_upwards(line, (base, middle), LABEL_SIZE, Anchor::Middle, TEXT);
    }
}

impl Drawing for Heat {
    fn natural(&self) -> (f64, f64) {
        let (rows, columns) = (self.rows as f64, self.columns as f64);
        let (mut wide, mut high) = ((columns * 34.0).clamp(150.0, 340.0), (rows * 34.0).clamp(110.0, 320.0));
        let named = |labels: &Labels| if matches!(labels, Labels::Names(_)) { 1.15 * LINE } else { 0.0 };
        let least = (named(&self.map.columns), named(&self.map.rows));
        (wide, high) = (wide.max(least.0 * columns).min(1600.0), high.max(least.1 * rows).min(1600.0));
        if self.map.square {
            let side = (wide / columns).max(high / rows).min(280.0 / rows.max(columns));
            let side = side.max(least.0.max(least.1).min(1600.0 / rows.max(columns)));
            (wide, high) = (side * columns, side * rows);
        }
        let (across, down) = (self.across as f64, self.down() as f64);
        (across * wide + (across - 1.0) * GAP + 170.0, down * (high + 24.0) + (down - 1.0) * GAP + 90.0)
    }

    fn draw(&self, scene: &mut Scene, area: Rect, _floor: Margins) -> Result<()> {
        let plan = self.plan(&scene.face, area)?;
        for (i, (matrix, plot)) in self.map.panels.iter().zip(&plan.plots).enumerate() {
            self.cells(scene, matrix, *plot, plan.bar_ticks.exponent);
            let title = std::slice::from_ref(&plan.titles[i]);
            scene.lines(title, plot.center().0, plot.top - plan.heading, plan.title_size, TEXT);
            if i % self.across == 0 {
                self.row_names(scene, &plan, plot);
            }
            // Column names are drawn below the last panel of every column of panels.
            if i + self.across >= plan.plots.len() {
                self.column_names(scene, &plan, plot);
            }
        }
        let block = plan.block;
        let center = block.center();
        scene.lines(&plan.title, area.center().0, area.top + EDGE, TITLE_SIZE, TEXT);
        scene.lines(&plan.x_label, center.0, block.bottom + plan.under + 5.0, LABEL_SIZE, TEXT);
        let left = block.left - NEAR - plan.row_names - 5.0 - lines_height(plan.y_label.len(), LABEL_SIZE);
        upward_lines(scene, &plan.y_label, left, center.1);
        let bar = Rect { left: block.right + AWAY, right: block.right + AWAY + BAR, ..block };
        self.bar(scene, bar, &plan.bar_ticks);
        upward_lines(scene, &plan.bar_label, bar.right + 7.0 + plan.bar_widest + 4.0, center.1);
        Ok(())
    }

    fn describe(&self) -> String {
        let panels = match self.map.panels.len() {
            1 => String::new(),
            count => format!("{count} panels of "),
        };
        let colors = Axis::new(self.map.bar_label.clone()).describe(&self.span);
        format!("heat map: {panels}{} x {} cells, colors {colors}", self.rows, self.columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_show_their_values_in_the_unit_of_the_color_bar() {
        let svg = |values: [f64; 4]| {
            let figure = Heatmap::new(Matrix::new("", 2, 2, values).unwrap()).figure().unwrap();
            figure.to_svg(400, 300).unwrap()
        };
        let shows = |svg: &str, texts: &[&str]| {
            for text in texts {
                let line = format!("\n{text}\n");
                assert!(svg.contains(&line), "{text} is missing");
            }
        };
        shows(&svg([1e-6, 2e-6, 3e-6, 4e-6]), &["1.00", "2.00", "3.00", "4.00", "×10⁻⁶"]);
        shows(&svg([1.25e8, 2e8, 3e8, 4e8]), &["1.25", "2.00", "×10⁸"]);
        shows(&svg([1.2e-4, 1.4e-4, 1.5e-4, 2e-4]), &["0.0001200", "0.0001400"]);
        shows(&svg([0.0, 0.25, 0.5, 1.0]), &["0.00", "0.25"]);
        shows(&svg([0.0, -3e-5, 1e-5, 1.0]), &["0.00", "−3e−5", "1e−5", "1.00"]);
    }

    #[test]
    fn titles_of_panels_do_not_touch() {
        let panels =
            (0..4).map(|i| Matrix::new(format!("head {i} of the block"), 8, 8, vec![0.5; 64]).unwrap());
        let figure = Heatmap::panels(panels).square(true).figure().unwrap();
        assert!(figure.to_svg(1200, 400).unwrap().contains("head 0 of the block"));
        let narrow = figure.to_svg(400, 200).unwrap();
        assert!(!narrow.contains("head 0 of the block") && narrow.contains("head 3"), "{narrow}");
    }

    #[test]
    fn labels_without_room_give_way_to_round_numbers() {
        let numbers: Vec<f64> = (-32..32).map(f64::from).collect();
        let kept = shown(&Labels::Numbers(numbers.clone()), 64, 4.0, 30.0);
        let kept: Vec<f64> = kept.into_iter().map(|i| numbers[i]).collect();
        assert_eq!(kept, [-30.0, -20.0, -10.0, 0.0, 10.0, 20.0, 30.0]);
        assert_eq!(shown(&Labels::Index, 4, 30.0, 20.0), [0, 1, 2, 3]);
        assert_eq!(shown(&Labels::Numbers(vec![1.0, 2.0, 4.0, 8.0]), 4, 10.0, 20.0), [0, 2]);
        let names = vec![String::new(); 3];
        assert_eq!(shown(&Labels::Names(names.clone()), 3, LINE, 90.0), [0, 1, 2]);
        assert_eq!(shown(&Labels::Names(names), 3, LINE / 2.0, 90.0), [0, 2]);
    }
}
