//! One cell after another: what every front end shares.
//!
//! A session holds variables, functions and imports over its cells. An error keeps everything that was
//! computed before it, and a panic in native code is an error too.
//!
//! - [`Session`]: run a cell, look at the result
//! - [`display`]: a result as text of a given width
//! - [`complete`]: what can stand at the cursor; [`tokens`]: a text cut into its parts
//! - [`commands`]: lines that start with a colon

pub mod commands;
pub mod complete;
pub mod display;
pub mod tokens;

mod record;

use std::path::PathBuf;
use std::sync::Arc;

use rhai::{AST, Caches, Dynamic, Engine, GlobalRuntimeState, Scope};

use crate::declare::{Display, Value};
use crate::script::engine::{EngineOptions, Language, language};
use crate::script::report::Report;
use crate::script::source::shown_result;
use crate::script::{bridge, diagnose};

/// What a session is made with.
#[derive(Clone, Default)]
pub struct Options {
    /// Interrupt, progress, arguments, and where printed text goes.
    pub engine: EngineOptions,
    /// The folder that imports start from; the working directory when empty.
    pub folder: PathBuf,
}

/// The result of a cell.
pub struct Outcome {
    result: Dynamic,
    value: Option<Value>,
}

impl Outcome {
    /// The value, when it is one that native code knows; `None` for nothing, `()`.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// What a front end shows, cut to `width` characters; `None` for nothing, `()`.
    pub fn display(&self, width: usize) -> Option<Display> {
        match &self.value {
            _ if self.result.is_unit() => None,
            Some(value) => Some(display::display(value, width)),
            // Values of rhai's own that native code has no use for, such as timestamps.
            None => Some(Display::text(self.result.to_string())),
        }
    }

    /// As [`Outcome::display`], in all the forms that the value has.
    pub fn display_rich(&self, width: usize) -> Option<Display> {
        match &self.value {
            Some(value) if !self.result.is_unit() => Some(display::display_rich(value, width)),
            _ => self.display(width),
        }
    }
}

pub use record::{Cell, Ended};

/// Variables, functions and imports over cells.
pub struct Session {
    language: Language,
    options: Options,
    scope: Scope<'static>,
    global: GlobalRuntimeState,
    functions: AST,
    record: record::Record,
}

impl Session {
    /// Starts a session on this thread; libtorch is prepared first.
    pub fn new(options: Options) -> Self {
        crate::torch::start();
        bridge::quiet_panics();
        let language = language(options.engine.clone());
        language.sources.set_folder(&options.folder);
        let global = language.engine.new_global_runtime_state();
        Self {
            language,
            options,
            scope: Scope::new(),
            global,
            functions: AST::empty(),
            record: record::Record::default(),
        }
    }

    /// Runs a cell; `name` is what messages call it, a file or `cell 3`.
    pub fn run_cell(&mut self, source: &str, name: &str) -> Result<Outcome, Report> {
        self.run_cell_at(source, name, 1)
    }

    /// Runs a whole file; its functions may be stored with a model, unlike those of cells, which may need other cells.
    pub fn run_file(&mut self, source: &str, name: &str) -> Result<Outcome, Report> {
        let ast = self.compile(source, name, 1)?;
        self.language.sources.is_file();
        self.run_compiled(&ast)
    }

    /// Runs a cell that is a part of a longer text and starts at a line of it, counted from 1.
    pub fn run_cell_at(&mut self, source: &str, name: &str, line: usize) -> Result<Outcome, Report> {
        let ast = self.compile(source, name, line)?;
        self.run_compiled(&ast)
    }

    /// Compiles a cell, so that it can be run more than once.
    fn compile(&mut self, source: &str, name: &str, line: usize) -> Result<AST, Report> {
        let ast = self
            .language
            .sources
            .compile_cell(&self.language.engine, name, source, line)
            .map_err(|error| self.report(&error.into()))?;
        if ast.has_functions() {
            self.functions.combine(ast.clone_functions_only());
            self.functions.set_source(crate::script::source::SESSION);
        }
        Ok(ast)
    }

    fn run_compiled(&mut self, ast: &AST) -> Result<Outcome, Report> {
        self.options.engine.context.interrupt.clear();
        self.global.lib.clear();
        self.global.lib.push(self.functions.shared_lib().clone());
        let before = self.scope.len();
        let result = self.evaluate(ast);
        // A cell that was cut short leaves its depth behind; variables and imports stay.
        (self.global.level, self.global.scope_level) = (0, 0);
        // A variable that was shadowed by `let` would keep its tensor alive unseen.
        if self.shadows(before) {
            // Each clone turns the order around, and compares every name with every other.
            self.scope = self.scope.clone_visible().clone_visible();
        }
        let result = result?;
        let value = match result.is_unit() {
            true => None,
            false => self.language.types.lift(&result).ok(),
        };
        Ok(Outcome { result, value })
    }

    /// Whether a variable behind the first `before` ones has the name of an earlier one.
    fn shadows(&self, before: usize) -> bool {
        // The latest comes first.
        let names: Vec<&str> = self.scope.iter_raw().map(|(name, ..)| name).collect();
        let new = names.len().saturating_sub(before);
        (0..new).any(|i| names[i + 1..].contains(&names[i]))
    }

    fn evaluate(&mut self, ast: &AST) -> Result<Dynamic, Report> {
        let (engine, mut caches) = (self.language.engine.clone(), Caches::new());
        let (global, scope) = (&mut self.global, &mut self.scope);
        // Marked deprecated only to say that it may change; the version is pinned.
        #[allow(deprecated)]
        let mut run = || engine.eval_statements_raw(global, &mut caches, scope, ast.statements());
        // Native calls are guarded one by one; this is for what lies between them. Explaining an error must
        // not stop at the flag that it is about.
        let outcome = {
            let _stops = crate::torch::interruptible(&self.options.engine.context.interrupt);
            bridge::guarded(|| Ok(run()))
        };
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.report(&error)),
            Err(defect) => Err(Report::from(defect)),
        }
    }

    fn report(&self, error: &rhai::EvalAltResult) -> Report {
        diagnose::diagnose(&self.language, &self.scope, error)
    }

    /// The names of the variables, in order of declaration.
    pub fn variables(&self) -> Vec<String> {
        let names = self.scope.iter_raw().map(|(name, ..)| name.to_string());
        let mut names: Vec<String> = names.filter(|name| shown_result(name).is_none()).collect();
        names.reverse();
        names
    }

    /// The engine that runs the cells, for front ends that look at text before it is run.
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.language.engine)
    }

    /// Whether the text is a whole cell, or more lines must follow.
    pub fn is_complete(&self, source: &str) -> bool {
        crate::script::syntax::is_complete(&self.language.engine, source)
    }
}
