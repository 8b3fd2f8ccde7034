//! A result as text: strings quoted, arrays and maps cut to the width at hand.

use crate::declare::{Display, Value};

/// How many entries of an array or map are shown at most, in the broken form.
const ENTRIES: usize = 20;

/// The value in the forms a front end can show; the text is at most about `width` characters wide.
pub fn display(value: &Value, width: usize) -> Display {
    match value {
        Value::Object(object) => object.display(),
        other => Display::text(pretty(other, width, 0)),
    }
}

/// On one line where it fits, else an entry per line.
fn pretty(value: &Value, width: usize, indent: usize) -> String {
    let line = one_line(value);
    if line.chars().count() + indent <= width && !line.contains('\n') {
        return line;
    }
    let pad = " ".repeat(indent + 2);
    let block = |open: &str, close: &str, entries: Vec<String>, total: usize| {
        let mut out = format!("{open}\n");
        for entry in entries {
            out += &format!("{pad}{entry},\n");
        }
        if total > ENTRIES {
            out += &format!("{pad}.. {} more\n", total - ENTRIES);
        }
        format!("{out}{}{close}", " ".repeat(indent))
    };
    match value {
        Value::List(list) if list.iter().all(is_number) => numbers(list, width, indent),
        Value::List(list) => {
            let entries = list.iter().take(ENTRIES).map(|v| pretty(v, width, indent + 2)).collect();
            block("[", "]", entries, list.len())
        }
        Value::Map(map) => {
            let entry = |(k, v): (&String, &Value)| format!("{}: {}", key(k), pretty(v, width, indent + 2));
            block("#{", "}", map.iter().take(ENTRIES).map(entry).collect(), map.len())
        }
        _ => line,
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_))
}

/// Long arrays of numbers keep both ends.
fn numbers(list: &[Value], width: usize, indent: usize) -> String {
    let tail = format!(" .. {} numbers]", list.len());
    let room = width.saturating_sub(indent + tail.len() + 12).max(8);
    let mut out = String::from("[");
    for value in list {
        let text = one_line(value);
        if out.len() + text.len() + 2 > room {
            break;
        }
        out += &text;
        out += ", ";
    }
    format!("{out}.., {}] ({} numbers)", list.last().map(one_line).unwrap_or_default(), list.len())
}

fn one_line(value: &Value) -> String {
    match value {
        Value::List(list) => format!("[{}]", list.iter().map(one_line).collect::<Vec<_>>().join(", ")),
        Value::Map(map) if map.is_empty() => "#{}".to_string(),
        Value::Map(map) => {
            let entry = |(k, v): (&String, &Value)| format!("{}: {}", key(k), one_line(v));
            format!("#{{ {} }}", map.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        Value::Object(object) => object.describe(),
        Value::Function(_) => "a function".to_string(),
        other => format!("{other:?}"),
    }
}

fn key(name: &str) -> String {
    let word = name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    if word { name.to_string() } else { format!("{name:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(n: i64) -> Value {
        Value::List((0..n).map(Value::Int).collect())
    }

    #[test]
    fn what_fits_stays_on_one_line() {
        let map =
            Value::Map([("a".to_string(), Value::Str("x".to_string())), ("b c".to_string(), ints(2))].into());
        assert_eq!(display(&map, 80).text, "#{ a: \"x\", \"b c\": [0, 1] }");
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let text = display(&ints(1000), 60).text;
        assert!(text.ends_with(".., 999] (1000 numbers)") && text.len() <= 60, "{text}");
        let nested = Value::List((0..30).map(|_| ints(4)).collect());
        let text = display(&nested, 40).text;
        assert_eq!(text.lines().nth(1), Some("  [0, 1, 2, 3],"));
        assert!(text.ends_with("  .. 10 more\n]"), "{text}");
    }
}
