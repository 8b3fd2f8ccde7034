//! `spectral-repl`: the prompt.

use clap::Parser;

/// The prompt of spectral; input that is not a terminal is evaluated.
#[derive(Parser)]
#[command(version)]
struct Cli {}

fn main() {
    let Cli {} = Cli::parse();
    spectral::front::prepare(false);
    spectral::front::end(spectral::front::on_deep_stack(spectral::front::repl::repl))
}
