//! The REPL.
//!
//! - `config`: user settings; `line`: the line being typed; `keys`: language-aware keys
//! - `output`: shown and kept output
//! - `piped`: input that is not a terminal; `open`: whether a text is incomplete

mod config;
mod keys;
mod line;
mod open;
mod output;
mod piped;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Behavior, CompletionType, EditMode, Editor};

use self::config::{Config, Mode};
use self::line::{Shared, Typed};
use self::output::Output;
use super::ending::Ending;
use super::picture::Protocol;
use super::run::Started;
use super::{pager, run, terminal};
use crate::context::Invocation;
use crate::error::Error;
use crate::script::failure::{Diagnosis, End};
use crate::script::help;
use crate::script::resolver::read_script;
use crate::session::commands::{self, Effect, View};
use crate::session::complete::Question;
use crate::session::{Outcome, Session, complete, tokens};

/// Starts the REPL, or evaluates standard input if it is not a terminal; returns the exit code.
pub fn repl() -> u8 {
    match std::io::stdin().is_terminal() {
        true => Prompt::start().map_or_else(terminal::fail, Prompt::run),
        false => piped::piped(run::session(PathBuf::new(), Invocation::default())),
    }
}

struct Prompt {
    session: Session,
    ending: Ending,
    /// Whether the REPL waits for a line and nothing runs.
    idle: Arc<AtomicBool>,
    editor: Editor<Typed, FileHistory>,
    shared: Shared,
    config: Config,
    output: Output,
    history: Option<PathBuf>,
    number: usize,
    /// Initial text of the next line.
    retyped: Option<String>,
    example: Option<String>,
}

impl Prompt {
    fn start() -> Result<Self, Error> {
        let config = Config::read().unwrap_or_else(|error| {
            terminal::report(&Diagnosis::from(error));
            Config::default()
        });
        let images = config.images.as_deref().and_then(Protocol::named);
        let (output, filter) = Output::new(images);
        let Started { session, ending, .. } = run::prompt_session(filter, images);
        let idle = Arc::new(AtomicBool::new(false));
        let (waiting, before) = (Arc::clone(&idle), terminal::Settings::of_input());
        ending.on_signals(move || {
            let idle = waiting.load(Ordering::SeqCst);
            if idle {
                before.restore();
            }
            idle
        });
        let shared = Shared::new(session.engine());
        let color = terminal::color(&std::io::stdout());
        let mode = match config.edit_mode {
            Mode::Emacs => EditMode::Emacs,
            Mode::Vi => EditMode::Vi,
        };
        let wrong = |error: ReadlineError| Error::internal(format!("the prompt cannot start: {error}"));
        let settings = rustyline::Config::builder()
            .max_history_size(config.history)
            .and_then(|b| b.history_ignore_dups(true))
            .map_err(wrong)?
            .edit_mode(mode)
            .completion_type(CompletionType::List)
            .completion_prompt_limit(200)
            .completion_show_all_if_ambiguous(true)
            .behavior(Behavior::PreferTerm)
            .bracketed_paste(true)
            .tab_stop(4)
            .build();
        let mut editor = Editor::<Typed, FileHistory>::with_config(settings).map_err(wrong)?;
        editor.set_helper(Some(Typed::new(shared.clone(), config.hints, color)));
        keys::bind(&mut editor, &shared);
        let history = config::history_file().unwrap_or_else(|error| {
            terminal::report(&Diagnosis::from(error.hint("this session keeps its history to itself")));
            None
        });
        if let Some(file) = &history {
            // There is no history the first time.
            let _ = editor.load_history(file);
        }
        let (retyped, example) = (None, None);
        Ok(Self {
            session,
            ending,
            idle,
            editor,
            shared,
            config,
            output,
            history,
            number: 1,
            retyped,
            example,
        })
    }

    fn run(mut self) -> u8 {
        self.output.line(concat!(
            "spectral ",
            env!("CARGO_PKG_VERSION"),
            "   Tab completes, ?name explains, :help lists more, Ctrl-D ends"
        ));
        self.init();
        loop {
            // A signal may have arrived when a cell was almost done.
            if let Some(code) = self.ending.code() {
                return code;
            }
            self.shared.update(self.session.surroundings());
            let prompt = format!("[{}]> ", self.number);
            self.idle.store(true, Ordering::SeqCst);
            let read = match self.retyped.take() {
                Some(text) => self.editor.readline_with_initial(&prompt, (&text, "")),
                None => self.editor.readline(&prompt),
            };
            self.idle.store(false, Ordering::SeqCst);
            let text = match read {
                Ok(text) => text,
                // Ctrl-C drops the line being typed.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return 0,
                Err(error) => return terminal::fail(Error::internal(format!("the prompt failed: {error}"))),
            };
            if self.shared.edit.swap(false, Ordering::Relaxed) {
                self.retyped = Some(self.edited(&text));
                continue;
            }
            if text.trim().is_empty() {
                continue;
            }
            let text = keys::tidied(&text);
            self.remember(&text);
            if let Some(code) = self.answer(&text) {
                return code;
            }
        }
    }

