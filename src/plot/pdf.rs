//! Output of a scene as PDF: paths, text with the embedded font, and images with hard pixel edges.
//!
//! A pixel of layout is 1/96 inch, as in SVG, so the labels of ticks are 8 points high. The font is embedded with the
//! glyphs of the figure, and each glyph stands where layout measured it; a glyph of a system font is drawn as a path.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use pdf_writer::types::{CidFontType, FontFlags, LineJoinStyle, SystemInfo, UnicodeCmap};
use pdf_writer::writers::ExtGraphicsState;
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Ref, Str, TextStr};

use crate::error::{Error, Result};
use crate::plot::geometry::{Point, Rect};
use crate::plot::lettering::{CAPITAL, Face, Placed};
use crate::plot::scene::{Anchor, Ink, Mark, Scene};
use crate::plot::truetype;

/// Points per pixel of layout.
const POINTS: f32 = 0.75;
/// Pixels of a shown image per pixel of layout. Some viewers blur pixels that are larger.
const FINE: f64 = 2.0;
/// Distance of the control points of a quarter of a circle of radius one.
const BEND: f64 = 0.552_284_75;
const FONT: Name<'_> = Name(b"F");
/// Name of the font with the prefix of a subset.
const FAMILY: Name<'_> = Name(b"SPCTRL+DejaVuSans");

const CATALOG: Ref = Ref::new(1);
const PAGES: Ref = Ref::new(2);
const PAGE: Ref = Ref::new(3);
const CONTENT: Ref = Ref::new(4);
const ABOUT: Ref = Ref::new(5);
const TYPE0: Ref = Ref::new(6);
const CID: Ref = Ref::new(7);
const DESCRIPTOR: Ref = Ref::new(8);
const FILE: Ref = Ref::new(9);
const UNICODE: Ref = Ref::new(10);
const FIRST_FREE: i32 = 11;

/// Writes a scene as a document of one page with this title.
pub(crate) fn write(scene: &Scene, title: &str) -> Result<Vec<u8>> {
    let (width, height) = (scene.width as f32 * POINTS, scene.height as f32 * POINTS);
    let mut page = Page::new(height);
    for mark in &scene.marks {
        scene.watch.check()?;
        page.mark(mark, &scene.face)?;
    }
    let mut pdf = Pdf::new();
    pdf.catalog(CATALOG).pages(PAGES);
    pdf.pages(PAGES).kids([PAGE]).count(1);
    pdf.document_info(ABOUT).title(TextStr(title)).producer(TextStr("spectral"));
    let mut leaf = pdf.page(PAGE);
    leaf.parent(PAGES).media_box(pdf_writer::Rect::new(0.0, 0.0, width, height)).contents(CONTENT);
    let mut resources = leaf.resources();
    if !page.glyphs.is_empty() {
        resources.fonts().pair(FONT, TYPE0);
    }
    let mut states = resources.ext_g_states();
    for alpha in &page.alphas {
        let part = f32::from(*alpha) / 255.0;
        let name = format!("A{alpha}");
        let mut state = states.insert(Name(name.as_bytes())).start::<ExtGraphicsState<'_>>();
        state.non_stroking_alpha(part).stroking_alpha(part);
    }
    states.finish();
    let mut objects = resources.x_objects();
    for number in 0..page.images.len() {
        objects.pair(Name(image_name(number).as_bytes()), image_ref(number));
    }
    objects.finish();
    resources.finish();
    leaf.finish();
    pdf.stream(CONTENT, &packed(&page.content.finish())?).filter(Filter::FlateDecode);
    for (number, image) in page.images.iter().enumerate() {
        let mut object = pdf.image_xobject(image_ref(number), &image.samples);
        object.width(image.width).height(image.height).bits_per_component(8);
        object.filter(Filter::FlateDecode);
        match image.gray {
            true => object.color_space().device_gray(),
            false => object.color_space().device_rgb(),
        };
    }
    if !page.glyphs.is_empty() {
        font(&mut pdf, &scene.face, &page.glyphs)?;
    }
    Ok(pdf.finish())
}

