//! Progress bars that update in place below their cell.

use std::time::{Duration, Instant};

use jupyter_protocol::MediaType;

use super::media::Bundle;
use super::publish::Publisher;
use crate::context::{Bar, Progress};
use crate::front::progress::line;
use crate::text::escape_html;

/// Minimum interval between updates of a bar; each is a message, and notebooks redraw it.
const EVERY: Duration = Duration::from_millis(150);

/// Length of the plain-text bar in characters.
const LENGTH: u64 = 24;

/// Progress bars as outputs of the running cell.
pub struct Bars(pub Publisher);

impl Progress for Bars {
    fn start(&self, label: &str, total: u64) -> Box<dyn Bar> {
        self.start_late(label, total, Instant::now())
    }

    fn start_late(&self, label: &str, total: u64, began: Instant) -> Box<dyn Bar> {
        let bar = Moving {
            publisher: self.0.clone(),
            id: uuid::Uuid::new_v4().to_string(),
            label: label.to_string(),
            total,
            before: 0,
            done: 0,
            note: String::new(),
            started: began,
            shown: Instant::now(),
            pending: false,
        };
        self.0.display(bar.bundle(), Some(&bar.id));
        Box::new(bar)
    }
}

struct Moving {
    publisher: Publisher,
    id: String,
    label: String,
    total: u64,
    before: u64,
    done: u64,
    note: String,
    started: Instant,
    shown: Instant,
    /// Whether there are updates that are not shown yet.
    pending: bool,
}

impl Moving {
    fn bundle(&self) -> Bundle {
        let text = line(&self.label, self.before..self.done, self.total, self.started.elapsed(), &self.note);
        let (done, total) = (self.done.min(self.total), self.total.max(1));
        let filled = (done * LENGTH / total) as usize;
        let plain = format!("{}{} {text}", "█".repeat(filled), "░".repeat(LENGTH as usize - filled));
        let mut bundle = Bundle::text(plain);
        bundle.data.content.push(MediaType::Html(format!(
            "<div style=\"display: flex; align-items: center; gap: 0.8em\"><progress value=\"{done}\" \
             max=\"{total}\" style=\"width: 14em\"></progress><code>{}</code></div>",
            escape_html(&text)
        )));
        bundle
    }

    fn show(&mut self) {
        self.publisher.update(self.bundle(), &self.id);
        (self.shown, self.pending) = (Instant::now(), false);
    }
}

impl Bar for Moving {
    fn update(&mut self, done: u64, note: &str) {
        self.done = done;
        self.note = note.to_string();
        self.pending = true;
        if self.shown.elapsed() >= EVERY {
            self.show();
        }
    }

    fn resume(&mut self, done: u64) {
        (self.before, self.done, self.pending) = (done, done, true);
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if self.pending {
            self.show();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::publish::publisher;
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        let (publisher, _published) = publisher(crate::context::Interrupt::default());
        let bars = Bars(publisher);
        let mut bar = Moving {
            publisher: bars.0.clone(),
            id: String::new(),
            label: "a <b>".to_string(),
            total: 48,
            before: 0,
            done: 12,
            note: String::new(),
            started: Instant::now(),
            shown: Instant::now(),
            pending: false,
        };
        let forms = bar.bundle().data.content;
        let [MediaType::Plain(text), MediaType::Html(html)] = &forms[..] else { panic!("{forms:?}") };
        assert!(text.starts_with(&format!("{}{} a <b> 12/48", "█".repeat(6), "░".repeat(18))), "{text}");
        assert!(html.contains("value=\"12\" max=\"48\"") && html.contains("a &lt;b&gt; 12/48"), "{html}");
        bar.update(100, "more than there is");
        assert!(bar.pending);
        let forms = bar.bundle().data.content;
        assert!(matches!(&forms[0], MediaType::Plain(text) if text.starts_with(&"█".repeat(24))));
    }
}
