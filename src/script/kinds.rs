//! Types of arguments and options that are certain without running a script.

use rhai::Expr;

use super::check::constant;
use super::names::Names;
use crate::declare::{Value, singular};
use crate::error::{Error, Kind, Problem};

/// Words of type names that accept no text.
const NO_TEXT: [&str; 12] = [
    "int",
    "float",
    "bool",
    "tensor",
    "range",
    "number",
    "map",
    "function",
    "loss",
    "filter",
    "gate",
    "generator",
];

/// Types that are never converted to one another.
const APART: [&str; 3] = ["filter", "gate", "loss"];

/// Returns the error of a value that an argument or option with this type name never accepts.
pub fn mismatch(label: &str, value: &Expr, names: &Names) -> Option<Error> {
    let words = label.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let words: Vec<&str> = words.map(singular).collect();
    let joining = |w: &&&str| !["or", "of", "array"].contains(*w);
    let some = words.iter().any(|w| joining(&w));
    let only = |known: &[&str]| some && words.iter().filter(joining).all(|w| known.contains(w));
    let found = match (constant(value), value) {
        (Some(text @ Value::Str(_)), _) if only(&NO_TEXT) => text.describe(),
        (Some(number @ (Value::Int(_) | Value::Float(_) | Value::Bool(_))), _) if only(&APART) => {
            number.describe()
        }
        (_, Expr::FnCall(call, _)) if only(&APART) => {
            let path = super::names::path(&call.namespace.to_string(), &call.name);
            let made: Vec<String> = names
                .get(&path)
                .iter()
                .map(|k| k.declaration.map(|d| (d.returns)()).unwrap_or_default())
                .collect();
            let kind = made.first().filter(|kind| made.iter().all(|k| k == *kind))?;
            if !APART.contains(&kind.as_str()) || words.contains(&kind.as_str()) {
                return None;
            }
            format!("a {kind}")
        }
        _ => return None,
    };
    Some(Error::of(Kind::Argument, Problem::Mismatch { expected: label.to_string(), found }))
}
