//! Conversion of a value's representations to Jupyter's MIME types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jupyter_protocol::{Media, MediaType};
use serde_json::{Map, Value, json};

use crate::context::Display;

/// PNG pixels per pixel of layout; a notebook shows the picture at its layout size.
const DENSITY: u32 = 2;

/// Size in bytes from which the SVG of a figure makes a notebook slow.
const LARGE: usize = 1 << 20;

/// Representations of a value, with metadata.
pub struct Bundle {
    /// Representations by MIME type.
    pub data: Media,
    /// Size at which a picture is shown.
    pub metadata: Map<String, Value>,
}

impl Bundle {
    /// Creates a bundle of plain text only.
    pub fn text(text: impl Into<String>) -> Self {
        Self { data: Media::from(MediaType::Plain(text.into())), metadata: Map::new() }
    }
}

impl From<&Display> for Bundle {
    fn from(display: &Display) -> Self {
        let mut forms = vec![MediaType::Plain(display.text.clone())];
        let mut metadata = Map::new();
        // The HTML of a figure is its SVG in a frame; including it once is enough for files that people share.
        let framed = |html: &String| display.svg.is_some() && html.contains("<svg");
        if let Some(html) = display.html.as_ref().filter(|html| !framed(html)) {
            forms.push(MediaType::Html(html.clone()));
        }
        // A figure of very many points is only shown as a PNG, which does not grow with them.
        let svg = display.svg.as_ref().filter(|svg| svg.len() < LARGE || display.png.is_none());
        if let Some(svg) = svg {
            // The column of a notebook may be narrower than the figure.
            let fitting = "<svg style=\"max-width:100%;height:auto\" ";
            forms.push(MediaType::Svg(svg.replacen("<svg ", fitting, 1)));
        }
        if let Some(png) = &display.png {
            forms.push(MediaType::Png(STANDARD.encode(png)));
            if let Some((width, height)) = size(png) {
                let shown = json!({ "width": width / DENSITY, "height": height / DENSITY });
                metadata.insert("image/png".to_string(), shown);
            }
        }
        Self { data: Media::new(forms), metadata }
    }
}

/// Returns the width and height of a PNG, from its first chunk.
fn size(png: &[u8]) -> Option<(u32, u32)> {
    let number = |at: usize| Some(u32::from_be_bytes(png.get(at..at + 4)?.try_into().ok()?));
    (png.get(12..16)? == b"IHDR").then(|| Some((number(16)?, number(20)?)))?
}

#[cfg(test)]
mod tests {
    use rhai::Dynamic;

    use super::*;
    use crate::declare::Value as Declared;
    use crate::script::engine::EngineOptions;

    #[test]
    fn a_figure_comes_as_svg_and_as_png_in_its_size() {
        let engine = crate::script::engine::language(EngineOptions::default());
        let figure = engine.engine.eval::<Dynamic>("plot::line([3, 1, 2])").unwrap();
        let Ok(Declared::Object(figure)) = engine.types.lift(&figure) else { panic!("no figure") };
        let bundle = Bundle::from(&figure.display());
        let kinds: Vec<&str> = bundle.data.content.iter().map(MediaType::mime_type).collect();
        assert_eq!(kinds, ["text/plain", "image/svg+xml", "image/png"]);
        assert_eq!(bundle.metadata["image/png"], json!({ "width": 600, "height": 400 }));
    }

    #[test]
    fn what_has_no_picture_keeps_its_html() {
        let display = Display { html: Some("<b>x</b>".to_string()), ..Display::text("x") };
        let kinds: Vec<String> =
            Bundle::from(&display).data.content.iter().map(|m| m.mime_type().to_string()).collect();
        assert_eq!(kinds, ["text/plain", "text/html"]);
    }
}
