//! Figures, which can be drawn as PNG, SVG or PDF, described in one line of text, and saved.

use std::path::Path;
use std::sync::Arc;

use crate::document::escape_html;
use crate::ensure;
use crate::error::{Error, Result};
use crate::files;
use crate::plot::geometry::{Margins, Rect};
use crate::plot::lettering::Face;
use crate::plot::scene::{Mark, Scene};
use crate::plot::{pdf, png, svg};

/// Longest side that can be drawn, in pixels of layout.
const LONGEST: f64 = 8000.0;

/// A kind of figure.
pub(crate) trait Drawing: std::fmt::Debug + Send + Sync {
    /// Returns the natural size in pixels, at which it looks as intended.
    fn natural(&self) -> (f64, f64);

    /// Returns the space that its labels need around its plot, so that neighbors can be aligned.
    fn margins(&self, _face: &Face, _area: Rect) -> Result<Margins> {
        Ok(Margins::default())
    }

    /// Draws into `area` with at least the margins of `floor`.
    fn draw(&self, scene: &mut Scene, area: Rect, floor: Margins) -> Result<()>;

    /// Describes the figure in one line of text.
    fn describe(&self) -> String;
}

/// Check that is called repeatedly while a figure is drawn; an error from it ends the drawing.
#[derive(Clone, Default)]
pub(crate) struct DrawCheck(Option<Arc<dyn Fn() -> Result<()> + Send + Sync>>);

impl DrawCheck {
    /// Fails if the drawing is to end.
    pub fn check(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |check| check())
    }
}

impl std::fmt::Debug for DrawCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DrawCheck")
    }
}

/// Finished figure with checked data and labels, cheap to clone, drawn anew at every size.
#[derive(Debug, Clone)]
pub struct Figure {
    drawing: Arc<dyn Drawing>,
    size: Option<(u32, u32)>,
    watch: DrawCheck,
}

impl Figure {
    pub(crate) fn new(drawing: impl Drawing + 'static) -> Self {
        Self { drawing: Arc::new(drawing), size: None, watch: DrawCheck::default() }
    }

    /// Sets the size that [`Figure::size`] returns and [`Figure::save`] uses, in pixels of layout.
    #[must_use]
    pub fn sized(mut self, width: u32, height: u32) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Calls `check` repeatedly while the figure is drawn, in every format; its error ends the drawing. A million
    /// points take seconds.
    #[must_use]
    pub fn watched(mut self, check: impl Fn() -> Result<()> + Send + Sync + 'static) -> Self {
        self.watch = DrawCheck(Some(Arc::new(check)));
        self
    }

    /// Returns the natural size as (width, height) in pixels of layout; text is 10 to 14 of these pixels high.
    pub fn size(&self) -> (u32, u32) {
        self.size.unwrap_or_else(|| {
            let (width, height) = self.drawing.natural();
            (width.ceil() as u32, height.ceil() as u32)
        })
    }

    /// Draws the figure as PNG, 8-bit RGB on white, laid out on width x height with two pixels per pixel of layout:
    /// the image is 2 width x 2 height.
    ///
    /// Fails if the size leaves no room for the plot between its labels.
    pub fn to_png(&self, width: u32, height: u32) -> Result<Vec<u8>> {
        png::encode(&self.scene(width, height)?)
    }

    /// Returns the characters of its texts that neither the embedded font nor a system font has, each once. A PNG
    /// shows boxes in their place; for an SVG, fonts depend on the viewer.
    pub fn missing_characters(&self) -> Result<Vec<char>> {
        let (width, height) = self.size();
        let scene = self.scene(width, height)?;
        let mut missing = Vec::new();
        for mark in &scene.marks {
            if let Mark::Text { text, .. } = mark {
                missing.extend(scene.face.missing(text));
            }
        }
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }

    /// Draws the figure as one SVG document of width x height; text stays text, and images are embedded.
    ///
    /// Fails if the size leaves no room for the plot between its labels.
    pub fn to_svg(&self, width: u32, height: u32) -> Result<String> {
        svg::write(&self.scene(width, height)?)
    }

    /// Draws the figure as a PDF of one page, 1/96 inch for each pixel of layout: text of 8 to 10.5 points, in the
    /// embedded font. Images are embedded, and the same figure gives the same bytes.
    ///
    /// Fails if the size leaves no room for the plot between its labels.
    pub fn to_pdf(&self, width: u32, height: u32) -> Result<Vec<u8>> {
        pdf::write(&self.scene(width, height)?, &self.describe())
    }

    /// Draws the figure as an HTML `<figure>` that shrinks with the page; the description serves screen readers.
    ///
    /// The SVG inside has no ids, so a page can contain several figures. Fails like [`Figure::to_svg`].
    pub fn to_html(&self, width: u32, height: u32) -> Result<String> {
        let svg = self.to_svg(width, height)?;
        let svg = svg.replacen("<svg ", "<svg style=\"max-width:100%;height:auto\" aria-hidden=\"true\" ", 1);
        let label = escape_html(&svg::writable(&self.describe()));
        Ok(format!(
            "<figure class=\"spectral-figure\" style=\"margin:0\" role=\"img\" aria-label=\"{label}\">\n{svg}</figure>\n"
        ))
    }

    /// Describes the figure in one line of text: kind, amount of data and ranges.
    pub fn describe(&self) -> String {
        self.drawing.describe()
    }

