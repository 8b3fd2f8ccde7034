//! Reports: self-contained HTML pages of text, tables, figures and provenance.
//!
//! - `page.html`, `style.css`: the template; no network access, readable on phones, in light and dark mode

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;

use crate::declare::{Display, Map, Options, Value};
use crate::document::{Document, Line};
use crate::error::{Error, Result};
use crate::files;
use crate::table::Table;
use crate::text::{escape_html, significant};

pub(crate) mod api;
mod commit;

pub use api::make::*;

/// Size in bytes above which an SVG drawing is replaced by the PNG of the same figure.
const LARGE_SVG: usize = 600_000;

/// Options of a new report.
#[derive(Debug, Clone, Options)]
pub struct StartOptions {
    /// Markdown text below the title, such as the purpose and the result of the experiment.
    pub summary: String,
}

/// Options of a table or figure.
#[derive(Debug, Clone, Options)]
pub struct CaptionOptions {
    /// Markdown text below it, on one line.
    pub caption: String,
}

/// A report that grows from top to bottom; clones share the page.
#[derive(Clone)]
pub struct Report(Arc<Mutex<Page>>);

crate::scripted!(
    Report,
    "report",
    |r| {
        let page = r.lock();
        let (sections, figures) = (page.sections.len(), page.figures);
        Display {
            html: Some(page.body()),
            ..Display::text(format!("report \"{}\": {sections} sections, {figures} figures", page.title))
        }
    },
    describe = |r| ("the report", format!("\"{}\"", r.lock().title))
);

#[derive(Default)]
struct Page {
    title: String,
    summary: String,
    content: String,
    sections: Vec<String>,
    figures: usize,
    tables: usize,
    /// Provenance as text: a value may hold the report itself.
    facts: BTreeMap<String, String>,
    settings: Vec<Value>,
}

impl Report {
    /// Creates a page with a title.
    pub fn new(title: &str, options: &StartOptions) -> Self {
        let page = Page { title: title.to_string(), summary: options.summary.clone(), ..Page::default() };
        Self(Arc::new(Mutex::new(page)))
    }

    fn lock(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a section.
    pub fn section(&self, title: &str) {
        let mut page = self.lock();
        page.sections.push(title.to_string());
        let heading =
            format!("<h2 id=\"s{}\">{}</h2>\n", page.sections.len(), Line::from_markdown(title).to_html());
        page.content.push_str(&heading);
    }

    /// Adds text in Markdown; see [`Document::from_markdown`].
    pub fn text(&self, text: &str) {
        self.lock().content.push_str(&Document::from_markdown(text).to_html());
    }

    /// Adds a table.
    pub fn table(&self, table: &Table, options: &CaptionOptions) {
        let html = table.to_html();
        let mut page = self.lock();
        page.tables += 1;
        let caption = caption("Table", page.tables, &options.caption);
        page.content.push_str(&format!("<figure>{caption}<div class=\"wide\">{html}</div></figure>\n"));
    }

    /// Adds a figure: any value with a picture, the text of an SVG, or the path of a PNG or SVG file, whose content
    /// is embedded in the page.
    pub fn figure(&self, figure: &Value, options: &CaptionOptions) -> Result<()> {
        let image = image(figure, &options.caption)?;
        let mut page = self.lock();
        page.figures += 1;
        let caption = caption("Figure", page.figures, &options.caption);
        page.content.push_str(&format!("<figure><div class=\"picture\">{image}</div>{caption}</figure>\n"));
        Ok(())
    }

    /// Adds a list of settings, and stores them exactly for the foot of the page.
    pub fn settings(&self, settings: &Map) -> Result<()> {
        let value = Value::Map(settings.clone());
        if value.to_json().is_none() {
            return Err(Error::argument(
                "settings hold something that only lives in memory, such as a function",
            ));
        }
        let list = definitions(&readable_of(settings));
        let mut page = self.lock();
        page.content.push_str(&list);
        page.settings.push(value);
        Ok(())
    }

    /// Adds provenance (versions, device, hashes) to the foot of the page.
    pub fn provenance(&self, facts: &Map) {
        let facts = readable_of(facts);
        self.lock().facts.extend(facts);
    }

    /// Returns the whole page as HTML.
    pub fn to_html(&self) -> String {
        let page = self.lock();
        let (title, body) = (escape_html(&page.title), page.body());
        filled(
            include_str!("page.html"),
            &[("title", &title), ("style", include_str!("style.css")), ("body", &body)],
        )
    }

    /// Writes the page; an existing file is replaced atomically.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        files::write(path, self.to_html())
    }
}

