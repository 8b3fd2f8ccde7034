//! Progress of long calls: bars on a terminal, occasional lines of text elsewhere.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::ending::Ending;
use super::terminal;
use crate::context::{Bar, Print, Progress};
use crate::document::{Line, Role};

/// Interval between lines of text.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Returns progress on standard error, as bars or lines.
pub fn for_stderr() -> Arc<Shown> {
    // A dumb terminal can neither move the cursor back nor clear a line.
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let bars = (std::io::stderr().is_terminal() && !dumb)
        .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
    Arc::new(Shown { bars })
}

/// Target of progress; printed text does not disturb the bars.
pub struct Shown {
    bars: Option<MultiProgress>,
}

impl Shown {
    /// Prints a line without disturbing the bars.
    pub fn print(&self, text: &str, ending: &Ending) {
        match &self.bars {
            Some(bars) => bars.suspend(|| ending.print(text)),
            None => ending.print(text),
        }
    }
}

/// Returns a function that writes remarks to standard error after a label, "note" or "warning", without disturbing
/// the bars.
pub fn remarks(shown: &Arc<Shown>, label: &'static str) -> Print {
    let shown = Arc::clone(shown);
    Arc::new(move |text: &str| {
        let line = Line::of(Role::Warning, label).with(Role::Plain, format!(": {text}"));
        let line = line.shown(terminal::color(&std::io::stderr()));
        match &shown.bars {
            Some(bars) => bars.suspend(|| terminal::err(&line)),
            None => terminal::err(&line),
        }
    })
}

impl Progress for Shown {
    fn start(&self, label: &str, total: u64) -> Box<dyn Bar> {
        self.start_late(label, total, Instant::now())
    }

    fn start_late(&self, label: &str, total: u64, began: Instant) -> Box<dyn Bar> {
        match &self.bars {
            Some(bars) => {
                let before = Arc::new(AtomicU64::new(0));
                let bar = bars.add(bar(label, total, &before).with_elapsed(began.elapsed()));
                bar.tick();
                Box::new(Drawn { bar, before })
            }
            None => Box::new(Lines::new(label, total, began)),
        }
    }
}

/// Makes a bar; what was done `before` it started does not count in its rate.
fn bar(label: &str, total: u64, before: &Arc<AtomicU64>) -> ProgressBar {
    let before = Arc::clone(before);
    let rate = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let own = state.pos().saturating_sub(before.load(Ordering::Relaxed));
        let per_second = match state.is_finished() {
            true => own as f64 / state.elapsed().as_secs_f64().max(1e-9),
            false => state.per_sec(),
        };
        let _ = out.write_str(&rate(per_second));
    };
    let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let text = match state.pos() {
            _ if state.is_finished() => format!("in {}", duration(state.elapsed())),
            0 => String::new(),
            _ => format!("{} left", duration(state.eta())),
        };
        let _ = out.write_str(&text);
    };
    let template = "{prefix} {bar:24.cyan} {pos}/{len}  {rate}  {msg}  {left}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let style = style.with_key("rate", rate).with_key("left", left).progress_chars("=> ");
    ProgressBar::new(total).with_style(style).with_prefix(label.to_string())
}

struct Drawn {
    bar: ProgressBar,
    before: Arc<AtomicU64>,
}

impl Bar for Drawn {
    fn update(&mut self, done: u64, note: &str) {
        self.bar.set_position(done);
        self.bar.set_message(note.to_string());
    }

    fn resume(&mut self, done: u64) {
        self.before.store(done, Ordering::Relaxed);
        self.bar.set_position(done);
        self.bar.reset_eta();
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        // The last state stays readable above whatever comes next.
        self.bar.abandon();
    }
}

struct Lines {
    label: String,
    total: u64,
    before: u64,
    done: u64,
    note: String,
    started: Instant,
    shown: Instant,
    shown_done: Option<u64>,
}

impl Lines {
    fn new(label: &str, total: u64, started: Instant) -> Self {
        Self {
            label: label.to_string(),
            total,
            before: 0,
            done: 0,
            note: String::new(),
            started,
            shown: started,
            shown_done: None,
        }
    }

    fn show(&mut self) {
        let done = self.before..self.done;
        terminal::err(&line(&self.label, done, self.total, self.started.elapsed(), &self.note));
        (self.shown, self.shown_done) = (Instant::now(), Some(self.done));
    }
}

impl Bar for Lines {
    fn update(&mut self, done: u64, note: &str) {
        self.done = done;
        self.note = note.to_string();
        if self.shown.elapsed() >= LINES_EVERY {
            self.show();
        }
    }

    fn resume(&mut self, done: u64) {
        (self.before, self.done, self.shown_done) = (done, done, Some(done));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.shown_done != Some(self.done) && self.done > 0 {
            self.show();
        }
    }
}

/// Formats a progress line, such as `train 120/400  3.1/s  loss 0.52  1m30s left`. `units` are those done in the time
/// `elapsed`; the ones before it were done earlier.
pub fn line(label: &str, units: Range<u64>, total: u64, elapsed: Duration, note: &str) -> String {
    let done = units.end;
    let mut out = format!("{label} {done}/{total}");
    let per_second = done.saturating_sub(units.start) as f64 / elapsed.as_secs_f64().max(1e-9);
    let _ = write!(out, "  {}", rate(per_second));
    if !note.is_empty() {
        let _ = write!(out, "  {note}");
    }
    if done >= total {
        let _ = write!(out, "  in {}", duration(elapsed));
    } else if done > units.start {
        let left = Duration::from_secs_f64((total - done) as f64 / per_second);
        let _ = write!(out, "  {} left", duration(left));
    }
    out
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 100.0 => format!("{r:.0}/s"),
        r if r >= 1.0 => format!("{r:.1}/s"),
        r if r > 0.0 => format!("{:.1}s each", 1.0 / r),
        _ => "-/s".to_string(),
    }
}

fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) if time.as_secs_f64() < 10.0 => format!("{:.1}s", time.as_secs_f64()),
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_line_says_what_is_left() {
        let text = line("train", 0..100, 400, Duration::from_secs(30), "loss 0.52");
        assert_eq!(text, "train 100/400  3.3/s  loss 0.52  1m30s left");
        let text = line("train", 0..400, 400, Duration::from_secs(120), "");
        assert_eq!(text, "train 400/400  3.3/s  in 2m00s");
    }

    #[test]
    fn what_was_done_before_a_run_was_resumed_counts_in_no_rate() {
        let text = line("train", 1500..1510, 1700, Duration::from_secs(5), "");
        assert_eq!(text, "train 1510/1700  2.0/s  1m35s left");
        assert_eq!(line("train", 1500..1500, 1700, Duration::from_secs(5), ""), "train 1500/1700  -/s");
        let mut lines = Lines::new("train", 1700, Instant::now());
        lines.resume(1500);
        lines.update(1501, "");
        assert_eq!((lines.before, lines.done), (1500, 1501));
    }

    #[test]
    fn slow_work_shows_seconds_per_unit() {
        assert_eq!(rate(0.1), "10.0s each");
        assert_eq!(duration(Duration::from_secs(3661)), "1h01m");
    }
}
