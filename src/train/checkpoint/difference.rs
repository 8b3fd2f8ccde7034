//! Description of the settings that differ between two runs.

use super::links::without_links;
use crate::declare::{ADVICE, FromValue, INCOMPLETE, Map, Value};
use crate::spectral::filter::SAME_RADIUS as SAME;
use crate::text::code::{PIECES, changed_line, compared, cut};

/// Returns a description of all settings that both maps have and that differ: `lr was 0.1 and is 0.2; ..`.
///
/// Settings in `free` are ignored. Code is compared by its text without comments and layout, and the first line that
/// differs is shown. Values without a stored form are not compared.
pub fn difference(saved: &Map, here: &Map, free: &[&str]) -> Option<String> {
    let compared = saved.iter().filter(|(name, _)| !free.contains(&name.as_str()));
    let all = compared.into_iter().filter_map(|(name, old)| {
        let new = here.get(name).filter(|new| !identical(old, new))?;
        let (old, new) = comparable(old, new);
        changed(name, &old, &new)
    });
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// Returns whether two values of a setting differ, as [`difference`] compares them.
pub fn differs(name: &str, one: &Value, other: &Value) -> bool {
    if identical(one, other) {
        return false;
    }
    let (one, other) = comparable(one, other);
    changed(name, &one, &other).is_some()
}

/// Returns whether two values are the same data, without copies: code may have captured a large map, and a run compares at
/// each checkpoint.
fn identical(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Unit, Value::Unit) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| identical(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((name, a), (key, b))| name == key && identical(a, b))
        }
        _ => false,
    }
}

/// Returns two values without what only one of them can have.
fn comparable(one: &Value, other: &Value) -> (Value, Value) {
    let (one, other) = at_common_radii(one, other);
    without_links(&one, &other)
}

/// Returns the saved settings with the code of those here, and a description of each change of code.
pub fn with_code_of(saved: &Map, here: &Map) -> (Map, Vec<String>) {
    let mut found = Vec::new();
    let taken = saved.iter().map(|(name, old)| match here.get(name) {
        Some(new) => (name.clone(), code_taken(name, old, new, &mut found)),
        None => (name.clone(), old.clone()),
    });
    (taken.collect(), found)
}

fn code_taken(name: &str, old: &Value, new: &Value, found: &mut Vec<String>) -> Value {
    match (old, new) {
        (Value::Map(_), Value::Map(_)) if is_code(old) && is_code(new) => {
            if let (Value::Map(a), Value::Map(b)) = without_links(old, new) {
                found.extend(code_changed(name, &a, &b));
            }
            new.clone()
        }
        (Value::Map(a), Value::Map(b)) => {
            let taken = a.iter().map(|(key, old)| match b.get(key) {
                Some(new) => (key.clone(), code_taken(&part(name, key), old, new, found)),
                None => (key.clone(), old.clone()),
            });
            Value::Map(taken.collect())
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            let taken = a.iter().zip(b).enumerate();
            Value::List(taken.map(|(i, (a, b))| code_taken(&entry(name, i, a), a, b, found)).collect())
        }
        _ => old.clone(),
    }
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
        _ => (text(old) != text(new)).then(|| format!("`{name}` was {} and is {}", shown(old), shown(new))),
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

/// Returns the name of an entry of a map. Options, code and function of a stored value are shown under the name of the
/// value itself.
fn part(name: &str, key: &str) -> String {
    match key {
        "options" | "code" | "function" => name.to_string(),
        _ => format!("{name}.{key}"),
    }
}

/// Describes the first difference between two settings that are maps.
fn parts_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    let part = |key: &str| part(name, key);
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
    if let Some(line) = changed_line(old, new) {
        return Some(format!("the code of `{name}` changed: {line}"));
    }
    let what = captured_changed(name, old, new).or_else(|| outside_changed(name, old, new));
    what.or_else(|| Some(format!("the code of `{name}` changed: its captured values differ")))
}

/// Describes a change of what code captured.
fn captured_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    let of = |map: &Map| -> Option<Vec<(String, Value)>> {
        let (Value::List(names), Value::List(values)) = (map.get("names")?, map.get("captured")?) else {
            return None;
        };
        let text = |name: &Value| if let Value::Str(name) = name { name.clone() } else { String::new() };
        Some(names.iter().map(text).zip(values.iter().cloned()).collect())
    };
    of(old)?.iter().zip(&of(new)?).find_map(|((key, a), (other, b))| match holds_code(a) || holds_code(b) {
        _ if key != other => None,
        true => changed(&format!("{name}.{key}"), a, b),
        false => {
            let (a, b) = (text(a), text(b));
            let shown = format!("`{key}` was {} and is {}", cut(&a), cut(&b));
            (a != b).then(|| format!("the code of `{name}` changed: {shown}"))
        }
    })
}

