//! `spectral doctor`: checks this machine, with one line per item and advice on problems.
//!
//! - `Finding`: a line; [`doctor`]: the command
//! - `machine`: libtorch, processor, threads, memory, disks; `cuda`: driver, GPU, compiler, graphs, attention
//! - `operators`: every fused kernel against libtorch's operators on the device; `training`: steps of a model
//! - `notebooks`: Jupyter and its kernels, and pictures in the terminal

mod cuda;
mod machine;
mod notebooks;
mod operators;
mod training;

use clap::Args;
use serde_json::{Value as Json, json};

use super::terminal;
use crate::document::{Block, Cell, Column, Document, Look, Role, Table};
use crate::error::{Error, Result};
use crate::torch::{self, Device};

/// Options of `spectral doctor`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Device on which kernels are tried: "auto", "cpu", "cuda" or "cuda:N".
    #[arg(long, default_value = "auto")]
    device: String,
    /// Print JSON: the findings with name, state, result and advice.
    #[arg(long)]
    json: bool,
}

/// State of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Works as it should.
    Ok,
    /// Works, but slower or less conveniently.
    Warning,
    /// Does not work.
    Failure,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failure => "failure",
        }
    }

    fn role(self) -> Role {
        match self {
            State::Ok => Role::Good,
            State::Warning => Role::Warning,
            State::Failure => Role::Error,
        }
    }
}

/// Result of one check.
#[derive(Debug, Clone)]
struct Finding {
    name: String,
    state: State,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), advice: None }
    }

    fn warning(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Warning, advice: Some(advice.into()), ..Self::ok(name, found) }
    }

    fn failure(name: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { state: State::Failure, advice: Some(advice.into()), ..Self::ok(name, found) }
    }

    /// Creates a failure from an error.
    fn error(name: impl Into<String>, error: &Error) -> Self {
        let advice = error.hint_text().map(str::to_string);
        Self { state: State::Failure, advice, ..Self::ok(name, error.message()) }
    }

    fn line(&self, colors: bool) -> String {
        let columns = [Column::left().least(7), Column::left().after(2).least(14), Column::left().after(1)];
        let mut table = Table::new(Look::Open, columns.to_vec());
        let Cell(mut text) = Cell::from(self.found.as_str());
        text.extend(self.advice.iter().flat_map(|advice| Cell::from(advice.as_str()).0));
        let state = Cell::of(self.state.role(), self.state.name());
        table.push([state, self.name.as_str().into(), Cell(text)]);
        Document::of(Block::Table(table)).shown(None, colors)
    }

    fn json(&self) -> Json {
        json!({ "name": self.name, "state": self.state.name(), "found": self.found, "advice": self.advice })
    }
}

/// Receives findings: prints them as they come, or collects them.
struct Findings {
    all: Vec<Finding>,
    /// Whether lines are printed, and in color.
    shown: Option<bool>,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        if let Some(colors) = self.shown {
            terminal::out(&finding.line(colors));
        }
        self.all.push(finding);
    }

    fn count(&self, state: State) -> usize {
        self.all.iter().filter(|finding| finding.state == state).count()
    }
}

/// Runs all checks and prints the findings; returns the exit code, which is 1 if something does not work.
pub fn doctor(options: &Options) -> u8 {
    let colors = terminal::color(&std::io::stdout());
    let mut findings = Findings { all: Vec::new(), shown: (!options.json).then_some(colors) };
    examine(options, &mut findings);
    let (failures, warnings) = (findings.count(State::Failure), findings.count(State::Warning));
    match options.json {
        true => {
            let all: Vec<Json> = findings.all.iter().map(Finding::json).collect();
            let whole = json!({ "findings": all, "failures": failures, "warnings": warnings });
            terminal::out(&serde_json::to_string_pretty(&whole).unwrap_or_default());
        }
        false => terminal::out(&summary(failures, warnings)),
    }
    u8::from(failures > 0)
}

fn summary(failures: usize, warnings: usize) -> String {
    let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    match (failures, warnings) {
        (0, 0) => "\nall is well".to_string(),
        (0, warnings) => format!("\nall works, with {}", some(warnings, "warning")),
        (failures, 0) => format!("\n{} to mend", some(failures, "failure")),
        (failures, warnings) => {
            format!("\n{} to mend, {}", some(failures, "failure"), some(warnings, "warning"))
        }
    }
}

fn examine(options: &Options, findings: &mut Findings) {
    torch::start();
    // libtorch would print its warnings between the lines, with places in its sources.
    let _kept = torch::keep_warnings();
    for finding in [machine::program(), machine::libtorch(), machine::processor(), machine::threads()] {
        findings.add(finding);
    }
    for finding in [machine::memory(), machine::cache(), machine::working_folder()] {
        findings.add(finding);
    }
    let device = device(&options.device);
    for finding in cuda::look(device.as_ref().is_ok_and(|device| device.is_cuda())) {
        findings.add(finding);
    }
    match device {
        Err(error) => findings.add(Finding::error("device", &error)),
        Ok(device) => {
            findings.add(Finding::ok("device", format!("{device}: what follows was tried there")));
            operators::check(device, &mut |finding| findings.add(finding));
            if device.is_cuda() {
                cuda::choices(device).into_iter().for_each(|finding| findings.add(finding));
                findings.add(cuda::graphs(device));
            }
            findings.add(training::check(device));
        }
    }
    // A finding on the compiler says more than the warning that kernels are not used.
    for text in torch::take_warnings().into_iter().filter(|text| !text.starts_with("fused CUDA kernels")) {
        findings.add(Finding::warning("note", text, "libtorch says so of what was tried"));
    }
    notebooks::look().into_iter().for_each(|finding| findings.add(finding));
    findings.add(notebooks::pictures());
}

fn device(name: &str) -> Result<Device> {
    match name {
        "auto" => Ok(Device::auto()),
        name => Device::named(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_state_the_name_and_what_to_do() {
        let finding = Finding::warning("memory", "1.0 GiB, 0.2 GiB free", "close other programs");
        let lines: Vec<String> = finding.line(false).lines().map(|l| l.trim_end().to_string()).collect();
        assert_eq!(lines[0], "warning  memory         1.0 GiB, 0.2 GiB free");
        assert_eq!(lines[1].trim_start(), "close other programs");
        assert!(finding.line(true).starts_with("\u{1b}[1;33mwarning"), "{:?}", finding.line(true));
        assert_eq!(finding.json()["state"], "warning");
    }

    #[test]
    fn the_summary_counts() {
        assert_eq!(summary(0, 0), "\nall is well");
        assert_eq!(summary(0, 1), "\nall works, with 1 warning");
        assert_eq!(summary(2, 1), "\n2 failures to mend, 1 warning");
    }

    #[test]
    fn failures_decide_the_exit_code() {
        let gone = Options { device: "cuda:99".to_string(), json: true };
        let mut findings = Findings { all: Vec::new(), shown: None };
        examine(&gone, &mut findings);
        assert_eq!(findings.count(State::Failure), 1, "{:?}", findings.all);
        let device = findings.all.iter().find(|f| f.name == "device").map(|f| f.found.clone());
        assert!(device.is_some_and(|found| found.contains("cuda:99")));
    }
}
