//! Points, rectangles, clipping and dashing, in pixels with y downwards.

/// Point (x, y).
pub(crate) type Point = (f64, f64);

/// Rectangle with its sides along the axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rect {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Rect {
    pub fn new(left: f64, top: f64, width: f64, height: f64) -> Self {
        Self { left, top, right: left + width, bottom: top + height }
    }

    pub fn width(&self) -> f64 {
        self.right - self.left
    }

    pub fn height(&self) -> f64 {
        self.bottom - self.top
    }

    pub fn center(&self) -> Point {
        ((self.left + self.right) / 2.0, (self.top + self.bottom) / 2.0)
    }

    pub fn contains(&self, (x, y): Point) -> bool {
        x >= self.left && x <= self.right && y >= self.top && y <= self.bottom
    }

    pub fn grown(&self, by: f64) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }

    pub fn inside(&self, margins: Margins) -> Self {
        Self {
            left: self.left + margins.left,
            top: self.top + margins.top,
            right: self.right - margins.right,
            bottom: self.bottom - margins.bottom,
        }
    }

    pub fn corners(&self) -> Vec<Point> {
        vec![
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
        ]
    }
}

/// Space that labels need around a plot.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Margins {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
}

impl Margins {
    pub fn max(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }
}

/// Moves a coordinate to the center of a pixel, where thin lines are sharp.
pub(crate) fn snap(v: f64) -> f64 {
    v.floor() + 0.5
}

/// Columns per pixel of layout in which a polyline is thinned.
const COLUMNS: f64 = 4.0;

/// Returns a polyline without the points that nobody could see: of consecutive points within a fraction of a pixel in x,
/// the first, the lowest, the highest and the last one remain.
pub(crate) fn thinned(points: &[Point]) -> Vec<Point> {
    let column = |p: &Point| (p.0 * COLUMNS).floor();
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let extreme = |better: fn(f64, f64) -> bool| {
            (0..group.len()).reduce(|best, i| if better(group[i].1, group[best].1) { i } else { best })
        };
        let mut places =
            vec![Some(0), extreme(|a, b| a < b), extreme(|a, b| a > b), group.len().checked_sub(1)];
        places.sort_unstable();
        places.dedup();
        kept.extend(places.into_iter().flatten().map(|i| group[i]));
    }
    kept
}

/// Returns the pieces of a polyline inside a rectangle (Liang and Barsky, per segment).
pub(crate) fn clip_line(points: &[Point], area: &Rect) -> Vec<Vec<Point>> {
    let mut pieces: Vec<Vec<Point>> = Vec::new();
    for pair in points.windows(2) {
        let Some((from, to)) = clip_segment(pair[0], pair[1], area) else { continue };
        match pieces.last_mut() {
            Some(piece) if piece.last() == Some(&from) => piece.push(to),
            _ => pieces.push(vec![from, to]),
        }
    }
    pieces
}

fn clip_segment(a: Point, b: Point, area: &Rect) -> Option<(Point, Point)> {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (step, room) in
        [(-dx, a.0 - area.left), (dx, area.right - a.0), (-dy, a.1 - area.top), (dy, area.bottom - a.1)]
    {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            enter = enter.max(room / step);
        } else {
            leave = leave.min(room / step);
        }
    }
    let at = |t: f64| match t {
        0.0 => a,
        1.0 => b,
        _ => (a.0 + t * dx, a.1 + t * dy),
    };
    (enter <= leave).then(|| (at(enter), at(leave)))
}

