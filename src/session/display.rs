//! Formatting of results as text: strings in quotes, arrays and maps cut to the available width.

use super::highlight::highlighted;
use crate::declare::{Display, Map, Value};
use crate::document::{Block, Document, Line, Role};
use crate::script::bridge;
use crate::table::{FromRowsOptions, Table};
use crate::text::{shortened, width as columns};

/// Least width of a line.
const LEAST: usize = 8;

/// Maximum number of entries of an array or map with one entry per line, by depth.
const ENTRIES: [usize; 3] = [20, 8, 4];

/// Depth from which an entry is cut to one line: each level is indented more, so that deep ones would fill the screen with
/// spaces.
const DEEPEST: usize = 12;

/// Length up to which arrays of numbers are shown completely.
const WHOLE: usize = 100;

/// Maximum number of lines of a string.
const LINES: usize = 20;

/// Formats a value as text in lines of at most `width` columns; other representations are not created, since
/// drawing a figure takes long.
pub fn display(value: &Value, width: usize) -> Display {
    let name = match value {
        Value::Object(object) => object.type_name(),
        _ => "value",
    };
    Display::text(bridge::shown(name, || document(value, width).to_text(Some(width.max(LEAST)))))
}

/// Returns a value in all representations that a front end can show.
pub fn display_rich(value: &Value, width: usize) -> Display {
    match value {
        Value::Object(object) => {
            let text = display(value, width).text;
            match bridge::guarded(|| Ok(object.display())) {
                Ok(rich) => Display { text, ..rich },
                Err(_) => Display::text(text),
            }
        }
        other => display(other, width),
    }
}

/// Returns a value as a document whose lines fit into `width` columns.
pub fn document(value: &Value, width: usize) -> Document {
    let width = width.max(LEAST);
    match value {
        Value::Object(object) => {
            let document = object.document(Some(width));
            document.unwrap_or_else(|| Document::titled(&object.text_in(width))).map_code(highlighted)
        }
        Value::Str(string) => Document::of(Block::Lines(quoted(string, width))),
        Value::List(list) => match records(list) {
            Some(table) if columns(&one_line(value)) > width => {
                let note = Line::of(Role::Faint, format!("an array of {} maps", list.len()));
                table.document(Some(width)).with(Block::Lines(vec![note]))
            }
            _ => Document::code(&pretty(value, width, 0, 0)).map_code(highlighted),
        },
        other => Document::code(&pretty(other, width, 0, 0)).map_code(highlighted),
    }
}

/// Returns a string in quotes, wrapped between words; very long strings are cut.
fn quoted(string: &str, width: usize) -> Vec<Line> {
    let most = LINES * width;
    let count = string.chars().count();
    // A character takes at most ten columns in quotes, most take one.
    let start: String = string.chars().take(most).collect();
    let whole = Line::of(Role::Text, format!("{start:?}"));
    let mut lines = whole.flowed(width);
    if lines.len() <= LINES && start.len() == string.len() {
        return lines;
    }
    lines.truncate(LINES);
    if let Some(last) = lines.last_mut() {
        *last = Line::of(Role::Text, format!("{}…", last.text().trim_end_matches('"')));
    }
    lines.push(Line::of(Role::Faint, format!("a string of {count} characters")));
    lines
}

/// Returns a table if all values are maps with the same keys and without nested containers, since tables are easier
/// to read.
fn records(list: &[Value]) -> Option<Table> {
    let rows: Vec<Map> = list
        .iter()
        .map(|v| if let Value::Map(map) = v { Some(map.clone()) } else { None })
        .collect::<Option<_>>()?;
    let first = rows.first()?;
    let plain =
        |v: &Value| !matches!(v, Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Function(_));
    let alike = |row: &Map| row.keys().eq(first.keys()) && row.values().all(plain);
    if rows.len() < 2 || first.is_empty() || !rows.iter().all(alike) {
        return None;
    }
    Table::from_rows(rows, &FromRowsOptions::default()).ok()
}

