//! `spectral-repl`: the prompt.

use std::process::ExitCode;

use clap::Parser;

/// The prompt of spectral; input that is not a terminal is evaluated.
#[derive(Parser)]
#[command(version)]
struct Cli {}

fn main() -> ExitCode {
    let Cli {} = Cli::parse();
    ExitCode::from(spectral::front::on_deep_stack(spectral::front::repl::repl))
}
