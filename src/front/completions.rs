//! `spectral completions SHELL`: a script that completes the command line in a shell.

use clap::{Command, ValueEnum};
use clap_complete::{generate, shells};

use super::terminal;

/// Shells that are supported.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// `source <(spectral completions bash)`
    Bash,
    /// `source <(spectral completions zsh)`
    Zsh,
    /// `spectral completions fish | source`
    Fish,
}

/// Prints the script for a shell and returns the exit code.
pub fn completions(shell: Shell, mut command: Command) -> u8 {
    let (mut script, name) = (Vec::new(), "spectral");
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, name, &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, name, &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, name, &mut script),
    }
    terminal::out(String::from_utf8_lossy(&script).trim_end());
    0
}