/// Returns the part of a polygon inside a rectangle (Sutherland and Hodgman, 1974).
pub(crate) fn clip_polygon(points: &[Point], area: &Rect) -> Vec<Point> {
    let sides: [(bool, f64, f64); 4] = [
        (true, area.left, 1.0),
        (true, area.right, -1.0),
        (false, area.top, 1.0),
        (false, area.bottom, -1.0),
    ];
    let mut kept = points.to_vec();
    for (along_x, limit, sign) in sides {
        let depth = |p: &Point| sign * (if along_x { p.0 } else { p.1 } - limit);
        let mut next = Vec::with_capacity(kept.len() + 4);
        for (i, to) in kept.iter().enumerate() {
            let from = &kept[(i + kept.len() - 1) % kept.len()];
            let (a, b) = (depth(from), depth(to));
            if (a < 0.0) != (b < 0.0) {
                let t = a / (a - b);
                next.push((from.0 + t * (to.0 - from.0), from.1 + t * (to.1 - from.1)));
            }
            if b >= 0.0 {
                next.push(*to);
            }
        }
        kept = next;
    }
    kept
}

/// Cuts a polyline into dashes; `pattern` alternates lengths of dash and gap and is not empty.
pub(crate) fn dash_line(points: &[Point], pattern: &[f64]) -> Vec<Vec<Point>> {
    let Some(&start) = points.first() else { return Vec::new() };
    let (mut turn, mut left) = (0, pattern[0]);
    let mut dashes = vec![vec![start]];
    for pair in points.windows(2) {
        let ((mut x, mut y), (to_x, to_y)) = (pair[0], pair[1]);
        let mut length = (to_x - x).hypot(to_y - y);
        while length > left {
            let part = left / length;
            (x, y) = (x + part * (to_x - x), y + part * (to_y - y));
            length -= left;
            match (turn % 2, dashes.last_mut()) {
                (0, Some(dash)) => dash.push((x, y)),
                _ => dashes.push(vec![(x, y)]),
            }
            turn = (turn + 1) % pattern.len();
            left = pattern[turn];
        }
        left -= length;
        if turn % 2 == 0
            && let Some(dash) = dashes.last_mut()
        {
            dash.push((to_x, to_y));
        }
    }
    dashes.retain(|dash| dash.len() > 1);
    dashes
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Rect = Rect { left: 0.0, top: 0.0, right: 10.0, bottom: 10.0 };

    #[test]
    fn a_line_is_cut_where_it_leaves_and_comes_back() {
        let pieces = clip_line(&[(5.0, 5.0), (15.0, 5.0), (15.0, 8.0), (5.0, 8.0)], &AREA);
        assert_eq!(pieces, vec![vec![(5.0, 5.0), (10.0, 5.0)], vec![(10.0, 8.0), (5.0, 8.0)]]);
        assert!(clip_line(&[(11.0, 0.0), (12.0, 9.0)], &AREA).is_empty());
    }

    #[test]
    fn a_polygon_keeps_its_part_inside() {
        let kept = clip_polygon(&[(5.0, 5.0), (20.0, 5.0), (20.0, 8.0), (5.0, 8.0)], &AREA);
        let area: f64 = (0..kept.len())
            .map(|i| {
                let (a, b) = (kept[i], kept[(i + 1) % kept.len()]);
                (a.0 * b.1 - b.0 * a.1) / 2.0
            })
            .sum();
        assert!((area.abs() - 15.0).abs() < 1e-9);
    }

    #[test]
    fn dashes_run_on_round_corners() {
        let dashes = dash_line(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], &[4.0, 2.0]);
        assert_eq!(dashes, vec![vec![(0.0, 0.0), (4.0, 0.0)], vec![(5.0, 1.0), (5.0, 5.0)]]);
    }

    #[test]
    fn a_thinned_line_keeps_the_outline() {
        let dense: Vec<Point> =
            (0..100).map(|i| (f64::from(i) / 1000.0, f64::from((i * 37) % 100))).collect();
        assert_eq!(thinned(&dense), [dense[0], dense[27], dense[99]]);
        let sparse = [(0.0, 1.0), (1.0, 5.0), (2.0, 0.0), (1.9, 3.0)];
        assert_eq!(thinned(&sparse), sparse);
    }
}
