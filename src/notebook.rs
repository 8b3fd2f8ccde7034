//! Display of values in Rust notebooks with evcxr.
//!
//! evcxr runs the cells of a notebook in a process and reads its standard output. It shows a value whose type has a
//! method `evcxr_display` by calling that method, which prints the forms of the value with `evcxr_runtime`. Only the
//! last form of each MIME type in a cell is kept. Printing is the protocol, so this file prints although it is not a
//! front end.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a Rust notebook displays what a value prints, and notes must reach the user of a Rust program"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use crate::context::{Bar, Context, Display, Progress, Warn};

/// Environment variable that evcxr sets for the process that runs the cells.
const INSIDE: &str = "EVCXR_IS_RUNTIME";

/// Interval between the progress lines of a long call.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Passes the forms of a value to evcxr: always text, and SVG and PNG for pictures, else HTML.
///
/// Some notebook viewers drop HTML that contains pictures, so a value with a picture is passed without HTML.
pub fn show(display: &Display) {
    for (mime, data) in forms(display) {
        // The data must not add an empty line before the end marker.
        evcxr_runtime::mime_type(mime).text(data.trim_end_matches('\n'));
    }
}

/// Returns the MIME types and contents of the forms to pass.
fn forms(display: &Display) -> Vec<(&'static str, String)> {
    let mut forms = vec![("text/plain", display.text.clone())];
    let picture = display.png.is_some() || display.svg.is_some();
    if let Some(html) = display.html.as_ref().filter(|_| !picture) {
        forms.push(("text/html", html.clone()));
    }
    if let Some(svg) = &display.svg {
        forms.push(("image/svg+xml", svg.clone()));
    }
    if let Some(png) = &display.png {
        forms.push(("image/png", BASE64_STANDARD.encode(png)));
    }
    forms
}

/// Returns the context of a call from Rust code. Notes and warnings go to standard error; in a notebook it also prints,
/// shows values and reports progress.
///
/// A program that wants notes elsewhere passes a [`Context`] of its own to the functions that take one.
pub fn context() -> Context {
    let context = Context {
        note: Arc::new(|text| eprintln!("note: {text}")),
        warn: Warn::new(Arc::new(|text| eprintln!("warning: {text}"))),
        ..Context::default()
    };
    if std::env::var_os(INSIDE).is_none() {
        return context;
    }
    Context {
        print: Arc::new(|text| println!("{text}")),
        show: Arc::new(|display| {
            show(display);
            true
        }),
        progress: Arc::new(Lines),
        ..context
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
            println!("{} {done}/{}{note}  {seconds} s", self.label, self.total);
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
        let expected = [
            ("text/plain", "a figure".to_string()),
            ("image/svg+xml", "<svg>\n</svg>\n".to_string()),
            ("image/png", "AQID".to_string()),
        ];
        assert_eq!(forms(&figure), expected);
        let table = Display { html: Some("<table></table>".to_string()), ..Display::text("a table") };
        let expected = [("text/plain", "a table".to_string()), ("text/html", "<table></table>".to_string())];
        assert_eq!(forms(&table), expected);
    }
}
