//! Evaluation of input that is not a terminal, cell by cell, with results on standard output.
//!
//! Lines are read when they are needed, so that `input(..)` in a cell takes the line after it.

use std::path::Path;
use std::process::{Command as Process, Stdio};

use super::open::Open;
use crate::declare::Value;
use crate::error::Error;
use crate::front::run::Started;
use crate::front::{export, terminal};
use crate::script::failure::{Diagnosis, End};
use crate::script::help;
use crate::script::resolver::read_script;
use crate::session::commands::{self, Effect, View};
use crate::session::complete::Question;
use crate::session::{Outcome, complete, tokens};

/// Name of the input in messages.
const NAME: &str = "standard input";

/// Evaluates all input and prints results only. Continues after errors, but returns the exit code 1 then.
pub fn piped(started: Started) -> u8 {
    let mut piped = Piped { started, number: 0, value: None, example: None };
    let mut code = 0;
    loop {
        let (line, text) = match piped.next() {
            Ok(Some(next)) => next,
            Ok(None) => return piped.started.ending.conclude(Ok(())).max(code),
            Err(error) => return piped.started.ending.conclude(Err(Diagnosis::from(error))),
        };
        match piped.answer(line, &text) {
            Ok(Next::Cell) => {}
            Ok(Next::Quit) => return piped.started.ending.conclude(Ok(())).max(code),
            Err(diagnosis) if matches!(diagnosis.end, End::Exit(_) | End::Interrupted) => {
                return piped.started.ending.conclude(Err(diagnosis));
            }
            Err(diagnosis) => {
                terminal::report(&diagnosis);
                code = 1;
            }
        }
    }
}

/// What to do after a cell or command.
enum Next {
    /// Continue with another cell.
    Cell,
    /// End the program.
    Quit,
}

struct Piped {
    started: Started,
    number: usize,
    /// Last result, for `:last FILE`.
    value: Option<Value>,
    example: Option<String>,
}

impl Piped {
    /// Returns the next cell or command and the line it starts on. A cell ends where its text is complete and the
    /// next line does not continue it.
    fn next(&mut self) -> Result<Option<(usize, String)>, Error> {
        let interrupt = self.started.session.context().interrupt.clone();
        let input = self.started.input.clone();
        let (mut cell, mut first, mut open) = (String::new(), 0, Open::default());
        while let Some(line) = input.next(&interrupt)? {
            if cell.is_empty() {
                if line.trim().is_empty() {
                    continue;
                }
                first = input.taken();
                if is_command(&line) {
                    return Ok(Some((first, line)));
                }
            }
            cell += &line;
            cell.push('\n');
            open.line(&line);
            if open.goes_on() {
                continue;
            }
            let ended = cell.trim_end().ends_with(';');
            if (ended || !self.continued()?) && self.started.session.is_complete(&cell) {
                return Ok(Some((first, cell)));
            }
        }
        Ok((!cell.trim().is_empty()).then_some((first, cell)))
    }

    /// Returns whether the next line with code continues the previous statement. The lines are read ahead and given
    /// back.
    fn continued(&self) -> Result<bool, Error> {
        let interrupt = &self.started.session.context().interrupt;
        let mut seen = Vec::new();
        let mut found = false;
        while let Some(line) = self.started.input.next(interrupt)? {
            let code = line.trim();
            let blank = code.is_empty() || code.starts_with("//");
            found = !blank && continues(code);
            seen.push(line);
            if !blank {
                break;
            }
        }
        self.started.input.give_back(seen);
        Ok(found)
    }

    fn say(&self, text: &str) {
        self.started.session.say(text.trim_end());
    }

    /// Executes a cell or a command.
    fn answer(&mut self, line: usize, text: &str) -> Result<Next, Diagnosis> {
        let word = text.trim();
        if matches!(word, "exit" | "quit") {
            return Ok(Next::Quit);
        }
        let shown = match complete::question(word) {
            Some(Question::Source(name)) => Some(help::source(name)?),
            Some(Question::Page("")) => return self.command(":help", line),
            Some(Question::Page(name)) => Some(self.page(name)?),
            None => None,
        };
        if let Some(text) = shown {
            self.say(&text);
            return Ok(Next::Cell);
        }
        match word.starts_with(':') {
            true => self.command(word, line),
            false => self.cell(text, line).map(|()| Next::Cell),
        }
    }

    /// Returns the help page of a name; for a variable, the page of its type.
    fn page(&mut self, name: &str) -> Result<String, Error> {
        let topic = complete::of_name(name, &self.started.session.surroundings());
        if let Some(lead) = &topic.lead {
            self.say(lead);
        }
        if topic.name.is_empty() {
            return Ok(String::new());
        }
        self.example = help::example(&topic.name);
        let width = terminal::width();
        Ok(help::answer(&topic.name, width)?.to_text(Some(width)))
    }

