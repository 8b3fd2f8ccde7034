//! Execution of cells, shared by all front ends.
//!
//! A session holds variables, functions and imports across its cells. After an error everything computed before it
//! is kept, and a panic in native code is an error too.
//!
//! - [`Session`]: runs cells and returns their results
//! - [`display`]: formatting of results for a given width
//! - [`complete`]: completion at the cursor; [`tokens`]: the lexer for unfinished text
//! - [`commands`]: lines that start with a colon

pub mod commands;
pub mod complete;
pub mod display;
pub mod highlight;

mod record;
mod stale;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use rhai::{AST, ASTFlags, Caches, Dynamic, Engine, GlobalRuntimeState, ImmutableString, Scope, Stmt};

use crate::declare::{Display, Value};
use crate::document::Document;
use crate::error::Error;
use crate::script::engine::{EngineOptions, Language, language};
use crate::script::failure::Diagnosis;
use crate::script::source::{Constants, shown_result};
use crate::script::{bridge, diagnose};

/// Options of [`Session::new`].
#[derive(Clone, Default)]
pub struct Options {
    /// Interrupt, progress, arguments, and the receiver of printed text.
    pub engine: EngineOptions,
    /// Base folder of imports; the working directory if empty.
    pub folder: PathBuf,
}

/// Result of a cell.
pub struct Outcome {
    result: Dynamic,
    value: Option<Value>,
}

impl Outcome {
    /// Returns the value if native code knows its type; `None` for `()`.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// Returns what a front end shows, cut to `width` characters; `None` for `()`.
    pub fn display(&self, width: usize) -> Option<Display> {
        match &self.value {
            _ if self.result.is_unit() => None,
            Some(value) => Some(display::display(value, width)),
            // Values of rhai's own types that native code does not use, such as timestamps.
            None => Some(Display::text(self.result.to_string())),
        }
    }

    /// Returns what a terminal shows, cut to `width` characters; `None` for `()`.
    pub fn document(&self, width: usize) -> Option<Document> {
        match &self.value {
            _ if self.result.is_unit() => None,
            Some(value) => Some(display::document(value, width)),
            None => Some(Document::plain(&self.result.to_string())),
        }
    }

    /// As [`Outcome::display`], in all representations of the value.
    pub fn display_rich(&self, width: usize) -> Option<Display> {
        match &self.value {
            Some(value) if !self.result.is_unit() => Some(display::display_rich(value, width)),
            _ => self.display(width),
        }
    }
}

pub use crate::text::tokens;
pub use record::{Cell, Ended};

/// Variables, functions and imports of consecutive cells.
pub struct Session {
    language: Language,
    options: Options,
    scope: Scope<'static>,
    global: GlobalRuntimeState,
    /// Named functions. A closure carries its own code, so it belongs to its cell alone.
    functions: AST,
    closures: stale::Closures,
    /// Constants of earlier cells; `None` if they have changed since they were listed.
    constants: Option<Arc<Constants>>,
    record: record::Record,
    /// Whether a user types the cells.
    prompt: bool,
}