/// Replaces each `{name}` of a template once; inserted values are not searched for names.
fn filled(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, found) = rest.split_at(start);
        out.push_str(before);
        let value = values.iter().find_map(|(name, value)| {
            let behind = found.strip_prefix('{')?.strip_prefix(name)?.strip_prefix('}')?;
            Some((value, behind))
        });
        match value {
            Some((value, behind)) => {
                out.push_str(value);
                rest = behind;
            }
            None => {
                out.push('{');
                rest = &found[1..];
            }
        }
    }
    out + rest
}

impl Page {
    fn body(&self) -> String {
        let mut out = format!("<header>\n<h1>{}</h1>\n", escape_html(&self.title));
        if !self.summary.is_empty() {
            out.push_str(&format!(
                "<div class=\"summary\">{}</div>\n",
                Document::from_markdown(&self.summary).to_html()
            ));
        }
        out.push_str("</header>\n");
        if self.sections.len() > 2 {
            out.push_str("<nav>\n");
            for (i, title) in self.sections.iter().enumerate() {
                out.push_str(&format!(
                    "<a href=\"#s{}\">{}</a>\n",
                    i + 1,
                    Line::from_markdown(title).to_html()
                ));
            }
            out.push_str("</nav>\n");
        }
        out.push_str("<main>\n");
        out.push_str(&self.content);
        out.push_str("</main>\n");
        if !self.facts.is_empty() || !self.settings.is_empty() {
            out.push_str(&self.foot());
        }
        out
    }

    fn foot(&self) -> String {
        let mut out = String::from("<footer>\n<h2>Provenance</h2>\n");
        out.push_str(&definitions(&self.facts));
        for json in self.settings.iter().filter_map(Value::to_json_lines) {
            let json = escape_html(&json);
            out.push_str(&format!("<details><summary>Exact settings</summary><pre>{json}</pre></details>\n"));
        }
        out.push_str("</footer>\n");
        out
    }
}

fn caption(word: &str, number: usize, text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => {
            format!(
                "<figcaption><b>{word} {number}.</b> {}</figcaption>",
                Line::from_markdown(text).to_html()
            )
        }
    }
}

fn readable_of(map: &Map) -> BTreeMap<String, String> {
    map.iter().map(|(name, value)| (name.clone(), readable(value))).collect()
}

fn definitions(texts: &BTreeMap<String, String>) -> String {
    let mut out = String::from("<dl>\n");
    for (name, text) in texts {
        let (name, value) = (escape_html(&name.replace('_', " ")), escape_html(text));
        out.push_str(&format!("<dt>{name}</dt><dd>{value}</dd>\n"));
    }
    out.push_str("</dl>\n");
    out
}

fn readable(value: &Value) -> String {
    match value {
        Value::Unit => "none".to_string(),
        Value::Str(s) => s.clone(),
        Value::Float(x) => significant(*x, 6),
        Value::List(list) => list.iter().map(readable).collect::<Vec<_>>().join(", "),
        Value::Object(object) => object.text(),
        other => format!("{other:?}"),
    }
}

/// Returns the HTML of a picture; `words` is its text alternative.
fn image(figure: &Value, words: &str) -> Result<String> {
    match figure {
        Value::Str(text) if text.trim_start().starts_with('<') => svg(text, words),
        Value::Str(path) if path.ends_with(".svg") => svg(&files::read_text(path)?, words),
        Value::Str(path) => {
            let bytes = files::read(path)?;
            if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
                return Err(Error::file(path, "expected a PNG or SVG picture"));
            }
            Ok(png(&bytes, words))
        }
        Value::Object(object) => {
            let display = object.display();
            match (display.svg, display.png) {
                (Some(drawing), None) => svg(&drawing, words),
                (Some(drawing), _) if drawing.len() <= LARGE_SVG => svg(&drawing, words),
                (_, Some(bytes)) => Ok(png(&bytes, words)),
                (None, None) => Err(figure.mismatch("something with a picture")),
            }
        }
        other => Err(other.mismatch("a figure, the text of an SVG or the name of a picture file")),
    }
}

