//! Values as JSON. The three floats that JSON lacks are spelled as in Python's `json`: `NaN`, `Infinity` and
//! `-Infinity`, outside quotes. A string stays a string, whatever it says, and an integer of more than 64 bits
//! becomes the string of its digits.

use super::value::Value;
use crate::error::Error;

/// The spellings of the special floats outside quotes.
const SPECIAL: [(&str, f64); 3] =
    [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)];

/// The depth to which serde_json reads arrays and maps inside of each other.
const DEEPEST: usize = 127;

impl Value {
    /// Returns the value as JSON on one line, with keys in alphabetical order, or `None` if it cannot be stored or is
    /// nested more deeply than what can be read back.
    pub fn to_json_text(&self) -> Option<String> {
        let mut out = String::new();
        write(self, false, 0, &mut out)?;
        Some(out)
    }

    /// Like [`Value::to_json_text`], on several lines.
    pub fn to_json_lines(&self) -> Option<String> {
        let mut out = String::new();
        write(self, true, 0, &mut out)?;
        Some(out)
    }

    /// Returns the error of a value that [`Value::to_json_text`] refuses, which names the first part that cannot be
    /// stored; `expected` describes what can.
    pub fn not_stored(&self, expected: &str) -> Error {
        let error = match refused(self, 0, String::new()) {
            Some((Some(found), path)) if !path.is_empty() => {
                let path = path.trim_start_matches('.');
                Error::argument(format!("expected {expected}, found {found} at `{path}`"))
            }
            Some((None, _)) => {
                Error::argument(format!("expected {expected}, found data nested more than {DEEPEST} deep"))
            }
            _ => self.mismatch(expected),
        };
        match error.message().contains("found a tensor") {
            true => error.hint("`.item()` is the number of a tensor of one element, `.tolist()` an array"),
            false => error,
        }
    }

    /// Reads JSON, including Python's special floats; the error says what is wrong and in which line.
    pub fn from_json_text(text: &str) -> Result<Value, String> {
        // While reading, each special float is a string with a marker that occurs nowhere in the text.
        let mut mark = "float ".to_string();
        while text.contains(&mark) {
            mark.push(' ');
        }
        let json = serde_json::from_str(&marked(text, &mark)).map_err(|e| {
            let deep = format!("arrays and objects nested more than {DEEPEST} deep");
            e.to_string().replace("recursion limit exceeded", &deep)
        })?;
        read(json, &mark)
    }
}

/// Returns a description of the first part that cannot be stored, or none if it is nested too deeply, and its path.
fn refused(value: &Value, depth: usize, path: String) -> Option<(Option<String>, String)> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Range(..) if depth == DEEPEST => Some((None, path)),
        Value::List(list) => {
            list.iter().enumerate().find_map(|(i, value)| refused(value, depth + 1, format!("{path}[{i}]")))
        }
        Value::Map(map) => {
            map.iter().find_map(|(key, value)| refused(value, depth + 1, format!("{path}.{key}")))
        }
        Value::Object(object) => match object.to_data() {
            Some(data) => refused(&data, depth, path),
            None => Some((Some(value.describe()), path)),
        },
        other => other.to_json().is_none().then(|| (Some(other.describe()), path)),
    }
}

/// Writes a value that is inside of `depth` arrays and maps, with `lines` one entry per line.
fn write(value: &Value, lines: bool, depth: usize, out: &mut String) -> Option<()> {
    match value {
        Value::List(_) | Value::Map(_) | Value::Range(..) if depth == DEEPEST => return None,
        Value::Float(x) if !x.is_finite() => {
            let same = |y: &f64| x == y || (x.is_nan() && y.is_nan());
            out.push_str(SPECIAL.iter().find(|(_, y)| same(y)).map_or("NaN", |(word, _)| word));
        }
        Value::List(list) => {
            let level = lines.then_some(depth);
            sequence('[', ']', list, level, out, |value, out| write(value, lines, depth + 1, out))?;
        }
        Value::Map(map) => {
            let level = lines.then_some(depth);
            let pairs: Vec<(&String, &Value)> = map.iter().collect();
            sequence('{', '}', &pairs, level, out, |(key, value), out| {
                out.push_str(&serde_json::Value::from(key.as_str()).to_string());
                out.push_str(if lines { ": " } else { ":" });
                write(value, lines, depth + 1, out)
            })?;
        }
        Value::Object(object) => write(&object.to_data()?, lines, depth, out)?,
        other => out.push_str(&other.to_json()?.to_string()),
    }
    Some(())
}

/// Writes entries between brackets.
fn sequence<T>(
    open: char,
    close: char,
    entries: &[T],
    level: Option<usize>,
    out: &mut String,
    mut each: impl FnMut(&T, &mut String) -> Option<()>,
) -> Option<()> {
    let line = |out: &mut String, level: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", level));
    };
    out.push(open);
    for (i, entry) in entries.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        if let Some(level) = level {
            line(out, level + 1);
        }
        each(entry, out)?;
    }
    if let (Some(level), false) = (level, entries.is_empty()) {
        line(out, level);
    }
    out.push(close);
    Some(())
}

/// Returns the text with special floats and long integers outside quotes as strings that begin with `mark`.
fn marked(text: &str, mark: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string(rest),
            '0'..='9' | '-' => number(rest),
            // Whole words are compared, so that a misspelt one stays an error.
            c if c.is_alphanumeric() => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (part, behind) = rest.split_at(length);
        match SPECIAL.iter().any(|(word, _)| *word == part) || is_long(part) {
            true => out.extend(["\"", mark, part, "\""]),
            false => out.push_str(part),
        }
        rest = behind;
    }
    out
}

