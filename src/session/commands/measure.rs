//! `:time`, `:bench` and `:profile`: measure cells.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::script::failure::Diagnosis;
use crate::session::{Outcome, Session};
use crate::text;

/// Duration of `:bench`, and its minimum and maximum number of runs.
const BENCH: (Duration, usize, usize) = (Duration::from_secs(2), 5, 10_000);

/// Runs a cell and returns how long it took.
pub fn time(session: &mut Session, cell: &str, name: &str) -> Result<(Outcome, String), Diagnosis> {
    let start = Instant::now();
    let outcome = session.run_cell(cell, name)?;
    Ok((outcome, format!("took {}", seconds(start.elapsed().as_secs_f64()))))
}

/// Runs a cell repeatedly, and returns its last result and a description of the times.
pub fn bench(session: &mut Session, cell: &str, name: &str) -> Result<(Outcome, String), Diagnosis> {
    // Compiled once, so that only runs are measured. The first run warms up caches and libtorch's kernels.
    let compiled = session.compile(cell, name, 1)?;
    let mut outcome = session.run_compiled(&compiled)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    let (limit, least, most) = BENCH;
    while times.len() < least || (start.elapsed() < limit && times.len() < most) {
        let run = Instant::now();
        let next = session.run_compiled(&compiled)?;
        times.push(run.elapsed().as_secs_f64());
        outcome = next;
    }
    Ok((outcome, statistics(&mut times)))
}

/// Runs a cell and lists its native calls, by decreasing time.
pub fn profile(session: &mut Session, cell: &str, name: &str) -> Result<(Outcome, String), Diagnosis> {
    let profile = session.context().profile.clone();
    profile.start();
    let start = Instant::now();
    let result = session.run_cell(cell, name);
    let whole = start.elapsed().as_secs_f64();
    let calls = profile.stop();
    let outcome = result?;
    let native: f64 = calls.iter().map(|c| c.own.as_secs_f64()).sum();
    let mut out = String::new();
    let _ = writeln!(out, "{:>7}  {:>9}  {:>9}  {:>8}  call", "share", "own", "with inner", "calls");
    let mut line = |own: f64, total: String, count: String, path: &str| {
        let share = format!("{:.1} %", 100.0 * own / whole.max(1e-9));
        let _ = writeln!(out, "{share:>7}  {:>9}  {total:>10}  {count:>8}  {path}", seconds(own));
    };
    for call in calls.iter().take(20) {
        line(call.own.as_secs_f64(), seconds(call.total.as_secs_f64()), call.calls.to_string(), &call.path);
    }
    if calls.len() > 20 {
        let rest: f64 = calls[20..].iter().map(|c| c.own.as_secs_f64()).sum();
        line(rest, String::new(), String::new(), &format!("{} others", calls.len() - 20));
    }
    line((whole - native).max(0.0), String::new(), String::new(), "script code");
    let _ = write!(out, "{:>7}  {:>9}  in all", "", seconds(whole));
    Ok((outcome, out))
}

/// Formats median, mean with deviation, and range.
fn statistics(times: &mut [f64]) -> String {
    times.sort_by(f64::total_cmp);
    let n = times.len();
    let at = |share: f64| times[((n - 1) as f64 * share).round() as usize];
    let median = if n.is_multiple_of(2) { (times[n / 2 - 1] + times[n / 2]) / 2.0 } else { times[n / 2] };
    let mean = times.iter().sum::<f64>() / n as f64;
    let squares = times.iter().map(|t| (t - mean).powi(2)).sum::<f64>();
    let deviation = (squares / (n.max(2) - 1) as f64).sqrt();
    let mut out = String::new();
    let _ = writeln!(out, "median {}  mean {} +- {}", seconds(median), seconds(mean), seconds(deviation));
    let _ = write!(
        out,
        "range {} to {}, 90 % below {}, {n} runs",
        seconds(at(0.0)),
        seconds(at(1.0)),
        seconds(at(0.9))
    );
    out
}

/// Formats a time with a suitable unit.
pub fn seconds(t: f64) -> String {
    match t {
        t if t < 1e-3 => format!("{} us", text::significant(t * 1e6, 3)),
        t if t < 1.0 => format!("{} ms", text::significant(t * 1e3, 3)),
        t => format!("{} s", text::significant(t, 4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statistics_are_those_computed_by_hand() {
        let text = statistics(&mut [0.003, 0.001, 0.002, 0.006]);
        // Mean 3 ms; squares 0, 4, 1, 9: 14 / 3 = 4.667, root 2.16.
        assert!(text.starts_with("median 2.5 ms  mean 3 ms +- 2.16 ms"), "{text}");
        assert!(text.ends_with("range 1 ms to 6 ms, 90 % below 6 ms, 4 runs"), "{text}");
    }
}