/// An image, compressed.
struct Image {
    width: i32,
    height: i32,
    gray: bool,
    samples: Vec<u8>,
}

/// Content of the page, and what it refers to.
struct Page {
    content: Content,
    /// Opacities in steps of 1/255.
    alphas: BTreeSet<u8>,
    alpha: u8,
    images: Vec<Image>,
    /// Glyphs of the embedded font with the character and the width of each, in units of 1/1000.
    glyphs: BTreeMap<u16, (char, f32)>,
}

impl Page {
    fn new(height: f32) -> Self {
        let mut content = Content::new();
        // From here on, the units are pixels of layout with y downwards.
        content.transform([POINTS, 0.0, 0.0, -POINTS, 0.0, height]);
        content.set_line_join(LineJoinStyle::RoundJoin);
        Self { content, alphas: BTreeSet::new(), alpha: 255, images: Vec::new(), glyphs: BTreeMap::new() }
    }

    fn mark(&mut self, mark: &Mark, face: &Face) -> Result<()> {
        match mark {
            Mark::Polygon { points, ink } => {
                self.ink(*ink);
                self.path(points);
                self.content.close_path().fill_nonzero();
            }
            Mark::Line { points, width, ink } => {
                self.ink(*ink);
                self.content.set_line_width(round(*width));
                self.path(points);
                self.content.stroke();
            }
            Mark::Rect { rect, ink } => {
                self.ink(*ink);
                let (width, height) = (round(rect.width()), round(rect.height()));
                self.content.rect(round(rect.left), round(rect.top), width, height).fill_nonzero();
            }
            Mark::Circle { center, radius, ink } => {
                self.ink(*ink);
                self.circle(*center, *radius);
                self.content.fill_nonzero();
            }
            Mark::Text { text, at, size, anchor, upwards, ink } => {
                self.ink(*ink);
                let shift = match anchor {
                    Anchor::Start => 0.0,
                    Anchor::Middle => -face.width(text, *size) / 2.0,
                    Anchor::End => -face.width(text, *size),
                };
                self.text(face, text, *at, *size, shift, *upwards);
            }
            Mark::Image { rect, width, height, rgb } => self.image(rect, *width, *height, rgb)?,
        }
        Ok(())
    }

    fn ink(&mut self, ink: Ink) {
        let part = |level: u8| f32::from(level) / 255.0;
        let (red, green, blue) = (part(ink.color.red), part(ink.color.green), part(ink.color.blue));
        self.content.set_fill_rgb(red, green, blue).set_stroke_rgb(red, green, blue);
        let alpha = (ink.alpha.clamp(0.0, 1.0) * 255.0).round() as u8;
        if alpha != self.alpha {
            self.content.set_parameters(Name(format!("A{alpha}").as_bytes()));
            self.alphas.insert(alpha);
            self.alpha = alpha;
        }
    }

    fn path(&mut self, points: &[Point]) {
        for (i, (x, y)) in points.iter().enumerate() {
            match i {
                0 => self.content.move_to(round(*x), round(*y)),
                _ => self.content.line_to(round(*x), round(*y)),
            };
        }
    }

