//! `spectral check FILE..`: finds errors and likely mistakes in scripts without running them.

use std::io::Write as _;
use std::path::PathBuf;

use super::terminal;
use crate::script::check;
use crate::script::engine::{EngineOptions, language};

/// Checks scripts and returns the exit code: 1 if there is a finding, 0 if there are only warnings.
pub fn check(files: &[PathBuf]) -> u8 {
    let language = language(EngineOptions::default());
    let color = terminal::color(&std::io::stderr());
    let (mut findings, mut warnings) = (0, 0);
    for file in files {
        for report in check::check(&language, file) {
            *(if report.warning { &mut warnings } else { &mut findings }) += 1;
            let _ = std::io::stderr().write_all(report.render(color).as_bytes());
        }
    }
    let plural = |n: i32, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (findings, warnings) {
        (0, 0) => {}
        (0, n) => terminal::err(&plural(n, "warning")),
        (n, 0) => terminal::err(&plural(n, "finding")),
        (n, m) => terminal::err(&format!("{}, {}", plural(n, "finding"), plural(m, "warning"))),
    }
    u8::from(findings > 0)
}