impl Session {
    /// Starts a session. It may move to another thread.
    ///
    /// A script that recurses deeper than the stack of its thread allows ends with an error. `spectral run` has a
    /// stack of 256 MiB, enough for all 1000 levels that scripts may use; the main thread of a program has 8 MiB and
    /// other threads of Rust 2 MiB, unless [`stack_size`](std::thread::Builder::stack_size) says otherwise.
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
            closures: stale::Closures::default(),
            constants: None,
            record: record::Record::default(),
            prompt: false,
        }
    }

    /// Makes hints name `help(..)` instead of commands of the shell, for cells that a user types.
    #[must_use]
    pub fn at_prompt(self) -> Self {
        Self { prompt: true, ..self }
    }

    /// Runs a cell; `name` identifies it in messages, a file or `cell 3`.
    pub fn run_cell(&mut self, source: &str, name: &str) -> Result<Outcome, Diagnosis> {
        self.run_cell_at(source, name, 1)
    }

    /// Runs a whole file. Its functions may be stored with a model, unlike those of cells, which may depend on
    /// other cells.
    pub fn run_file(&mut self, source: &str, name: &str) -> Result<Outcome, Diagnosis> {
        let ast = self.compile(source, name, 1)?;
        self.language.sources.is_file();
        self.run_compiled(&ast)
    }

    /// Runs a cell that is part of a longer text and starts at the given line of it, counted from 1.
    pub fn run_cell_at(&mut self, source: &str, name: &str, line: usize) -> Result<Outcome, Diagnosis> {
        let ast = self.compile(source, name, line)?;
        self.run_compiled(&ast)
    }

    /// Compiles a cell, so that it can be run several times.
    fn compile(&mut self, source: &str, name: &str, line: usize) -> Result<AST, Diagnosis> {
        // An interrupt while a long cell is compiled ends it when it starts to run.
        self.options.engine.context.interrupt.clear();
        let ast = self
            .language
            .sources
            .compile_cell(&self.language.engine, name, source, line)
            .map_err(|error| self.report(&error.into()))?;
        if ast.has_functions() {
            for note in self.closures.notes(&self.scope, &self.functions, &ast) {
                self.options.engine.context.note(&note);
            }
            let named = |name: &str| !name.starts_with("anon$");
            if ast.iter_functions().any(|f| named(f.name)) {
                let mut own = ast.clone_functions_only();
                own.retain_functions(|_, _, name, _| named(name));
                self.functions.combine(own);
                self.functions.set_source(crate::script::source::SESSION);
            }
        }
        Ok(ast)
    }

    fn run_compiled(&mut self, ast: &AST) -> Result<Outcome, Diagnosis> {
        // A closure that runs adds the libraries that it saw, so there should be one where possible.
        let (all, own) = (self.functions.shared_lib(), ast.shared_lib());
        let named = own.iter_script_fn_info().filter(|(.., f)| !f.name.starts_with("anon$")).count();
        if named < all.iter_script_fn_info().count() {
            self.global.lib.push(all.clone());
        }
        if self.global.lib.is_empty() || named < own.iter_script_fn_info().count() {
            self.global.lib.push(own.clone());
        }
        // rhai adds the constants that a cell declares to the list, which closures of earlier cells must not see.
        let declares = ast.statements().iter().any(
            |statement| matches!(statement, Stmt::Var(_, flags, _) if flags.intersects(ASTFlags::CONSTANT)),
        );
        let known = self.constants.take().filter(|_| !declares);
        let constants = known.unwrap_or_else(|| Arc::new(RwLock::new(self.list_constants())));
        self.global.constants = Some(Arc::clone(&constants));
        self.language.sources.set_constants_of_cell(&constants);
        let before = self.scope.len();
        let result = self.evaluate(ast);
        self.global.constants = None;
        // The next function could not be added in place while the library has another owner.
        self.global.lib.clear();
        // A cell that ended early leaves its nesting depth behind; variables and imports remain.
        (self.global.level, self.global.scope_level) = (0, 0);
        // A variable that was shadowed by `let` would keep its tensor alive without being accessible.
        let shadows = self.shadows(before);
        if shadows {
            self.drop_shadowed();
        }
        self.constants = Some(constants).filter(|_| !declares && !shadows);
        let result = result?;
        let value = match result.is_unit() {
            true => None,
            false => self.language.types.lift(&result).ok(),
        };
        Ok(Outcome { result, value })
    }

    /// Returns the constants of earlier cells, which functions read as `global::NAME`. rhai itself records only those
    /// that are declared when there is a function already.
    fn list_constants(&self) -> BTreeMap<ImmutableString, Dynamic> {
        let constants = visible(&self.scope).into_iter().filter(|(_, constant, _)| *constant);
        constants.map(|(name, _, value)| (name.into(), value.clone())).collect()
    }

    /// Removes variables that are hidden by later ones of their name.
    fn drop_shadowed(&mut self) {
        let mut scope = Scope::new();
        for (name, constant, value) in visible(&self.scope).into_iter().rev() {
            match constant {
                true => scope.push_constant_dynamic(name, value.clone()),
                false => scope.push_dynamic(name, value.clone()),
            };
        }
        self.scope = scope;
    }

    /// Returns whether a variable after the first `before` ones has the name of an earlier one.
    fn shadows(&self, before: usize) -> bool {
        let new = self.scope.len().saturating_sub(before);
        // The latest variable comes first.
        let names = || self.scope.iter_raw().map(|(name, ..)| name);
        names().take(new).enumerate().any(|(i, name)| names().skip(i + 1).any(|other| other == name))
    }

    fn evaluate(&mut self, ast: &AST) -> Result<Dynamic, Diagnosis> {
        let (engine, mut caches) = (self.language.engine.clone(), Caches::new());
        let (global, scope) = (&mut self.global, &mut self.scope);
        #[expect(deprecated, reason = "only to say that it may change, and the version is pinned")]
        let mut run = || engine.eval_statements_raw(global, &mut caches, scope, ast.statements());
        // Native calls are guarded one by one; this guards the code between them. Explaining an error must not be
        // stopped by the interrupt that it is about.
        let outcome = {
            let _stops = crate::torch::interruptible(&self.options.engine.context.interrupt);
            let _kept = crate::torch::keep_warnings();
            bridge::guarded(|| Ok(run()))
        };
        for warning in crate::torch::take_warnings() {
            self.options.engine.context.note(&warning);
        }
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.report(&error)),
            Err(defect) => Err(Diagnosis::from(defect)),
        }
    }

    fn report(&self, error: &rhai::EvalAltResult) -> Diagnosis {
        let diagnosis = diagnose::diagnose(&self.language, &self.scope, error);
        if self.prompt { diagnosis.at_prompt() } else { diagnosis }
    }

    /// Sets a variable for the cells that follow: a number, a string, an array, a map, or a handle such as a model.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> Result<(), Error> {
        let word = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !matches!(name, "true" | "false" | "this" | "_")
            && self.language.engine.compile_expression(name).is_ok();
        if !word || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(Error::argument(format!("`{name}` cannot be a variable's name")));
        }
        let value = self.language.types.lower(value.into())?;
        self.scope.push_dynamic(name, value);
        // A shadowed variable would keep its tensors alive.
        self.drop_shadowed();
        self.constants = None;
        Ok(())
    }

    /// Returns the value of a variable; `None` if there is none of this name or native code does not know its type.
    pub fn get(&self, name: &str) -> Option<Value> {
        self.scope.get(name).and_then(|value| self.language.types.lift(value).ok())
    }

    /// Returns the names of the variables, in order of declaration.
    pub fn variables(&self) -> Vec<String> {
        let names = self.scope.iter_raw().map(|(name, ..)| name.to_string());
        let mut names: Vec<String> = names.filter(|name| shown_result(name).is_none()).collect();
        names.reverse();
        names
    }

    /// Returns the engine that runs the cells, for front ends that parse text before it runs.
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.language.engine)
    }

    /// Returns whether the text is a complete cell; if not, more lines must follow.
    pub fn is_complete(&self, source: &str) -> bool {
        crate::script::syntax::is_complete(&self.language.engine, source)
    }
}