/// Formats a value on one line if it fits, else with one entry per line.
fn pretty(value: &Value, width: usize, indent: usize, depth: usize) -> String {
    let line = one_line(value);
    let room = width.saturating_sub(indent);
    if columns(&line) <= room && !line.contains('\n') {
        return line;
    }
    if depth >= DEEPEST {
        return shortened(&line, room.max(LEAST));
    }
    let pad = " ".repeat(indent + 2);
    let most = ENTRIES[depth.min(ENTRIES.len() - 1)];
    let block = |open: &str, close: &str, entries: Vec<String>, total: usize| {
        let mut out = format!("{open}\n");
        for entry in entries {
            out += &format!("{pad}{entry},\n");
        }
        if total > most {
            out += &format!("{pad}.. {} more\n", total - most);
        }
        format!("{out}{}{close}", " ".repeat(indent))
    };
    // Leaves a column for the comma after an entry.
    let inner = width.saturating_sub(1);
    match value {
        Value::List(list) if list.iter().all(is_number) => match list.len() {
            0..=WHOLE => lines_of(list, width, indent),
            _ => both_ends(list, room),
        },
        Value::List(list) => {
            let shown = &list[..list.len().min(most)];
            let entries = match matrix(shown, inner, indent + 2) {
                Some(rows) => rows,
                None => shown.iter().map(|v| pretty(v, inner, indent + 2, depth + 1)).collect(),
            };
            block("[", "]", entries, list.len())
        }
        Value::Map(map) => {
            let entry = |(name, v): (&String, &Value)| {
                let name = key(name);
                let line = one_line(v);
                let room = inner.saturating_sub(indent + 4 + columns(&name));
                match v {
                    _ if columns(&line) <= room => format!("{name}: {line}"),
                    Value::List(_) | Value::Map(_) => {
                        format!("{name}: {}", pretty(v, inner, indent + 2, depth + 1))
                    }
                    _ => format!("{name}: {}", cut(v, &line, room)),
                }
            };
            block("#{", "}", map.iter().take(most).map(entry).collect(), map.len())
        }
        _ => cut(value, &line, room),
    }
}

/// Cuts a line; a string keeps its closing quote.
fn cut(value: &Value, line: &str, room: usize) -> String {
    let room = room.max(8);
    match value {
        Value::Str(_) => shortened(line, room - 1) + "\"",
        _ => shortened(line, room),
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Float(_) | Value::Bool(_))
}

/// Formats numbers in columns, with as many per line as fit.
fn lines_of(list: &[Value], width: usize, indent: usize) -> String {
    let texts: Vec<String> = list.iter().map(one_line).collect();
    let widest = texts.iter().map(String::len).max().unwrap_or(0);
    let pad = " ".repeat(indent + 1);
    let per_line = (width.saturating_sub(indent + 1) / (widest + 2)).max(1);
    let lines: Vec<String> = texts
        .chunks(per_line)
        .map(|line| line.iter().map(|t| format!("{t:>widest$}")).collect::<Vec<_>>().join(", "))
        .collect();
    format!("[{}]", lines.join(&format!(",\n{pad}")))
}

/// Formats rows of numbers of equal length in columns, if they fit.
fn matrix(rows: &[Value], width: usize, indent: usize) -> Option<Vec<String>> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| match row {
            Value::List(row) if row.iter().all(is_number) => Some(row.iter().map(one_line).collect()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let count = cells.first()?.len();
    if cells.iter().any(|row| row.len() != count) {
        return None;
    }
    let widest = |i: usize| cells.iter().map(|row| row[i].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(widest).collect();
    if indent + widths.iter().map(|w| w + 2).sum::<usize>() > width {
        return None;
    }
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(t, w)| format!("{t:>w$}")).collect();
        format!("[{}]", cells.join(", "))
    };
    Some(cells.iter().map(line).collect())
}

