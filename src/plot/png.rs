//! Output of a scene as PNG, with exact coverage of every pixel, blended by plotters' bitmap backend.
//!
//! plotters fills and strokes whole pixels and drops the side bearings of letters, so the coverage of shapes is
//! computed here and only the blending is left to the backend.

use ab_glyph_rasterizer::{Rasterizer, point};
use plotters::backend::BitMapBackend;
use plotters::prelude::{Color, DrawingBackend, RGBColor};

use crate::error::{Error, Result};
use crate::files;
use crate::plot::figure::DrawCheck;
use crate::plot::geometry::{Point, Rect, clip_polygon};
use crate::plot::lettering::Face;
use crate::plot::scene::{Anchor, Ink, Mark, Scene};

/// PNG pixels per pixel of layout, so that figures are sharp on high-resolution screens and in print.
pub(crate) const SCALE: u32 = 2;

/// Number of shapes between checks whether to continue.
const OFTEN: usize = 1000;

/// Number of pieces of a line that are rasterized together.
const PIECES: usize = 4000;

/// Draws a scene on white and encodes it.
pub(crate) fn encode(scene: &Scene) -> Result<Vec<u8>> {
    let size = |length: f64| (length * f64::from(SCALE)).round() as u32;
    let (width, height) = (size(scene.width), size(scene.height));
    let rgb = paint(scene, width, height)?;
    files::png(&rgb, width, height)
}

fn paint(scene: &Scene, width: u32, height: u32) -> Result<Vec<u8>> {
    let mut rgb = vec![0xff; width as usize * height as usize * 3];
    let backend = BitMapBackend::with_buffer(&mut rgb, (width, height));
    let mut canvas = Canvas {
        backend,
        width: f64::from(width),
        height: f64::from(height),
        scale: f64::from(SCALE),
        watch: &scene.watch,
    };
    for mark in &scene.marks {
        canvas.mark(mark, &scene.face)?;
    }
    drop(canvas);
    Ok(rgb)
}

struct Canvas<'a> {
    backend: BitMapBackend<'a>,
    width: f64,
    height: f64,
    scale: f64,
    watch: &'a DrawCheck,
}

