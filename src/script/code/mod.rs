//! Script functions stored in files: their text, and the values that they captured.
//!
//! - here: conversion of a function to data and back; [`pieces`]: the parts of a text that belong to it
//!
//! A closure written in a file is stored as its own text, the functions of the file that it calls, and its captured
//! variables, so that the stored file needs nothing else to be opened. Functions defined in a cell are not stored,
//! since they may use whatever other cells hold.

pub mod pieces;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rhai::{Dynamic, Engine, FnPtr, Scope};

use self::pieces::{Outside, Piece, Text, joined};
use super::failure;
use super::resolver::find;
use super::source::{SESSION, Sources};
use super::values::Types;
use crate::context::Context;
use crate::declare::{ADVICE, FromValue, Function, INCOMPLETE, IntoValue, Map, Value, entry};
use crate::error::{Error, Result};
use crate::flow::{Loss, Path, Timesteps};
use crate::model::Part;
use crate::spectral::basis::Basis;
use crate::spectral::{Correction, Filter, Gate};
use crate::torch::{DType, Device, Tensor};

/// Name of the function around a stored closure, whose parameters are the captured variables.
const AROUND: &str = "__stored";

/// Converts a function to data: `#{ function, file, pieces, lines, captured }`. What no file can hold makes it incomplete,
/// see [`Function::to_compared`].
pub fn store(types: &Arc<Types>, engine: &Engine, sources: &Sources, pointer: &FnPtr) -> Result<Value> {
    let name = pointer.fn_name();
    let mut origins = sources.origins(name);
    // A cell that is run again has the same functions, and so has a copy of a file.
    let texts: Vec<String> = origins.iter().map(|o| o.text.clone()).collect();
    if !origins.first().is_some_and(|origin| origin.whole) {
        return Err(Error::argument("it was defined in a cell; only functions in files can be stored"));
    }
    if pointer.is_anonymous() || texts.iter().all(|text| *text == texts[0]) {
        origins.truncate(1);
    }
    let [origin] = &origins[..] else {
        let files: Vec<&str> = origins.iter().map(|o| o.file.as_str()).collect();
        return Err(Error::argument(format!("a function `{name}` is in {}", crate::error::list(&files)))
            .hint("give it another name in one of the files"));
    };
    let text = Text::new(engine, &origin.text);
    let own = match pointer.is_anonymous() {
        true => text.closure(origin.body, &origin.params),
        false => text.function(name),
    };
    let Some(own) = own else {
        return Err(Error::internal(format!("the text of a function of {} was not found", origin.file)));
    };
    // Of a named function, all functions of that name are stored.
    let start = if pointer.is_anonymous() { own.text.as_str() } else { name };
    let called = text.called(engine, start);
    let mut incomplete = called.outside.first().map(|outside| {
        Error::argument(format!("it calls functions of the imported `{}`", outside.import))
            .hint("only code in the same file can be stored: move the function into this file")
    });
    let Some(libraries) = libraries(engine, sources, &origin.file, called.outside) else {
        return Err(incomplete.unwrap_or_else(|| Error::internal("an imported file was not found")));
    };
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
        to_data(types, value).unwrap_or_else(|error| {
            incomplete.get_or_insert(error.context(format!("its variable `{name}`")));
            types.lift(value).map_or(Value::Unit, compared)
        })
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
    if !libraries.is_empty() {
        data.insert("libraries".to_string(), Value::List(libraries));
    }
    if let Some(error) = incomplete {
        data.insert(INCOMPLETE.to_string(), Value::Str(error.message()));
        data.extend(error.hint_text().map(|hint| (ADVICE.to_string(), Value::Str(hint.to_string()))));
    }
    Ok(Value::Map(data))
}

