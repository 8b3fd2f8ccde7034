//! Python habits: what a line means that rhai's grammar or our functions refuse, and the line to write instead.
//!
//! - `line`: a line split into words and symbols
//! - `grammar`: syntax that rhai cannot parse, such as slices, keyword arguments, comprehensions
//! - `calls`: calls that parse, of missing functions or with other arguments
//! - `modules`: calls that begin with a module, such as `torch.randn(2, 3)`
//! - `arguments`: named and positional arguments in our order
//! - `division`: `n // 2`, which is a comment here
//! - `entries`: entries that a map does not have
//! - `torch`: PyTorch's order and names of arguments, and what NumPy computes in another way

mod arguments;
mod calls;
pub mod division;
pub mod entries;
mod grammar;
mod line;
mod modules;
mod torch;

use super::names::Names;
use crate::error::Error;

use line::Line;

/// Location of an error in a text.
pub struct Spot<'a> {
    /// The whole text of the cell or file.
    pub text: &'a str,
    /// Line in the text, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
}

/// Names that are known around the error.
pub struct Around<'a> {
    /// The functions.
    pub names: &'a Names,
    /// The variables, with their type where it is known.
    pub variables: &'a dyn Fn(&str) -> Option<Option<String>>,
}

/// Returns the error explained for Python users, and the line that it is about if that is an earlier one; unchanged
/// if the line is no such habit. `syntax` says whether the text could not be parsed.
pub fn explained(error: Error, syntax: bool, spot: &Spot, around: &Around) -> (Error, Option<usize>) {
    let lines: Vec<&str> = spot.text.lines().collect();
    let Some(at) = spot.line.checked_sub(1).filter(|at| *at < lines.len()) else { return (error, None) };
    if lines[at].len() > LONGEST {
        return (error, None);
    }
    let here = Line::new(lines[at]);
    // A statement without its end is reported at the next line that has code, or at the end of the text.
    let first = lines[at].chars().take(spot.column.saturating_sub(1)).all(char::is_whitespace);
    let code = |l: &&str| !l.trim().is_empty() && !l.trim().starts_with("//");
    let before = || lines[..at].iter().rposition(code);
    let ended = if first { before() } else { Some(at) };
    let ended = ended.filter(|i| syntax && division::in_line(lines[*i]));
    if let Some(i) = ended {
        return (error.hint(division::HINT), (i != at).then_some(i + 1));
    }
    let (found, line) = match syntax {
        true => match grammar::instead(&here, around.names) {
            Some(found) => (Some(found), None),
            None if first => {
                let before = before();
                let short = before.filter(|i| lines[*i].len() <= LONGEST);
                let found = short.and_then(|i| grammar::instead(&Line::new(lines[i]), around.names));
                (found, before.map(|i| i + 1))
            }
            None => (None, None),
        },
        false => (calls::instead(&error, &here, spot.column, around), None),
    };
    match found {
        Some((Some(message), hint)) => (error.message_as(message).hint(hint), line),
        Some((None, hint)) => (error.hint(hint), line),
        None => (error, None),
    }
}

/// Length in bytes of the longest line that is explained: the time grows with the square of its brackets, and nobody
/// writes a longer one by hand.
const LONGEST: usize = 4000;

/// A message, if another than the present one is better, and its hint.
type Instead = Option<(Option<String>, String)>;

/// Makes a message whose hint is the line to write.
fn write(message: impl Into<String>, line: impl std::fmt::Display) -> Instead {
    let line = line.to_string();
    // A text that has backquotes needs no others.
    let line = if line.contains('`') { line } else { format!("`{line}`") };
    Some((Some(message.into()), format!("write {line}")))
}

#[cfg(test)]
mod tests;