    /// Runs the user's `init.rhai`.
    fn init(&mut self) {
        let Some(file) = config::init() else { return };
        let name = file.display().to_string();
        let run = read_script(&file).map_err(Diagnosis::from).and_then(|text| {
            self.session.run_cell(&text, &name)?;
            self.session.note_unnumbered(&format!("// {name}\n{text}"));
            Ok(())
        });
        if let Err(diagnosis) = run {
            terminal::report(&diagnosis);
        }
    }

    /// Appends the cell to the history at once, so that it survives whatever the cell does.
    fn remember(&mut self, text: &str) {
        let added = self.editor.add_history_entry(text.trim_end());
        let Some(file) = &self.history else { return };
        if let (Ok(true), Err(error)) = (added, self.editor.append_history(file)) {
            let error = Error::file(file, format!("the history could not be saved: {error}"));
            terminal::report(&Diagnosis::from(error.hint("this session keeps its history to itself")));
            self.history = None;
        }
    }

    /// Executes a line; returns the exit code if it ends the REPL.
    fn answer(&mut self, text: &str) -> Option<u8> {
        // A Ctrl-C pressed while nothing was running must not stop this line.
        self.session.context().interrupt.clear();
        let line = text.trim();
        if matches!(line, "exit" | "quit") {
            return Some(0);
        }
        match complete::question(line) {
            Some(Question::Source(name)) => {
                return self.show(help::source(name).map(|code| self.output.code(&code)));
            }
            Some(Question::Page(name)) => return self.explain(name),
            None => {}
        }
        match line.starts_with(':') {
            true => self.command(line),
            false => self.cell(text),
        }
    }

    fn view(&self) -> View {
        View { width: terminal::width(), color: terminal::color(&std::io::stdout()), prompt: true }
    }

    fn show(&mut self, text: Result<String, Error>) -> Option<u8> {
        match text {
            Ok(text) => self.output.page(&text, self.config.lines),
            Err(error) => terminal::report(&Diagnosis::from(error)),
        }
        None
    }

    /// Shows the help page of a name. The page of a variable begins with its description.
    fn explain(&mut self, name: &str) -> Option<u8> {
        let view = self.view();
        if name.is_empty() {
            return self.command(":help");
        }
        let topic = complete::of_name(name, &self.session.surroundings());
        if let Some(lead) = &topic.lead {
            self.output.line(lead);
        }
        if topic.name.is_empty() {
            return None;
        }
        let page = help::answer(&topic.name, view.width).map(|page| view.shown(page));
        self.example = help::example(&topic.name);
        let page = page.map(|page| match &self.example {
            Some(_) => format!("{}\n\n  `:example` runs it", page.trim_end()),
            None => page,
        });
        self.show(page)
    }

    /// Reloads imported scripts whose files changed.
    fn refresh(&mut self) {
        match self.session.refresh_imports(false) {
            Ok(files) if files.is_empty() => {}
            Ok(files) => self.output.quiet(&format!("read again: {}", files.join(", "))),
            Err(diagnosis) => terminal::report(&diagnosis),
        }
    }

    fn cell(&mut self, text: &str) -> Option<u8> {
        self.refresh();
        let number = self.number;
        self.number += 1;
        self.output.begin();
        let result = self.session.run_numbered(text, number);
        self.output.end();
        match result {
            Ok(outcome) => {
                if !tokens::ends_with_semicolon(text) {
                    return self.result(&outcome, Some(number));
                }
                None
            }
            Err(diagnosis) => self.failed(&diagnosis),
        }
    }

    fn result(&mut self, outcome: &Outcome, number: Option<usize>) -> Option<u8> {
        let interrupt = self.session.context().interrupt.clone();
        if let Err(error) = self.output.result(outcome, number, self.config.lines, &interrupt) {
            terminal::report(&Diagnosis::from(error));
        }
        None
    }

    fn failed(&mut self, diagnosis: &Diagnosis) -> Option<u8> {
        if self.ending.code().is_some() {
            return Some(self.ending.conclude(Err(diagnosis.clone())));
        }
        terminal::report(diagnosis);
        if let End::Exit(code) = diagnosis.end {
            return Some(code);
        }
        if diagnosis.end == End::Interrupted {
            self.output.quiet("all variables are as the cell left them");
        } else if self.session.fixed().is_some() {
            self.output.quiet(":fix retypes the cell with this corrected");
        }
        None
    }

