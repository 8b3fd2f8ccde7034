//! Long text in the user's pager.

use std::io::{ErrorKind, IsTerminal, Write};
use std::process::{Child, Command, Stdio};

use super::terminal;

/// Quits at once if the text fits, keeps colors, and leaves the text on the screen.
const PAGER: [&str; 4] = ["less", "-R", "-F", "-X"];

/// Shows text in `$PAGER`, else in `less`; prints it if neither works or the output is not a terminal.
///
/// A pager that ends before it has read everything is not a failure, and Ctrl-C is left to the pager.
pub fn page(text: &str) {
    let chosen = std::env::var("PAGER").unwrap_or_default();
    // `cat` means that no pager is wanted.
    if !std::io::stdout().is_terminal() || chosen.trim() == "cat" {
        return terminal::out(text);
    }
    let mut command = match chosen.trim() {
        "" => {
            let mut command = Command::new(PAGER[0]);
            command.args(&PAGER[1..]);
            command
        }
        // The command may have options and quotes in shell syntax.
        line => {
            let mut command = Command::new("sh");
            command.args(["-c", line]);
            // Without these options, `less` shows escape sequences as letters.
            if std::env::var_os("LESS").is_none() {
                command.env("LESS", "-RFX");
            }
            command
        }
    };
    if !through(&mut command, text) {
        terminal::out(text);
    }
}

/// Returns whether the command took the text; `false` if it could not be started.
fn through(command: &mut Command, text: &str) -> bool {
    undisturbed(|| piped(command, text))
}

/// Runs another program in the terminal, which handles Ctrl-C itself; this process ignores it.
pub fn undisturbed<T>(program: impl FnOnce() -> T) -> T {
    let _quiet = IgnoreInterrupts::start();
    program()
}

fn piped(command: &mut Command, text: &str) -> bool {
    let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else { return false };
    let written = write(&mut child, text);
    let status = child.wait();
    // Exit codes of the shell for a command that was not found or may not be executed.
    let missing = status.is_ok_and(|status| matches!(status.code(), Some(126 | 127)));
    written && !missing
}

/// Writes the text; a reader that closed the pipe has seen enough.
fn write(child: &mut Child, text: &str) -> bool {
    let Some(mut input) = child.stdin.take() else { return false };
    let line = if text.ends_with('\n') { "" } else { "\n" };
    match input.write_all(text.as_bytes()).and_then(|()| input.write_all(line.as_bytes())) {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::BrokenPipe,
    }
}

/// Makes this process ignore Ctrl-C while it lives; the terminal also sends it to the other program, which handles
/// it.
struct IgnoreInterrupts(libc::sigaction);

impl IgnoreInterrupts {
    fn start() -> Option<Self> {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: both structs are plain data, and the handler does nothing. A handler is used rather than
        // `SIG_IGN`, which started programs would inherit.
        unsafe {
            let (mut ours, mut before): (libc::sigaction, libc::sigaction) =
                (std::mem::zeroed(), std::mem::zeroed());
            ours.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
            ours.sa_flags = libc::SA_RESTART;
            (libc::sigaction(libc::SIGINT, &ours, &mut before) == 0).then_some(Self(before))
        }
    }
}

impl Drop for IgnoreInterrupts {
    fn drop(&mut self) {
        // SAFETY: the struct is the one that was active before.
        unsafe {
            libc::sigaction(libc::SIGINT, &self.0, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn the_pager_reads_the_text_and_may_stop_early() {
        let folder = tempfile::tempdir().unwrap();
        let read = || std::fs::read_to_string(folder.path().join("read")).unwrap();
        let pager = |line: &str| {
            let mut command = shell(line);
            command.current_dir(folder.path());
            command
        };
        assert!(through(&mut pager("cat > read"), "one\ntwo"));
        assert_eq!(read(), "one\ntwo\n");
        // More than a pipe holds, so that the closed end is noticed.
        let long = "line\n".repeat(100_000);
        assert!(through(&mut pager("head -n 1 > read"), &long));
        assert_eq!(read(), "line\n");
    }

    #[test]
    fn a_pager_that_is_not_there_has_shown_nothing() {
        assert!(!through(&mut Command::new("no-such-pager"), "text"));
        assert!(!through(&mut shell("no-such-pager 2> /dev/null"), "text"));
        // Any other exit code comes after the text was shown.
        assert!(through(&mut shell("cat > /dev/null; exit 1"), "text"));
    }

    #[test]
    fn ctrl_c_in_the_pager_leaves_this_process_alone() {
        let quiet = IgnoreInterrupts::start();
        assert!(quiet.is_some());
        // SAFETY: the signal goes to the handler above.
        assert_eq!(unsafe { libc::raise(libc::SIGINT) }, 0);
    }
}