    fn circle(&mut self, (x, y): Point, radius: f64) {
        let at = |along: f64, down: f64| (round(x + radius * along), round(y + radius * down));
        let (start_x, start_y) = at(1.0, 0.0);
        self.content.move_to(start_x, start_y);
        for (a, b) in [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)] {
            let (first, second, end) =
                (at(a - BEND * b, b + BEND * a), at(BEND * a - b, BEND * b + a), at(-b, a));
            self.content.cubic_to(first.0, first.1, second.0, second.1, end.0, end.1);
        }
        self.content.close_path();
    }

    /// Draws a line of text that starts at `at`, moved by `shift` along its direction.
    fn text(&mut self, face: &Face, text: &str, at: Point, size: f64, shift: f64, upwards: bool) {
        let glyphs = face.placed(text);
        let own: Vec<&Placed> = glyphs.iter().filter(|glyph| !glyph.foreign).collect();
        let unit = size / face.units();
        // The axes of the letters, to the right and up, on the page.
        let (right, up) = if upwards { ((0.0, -1.0), (-1.0, 0.0)) } else { ((1.0, 0.0), (0.0, -1.0)) };
        let place = |along: f64| (at.0 + right.0 * along, at.1 + right.1 * along);
        if let Some(first) = own.first() {
            let (x, y) = place(shift + first.start * unit);
            self.content.begin_text().set_font(FONT, round(size));
            let [a, b, c, d] = [right.0, right.1, up.0, up.1].map(|part: f64| part as f32);
            self.content.set_text_matrix([a, b, c, d, round(x), round(y)]);
            let per_mille = 1000.0 / face.units();
            let mut shown = self.content.show_positioned();
            let mut items = shown.items();
            let mut reached = first.start;
            for glyph in own {
                if (glyph.start - reached).abs() * per_mille > 0.5 {
                    items.adjust(round((reached - glyph.start) * per_mille));
                }
                items.show(Str(&glyph.id.0.to_be_bytes()));
                reached = glyph.end;
                let width = (glyph.end - glyph.start) * per_mille;
                self.glyphs.entry(glyph.id.0).or_insert((glyph.character, round(width)));
            }
            items.finish();
            shown.finish();
            self.content.end_text();
        }
        let contours: Vec<Vec<Point>> =
            glyphs.iter().filter(|glyph| glyph.foreign).flat_map(|glyph| face.outline(glyph, size)).collect();
        if contours.is_empty() {
            return;
        }
        for contour in contours {
            let on_page = |(x, y): Point| {
                let start = place(shift + x);
                (start.0 - up.0 * y, start.1 - up.1 * y)
            };
            self.path(&contour.into_iter().map(on_page).collect::<Vec<Point>>());
            self.content.close_path();
        }
        self.content.fill_nonzero();
    }

    fn image(&mut self, rect: &Rect, width: usize, height: usize, rgb: &[u8]) -> Result<()> {
        let gray = rgb.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        let repeat =
            |shown: f64, count: usize| (FINE * shown / count as f64).ceil().clamp(1.0, 64.0) as usize;
        let (across, down) = (repeat(rect.width(), width), repeat(rect.height(), height));
        let channels = if gray { 1 } else { 3 };
        let mut samples = Vec::with_capacity(width * across * height * down * channels);
        for row in rgb.chunks_exact(3 * width) {
            let start = samples.len();
            for pixel in row.chunks_exact(3) {
                (0..across).for_each(|_| samples.extend_from_slice(&pixel[..channels]));
            }
            let end = samples.len();
            (1..down).for_each(|_| samples.extend_from_within(start..end));
        }
        let name = image_name(self.images.len());
        let opaque = Ink { color: crate::plot::color::Color::BLACK, alpha: 1.0 };
        self.ink(opaque);
        self.content.save_state();
        let [wide, high, left, bottom] = [rect.width(), rect.height(), rect.left, rect.bottom].map(round);
        self.content.transform([wide, 0.0, 0.0, -high, left, bottom]);
        self.content.x_object(Name(name.as_bytes())).restore_state();
        self.images.push(Image {
            width: (width * across) as i32,
            height: (height * down) as i32,
            gray,
            samples: packed(&samples)?,
        });
        Ok(())
    }
}

