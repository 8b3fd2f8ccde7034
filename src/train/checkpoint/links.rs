//! Code of earlier versions, which did not store what its imports and constants mean.

use std::collections::BTreeMap;

use super::difference::{LIBRARIES, is_code, libraries};
use crate::declare::{Map, Value};
use crate::text::code::PIECES;
use crate::text::tokens::{Kind, tokens};

/// Keys that code of earlier versions lacks.
const LINKS: [&str; 3] = ["imports", "paths", "constants"];

/// Returns two values; where code of one of them has no links and that of the other has some, both are without links, and
/// their imported files have only the functions that both have. Earlier versions stored the files in another order, whole
/// ones too.
pub fn without_links(one: &Value, other: &Value) -> (Value, Value) {
    match (one, other) {
        (Value::Map(a), Value::Map(b)) => {
            let (mut a, mut b) = (a.clone(), b.clone());
            let code = is_code(one) && is_code(other);
            if code && has_links(&a) != has_links(&b) {
                let (ours, theirs) = common(&a, &b);
                for (map, files) in [(&mut a, ours), (&mut b, theirs)] {
                    map.retain(|key, _| {
                        !LINKS.contains(&key.as_str()) && !["variables", LIBRARIES].contains(&key.as_str())
                    });
                    if !files.is_empty() {
                        map.insert(LIBRARIES.to_string(), Value::List(files));
                    }
                }
            }
            for (name, first) in &mut a {
                let Some(second) = b.get_mut(name) else { continue };
                (*first, *second) = without_links(first, second);
            }
            (Value::Map(a), Value::Map(b))
        }
        (Value::List(a), Value::List(b)) if a.len() == b.len() => {
            let (a, b) = a.iter().zip(b).map(|(a, b)| without_links(a, b)).unzip();
            (Value::List(a), Value::List(b))
        }
        _ => (one.clone(), other.clone()),
    }
}

fn has_links(code: &Map) -> bool {
    LINKS.iter().any(|key| code.contains_key(*key))
}

/// Returns the imported files of both codes, with the functions that both have.
fn common(one: &Map, other: &Map) -> (Vec<Value>, Vec<Value>) {
    let (ours, theirs) = (files(one), files(other));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for (name, own) in &ours {
        let Some(others) = theirs.get(name) else { continue };
        a.push(file(name, own, others));
        b.push(file(name, others, own));
    }
    (a, b)
}

/// A function of a file: its line and text.
type Functions<'a> = BTreeMap<String, (usize, &'a str)>;

/// Returns the functions of the imported files, by the names of the files without their folders, since a run may be
/// resumed in another one.
fn files(code: &Map) -> BTreeMap<String, Functions<'_>> {
    let mut found: BTreeMap<String, Functions> = BTreeMap::new();
    for library in libraries(code) {
        let (Some(Value::Str(file)), Some(Value::List(pieces))) = (library.get("file"), library.get(PIECES))
        else {
            continue;
        };
        let name = file.rsplit('/').next().unwrap_or(file);
        for (i, piece) in pieces.iter().enumerate() {
            let Value::Str(text) = piece else { continue };
            let line = match library.get("lines") {
                Some(Value::List(lines)) => match lines.get(i) {
                    Some(Value::Int(line)) => usize::try_from(*line).unwrap_or(1),
                    _ => 1,
                },
                _ => 1,
            };
            found.entry(name.to_string()).or_default().extend(functions(text, line));
        }
    }
    found
}

