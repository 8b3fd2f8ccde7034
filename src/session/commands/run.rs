//! Execution of commands on a session.

use std::fmt::Write as _;
use std::path::Path;

use super::{COMMANDS, Command, Effect, measure, save, variables};
use crate::document::{Block, Cell, Document, Line, Role};
use crate::error::{Error, Result};
use crate::files;
use crate::script::failure::Diagnosis;
use crate::script::help;
use crate::script::resolver::read_script;
use crate::session::Session;
use crate::session::highlight::highlighted;
use crate::torch::{Device, device};

/// Properties of the front end that commands need.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Number of characters per line.
    pub width: usize,
    /// Whether colors are shown.
    pub color: bool,
    /// Whether it is a prompt, which has keys and commands that a notebook has not.
    pub prompt: bool,
}

impl View {
    /// Formats a document as this front end shows it.
    pub fn shown(self, document: Document) -> String {
        document.map_code(highlighted).shown(Some(self.width), self.color)
    }
}

/// Runs a command; `name` is the name of its cell in messages.
pub fn run(
    session: &mut Session,
    command: &Command,
    rest: &str,
    name: &str,
    view: View,
) -> Result<Effect, Diagnosis> {
    let needs = !command.argument.is_empty() && !command.argument.starts_with('[');
    if needs && rest.is_empty() {
        let error = Error::argument(format!("`:{}` takes {}", command.name, command.argument));
        return Err(error.hint(command.summary).into());
    }
    if command.argument.is_empty() && !rest.is_empty() {
        let error = Error::argument(format!("`:{}` takes nothing, found `{rest}`", command.name));
        let hint = match command.name {
            "reset" => format!("`:forget {rest}` frees variables; `:reset` alone forgets everything"),
            name => format!("write `:{name}`"),
        };
        return Err(error.hint(hint).into());
    }
    Ok(match command.name {
        "help" if rest.is_empty() => Effect::Page(overview(view)),
        "help" | "doc" => Effect::Page(view.shown(help::answer(rest, view.width)?)),
        "search" => Effect::Page(view.shown(help::search(rest, view.width)?)),
        "example" => Effect::Example,
        "time" | "bench" | "profile" => {
            let (outcome, found) = match command.name {
                "time" => measure::time(session, rest, name)?,
                "bench" => measure::bench(session, rest, name)?,
                _ => measure::profile(session, rest, name)?,
            };
            session.say(&found);
            Effect::Result(outcome)
        }
        "vars" => Effect::Page(variables::table(session, rest)?.to_text_in(view.width)),
        "mem" => Effect::Show(memory(session)?),
        "device" => Effect::Show(devices()),
        "load" => Effect::Result(load(session, rest)?),
        "reload" => Effect::Show(reload(session)?),
        "save" => Effect::Show(save_cells(session, rest)?),
        "history" => Effect::Page(history(session, rest)),
        "last" => Effect::Last(rest.to_string()),
        "fix" => Effect::Retype(fixed(session)?),
        "trace" => Effect::Trace,
        "edit" => Effect::Edit(edited(session, rest)?),
        "shell" => Effect::Shell(rest.to_string()),
        "forget" => {
            for name in rest.split([' ', ',']).filter(|n| !n.is_empty()) {
                session.forget(name)?;
            }
            Effect::Show(memory(session)?)
        }
        "reset" => {
            session.reset();
            Effect::Show("cleared all variables, functions and results".to_string())
        }
        _ => Effect::Quit,
    })
}

/// What can be typed at the prompt besides code.
const KEYS: &[(&str, &str)] = &[
    ("?NAME or NAME?", "explains a name: `?filter::gaussian`, `model.forward?`"),
    ("??NAME", "shows the source of a function of the std-lib"),
    ("_ and _3", "the latest result, and that of cell 3"),
    ("Ctrl-R", "searches the history; Alt-Enter starts a new line"),
    ("Ctrl-X Ctrl-E", "opens the cell in $EDITOR"),
    ("Ctrl-C", "stops a running cell and keeps all variables"),
];

fn overview(view: View) -> String {
    let first = match view.prompt {
        true => "Type a cell and press Enter; it continues on new lines while incomplete. Tab completes.",
        false => "A cell is code, a question such as `?filter::gaussian`, or one of the commands below.",
    };
    let (mut keys, mut list) = (help::columns(), help::columns());
    for (key, text) in KEYS.iter().filter(|(key, _)| view.prompt || !key.starts_with("Ctrl-")) {
        keys.push([Cell::of(Role::Head, key), Line::quoted(text).into()]);
    }
    for command in COMMANDS.iter().filter(|c| view.prompt || !c.at_prompt()) {
        let name = format!(":{} {}", command.name, command.argument);
        list.push([Cell::of(Role::Head, name.trim_end()), Line::quoted(command.summary).into()]);
    }
    let mut page = Document::of(Block::Paragraph(first.into())).with(Block::Gap).with(Block::Table(keys));
    page.push(Block::Gap);
    page.push(Block::Paragraph("commands, which can be abbreviated:".into()));
    page.push(Block::Gap);
    page.push(Block::Table(list));
    page.push(Block::Gap);
    page.extend(help::overview(view.width));
    view.shown(page)
}

