//! Image grids: samples side by side, scaled by integer factors so that every pixel stays square.

use crate::ensure;
use crate::error::Result;
use crate::plot::figure::{Drawing, Figure, too_small};
use crate::plot::geometry::{Margins, Rect};
use crate::plot::png::SCALE;
use crate::plot::scene::{Anchor, Mark, Scene, lines_height};
use crate::plot::style::{EDGE, TEXT, TICK_SIZE, TITLE_SIZE};

/// Images as `[count, channels, height, width]` in row-major order, from -1 (black) to 1 (white).
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// 1 for gray, 3 for red, green and blue.
    pub channels: usize,
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// All values; values outside -1..1 are clamped, and NaN pixels are magenta.
    pub data: Vec<f32>,
}

impl Images {
    /// Creates images from their shape and values.
    ///
    /// Fails unless there is at least one pixel, 1 or 3 channels, and as many values as the shape requires.
    pub fn new(
        count: usize,
        channels: usize,
        height: usize,
        width: usize,
        data: impl Into<Vec<f32>>,
    ) -> Result<Self> {
        let images = Self { count, channels, height, width, data: data.into() };
        images.check()?;
        Ok(images)
    }

    fn check(&self) -> Result<()> {
        let Self { count, channels, height, width, .. } = *self;
        let shape = format!("[{count}, {channels}, {height}, {width}]");
        ensure!(count > 0 && height > 0 && width > 0, "images of shape {shape} have nothing to show");
        ensure!(
            channels == 1 || channels == 3,
            "images must have 1 or 3 channels, found {channels} in shape {shape}"
        );
        let needed =
            [channels, height, width].iter().try_fold(count, |product, side| product.checked_mul(*side));
        ensure!(
            needed == Some(self.data.len()),
            "images of shape {shape} need {} values, found {}",
            needed.map_or("too many".to_owned(), |n| n.to_string()),
            self.data.len()
        );
        Ok(())
    }

    /// Returns image `index` as 8-bit RGB.
    fn rgb(&self, index: usize) -> Vec<u8> {
        let plane = self.height * self.width;
        let image = &self.data[index * self.channels * plane..(index + 1) * self.channels * plane];
        let byte = |v: f32| ((v.clamp(-1.0, 1.0) + 1.0) * 127.5).round() as u8;
        (0..plane)
            .flat_map(|at| {
                let pixel = [0, 1, 2].map(|c| image[at + plane * c.min(self.channels - 1)]);
                if pixel.iter().any(|v| v.is_nan()) { [255, 0, 255] } else { pixel.map(byte) }
            })
            .collect()
    }
}

/// Builder of an image grid.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageGrid {
    images: Images,
    title: String,
    columns: Option<usize>,
    rows: Option<Vec<usize>>,
    captions: Vec<String>,
    row_captions: Vec<String>,
    column_captions: Vec<String>,
    factor: Option<usize>,
    gutter: f64,
}

impl ImageGrid {
    /// Creates a grid of images, row by row.
    pub fn new(images: Images) -> Self {
        Self {
            images,
            title: String::new(),
            columns: None,
            rows: None,
            captions: Vec::new(),
            row_captions: Vec::new(),
            column_captions: Vec::new(),
            factor: None,
            gutter: 2.0,
        }
    }

