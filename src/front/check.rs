//! `spectral check FILE..`: what is wrong without running anything.

use std::io::Write as _;
use std::path::PathBuf;

use super::terminal;
use crate::script::check;
use crate::script::engine::{EngineOptions, language};

/// Checks scripts and gives the exit code: 1 when there is a finding.
pub fn check(files: &[PathBuf]) -> u8 {
    let language = language(EngineOptions::default());
    let colour = terminal::colour(&std::io::stderr());
    let mut findings = 0;
    for file in files {
        for report in check::check(&language, file) {
            findings += 1;
            let _ = std::io::stderr().write_all(report.render(colour).as_bytes());
        }
    }
    match findings {
        0 => 0,
        _ => {
            eprintln!("{findings} finding{}", if findings == 1 { "" } else { "s" });
            1
        }
    }
}