fn memory(session: &Session) -> Result<String> {
    let rows = session.rows();
    let held: u64 = rows.iter().map(|r| r.bytes).sum();
    let results = session.results_bytes();
    let memory = crate::torch::memory();
    let size = |bytes: Option<u64>| bytes.map_or("unknown".to_string(), variables::size);
    let mut out = format!("variables {}, results {}\n", variables::size(held), variables::size(results));
    let _ = write!(out, "program   {}, at most {}", size(memory.resident), size(memory.peak));
    for n in 0..device::cuda_count() {
        let memory = device::memory(Device::Cuda(n))?;
        let (used, kept) =
            (variables::size(memory.allocated as u64), variables::size(memory.reserved as u64));
        let _ = write!(out, "\ncuda:{n}    {used} in use, {kept} reserved");
    }
    Ok(out)
}

fn devices() -> String {
    let mut out = format!("cpu with {} threads", crate::torch::threads());
    for n in 0..device::cuda_count() {
        let _ = write!(out, "\ncuda:{n}");
    }
    let _ = write!(out, "\nauto is {}; CUDA: {}", Device::auto(), device::cuda_status());
    out
}

fn load(session: &mut Session, file: &str) -> Result<crate::session::Outcome, Diagnosis> {
    let file = file.trim_matches('"');
    let source = read_script(Path::new(file))?;
    session.loaded(file);
    session.run_file(&source, file)
}

fn reload(session: &mut Session) -> Result<String, Diagnosis> {
    let imports = session.refresh_imports(true)?;
    let files = session.loaded_files();
    for file in &files {
        let text = read_script(Path::new(file))?;
        session.run_file(&text, file)?;
        session.note_unnumbered(&format!("// {file}\n{text}"));
    }
    let all: Vec<String> = imports.into_iter().chain(files).collect();
    Ok(match all.is_empty() {
        true => "nothing was loaded or imported".to_string(),
        false => format!("read again: {}", all.join(", ")),
    })
}

fn save_cells(session: &mut Session, file: &str) -> Result<String> {
    let cells = session.cells();
    if cells.is_empty() {
        return Err(Error::argument("there is no cell to save").hint("run some cells first"));
    }
    let path = Path::new(file.trim_matches('"')).to_path_buf();
    let path = if path.extension().is_some() { path } else { path.with_extension("rhai") };
    let (text, count) = (save::script(cells), cells.len());
    // A session may overwrite its own file, but no other.
    if path.exists() && !session.was_saved(&path) {
        let error = Error::file(&path, "already exists and was not written by this session");
        return Err(error.hint("choose another name, or remove the file"));
    }
    files::write(&path, text.as_bytes())?;
    session.saved(&path);
    Ok(format!("{count} cells in {0}; `spectral run {0}` runs them", path.display()))
}

fn history(session: &Session, word: &str) -> String {
    let mut out = String::new();
    for cell in session.cells().iter().filter(|c| c.text.contains(word)) {
        let mut lines = cell.text.lines();
        let _ = writeln!(out, "{:>4}  {}", cell.number, lines.next().unwrap_or_default());
        for line in lines {
            let _ = writeln!(out, "      {line}");
        }
    }
    if out.is_empty() { "no such cell".to_string() } else { out.trim_end().to_string() }
}

fn fixed(session: &Session) -> Result<String> {
    session.fixed().ok_or_else(|| {
        let several = session.last_diagnosis().and_then(|d| d.hint.as_deref());
        let several = several.filter(|hint| hint.starts_with("did you mean") && hint.contains("` or `"));
        Error::argument("the last cell has no certain correction").hint(match several {
            Some(_) => "its hint names several candidates: retype the cell with the one you mean",
            None => "`:fix` works after an error whose hint names what was meant",
        })
    })
}

fn edited(session: &Session, number: &str) -> Result<String> {
    let cells = session.cells();
    let cell = match number {
        "" => cells.last(),
        number => cells.iter().rfind(|c| c.number.to_string() == number),
    };
    match cell {
        Some(cell) => Ok(cell.text.clone()),
        None if number.is_empty() => Ok(String::new()),
        None => Err(Error::argument(format!("there is no cell {number}")).hint("`:history` lists them")),
    }
}
