//! History of a session: its cells, results, the last error, loaded files.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rhai::Dynamic;

use super::commands::Row;
use super::complete::{Defined, Surroundings, Variable};
use super::{Outcome, Session};
use crate::context::Context;
use crate::declare::Value;
use crate::error::{Error, Result, nearest};
use crate::script::failure::Diagnosis;
use crate::script::source::{LATEST, shown_result};

/// Maximum number of kept results, and of bytes of tensors in them; the latest result is always kept.
const RESULTS: (usize, u64) = (100, 512 << 20);

/// Outcome of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Without an error.
    Well,
    /// With this error message, and the position in the text, in bytes, of what failed, if it is known. The statements
    /// before it have run.
    Badly(String, Option<usize>),
}

/// A cell that was run in the REPL or a notebook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Number of the cell, from 1; its result is `_` and this number.
    pub number: usize,
    /// Text of the cell.
    pub text: String,
    /// Outcome of the cell.
    pub ended: Ended,
    /// Whether its result was a value other than `()`.
    pub has_result: bool,
}

#[derive(Default)]
pub(super) struct Record {
    cells: Vec<Cell>,
    /// Number and bytes of each kept result.
    results: VecDeque<(usize, u64)>,
    diagnosis: Option<Diagnosis>,
    files: Vec<String>,
    saved: Vec<PathBuf>,
}

/// Returns the position in the text of a cell, in bytes, of the call or value that failed; `None` if nothing of the cell
/// ran or the place is elsewhere.
fn failing(diagnosis: &Diagnosis, text: &str, name: &str) -> Option<usize> {
    if diagnosis.kind == "syntax" {
        return None;
    }
    // The outermost call comes last.
    let mut places = diagnosis
        .place
        .as_deref()
        .into_iter()
        .chain(diagnosis.frames.iter().filter_map(|f| f.place.as_ref()));
    let place = places.rfind(|place| place.file == name)?;
    let line = text.split('\n').nth(place.line.checked_sub(1)?)?;
    let before: usize = text.split('\n').take(place.line - 1).map(|line| line.len() + 1).sum();
    let column = line.char_indices().nth(place.column.checked_sub(1)?).map_or(line.len(), |(at, _)| at);
    Some(before + column)
}

impl Session {
    /// Runs a numbered cell: it is recorded, and its result becomes `_` and, for cell 3, `_3`.
    pub fn run_numbered(&mut self, text: &str, number: usize) -> Result<Outcome, Diagnosis> {
        let result = self.run_cell(text, &format!("cell {number}"));
        self.note(text, number, result)
    }

    /// Records the outcome of a cell that was run in another way, by `:time` or `:load`.
    pub fn note(
        &mut self,
        text: &str,
        number: usize,
        result: Result<Outcome, Diagnosis>,
    ) -> Result<Outcome, Diagnosis> {
        let (ended, has_result) = match &result {
            Ok(outcome) => (Ended::Well, !outcome.result.is_unit()),
            Err(diagnosis) => {
                let at = failing(diagnosis, text, &format!("cell {number}"));
                (Ended::Badly(diagnosis.message.clone(), at), false)
            }
        };
        self.record.cells.push(Cell { number, text: text.to_string(), ended, has_result });
        match &result {
            Ok(outcome) if has_result => self.keep(number, outcome),
            Ok(_) => {}
            Err(diagnosis) => self.record.diagnosis = Some(diagnosis.clone()),
        }
        result
    }

    /// Records text that ran outside the numbered cells, before the first or by `:reload`, so that it is saved too.
    pub fn note_unnumbered(&mut self, text: &str) {
        let text = text.to_string();
        self.record.cells.push(Cell { number: 0, text, ended: Ended::Well, has_result: false });
    }

    fn keep(&mut self, number: usize, outcome: &Outcome) {
        let bytes = outcome.value.as_ref().map_or(0, Value::bytes);
        self.scope.set_value(LATEST, outcome.result.clone());
        self.scope.set_value(format!("{LATEST}{number}"), outcome.result.clone());
        let results = &mut self.record.results;
        results.push_back((number, bytes));
        let (most, limit) = RESULTS;
        while results.len() > 1 && (results.len() > most || results.iter().map(|r| r.1).sum::<u64>() > limit)
        {
            if let Some((old, _)) = results.pop_front() {
                let _ = self.scope.remove::<Dynamic>(&format!("{LATEST}{old}"));
            }
        }
    }

    /// Returns the cells run so far.
    pub fn cells(&self) -> &[Cell] {
        &self.record.cells
    }

    /// Returns the bytes of tensors in kept results, including tensors that variables hold too.
    pub fn results_bytes(&self) -> u64 {
        self.record.results.iter().map(|r| r.1).sum()
    }

    /// Returns the last error.
    pub fn last_diagnosis(&self) -> Option<&Diagnosis> {
        self.record.diagnosis.as_ref()
    }

    /// Stores the diagnosis of a command that failed.
    pub fn note_diagnosis(&mut self, diagnosis: &Diagnosis) {
        self.record.diagnosis = Some(diagnosis.clone());
    }

    /// Returns the last cell with its error corrected, if the correction is certain.
    pub fn fixed(&self) -> Option<String> {
        let cell = self.record.cells.last()?;
        let diagnosis = self.record.diagnosis.as_ref()?;
        let here = diagnosis.place.as_ref().is_some_and(|p| p.file == format!("cell {}", cell.number));
        let fix = diagnosis.fix.as_ref().filter(|_| here && cell.ended != Ended::Well)?;
        Some(fix.apply(&cell.text))
    }

