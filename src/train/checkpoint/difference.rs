//! Description of the first setting that differs between two runs.

use crate::declare::{FromValue, Map, Value};
use crate::spectral::filter::SAME_RADIUS as SAME;

/// Returns a description of the first setting that both maps have and that differs: `lr was 0.1 and is 0.2`.
///
/// Settings in `free` are ignored. Code is compared by its text, and the first line that differs is shown. Values
/// without a stored form are not compared.
pub fn difference(saved: &Map, here: &Map, free: &[&str]) -> Option<String> {
    let compared = saved.iter().filter(|(name, _)| !free.contains(&name.as_str()));
    compared.into_iter().find_map(|(name, old)| {
        let (old, new) = at_common_radii(old, here.get(name)?);
        changed(name, &old, &new)
    })
}

/// Returns whether two values of a setting differ, as [`difference`] compares them.
pub fn differs(name: &str, one: &Value, other: &Value) -> bool {
    let (one, other) = at_common_radii(one, other);
    changed(name, &one, &other).is_some()
}

/// Returns two values with the responses of filters at the radii that both have been sampled at: every grid on which a
/// filter is used adds radii, and says nothing about its gains.
fn at_common_radii(one: &Value, other: &Value) -> (Value, Value) {
    type Samples = Vec<(f64, f64)>;
    match (one, other) {
        (Value::Map(a), Value::Map(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            for (name, first) in &mut a {
                let Some(second) = b.get_mut(name) else { continue };
                let both = (name == "samples")
                    .then(|| Some((Samples::from_value(first).ok()?, Samples::from_value(second).ok()?)));
                (*first, *second) = match both.flatten() {
                    Some((ours, theirs)) => (common(first, &ours, &theirs), common(second, &theirs, &ours)),
                    None => at_common_radii(first, second),
                };
            }
            (Value::Map(a), Value::Map(b))
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            let (a, b) = a.iter().zip(b).map(|(a, b)| at_common_radii(a, b)).unzip();
            (Value::List(a), Value::List(b))
        }
        _ => (one.clone(), other.clone()),
    }
}

/// Returns the entries of a list of samples, `own`, whose radius is among those of `other`.
fn common(list: &Value, own: &[(f64, f64)], other: &[(f64, f64)]) -> Value {
    let Value::List(entries) = list else { return list.clone() };
    let has = |radius: f64| {
        let place = other.partition_point(|(r, _)| *r < radius - SAME);
        other.get(place).is_some_and(|(r, _)| (r - radius).abs() <= SAME)
    };
    Value::List(
        entries.iter().zip(own).filter(|(_, (r, _))| has(*r)).map(|(entry, _)| entry.clone()).collect(),
    )
}

fn changed(name: &str, old: &Value, new: &Value) -> Option<String> {
    match (old, new) {
        (Value::Unit, code) | (code, Value::Unit) if is_code(code) => None,
        (Value::Map(a), Value::Map(b)) if is_code(old) && is_code(new) => code_changed(name, a, b),
        (Value::Map(a), Value::Map(b)) if holds_code(old) || holds_code(new) => parts_changed(name, a, b),
        (Value::List(a), Value::List(b)) if a.len() == b.len() && (holds_code(old) || holds_code(new)) => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| changed(&entry(name, i, a), a, b))
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

/// Returns the name of a list entry: its own name, as in its parameters' names, or its index.
fn entry(list: &str, i: usize, value: &Value) -> String {
    match value {
        Value::Map(map) => match map.get("name") {
            Some(Value::Str(name)) => format!("{list}.{name}"),
            _ => format!("{list}[{i}]"),
        },
        _ => format!("{list}[{i}]"),
    }
}

/// Describes the first difference between two settings that are maps.
fn parts_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    // Options, code and function of a stored value are shown under the name of the value itself.
    let part = |key: &str| match key {
        "options" | "code" | "function" => name.to_string(),
        _ => format!("{name}.{key}"),
    };
    let mut names: Vec<&String> =
        old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).collect();
    // A different `kind` is reported first, since the other parts differ because of it.
    names.sort_by_key(|key| *key != "kind");
    names.into_iter().find_map(|key| match (old.get(key), new.get(key)) {
        (Some(old), Some(new)) => changed(&part(key), old, new),
        (Some(_), None) => Some(format!("`{}` was given before but not now", part(key))),
        _ => Some(format!("`{}` is given now but was not before", part(key))),
    })
}