/// Returns the variables that no later one of their name hides, the latest first.
fn visible<'a>(scope: &'a Scope) -> Vec<(&'a str, bool, &'a Dynamic)> {
    let mut names = HashSet::with_capacity(scope.len());
    scope.iter_raw().filter(|(name, ..)| names.insert(*name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(session: &mut Session, cells: &[&str]) {
        for (i, cell) in cells.iter().enumerate() {
            session.run_cell(cell, &format!("cell {i}")).unwrap_or_else(|e| panic!("{cell}: {}", e.message));
        }
    }

    #[test]
    fn closures_do_not_add_to_the_functions_of_a_session() {
        let mut session = Session::new(Options::default());
        run(&mut session, &["fn f(x) { |y| x + y }", "let a = |x| x;"]);
        let library = session.functions.shared_lib().clone();
        for i in 0..20 {
            run(&mut session, &[&format!("let v{i} = |x| f(x).call({i}); v{i}.call(1)")]);
        }
        assert_eq!(session.functions.iter_functions().count(), 1);
        // Each closure holds the library itself, not a copy.
        assert!(Arc::ptr_eq(&library, session.functions.shared_lib()));
        run(&mut session, &["assert_eq(v3.call(1) + v19.call(2), 25); assert_eq([1, 2].map(a), [1, 2]);"]);
    }

    #[test]
    fn constants_are_those_of_the_cells_before() {
        let mut session = Session::new(Options::default());
        run(
            &mut session,
            &[
                "const N = 3; let f = || global::N; assert_eq(f.call(), 3);",
                "fn n() { global::N }",
                "assert_eq(n(), 3);",
                "const N = 4; assert_eq(n(), 4);",
                "assert_eq([n(), f.call()], [4, 3]);",
                "let N = 5;",
                "try { n(); throw \"found\" } catch (e) { assert(e.message != \"found\", e.message); }",
                "const M = 1; fn m() { global::M } assert_eq(m(), 1);",
            ],
        );
    }

    #[test]
    fn a_variable_declared_again_replaces_the_earlier_one_in_order() {
        let mut session = Session::new(Options::default());
        run(&mut session, &["let a = 1; const B = 2; let c = 3;", "let a = 4;", "let d = 5; let d = 6;"]);
        assert_eq!(session.variables(), ["B", "c", "a", "d"]);
        assert!(session.run_cell("B = 1", "cell").is_err());
        run(&mut session, &["assert_eq([a, B, c, d], [4, 2, 3, 6]);"]);
    }
}
