//! The `error` value of `catch (e)`.

use std::sync::Arc;

use rhai::{Dynamic, Engine, NativeCallContext};

use super::failure::{At, Failure};
use super::source::{CAUGHT, Sources};
use super::translate::{self, Surroundings};
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
    fn message(e: Failure) -> String { Ok(e.error.message()) }

    /// What to try, or `()` if there is no suggestion.
    ///
    /// ```rhai
    /// try { tensor::zeros([2], #{ dtyp: "int64" }) } catch (e) { assert_eq(e.hint, "did you mean `dtype`?"); }
    /// ```
    fn hint(e: Failure) -> Option<String> { Ok(e.error.hint_text().map(str::to_string)) }

    /// The kind of the error, as one word.
    ///
    /// `argument`, `file`, `torch`, `usage`, `internal` come from native functions; `name`, `type`, `index`,
    /// `arithmetic`, `constant` from the language; `thrown` from `throw`.
    ///
    /// ```rhai
    /// try { [1, 2][5] } catch (e) { assert_eq(e.kind, "index"); }
    /// ```
    fn kind(e: Failure) -> String { Ok(e.kind.to_string()) }

    /// The value passed to `throw`, or `()` for every other error.
    ///
    /// ```rhai
    /// try { throw #{ code: 7 } } catch (e) { assert_eq(e.value.code, 7); }
    /// ```
    fn value(e: Failure) -> Option<Value> { Ok(e.value.clone()) }
}

/// Registers the function that every `catch` calls first.
pub fn register_caught(engine: &mut Engine, types: &Arc<Types>, sources: &Sources) {
    let (types, sources) = (Arc::clone(types), sources.clone());
    engine.register_fn(CAUGHT, move |context: NativeCallContext, caught: Dynamic| -> Dynamic {
        Dynamic::from(caught_value(&types, &sources, &context, caught))
    });
}

fn caught_value(
    types: &Arc<Types>,
    sources: &Sources,
    context: &NativeCallContext,
    caught: Dynamic,
) -> Failure {
    if caught.is::<Failure>() {
        return caught.cast::<Failure>();
    }
    // rhai describes its own errors with a map that holds the kind and the text.
    if let Some(text) = rhai_text(&caught) {
        let (error, source, position) = translate::from_text(&text);
        let (error, kind) =
            translate::translate(&error, &Surroundings::with_sources(context.engine(), sources));
        let at = At { source: source.unwrap_or_else(|| At::of(context).source), position };
        return Failure { error, kind, at, value: None };
    }
    thrown(types, &caught, At { source: At::of(context).source, position: rhai::Position::NONE })
}

fn rhai_text(caught: &Dynamic) -> Option<String> {
    let map = caught.read_lock::<rhai::Map>()?;
    let kind = map.get("error")?.clone().into_string().ok()?;
    (kind.starts_with("Error") && map.contains_key("message")).then(|| map["message"].to_string())
}

/// Creates the error for a value that a script threw.
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
    if let Some(Value::Map(map)) = &lifted
        && let Some(hint) = map.get("hint")
    {
        error = error.hint(text(hint));
    }
    Failure { error, kind: "thrown", at, value: lifted }
}
