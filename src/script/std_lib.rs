//! Library written in rhai: namespaces available without an import, next to the native ones.

use std::collections::BTreeMap;

use rhai::{Engine, Module, Scope};

use super::entries::{Entry, uncomment};
use super::rewrite::compiled_form;
use super::source::Sources;

/// A file of `std-lib/`.
#[derive(Debug, Clone, Copy)]
pub struct Library {
    /// Its namespace.
    pub name: &'static str,
    /// Its path in the project.
    pub file: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! libraries {
    ($($name:literal),*) => {
        &[$(Library {
            name: $name,
            file: concat!("std-lib/", $name, ".rhai"),
            text: include_str!(concat!("../../std-lib/", $name, ".rhai")),
        }),*]
    };
}

/// All files of `std-lib/`.
pub const LIBRARIES: &[Library] = libraries!["cli", "data", "ideas", "optimizers", "report", "sweep"];

/// Returns the libraries as modules, by namespace. Their functions see every native namespace, each other, and the
/// private functions of their own file.
///
/// A library that does not compile is left out; a test makes sure that all compile.
pub fn modules(engine: &Engine, sources: &Sources) -> BTreeMap<&'static str, Module> {
    let module = |library: &Library| {
        let ast = sources.compile_library(engine, library.file, library.text).ok()?;
        let module = Module::eval_ast_as_new(Scope::new(), &ast, engine).ok()?;
        Some((library.name, module))
    };
    LIBRARIES.iter().filter_map(module).collect()
}

/// Returns the documented functions of all libraries.
pub fn entries() -> Vec<Entry> {
    let engine = reader();
    LIBRARIES.iter().flat_map(|library| functions(&engine, library)).collect()
}

/// Returns an engine that only compiles.
fn reader() -> Engine {
    let mut engine = Engine::new();
    super::engine::set_dialect(&mut engine);
    engine
}

fn functions(engine: &Engine, library: &Library) -> Vec<Entry> {
    let Ok(ast) = engine.compile(compiled_form(engine, library.text)) else { return Vec::new() };
    let mut found: Vec<(usize, Entry)> = ast
        .iter_functions()
        .filter(|f| f.access == rhai::FnAccess::Public && !f.name.starts_with("anon$"))
        // Of several forms of a function, only the documented one is listed.
        .filter(|f| !f.comments.is_empty())
        .map(|f| {
            let doc: Vec<&str> = f.comments.iter().flat_map(|c| c.lines()).map(uncomment).collect();
            let params = f.params.clone();
            let place = library.text.find(&format!("fn {}(", f.name)).unwrap_or(0);
            (place, Entry::scripted(library.name, f.name, &params, &doc.join("\n"), library.file))
        })
        .collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_library_compiles_and_documents_all_it_offers() {
        let engine = reader();
        for library in LIBRARIES {
            let ast = engine
                .compile(compiled_form(&engine, library.text))
                .unwrap_or_else(|e| panic!("{}: {e}", library.file));
            let documented: Vec<String> = functions(&engine, library).into_iter().map(|e| e.name).collect();
            let public = |f: &rhai::ScriptFnMetadata| {
                f.access == rhai::FnAccess::Public && !f.name.starts_with("anon$")
            };
            for function in ast.iter_functions().filter(public) {
                assert!(
                    documented.iter().any(|d| d == function.name),
                    "{}: `{}` has no documentation; mark it private if it is for this file alone",
                    library.file,
                    function.name
                );
            }
        }
        assert_eq!(modules(&engine, &Sources::default()).len(), LIBRARIES.len());
    }
}
