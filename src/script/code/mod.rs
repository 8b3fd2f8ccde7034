//! Script functions stored in files: their text, and the values that they captured.
//!
//! - here: conversion of a function to data and back; [`pieces`]: the parts of a text that belong to it
//! - `libraries`: what it calls in imported files; `data`: the values that it captured
//!
//! A closure written in a file is stored as its own text, the functions that it calls, in its file and in imported ones,
//! and its captured variables, so that the stored file needs nothing else to be opened. Functions defined in a cell are
//! not stored, since they may use whatever other cells hold. Native functions and std-lib belong to the program.

mod data;
mod libraries;
pub mod pieces;

use std::sync::Arc;

use rhai::{Array, Engine, FnPtr};

use self::data::{compared, from_data};
use self::libraries::{Libraries, Links, Values, restored};
use self::pieces::{Piece, Text, joined};
use super::failure;
use super::resolver::Resolver;
use super::source::{Origin, SESSION};
use super::stored::StoredFile;
use super::values::{Types, call_in};
use crate::context::Context;
use crate::declare::{ADVICE, FromValue, Function, INCOMPLETE, Map, Value, entry};
use crate::error::{Error, Result};

/// Name of the function around a stored closure, whose parameters are the captured variables.
const AROUND: &str = "__stored";

/// Converts a function to data: `#{ function, file, pieces, lines, captured }`, and what it takes from imported files. What
/// no file can hold makes it incomplete, see [`Function::to_compared`].
pub fn store(types: &Arc<Types>, engine: &Engine, imports: &Resolver, pointer: &FnPtr) -> Result<Value> {
    let _counted = types.begin_function()?;
    let name = pointer.fn_name();
    let origin = origin(imports, pointer)?;
    let text = Text::new(engine, &origin.text);
    // Of a named function, all functions of that name are stored.
    let own = match pointer.is_anonymous() {
        true => text.closure(origin.body, &origin.params).map(|own| (text.cut(&own), text.called(own))),
        false => text.function(name).map(|own| (own, text.called_by(name))),
    };
    let Some((own, called)) = own else {
        return Err(Error::internal(format!("the text of a function of {} was not found", origin.file)));
    };
    let mut libraries = Libraries::new(types, engine, imports);
    if imports.stored().get(&origin.file).is_some_and(|file| file.has_imports()) {
        libraries.incomplete(Error::argument("it was made by code that was stored with its imports"));
    }
    // A script that is run counts as a cell.
    let home = if imports.sources().text_of(&origin.file).is_some() { origin.file.as_str() } else { SESSION };
    let mut links = Links::default();
    libraries.link(home, &called, &mut links);
    for name in &called.constants {
        match origin.constant(name) {
            Some(value) => _ = links.constants.insert(name.clone(), libraries.constant(home, name, &value)),
            None => libraries.incomplete(Error::argument(format!("its constant `{name}` is not known"))),
        }
    }
    let (libraries, mut incomplete) = libraries.finish();
    let mut pieces = called.pieces;
    pieces.retain(|piece| *piece != own);
    let line = own.line + origin.before;
    pieces.insert(0, own);
    let captured = pointer.curry().iter().enumerate().map(|(i, value)| {
        let name = origin.params.get(i).map_or("a value", String::as_str);
        let Some(_inside) = types.inside(value) else {
            incomplete.get_or_insert(Error::argument(format!("it captures itself through `{name}`")));
            return Value::Unit;
        };
        let (data, why) = compared(types, value);
        if let Some(error) = why {
            incomplete.get_or_insert(error.context(format!("its variable `{name}`")));
        }
        data
    });
    let captured = captured.collect::<Vec<_>>();
    let names = origin.params.iter().take(captured.len()).cloned().map(Value::Str).collect();
    let function = match pointer.is_anonymous() {
        true => format!("the closure in line {line}"),
        false => name.to_string(),
    };
    let shown = |piece: &Piece| Value::Int((piece.line + origin.before) as i64);
    let entries = [
        ("function", Value::Str(function)),
        ("named", Value::Bool(!pointer.is_anonymous())),
        ("file", Value::Str(origin.file.clone())),
        ("lines", Value::List(pieces.iter().map(shown).collect())),
        ("pieces", Value::List(pieces.into_iter().map(|piece| Value::Str(piece.text)).collect())),
        ("names", Value::List(names)),
        ("captured", Value::List(captured)),
    ];
    let mut data: Map = entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
    data.extend(links.into_entries());
    if !libraries.is_empty() {
        data.insert("libraries".to_string(), Value::List(libraries));
    }
    if let Some(error) = incomplete {
        data.insert(INCOMPLETE.to_string(), Value::Str(error.message()));
        data.extend(error.hint_text().map(|hint| (ADVICE.to_string(), Value::Str(hint.to_string()))));
    }
    Ok(Value::Map(data))
}

