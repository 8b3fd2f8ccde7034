//! Texts that scripts were compiled from, for showing where an error happened.
//!
//! The cells of a session share one line count: each is compiled below as many empty lines as the earlier cells
//! have. A position alone therefore identifies its cell, even for a function of an earlier cell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use rhai::{AST, Dynamic, Engine, FnAccess, ImmutableString, Position};

use super::call_text;
use super::rewrite::{Insertion, prepare};

/// Source name of a session's cells; files use their path.
pub const SESSION: &str = "";

/// rhai counts lines in 16 bits; close to the limit the count restarts.
const LAST_LINE: usize = 60_000;

/// Function called with the variable of a `catch`, so that it holds an `error` whatever was caught.
pub const CAUGHT: &str = "__caught";

/// Internal name of `_`, the latest result at a prompt; the result of cell 3, `_3`, is `_r3`. rhai requires a
/// letter in every name.
pub const LATEST: &str = "_r";

/// Returns whether a text is the name of a result as users write it: `_3`.
pub fn is_result(name: &str) -> bool {
    name.strip_prefix('_').is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

/// Returns the name of a result as users write it, from its internal name.
pub fn shown_result(name: &str) -> Option<String> {
    let shown = format!("_{}", name.strip_prefix(LATEST)?);
    (shown == "_" || is_result(&shown)).then_some(shown)
}

/// Constants of a script by name, as rhai shares them with its functions.
pub type Constants = RwLock<BTreeMap<ImmutableString, Dynamic>>;

/// A location in a script, ready to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// File or cell.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// The line itself.
    pub text: String,
    /// Number of characters of the token there, at least 1.
    pub length: usize,
}

impl Place {
    /// Returns the first token on another line of the text in which this location is on `line`.
    pub fn on_line(self, text: &str, line: usize, other: usize) -> Self {
        let code = text.lines().nth(other.saturating_sub(1)).unwrap_or_default().to_string();
        let column = code.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let length = token_length(&code, column);
        Self { line: (self.line + other).saturating_sub(line), column, length, text: code, ..self }
    }
}

/// A function that a script defines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// Its name.
    pub name: String,
    /// Its parameters.
    pub params: Vec<String>,
    /// Whether only its own script can call it.
    pub private: bool,
}

#[derive(Debug, Clone)]
struct Source {
    name: String,
    text: String,
    first_line: usize,
    shown_from: usize,
    insertions: Vec<Insertion>,
    functions: Vec<Defined>,
    /// Every function of the text, closures included.
    written: Vec<Written>,
    /// Whether it is a file, which holds all there is to know about its functions.
    whole: bool,
    /// Its constants, which live as long as its functions.
    constants: Weak<Constants>,
}

/// A function as rhai parsed it. The name of a closure identifies its code.
#[derive(Debug, Clone)]
struct Written {
    name: String,
    /// Captured variables come first.
    params: Vec<String>,
    body: Position,
}

/// Where a function was written.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file or cell.
    pub file: String,
    /// Its whole text.
    pub text: String,
    /// Whether it is a file.
    pub whole: bool,
    /// The function's parameters, captured variables first.
    pub params: Vec<String>,
    /// Line and column of its body in the text, from 1.
    pub body: (usize, usize),
    /// Offset from a line to the displayed line.
    pub before: usize,
    constants: Weak<Constants>,
}

impl Origin {
    /// Returns the value of a constant of the text, if it is known.
    pub fn constant(&self, name: &str) -> Option<Dynamic> {
        constant(&self.constants, name)
    }
}

fn constant(all: &Weak<Constants>, name: &str) -> Option<Dynamic> {
    let all = all.upgrade()?;
    let all = all.read().unwrap_or_else(PoisonError::into_inner);
    all.get(name).cloned()
}

#[derive(Debug, Default)]
struct Inner {
    cells: Vec<Source>,
    next_line: usize,
    files: BTreeMap<String, Source>,
    folder: Option<PathBuf>,
    /// Folders of files whose names do not tell them, since they are not UTF-8.
    folders: BTreeMap<String, PathBuf>,
}

/// All texts of a session; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Sources(Arc<Mutex<Inner>>);

impl Sources {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the folder from which imports of the session's cells start.
    pub fn set_folder(&self, folder: impl Into<PathBuf>) {
        self.inner().folder = Some(folder.into());
    }

    /// Returns the folder from which imports in the given source start.
    pub fn folder(&self, source: &str) -> PathBuf {
        match source {
            SESSION => self.inner().folder.clone().unwrap_or_default(),
            file => match self.inner().folders.get(file) {
                Some(folder) => folder.clone(),
                None => Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default(),
            },
        }
    }

