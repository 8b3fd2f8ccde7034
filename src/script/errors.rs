//! The `error` value that `catch (e)` gives.

use std::sync::Arc;

use rhai::{Dynamic, Engine, NativeCallContext};

use super::report::{At, Failure};
use super::source::CAUGHT;
use super::translate;
use super::values::Types;
use crate::declare::Value;
use crate::error::Error;
use crate::functions;

functions! { properties;
    /// What went wrong, in one sentence.
    ///
    /// ```rhai
    /// try { throw "no data" } catch (e) { assert_eq(e.message, "no data"); }
    /// ```
    fn message(e: Failure) -> String { Ok(e.error.message().to_string()) }

    /// What to try, or `()` when there is nothing to suggest.
    ///
    /// ```rhai
    /// try { tensor::zeros([2], #{ dtyp: "int64" }) } catch (e) { assert_eq(e.hint, "did you mean `dtype`?"); }
    /// ```
    fn hint(e: Failure) -> Option<String> { Ok(e.error.hint_text().map(str::to_string)) }

    /// The sort of error in a word.
    ///
    /// `argument`, `file`, `torch`, `usage`, `internal` come from native functions; `name`, `type`, `index`,
    /// `arithmetic`, `constant` from the language; `thrown` from `throw`.
    ///
    /// ```rhai
    /// try { [1, 2][5] } catch (e) { assert_eq(e.kind, "index"); }
    /// ```
    fn kind(e: Failure) -> String { Ok(e.kind.to_string()) }

    /// What `throw` was given, or `()` for every other error.
    ///
    /// ```rhai
    /// try { throw #{ code: 7 } } catch (e) { assert_eq(e.value.code, 7); }
    /// ```
    fn value(e: Failure) -> Option<Value> { Ok(e.value.clone()) }
}

/// Registers the function that every `catch` calls first.
pub fn register_caught(engine: &mut Engine, types: &Arc<Types>) {
    let types = Arc::clone(types);
    engine.register_fn(CAUGHT, move |context: NativeCallContext, caught: Dynamic| -> Dynamic {
        Dynamic::from(caught_value(&types, &context, caught))
    });
}

fn caught_value(types: &Arc<Types>, context: &NativeCallContext, caught: Dynamic) -> Failure {
    if caught.is::<Failure>() {
        return caught.cast::<Failure>();
    }
    // rhai describes its own errors with a map; that of a user has no such entry.
    if let Some(map) = caught.read_lock::<rhai::Map>() {
        if let Some(error) = translate::from_map(&map) {
            let (error, kind) = translate::translate(&error, &translate::Surroundings::of(context.engine()));
            let number = |key: &str| map.get(key).and_then(|v| v.as_int().ok()).unwrap_or(0) as u16;
            let position = match number("line") {
                0 => rhai::Position::NONE,
                line => rhai::Position::new(line, number("position")),
            };
            let source = map.get("source").map(ToString::to_string).unwrap_or_default();
            return Failure { error, kind, at: At { source, position }, value: None };
        }
    }
    thrown(types, &caught, At { source: At::of(context).source, position: rhai::Position::NONE })
}

/// The error for a value that a script threw.
pub fn thrown(types: &Arc<Types>, value: &Dynamic, at: At) -> Failure {
    let lifted = types.lift(value).ok();
    let text = |v: &Value| match v {
        Value::Str(s) => s.clone(),
        other => format!("{other:?}"),
    };
    let mut error = match &lifted {
        Some(Value::Map(map)) if map.contains_key("message") => Error::argument(text(&map["message"])),
        Some(Value::Unit) => Error::argument("the script threw an error without a message"),
        Some(value) => Error::argument(text(value)),
        None => Error::argument(value.to_string()),
    };
    if let Some(Value::Map(map)) = &lifted {
        if let Some(hint) = map.get("hint") {
            error = error.hint(text(hint));
        }
    }
    Failure { error, kind: "thrown", at, value: lifted }
}