/// Describes a change of code: the first line that differs, or else a change of the values stored with it.
fn code_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    let whole = |map: &Map| text(&identity(&Value::Map(map.clone())));
    if whole(old) == whole(new) {
        return None;
    }
    let (a, b) = (lines(old), lines(new));
    let Some(first) =
        (0..a.len().max(b.len())).find(|i| a.get(*i).map(|l| &l.text) != b.get(*i).map(|l| &l.text))
    else {
        return Some(format!("the code of `{name}` changed: its captured values differ"));
    };
    let shown = |line: Option<&Line>| line.map_or("missing".to_string(), |l| format!("`{}`", cut(&l.text)));
    // Lines are numbered as in the current script.
    let (number, map) = match (b.get(first), a.get(first)) {
        (Some(line), _) => (line.number, new),
        (None, line) => (line.map_or(0, |l| l.number), old),
    };
    let file = match map.get("file") {
        Some(Value::Str(file)) => format!(" of {file}"),
        _ => String::new(),
    };
    let (was, is) = (shown(a.get(first)), shown(b.get(first)));
    Some(format!("the code of `{name}` changed: line {number}{file} was {was} and is {is}"))
}

/// A line of stored code and its number in the file.
struct Line {
    number: usize,
    text: String,
}

fn lines(code: &Map) -> Vec<Line> {
    let Some(Value::List(pieces)) = code.get(PIECES) else { return Vec::new() };
    let start = |piece: usize| match code.get("lines") {
        Some(Value::List(starts)) => match starts.get(piece) {
            Some(Value::Int(start)) => usize::try_from(*start).unwrap_or(1),
            _ => 1,
        },
        _ => 1,
    };
    let of = |(piece, text): (usize, &Value)| match text {
        Value::Str(text) => text
            .lines()
            .enumerate()
            .map(|(i, text)| Line { number: start(piece).saturating_add(i), text: text.trim().to_string() })
            .collect(),
        _ => Vec::new(),
    };
    pieces.iter().enumerate().flat_map(of).collect()
}

/// Cuts a line of code, so that a message stays on one line.
fn cut(line: &str) -> String {
    const MOST: usize = 60;
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}..", &line[..end]),
        None => line.to_string(),
    }
}

/// Key of the source texts of stored code.
const PIECES: &str = "pieces";

fn is_code(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.contains_key(PIECES))
}

/// Returns code without its position, so that lines added above it make no difference.
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

/// Returns whether a value contains code or something without a stored form.
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
        let lines = Value::List(text.split("\n\n").map(|_| Value::Int(11)).collect());
        let file = Value::Str("own.rhai".to_string());
        Value::Map(map(&[("pieces", pieces), ("lines", lines), ("file", file)]))
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
    fn responses_are_compared_where_both_were_sampled() {
        let of = |samples: &[(f64, f64)]| {
            let pair = |(r, g): &(f64, f64)| Value::List(vec![Value::Float(*r), Value::Float(*g)]);
            let stored = map(&[("samples", Value::List(samples.iter().map(pair).collect()))]);
            map(&[("corrections", Value::List(vec![Value::Map(map(&[("filter", Value::Map(stored))]))]))])
        };
        let whole = of(&[(0.0, 1.0), (0.5, 0.3), (1.0, 0.0)]);
        assert_eq!(difference(&whole, &of(&[(0.0, 1.0), (0.7, 0.2), (1.0, 0.0)]), &[]), None);
        assert!(difference(&whole, &of(&[(0.0, 1.0), (0.7, 0.2), (1.0, 0.1)]), &[]).is_some());
    }

    #[test]
    fn code_is_named_with_its_first_other_line() {
        let of = |text: &str| path(&[("noise", code(text))]);
        let (a, b) = (of("fn f(z) {\n    z * 2.0\n}"), of("fn f(z) {\n    z * 3.0\n}"));
        assert_eq!(difference(&a, &a, &[]), None);
        assert_eq!(
            difference(&a, &b, &[]).unwrap(),
            "the code of `path.noise` changed: line 12 of own.rhai was `z * 2.0` and is `z * 3.0`"
        );
        let list = |text: &str| map(&[("parts", Value::List(vec![Value::Int(1), code(text)]))]);
        let found = difference(&list("x + 1"), &list("x + 2"), &[]).unwrap();
        assert_eq!(found, "the code of `parts[1]` changed: line 11 of own.rhai was `x + 1` and is `x + 2`");
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
        assert_eq!(
            difference(&path(&[]), &closure, &[]).unwrap(),
            "`path.noise` is given now but was not before"
        );
        assert_eq!(difference(&file, &path(&[]), &[]).unwrap(), "`path.noise` was given before but not now");
        let predict = path(&[("predict", Value::Str("x".to_string()))]);
        assert!(difference(&path(&[]), &predict, &[]).unwrap().starts_with("`path` was {"));
    }
}