impl Canvas<'_> {
    fn mark(&mut self, mark: &Mark, face: &Face) -> Result<()> {
        match mark {
            Mark::Polygon { points, ink } => self.fill(&[self.scaled(points)], *ink),
            Mark::Rect { rect, ink } => self.fill(&[self.scaled(&rect.corners())], *ink),
            Mark::Circle { center, radius, ink } => {
                let center = (center.0 * self.scale, center.1 * self.scale);
                self.fill(&[circle(center, radius * self.scale)], *ink)
            }
            Mark::Line { points, width, ink } => {
                let pieces = stroke(&self.scaled(points), width * self.scale / 2.0);
                // The rasterizer sums in float32, and the rounding of very many pieces would show as a haze.
                match pieces.len() > PIECES {
                    true => self.fill_in_groups(&pieces, *ink),
                    false => self.fill(&pieces, *ink),
                }
            }
            Mark::Text { text, at, size, anchor, upwards, ink } => {
                let size = size * self.scale;
                let shift = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => -face.width(text, size) / 2.0,
                    Anchor::End => -face.width(text, size),
                };
                let origin = (at.0 * self.scale, at.1 * self.scale);
                let place = |(x, y): Point| match upwards {
                    false => (origin.0 + x + shift, origin.1 + y),
                    true => (origin.0 + y, origin.1 - x - shift),
                };
                let contours: Vec<Vec<Point>> = face
                    .outlines(text, size)
                    .into_iter()
                    .map(|c| c.into_iter().map(place).collect())
                    .collect();
                self.fill(&contours, *ink)
            }
            Mark::Image { rect, width, height, rgb } => self.image(rect, *width, *height, rgb),
        }
    }

    fn scaled(&self, points: &[Point]) -> Vec<Point> {
        points.iter().map(|(x, y)| (x * self.scale, y * self.scale)).collect()
    }

    fn dot(&mut self, x: i32, y: i32, ink: Ink, coverage: f64) -> Result<()> {
        let color = RGBColor(ink.color.red, ink.color.green, ink.color.blue).mix(ink.alpha * coverage);
        self.backend
            .draw_pixel((x, y), color.to_backend_color())
            .map_err(|error| Error::internal(format!("the bitmap backend failed: {error}")))
    }

    /// Fills closed contours; overlapping contours of the same orientation count once.
    fn fill(&mut self, contours: &[Vec<Point>], ink: Ink) -> Result<()> {
        let mut covered = Vec::new();
        self.cover(contours, |x, y, coverage| covered.push((x, y, coverage)))?;
        covered.into_iter().try_for_each(|(x, y, coverage)| self.dot(x, y, ink, coverage))
    }

    /// As [`fill`](Self::fill), a group of contours at a time; a pixel takes the largest coverage of a group.
    fn fill_in_groups(&mut self, contours: &[Vec<Point>], ink: Ink) -> Result<()> {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut covered = vec![0.0; width * height];
        for group in contours.chunks(PIECES) {
            self.cover(group, |x, y, coverage| {
                if let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y))
                    && x < width
                    && let Some(pixel) = covered.get_mut(y * width + x)
                {
                    *pixel = coverage.max(*pixel);
                }
            })?;
        }
        for (at, coverage) in covered.into_iter().enumerate().filter(|(_, coverage)| *coverage > 0.0) {
            self.dot((at % width) as i32, (at / width) as i32, ink, coverage)?;
        }
        Ok(())
    }

    /// Calls `each` with the pixels of closed contours and the part of each that is covered.
    fn cover(&self, contours: &[Vec<Point>], mut each: impl FnMut(i32, i32, f64)) -> Result<()> {
        let paper = Rect::new(0.0, 0.0, self.width, self.height);
        let mut bounds: Option<Rect> = None;
        let mut inside = Vec::with_capacity(contours.len());
        for (i, contour) in contours.iter().enumerate() {
            if i % OFTEN == 0 {
                self.watch.check()?;
            }
            let leaves = contour.iter().any(|p| !paper.contains(*p));
            let kept = if leaves { clip_polygon(contour, &paper) } else { contour.clone() };
            for (x, y) in &kept {
                let b = bounds.get_or_insert(Rect { left: *x, top: *y, right: *x, bottom: *y });
                b.left = b.left.min(*x);
                b.right = b.right.max(*x);
                b.top = b.top.min(*y);
                b.bottom = b.bottom.max(*y);
            }
            inside.push(kept);
        }
        let Some(bounds) = bounds else { return Ok(()) };
        let (left, top) = (bounds.left.floor(), bounds.top.floor());
        // The rasterizer carries coverage beyond the end of a row, so it gets a spare column.
        let columns = (bounds.right.ceil() - left) as usize + 2;
        let rows = (bounds.bottom.ceil() - top) as usize + 1;
        let mut raster = Rasterizer::new(columns, rows);
        for (n, contour) in inside.iter().enumerate() {
            if n % OFTEN == 0 {
                self.watch.check()?;
            }
            for (i, to) in contour.iter().enumerate() {
                let from = contour[(i + contour.len() - 1) % contour.len()];
                raster.draw_line(
                    point((from.0 - left) as f32, (from.1 - top) as f32),
                    point((to.0 - left) as f32, (to.1 - top) as f32),
                );
            }
        }
        raster.for_each_pixel_2d(|x, y, coverage| {
            if coverage > 0.004 {
                each(left as i32 + x as i32, top as i32 + y as i32, f64::from(coverage.min(1.0)));
            }
        });
        Ok(())
    }

    /// Draws an image: every pixel takes the value of the cell under its center.
    fn image(&mut self, rect: &Rect, width: usize, height: usize, rgb: &[u8]) -> Result<()> {
        let (left, top) = ((rect.left * self.scale).round() as i32, (rect.top * self.scale).round() as i32);
        let (right, bottom) =
            ((rect.right * self.scale).round() as i32, (rect.bottom * self.scale).round() as i32);
        let (wide, high) = ((right - left).max(0) as usize, (bottom - top).max(0) as usize);
        let mut pixels = Vec::with_capacity(wide * high * 3);
        for y in 0..high {
            for x in 0..wide {
                let at = 3 * (y * height / high * width + x * width / wide);
                pixels.extend_from_slice(&rgb[at..at + 3]);
            }
        }
        self.backend
            .blit_bitmap((left, top), (wide as u32, high as u32), &pixels)
            .map_err(|error| Error::internal(format!("the bitmap backend failed: {error}")))
    }
}

fn circle((x, y): Point, radius: f64) -> Vec<Point> {
    let corners = (8.0 + 4.0 * radius.sqrt()).ceil() as usize * 2;
    (0..corners)
        .map(|i| {
            let (sin, cos) = (std::f64::consts::TAU * i as f64 / corners as f64).sin_cos();
            (x + radius * cos, y + radius * sin)
        })
        .collect()
}

