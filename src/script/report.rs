//! Errors of scripts: where they happened, what was called, what to try.

use std::sync::{Arc, Mutex};

use rhai::{Dynamic, EvalAltResult, Position};

use crate::declare::Display;
use crate::error::{Error, Kind};
use crate::scripted;

/// A native error as scripts see it in `catch (e)`: `e.message`, `e.hint`, `e.kind`.
#[derive(Debug, Clone)]
pub struct Failure(pub Error);

scripted!(Failure, "error", |f| Display::text(f.0.to_string()));

type Carried = Mutex<Option<Box<EvalAltResult>>>;

/// A native error on its way into rhai. An error that came out of a script's callback goes back as it was.
pub fn raise(error: Error, position: Position) -> Box<EvalAltResult> {
    let carried = error.origin().and_then(|o| o.downcast_ref::<Carried>());
    if let Some(original) = carried.and_then(|c| c.lock().ok().and_then(|mut c| c.take())) {
        return original;
    }
    match error.kind() {
        Kind::Interrupted => Box::new(EvalAltResult::ErrorTerminated(Dynamic::UNIT, position)),
        _ => Box::new(EvalAltResult::ErrorRuntime(Dynamic::from(Failure(error)), position)),
    }
}

/// An error of a script's callback on its way through native code.
pub fn native(error: Box<EvalAltResult>) -> Error {
    let summary = match innermost(&error) {
        EvalAltResult::ErrorTerminated(..) => return Error::interrupted(),
        EvalAltResult::ErrorRuntime(value, _) if value.is::<Failure>() => value.clone_cast::<Failure>().0,
        other => Error::argument(other.to_string()),
    };
    let carried: Carried = Mutex::new(Some(error));
    summary.with_origin(Arc::new(carried))
}

/// The error inside all calls that it passed through.
pub fn innermost(error: &EvalAltResult) -> &EvalAltResult {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) | EvalAltResult::ErrorInModule(_, inner, _) => {
            innermost(inner)
        }
        other => other,
    }
}
