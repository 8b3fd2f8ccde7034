//! Early end of the program: by a signal, because output cannot be written, or because another rank ended the run.
//!
//! SIGTERM, SIGHUP and SIGUSR1, which schedulers send before they stop a machine, stop a script like Ctrl-C, so
//! that a run finishes its step and writes a checkpoint. The exit code is 128 plus the number of the signal.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::terminal;
use crate::context::Interrupt;
use crate::error::Error;
use crate::ranks::{Notice, Ranks};
use crate::script::failure::{Diagnosis, End};

/// Write end of the pipe that passes signals to a thread; static, since a signal handler can reach nothing else.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Signals that end a script, and their names.
const SIGNALS: [(i32, &str); 3] =
    [(libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP"), (libc::SIGUSR1, "SIGUSR1")];

/// No reason yet; positive numbers are signals.
const NONE: i32 = 0;
const OUTPUT: i32 = -1;
const RANK: i32 = -2;

/// Time in which the script must stop after another rank ended the run; then the program ends regardless.
const GRACE: Duration = Duration::from_secs(6);

/// Time that rank 0 gives the others to end after an interrupt.
const FAREWELL: Duration = Duration::from_secs(5);

/// Reason for an early end of the program; clones share it.
#[derive(Clone)]
pub struct Ending {
    reason: Arc<AtomicI32>,
    interrupt: Interrupt,
    /// Connected ranks, if the program is one of several.
    ranks: Arc<OnceLock<Ranks>>,
    /// Exit code and message of a run that another rank ended.
    ordered: Arc<OnceLock<(u8, Option<String>)>>,
}

impl Ending {
    /// Creates an ending without a reason. A later reason raises the interrupt permanently.
    pub fn new(interrupt: Interrupt) -> Self {
        Self {
            reason: Arc::new(AtomicI32::new(NONE)),
            interrupt,
            ranks: Arc::default(),
            ordered: Arc::default(),
        }
    }

    /// Makes signals and the result of the script known to these ranks.
    pub fn join(&self, ranks: &Ranks) {
        let _ = self.ranks.set(ranks.clone());
    }

    /// Returns the ranks that make the run.
    pub fn ranks(&self) -> Ranks {
        self.ranks.get().cloned().unwrap_or_default()
    }

    /// Does what another rank demands.
    pub fn obey(&self, notice: Notice) {
        match notice {
            Notice::Signal(libc::SIGINT) => self.interrupt.raise(),
            Notice::Signal(signal) => drop(self.first(signal)),
            Notice::End(code, message) => {
                let _ = self.ordered.set((code, message));
                self.reason.store(RANK, Ordering::SeqCst);
                self.interrupt.end();
                let ending = self.clone();
                let _ = std::thread::Builder::new().spawn(move || {
                    std::thread::sleep(GRACE);
                    super::end(ending.end_as_ordered());
                });
            }
        }
    }

    /// Shows why another rank ended the run, if this rank is to, and returns the exit code.
    fn end_as_ordered(&self) -> u8 {
        let Some((code, message)) = self.ordered.get() else { return 1 };
        if let Some(message) = message {
            terminal::err(&format!("error: {message}"));
        }
        *code
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
            RANK => Some(self.ordered.get().map_or(1, |(code, _)| *code)),
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

    /// Returns the exit code for a result; shows the diagnosis unless its reason was reported already. Of several ranks
    /// one shows it, and rank 0 waits for the others.
    pub fn conclude(&self, result: Result<(), Diagnosis>) -> u8 {
        let Some(ranks) = self.ranks.get() else { return self.conclude_alone(result) };
        let is_ordered = || self.reason.load(Ordering::SeqCst) == RANK;
        let interrupted = matches!(&result, Err(diagnosis) if diagnosis.end == End::Interrupted);
        if is_ordered() && result.is_err() {
            return self.end_as_ordered();
        }
        match &result {
            Err(diagnosis) if !interrupted && !matches!(diagnosis.end, End::Exit(_)) => {
                let code = diagnosis.exit_code();
                if ranks.fail(code, &diagnosis.message) {
                    if !ranks.is_first() {
                        terminal::err(&format!("{}:", ranks.name(ranks.rank())));
                    }
                    terminal::report(diagnosis);
                }
                code
            }
            Err(diagnosis) if matches!(diagnosis.end, End::Exit(1..)) => {
                ranks.fail(diagnosis.exit_code(), &diagnosis.message);
                diagnosis.exit_code()
            }
            Err(_) => {
                ranks.leave(FAREWELL);
                // Rank 0 says it for all.
                if ranks.is_first() { self.conclude_alone(result) } else { self.code().unwrap_or(130) }
            }
            Ok(()) => {
                ranks.leave(Duration::MAX);
                if is_ordered() { self.end_as_ordered() } else { self.conclude_alone(result) }
            }
        }
    }

    /// Returns the exit code of a program that could not be connected with the other ranks, and shows why unless
    /// another rank does.
    pub fn conclude_early(&self, error: Error) -> u8 {
        match self.reason.load(Ordering::SeqCst) {
            RANK => self.end_as_ordered(),
            _ => terminal::fail(error),
        }
    }

    fn conclude_alone(&self, result: Result<(), Diagnosis>) -> u8 {
        let reason = self.reason.load(Ordering::SeqCst);
        match result {
            Ok(()) if reason == OUTPUT => 1,
            Ok(()) => 0,
            Err(diagnosis) if diagnosis.end != End::Interrupted || reason == NONE => {
                terminal::report(&diagnosis);
                diagnosis.exit_code()
            }
            Err(_) if reason == OUTPUT => 1,
            Err(diagnosis) => {
                let name = SIGNALS.iter().find(|(n, _)| *n == reason).map_or("a signal", |(_, name)| name);
                terminal::report(&Diagnosis {
                    message: format!("{} by {name}", diagnosis.message),
                    ..diagnosis
                });
                self.code().unwrap_or(1)
            }
        }
    }

    /// Waits for the signals on a separate thread. If `idle` returns `true`, nothing runs that could stop by
    /// itself, and the program ends at once.
    pub fn on_signals(&self, idle: impl Fn() -> bool + Send + 'static) {
        let ending = self.clone();
        on_signals(move |signal| {
            ending.first(signal);
            if let Some(ranks) = ending.ranks.get() {
                ranks.signal(signal);
            }
            if idle() {
                super::end(u8::try_from(128 + signal).unwrap_or(1));
            }
        });
    }
}

/// Calls `act` on a separate thread with each signal that ends a script.
pub fn on_signals(act: impl Fn(i32) + Send + 'static) {
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
    let read = ends[0];
    let wait = move || {
        let mut signal = 0u8;
        loop {
            // SAFETY: reads one byte into a value that lives during the call.
            match unsafe { libc::read(read, (&raw mut signal).cast(), 1) } {
                1 => act(i32::from(signal)),
                _ if std::io::Error::last_os_error().kind() == ErrorKind::Interrupted => {}
                _ => return,
            }
        }
    };
    // Without this thread signals are lost, but the script can still run.
    let _ = std::thread::Builder::new().name("signals".to_string()).spawn(wait);
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