/// Converts a polyline to overlapping pieces of equal orientation: a quadrilateral per segment, a disc per joint.
fn stroke(points: &[Point], half: f64) -> Vec<Vec<Point>> {
    let mut pieces = Vec::with_capacity(points.len() * 2);
    for (i, pair) in points.windows(2).enumerate() {
        let ((ax, ay), (bx, by)) = (pair[0], pair[1]);
        let length = (bx - ax).hypot(by - ay);
        if length < 1e-9 {
            continue;
        }
        let (nx, ny) = (-(by - ay) / length * half, (bx - ax) / length * half);
        pieces.push(vec![(ax - nx, ay - ny), (bx - nx, by - ny), (bx + nx, by + ny), (ax + nx, ay + ny)]);
        if i > 0 {
            pieces.push(circle((ax, ay), half));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::color::Color;
    use crate::plot::scene::Stroke;

    fn paper(scene: &Scene) -> (Vec<u8>, usize) {
        let (w, h) = (scene.width as u32 * SCALE, scene.height as u32 * SCALE);
        (paint(scene, w, h).unwrap(), w as usize)
    }

    fn at(rgb: &[u8], width: usize, x: usize, y: usize) -> [u8; 3] {
        let i = 3 * (y * width + x);
        [rgb[i], rgb[i + 1], rgb[i + 2]]
    }

    #[test]
    fn a_rectangle_covers_its_pixels_and_half_of_the_one_it_cuts() {
        let mut scene = Scene::new(10.0, 10.0).unwrap();
        scene.rect(Rect { left: 2.0, top: 2.0, right: 4.25, bottom: 4.0 }, Color::BLACK);
        let (rgb, w) = paper(&scene);
        assert_eq!(at(&rgb, w, 4, 4), [0, 0, 0]);
        assert_eq!(at(&rgb, w, 3, 4), [255, 255, 255]);
        let cut = at(&rgb, w, 8, 4)[0];
        assert!((126..=129).contains(&cut), "{cut}");
        assert_eq!(at(&rgb, w, 9, 4), [255, 255, 255]);
    }

    #[test]
    fn a_line_of_very_many_points_leaves_the_rest_white() {
        let mut scene = Scene::new(60.0, 40.0).unwrap();
        // So many pieces lie on one another that the rounding of their sum is visible, and irregular points do not let
        // it cancel.
        let part = |i: u32, step: f64| (f64::from(i) * step).fract();
        let mut points: Vec<Point> =
            (0..100_000).map(|i| (5.0 + 5.0 * part(i, 0.618_034), 5.0 + 5.0 * part(i, 0.754_878))).collect();
        // The rest of the rectangle around the line stays white on its right.
        points.push((55.0, 35.0));
        scene.line(&points, Stroke::new(Color::BLACK, 1.8), None);
        let (rgb, w) = paper(&scene);
        assert_eq!([at(&rgb, w, 15, 15), at(&rgb, w, 109, 69)], [[0, 0, 0]; 2]);
        let white = |x, y| at(&rgb, w, x, y) == [255; 3];
        assert!((0..24).all(|y| (60..120).all(|x| white(x, y))));
    }

    #[test]
    fn a_bent_transparent_line_has_one_shade() {
        let mut scene = Scene::new(40.0, 40.0).unwrap();
        let stroke = Stroke::new(Color::BLACK.faint(0.5), 6.0);
        scene.line(&[(5.0, 20.0), (20.0, 20.0), (20.0, 5.0)], stroke, None);
        let (rgb, w) = paper(&scene);
        for (x, y) in [(20, 40), (40, 40), (40, 20)] {
            assert!((126..=129).contains(&at(&rgb, w, x, y)[0]), "{:?}", at(&rgb, w, x, y));
        }
    }

    #[test]
    fn marks_beyond_the_paper_are_cut_and_leave_no_streaks() {
        let mut scene = Scene::new(20.0, 20.0).unwrap();
        scene.polygon(&[(-50.0, 5.0), (5.0, 5.0), (5.0, 10.0), (-50.0, 10.0)], Color::BLACK, None);
        let (rgb, w) = paper(&scene);
        assert_eq!(at(&rgb, w, 0, 12), [0, 0, 0]);
        assert_eq!(at(&rgb, w, 11, 12), [255, 255, 255]);
        assert_eq!(at(&rgb, w, 39, 12), [255, 255, 255]);
        let ink = rgb.chunks(3).filter(|p| p[0] < 128).count();
        assert_eq!(ink, 10 * 10);
    }

    #[test]
    fn text_upwards_is_text_turned() {
        let mut scene = Scene::new(60.0, 60.0).unwrap();
        scene.text("l", (30.0, 30.0), 20.0, Anchor::Start, Color::BLACK);
        let (flat, w) = paper(&scene);
        let mut scene = Scene::new(60.0, 60.0).unwrap();
        scene.text_upwards("l", (30.0, 30.0), 20.0, Anchor::Start, Color::BLACK);
        let (turned, _) = paper(&scene);
        let ink = |rgb: &[u8]| rgb.chunks(3).map(|p| 255 - u32::from(p[0])).sum::<u32>();
        assert!(ink(&flat) > 0 && ink(&flat).abs_diff(ink(&turned)) < 200);
        // The stem of the letter stands above the baseline, and lies to the left of it once rotated.
        let x = (0..w).find(|x| at(&flat, w, *x, 50)[0] < 60).unwrap();
        assert!(x > 60);
        assert!((0..w).any(|y| at(&turned, w, 50, y)[0] < 60 && y < 60));
    }
}
