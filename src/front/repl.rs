//! The prompt: one cell after another, in a first form.

use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use etcetera::BaseStrategy;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use super::{run, terminal};
use crate::context::Invocation;
use crate::error::Error;
use crate::script::report::{End, Report};
use crate::script::syntax;
use crate::session::Session;

/// Starts the prompt, or evaluates standard input when it is not a terminal; gives the exit code.
pub fn repl() -> u8 {
    let session = run::session(PathBuf::new(), Invocation::default());
    match std::io::stdin().is_terminal() {
        true => prompt(session),
        false => piped(session),
    }
}

/// Evaluates all input, printing results only. Errors do not stop it, but they make the exit code 1.
fn piped(mut session: Session) -> u8 {
    let mut bytes = Vec::new();
    if let Err(error) = std::io::stdin().read_to_end(&mut bytes) {
        return terminal::fail(Error::file("standard input", error));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return terminal::fail(Error::file("standard input", "is not valid UTF-8"));
    };
    let mut code = 0;
    for (line, cell) in cells(&session, &text) {
        match evaluate(&mut session, &cell, "standard input", line) {
            Ok(()) => {}
            Err(report) if matches!(report.end, End::Exit(_) | End::Interrupted) => {
                return report.exit_code();
            }
            Err(_) => code = 1,
        }
    }
    code
}

/// Splits input into cells: a cell ends where its text is complete and the next line does not continue it.
fn cells(session: &Session, text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut cells, mut cell, mut first) = (Vec::new(), String::new(), 1);
    for (i, line) in lines.iter().enumerate() {
        if cell.is_empty() {
            first = i + 1;
        }
        cell += line;
        cell += "\n";
        let next = lines[i + 1..].iter().map(|l| l.trim()).find(|l| !l.is_empty() && !l.starts_with("//"));
        let continued = next.is_some_and(continues);
        if !continued && session.is_complete(&cell) {
            cells.push((first, std::mem::take(&mut cell)));
        }
    }
    if !cell.trim().is_empty() {
        cells.push((first, cell));
    }
    cells
}

/// Whether a line can only be the rest of the statement before it.
fn continues(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    matches!(word, "else" | "catch" | "until")
        || line.starts_with(['.', '+', '*', '%', '^', '?', ')', ']', '}', '=', '>', '<'])
        || ["&&", "||", "??", "!=", "/ "].iter().any(|op| line.starts_with(op))
}

/// Runs a cell and shows its result, unless it ends in a semicolon.
fn evaluate(session: &mut Session, cell: &str, name: &str, line: usize) -> Result<(), Report> {
    let outcome = session.run_cell_at(cell, name, line).inspect_err(terminal::report)?;
    if !cell.trim_end().ends_with(';')
        && let Some(display) = outcome.display(terminal::width())
    {
        terminal::out(&display.text);
    }
    Ok(())
}

fn prompt(mut session: Session) -> u8 {
    let config = Config::builder().max_history_size(10_000).map(|b| b.auto_add_history(true).build());
    let editor = config.and_then(Editor::<Lines, FileHistory>::with_config);
    let mut editor = match editor {
        Ok(editor) => editor,
        Err(error) => return terminal::fail(Error::internal(format!("the prompt cannot start: {error}"))),
    };
    let engine = session.engine();
    editor.set_helper(Some(Lines { engine }));
    let history = history_file();
    if let Some(file) = &history {
        // The first time there is none.
        let _ = editor.load_history(file);
    }
    println!("spectral {}: help() explains, Ctrl-D ends", env!("CARGO_PKG_VERSION"));
    let mut count = 0;
    let code = loop {
        match editor.readline("> ") {
            Ok(line) if line.trim().is_empty() => {}
            Ok(line) if matches!(line.trim(), "exit" | "quit" | "exit;") => break 0,
            Ok(line) => {
                count += 1;
                if let Err(report) = evaluate(&mut session, &line, &format!("cell {count}"), 1)
                    && let End::Exit(code) = report.end
                {
                    break code;
                }
            }
            // Ctrl-C drops the line that was being typed.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break 0,
            Err(error) => break terminal::fail(Error::internal(format!("the prompt failed: {error}"))),
        }
    };
    if let Some(file) = &history
        && let Err(error) = editor.save_history(file)
    {
        let _ = writeln!(std::io::stderr(), "the history could not be saved in {}: {error}", file.display());
    }
    code
}

/// Where the history of the prompt is kept, in the user's own folder.
fn history_file() -> Option<PathBuf> {
    let folder = etcetera::choose_base_strategy().ok()?.data_dir().join("spectral");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history.txt"))
}

/// Keeps reading lines while a bracket, string or comment is open.
struct Lines {
    engine: std::sync::Arc<rhai::Engine>,
}

impl Completer for Lines {
    type Candidate = String;
}

impl Hinter for Lines {
    type Hint = String;
}

impl Highlighter for Lines {}

impl Helper for Lines {}

impl Validator for Lines {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match syntax::is_complete(&self.engine, context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}