fn png(bytes: &[u8], words: &str) -> String {
    embedded("image/png", bytes, words)
}

fn embedded(kind: &str, bytes: &[u8], words: &str) -> String {
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("<img alt=\"{}\" src=\"data:{kind};base64,{data}\">", escape_html(words))
}

/// Embeds an SVG as a separate image, so that its ids cannot clash with those of others on the page, and nothing in
/// it can run.
fn svg(text: &str, words: &str) -> Result<String> {
    if !text.contains("<svg") {
        return Err(Error::argument("expected the text of an SVG, found other markup"));
    }
    Ok(embedded("image/svg+xml", text.as_bytes(), words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::IntoValue;
    use crate::table::FromRowsOptions;

    fn page() -> Report {
        let report = Report::new("Cut <off>", &StartOptions { summary: "What *came* out.".into() });
        report.section("Results");
        let row = Map::from([("fid".to_string(), Value::Float(12.5))]);
        let table = Table::from_rows(vec![row], &FromRowsOptions::default()).unwrap();
        report.table(&table, &CaptionOptions { caption: "By cutoff".into() });
        report
    }

    #[test]
    fn a_report_may_name_itself() {
        let report = page();
        let own = report.clone().into_value();
        report.provenance(&Map::from([("page".to_string(), own.clone())]));
        let row = Map::from([("page".to_string(), own)]);
        let table = Table::from_rows(vec![row], &FromRowsOptions::default()).unwrap();
        report.table(&table, &CaptionOptions::default());
        let html = report.to_html();
        assert!(html.contains("<dt>page</dt><dd>report &quot;Cut &lt;off&gt;&quot;"), "{html}");
    }

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let report = page();
        report
            .figure(
                &Value::Str("<svg xmlns=\"http://www.w3.org/2000/svg\"/>".into()),
                &CaptionOptions::default(),
            )
            .unwrap();
        let html = report.to_html();
        assert!(html.contains("<title>Cut &lt;off&gt;</title>"), "{html}");
        assert!(html.contains("<em>came</em>") && html.contains("<b>Table 1.</b> By cutoff"), "{html}");
        for outside in ["src=\"http", "href=\"http", "url(", "@import", "<script", "{title}", "{body}"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn text_is_never_a_template() {
        let report =
            Report::new("Use of {style} and {body}", &StartOptions { summary: "{title} {style}".into() });
        report.section("{body}");
        report.text("{title}, {style} and {body}");
        let html = report.to_html();
        assert!(html.contains("<title>Use of {style} and {body}</title>"), "{html}");
        assert!(html.contains("{title}, {style} and {body}</p>") && html.contains(">{body}</h2>"), "{html}");
        assert_eq!(html.matches("<header>").count(), 1);
        assert_eq!(filled("a{x}{y}{z}", &[("x", "{y}"), ("y", "{x}")]), "a{y}{x}{z}");
    }

    #[test]
    fn settings_stand_on_the_page_exactly() {
        let report = page();
        let settings =
            Map::from([("lr".to_string(), Value::Float(3e-4)), ("cutoffs".to_string(), Value::List(vec![]))]);
        report.settings(&settings).unwrap();
        report.provenance(&Map::from([("device".to_string(), Value::Str("cpu".into()))]));
        let html = report.to_html();
        assert!(html.contains("&quot;lr&quot;: 0.0003"), "{html}");
        assert!(html.contains("<dt>device</dt><dd>cpu</dd>"), "{html}");
        report.settings(&Map::from([("steps".to_string(), Value::Int(7))])).unwrap();
        let html = report.to_html();
        assert!(html.contains("&quot;lr&quot;: 0.0003") && html.contains("&quot;steps&quot;: 7"), "{html}");
    }

    #[test]
    fn a_picture_file_must_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        files::write(&path, "no picture").unwrap();
        let name = Value::Str(path.to_string_lossy().into_owned());
        let error = page().figure(&name, &CaptionOptions::default()).unwrap_err();
        assert!(error.message().contains("expected a PNG or SVG"), "{error}");
        files::write(&path, b"\x89PNG\r\n\x1a\nrest").unwrap();
        page().figure(&name, &CaptionOptions::default()).unwrap();
    }
}