/// Describes a change of what code takes from outside of its text: constants, and code of imported files.
fn outside_changed(name: &str, old: &Map, new: &Map) -> Option<String> {
    let file = |map: &Map| match map.get("file") {
        Some(Value::Str(file)) => file.clone(),
        _ => String::new(),
    };
    let (was, is) = (libraries(old), libraries(new));
    let values = ["constants", "variables"].into_iter().find_map(|part| {
        let (Some(Value::Map(a)), Some(Value::Map(b))) = (old.get(part), new.get(part)) else { return None };
        let differs = |(key, a): (&String, &Value)| match (a, b.get(key)?) {
            (Value::Map(a), Value::Map(b)) if is_code_of_value(a) && is_code_of_value(b) => {
                changed(&format!("{name}.{key}"), &a["code"], &b["code"])
            }
            (a, b) => {
                let (a, b) = (text(&identity(a)), text(&identity(b)));
                let shown = format!("`{key}` of {} was {} and is {}", file(new), cut(&a), cut(&b));
                (a != b).then(|| format!("the code of `{name}` changed: {shown}"))
            }
        };
        a.iter().find_map(differs)
    });
    let code =
        || was.iter().find_map(|a| code_changed(name, a, is.iter().find(|b| file(b) == file(a)).copied()?));
    let imports = || {
        let of = |map: &Map, all: &[&Map], key: &str| {
            let Some(Value::Map(imports)) = map.get("imports") else { return None };
            let Some(Value::Int(number)) = imports.get(key) else { return None };
            all.get(usize::try_from(*number).ok()?).map(|library| file(library))
        };
        let Some(Value::Map(named)) = old.get("imports") else { return None };
        named.keys().find_map(|key| {
            let (was, is) = (of(old, &was, key)?, of(new, &is, key)?);
            let changed = format!("the code of `{name}` changed: its import `{key}` was {was} and is {is}");
            (was != is).then_some(changed)
        })
    };
    values.or_else(code).or_else(imports)
}

/// Returns whether a stored value is a function.
fn is_code_of_value(map: &Map) -> bool {
    map.len() == 1 && map.get("code").is_some_and(is_code)
}

/// Returns the code of imported files.
pub(super) fn libraries(code: &Map) -> Vec<&Map> {
    let Some(Value::List(all)) = code.get(LIBRARIES) else { return Vec::new() };
    all.iter().filter_map(|one| if let Value::Map(map) = one { Some(map) } else { None }).collect()
}

/// Key of the code of imported files.
pub(super) const LIBRARIES: &str = "libraries";

pub(super) fn is_code(value: &Value) -> bool {
    matches!(value, Value::Map(map) if map.contains_key(PIECES))
}

/// Returns code without its position and layout, so that lines added above it and comments make no difference.
fn identity(value: &Value) -> Value {
    match value {
        Value::Map(map) => {
            let place = |name: &str| {
                is_code(value) && ["file", "lines", "function", INCOMPLETE, ADVICE].contains(&name)
            };
            let kept = map.iter().filter(|(name, _)| !place(name));
            let part = |name: &str, part: &Value| match part {
                Value::List(pieces) if name == PIECES => Value::List(pieces.iter().map(piece).collect()),
                part => identity(part),
            };
            Value::Map(kept.map(|(name, value)| (name.clone(), part(name, value))).collect())
        }
        Value::List(list) => Value::List(list.iter().map(identity).collect()),
        other => other.clone(),
    }
}