/// Writes the embedded font with these glyphs.
fn font(pdf: &mut Pdf, face: &Face, glyphs: &BTreeMap<u16, (char, f32)>) -> Result<()> {
    let identity = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };
    let file = truetype::subset(Face::file(), &glyphs.keys().copied().collect())
        .ok_or_else(|| Error::internal("the embedded font is not a TrueType font"))?;
    let mut whole = pdf.type0_font(TYPE0);
    whole.base_font(FAMILY).encoding_predefined(Name(b"Identity-H")).descendant_font(CID).to_unicode(UNICODE);
    whole.finish();
    let mut part = pdf.cid_font(CID);
    part.subtype(CidFontType::Type2).base_font(FAMILY).system_info(identity).font_descriptor(DESCRIPTOR);
    part.cid_to_gid_map_predefined(Name(b"Identity"));
    let mut widths = part.widths();
    for (glyph, (_, width)) in glyphs {
        widths.consecutive(*glyph, [*width]);
    }
    widths.finish();
    part.finish();
    let (low, high) = face.reach();
    let per_mille = 1000.0 / face.units() as f32;
    let mut about = pdf.font_descriptor(DESCRIPTOR);
    about.name(FAMILY).flags(FontFlags::NON_SYMBOLIC).italic_angle(0.0).stem_v(80.0);
    about.bbox(pdf_writer::Rect::new(0.0, low * per_mille, 1000.0, high * per_mille));
    about
        .ascent(high * per_mille)
        .descent(low * per_mille)
        .cap_height(1000.0 * CAPITAL as f32)
        .font_file2(FILE);
    about.finish();
    pdf.stream(FILE, &packed(&file)?).filter(Filter::FlateDecode).pair(Name(b"Length1"), file.len() as i32);
    let mut characters = UnicodeCmap::new(Name(b"Spectral"), identity);
    for (glyph, (character, _)) in glyphs {
        characters.pair(*glyph, *character);
    }
    pdf.cmap(UNICODE, &packed(&characters.finish())?).filter(Filter::FlateDecode);
    Ok(())
}

fn image_name(number: usize) -> String {
    format!("I{number}")
}

fn image_ref(number: usize) -> Ref {
    Ref::new(FIRST_FREE + number as i32)
}

/// Rounds to a hundredth, which is invisible and short.
fn round(value: f64) -> f32 {
    ((value * 100.0).round() / 100.0) as f32
}

fn packed(bytes: &[u8]) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::internal(format!("compressing a pdf failed: {error}"));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).map_err(failed)?;
    encoder.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::color::Color;

    /// Returns the streams of a document, unpacked.
    fn streams(pdf: &[u8]) -> Vec<Vec<u8>> {
        let find = |from: usize, word: &[u8]| {
            pdf[from..].windows(word.len()).position(|part| part == word).map(|at| from + at)
        };
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(start) = find(at, b"stream\n") {
            let end = find(start, b"\nendstream").unwrap();
            let mut bytes = Vec::new();
            let mut decoder = flate2::read::ZlibDecoder::new(&pdf[start + 7..end]);
            std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
            found.push(bytes);
            at = end + 10;
        }
        found
    }

    #[test]
    fn marks_become_paths_text_and_pixels() {
        let mut scene = Scene::new(40.0, 20.0).unwrap();
        scene.rect(Rect::new(1.0, 2.0, 3.5, 4.0), Color::BLACK.faint(0.2));
        scene.text("Δ", (5.0, 6.0), 8.0, Anchor::Start, Color::hex(0xff0000));
        let rgb = vec![10, 10, 10, 20, 20, 20];
        scene.marks.push(Mark::Image { rect: Rect::new(10.0, 0.0, 2.0, 1.0), width: 2, height: 1, rgb });
        let pdf = write(&scene, "a title").unwrap();
        let text = String::from_utf8_lossy(&pdf);
        assert!(text.starts_with("%PDF-") && text.trim_end().ends_with("%%EOF"), "{text}");
        assert!(text.contains("/MediaBox [0 0 30 15]") && text.contains("(a title)"), "{text}");
        assert!(text.contains("/CA 0.2") && text.contains("/DeviceGray"), "{text}");
        let streams = streams(&pdf);
        let content = String::from_utf8_lossy(&streams[0]);
        for part in
            ["0.75 0 0 -0.75 0 15 cm", "1 2 3.5 4 re\nf", "1 0 0 rg", "1 0 0 -1 5 6 Tm", "2 0 0 -1 10 1 cm"]
        {
            assert!(content.contains(part), "{part} is missing in {content}");
        }
        assert_eq!(streams[1], [10, 10, 20, 20, 10, 10, 20, 20], "two pixels each way for a pixel of layout");
        assert!(String::from_utf8_lossy(&streams[3]).contains("<0394>"), "the text can be searched");
    }
}
