//! Launcher for `spectral-repl`, as a wheel installs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    launcher::become_program(Some("repl"))
}