    /// Sets the title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sets the number of columns; by default the number of column captions, else about a square.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = Some(columns);
        self
    }

    /// Sets the number of images in each row; rows may differ in length.
    ///
    /// With a number of columns too, all rows are filled instead, and rows of different lengths must fit into it.
    #[must_use]
    pub fn rows(mut self, lengths: Vec<usize>) -> Self {
        self.rows = Some(lengths);
        self
    }

    /// Puts a caption under every image.
    #[must_use]
    pub fn captions<S: Into<String>>(mut self, captions: impl IntoIterator<Item = S>) -> Self {
        self.captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// Puts a caption to the left of every row.
    #[must_use]
    pub fn row_captions<S: Into<String>>(mut self, captions: impl IntoIterator<Item = S>) -> Self {
        self.row_captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// Puts a caption over every column.
    #[must_use]
    pub fn column_captions<S: Into<String>>(mut self, captions: impl IntoIterator<Item = S>) -> Self {
        self.column_captions = captions.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the scale of images at the natural size, in pixels of the PNG per pixel of an image.
    #[must_use]
    pub fn factor(mut self, factor: usize) -> Self {
        self.factor = Some(factor);
        self
    }

    /// Sets the space between images in pixels of layout, 2 by default.
    #[must_use]
    pub fn gutter(mut self, gutter: f64) -> Self {
        self.gutter = gutter;
        self
    }

    /// Checks the images and captions and builds the figure.
    pub fn figure(self) -> Result<Figure> {
        self.images.check()?;
        let count = self.images.count;
        let square = (count as f64).sqrt().ceil() as usize;
        let captioned = (!self.column_captions.is_empty()).then_some(self.column_captions.len());
        let longest = self.rows.as_ref().and_then(|rows| rows.iter().max().copied());
        let default = longest.max(captioned).unwrap_or(square);
        let columns = self.columns.unwrap_or(default).min(count.max(captioned.unwrap_or(1)));
        ensure!(columns > 0, "an image grid needs at least one column");
        ensure!(self.factor != Some(0), "images are enlarged by at least 1");
        ensure!((0.0..=100.0).contains(&self.gutter), "a gutter is 0 to 100 pixels, found {}", self.gutter);
        let places = self.places(columns)?;
        let rows = places.last().map_or(1, |(row, _)| row + 1);
        for (what, given, needed) in [
            ("images", self.captions.len(), count),
            ("rows", self.row_captions.len(), rows),
            ("columns", self.column_captions.len(), columns),
        ] {
            ensure!(
                given == 0 || given == needed,
                "a grid of {needed} {what} needs {needed} captions for them, found {given}"
            );
        }
        Ok(Figure::new(Grid { grid: self, columns, rows, places }))
    }

    /// Returns the row and the column of every image.
    fn places(&self, columns: usize) -> Result<Vec<(usize, usize)>> {
        let count = self.images.count;
        let filled = || (0..count).map(|i| (i / columns, i % columns)).collect();
        let Some(rows) = &self.rows else { return Ok(filled()) };
        let total: usize = rows.iter().sum();
        ensure!(total == count, "the rows of a grid have {total} images, but there are {count}");
        let longest = rows.iter().max().copied().unwrap_or(0);
        if rows.iter().all(|length| *length == longest) && self.columns.is_some_and(|c| c != longest) {
            return Ok(filled());
        }
        ensure!(longest <= columns, "a row of {longest} images does not fit into {columns} columns");
        let row = |(row, length): (usize, &usize)| (0..*length).map(move |column| (row, column));
        Ok(rows.iter().enumerate().flat_map(row).collect())
    }
}

const CAPTION: f64 = 9.0;
/// Approximate size of an image at the natural size, in pixels of layout.
const COMFORTABLE: f64 = 56.0;

/// A checked grid.
#[derive(Debug, Clone)]
struct Grid {
    grid: ImageGrid,
    columns: usize,
    rows: usize,
    /// Row and column of every image.
    places: Vec<(usize, usize)>,
}

/// Space around and between the images.
struct Spacing {
    left: f64,
    top: f64,
    x_gap: f64,
    y_gap: f64,
    below: f64,
}

impl Grid {
    /// Returns the gutter, rounded to whole pixels of the PNG.
    fn gutter(&self) -> f64 {
        whole(self.grid.gutter)
    }

    fn spacing(&self, face: &crate::plot::lettering::Face, width: f64) -> Spacing {
        let lines = if self.grid.title.is_empty() {
            0
        } else {
            face.wrap(&self.grid.title, TITLE_SIZE, width - 2.0 * EDGE).len()
        };
        let names = self.grid.row_captions.iter().map(|c| face.width(c, TICK_SIZE)).fold(0.0, f64::max);
        let below = if self.grid.captions.is_empty() { 0.0 } else { CAPTION * 1.5 };
        let head = if self.grid.column_captions.is_empty() { 0.0 } else { TICK_SIZE * 1.45 };
        let title = if lines == 0 { 0.0 } else { lines_height(lines, TITLE_SIZE) + 8.0 };
        Spacing {
            left: (EDGE + if names > 0.0 { names + 7.0 } else { 0.0 }).ceil(),
            top: (EDGE + title + head).ceil(),
            x_gap: self.gutter(),
            y_gap: self.gutter() + below.ceil(),
            below: below.ceil(),
        }
    }

    /// Returns the size with images scaled to `factor` pixels of the PNG per pixel.
    fn size(&self, spacing: &Spacing, factor: f64) -> (f64, f64) {
        let unit = factor / f64::from(SCALE);
        let (columns, rows) = (self.columns as f64, self.rows as f64);
        (
            spacing.left
                + columns * self.grid.images.width as f64 * unit
                + (columns - 1.0) * spacing.x_gap
                + EDGE,
            spacing.top
                + rows * self.grid.images.height as f64 * unit
                + (rows - 1.0) * spacing.y_gap
                + spacing.below
                + EDGE,
        )
    }

    fn comfortable(&self) -> f64 {
        let side = self.grid.images.width.max(self.grid.images.height) as f64;
        self.grid.factor.map_or((COMFORTABLE * f64::from(SCALE) / side).round().max(1.0), |f| f as f64)
    }
}

/// Rounds a length of layout to whole pixels of the PNG.
fn whole(length: f64) -> f64 {
    (length * f64::from(SCALE)).round() / f64::from(SCALE)
}

impl Drawing for Grid {
    fn natural(&self) -> (f64, f64) {
        let Ok(face) = crate::plot::lettering::Face::new() else { return (600.0, 600.0) };
        // A title wider than the images is wrapped at their width, so it does not widen the figure.
        let narrow = self.size(&self.spacing(&face, 600.0), self.comfortable()).0;
        self.size(&self.spacing(&face, narrow), self.comfortable())
    }

    fn draw(&self, scene: &mut Scene, area: Rect, _floor: Margins) -> Result<()> {
        let images = &self.grid.images;
        let spacing = self.spacing(&scene.face, area.width());
        let least = self.size(&spacing, 0.0);
        let per_factor = |side: usize, count: usize| side as f64 * count as f64 / f64::from(SCALE);
        let factor = ((area.width() - least.0) / per_factor(images.width, self.columns))
            .min((area.height() - least.1) / per_factor(images.height, self.rows));
        let factor = (factor + 1e-9).floor();
        if factor < 1.0 {
            return Err(too_small(area, self.size(&spacing, 1.0)));
        }
        let unit = factor / f64::from(SCALE);
        let (wide, high) = (images.width as f64 * unit, images.height as f64 * unit);
        let size = self.size(&spacing, factor);
        let left = whole(area.left + spacing.left + (area.width() - size.0) / 2.0);
        let top = whole(area.top + spacing.top + (area.height() - size.1) / 2.0);
        for (index, (row, column)) in self.places.iter().enumerate() {
            let (row, column) = (*row as f64, *column as f64);
            let rect = Rect::new(
                left + column * (wide + spacing.x_gap),
                top + row * (high + spacing.y_gap),
                wide,
                high,
            );
            let rgb = images.rgb(index);
            scene.marks.push(Mark::Image { rect, width: images.width, height: images.height, rgb });
            if let Some(caption) = self.grid.captions.get(index) {
                let at = (rect.center().0, rect.bottom + CAPTION * 1.05);
                short_text(scene, caption, at, CAPTION, wide + spacing.x_gap - 2.0);
            }
        }
        for (column, caption) in self.grid.column_captions.iter().enumerate() {
            let x = left + column as f64 * (wide + spacing.x_gap) + wide / 2.0;
            short_text(scene, caption, (x, top - TICK_SIZE * 0.45), TICK_SIZE, wide + spacing.x_gap - 3.0);
        }
        for (row, caption) in self.grid.row_captions.iter().enumerate() {
            let y = top + row as f64 * (high + spacing.y_gap) + high / 2.0;
            scene.text_centered(caption, (left - 7.0, y), TICK_SIZE, Anchor::End, TEXT);
        }
        if !self.grid.title.is_empty() {
            let lines = scene.face.wrap(&self.grid.title, TITLE_SIZE, area.width() - 2.0 * EDGE);
            let start = whole(area.top + EDGE + (area.height() - size.1) / 2.0);
            scene.lines(&lines, area.center().0, start, TITLE_SIZE, TEXT);
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let Images { count, channels, height, width, .. } = &self.grid.images;
        let kind = if *channels == 1 { "gray" } else { "color" };
        let noun = if *count == 1 { "image" } else { "images" };
        format!("image grid: {count} {kind} {noun} of {width} x {height} in {} columns", self.columns)
    }
}

/// Draws centered text, with a smaller font and then shortened until it fits.
fn short_text(scene: &mut Scene, text: &str, at: (f64, f64), size: f64, room: f64) {
    let wide = scene.face.width(text, size);
    let size = if wide > room { (size * room / wide).max(7.5) } else { size };
    let text = scene.face.shorten(text, size, room);
    scene.text(&text, at, size, Anchor::Middle, TEXT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> (Vec<u8>, usize) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let width = reader.next_frame(&mut rgb).unwrap().width as usize;
        (rgb, width)
    }

    #[test]
    fn every_pixel_becomes_an_exact_square() {
        let data: Vec<f32> = vec![-1.0, 1.0, 0.0, 0.5, 1.0, -1.0, 0.25, -0.5];
        let images = Images::new(2, 1, 2, 2, data.clone()).unwrap();
        let figure = ImageGrid::new(images).columns(2).factor(6).gutter(2.0).figure().unwrap();
        let (width, height) = figure.size();
        assert_eq!((width, height), (34, 26));
        let (rgb, stride) = decode(&figure.to_png(width, height).unwrap());
        for (image, origin) in [(0, 20), (1, 20 + 12 + 4)] {
            for y in 0..12 {
                for x in 0..12 {
                    let value = data[image * 4 + (y / 6) * 2 + x / 6];
                    let expected = ((value + 1.0) * 127.5).round() as u8;
                    let at = 3 * ((20 + y) * stride + origin + x);
                    assert_eq!(rgb[at..at + 3], [expected; 3], "image {image}, pixel {x}, {y}");
                }
            }
        }
        let gutter = 3 * (25 * stride + 20 + 13);
        assert_eq!(rgb[gutter..gutter + 3], [255; 3]);
    }

    #[test]
    fn colors_keep_their_planes_apart_and_nan_shows() {
        let images = Images::new(1, 3, 1, 2, [1.0, f32::NAN, -1.0, 0.0, 3.0, 0.0]).unwrap();
        assert_eq!(images.rgb(0), [255, 0, 255, 255, 0, 255]);
        let images = Images::new(1, 3, 1, 2, [1.0, 0.0, -1.0, 0.0, -7.0, 0.0]).unwrap();
        assert_eq!(images.rgb(0), [255, 0, 0, 128, 128, 128]);
    }

    #[test]
    fn svg_embeds_each_image_with_hard_edges() {
        let images = Images::new(3, 1, 2, 2, [0.0; 12]).unwrap();
        let svg =
            ImageGrid::new(images).captions(["a", "b", "c"]).figure().unwrap().to_svg(300, 300).unwrap();
        assert_eq!(svg.matches("<image").count(), 3);
        assert_eq!(svg.matches("image-rendering:pixelated").count(), 3);
    }

    #[test]
    fn wrong_shapes_captions_and_sizes_are_errors() {
        assert!(Images::new(1, 2, 2, 2, [0.0; 8]).unwrap_err().message().contains("1 or 3 channels"));
        assert!(Images::new(1, 1, 2, 2, [0.0; 3]).unwrap_err().message().contains("need 4 values, found 3"));
        assert!(Images::new(0, 1, 2, 2, []).is_err());
        let images = Images::new(4, 1, 2, 2, [0.0; 16]).unwrap();
        assert!(ImageGrid::new(images.clone()).captions(["a"]).figure().is_err());
        assert!(ImageGrid::new(images.clone()).row_captions(["a"]).figure().is_err());
        assert!(ImageGrid::new(images.clone()).columns(0).figure().is_err());
        let grid = ImageGrid::new(images).figure().unwrap();
        assert!(grid.to_png(20, 20).unwrap_err().hint_text().is_some());
        assert_eq!(grid.describe(), "image grid: 4 gray images of 2 x 2 in 2 columns");
    }

    #[test]
    fn rows_of_different_lengths_stay_rows() {
        let images = Images::new(5, 1, 2, 2, [0.0; 20]).unwrap();
        let grid = ImageGrid::new(images).rows(vec![2, 3]);
        assert_eq!(grid.places(3).unwrap(), [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
        assert!(grid.clone().row_captions(["real", "generated"]).figure().is_ok());
        let error = grid.clone().columns(2).figure().unwrap_err();
        assert_eq!(error.message(), "a row of 3 images does not fit into 2 columns");
        assert!(grid.rows(vec![2, 2]).figure().is_err());
    }
}