    /// Runs a cell and shows its result, unless it ends with a semicolon.
    fn cell(&mut self, text: &str, line: usize) -> Result<(), Diagnosis> {
        self.number += 1;
        let result = self.started.session.run_cell_at(text, NAME, line);
        let outcome = self.started.session.note(text, self.number, result)?;
        if !tokens::ends_with_semicolon(text) {
            self.result(&outcome);
        }
        Ok(())
    }

    fn result(&mut self, outcome: &Outcome) {
        if let Some(display) = outcome.display(terminal::width()) {
            self.value = outcome.value().cloned();
            self.started.session.say(&display.text);
        }
    }

    fn command(&mut self, text: &str, line: usize) -> Result<Next, Diagnosis> {
        let (command, rest) = commands::parse(text)?;
        let view = View { width: terminal::width(), color: false, prompt: true };
        if matches!(command.name, "help" | "doc") {
            self.example = help::example(rest);
        }
        let cell = match command.name {
            "time" | "bench" | "profile" => Some(rest.to_string()),
            "load" => read_script(Path::new(rest.trim_matches('"'))).ok().map(|t| format!("// {rest}\n{t}")),
            _ => None,
        };
        self.number += usize::from(cell.is_some());
        let session = &mut self.started.session;
        let effect = match (commands::run(session, command, rest, NAME, view), cell) {
            (Ok(Effect::Result(outcome)), Some(cell)) => {
                let outcome = session.note(&cell, self.number, Ok(outcome))?;
                if matches!(command.name, "time" | "profile") && !tokens::ends_with_semicolon(rest) {
                    self.result(&outcome);
                }
                return Ok(Next::Cell);
            }
            (Err(diagnosis), Some(cell)) => {
                return session.note(&cell, self.number, Err(diagnosis)).map(|_| Next::Cell);
            }
            (effect, _) => effect.inspect_err(|diagnosis| session.note_diagnosis(diagnosis))?,
        };
        match effect {
            Effect::Show(text) | Effect::Page(text) | Effect::Retype(text) => self.say(&text),
            Effect::Result(outcome) => self.result(&outcome),
            Effect::Run(text) => self.cell(&text, line)?,
            Effect::Quit => return Ok(Next::Quit),
            Effect::Edit(_) => {
                let error = Error::argument("`:edit` needs a terminal");
                return Err(error.hint("`:history` shows earlier cells").into());
            }
            Effect::Last(file) if file.is_empty() => {
                let error = Error::argument("`:last` alone needs a terminal, whose screen it pages");
                return Err(error.hint("`:last FILE` exports the last result").into());
            }
            Effect::Last(file) => {
                let file = file.trim_matches('"');
                let none = || Error::argument("there is no result yet").hint("run a cell that has a value");
                export::export(self.value.as_ref().ok_or_else(none)?, Path::new(file))?;
                self.say(&format!("written to {file}"));
            }
            Effect::Trace => match self.started.session.last_diagnosis() {
                Some(diagnosis) => self.say(&diagnosis.render_full(false)),
                None => self.say("there was no error"),
            },
            Effect::Example => match self.example.clone() {
                Some(code) => {
                    self.say(&code);
                    self.cell(&code, line)?;
                }
                None => {
                    let error = Error::argument("no example was shown yet").hint("`?name` shows one");
                    return Err(error.into());
                }
            },
            Effect::Shell(command) => {
                let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_string());
                // The rest of the input belongs to the session.
                let status = Process::new(shell).arg("-c").arg(&command).stdin(Stdio::null()).status();
                let status = status.map_err(|error| Error::file("the shell", error))?;
                if !status.success() {
                    self.say(&status.to_string());
                }
            }
        }
        Ok(Next::Cell)
    }
}

/// Returns whether a line at the start of a cell is a command or asks for help.
fn is_command(line: &str) -> bool {
    let line = line.trim();
    line.starts_with([':', '?']) || matches!(line, "exit" | "quit") || complete::question(line).is_some()
}

/// Returns whether a line can only continue the previous statement.
fn continues(line: &str) -> bool {
    let word = line.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    matches!(word, "else" | "catch" | "until")
        || line.starts_with(['.', '+', '*', '%', '^', ')', ']', '}', '=', '>', '<'])
        || ["&&", "||", "?.", "?[", "!=", "/ ", "- ", "| ", "& "].iter().any(|op| line.starts_with(op))
        || line.starts_with("??") && line[2..].starts_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_starts_with_an_operator_continues_and_one_that_asks_does_not() {
        for line in [".sum()", "+ 1", "else { 2 }", "?? 3", "?.a", "] + x"] {
            assert!(continues(line), "{line}");
        }
        for line in ["let x = 1;", "?filter::gaussian", "??sweep::run", ":vars", "-x", "!ok"] {
            assert!(!continues(line), "{line}");
        }
    }
}
