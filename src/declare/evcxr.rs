//! Display of values in Rust notebooks with evcxr.
//!
//! evcxr runs the cells of a notebook in a process and reads its standard output. It shows a value whose type has a
//! method `evcxr_display` by calling that method, which prints each form between two marker lines. Only the last
//! form of each MIME type in a cell is kept. Printing is the protocol, so this file prints although it is not a
//! front end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::context::{Bar, Context, Display, Progress};

/// Environment variable that evcxr sets for the process that runs the cells.
const INSIDE: &str = "EVCXR_IS_RUNTIME";

/// Interval between the progress lines of a long call.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Passes the forms of a value to evcxr: always text, and SVG and PNG for pictures, else HTML.
///
/// Some notebook viewers drop HTML that contains pictures, so a value with a picture is passed without HTML.
pub fn show(display: &Display) {
    print(&blocks(display));
}

fn blocks(display: &Display) -> String {
    let mut out = String::new();
    let mut block = |mime: &str, data: &str| {
        // The data must not add an empty line before the end marker.
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

#[expect(clippy::disallowed_methods, reason = "a Rust notebook displays what a value prints")]
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    // Errors are ignored: once evcxr is gone, there is nobody to report them to.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Returns the context of a call from Rust code: in a notebook it prints, shows values and reports progress;
/// elsewhere it is silent.
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

/// Progress as an occasional line, since evcxr shows lines at once and cannot replace them.
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
