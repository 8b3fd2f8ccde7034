//! `spectral-repl`: the REPL.

use clap::Parser;

/// REPL of spectral; input that is not a terminal is evaluated.
#[derive(Parser)]
#[command(version)]
struct Cli {}

fn main() {
    let Cli {} = Cli::parse();
    spectral::front::prepare(false);
    spectral::front::end(spectral::front::on_deep_stack(spectral::front::repl::repl))
}
