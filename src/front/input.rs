//! Lines of standard input, for cells and for questions of cells.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::context::Interrupt;
use crate::error::{Error, Result};

/// Standard input, line by line; clones share the lines that were read ahead.
#[derive(Clone, Default)]
pub struct Input(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Lines that were read ahead and given back.
    ahead: VecDeque<String>,
    /// Number of lines taken.
    taken: usize,
}

impl Input {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the next line without its end; `None` at the end of the input. An interrupt ends the wait.
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

    /// Gives back the lines that were taken last, in their order.
    pub fn give_back(&self, lines: Vec<String>) {
        let state = &mut *self.state();
        state.taken -= lines.len().min(state.taken);
        for line in lines.into_iter().rev() {
            state.ahead.push_front(line);
        }
    }

    /// Returns the number of lines taken.
    pub fn taken(&self) -> usize {
        self.state().taken
    }
}

/// Waits until input is available. A blocking read would not notice Ctrl-C.
#[cfg(unix)]
fn wait(interrupt: &Interrupt) -> Result<()> {
    // The last read may have buffered more than its line, which `poll` does not see.
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

/// Returns whether standard input has a line or a part of one in its buffer.
#[cfg(unix)]
fn has_buffered() -> bool {
    // The buffer cannot be inspected without reading, so the descriptor does not block meanwhile.
    // SAFETY: the flags of an open descriptor are read and restored.
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
