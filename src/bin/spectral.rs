//! `spectral`: run, check, info, docs, repl.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use spectral::front;

/// A scripting laboratory for diffusion transformers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a script; what follows `--` are its arguments.
    Run {
        /// The script.
        file: PathBuf,
        /// Arguments for the script; `-- --help` shows those it takes.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let code = match Cli::parse().command {
        Command::Run { file, arguments } => front::run::run(&file, arguments),
    };
    ExitCode::from(code)
}
