//! Every function has a summary and an example, and every example runs.
#![cfg(test)]

#[path = "shared/examples.rs"]
mod listed;

use spectral::script::entries;
use spectral::torch::Device;

#[test]
fn every_example_runs() {
    listed::run_all(Device::Cpu);
}

#[test]
fn every_function_is_documented() {
    let mut failures = Vec::new();
    for entry in entries::all() {
        let (path, summary) = (&entry.path, &entry.summary);
        if summary.is_empty() || !summary.ends_with('.') {
            failures
                .push(format!("{path}: the documentation must start with one sentence, found {summary:?}"));
        }
        if entry.example.is_none() {
            failures.push(format!("{path}: no example in a fenced rhai block"));
        }
        for option in &entry.options {
            if option.text.is_empty() {
                failures.push(format!("{path}: option `{}` is not documented", option.name));
            }
        }
        if entry.source.is_some() && !entry.signature.starts_with(path.as_str()) {
            failures.push(format!("{path}: its `Signature:` line says {}", entry.signature));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
