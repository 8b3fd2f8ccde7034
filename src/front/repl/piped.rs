//! Input that is not a terminal: evaluated cell by cell, with results on standard output.

use std::io::Read;

use crate::error::Error;
use crate::front::terminal;
use crate::script::report::{End, Report};
use crate::session::Session;

/// Evaluates all input, printing results only. Errors do not stop it, but they make the exit code 1.
pub fn piped(mut session: Session) -> u8 {
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
