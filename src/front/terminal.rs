//! Capabilities of standard output and standard error.

use std::io::{IsTerminal, Write};

use crate::error::{Error, Kind};
use crate::script::failure::Diagnosis;

/// Returns whether a stream shows colors: on a terminal, unless `NO_COLOR`, `CLICOLOR` or `CLICOLOR_FORCE` say
/// otherwise.
pub fn color(stream: &impl IsTerminal) -> bool {
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|v| v != "0") {
        return true;
    }
    stream.is_terminal()
        && set("CLICOLOR").is_none_or(|v| v != "0")
        && set("TERM").is_none_or(|v| v != "dumb")
}

/// Returns the number of characters per line of standard output.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    columns.or_else(measured).filter(|w| *w >= 20).unwrap_or(100)
}

fn measured() -> Option<usize> {
    window().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Returns the number of lines of the terminal on standard output, and the width and height of a character in
/// pixels, each if the terminal reports it.
pub fn rows_and_cell() -> (Option<usize>, Option<(f64, f64)>) {
    let Some(size) = window() else { return (None, None) };
    let each =
        |pixels: u16, count: u16| (pixels > 0 && count > 0).then(|| f64::from(pixels) / f64::from(count));
    let cell = each(size.ws_xpixel, size.ws_col).zip(each(size.ws_ypixel, size.ws_row));
    (Some(usize::from(size.ws_row)).filter(|rows| *rows > 0), cell)
}

fn window() -> Option<libc::winsize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    // SAFETY: the call fills the given struct, for a descriptor that is open.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    }
}

/// Settings of the terminal on standard input, to be restored if the program ends while a line is being edited.
pub struct Settings(Option<libc::termios>);

impl Settings {
    /// Returns the current settings.
    pub fn of_input() -> Self {
        // SAFETY: the call fills the given struct.
        unsafe {
            let mut now: libc::termios = std::mem::zeroed();
            Self((libc::tcgetattr(libc::STDIN_FILENO, &mut now) == 0).then_some(now))
        }
    }

    /// Restores the settings.
    pub fn restore(&self) {
        if let Some(settings) = &self.0 {
            // SAFETY: `tcgetattr` filled the settings.
            unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, settings) };
        }
    }
}

/// Writes a line to standard output. If the reader is gone (`| head`), the program ends quietly; other failures end
/// it with a message.
pub fn out(text: &str) {
    match write_out(text) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => super::end(0),
        Err(error) => super::end(fail(unwritable(&error))),
    }
}

/// Writes a line to standard output.
pub fn write_out(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// Returns the error for standard output that cannot be written.
pub fn unwritable(error: &std::io::Error) -> Error {
    Error::new(Kind::File, format!("standard output cannot be written: {error}"))
        .hint("send the output to a file or a program that takes it")
}

/// Writes a line to standard error; ignores failures, since nobody could be told.
pub fn err(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Shows a diagnosis on standard error, except for a call of `exit`.
pub fn report(diagnosis: &Diagnosis) {
    use crate::script::failure::End;
    if !matches!(diagnosis.end, End::Exit(_)) {
        let _ = std::io::stderr().write_all(diagnosis.render(color(&std::io::stderr())).as_bytes());
    }
}

/// Shows an error on standard error and returns its exit code.
pub fn fail(error: Error) -> u8 {
    let shown = Diagnosis::from(error);
    report(&shown);
    shown.exit_code()
}