/// Returns the functions of a text that starts in a line, by name and number of parameters.
fn functions(text: &str, line: usize) -> Functions<'_> {
    let all: Vec<_> = tokens(text).into_iter().filter(|token| token.kind != Kind::Comment).collect();
    let (mut found, mut i) = (Functions::new(), 0);
    while let Some(token) = all.get(i) {
        i += 1;
        if token.kind != Kind::Keyword || token.text != "fn" {
            continue;
        }
        let (mut depth, mut entered) = (0usize, false);
        let body = all[i..].iter().position(|token| {
            match token.text {
                "{" | "#{" => (depth, entered) = (depth + 1, true),
                "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            entered && depth == 0
        });
        let Some(last) = body.map(|length| i + length) else { continue };
        let head = all[i..last].iter().take_while(|token| token.text != "{");
        let (name, count) = head.fold((String::new(), 0), |(name, count), token| match token.kind {
            Kind::Symbol => (name, count),
            _ if count == 0 => (token.text.to_string(), 1),
            _ => (name, count + 1),
        });
        let (start, end) = (token.start, all[last].end());
        let line = line.saturating_add(text[..start].matches('\n').count());
        found.insert(format!("{name}/{count}"), (line, &text[start..end]));
        i = last + 1;
    }
    found
}

/// Returns a file as data, with those of its functions that another one has too.
fn file(name: &str, own: &Functions, others: &Functions) -> Value {
    let kept = || own.iter().filter(|(function, _)| others.contains_key(*function));
    let lines = kept().map(|(_, (line, _))| Value::Int(*line as i64)).collect();
    let texts = kept().map(|(_, (_, text))| Value::Str(text.to_string())).collect();
    let entries =
        [("file", Value::Str(name.to_string())), ("lines", Value::List(lines)), (PIECES, Value::List(texts))];
    Value::Map(entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::difference::tests::{code, map};
    use super::super::difference::{difference, with_code_of};
    use super::*;

    fn with_files(own: &str, files: &[(&str, &str)], more: &[(&str, Value)]) -> Map {
        let Value::Map(mut own) = code(own) else { unreachable!() };
        let library = |(name, text): &(&str, &str)| {
            let Value::Map(mut library) = code(text) else { unreachable!() };
            library.insert("file".to_string(), Value::Str(name.to_string()));
            Value::Map(library)
        };
        if !files.is_empty() {
            own.insert(LIBRARIES.to_string(), Value::List(files.iter().map(library).collect()));
        }
        own.extend(map(more));
        map(&[("loss", Value::Map(own))])
    }

    #[test]
    fn code_of_an_earlier_version_is_compared_by_what_it_has() {
        let imports = [("imports", Value::Map(map(&[("lib", Value::Int(0))])))];
        let constants = [("constants", Value::Map(map(&[("C", Value::Float(0.25))])))];
        let (own, k) = ("|s| lib::k(s)", "fn k(s) { deep::f(s) * global::K }");
        // The whole file, with a function of its own once more, and another order of the files.
        let whole = "import \"deep\" as deep;\nconst K = 0.5;\nfn g() { if true { 1 } }\nfn k(s) { deep::f(s) * global::K }";
        let old = [("deep.rhai", "fn f(s) { s }"), ("imp/lib.rhai", &format!("{whole}\n\n{k}"))];
        let new = [("/other/imp/lib.rhai", k), ("deep.rhai", "fn f(s) { s }")];
        let (old, new) = (with_files(own, &old, &[]), with_files(own, &new, &imports));
        assert_eq!(difference(&old, &new, &[]), None);
        assert!(with_code_of(&old, &new).1.is_empty());
        let other = [("imp/lib.rhai", "fn k(s) { deep::f(s) * 2 }")];
        let found = difference(&old, &with_files(own, &other, &imports), &[]).unwrap();
        assert!(
            found.contains("was `fn k(s) { deep::f(s) * global::K }` and is `fn k(s) { deep::f(s) * 2 }`"),
            "{found}"
        );
        let constant = |text: &str, more: &[(&str, Value)]| with_files(text, &[], more);
        let (old, new) = (constant("|s| global::C", &[]), constant("|s| global::C", &constants));
        assert_eq!(difference(&old, &new, &[]), None);
        assert!(difference(&constant("|s| 2.0", &[]), &new, &[]).is_some());
        let other = [("constants", Value::Map(map(&[("C", Value::Float(0.5))])))];
        assert!(difference(&new, &constant("|s| global::C", &other), &[]).is_some());
    }
}