    /// Returns the name of a file, and keeps its folder if the name does not tell it.
    pub fn name_of(&self, file: &Path) -> String {
        let name = file.display().to_string();
        if let (None, Some(folder)) = (file.to_str(), file.parent()) {
            self.inner().folders.insert(name.clone(), folder.to_path_buf());
        }
        name
    }

    /// Keeps a cell and compiles it; messages count its lines from `shown_from`.
    pub fn compile_cell(
        &self,
        engine: &Engine,
        name: &str,
        text: &str,
        shown_from: usize,
    ) -> Result<AST, rhai::ParseError> {
        let (prepared, insertions) = prepare(engine, text);
        let first_line = {
            let inner = &mut *self.inner();
            let lines = text.lines().count() + 1;
            if inner.next_line + lines > LAST_LINE {
                inner.next_line = 0;
            }
            let first_line = inner.next_line;
            inner.next_line += lines;
            inner.cells.retain(|c| c.first_line < first_line);
            inner.cells.push(Source {
                name: name.to_string(),
                text: text.to_string(),
                first_line,
                shown_from,
                insertions,
                functions: Vec::new(),
                written: Vec::new(),
                whole: false,
                constants: Weak::new(),
            });
            first_line
        };
        let mut ast = engine.compile(format!("{}{prepared}", "\n".repeat(first_line)))?;
        ast.set_source(SESSION);
        if let Some(cell) = self.inner().cells.last_mut() {
            cell.functions = defined(&ast);
            cell.written = written(&ast);
        }
        Ok(ast)
    }

    /// Keeps a file and compiles it.
    pub fn compile_file(&self, engine: &Engine, name: &str, text: &str) -> Result<AST, rhai::ParseError> {
        let (prepared, insertions) = prepare(engine, text);
        let source = Source {
            name: name.to_string(),
            text: text.to_string(),
            first_line: 0,
            shown_from: 1,
            insertions,
            functions: Vec::new(),
            written: Vec::new(),
            whole: true,
            constants: Weak::new(),
        };
        self.inner().files.insert(name.to_string(), source);
        let mut ast = engine.compile(&prepared)?;
        ast.set_source(name);
        if let Some(file) = self.inner().files.get_mut(name) {
            file.functions = defined(&ast);
            file.written = written(&ast);
        }
        Ok(ast)
    }

    /// Keeps a file of std-lib and compiles it. Its functions are called only through their namespace, so
    /// [`Sources::functions`] does not return them.
    pub fn compile_library(&self, engine: &Engine, name: &str, text: &str) -> Result<AST, rhai::ParseError> {
        let ast = self.compile_file(engine, name, text)?;
        if let Some(file) = self.inner().files.get_mut(name) {
            file.functions.clear();
        }
        Ok(ast)
    }

    /// Returns the location of a position that rhai reports; `None` if it reports none.
    pub fn locate(&self, source: &str, position: Position) -> Option<Place> {
        let line = position.line()?;
        let inner = self.inner();
        let source = match source {
            SESSION => inner.cells.iter().rev().find(|c| c.first_line < line)?,
            file => inner.files.get(file)?,
        };
        let line = line - source.first_line;
        let column = source.original(line, position.position().unwrap_or(1));
        let (line, column) = at_text(&source.text, line, column);
        let text = source.text.lines().nth(line - 1).unwrap_or_default().to_string();
        let length = token_length(&text, column);
        Some(Place { file: source.name.clone(), line: line + source.shown_from - 1, column, text, length })
    }

    /// Returns the location of a part of the call at `place`; `None` if it is not written there.
    pub fn part(&self, source: &str, place: &Place, part: call_text::Part) -> Option<Place> {
        let inner = self.inner();
        let source = match source {
            SESSION => inner.cells.iter().rev().find(|c| c.name == place.file)?,
            file => inner.files.get(file)?,
        };
        let before = source.shown_from - 1;
        let (line, column) = call_text::find(&source.text, place.line - before, place.column, part)?;
        let text = source.text.lines().nth(line - 1)?.to_string();
        let length = token_length(&text, column);
        Some(Place { line: line + before, column, text, length, ..place.clone() })
    }

    /// Returns the text of the cell that contains a location, and the number of lines counted before its first one.
    pub fn cell(&self, place: &Place) -> Option<(String, usize)> {
        let inner = self.inner();
        let cell = inner.cells.iter().rev().find(|c| c.name == place.file)?;
        Some((cell.text.clone(), cell.shown_from - 1))
    }