/// Returns where a function was written, which must be one file.
fn origin(imports: &Resolver, pointer: &FnPtr) -> Result<Origin> {
    let name = pointer.fn_name();
    let mut origins = imports.sources().origins(name);
    // Opening a model again compiles what a script has too.
    if origins.iter().any(|origin| imports.stored().get(&origin.file).is_none()) {
        origins.retain(|origin| imports.stored().get(&origin.file).is_none());
    }
    if !origins.first().is_some_and(|origin| origin.whole) {
        return Err(Error::argument("it was defined in a cell; only functions in files can be stored"));
    }
    // A cell that is run again has the same functions, and so has a copy of a file.
    if pointer.is_anonymous() || origins.iter().all(|origin| origin.text == origins[0].text) {
        origins.truncate(1);
    }
    match origins.len() {
        1 => Ok(origins.remove(0)),
        _ => {
            let files: Vec<&str> = origins.iter().map(|o| o.file.as_str()).collect();
            Err(Error::argument(format!("a function `{name}` is in {}", crate::error::list(&files)))
                .hint("give it another name in one of the files"))
        }
    }
}

/// Rebuilds the function that [`store`] converted. Its text is compiled in a module of its own; nothing of it runs, except
/// what an imported file runs when it is imported.
pub fn restore(
    types: &Arc<Types>,
    engine: &Engine,
    imports: &Resolver,
    context: &Context,
    data: &Value,
) -> Result<Function> {
    let Value::Map(map) = data else { return Err(data.mismatch("stored code")) };
    if let Some(Value::Str(why)) = map.get(INCOMPLETE) {
        return Err(Error::argument(format!("its code was not stored: {why}")));
    }
    let (name, file): (String, String) = (field(map, "function")?, field(map, "file")?);
    let named: bool = field(map, "named")?;
    let names: Vec<String> = field(map, "names")?;
    let captured = field::<Vec<Value>>(map, "captured")?;
    let captured =
        captured.iter().map(|value| from_data(types, context, value)).collect::<Result<Vec<_>>>()?;
    crate::ensure!(names.len() == captured.len(), "stored code has a name for each captured value");
    let mut pieces = pieces_of(map)?;
    if !named {
        // The end gets a line of its own, since the piece may end in a comment.
        pieces[0].text = format!("fn {AROUND}({}) {{ {}\n}}", names.join(", "), pieces[0].text);
    }
    // Earlier versions stored what follows a function without parameters with it.
    for piece in &mut pieces[usize::from(!named)..] {
        if let Some(own) = Text::new(engine, &piece.text).first_function() {
            piece.text = own.text;
        }
    }
    let key = crate::text::sha256(&data.to_json_text().unwrap_or_default());
    let values = Values::of(types, context, map)?;
    let libraries = restored(types, engine, imports, context, map, &key)?;
    let source = imports.stored().name(&shown(&file), &key);
    if imports.stored().get(&source).is_none() {
        let mut ast = compile(engine, imports, &source, &joined(&pieces))?.clone_functions_only();
        ast.set_source(source.as_str());
        let file = StoredFile::new(key, ast, libraries.links(map, values)?);
        imports.stored().add(&source, file);
    }
    let surroundings = imports.stored().surroundings(engine, &source)?;
    let pointer = if named {
        let mut pointer = FnPtr::new(name.as_str()).map_err(failure::native)?;
        pointer.set_curry(captured);
        pointer
    } else {
        let around = FnPtr::new(AROUND).map_err(failure::native)?;
        let made = call_in(engine, &surroundings, &around, Array::from(captured)).map_err(failure::native)?;
        made.try_cast().ok_or_else(|| Error::argument("stored code is a function"))?
    };
    let again = data.clone();
    Ok(types.function_in(pointer, Some(surroundings)).with_code(move || Ok(again.clone())))
}

fn field<T: FromValue>(map: &Map, name: &str) -> Result<T> {
    entry(map, "stored code", name)
}

/// Returns the name of the source of a stored file.
fn shown(file: &str) -> String {
    format!("{file}, as it was stored")
}

/// Returns the stored parts of a text.
fn pieces_of(map: &Map) -> Result<Vec<Piece>> {
    let (texts, lines): (Vec<String>, Vec<i64>) = (field(map, "pieces")?, field(map, "lines")?);
    crate::ensure!(
        !texts.is_empty() && texts.len() == lines.len(),
        "stored code has a line for each of its pieces"
    );
    let line = |line: i64| usize::try_from(line).unwrap_or(1).clamp(1, 50_000);
    Ok(texts.into_iter().zip(lines).map(|(text, at)| Piece { line: line(at), text }).collect())
}

/// Compiles a stored text.
fn compile(engine: &Engine, imports: &Resolver, source: &str, text: &str) -> Result<rhai::AST> {
    let sources = imports.sources();
    sources.compile_library(engine, source, text).map_err(|error| {
        let place =
            sources.locate(source, error.position()).map_or(String::new(), |p| format!(" line {}:", p.line));
        Error::argument(format!("{source}:{place} {}", error.err_type()))
            .hint("was it written by another version of spectral?")
    })
}