    /// Returns the variables, as listed by `:vars`.
    pub fn rows(&self) -> Vec<Row> {
        let named = self.scope.iter_raw().filter(|(name, ..)| shown_result(name).is_none());
        named
            .map(|(name, _, value)| {
                let value = self.language.types.lift(value).ok();
                let kind = value.as_ref().map_or("value", Value::type_name);
                Row::of(name, kind, value.as_ref())
            })
            .collect()
    }

    /// Returns the state of the session for completion. Long arrays are not inspected.
    pub fn surroundings(&self) -> Surroundings {
        let variables = self.scope.iter_raw().map(|(name, _, value)| self.variable(name, value)).collect();
        let mut functions: Vec<Defined> = self
            .functions
            .iter_functions()
            .map(|f| Defined {
                space: String::new(),
                name: f.name.to_string(),
                params: f.params.iter().map(ToString::to_string).collect(),
                doc: f.comments.join("\n"),
            })
            .collect();
        for (space, module) in self.global.scan_imports_raw() {
            let public = module.iter_script_fn_info().filter(|(.., f)| !f.access.is_private());
            functions.extend(public.map(|(.., f)| Defined {
                space: space.to_string(),
                name: f.name.to_string(),
                params: f.params.iter().map(ToString::to_string).collect(),
                doc: f.comments.join("\n"),
            }));
        }
        Surroundings { variables, functions, folder: self.options.folder.clone() }
    }

    fn variable(&self, name: &str, value: &Dynamic) -> Variable {
        let shown = shown_result(name).unwrap_or_else(|| name.to_string());
        if let Some(array) = value.read_lock::<rhai::Array>() {
            let about = format!("array of {}", array.len());
            return Variable { name: shown, kind: "array".to_string(), about, keys: Vec::new() };
        }
        if let Some(map) = value.read_lock::<rhai::Map>() {
            let keys: Vec<String> = map.keys().map(ToString::to_string).collect();
            let about = format!("map of {}", keys.len());
            return Variable { name: shown, kind: "map".to_string(), about, keys };
        }
        let value = self.language.types.lift(value).ok();
        let kind = value.as_ref().map_or("value", Value::type_name);
        let about = Row::of(name, kind, value.as_ref()).about();
        Variable { name: shown, kind: kind.to_string(), about, keys: Vec::new() }
    }

    /// Removes the variable with this name; `_` stands for all results.
    pub fn forget(&mut self, name: &str) -> Result<()> {
        if name == "_" {
            for (number, _) in std::mem::take(&mut self.record.results) {
                let _ = self.scope.remove::<Dynamic>(&format!("{LATEST}{number}"));
            }
            let _ = self.scope.remove::<Dynamic>(LATEST);
            return Ok(());
        }
        self.constants = None;
        let known = self.variables();
        if known.iter().any(|n| n == name) && self.scope.remove::<Dynamic>(name).is_some() {
            return Ok(());
        }
        let error = Error::argument(format!("there is no variable `{name}`"));
        Err(match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("`:vars` lists all variables"),
        })
    }

    /// Removes variables, functions, imports and results; the cells remain in the history.
    pub fn reset(&mut self) {
        self.scope = rhai::Scope::new();
        self.functions = rhai::AST::empty();
        self.closures = super::stale::Closures::default();
        self.constants = None;
        self.global = self.language.engine.new_global_runtime_state();
        self.record.results.clear();
        self.record.files.clear();
        self.record.diagnosis = None;
    }

    /// Returns the context with which the session was created.
    pub fn context(&self) -> &Context {
        &self.options.engine.context
    }

    /// Prints a line to the receiver of printed text.
    pub fn say(&self, text: &str) {
        (self.options.engine.print)(text);
    }

    /// Records a file that `:load` ran.
    pub fn loaded(&mut self, file: &str) {
        if !self.record.files.iter().any(|f| f == file) {
            self.record.files.push(file.to_string());
        }
    }

    /// Records a file that `:save` wrote.
    pub fn saved(&mut self, path: &Path) {
        self.record.saved.push(path.to_path_buf());
    }

    /// Returns whether `:save` wrote this file.
    pub fn was_saved(&self, path: &Path) -> bool {
        self.record.saved.iter().any(|p| p == path)
    }

    /// Returns the files that `:load` ran.
    pub fn loaded_files(&self) -> Vec<String> {
        self.record.files.clone()
    }

    /// Reloads imported scripts whose files changed, or all of them, and returns the names of the changed files. If
    /// one fails, all remain as they were.
    pub fn refresh_imports(&mut self, all: bool) -> Result<Vec<String>, Diagnosis> {
        let changed = self.language.imports.changed();
        if changed.is_empty() && !all {
            return Ok(Vec::new());
        }
        let imports = self.global.scan_imports_raw().map(|(n, m)| (n.to_string(), m.clone())).collect();
        let renewed =
            self.language.imports.renew(&self.language.engine, imports).map_err(|e| self.report(&e))?;
        self.global.truncate_imports(0);
        for (name, module) in renewed {
            self.global.push_import(name, module);
        }
        Ok(changed.iter().map(|f| f.display().to_string()).collect())
    }
}
