//! Limits of rhai's own functions that make as much data as they are asked for.

use rhai::{Array, Blob, Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext};

use super::failure::{At, raise_in};
use crate::error::Error;

/// Maximum number of characters, entries or bytes that one call makes. Where memory ends, so would the program.
const MOST: i64 = 1 << 28;

type Done<T> = Result<T, Box<EvalAltResult>>;

/// Replaces `pad` and `blob` by functions that refuse lengths beyond any use.
pub fn limit(engine: &mut Engine) {
    engine.register_fn(
        "pad",
        |call: NativeCallContext, text: &mut ImmutableString, length: i64, by: char| {
            pad_text(&call, text, length, by.encode_utf8(&mut [0; 4]))
        },
    );
    engine.register_fn(
        "pad",
        |call: NativeCallContext, text: &mut ImmutableString, length: i64, by: &str| {
            pad_text(&call, text, length, by)
        },
    );
    engine.register_fn(
        "pad",
        |call: NativeCallContext, array: &mut Array, length: i64, entry: Dynamic| -> Done<()> {
            let length = checked(&call, "pad", length)?.max(array.len());
            array.resize(length, entry);
            Ok(())
        },
    );
    engine.register_fn(
        "pad",
        |call: NativeCallContext, blob: &mut Blob, length: i64, byte: i64| -> Done<()> {
            let length = checked(&call, "pad", length)?.max(blob.len());
            blob.resize(length, byte as u8);
            Ok(())
        },
    );
    engine.register_fn("blob", |call: NativeCallContext, length: i64| -> Done<Blob> {
        Ok(vec![0; checked(&call, "blob", length)?])
    });
    engine.register_fn("blob", |call: NativeCallContext, length: i64, byte: i64| -> Done<Blob> {
        Ok(vec![byte as u8; checked(&call, "blob", length)?])
    });
}

/// Appends text, over and over, until a string has the given number of characters.
fn pad_text(call: &NativeCallContext, text: &mut ImmutableString, length: i64, by: &str) -> Done<()> {
    let missing = checked(call, "pad", length)?.saturating_sub(text.chars().count());
    let more: String = by.chars().cycle().take(missing).collect();
    if !more.is_empty() {
        *text += more;
    }
    Ok(())
}

/// Returns a length, which is 0 if it is negative, as rhai does.
fn checked(call: &NativeCallContext, function: &'static str, length: i64) -> Done<usize> {
    match length {
        ..=MOST => Ok(length.max(0) as usize),
        _ => {
            let error = Error::argument(format!("expected a length of at most {MOST}, found {length}"));
            Err(raise_in(error, function, At::of(call)))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::session::{Options, Session};

    fn message(cell: &str) -> String {
        let mut session = Session::new(Options::default());
        session.run_cell(cell, "cell").err().map_or_else(String::new, |report| report.message)
    }

    #[test]
    fn lengths_are_as_in_rhai() {
        let holds = r#"
            let s = "ab"; s.pad(5, 'x'); assert_eq(s, "abxxx"); s.pad(2, 'y'); assert_eq(s, "abxxx");
            s.pad(8, "12"); assert_eq(s, "abxxx121"); s.pad(-1, "z"); s.pad(9, ""); assert_eq(s, "abxxx121");
            let a = [1]; a.pad(3, "q"); assert_eq(a, [1, "q", "q"]); a.pad(0, 1); assert_eq(a.len(), 3);
            let b = blob(2, 0x142); assert_eq(b[1], 0x42); b.pad(4, 7); assert_eq(b[3], 7); assert_eq(b.len(), 4);
            assert_eq(blob(3).len(), 3); assert_eq(blob(-3).len(), 0); assert_eq(blob().len(), 0);
        "#;
        assert_eq!(message(holds), "");
    }

    #[test]
    fn lengths_beyond_any_use_are_refused() {
        for call in [
            "blob(9223372036854775807)",
            "blob(99999999999, 1)",
            "let s = \"a\"; s.pad(9223372036854775807, 'x')",
            "let s = \"a\"; s.pad(9223372036854775807, \"xy\")",
            "let a = [1]; a.pad(1099511627776, 0)",
            "let b = blob(1); b.pad(1099511627776, 0)",
        ] {
            assert!(
                message(call).contains("expected a length of at most 268435456, found "),
                "{call}: {}",
                message(call)
            );
        }
    }
}