    fn command(&mut self, line: &str) -> Option<u8> {
        let (command, rest) = match commands::parse(line) {
            Ok(found) => found,
            Err(error) => return self.show(Err(error)),
        };
        let (number, view) = (self.number, self.view());
        // Code that the command runs is a cell of the session as well.
        let cell = match command.name {
            "time" | "bench" | "profile" if !rest.is_empty() => Some(rest.to_string()),
            "load" => read_script(Path::new(rest.trim_matches('"'))).ok().map(|t| format!("// {rest}\n{t}")),
            _ => None,
        };
        if matches!(command.name, "help" | "doc") {
            self.example = help::example(rest);
        }
        if cell.is_some() {
            self.refresh();
            self.output.begin();
            self.number += 1;
        }
        let effect = commands::run(&mut self.session, command, rest, &format!("cell {number}"), view);
        self.output.end();
        let effect = match (effect, cell) {
            (Ok(Effect::Result(outcome)), Some(cell)) => {
                let shown = matches!(command.name, "time" | "profile") && !tokens::ends_with_semicolon(rest);
                if let (Ok(outcome), true) = (self.session.note(&cell, number, Ok(outcome)), shown) {
                    return self.result(&outcome, Some(number));
                }
                return None;
            }
            (Ok(effect), _) => effect,
            (Err(diagnosis), cell) => {
                match cell {
                    Some(cell) => drop(self.session.note(&cell, number, Err(diagnosis.clone()))),
                    None => self.session.note_diagnosis(&diagnosis),
                }
                return self.failed(&diagnosis);
            }
        };
        match effect {
            Effect::Show(text) => self.output.line(&text),
            Effect::Page(text) => self.output.page(&text, self.config.lines),
            Effect::Result(outcome) => return self.result(&outcome, None),
            Effect::Run(text) => return self.cell(&text),
            Effect::Retype(text) => self.retyped = Some(text),
            Effect::Edit(text) => self.retyped = Some(self.edited(&text)),
            Effect::Last(file) if file.is_empty() => self.output.last(),
            Effect::Last(file) => match self.output.export(&file) {
                Ok(()) => self.output.line(&format!("written to {file}")),
                Err(error) => terminal::report(&Diagnosis::from(error)),
            },
            Effect::Trace => match self.session.last_diagnosis() {
                Some(diagnosis) => {
                    let full = diagnosis.render_full(view.color);
                    self.output.page(&full, self.config.lines);
                }
                None => self.output.line("there was no error"),
            },
            Effect::Example => match self.example.clone() {
                Some(code) => {
                    let shown = self.output.code(&code);
                    self.output.line(&shown);
                    return self.cell(&code);
                }
                None => {
                    return self
                        .show(Err(Error::argument("no example was shown yet").hint("`?name` shows one")));
                }
            },
            Effect::Shell(command) => {
                let shell = std::env::var("SHELL").unwrap_or_else(|_| "sh".to_string());
                let run = || std::process::Command::new(shell).arg("-c").arg(&command).status();
                match pager::undisturbed(run) {
                    Ok(status) if status.success() => {}
                    Ok(status) => self.output.quiet(&status.to_string()),
                    Err(error) => terminal::report(&Diagnosis::from(Error::file("the shell", error))),
                }
            }
            Effect::Quit => return Some(0),
        }
        None
    }

    /// Returns the text as edited in the user's editor; unchanged if there is no editor.
    fn edited(&self, text: &str) -> String {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let editor = self.config.editor.clone().or_else(|| variable("VISUAL")).or_else(|| variable("EDITOR"));
        let editor = editor.unwrap_or_else(|| "vi".to_string());
        let edit = || -> std::io::Result<String> {
            let mut file = tempfile::Builder::new().prefix("cell").suffix(".rhai").tempfile()?;
            file.write_all(text.as_bytes())?;
            let mut words = editor.split_whitespace();
            let status = std::process::Command::new(words.next().unwrap_or("vi"))
                .args(words)
                .arg(file.path())
                .status()?;
            match status.success() {
                true => std::fs::read_to_string(file.path()),
                false => Ok(text.to_string()),
            }
        };
        match pager::undisturbed(edit) {
            Ok(edited) => edited.trim_end().to_string(),
            Err(error) => {
                let error = Error::file(&editor, error).hint("set EDITOR to the editor you have");
                terminal::report(&Diagnosis::from(error));
                text.to_string()
            }
        }
    }
}
