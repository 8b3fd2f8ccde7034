//! Launcher for `spectral`, as a wheel installs it.

use std::process::ExitCode;

fn main() -> ExitCode {
    launcher::become_program(None)
}
