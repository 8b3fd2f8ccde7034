//! Profile of a script: how often each native function was called, and for how long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Counts native calls while it runs; clones share it. When it is off, a call costs one atomic load.
#[derive(Debug, Clone, Default)]
pub struct Profile(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Zero while off, else the number of the measurement, so that calls begun in another measurement are not
    /// counted.
    running: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    started: u64,
    calls: HashMap<String, Call>,
    /// Calls in progress on each thread, outermost first.
    open: HashMap<ThreadId, Vec<Open>>,
}

#[derive(Debug)]
struct Open {
    path: String,
    /// Time spent in nested calls.
    inner: Duration,
}

/// Statistics of all calls of one function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Name of the function: `tensor.matmul`, `train::fit`.
    pub path: String,
    /// Number of calls that returned.
    pub calls: u64,
    /// Time from call to return; if calls of the same function are nested, only the outermost counts.
    pub total: Duration,
    /// As `total`, without the time of other native functions that it called back through script code.
    pub own: Duration,
}

/// A call in progress; dropping it ends it.
#[derive(Debug)]
pub struct Timer<'a> {
    profile: &'a Profile,
    measurement: u64,
    start: Instant,
}

impl Profile {
    /// Resets the counts and starts counting.
    pub fn start(&self) {
        let mut state = self.state();
        let started = state.started + 1;
        *state = State { started, ..State::default() };
        self.0.running.store(started, Ordering::Relaxed);
    }

    /// Stops counting and returns the calls since the start, by decreasing own time.
    pub fn stop(&self) -> Vec<Call> {
        self.0.running.store(0, Ordering::Relaxed);
        let mut calls: Vec<Call> = std::mem::take(&mut self.state().calls).into_values().collect();
        calls.sort_by(|a, b| b.own.cmp(&a.own).then_with(|| a.path.cmp(&b.path)));
        calls
    }

    /// Returns whether calls are being counted.
    pub fn is_running(&self) -> bool {
        self.0.running.load(Ordering::Relaxed) != 0
    }

    /// Begins a call; returns `None` while off.
    pub fn enter(&self, path: impl FnOnce() -> String) -> Option<Timer<'_>> {
        let measurement = self.0.running.load(Ordering::Relaxed);
        if measurement == 0 {
            return None;
        }
        let open = Open { path: path(), inner: Duration::ZERO };
        self.state().open.entry(thread::current().id()).or_default().push(open);
        Some(Timer { profile: self, measurement, start: Instant::now() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        let time = self.start.elapsed();
        let mut state = self.profile.state();
        if self.profile.0.running.load(Ordering::Relaxed) != self.measurement {
            return;
        }
        let State { calls, open, .. } = &mut *state;
        let Some(open) = open.get_mut(&thread::current().id()) else { return };
        let Some(Open { path, inner }) = open.pop() else { return };
        if let Some(outer) = open.last_mut() {
            outer.inner += time;
        }
        let outermost = open.iter().all(|o| o.path != path);
        let call = calls.entry(path).or_insert_with_key(|path| Call {
            path: path.clone(),
            calls: 0,
            total: Duration::ZERO,
            own: Duration::ZERO,
        });
        call.calls += 1;
        call.own += time.saturating_sub(inner);
        if outermost {
            call.total += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(profile: &Profile, path: &str, inside: impl FnOnce()) {
        let _timer = profile.enter(|| path.to_string());
        thread::sleep(Duration::from_millis(2));
        inside();
    }

    fn counts(calls: &[Call]) -> Vec<(&str, u64)> {
        calls.iter().map(|c| (c.path.as_str(), c.calls)).collect()
    }

    #[test]
    fn calls_within_calls_are_taken_off_and_a_function_within_itself_counts_once() {
        let profile = Profile::default();
        call(&profile, "before", || ());
        profile.start();
        call(&profile, "outer", || {
            call(&profile, "inner", || ());
            call(&profile, "outer", || call(&profile, "inner", || ()));
        });
        let mut calls = profile.stop();
        assert!(calls[0].own >= calls[1].own);
        calls.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(counts(&calls), [("inner", 2), ("outer", 2)]);
        // All time lies within the outermost call, and each part of it is the own time of one function.
        assert_eq!(calls[0].own + calls[1].own, calls[1].total);
        assert_eq!(calls[0].own, calls[0].total);
        call(&profile, "after", || ());
        assert!(profile.stop().is_empty());
    }

    #[test]
    fn a_call_begun_in_an_earlier_measurement_is_not_counted() {
        let profile = Profile::default();
        profile.start();
        let early = profile.enter(|| "early".to_string());
        profile.start();
        call(&profile, "late", || drop(early));
        assert_eq!(counts(&profile.stop()), [("late", 1)]);
    }
}
