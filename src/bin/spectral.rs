//! `spectral`: the command line with run, check, info, doctor, docs, examples, data, repl, jupyter, checkpoint,
//! bench, completions.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use spectral::front;

/// A scripting environment for research on diffusion transformers.
#[derive(Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a script; arguments after `--` are passed to it.
    Run(front::run::Run),
    /// Find mistakes in scripts without running them.
    Check {
        /// The scripts.
        #[arg(required = true, value_hint = clap::ValueHint::FilePath)]
        files: Vec<PathBuf>,
    },
    /// Show versions, devices and where libtorch was found.
    Info {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check libtorch, processor, GPU, kernels and Jupyter on this machine, and suggest what to do about problems.
    Doctor(front::doctor::Options),
    /// Explain a function, or list all functions.
    Docs {
        /// A function, method, type or namespace, such as `tensor::zeros`, `sum` or `filter`; or a word to search for.
        name: Option<String>,
        /// List the functions whose documentation has all these words, best match first.
        #[arg(long, value_name = "WORDS", num_args = 1.., conflicts_with = "name")]
        search: Option<Vec<String>>,
        /// Print JSON: name, signature, summary, text, options and example of each function.
        #[arg(long)]
        json: bool,
        /// Write the reference pages of the project to this folder.
        #[arg(long, hide = true, value_name = "DIR", conflicts_with_all = ["name", "search", "json"])]
        write: Option<PathBuf>,
    },
    /// Write the scripts and notebooks of the project to a folder, as a starting point for your own.
    Examples {
        /// Target folder; existing files are kept.
        #[arg(default_value = "spectral-examples")]
        folder: PathBuf,
    },
    /// Download data sets.
    Data {
        #[command(subcommand)]
        command: Data,
    },
    /// Start the REPL; input that is not a terminal is evaluated.
    Repl,
    /// The Jupyter kernel for rhai cells.
    Jupyter {
        #[command(subcommand)]
        command: Jupyter,
    },
    /// Inspect and convert checkpoints and weights: show, diff, export, import.
    Checkpoint {
        #[command(subcommand)]
        command: front::checkpoint::Command,
    },
    /// Benchmark training, sampling and scripts on this machine; prints JSON lines.
    Bench(front::bench::Options),
    /// Print a script that completes commands, options and files in a shell.
    Completions {
        /// The shell.
        shell: front::completions::Shell,
    },
}

#[derive(Subcommand)]
enum Data {
    /// Download a public data set and verify its SHA-256; resumes an interrupted download.
    Fetch(front::fetch::Options),
}

#[derive(Subcommand)]
enum Jupyter {
    /// Install the Jupyter kernel.
    Install(front::jupyter::Place),
    /// Remove the Jupyter kernel.
    Uninstall(front::jupyter::Place),
    /// Run the Jupyter kernel; started by Jupyter.
    Kernel {
        /// Connection file.
        #[arg(short = 'f', long = "connection-file", value_name = "FILE")]
        file: PathBuf,
        /// Ignored: `jupyter run` appends the name of its script.
        #[arg(hide = true)]
        others: Vec<String>,
    },
}

fn main() {
    let command = Cli::parse().command;
    front::prepare(matches!(&command, Command::Run(options) if options.deterministic));
    let launch = match &command {
        Command::Run(options) => front::run::launch(options),
        _ => Ok(None),
    };
    let code = front::on_deep_stack(|| match command {
        Command::Run(options) => front::run::run(options, launch),
        Command::Check { files } => front::check::check(&files),
        Command::Info { json } => front::info::info(json),
        Command::Doctor(options) => front::doctor::doctor(&options),
        Command::Docs { write: Some(folder), .. } => front::docs::write(&folder),
        Command::Docs { search: Some(words), json, .. } => front::docs::search(&words.join(" "), json),
        Command::Docs { name, json, .. } => front::docs::docs(name.as_deref(), json),
        Command::Examples { folder } => front::examples::examples(&folder),
        Command::Data { command: Data::Fetch(options) } => front::fetch::fetch(&options),
        Command::Repl => front::repl::repl(),
        Command::Jupyter { command } => match command {
            Jupyter::Install(place) => front::jupyter::install(&place),
            Jupyter::Uninstall(place) => front::jupyter::uninstall(&place),
            Jupyter::Kernel { file, .. } => front::jupyter::run(&file),
        },
        Command::Checkpoint { command } => front::checkpoint::checkpoint(&command),
        Command::Bench(options) => front::bench::bench(&options),
        Command::Completions { shell } => front::completions::completions(shell, Cli::command()),
    });
    front::end(code)
}
