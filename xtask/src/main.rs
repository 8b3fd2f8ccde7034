//! `cargo xtask run|test|notebooks|format|docs|dependencies|install|wheel|bench|libtorch|torchrun|evcxr`: provisions libtorch, then calls cargo.
//!
//! Nothing here depends on tch, so this crate builds in seconds on a fresh clone.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for the terminal"
)]

mod bench;
mod book;
mod dependencies;
mod elf;
mod environment;
mod failure;
mod format;
mod libtorch;
mod machine;
mod notebooks;
mod nvrtc;
mod pip;
mod programs;
mod steps;
mod torchrun;
mod wheel;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, Result};
use machine::{Machine, Variant};
use notebooks::Clients;
use steps::Cargo;

/// Build, test and install spectral; libtorch is provisioned first where a command needs it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build in release and run a script: `cargo xtask run FILE [-- ARGS..]`.
    Run {
        /// The script, followed by everything that `spectral run` should get.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        script: Vec<OsString>,
    },
    /// Check formatting, lints and dependencies, run all tests and Jupyter clients, and build the documentation; CI
    /// also runs both other kinds of `notebooks`.
    Test {
        /// Run the tests on the CUDA device.
        #[arg(long)]
        cuda: bool,
        /// Run only the tests whose names contain one of these.
        filter: Vec<String>,
    },
    /// Run the tests with real Jupyter clients, which `test` runs too.
    Notebooks {
        /// Run JupyterLab in headless Chromium instead, which `test` leaves out.
        #[arg(long)]
        browser: bool,
        /// Run Rust cells under evcxr instead, which `test` leaves out; evcxr is built first, once per user.
        #[arg(long, conflicts_with = "browser")]
        rust: bool,
        /// Run only the tests that `pytest -k` selects with one of these.
        filter: Vec<String>,
    },
    /// Format Rust, C++ and CUDA.
    Format {
        /// Change nothing, and fail if a file is not formatted.
        #[arg(long)]
        check: bool,
    },
    /// Build the documentation as a book, and print the path of its first page.
    Docs,
    /// Check licenses, duplicates and sources of the dependencies.
    Dependencies {
        /// Check for known vulnerabilities instead, whose database is fetched from GitHub.
        #[arg(long)]
        advisories: bool,
    },
    /// Put `spectral` and `spectral-repl` on the PATH.
    Install {
        /// Install into DIR/bin instead of cargo's own folder.
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Build a wheel in `dist`, which `pip install` puts beside a PyTorch where there is no compiler.
    Wheel {
        /// Install the wheel into a fresh environment and test it there.
        #[arg(long)]
        test: bool,
    },
    /// Compare the speed of spectral and PyTorch on this machine.
    Bench(bench::Options),
    /// Provision only libtorch, and print its path.
    Libtorch,
    /// Provision a torchrun of PyTorch, which starts the ranks of some tests, and print its path.
    Torchrun,
    /// Build evcxr, the Jupyter kernel for Rust, once per user, and print its path.
    Evcxr,
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    let machine = Machine::detect()?;
    match command {
        Command::Run { script } => {
            let place = libtorch::provision(&machine)?;
            steps::run(&Cargo::new(&machine, &place), &script)
        }
        Command::Test { cuda, filter } => {
            if cuda && !machine.driver {
                return Err(Failure::new(
                    "expected an NVIDIA driver for --cuda, found neither /proc/driver/nvidia/version nor libcuda.so.1",
                )
                .hint("leave out --cuda to test on the CPU, or check that nvidia-smi works"));
            }
            if cuda && machine.variant == Variant::Cpu {
                return Err(Failure::new(
                    "--cuda needs the CUDA libtorch, but SPECTRAL_LIBTORCH_VARIANT asks for the one without",
                )
                .hint("unset SPECTRAL_LIBTORCH_VARIANT"));
            }
            let place = libtorch::provision(&machine)?;
            steps::test(&Cargo::new(&machine, &place), cuda, &filter)
        }
        Command::Notebooks { browser, rust, filter } => {
            let place = libtorch::provision(&machine)?;
            let clients = match (browser, rust) {
                (true, _) => Clients::Browser,
                (_, true) => Clients::Rust,
                _ => Clients::Plain,
            };
            steps::notebooks(&Cargo::new(&machine, &place), clients, &filter)
        }
        Command::Format { check } => format::format(&machine, check),
        Command::Docs => {
            println!("{}", book::build(&machine)?.display());
            Ok(())
        }
        Command::Dependencies { advisories } => dependencies::check(&machine, advisories),
        Command::Install { root } => {
            let place = libtorch::provision(&machine)?;
            steps::install(&Cargo::new(&machine, &place), root)
        }
        Command::Wheel { test } => {
            let place = libtorch::provision(&machine)?;
            let cargo = Cargo::new(&machine, &place);
            let built = wheel::build(&machine, &cargo)?;
            println!("{}", built.display());
            match test {
                true => wheel::test(&machine, &cargo, &built),
                false => Ok(()),
            }
        }
        Command::Bench(options) => {
            let place = libtorch::provision(&machine)?;
            bench::bench(&Cargo::new(&machine, &place), &machine, &options)
        }
        Command::Libtorch => {
            let place = libtorch::provision(&machine)?;
            println!("{}", place.folder().display());
            Ok(())
        }
        Command::Torchrun => {
            let place = libtorch::provision(&machine)?;
            println!("{}", torchrun::provision(&machine, &place)?.display());
            Ok(())
        }
        Command::Evcxr => {
            println!("{}", programs::EVCXR.provision(&machine)?.display());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(arguments: &[&str]) -> Vec<OsString> {
        let all = ["cargo xtask", "run"].iter().chain(arguments);
        match Arguments::try_parse_from(all).unwrap().command {
            Command::Run { script } => script,
            _ => unreachable!("run was asked for"),
        }
    }

    #[test]
    fn everything_after_the_script_is_passed_on_as_it_is() {
        for arguments in [
            &["a.rhai"][..],
            &["a.rhai", "--", "--steps", "5", "--help"],
            &["a.rhai", "--steps", "5", "--", "--help"],
        ] {
            assert_eq!(script(arguments), arguments);
        }
        assert!(Arguments::try_parse_from(["cargo xtask", "run"]).is_err());
    }
}
