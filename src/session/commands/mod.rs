//! Commands, which are lines that start with a colon: measuring, inspecting, loading and saving.
//!
//! Completion and `:help` show the table here. [`run`] does what only needs a session, and returns an [`Effect`]
//! that tells the front end what to do.

mod measure;
mod run;
mod save;
mod variables;

use super::Outcome;
use crate::error::{Error, Result, nearest};

pub use run::{View, run};
pub use variables::{Row, table};

/// Type of a command's argument, for completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// No argument, or words of the command's own.
    Words,
    /// A cell.
    Code,
    /// A name that help explains.
    Topic,
    /// A script.
    Script,
    /// Any file.
    File,
    /// Variables.
    Names,
}

/// A command of the REPL.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Name without the colon.
    pub name: &'static str,
    /// Argument as `:help` shows it.
    pub argument: &'static str,
    /// Type of the argument.
    pub takes: Takes,
    /// Description in one sentence.
    pub summary: &'static str,
}

impl Command {
    /// Returns whether the command works at a prompt alone, not in a notebook.
    pub fn at_prompt(&self) -> bool {
        matches!(self.name, "edit" | "last" | "quit" | "shell")
    }
}

const fn command(name: &'static str, argument: &'static str, takes: Takes, summary: &'static str) -> Command {
    Command { name, argument, takes, summary }
}

/// All commands. An abbreviation of several commands stands for the first of them.
pub const COMMANDS: &[Command] = &[
    command("help", "[NAME]", Takes::Topic, "Explains the prompt, or what a name stands for."),
    command("doc", "NAME", Takes::Topic, "Explains a function, type or namespace, as `?NAME` does."),
    command("search", "WORDS", Takes::Words, "Finds the functions whose documentation has all the words."),
    command("example", "", Takes::Words, "Runs the example that was shown last."),
    command("time", "CELL", Takes::Code, "Runs a cell and says how long it took."),
    command("bench", "CELL", Takes::Code, "Runs a cell many times: median, spread and range of its time."),
    command("profile", "CELL", Takes::Code, "Runs a cell and shows which native calls took its time."),
    command(
        "vars",
        "[WORD]",
        Takes::Words,
        "Lists the variables with shape, dtype, device and bytes, largest first.",
    ),
    command("mem", "", Takes::Words, "Shows the memory of variables, program and devices."),
    command("device", "", Takes::Words, "Shows the devices that computations can run on."),
    command("load", "FILE", Takes::Script, "Runs a script here; its variables and functions stay."),
    command("reload", "", Takes::Words, "Runs the loaded scripts again and reads changed imports anew."),
    command("save", "FILE", Takes::File, "Writes the session's cells as a script that runs."),
    command(
        "history",
        "[WORD]",
        Takes::Words,
        "Lists the cells of this session, those with a word if one is given.",
    ),
    command(
        "last",
        "[FILE]",
        Takes::File,
        "Pages the last output in full, or exports the last result to a file.",
    ),
    command(
        "fix",
        "",
        Takes::Words,
        "Retypes the last cell with the error corrected, if there is exactly one correction.",
    ),
    command("trace", "", Takes::Words, "Shows the last error in full, with all calls."),
    command("edit", "[CELL]", Takes::Words, "Opens the last cell, or the one of a number, in $EDITOR."),
    command("shell", "COMMAND", Takes::Words, "Runs a command of the shell."),
    command(
        "forget",
        "NAME ..",
        Takes::Names,
        "Frees variables and what they hold; `_` stands for all kept results.",
    ),
    command("reset", "", Takes::Words, "Forgets all variables, functions and results."),
    command("quit", "", Takes::Words, "Ends the prompt, as Ctrl-D does."),
];

/// What the front end does after a command.
pub enum Effect {
    /// Shows a text.
    Show(String),
    /// Shows a text through a pager when it is long.
    Page(String),
    /// Shows the result of a cell.
    Result(Outcome),
    /// Runs a text as the next cell.
    Run(String),
    /// Puts a text into the line for editing.
    Retype(String),
    /// Opens a text in the user's editor.
    Edit(String),
    /// Pages the last output; exports the last result if a file is given.
    Last(String),
    /// Shows the last report in full.
    Trace,
    /// Runs the example that was shown last.
    Example,
    /// Runs a shell command.
    Shell(String),
    /// Ends the REPL.
    Quit,
}

/// Returns the command with this name, or whose name starts with it.
pub fn find(name: &str) -> Result<&'static Command> {
    if let Some(exact) = COMMANDS.iter().find(|c| c.name == name) {
        return Ok(exact);
    }
    // Commands that forget state must not be run by a typing error.
    let enough = |c: &Command| !matches!(c.name, "reset" | "forget") || name.len() > 2;
    let starts = |c: &&Command| c.name.starts_with(name) && !name.is_empty() && enough(c);
    COMMANDS.iter().find(starts).ok_or_else(|| {
        let error = Error::argument(format!("there is no command `:{name}`"));
        match nearest(name, COMMANDS.iter().map(|c| c.name)) {
            Some(near) => error.hint(format!("did you mean `:{near}`?")),
            None => error.hint("`:help` lists all commands"),
        }
    })
}

/// Splits a line that starts with a colon into the command and the rest of the line.
pub fn parse(line: &str) -> Result<(&'static Command, &str)> {
    let line = line.trim().trim_start_matches(':');
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let command = find(name)?;
    if command.takes != Takes::Code
        && let Some((_, more)) = line.split_once('\n')
    {
        let more = more.trim().lines().next().unwrap_or_default();
        return Err(Error::argument(format!("`:{}` ends with its line, but `{more}` follows", command.name))
            .hint("put what follows into a cell of its own"));
    }
    Ok((command, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_lead_to_commands() {
        for (short, name) in [("t", "time"), ("b", "bench"), ("q", "quit"), ("h", "help"), ("his", "history")]
        {
            assert_eq!(find(short).unwrap().name, name);
        }
        assert_eq!(find("re").unwrap().name, "reload");
        assert_eq!(find("res").unwrap().name, "reset");
        assert_eq!((find("f").unwrap().name, find("for").unwrap().name), ("fix", "forget"));
        let error = find("tmie").unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `:time`?"));
        assert_eq!(parse(":time  a + b ").unwrap().1, "a + b");
        assert_eq!(parse(":time a\nb").unwrap().1, "a\nb");
        let error = parse(":vars\nlet b = 1;").unwrap_err();
        assert!(error.message().contains("`let b = 1;` follows"), "{}", error.message());
    }
}
