//! `input(..)` at a terminal, and with standard input from a file.

use std::io::Write;
use std::sync::Arc;

use super::input::Input;
use crate::context::{Ask, Interrupt};
use crate::error::{Error, Kind};

/// Returns a function that asks on standard output and reads the next line of standard input; Ctrl-C ends the wait.
pub fn on_terminal(interrupt: Interrupt, input: Input) -> Ask {
    Arc::new(move |prompt, _| {
        let mut out = std::io::stdout().lock();
        // Reads the answer even if the question cannot be shown.
        let _ = out.write_all(prompt.as_bytes()).and_then(|()| out.flush());
        drop(out);
        let answer = input.next(&interrupt);
        // Without an answer nothing else ends the line of the question.
        if !prompt.is_empty() && !matches!(answer, Ok(Some(_))) {
            let _ = std::io::stdout().lock().write_all(b"\n");
        }
        answer?.ok_or_else(|| {
            Error::new(Kind::File, "standard input ended before an answer was read")
                .hint("pass the value as a script argument")
        })
    })
}