/// Returns whether a number is an integer of more than 64 bits, which a float would change.
fn is_long(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) && number.parse::<i64>().is_err()
}

/// Returns the length of the number at the start, or of the word that begins like one.
fn number(text: &str) -> usize {
    let mut last = 'e';
    let end = text.find(|c: char| {
        let before = std::mem::replace(&mut last, c);
        let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        !(c.is_alphanumeric() || matches!(c, '_' | '.') || sign)
    });
    end.unwrap_or(text.len())
}

/// Returns the length of the quoted string at the start, or of the whole text if it has no end.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

fn read(json: serde_json::Value, mark: &str) -> Result<Value, String> {
    use serde_json::Value as Json;
    Ok(match json {
        Json::String(text) => {
            let Some(word) = text.strip_prefix(mark) else { return Ok(Value::Str(text)) };
            match SPECIAL.iter().find(|(special, _)| *special == word) {
                Some((_, float)) => Value::Float(*float),
                // The digits of a long integer.
                None => Value::Str(word.to_string()),
            }
        }
        Json::Array(list) => {
            Value::List(list.into_iter().map(|value| read(value, mark)).collect::<Result<_, _>>()?)
        }
        Json::Object(map) => {
            let entries = map.into_iter().map(|(key, value)| Ok((key, read(value, mark)?)));
            Value::Map(entries.collect::<Result<_, String>>()?)
        }
        other => Value::from_json(&other).map_err(|e| e.message())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::declare::Map;

    #[test]
    fn texts_stay_texts_and_special_floats_come_back() {
        let texts = ["inf", "NaN", "-Infinity", "float NaN", "a \"NaN\" \\", "", "NaN, Infinity"];
        let mut list: Vec<Value> = texts.iter().map(|text| Value::Str(text.to_string())).collect();
        list.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2, 1.0, -0.0].map(Value::Float));
        list.extend([Value::Int(i64::MIN), Value::Unit, Value::Bool(true), Value::List(vec![])]);
        let value = Value::Map(Map::from([
            ("NaN".to_string(), Value::List(list)),
            ("empty".to_string(), Value::Map(Map::new())),
        ]));
        for text in [value.to_json_text().unwrap(), value.to_json_lines().unwrap()] {
            assert_eq!(
                format!("{:?}", Value::from_json_text(&text).unwrap()),
                format!("{value:?}"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_python_writes_is_read_and_what_is_no_json_is_not() {
        let read =
            Value::from_json_text(r#"{"loss": NaN, "best": -Infinity, "all": [Infinity,NaN], "s": "NaN"}"#);
        assert_eq!(
            format!("{:?}", read.unwrap()),
            r#"#{ all: [inf, NaN], best: -inf, loss: NaN, s: "NaN" }"#
        );
        let long = Value::from_json_text(
            r#"{"seed": 18446744073709551611, "all": [-9223372036854775808,-9223372036854775809,1.5,1e30]}"#,
        );
        assert_eq!(
            format!("{:?}", long.unwrap()),
            r#"#{ all: [-9223372036854775808, "-9223372036854775809", 1.5, 1e30], seed: "18446744073709551611" }"#
        );
        let digits =
            Value::from_json_text("[0.12345678901234567890123, -3.14159265358979323846264e-2,1e+05,2]");
        assert_eq!(
            format!("{:?}", digits.unwrap()),
            "[0.12345678901234568, -0.031415926535897934, 100000.0, 2]"
        );
        for wrong in [
            "1.",
            "-",
            "1.2.3",
            "1e-",
            "0x12345678901234567890",
            "{\"a\": nan}",
            "NaNa",
            "[-NaN]",
            "[Infinity 1]",
            "{NaN: 1}x",
            "\"open",
            "[1",
        ] {
            assert!(Value::from_json_text(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Value::List(vec![Value::Int(1)]).to_json_lines().unwrap(), "[\n  1\n]");
        assert_eq!(Value::Range(2, 5).to_json_text().unwrap(), "[2,3,4]");
        assert_eq!(Value::Range(0, i64::MAX).to_json_text(), None);
        let function = Value::Function(crate::declare::Function::new(|_| Ok(Value::Unit)));
        assert_eq!(Value::List(vec![function]).to_json_text(), None);
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let nested = |depth: usize, inner: Value| (0..depth).fold(inner, |value, _| Value::List(vec![value]));
        for inner in [Value::Int(1), Value::Map(Map::new()), Value::Range(1, 2)] {
            let most = if matches!(inner, Value::Int(_)) { DEEPEST } else { DEEPEST - 1 };
            let text = nested(most, inner.clone()).to_json_text().unwrap();
            Value::from_json_text(&text).unwrap();
            let deep = nested(most + 1, inner);
            assert_eq!((deep.to_json_text(), deep.to_json_lines()), (None, None));
            let message = deep.not_stored("numbers").message();
            assert_eq!(message, "expected numbers, found data nested more than 127 deep");
            let error = Value::from_json_text(&format!("[{text}]")).unwrap_err();
            assert!(error.starts_with("arrays and objects nested more than 127 deep"), "{error}");
        }
        let function = || Value::Function(crate::declare::Function::new(|_| Ok(Value::Unit)));
        let list = Value::List(vec![Value::Unit, function()]);
        let map = Value::Map(Map::from([("mine".to_string(), list)]));
        assert_eq!(map.not_stored("data").message(), "expected data, found a function at `mine[1]`");
        assert_eq!(function().not_stored("data").message(), "expected data, found a function");
    }
}