    /// Returns the text of the source that contains a location, and the line in it.
    pub fn text_at(&self, source: &str, place: &Place) -> Option<(String, usize)> {
        let inner = self.inner();
        let source = match source {
            SESSION => inner.cells.iter().rev().find(|c| c.name == place.file)?,
            file => inner.files.get(file)?,
        };
        Some((source.text.clone(), (place.line + 1).checked_sub(source.shown_from)?))
    }

    /// Returns the text of an imported file.
    pub fn text_of(&self, file: &str) -> Option<String> {
        self.inner().files.get(file).map(|source| source.text.clone())
    }

    /// Sets the constants of an imported file.
    pub fn set_constants(&self, file: &str, constants: &Arc<Constants>) {
        if let Some(file) = self.inner().files.get_mut(file) {
            file.constants = Arc::downgrade(constants);
        }
    }

    /// Sets the constants of the latest cell.
    pub fn set_constants_of_cell(&self, constants: &Arc<Constants>) {
        if let Some(cell) = self.inner().cells.last_mut() {
            cell.constants = Arc::downgrade(constants);
        }
    }

    /// Returns the value of a constant of an imported file, if it is known.
    pub fn constant_of(&self, file: &str, name: &str) -> Option<Dynamic> {
        self.inner().files.get(file).and_then(|file| constant(&file.constants, name))
    }

    /// Returns the functions that scripts define.
    pub fn functions(&self) -> Vec<Defined> {
        let inner = self.inner();
        inner.cells.iter().chain(inner.files.values()).flat_map(|s| s.functions.clone()).collect()
    }

    /// Returns the source in which a closure was written. rhai names the caller's source, which is another one if a
    /// std-lib function calls a user's closure.
    pub fn home(&self, closure: &str) -> Option<String> {
        let inner = self.inner();
        let has = |source: &Source| source.written.iter().any(|w| w.name == closure);
        match inner.cells.iter().any(has) {
            true => Some(SESSION.to_string()),
            false => inner.files.iter().find(|(_, source)| has(source)).map(|(name, _)| name.clone()),
        }
    }

    /// Returns the number of values that a closure takes, captured ones included.
    pub fn arity(&self, closure: &str) -> Option<usize> {
        let inner = self.inner();
        let mut all = inner.cells.iter().rev().chain(inner.files.values()).flat_map(|s| &s.written);
        all.find(|w| w.name == closure).map(|w| w.params.len())
    }

    /// Returns where the function of this name was written, the latest cell first; a closure has the name that rhai
    /// gives it.
    pub fn origins(&self, name: &str) -> Vec<Origin> {
        let inner = self.inner();
        let found = inner.cells.iter().rev().chain(inner.files.values()).filter_map(|source| {
            let written = source.written.iter().find(|w| w.name == name)?;
            let line = written.body.line()? - source.first_line;
            let column = source.original(line, written.body.position().unwrap_or(1));
            Some(Origin {
                file: source.name.clone(),
                text: source.text.clone(),
                whole: source.whole,
                params: written.params.clone(),
                body: (line, column),
                before: source.shown_from - 1,
                constants: source.constants.clone(),
            })
        });
        found.collect()
    }

    /// Marks a cell's text as a file, so that its functions may be stored.
    pub fn is_file(&self) {
        if let Some(cell) = self.inner().cells.last_mut() {
            cell.whole = true;
        }
    }

    /// Returns the names that the source declares anywhere with `let`, `const` or `for`.
    pub fn variables(&self, source: &str) -> Vec<String> {
        let inner = self.inner();
        let texts: Vec<&str> = match source {
            SESSION => inner.cells.iter().map(|c| c.text.as_str()).collect(),
            file => inner.files.get(file).map(|f| f.text.as_str()).into_iter().collect(),
        };
        texts.into_iter().flat_map(declared_names).collect()
    }
}

impl Source {
    /// Returns the column in the text as it was written.
    fn original(&self, line: usize, column: usize) -> usize {
        let column = column.max(1);
        let before = self.insertions.iter().filter(|i| i.line == line && i.column < column);
        let added = before.map(|i| i.length.min(column - i.column)).sum();
        // What is inserted at the start of a line belongs to its first character.
        column.saturating_sub(added).max(1)
    }
}

fn written(ast: &AST) -> Vec<Written> {
    ast.iter_fn_def()
        .map(|f| Written {
            name: f.name.to_string(),
            params: f.params.iter().map(ToString::to_string).collect(),
            body: f.body.position(),
        })
        .collect()
}