fn piece(value: &Value) -> Value {
    match value {
        Value::Str(text) => Value::Str(compared(text)),
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

/// Returns the text of a value in messages; for a map with code, which is long, its name.
fn shown(value: &Value) -> String {
    match value {
        Value::Map(map) if holds_code(value) => match map.get("name") {
            Some(Value::Str(name)) => format!("{name}, which has code"),
            _ => "code".to_string(),
        },
        other => text(other),
    }
}

fn text(value: &Value) -> String {
    value.to_json_text().unwrap_or_else(|| format!("{value:?}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn map(entries: &[(&str, Value)]) -> Map {
        entries.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    pub fn code(text: &str) -> Value {
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
        let c = map(&[("lr", Value::Float(0.2)), ("n", Value::Int(3))]);
        assert_eq!(difference(&a, &c, &[]).unwrap(), "`lr` was 0.1 and is 0.2; `n` was 1 and is 3");
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
    fn captured_values_that_differ_are_named() {
        let of = |momentum: f64, inner: &str| {
            let Value::Map(mut own) = code("|x| momentum * f.call(x)") else { unreachable!() };
            let names = ["momentum", "f"].map(|name| Value::Str(name.to_string()));
            let captured = vec![Value::Float(momentum), Value::Map(map(&[("code", code(inner))]))];
            own.insert("names".to_string(), Value::List(names.to_vec()));
            own.insert("captured".to_string(), Value::List(captured));
            map(&[("loss", Value::Map(own))])
        };
        let found = |other: Map| difference(&of(0.9, "|x| x"), &other, &[]);
        assert_eq!(found(of(0.9, "|x| x")), None);
        let momentum = "the code of `loss` changed: `momentum` was 0.9 and is 0.5";
        assert_eq!(found(of(0.5, "|x| x")).unwrap(), momentum);
        let inner = "the code of `loss.f` changed: line 11 of own.rhai was `|x| x` and is `|x| -x`";
        assert_eq!(found(of(0.9, "|x| -x")).unwrap(), inner);
    }

    #[test]
    fn what_code_takes_from_outside_is_compared_file_by_file() {
        let of = |files: &[(&str, &str)], import: i64, constant: f64| {
            let Value::Map(mut own) = code("|x| a::f(x) * global::N") else { unreachable!() };
            let library = |(name, text): &(&str, &str)| {
                let Value::Map(mut library) = code(text) else { unreachable!() };
                library.insert("file".to_string(), Value::Str(name.to_string()));
                Value::Map(library)
            };
            own.insert("libraries".to_string(), Value::List(files.iter().map(library).collect()));
            own.insert("imports".to_string(), Value::Map(map(&[("a", Value::Int(import))])));
            own.insert("constants".to_string(), Value::Map(map(&[("N", Value::Float(constant))])));
            map(&[("loss", Value::Map(own))])
        };
        let (a, b) = (("a.rhai", "fn f(x) { x }"), ("b.rhai", "fn f(x) { 2 * x }"));
        let base = of(&[a, b], 0, 1.0);
        assert_eq!(difference(&base, &base, &[]), None);
        let found = |other: Map| difference(&base, &other, &[]).unwrap();
        let constant = "the code of `loss` changed: `N` of own.rhai was 1.0 and is 2.0";
        assert_eq!(found(of(&[a, b], 0, 2.0)), constant);
        let import = "the code of `loss` changed: its import `a` was a.rhai and is b.rhai";
        assert_eq!(found(of(&[a, b], 1, 1.0)), import);
        // A file that comes before the others does not stand for them.
        let more = ("0.rhai", "fn first() { 0 }");
        let text = found(of(&[more, a, ("b.rhai", "fn f(x) { 3 * x }")], 1, 1.0));
        let line = "line 11 of b.rhai was `fn f(x) { 2 * x }` and is `fn f(x) { 3 * x }`";
        assert_eq!(text, format!("the code of `loss` changed: {line}"));
    }

    #[test]
    fn comments_and_layout_of_code_make_no_difference() {
        let of = |text: &str| path(&[("noise", code(text))]);
        let plain = of("fn f(z) { z * 2.0 + `a ${z}` }");
        for same in [
            "fn f( z ) {\n    z*2.0 // twice\n  +/* a */`a ${z}`\n}",
            "fn f(z)\r\n{ z * 2.0 + `a ${z}`}\n// end",
        ] {
            assert_eq!(difference(&plain, &of(same), &[]), None, "{same}");
        }
        let found = difference(&plain, &of("// about\nfn f(z) {\n  z * 2.0\n  + `b ${z}`\n}"), &[]).unwrap();
        let expected = "line 14 of own.rhai was `fn f(z) { z * 2.0 + `a ${z}` }` and is `+ `b ${z}``";
        assert!(found.ends_with(expected), "{found}");
        for (a, b) in
            [("a | |b| c", "a || b | c"), ("\"a  b\"", "\"a b\""), ("`a\n// b`", "`a\n`"), ("x", "x y")]
        {
            assert!(difference(&of(a), &of(b), &[]).is_some(), "{a}");
        }
    }

    #[test]
    fn changed_code_can_be_taken_without_other_settings() {
        let of = |lr: f64, text: &str| {
            let own = path(&[("noise", code(text)), ("times", Value::Int(2))]);
            own.into_iter().chain(map(&[("lr", Value::Float(lr))])).collect::<Map>()
        };
        let (taken, found) = with_code_of(&of(0.1, "z * 2"), &of(0.1, "2 * z"));
        assert_eq!(difference(&taken, &of(0.1, "2 * z"), &[]), None);
        assert_eq!(
            found,
            ["the code of `path.noise` changed: line 11 of own.rhai was `z * 2` and is `2 * z`"]
        );
        let (taken, _) = with_code_of(&of(0.1, "z * 2"), &of(0.2, "2 * z"));
        assert_eq!(difference(&taken, &of(0.2, "2 * z"), &[]).unwrap(), "`lr` was 0.1 and is 0.2");
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
