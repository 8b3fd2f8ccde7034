//! Every declared function has a summary and an example, and every example runs.

use spectral::declare::Declaration;
use spectral::script::{declarations, engine::engine};

/// `SPECTRAL_EXAMPLES=tensor` runs only the examples of paths that contain the word.
fn wanted(declaration: &Declaration) -> bool {
    std::env::var("SPECTRAL_EXAMPLES").map_or(true, |word| declaration.path().contains(&word))
}

#[test]
fn every_example_runs() {
    spectral::torch::start();
    let mut failures = Vec::new();
    // Examples that write files leave nothing behind.
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::env::set_current_dir(&folder).expect("a working directory");
    for declaration in declarations().into_iter().filter(|d| wanted(d)) {
        let Some(code) = declaration.example() else { continue };
        let engine = engine(&Default::default(), |_| {});
        if let Err(error) = engine.run(&code) {
            failures.push(format!("{}: {error:?}\n{code}\n", declaration.path()));
        }
    }
    assert!(failures.is_empty(), "{} examples fail:\n\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_function_is_documented() {
    let mut failures = Vec::new();
    for declaration in declarations() {
        let (path, summary) = (declaration.path(), declaration.summary());
        if summary.is_empty() || !summary.ends_with('.') {
            failures
                .push(format!("{path}: the documentation must start with one sentence, found {summary:?}"));
        }
        if declaration.example().is_none() {
            failures.push(format!("{path}: no example in a fenced rhai block"));
        }
        for field in declaration.fields() {
            if field.doc.trim().is_empty() {
                failures.push(format!("{path}: option `{}` is not documented", field.name));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