/// Formats a long array of numbers with its first numbers and the last.
fn both_ends(list: &[Value], room: usize) -> String {
    let last = list.last().map(one_line).unwrap_or_default();
    let tail = format!(".., {last}] ({} numbers)", list.len());
    let mut out = String::from("[");
    for value in list {
        let text = one_line(value);
        if out.len() + text.len() + 2 + tail.len() > room {
            break;
        }
        out += &text;
        out += ", ";
    }
    out + tail.as_str()
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

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(k, v)| (k.to_string(), v.clone())).collect())
    }

    fn string(text: &str) -> Value {
        Value::Str(text.to_string())
    }

    /// Returns the value with colors as words: `{36 42}`.
    fn colored(value: &Value) -> String {
        let document = document(value, 80);
        let mut shown = document.shown(Some(80), true);
        for (code, _) in shown.clone().split("\x1b[").skip(1).filter_map(|part| part.split_once('m')) {
            let word = if code == "0" { "}".to_string() } else { format!("{{{code} ") };
            shown = shown.replacen(&format!("\x1b[{code}m"), &word, 1);
        }
        shown
    }

    #[test]
    fn data_is_colored_as_in_a_script() {
        assert_eq!(colored(&Value::Int(42)), "{36 42}");
        let value = map(&[("a", string("x")), ("b c", Value::Bool(true))]);
        assert_eq!(colored(&value), "#{ {34 a}: {32 \"x\"}, {34 \"b c\"}: {35 true} }");
        // A string that is broken is closed in each line, and its length is no part of it.
        let long = colored(&string(&"word ".repeat(1000)));
        let lines: Vec<&str> = long.lines().collect();
        assert!(lines[0].starts_with("{32 \"word") && lines[0].ends_with('}'), "{long}");
        assert_eq!(lines.last(), Some(&"{2 a string of 5000 characters}"));
    }

    #[test]
    fn tensors_show_what_is_not_finite() {
        use crate::declare::IntoValue;
        let x = crate::torch::Tensor::from_f32(&[f32::NAN, 1.0], &[2]).unwrap();
        let expected =
            "{1 tensor [2]} {33 float32} cpu{2 , 1 to 1, mean 1, 1 NaN}\n{2 [}{1;33 nan}{2 , }1.0{2 ]}";
        assert_eq!(colored(&x.into_value()), expected);
    }

    #[test]
    fn properties_have_a_title_and_names() {
        let set = crate::data::open::open("fashion_mnist", &Default::default()).unwrap();
        let shown = colored(&crate::declare::IntoValue::into_value(set));
        assert!(shown.starts_with("{1 dataset fashion_mnist, split train}\n  {34 images}   "), "{shown}");
    }

    #[test]
    fn what_fits_stays_on_one_line() {
        let map = map(&[("a", string("x")), ("b c", ints(2))]);
        assert_eq!(display(&map, 80).text, "#{ a: \"x\", \"b c\": [0, 1] }");
        assert_eq!(display(&string("two\nlines"), 80).text, "\"two\\nlines\"");
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let text = display(&ints(1000), 60).text;
        assert!(text.ends_with(".., 999] (1000 numbers)") && text.len() <= 60, "{text}");
        let nested = Value::List((0..30).map(|_| ints(4)).collect());
        let text = display(&nested, 40).text;
        assert_eq!(text.lines().nth(1), Some("  [0, 1, 2, 3],"));
        assert!(text.ends_with("  .. 10 more\n]"), "{text}");
        let long = display(&string(&"word ".repeat(10_000)), 40).text;
        assert!(
            long.lines().count() <= LINES + 1 && long.ends_with("a string of 50000 characters"),
            "{long}"
        );
    }

    #[test]
    fn numbers_stand_in_columns() {
        let list = Value::List([1, 20, 300, 4, 5, 6].map(Value::Int).to_vec());
        assert_eq!(display(&list, 16).text, "[  1,  20, 300,\n   4,   5,   6]");
        let rows = Value::List(vec![
            Value::List([1, 200].map(Value::Int).to_vec()),
            Value::List([30, 4].map(Value::Int).to_vec()),
        ]);
        assert_eq!(display(&rows, 18).text, "[\n  [ 1, 200],\n  [30,   4],\n]");
    }

    #[test]
    fn records_are_a_table() {
        let row = |i: i64| map(&[("loss", Value::Float(1.0 / i as f64)), ("step", Value::Int(i))]);
        let text = display(&Value::List((1..5).map(row).collect()), 40).text;
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[1..4], ["  loss   step", "──────────────", " 1.000      1"], "{text}");
        assert!(text.ends_with("\nan array of 4 maps"), "{text}");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let words = "a very long string that goes on and on";
        let values = [
            string(&words.repeat(9)),
            string(&"x".repeat(300)),
            map(&[("key", string(words)), ("a_long_key_for_an_entry", ints(50)), ("list", ints(500))]),
            Value::List(vec![
                string(words),
                ints(90),
                map(&[("deep", Value::List(vec![ints(70), string(words)]))]),
            ]),
            Value::List(
                (0..30)
                    .map(|i| map(&[("name", string(words)), ("x", Value::Int(i)), ("y", ints(2))]))
                    .collect(),
            ),
            Value::List((0..90).map(|i| Value::Float(f64::from(i) / 7.0)).collect()),
        ];
        for value in values {
            for width in [20, 40, 80, 120] {
                let text = display(&value, width).text;
                assert!(text.lines().all(|line| columns(line) <= width), "{width}:\n{text}");
                assert!(text.lines().count() < 300, "{text}");
            }
        }
    }

    #[test]
    fn arrays_in_arrays_are_cut_at_a_depth() {
        let deep = (0..500).fold(ints(0), |inner, _| Value::List(vec![inner]));
        let text = display(&deep, 60).text;
        assert_eq!(text.lines().count(), 2 * DEEPEST + 1, "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
    }
}
