//! Namespace `text`: formatting of numbers, strings and data.

use crate::declare::{Function, Value};
use crate::error::{Error, Result, Subject};
use crate::text::code;
use crate::{functions, text};

crate::api! {
    types: [],
    functions: [numbers, strings, data],
}

pub mod numbers {
    use super::*;
    functions! { script in "text";
        /// Formats a number with at most `digits` significant digits (4 by default); below ten million, those before the
        /// point are all kept.
        ///
        /// ```rhai
        /// assert_eq(text::fmt(12.34567), "12.35");
        /// assert_eq(text::fmt(0.00012345, 2), "0.00012");
        /// assert_eq([text::fmt(1234567.8, 2), text::fmt(12345678.9, 2)], ["1234568", "1.2e7"]);
        /// ```
        fn fmt(x: f64, digits: Option<usize>) -> String { Ok(text::significant(x, digits.unwrap_or(4))) }

        /// Formats a mean and its deviation, rounded to two significant digits of the deviation.
        ///
        /// ```rhai
        /// assert_eq(text::plus_minus(12.3412, 0.5634), "12.34 ± 0.56");
        /// ```
        fn plus_minus(mean: f64, deviation: f64) -> String { Ok(text::plus_minus(mean, deviation)) }

        /// Formats an integer with commas between thousands.
        ///
        /// ```rhai
        /// assert_eq(text::grouped(5496195), "5,496,195");
        /// ```
        fn grouped(n: i64) -> String { Ok(text::grouped(n)) }

        /// Formats seconds as a readable duration.
        ///
        /// ```rhai
        /// assert_eq(text::duration(200), "3 min 20 s");
        /// ```
        fn duration(seconds: f64) -> String { Ok(text::duration(seconds)) }
    }
}

pub mod strings {
    use super::*;

    /// Returns the spaces that pad `content` to `width`.
    fn spaces(content: &str, width: usize) -> Result<String> {
        const MOST: usize = 100_000;
        match width {
            0..=MOST => Ok(" ".repeat(width.saturating_sub(content.chars().count()))),
            _ => Err(Error::argument(format!("expected at most {MOST}, found {width}"))
                .within(Subject::argument("width", 1))),
        }
    }

    functions! { script in "text";
        /// Joins the entries of an array with `separator` between them (`", "` by default).
        ///
        /// ```rhai
        /// assert_eq(text::join([1, "two", 3.5]), "1, two, 3.5");
        /// assert_eq(text::join(["a", "b"], "/"), "a/b");
        /// ```
        fn join(entries: Vec<Value>, separator: Option<String>) -> String {
            let word = |v: &Value| match v {
                Value::Str(s) => s.clone(),
                Value::Object(o) => o.text(),
                other => format!("{other:?}"),
            };
            let words: Vec<String> = entries.iter().map(word).collect();
            Ok(words.join(separator.as_deref().unwrap_or(", ")))
        }

        /// Pads text with spaces on the right to `width` characters.
        ///
        /// ```rhai
        /// assert_eq(text::pad("ab", 4) + "|", "ab  |");
        /// ```
        fn pad(content: String, width: usize) -> String { Ok(format!("{content}{}", spaces(&content, width)?)) }

        /// Pads text with spaces on the left to `width` characters.
        ///
        /// ```rhai
        /// assert_eq(text::pad_left("7", 3), "  7");
        /// ```
        fn pad_left(content: String, width: usize) -> String { Ok(format!("{}{content}", spaces(&content, width)?)) }

        /// Escapes text for HTML.
        ///
        /// ```rhai
        /// assert_eq(text::html("a < b"), "a &lt; b");
        /// ```
        fn html(content: String) -> String { Ok(text::escape_html(&content)) }
    }
}

pub mod data {
    use super::*;
    functions! { script in "text";
        /// Returns data as JSON on one line, with keys in alphabetical order.
        ///
        /// Specs such as filters are written as their kind and options; a value that exists only in memory (a
        /// tensor, a function) is an error.
        ///
        /// ```rhai
        /// assert_eq(text::json(#{ b: 1, a: [1.5, ()] }), "{\"a\":[1.5,null],\"b\":1}");
        /// ```
        fn json(data: Value) -> String {
            data.to_json_text().ok_or_else(|| data.not_stored("data that can be stored"))
        }

        /// Reads JSON: objects become maps, null becomes `()`.
        ///
        /// ```rhai
        /// assert_eq(text::parse_json("{\"a\": [1.5, null]}").a, [1.5, ()]);
        /// ```
        fn parse_json(content: String) -> Value {
            Value::from_json_text(&content).map_err(|e| Error::argument(format!("not JSON: {e}")))
        }

        /// Returns the SHA-256 of text as 64 hexadecimal digits.
        ///
        /// ```rhai
        /// assert_eq(text::sha256("abc").sub_string(0, 8), "ba7816bf");
        /// ```
        fn sha256(content: String) -> String {
            Ok(text::sha256(&content))
        }

        /// Returns a hash of the code that a function runs: its text and that of the functions that it calls, of its script
        /// and of imported files, and of functions that it captured. Comments, layout and captured values do not count. The
        /// hash of a function whose text is not known, as in a notebook, is empty.
        ///
        /// ```rhai
        /// assert([0, 16].contains(text::code_hash(|x| x + 1).len()));   // 0 in a notebook
        /// ```
        fn code_hash(code: Function) -> String {
            Ok(code.to_compared().map_or_else(|_| String::new(), |data| code::hash(&data)))
        }
    }
}