/// Returns what a function of the file `home` calls in imported files, as code of each; `None` if a file is not known. Of a
/// name that is no function there, the whole file counts.
fn libraries(engine: &Engine, sources: &Sources, home: &str, outside: Vec<Outside>) -> Option<Vec<Value>> {
    let mut open: Vec<(String, Outside)> = outside.into_iter().map(|o| (home.to_string(), o)).collect();
    let mut seen = BTreeSet::new();
    let mut found: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
    while let Some((home, outside)) = open.pop() {
        // A script that is run counts as a cell.
        let home = if sources.text_of(&home).is_some() { home.as_str() } else { SESSION };
        let file = find(&sources.folder(home), &outside.path).ok()?.display().to_string();
        if !seen.insert((file.clone(), outside.name.clone())) {
            continue;
        }
        let content = sources.text_of(&file)?;
        let text = Text::new(engine, &content);
        let pieces = found.entry(file.clone()).or_default();
        let called = match text.function(&outside.name) {
            Some(_) => text.called(engine, &outside.name),
            None => {
                pieces.push(Piece { line: 1, text: content.clone() });
                text.called(engine, &content)
            }
        };
        open.extend(called.outside.into_iter().map(|outside| (file.clone(), outside)));
        for piece in called.pieces {
            if !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
        pieces.sort_by_key(|piece| piece.line);
    }
    let code = |(file, pieces): (String, Vec<Piece>)| {
        let lines = pieces.iter().map(|piece| Value::Int(piece.line as i64)).collect();
        let texts = pieces.into_iter().map(|piece| Value::Str(piece.text)).collect();
        let entries =
            [("file", Value::Str(file)), ("lines", Value::List(lines)), ("pieces", Value::List(texts))];
        Value::Map(entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    };
    Some(found.into_iter().map(code).collect())
}

/// Converts a captured value to data that may hold handles, for comparisons.
fn compared(value: Value) -> Value {
    let tag = |name: &str, value: Value| Value::Map(Map::from([(name.to_string(), value)]));
    match value {
        Value::List(list) => Value::List(list.into_iter().map(compared).collect()),
        Value::Map(map) => {
            tag("map", Value::Map(map.into_iter().map(|(name, value)| (name, compared(value))).collect()))
        }
        Value::Function(function) => tag("code", function.to_compared().unwrap_or(Value::Unit)),
        value => tagged(value.clone()).unwrap_or_else(|_| tag("handle", value)),
    }
}

/// Rebuilds the function that [`store`] converted. Its text is compiled in a module of its own; nothing of it runs.
pub fn restore(
    types: &Arc<Types>,
    engine: &Engine,
    sources: &Sources,
    context: &Context,
    data: &Value,
) -> Result<Function> {
    let Value::Map(map) = data else { return Err(data.mismatch("stored code")) };
    fn field<T: FromValue>(map: &Map, name: &str) -> Result<T> {
        entry(map, "stored code", name)
    }
    if let Some(Value::Str(why)) = map.get(INCOMPLETE) {
        return Err(Error::argument(format!("its code was not stored: {why}")));
    }
    let (name, file): (String, String) = (field(map, "function")?, field(map, "file")?);
    let named: bool = field(map, "named")?;
    let (texts, lines): (Vec<String>, Vec<i64>) = (field(map, "pieces")?, field(map, "lines")?);
    let names: Vec<String> = field(map, "names")?;
    let captured = field::<Vec<Value>>(map, "captured")?;
    let captured =
        captured.iter().map(|value| from_data(types, context, value)).collect::<Result<Vec<_>>>()?;
    crate::ensure!(
        !texts.is_empty() && texts.len() == lines.len() && names.len() == captured.len(),
        "stored code has a line for each piece and a name for each value"
    );
    let mut pieces: Vec<Piece> = texts
        .into_iter()
        .zip(lines)
        .map(|(text, line)| Piece { line: usize::try_from(line).unwrap_or(1).clamp(1, 50_000), text })
        .collect();
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
    let text = joined(&pieces);
    let shown = format!("{file}, as it was stored");
    let ast = sources.compile_library(engine, &shown, &text).map_err(|error| {
        let place =
            sources.locate(&shown, error.position()).map_or(String::new(), |p| format!(" line {}:", p.line));
        Error::argument(format!("{shown}:{place} {}", error.err_type()))
            .hint("was it written by another version of spectral?")
    })?;
    let ast = ast.clone_functions_only();
    let pointer = if named {
        let mut pointer = FnPtr::new(name.as_str()).map_err(failure::native)?;
        pointer.set_curry(captured);
        pointer
    } else {
        engine.call_fn::<FnPtr>(&mut Scope::new(), &ast, AROUND, captured).map_err(failure::native)?
    };
    let again = data.clone();
    Ok(types.function_in(pointer, ast).with_code(move || Ok(again.clone())))
}

/// Converts a captured value to data; a value that no file can hold is an error.
fn to_data(types: &Arc<Types>, value: &Dynamic) -> Result<Value> {
    tagged(types.lift(value)?)
}

fn tagged(value: Value) -> Result<Value> {
    let tag = |name: &str, value: Value| Value::Map(Map::from([(name.to_string(), value)]));
    Ok(match value {
        Value::Unit | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_) => value,
        Value::List(list) => Value::List(list.into_iter().map(tagged).collect::<Result<_>>()?),
        Value::Map(map) => {
            let entries = map.into_iter().map(|(name, value)| Ok((name, tagged(value)?)));
            tag("map", Value::Map(entries.collect::<Result<_>>()?))
        }
        Value::Range(a, b) => tag("range", Value::List(vec![Value::Int(a), Value::Int(b)])),
        Value::Function(function) => tag("code", function.to_data()?),
        Value::Object(_) if value.downcast::<Tensor>().is_some_and(|t| t.count() <= NUMBERS) => {
            tag("tensor", numbers(&value)?)
        }
        Value::Object(ref object) => match object.to_data() {
            Some(data) if RESTORED.contains(&object.type_name()) => {
                complete(&value)?;
                tag(object.type_name(), data)
            }
            _ => {
                return Err(Error::argument(format!("{} is not stored with code", value.describe())).hint(
                    "create it inside the function; a large tensor can become a parameter of the builder",
                ));
            }
        },
    })
}

/// Handles that can be rebuilt from their data.
const RESTORED: [&str; 8] = ["filter", "gate", "correction", "part", "basis", "loss", "path", "timesteps"];

/// Returns an error if the value is a loss or a path with a function that cannot be stored.
fn complete(value: &Value) -> Result<()> {
    let loss = value.downcast::<Loss>().map(|loss| loss.not_stored());
    let path = value.downcast::<Path>().map(|path| path.not_stored());
    match loss.or(path).unwrap_or_default().into_iter().next() {
        Some((name, why)) => Err(why.context(format!("`{name}` of {}", value.describe()))),
        None => Ok(()),
    }
}

/// Largest number of elements of a tensor that is stored as a constant of a function.
const NUMBERS: usize = 1 << 16;

/// Converts a tensor to data.
fn numbers(value: &Value) -> Result<Value> {
    let tensor = Tensor::from_value(value)?;
    let plain = |what: DType| Tensor::detach(&tensor)?.to_device(Device::Cpu)?.to_dtype(what);
    let values = match tensor.dtype() {
        dtype if dtype.is_float() => plain(DType::Float64)?.to_f64()?.into_value(),
        dtype if dtype.is_complex() => {
            return Err(Error::argument(format!("a {} is not stored with code", tensor.signature())));
        }
        _ => plain(DType::Int64)?.to_i64()?.into_value(),
    };
    let entries =
        [("dtype", tensor.dtype().into_value()), ("shape", tensor.shape().into_value()), ("values", values)];
    Ok(Value::Map(entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect()))
}

fn from_numbers(data: &Value) -> Result<Tensor> {
    let map = Map::from_value(data)?;
    let entry = |name: &str| map.get(name).cloned().unwrap_or(Value::Unit);
    let (dtype, shape) = (DType::from_value(&entry("dtype"))?, Vec::<i64>::from_value(&entry("shape"))?);
    let tensor = match dtype.is_float() {
        true => Tensor::from_f64(&Vec::<f64>::from_value(&entry("values"))?, &shape)?,
        false => Tensor::from_i64(&Vec::<i64>::from_value(&entry("values"))?, &shape)?,
    };
    tensor.to_dtype(dtype)
}

fn from_data(types: &Arc<Types>, context: &Context, data: &Value) -> Result<Dynamic> {
    types.lower(untagged(context, data)?)
}

fn untagged(context: &Context, data: &Value) -> Result<Value> {
    let map = match data {
        Value::List(list) => {
            return list.iter().map(|v| untagged(context, v)).collect::<Result<_>>().map(Value::List);
        }
        Value::Map(map) => map,
        plain => return Ok(plain.clone()),
    };
    let (Some((tag, value)), 1) = (map.iter().next(), map.len()) else {
        return Err(data.mismatch("a stored value"));
    };
    Ok(match (tag.as_str(), value) {
        ("map", Value::Map(map)) => {
            let entries = map.iter().map(|(name, value)| Ok((name.clone(), untagged(context, value)?)));
            Value::Map(entries.collect::<Result<_>>()?)
        }
        ("range", _) => {
            let (a, b) = <(i64, i64)>::from_value(value)?;
            Value::Range(a, b)
        }
        ("code", _) => Value::Function(Function::of_code(value, context)?),
        ("filter", _) => Filter::from_data(value)?.into_value(),
        ("gate", _) => Gate::from_data(value)?.compiled(context)?.into_value(),
        ("correction", _) => Correction::from_data(value)?.compiled(context)?.into_value(),
        ("basis", _) => Basis::from_data(value)?.into_value(),
        ("loss", _) => Loss::compiled(value, context)?.into_value(),
        ("path", _) => Path::from_data(value, context)?.into_value(),
        ("timesteps", _) => Timesteps::from_data(value)?.into_value(),
        ("tensor", _) => from_numbers(value)?.into_value(),
        ("part", _) => Part::from_data(value)?.compiled(context)?.into_value(),
        (other, _) => return Err(Error::argument(format!("there is no stored value of the kind `{other}`"))),
    })
}