fn defined(ast: &AST) -> Vec<Defined> {
    ast.iter_functions()
        .filter(|f| !f.name.starts_with("anon$"))
        .map(|f| Defined {
            private: f.access == FnAccess::Private,
            name: f.name.to_string(),
            params: f.params.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

/// Returns the names after `let`, `const` and `for`. This is enough for suggestions, so no parser is needed.
fn declared_names(text: &str) -> Vec<String> {
    let words: Vec<&str> =
        text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
    words.windows(2).filter(|w| matches!(w[0], "let" | "const" | "for")).map(|w| w[1].to_string()).collect()
}

/// Returns the location itself, or the end of the last text before it if nothing is there, as at the end of a file.
fn at_text(text: &str, line: usize, column: usize) -> (usize, usize) {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let blank = lines.len() < line || lines.last().is_some_and(|l| l.trim().is_empty());
    match lines.iter().rposition(|l| !l.trim().is_empty()) {
        Some(last) if blank => (last + 1, lines[last].trim_end().chars().count() + 1),
        _ => (line, column),
    }
}

/// Returns the number of characters of the token at a column (from 1): a name or number, a string, or one symbol.
fn token_length(line: &str, column: usize) -> usize {
    let rest: Vec<char> = line.chars().skip(column - 1).collect();
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    let number = |c: &char| word(c) || *c == '.';
    let length = match rest.first() {
        Some(c) if c.is_ascii_digit() => {
            // `0..4` is a number, two dots and a number.
            let text: String = rest.iter().take_while(|c| number(c)).collect();
            text.find("..").unwrap_or(text.chars().count())
        }
        Some(c) if word(c) => rest.iter().take_while(|c| word(c)).count(),
        Some(quote @ ('"' | '`' | '\'')) => {
            let mut escaped = false;
            let end = rest.iter().skip(1).position(|c| {
                let ends = c == quote && !escaped;
                escaped = *c == '\\' && *quote != '`' && !escaped;
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        }
        Some('#') => 2,
        Some(_) => {
            let symbol = |c: &char| "+-*/%=<>!&|^@.:?".contains(*c);
            rest.iter().take_while(|c| symbol(c)).count().min(3)
        }
        None => 1,
    };
    length.clamp(1, rest.len().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catch_gets_its_error_value_and_columns_stay_those_of_the_user() {
        let (engine, sources) = (Engine::new(), Sources::default());
        let text = "try { 1 } catch (e) { e.x } try { 2 } catch(b){ b.y }";
        let (prepared, insertions) = prepare(&engine, text);
        assert_eq!(
            prepared,
            "try { 1 } catch (e) {e=__caught(e); e.x } try { 2 } catch(b){b=__caught(b); b.y }"
        );
        assert_eq!(insertions.len(), 2);
        sources.compile_cell(&engine, "cell", text, 1).unwrap();
        let at = |needle: &str| Position::new(1, (prepared.find(needle).unwrap() + 1) as u16);
        assert_eq!(sources.locate(SESSION, at("e.x")).unwrap().column, text.find("e.x").unwrap() + 1);
        assert_eq!(sources.locate(SESSION, at("b.y")).unwrap().column, text.find("b.y").unwrap() + 1);
        assert_eq!(sources.locate(SESSION, at("try { 2")).unwrap().column, text.find("try { 2").unwrap() + 1);
    }

    #[test]
    fn a_position_of_the_session_tells_the_cell() {
        let (engine, sources) = (Engine::new(), Sources::default());
        sources.compile_cell(&engine, "cell 1", "let a = 1;\nlet b = 2;", 1).unwrap();
        sources.compile_cell(&engine, "cell 2", "a + bee", 1).unwrap();
        let place = sources.locate(SESSION, Position::new(4, 5)).unwrap();
        assert_eq!((place.file.as_str(), place.line, place.column, place.length), ("cell 2", 1, 5, 3));
        assert_eq!(sources.locate(SESSION, Position::new(2, 1)).unwrap().file, "cell 1");
    }

    #[test]
    fn the_token_is_underlined_whole() {
        for (line, column, length) in [
            ("foo_1(2)", 1, 5),
            ("x + \"a b\"", 5, 5),
            (r#"f("a\"b\\", 1)"#, 3, 8),
            (r"f(`a\`, 1)", 3, 4),
            ("a == b", 3, 2),
            ("0..4", 1, 1),
            ("1.5e3", 1, 5),
            ("", 1, 1),
        ] {
            assert_eq!(token_length(line, column), length, "{line}");
        }
    }
}
