//! Values in Rust notebooks: what the evcxr kernel shows of them.
//!
//! evcxr runs a notebook's cells in a process whose standard output it reads. A value whose type has a method
//! `evcxr_display` is shown by calling it: the method prints each form between two marks. Only the last form of each
//! MIME type in a cell is kept. Printing is the protocol, so this file prints, although no front end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::context::{Bar, Context, Display, Progress};

/// What evcxr sets for the process that runs the cells.
const INSIDE: &str = "EVCXR_IS_RUNTIME";

/// How often a long call says how far it is.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Hands the forms of a value to evcxr: text always, and pictures as SVG and PNG, or else HTML.
///
/// Notebooks are shown by programs that leave out HTML with pictures in it, so a picture goes without it.
pub fn show(display: &Display) {
    print(&blocks(display));
}

fn blocks(display: &Display) -> String {
    let mut out = String::new();
    let mut block = |mime: &str, data: &str| {
        // A line that ends the block must not come from the data.
        let data = data.trim_end_matches('\n');
        let _ = writeln!(out, "EVCXR_BEGIN_CONTENT {mime}\n{data}\nEVCXR_END_CONTENT");
    };
    block("text/plain", &display.text);
    let picture = display.png.is_some() || display.svg.is_some();
    if let Some(html) = display.html.as_ref().filter(|_| !picture) {
        block("text/html", html);
    }
    if let Some(svg) = &display.svg {
        block("image/svg+xml", svg);
    }
    if let Some(png) = &display.png {
        block("image/png", &BASE64_STANDARD.encode(png));
    }
    out
}

fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told when evcxr has gone.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The context of a call that Rust code makes: in a notebook it prints, shows, and says how far it is; elsewhere it
/// is silent.
pub fn context() -> Context {
    if std::env::var_os(INSIDE).is_none() {
        return Context::default();
    }
    Context {
        print: Arc::new(|text| print(&format!("{text}\n"))),
        show: Arc::new(|display| {
            show(display);
            true
        }),
        progress: Arc::new(Lines),
        ..Context::default()
    }
}

/// Progress as a line now and then: evcxr shows lines at once, and can take none back.
struct Lines;

impl Progress for Lines {
    fn start(&self, label: &str, total: u64) -> Box<dyn Bar> {
        let now = Instant::now();
        Box::new(Running { label: label.to_string(), total, started: now, said: now })
    }
}

struct Running {
    label: String,
    total: u64,
    started: Instant,
    said: Instant,
}

impl Bar for Running {
    fn update(&mut self, done: u64, note: &str) {
        let last = done >= self.total && self.started.elapsed() >= LINES_EVERY;
        if last || self.said.elapsed() >= LINES_EVERY {
            self.said = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            let note = if note.is_empty() { String::new() } else { format!("  {note}") };
            print(&format!("{} {done}/{}{note}  {seconds} s\n", self.label, self.total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_goes_as_svg_and_png_and_a_table_as_html() {
        let figure = Display {
            html: Some("<figure></figure>".to_string()),
            png: Some(vec![1, 2, 3]),
            svg: Some("<svg>\n</svg>\n".to_string()),
            ..Display::text("a figure")
        };
        assert_eq!(
            blocks(&figure),
            "EVCXR_BEGIN_CONTENT text/plain\na figure\nEVCXR_END_CONTENT\n\
             EVCXR_BEGIN_CONTENT image/svg+xml\n<svg>\n</svg>\nEVCXR_END_CONTENT\n\
             EVCXR_BEGIN_CONTENT image/png\nAQID\nEVCXR_END_CONTENT\n"
        );
        let table = Display { html: Some("<table></table>".to_string()), ..Display::text("a table") };
        assert_eq!(
            blocks(&table),
            "EVCXR_BEGIN_CONTENT text/plain\na table\nEVCXR_END_CONTENT\n\
             EVCXR_BEGIN_CONTENT text/html\n<table></table>\nEVCXR_END_CONTENT\n"
        );
    }
}
