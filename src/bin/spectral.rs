//! `spectral`: run, check, info, doctor, docs, examples, data, repl, jupyter, checkpoint, bench.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use spectral::front;

/// A scripting laboratory for diffusion transformers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a script; what follows `--` are its arguments.
    Run {
        /// The script.
        file: PathBuf,
        /// Give the same bits each time on this machine; slower on CUDA.
        #[arg(long)]
        deterministic: bool,
        /// Arguments for the script; `-- --help` shows those it takes.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Find what is wrong in scripts without running them.
    Check {
        /// The scripts.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show versions, devices and where libtorch came from.
    Info {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Find out whether this machine is right: libtorch, processor, GPU, kernels, Jupyter; and what to do where it is not.
    Doctor(front::doctor::Options),
    /// Explain a function, or list all of them.
    Docs {
        /// A function, method, type or namespace, such as `tensor::zeros`, `sum` or `filter`.
        name: Option<String>,
        /// As JSON: name, signature, summary, text, options and example of each function.
        #[arg(long)]
        json: bool,
        /// Write the reference pages of the project into this folder.
        #[arg(long, hide = true, value_name = "DIR", conflicts_with_all = ["name", "json"])]
        write: Option<PathBuf>,
    },
    /// Write the scripts and notebooks of the project into a folder, to run and to change.
    Examples {
        /// The folder; what is there already stays.
        #[arg(default_value = "spectral-examples")]
        folder: PathBuf,
    },
    /// Data sets.
    Data {
        #[command(subcommand)]
        command: Data,
    },
    /// Start the prompt; input that is not a terminal is evaluated.
    Repl,
    /// The Jupyter kernel for rhai cells.
    Jupyter {
        #[command(subcommand)]
        command: Jupyter,
    },
    /// Look into checkpoints and weights: show, diff, export, import.
    Checkpoint {
        #[command(subcommand)]
        command: front::checkpoint::Command,
    },
    /// Measure how fast training, sampling and scripts are on this machine, as lines of JSON.
    Bench(front::bench::Options),
}

#[derive(Subcommand)]
enum Data {
    /// Download a public data set, with its SHA-256 checked; what was broken off is continued.
    Fetch(front::fetch::Options),
}

#[derive(Subcommand)]
enum Jupyter {
    /// Tell Jupyter of the kernel.
    Install(front::jupyter::Place),
    /// Take the kernel away from Jupyter.
    Uninstall(front::jupyter::Place),
    /// Run the kernel; Jupyter does this.
    Kernel {
        /// The connection file.
        #[arg(short = 'f', long = "connection-file", value_name = "FILE")]
        file: PathBuf,
    },
}

fn main() {
    let command = Cli::parse().command;
    front::prepare(matches!(command, Command::Run { deterministic: true, .. }));
    let code = front::on_deep_stack(|| match command {
        Command::Run { file, deterministic, arguments } => front::run::run(&file, deterministic, arguments),
        Command::Check { files } => front::check::check(&files),
        Command::Info { json } => front::info::info(json),
        Command::Doctor(options) => front::doctor::doctor(&options),
        Command::Docs { write: Some(folder), .. } => front::docs::write(&folder),
        Command::Docs { name, json, .. } => front::docs::docs(name.as_deref(), json),
        Command::Examples { folder } => front::examples::examples(&folder),
        Command::Data { command: Data::Fetch(options) } => front::fetch::fetch(&options),
        Command::Repl => front::repl::repl(),
        Command::Jupyter { command } => match command {
            Jupyter::Install(place) => front::jupyter::install(&place),
            Jupyter::Uninstall(place) => front::jupyter::uninstall(&place),
            Jupyter::Kernel { file } => front::jupyter::run(&file),
        },
        Command::Checkpoint { command } => front::checkpoint::checkpoint(&command),
        Command::Bench(options) => front::bench::bench(&options),
    });
    front::end(code)
}
