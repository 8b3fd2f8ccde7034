//! `spectral docs [--json] [NAME | --search WORDS]`: documentation of script functions.

use std::path::Path;

use super::terminal;
use crate::script::{entries, help, reference};
use crate::session::highlight::highlighted;

/// Shows the functions whose documentation has all the words; returns the exit code.
pub fn search(words: &str, json: bool) -> u8 {
    let (width, color) = (terminal::width(), terminal::color(&std::io::stdout()));
    let text = match help::search(words, width) {
        Ok(_) if json => serde_json::to_string_pretty(&help::about(words)).unwrap_or_default(),
        Ok(page) => page.shown(Some(width), color),
        Err(error) => return terminal::fail(error),
    };
    terminal::out(text.trim_end());
    0
}

/// Shows one function, a namespace, the functions about a word, or all functions; returns the exit code.
pub fn docs(name: Option<&str>, json: bool) -> u8 {
    let (width, color) = (terminal::width(), terminal::color(&std::io::stdout()));
    let text = match (name, json) {
        (None, false) => help::list(width).shown(Some(width), color),
        (Some(name), false) => match help::page(name, width) {
            Ok(page) => page.map_code(highlighted).shown(Some(width), color),
            Err(error) => return terminal::fail(error),
        },
        (name, true) => {
            let found = name.map_or_else(entries::all, |name| match help::find(name) {
                found if found.is_empty() => entries::all().into_iter().filter(|e| e.group == name).collect(),
                found => found,
            });
            if let (Some(name), true) = (name, found.is_empty()) {
                return match help::page(name, width) {
                    Ok(_) => search(name, json),
                    Err(error) => terminal::fail(error),
                };
            }
            serde_json::to_string_pretty(&found).unwrap_or_default()
        }
    };
    terminal::out(text.trim_end());
    0
}

/// Writes the reference pages to a folder; returns the exit code.
pub fn write(folder: &Path) -> u8 {
    reference::write(folder).map_or_else(terminal::fail, |()| 0)
}