    /// Writes the figure at its own size; the extension, `.png`, `.svg` or `.pdf`, chooses the format.
    ///
    /// Missing folders are created, and the file is written completely or not at all. Fails for any other extension,
    /// and if the disk is full or not writable.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (width, height) = self.size();
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let bytes = match extension.as_deref() {
            Some("png") => self.to_png(width, height)?,
            Some("svg") => self.to_svg(width, height)?.into_bytes(),
            Some("pdf") => self.to_pdf(width, height)?,
            Some(other) => {
                return Err(Error::file(path, format!("a figure cannot be saved as `.{other}`"))
                    .hint("end the name in `.png`, `.svg` or `.pdf`"));
            }
            None => {
                return Err(Error::file(path, "the name of a figure needs an extension")
                    .hint("end the name in `.png`, `.svg` or `.pdf`"));
            }
        };
        files::write(path, bytes)
    }

    pub(crate) fn drawing(&self) -> &dyn Drawing {
        self.drawing.as_ref()
    }

    fn scene(&self, width: u32, height: u32) -> Result<Scene> {
        let (width, height) = (f64::from(width), f64::from(height));
        ensure!(
            width >= 1.0 && height >= 1.0 && width <= LONGEST && height <= LONGEST,
            "a figure takes sides of 1 to {LONGEST} pixels, found {width} x {height}"
        );
        let mut scene = Scene::new(width, height)?;
        scene.watch = self.watch.clone();
        self.drawing.draw(&mut scene, Rect::new(0.0, 0.0, width, height), Margins::default())?;
        scene.watch.check()?;
        Ok(scene)
    }
}

/// Returns the error for a figure whose labels leave no room for the plot.
pub(crate) fn too_small(area: Rect, needed: (f64, f64)) -> Error {
    Error::argument(format!(
        "a figure of {:.0} x {:.0} pixels leaves no room between its labels",
        area.width(),
        area.height()
    ))
    .hint(format!("make it at least {:.0} x {:.0}, or shorten the labels", needed.0, needed.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::plot::{Axis, Line, Series};

    fn figure() -> Figure {
        Line::new(Axis::new("step"), Axis::new("loss <a & b>"))
            .series(Series::new("run", [0.0, 1.0, 2.0], [3.0, 1.0, 2.0]))
            .title("a \"title\"")
            .figure()
            .unwrap()
    }

    #[test]
    fn a_png_has_two_pixels_for_each_of_the_layout() {
        let bytes = figure().to_png(320, 240).unwrap();
        let reader = png_crate(&bytes);
        assert_eq!((reader.0, reader.1), (640, 480));
    }

    fn png_crate(bytes: &[u8]) -> (u32, u32) {
        let reader = ::png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        (reader.info().width, reader.info().height)
    }

    #[test]
    fn html_is_labeled_and_several_fit_into_one_page() {
        let html = figure().to_html(320, 240).unwrap();
        assert!(html.starts_with("<figure ") && html.ends_with("</svg>\n</figure>\n"), "{html}");
        assert!(html.contains("loss &lt;a &amp; b&gt;)\">"), "{html}");
        assert!(!html.contains(" id=\"") && !html.contains("url(#"), "{html}");
    }

    #[test]
    fn saving_follows_the_extension_and_explains_what_it_cannot_do() {
        let folder = tempfile::tempdir().unwrap();
        let figure = figure();
        figure.save(folder.path().join("a.png")).unwrap();
        figure.save(folder.path().join("a.SVG")).unwrap();
        assert!(std::fs::read(folder.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
        assert!(std::fs::read_to_string(folder.path().join("a.SVG")).unwrap().starts_with("<svg"));
        figure.save(folder.path().join("a.pdf")).unwrap();
        assert!(std::fs::read(folder.path().join("a.pdf")).unwrap().starts_with(b"%PDF-"));
        let error = figure.save(folder.path().join("a.jpg")).unwrap_err();
        assert_eq!(error.kind(), Kind::File);
        assert!(error.message().contains("`.jpg`"), "{error}");
        assert!(figure.save(folder.path().join("a")).unwrap_err().message().contains("needs an extension"));
        figure.save(folder.path().join("new/a.png")).unwrap();
        assert!(folder.path().join("new/a.png").is_file());
    }

    #[test]
    fn a_figure_that_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.svg");
        std::fs::write(&path, "old").unwrap();
        let linked = folder.path().join("b.svg");
        std::fs::hard_link(&path, &linked).unwrap();
        figure().save(&path).unwrap();
        // The new content has a file of its own, so whoever reads the old one is not disturbed.
        assert_eq!(std::fs::read_to_string(&linked).unwrap(), "old");
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("<svg"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_full_disk_is_named() {
        if Path::new("/dev/full").exists() {
            // A link with the right extension to the device that is always full.
            let folder = tempfile::tempdir().unwrap();
            let link = folder.path().join("full.png");
            std::os::unix::fs::symlink("/dev/full", &link).unwrap();
            let error = figure().save(&link).unwrap_err();
            assert!(error.message().contains("no space left"), "{error}");
        }
    }

    #[test]
    fn impossible_sizes_are_errors_with_a_way_out() {
        let error = figure().to_png(60, 40).unwrap_err();
        assert!(error.hint_text().is_some_and(|hint| hint.contains("at least")), "{error}");
        assert!(figure().to_svg(0, 100).is_err());
        assert!(figure().to_png(100_000, 100).is_err());
    }
}
