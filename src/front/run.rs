//! `spectral run [--deterministic] FILE -- ARGUMENTS`: runs a script.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use super::ending::Ending;
use super::input::Input;
use super::picture::{self, Protocol};
use super::{ask, progress, terminal};
use crate::context::{Context, Interrupt, Invocation, Print, Warn};
use crate::error::Result;
use crate::script::engine::EngineOptions;
use crate::script::resolver::read_script;
use crate::session::{Options, Session};
use crate::torch::{device, rng};

/// Runs a script file and returns the exit code.
///
/// With `deterministic`, runs on one machine are bitwise reproducible: operators with several algorithms use one
/// that does not depend on timing, TF32 is off, and the default generators start from seed 0.
pub fn run(file: &Path, deterministic: bool, arguments: Vec<String>) -> u8 {
    let source = match read_script(file) {
        Ok(source) => source,
        Err(error) => return terminal::fail(error),
    };
    let name = file.display().to_string();
    let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let invocation = Invocation { script: Some(name.clone()), arguments };
    let Started { mut session, ending, .. } = session(folder, invocation);
    if deterministic {
        let set = || -> Result<()> {
            device::set_deterministic(true)?;
            device::set_tf32(false)?;
            rng::seed(0);
            Ok(())
        };
        if let Err(error) = set() {
            return terminal::fail(error);
        }
    }
    ending.conclude(session.run_file(&source, &name).map(drop))
}

/// A session with the state that its front end shares.
pub struct Started {
    /// Session that runs cells.
    pub session: Session,
    /// Reason for an early end of the program, if any.
    pub ending: Ending,
    /// Standard input, from which cells may take lines too.
    pub input: Input,
}

/// Creates a session that prints to standard output, shows progress, and stops on Ctrl-C and on the signals of
/// [`Ending`].
pub fn session(folder: std::path::PathBuf, invocation: Invocation) -> Started {
    let second = |_: usize| super::end(130);
    let started = make_session(folder, invocation, Arc::new(|_| true), None, second);
    started.ending.on_signals(|| false);
    started
}

/// Creates a session for the REPL. Printed text goes to the screen if `filter` lets it, and only a third Ctrl-C
/// ends the program, since all variables would be lost.
pub fn prompt_session(filter: Filter, images: Option<Protocol>) -> Started {
    let again = |presses: usize| match presses {
        2 => terminal::err(
            "\nthe cell is still stopping; press Ctrl-C once more to end spectral and lose all variables",
        ),
        _ => super::end(130),
    };
    make_session(std::path::PathBuf::new(), Invocation::default(), filter, images, again)
}

fn make_session(
    folder: std::path::PathBuf,
    invocation: Invocation,
    filter: Filter,
    images: Option<Protocol>,
    again: impl Fn(usize) + Send + Sync + 'static,
) -> Started {
    let (interrupt, input) = (Interrupt::default(), Input::default());
    let ending = Ending::new(interrupt.clone());
    stop_on_ctrl_c(interrupt.clone(), again);
    let progress = progress::for_stderr();
    let (printer, output) = (Arc::clone(&progress), ending.clone());
    let print: Print = Arc::new(move |text: &str| {
        if filter(text) {
            printer.print(text, &output);
        }
    });
    let ask = ask::on_terminal(interrupt.clone(), input.clone());
    let note = progress::remarks(&progress, "note");
    let warn = Warn::new(progress::remarks(&progress, "warning"));
    let mut context = Context {
        interrupt,
        progress,
        invocation: Arc::new(invocation),
        ask,
        note,
        warn,
        ..Context::default()
    };
    if std::io::stdout().is_terminal() {
        // Determined when the first picture is shown, since a terminal may have to be queried.
        let protocol = OnceLock::new();
        let protocol = move || *protocol.get_or_init(|| images.unwrap_or_else(Protocol::of_terminal));
        context.show = picture::shower(protocol, Arc::clone(&print));
        let screen = Arc::clone(&print);
        // Moves the cursor home and clears everything below.
        context.clear = Arc::new(move || screen("\x1b[H\x1b[2J\x1b[A"));
    }
    let engine = EngineOptions { context, print, ..EngineOptions::default() };
    Started { session: Session::new(Options { engine, folder }), ending, input }
}

/// Returns whether a printed text goes to the screen.
pub type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Makes the first Ctrl-C stop the cell; `again` decides what the second and third do while it has not stopped.
pub fn stop_on_ctrl_c(interrupt: Interrupt, again: impl Fn(usize) + Send + Sync + 'static) {
    let presses = AtomicUsize::new(0);
    // Fails only if a handler already exists, which then does the same.
    let _ = ctrlc::set_handler(move || {
        if !interrupt.is_raised() {
            presses.store(0, Ordering::SeqCst);
        }
        match presses.fetch_add(1, Ordering::SeqCst) + 1 {
            1 => interrupt.raise(),
            count => again(count),
        }
    });
}
