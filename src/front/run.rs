//! `spectral run FILE -- ARGUMENTS`.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::picture::{self, Protocol};
use super::{progress, terminal};
use crate::context::{Context, Interrupt, Invocation, Print};
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
    let print: Print = Arc::new(move |text: &str| printer.print(text));
    let mut context = Context { interrupt, progress, invocation: Arc::new(invocation), ..Context::default() };
    if std::io::stdout().is_terminal() {
        // Found out when the first picture comes, since a terminal may have to be asked.
        let protocol = OnceLock::new();
        let protocol = move || *protocol.get_or_init(Protocol::of_terminal);
        context.show = picture::shower(protocol, Arc::clone(&print));
    }
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
