//! Early end of the program: by a signal, or because output cannot be written.
//!
//! SIGTERM, SIGHUP and SIGUSR1, which schedulers send before they stop a machine, stop a script like Ctrl-C, so
//! that a run finishes its step and writes a checkpoint. The exit code is 128 plus the number of the signal.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use super::terminal;
use crate::context::Interrupt;
use crate::script::report::{End, Report};

/// Write end of the pipe that passes signals to a thread; static, since a signal handler can reach nothing else.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals that end a script, and their names.
const SIGNALS: [(i32, &str); 3] =
    [(libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP"), (libc::SIGUSR1, "SIGUSR1")];

/// No reason yet; positive numbers are signals.
const NONE: i32 = 0;
const OUTPUT: i32 = -1;

/// Reason for an early end of the program; clones share it.
#[derive(Clone)]
pub struct Ending {
    reason: Arc<AtomicI32>,
    interrupt: Interrupt,
}

impl Ending {
    /// Creates an ending without a reason. A later reason raises the interrupt permanently.
    pub fn new(interrupt: Interrupt) -> Self {
        Self { reason: Arc::new(AtomicI32::new(NONE)), interrupt }
    }

    /// Stores the reason if it is the first one, which counts, and returns whether it is.
    fn first(&self, reason: i32) -> bool {
        let first = self.reason.compare_exchange(NONE, reason, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        self.interrupt.end();
        first
    }

    /// Returns the exit code for the reason, reported or not; `None` without a reason.
    pub fn code(&self) -> Option<u8> {
        match self.reason.load(Ordering::SeqCst) {
            NONE => None,
            OUTPUT => Some(1),
            signal => Some(u8::try_from(128 + signal).unwrap_or(1)),
        }
    }

    /// Writes a line to standard output. If the reader is gone (`| head`), the program ends quietly; other failures
    /// are reported once and end the script.
    pub fn print(&self, text: &str) {
        let Err(error) = terminal::write_out(text) else { return };
        if error.kind() == ErrorKind::BrokenPipe {
            super::end(0);
        }
        if self.first(OUTPUT) {
            terminal::fail(terminal::unwritable(&error));
        }
    }

    /// Returns the exit code for a result; shows the report unless its reason was reported already.
    pub fn conclude(&self, result: Result<(), Report>) -> u8 {
        let reason = self.reason.load(Ordering::SeqCst);
        match result {
            Ok(()) if reason == OUTPUT => 1,
            Ok(()) => 0,
            Err(report) if report.end != End::Interrupted || reason == NONE => {
                terminal::report(&report);
                report.exit_code()
            }
            Err(_) if reason == OUTPUT => 1,
            Err(report) => {
                let name = SIGNALS.iter().find(|(n, _)| *n == reason).map_or("a signal", |(_, name)| name);
                terminal::report(&Report { message: format!("{} by {name}", report.message), ..report });
                self.code().unwrap_or(1)
            }
        }
    }

    /// Waits for the signals on a separate thread. If `idle` returns `true`, nothing runs that could stop by
    /// itself, and the program ends at once.
    pub fn on_signals(&self, idle: impl Fn() -> bool + Send + 'static) {
        let mut ends = [0; 2];
        // SAFETY: the call fills two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return;
        }
        PIPE.store(ends[1], Ordering::SeqCst);
        for (signal, _) in SIGNALS {
            // SAFETY: the handler only calls `write`, which is async-signal-safe.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                // Signals that were ignored from outside stay ignored, as `nohup` wants for SIGHUP.
                let known = libc::sigaction(signal, std::ptr::null(), &mut old) == 0;
                if known && old.sa_sigaction == libc::SIG_IGN {
                    continue;
                }
                let mut new: libc::sigaction = std::mem::zeroed();
                new.sa_sigaction = note as *const () as usize;
                new.sa_flags = libc::SA_RESTART;
                libc::sigaction(signal, &new, std::ptr::null_mut());
            }
        }
        let (ending, read) = (self.clone(), ends[0]);
        let wait = move || {
            let mut signal = 0u8;
            loop {
                // SAFETY: reads one byte into a value that lives during the call.
                match unsafe { libc::read(read, (&raw mut signal).cast(), 1) } {
                    1 => {
                        let number = i32::from(signal);
                        ending.first(number);
                        if idle() {
                            super::end(u8::try_from(128 + number).unwrap_or(1));
                        }
                    }
                    _ if std::io::Error::last_os_error().kind() == ErrorKind::Interrupted => {}
                    _ => return,
                }
            }
        };
        // Without this thread signals are lost, but the script can still run.
        let _ = std::thread::Builder::new().name("signals".to_string()).spawn(wait);
    }
}

extern "C" fn note(signal: libc::c_int) {
    let byte = signal as u8;
    // SAFETY: `write` is async-signal-safe; the byte lives during the call. `errno` belongs to the interrupted
    // code, so it is restored.
    unsafe {
        let kept = *libc::__errno_location();
        libc::write(PIPE.load(Ordering::SeqCst), (&raw const byte).cast(), 1);
        *libc::__errno_location() = kept;
    }
}

/// Flushes standard output; returns another exit code if that fails and nothing else did.
pub fn flushed(code: u8) -> u8 {
    match std::io::stdout().flush() {
        Err(error) if error.kind() != ErrorKind::BrokenPipe && code == 0 => {
            terminal::fail(terminal::unwritable(&error))
        }
        _ => code,
    }
}
