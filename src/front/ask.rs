//! `input(..)` at a terminal, and from standard input that is a file.

use std::io::{BufRead, Write};
use std::sync::Arc;

use crate::context::{Ask, Interrupt};
use crate::error::{Error, Kind, Result};

/// Asks on standard output and reads a line of standard input; Ctrl-C ends the waiting.
pub fn on_terminal(interrupt: Interrupt) -> Ask {
    Arc::new(move |prompt, _| {
        let mut out = std::io::stdout().lock();
        // A prompt that nobody can see is no reason to take no answer.
        let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        drop(out);
        wait(&interrupt)?;
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        match read.map_err(|error| Error::file("standard input", error))? {
            0 => Err(Error::new(Kind::File, "standard input has ended, so there is no answer")
                .hint("give the value as an argument of the script")),
            _ => Ok(line.trim_end_matches(['\n', '\r']).to_string()),
        }
    })
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
