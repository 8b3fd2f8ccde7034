//! `spectral run FILE -- ARGUMENTS`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{progress, terminal};
use crate::context::{Context, Interrupt, Invocation};
use crate::script::engine::EngineOptions;
use crate::script::resolver::read_script;
use crate::session::{Options, Session};

/// Runs a script file and gives the exit code.
pub fn run(file: &Path, arguments: Vec<String>) -> u8 {
    let source = match read_script(file) {
        Ok(source) => source,
        Err(error) => return terminal::fail(error),
    };
    let name = file.display().to_string();
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let invocation = Invocation { script: Some(name.clone()), arguments };
    let mut session = session(folder, invocation);
    match session.run_cell(&source, &name) {
        Ok(_) => 0,
        Err(report) => {
            terminal::report(&report);
            report.exit_code()
        }
    }
}

/// A session that prints to standard output, shows progress and stops on Ctrl-C.
pub fn session(folder: std::path::PathBuf, invocation: Invocation) -> Session {
    let interrupt = Interrupt::default();
    stop_on_ctrl_c(interrupt.clone());
    let progress = progress::for_stderr();
    let printer = Arc::clone(&progress);
    let context = Context { interrupt, progress, invocation: Arc::new(invocation), ..Context::default() };
    let print = Arc::new(move |text: &str| printer.print(text));
    let engine = EngineOptions { context, print, ..EngineOptions::default() };
    Session::new(Options { engine, folder })
}

/// The first Ctrl-C asks the script to stop; a second within two seconds ends the program.
fn stop_on_ctrl_c(interrupt: Interrupt) {
    let last: Mutex<Option<Instant>> = Mutex::new(None);
    // It fails only when a handler is there already, which then does the same.
    let _ = ctrlc::set_handler(move || {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if interrupt.is_raised() && last.is_some_and(|t| t.elapsed() < Duration::from_secs(2)) {
            std::process::exit(130);
        }
        *last = Some(Instant::now());
        interrupt.raise();
    });
}
