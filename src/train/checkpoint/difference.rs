//! The first setting that two runs have differently, in words.

use crate::declare::{Map, Value};

/// The first setting that two maps have both and that differs: `lr was 0.1 and is 0.2`.
///
/// Code is compared by its text, of which the first line that differs is shown; what has no stored form is not compared.
pub fn difference(saved: &Map, here: &Map, free: &[&str]) -> Option<String> {
    let compared = saved.iter().filter(|(name, _)| !free.contains(&name.as_str()));
    compared.into_iter().find_map(|(name, old)| changed(name, old, here.get(name)?))
}

fn changed(name: &str, old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Unit, code) | (code, Value::Unit) if is_code(code) => None,
        (Value::Map(a), Value::Map(b)) if is_code(old) && is_code(new) => code_changed(name, a, b),
        (Value::Map(a), Value::Map(b)) if holds_code(old) || holds_code(new) => parts_changed(name, a, b),
        (Value::List(a), Value::List(b)) if a.len() == b.len() && (holds_code(old) || holds_code(new)) => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| changed(&format!("{name}[{i}]"), a, b))
        }
        (Value::List(a), Value::List(b)) if holds_code(old) || holds_code(new) => {
            Some(format!("`{name}` had {} entries and has {}", a.len(), b.len()))
        }
        _ => {
            let (old, new) = (text(old), text(new));
            (old != new).then(|| format!("`{name}` was {old} and is {new}"))
        }
    }
}

/// The first part of a setting that differs, by name where both have it.
fn parts_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    // What a stored handle is made of stands in its options, whose name says nothing.
    let part = |key: &str| if key == "options" { name.to_string() } else { format!("{name}.{key}") };
    let mut names: Vec<&String> =
        old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).collect();
    // A kind says more than the parts of which it has others.
    names.sort_by_key(|key| *key != "kind");
    names.into_iter().find_map(|key| match (old.get(key), new.get(key)) {
        (Some(old), Some(new)) => changed(&part(key), old, new),
        (Some(_), None) => Some(format!("`{}` was given and is not", part(key))),
        _ => Some(format!("`{}` was not given and is", part(key))),
    })
}

/// The code of a setting that changed: where its text differs first, else what else is stored with it.
fn code_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    let whole = |map: &Map| text(&identity(&Value::Map(map.clone())));
    if whole(old) == whole(new) {
        return None;
    }
    let lines = |map: &Map| match map.get(PIECES) {
        Some(Value::List(pieces)) => pieces
            .iter()
            .flat_map(|piece| match piece {
                Value::Str(text) => text.lines().map(|l| l.trim().to_string()).collect(),
                _ => Vec::new(),
            })
            .collect(),
        _ => Vec::new(),
    };
    let (a, b): (Vec<String>, Vec<String>) = (lines(old), lines(new));
    let line =
        |lines: &[String], i: usize| lines.get(i).map_or("missing".to_string(), |l| format!("`{}`", cut(l)));
    let first = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i));
    Some(match first {
        Some(i) => {
            format!("the code of `{name}` changed: line {} was {} and is {}", i + 1, line(&a, i), line(&b, i))
        }
        None => format!("the code of `{name}` changed, in what it is called with"),
    })
}

/// At most so many letters that a message stays one line.
fn cut(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_string(),
    }
}

/// The texts of which stored code consists.
const PIECES: &str = "pieces";

fn is_code(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.contains_key(PIECES))
}

/// Code without where it stands: a line that was added above it changes nothing.
fn identity(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let place = |name: &str| is_code(value) && ["file", "lines", "function"].contains(&name);
            let kept = map.iter().filter(|(name, _)| !place(name));
            Value::Map(kept.map(|(name, part)| (name.clone(), identity(part))).collect())
        }
        Value::List(list) => Value::List(list.iter().map(identity).collect()),
        other => other.clone(),
    }
}

/// Whether code, or something without a stored form, is among the parts of a value.
fn holds_code(value: &Value) -> bool {
    match value {
        Value::Map(map) => {
            map.values().any(|part| matches!(part, Value::Unit) || is_code(part) || holds_code(part))
        }
        Value::List(list) => list.iter().any(|part| is_code(part) || holds_code(part)),
        _ => false,
    }
}

fn text(value: &Value) -> String {
    value.to_json_text().unwrap_or_else(|| format!("{value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, Value)]) -> Map {
        entries.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    fn code(text: &str) -> Value {
        let pieces = Value::List(text.split("\n\n").map(|piece| Value::Str(piece.to_string())).collect());
        Value::Map(map(&[("pieces", pieces), ("lines", Value::List(vec![Value::Int(text.len() as i64)]))]))
    }

    fn path(entries: &[(&str, Value)]) -> Map {
        let stored = map(&[("kind", Value::Str("path".to_string())), ("options", Value::Map(map(entries)))]);
        map(&[("path", Value::Map(stored))])
    }

    #[test]
    fn numbers_and_maps_are_shown_whole() {
        let (a, b) =
            (map(&[("lr", Value::Float(0.1)), ("n", Value::Int(1))]), map(&[("lr", Value::Float(0.2))]));
        assert_eq!(difference(&a, &b, &[]).unwrap(), "`lr` was 0.1 and is 0.2");
        assert_eq!(difference(&a, &b, &["lr"]), None);
    }

    #[test]
    fn code_is_named_with_its_first_other_line() {
        let of = |text: &str| path(&[("noise", code(text))]);
        let (a, b) = (of("fn f(z) {\n    z * 2.0\n}"), of("fn f(z) {\n    z * 3.0\n}"));
        assert_eq!(difference(&a, &a, &[]), None);
        assert_eq!(
            difference(&a, &b, &[]).unwrap(),
            "the code of `path.noise` changed: line 2 was `z * 2.0` and is `z * 3.0`"
        );
        let list = |text: &str| map(&[("parts", Value::List(vec![Value::Int(1), code(text)]))]);
        let found = difference(&list("x + 1"), &list("x + 2"), &[]).unwrap();
        assert_eq!(found, "the code of `parts[1]` changed: line 1 was `x + 1` and is `x + 2`");
        let fewer = map(&[("parts", Value::List(vec![code("x")]))]);
        assert_eq!(difference(&fewer, &list("x"), &[]).unwrap(), "`parts` had 1 entries and has 2");
        let long = of(&format!("fn f(z) {{\n{}", "z".repeat(300)));
        assert!(difference(&a, &long, &[]).unwrap().len() < 200);
    }

    #[test]
    fn what_has_no_stored_form_is_not_compared_but_counts_as_given() {
        let (closure, file) = (path(&[("noise", Value::Unit)]), path(&[("noise", code("x"))]));
        assert_eq!(difference(&closure, &file, &[]), None);
        assert_eq!(difference(&closure, &closure, &[]), None);
        assert_eq!(difference(&path(&[]), &closure, &[]).unwrap(), "`path.noise` was not given and is");
        assert_eq!(difference(&file, &path(&[]), &[]).unwrap(), "`path.noise` was given and is not");
        let predict = path(&[("predict", Value::Str("x".to_string()))]);
        assert!(difference(&path(&[]), &predict, &[]).unwrap().starts_with("`path` was {"));
    }
}
