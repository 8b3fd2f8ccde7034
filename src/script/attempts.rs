//! Work of a sweep that may fail: the whole error becomes data, with its place and hint.
//!
//! A `catch` of rhai receives the error alone, without the calls that it passed through. They tell in which file the
//! place is, so a library that calls a closure of a user runs it with [`ATTEMPT`].

use std::path::PathBuf;
use std::sync::Arc;

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, Map, NativeCallContext, Scope};

use super::diagnose::diagnose;
use super::engine::Language;
use super::failure::{At, Diagnosis, innermost, raise};
use super::source::Sources;
use super::std_lib::LIBRARIES;
use super::values::Types;
use crate::files;

/// Function that calls a function with a value: a map of its `value`, or of the `error`, `place` and `hint` of the error
/// that ended it.
pub const ATTEMPT: &str = "__attempt";

/// Function that tells the launcher of several workers what this one computes.
pub const WORKING: &str = "__working";

/// Variable with the file into which a worker writes what it computes.
pub const WORKING_FILE: &str = "SPECTRAL_WORKING";

type Attempted = Result<Dynamic, Box<EvalAltResult>>;

/// Registers the functions for the library.
pub fn register(engine: &mut Engine, types: &Arc<Types>, sources: &Sources) {
    let (types, sources) = (Arc::clone(types), sources.clone());
    let attempt = move |call: NativeCallContext, work: FnPtr, point: Dynamic| -> Attempted {
        let outcome = match work.call_within_context::<Dynamic>(&call, (point,)) {
            Ok(value) => ("value", value),
            // A stop of the script is no failure of its work.
            Err(error) if !innermost(&error).is_catchable() => return Err(error),
            Err(error) => {
                let (engine, imports) = types.home().map_err(|e| raise(e, At::of(&call)))?;
                let (types, sources) = (Arc::clone(&types), sources.clone());
                let language = Language { engine, types, sources, imports };
                return Ok(failed(&diagnose(&language, &Scope::new(), &error)).into());
            }
        };
        Ok(Map::from([(outcome.0.into(), outcome.1)]).into())
    };
    engine.register_fn(ATTEMPT, attempt);
    let file = std::env::var_os(WORKING_FILE).map(PathBuf::from);
    engine.register_fn(WORKING, move |what: &str| {
        // Without the file the launcher says less when the worker dies.
        if let Some(file) = &file {
            let _ = files::write(file, what);
        }
    });
}

fn failed(diagnosis: &Diagnosis) -> Map {
    let mut map = Map::from([("error".into(), diagnosis.message.clone().into())]);
    let place = diagnosis.place.as_ref().filter(|place| LIBRARIES.iter().all(|l| l.file != place.file));
    if let Some(place) = place {
        map.insert("place".into(), format!("{}:{}:{}", place.file, place.line, place.column).into());
    }
    if let Some(hint) = &diagnosis.hint {
        map.insert("hint".into(), hint.clone().into());
    }
    map
}
