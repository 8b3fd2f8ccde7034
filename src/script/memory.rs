//! The memory that the values of a script take, so that a loop without end is an error and does not end the process.
//!
//! Where memory ends, the system kills the process without a word. Functions that make long texts and arrays have limits
//! of their own, see `lengths`; `a = [a, a]` and a loop that pushes call none that could refuse.

use std::cell::Cell;
use std::fs;

use crate::error::Error;

/// Milliseconds between two looks at the memory.
const PAUSE: i64 = 20;

/// Bytes that a script's own values may always take.
const UNNOTICED: u64 = 1 << 30;

/// Bytes that must be left: a sixteenth of all, within these bounds.
const RESERVE: (u64, u64) = (256 << 20, 2 << 30);

/// A script whose values leave too little memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    /// Bytes that the script's own values have added.
    grown: u64,
    /// Bytes that are left.
    free: u64,
    /// Bytes of the machine or the container.
    total: u64,
}

impl UsedUp {
    /// Returns the error of a script that was stopped for this reason.
    pub fn error(self) -> Error {
        let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64);
        Error::argument(format!(
            "memory is nearly used up: the values of the script have grown by {}, and {} of {} are left",
            gib(self.grown),
            gib(self.free),
            gib(self.total)
        ))
        .hint("a loop without end may add to an array, a map or a text; many numbers take the least as a tensor")
    }
}

/// What was seen at the latest look.
#[derive(Clone, Copy)]
struct Look {
    /// Milliseconds of a coarse clock.
    time: i64,
    resident: u64,
    grown: u64,
}

thread_local! {
    static LOOK: Cell<Option<Look>> = const { Cell::new(None) };
    /// Whether a declared function has run since the latest look: tensors are no values of the script.
    static CALLED: Cell<bool> = const { Cell::new(false) };
}

/// Notes that a declared function ran, which may have made tensors.
pub fn called() {
    CALLED.set(true);
}

/// Returns whether the values of the script on this thread leave too little memory, looking from time to time.
pub fn used_up() -> Option<UsedUp> {
    let time = now()?;
    let last = LOOK.get();
    if last.is_some_and(|last| time - last.time < PAUSE) {
        return None;
    }
    let resident = resident()?;
    let called = CALLED.replace(false);
    let Some(last) = last.filter(|_| !called) else {
        LOOK.set(Some(Look { time, resident, grown: last.map_or(0, |last| last.grown) }));
        return None;
    };
    let grown = (last.grown + resident).saturating_sub(last.resident);
    LOOK.set(Some(Look { time, resident, grown }));
    let growth = resident.saturating_sub(last.resident);
    if grown < UNNOTICED || growth == 0 {
        return None;
    }
    let (total, free) = available();
    is_too_little(total, free, growth).then_some(UsedUp { grown, free, total })
}

/// Returns whether a script that took `growth` bytes since the latest look may take more than there are before the next
/// one: values that double make twice as much, and need the old ones meanwhile.
fn is_too_little(total: u64, free: u64, growth: u64) -> bool {
    let reserve = (total / 16).clamp(RESERVE.0, RESERVE.1);
    total > 0 && free < reserve.saturating_add(growth.saturating_mul(5) / 2)
}

/// Returns the memory of the machine or the limit of the container, and how much of it is free or can be freed, in bytes;
/// zeros if the system does not say.
pub fn available() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| number_after(&text, name).unwrap_or(0) << 10;
    let (total, free) = (kib("MemTotal:"), kib("MemAvailable:"));
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limited = |limit: &str, used: &str, statistics: &str, files: [&str; 2]| {
        let limit = number(limit).filter(|limit| *limit < total)?;
        let statistics = fs::read_to_string(statistics).unwrap_or_default();
        // The cache of files is given up before memory is refused.
        let cache: u64 = files.iter().filter_map(|name| number_after(&statistics, name)).sum();
        Some((limit, limit.saturating_sub(number(used)?.saturating_sub(cache)).min(free)))
    };
    limited(
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory.current",
        "/sys/fs/cgroup/memory.stat",
        ["active_file", "inactive_file"],
    )
    .or_else(|| {
        limited(
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
            "/sys/fs/cgroup/memory/memory.stat",
            ["total_active_file", "total_inactive_file"],
        )
    })
    .unwrap_or((total, free))
}

/// Returns the number behind a word that begins a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        if words.next() == Some(word) { words.next()?.parse().ok() } else { None }
    })
}

/// Returns the milliseconds of a clock that is cheap to read.
#[cfg(target_os = "linux")]
fn now() -> Option<i64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the struct.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    (answer == 0).then(|| time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}

/// As above; other systems are not looked at.
#[cfg(not(target_os = "linux"))]
fn now() -> Option<i64> {
    None
}

/// Returns the bytes of this process that are in memory.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = status.split_whitespace().nth(1)?.parse().ok()?;
    // SAFETY: the call reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn values_that_double_are_stopped_before_they_need_all_memory() {
        let (total, mut size, mut steps) = (64 * GIB, GIB / 64, 0);
        while !is_too_little(total, total - size, size / 2) {
            // The old values are there until the new ones are complete.
            assert!(size + 2 * size <= total, "{size}");
            (size, steps) = (2 * size, steps + 1);
        }
        assert!(steps > 8, "{steps}");
    }

    #[test]
    fn values_that_grow_slowly_are_stopped_when_little_is_left() {
        assert!(!is_too_little(64 * GIB, 3 * GIB, GIB / 100));
        assert!(is_too_little(64 * GIB, GIB, GIB / 100));
        assert!(!is_too_little(GIB, GIB / 2, GIB / 100));
        // The system says nothing.
        assert!(!is_too_little(0, 0, GIB));
    }

    #[test]
    fn the_system_says_how_much_there_is() {
        let (total, free) = available();
        assert!(free > 0 && free <= total, "{free} of {total}");
        assert!(resident().is_some_and(|bytes| bytes > 0 && bytes < total));
        assert_eq!(number_after("a 1\ninactive_file 7\nfile 9\n", "file"), Some(9));
    }

    #[test]
    fn the_error_says_how_much_is_left() {
        let error = UsedUp { grown: 20 * GIB, free: GIB, total: 32 * GIB }.error();
        assert!(error.message().ends_with("grown by 20.0 GiB, and 1.0 GiB of 32.0 GiB are left"));
    }
}
