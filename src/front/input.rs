//! Lines of standard input, for cells and for what cells ask.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::Interrupt;
use crate::error::{Error, Result};

/// Standard input, line by line; clones share what was looked at ahead.
#[derive(Clone, Default)]
pub struct Input(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Lines that were looked at and given back.
    ahead: VecDeque<String>,
    /// How many lines were taken.
    taken: usize,
}

impl Input {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next line without its end; nothing when the input has ended. An interrupt ends the waiting.
    pub fn next(&self, interrupt: &Interrupt) -> Result<Option<String>> {
        let state = &mut *self.state();
        if let Some(line) = state.ahead.pop_front() {
            state.taken += 1;
            return Ok(Some(line));
        }
        wait(interrupt)?;
        let mut line = Vec::new();
        let read = std::io::stdin().lock().read_until(b'\n', &mut line);
        if read.map_err(|error| Error::file("standard input", error))? == 0 {
            return Ok(None);
        }
        state.taken += 1;
        let line = String::from_utf8(line)
            .map_err(|_| Error::file("standard input", format!("line {} is not valid UTF-8", state.taken)))?;
        Ok(Some(line.trim_end_matches(['\n', '\r']).to_string()))
    }

    /// Gives lines back that were taken last, the first of them first.
    pub fn give_back(&self, lines: Vec<String>) {
        let state = &mut *self.state();
        state.taken -= lines.len().min(state.taken);
        for line in lines.into_iter().rev() {
            state.ahead.push_front(line);
        }
    }

    /// How many lines were taken.
    pub fn taken(&self) -> usize {
        self.state().taken
    }
}

/// Waits until a line is there. A read that waits itself would not see Ctrl-C.
#[cfg(unix)]
fn wait(interrupt: &Interrupt) -> Result<()> {
    // What the last read took beyond its line lies in the buffer, where the system knows nothing of it.
    if has_buffered() {
        return Ok(());
    }
    loop {
        interrupt.check()?;
        let mut input = libc::pollfd { fd: libc::STDIN_FILENO, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor, described by a value that lives during the call.
        if unsafe { libc::poll(&mut input, 1, 50) } > 0 {
            return Ok(());
        }
    }
}

/// Whether standard input has a line or a part of one in its buffer.
#[cfg(unix)]
fn has_buffered() -> bool {
    // The buffer cannot be looked into without reading: a descriptor that never blocks tells.
    // SAFETY: the flags of a descriptor that is open are read and written back as they were.
    unsafe {
        let flags = libc::fcntl(libc::STDIN_FILENO, libc::F_GETFL);
        if flags < 0 {
            return false;
        }
        libc::fcntl(libc::STDIN_FILENO, libc::F_SETFL, flags | libc::O_NONBLOCK);
        let buffered = std::io::stdin().lock().fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        libc::fcntl(libc::STDIN_FILENO, libc::F_SETFL, flags);
        buffered
    }
}

#[cfg(not(unix))]
fn wait(interrupt: &Interrupt) -> Result<()> {
    interrupt.check()
}
