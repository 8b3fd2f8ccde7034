//! Limits of rhai's own functions that make as much data as they are asked for.

use rhai::{Array, Blob, Dynamic, Engine, EvalAltResult, ImmutableString, NativeCallContext};

use super::failure::{At, raise_in};
use crate::error::Error;

/// Maximum number of characters or bytes that one call makes. Where memory ends, so would the program.
const MOST: i64 = 1 << 28;

/// Maximum number of entries of an array that one call makes; each takes 16 bytes or more.
const ENTRIES: i64 = 1 << 26;

type Done<T> = Result<T, Box<EvalAltResult>>;

/// Replaces `pad`, `blob`, and the functions that join and replace, by functions that refuse lengths beyond any use.
pub fn limit(engine: &mut Engine) {
    join(engine);
    replace(engine);
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
            let length = within(&call, "pad", length, ENTRIES)?.max(array.len());
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
    within(call, function, length, MOST)
}

fn within(call: &NativeCallContext, function: &'static str, length: i64, most: i64) -> Done<usize> {
    if length <= most {
        return Ok(length.max(0) as usize);
    }
    let error = Error::argument(format!("expected a length of at most {most}, found {length}"));
    Err(raise_in(error, function, At::of(call)))
}

/// Registers `+`, `+=` and `append` of texts, arrays and blobs. Values that are added to themselves in a loop double.
fn join(engine: &mut Engine) {
    type Text = ImmutableString;
    engine.register_fn("+", |call: NativeCallContext, mut text: Text, more: Text| -> Done<Text> {
        joined(&call, "text", "bytes", text.len(), more.len(), MOST)?;
        text += more;
        Ok(text)
    });
    engine.register_fn("+", |call: NativeCallContext, mut array: Array, more: Array| -> Done<Array> {
        joined(&call, "array", "entries", array.len(), more.len(), ENTRIES)?;
        array.extend(more);
        Ok(array)
    });
    engine.register_fn("+", |call: NativeCallContext, mut blob: Blob, more: Blob| -> Done<Blob> {
        joined(&call, "blob", "bytes", blob.len(), more.len(), MOST)?;
        blob.extend(more);
        Ok(blob)
    });
    for name in ["+=", "append"] {
        engine.register_fn(name, |call: NativeCallContext, text: &mut Text, more: Text| -> Done<()> {
            joined(&call, "text", "bytes", text.len(), more.len(), MOST)?;
            *text += more;
            Ok(())
        });
        engine.register_fn(name, |call: NativeCallContext, array: &mut Array, more: Array| -> Done<()> {
            joined(&call, "array", "entries", array.len(), more.len(), ENTRIES)?;
            array.extend(more);
            Ok(())
        });
        engine.register_fn(name, |call: NativeCallContext, blob: &mut Blob, more: Blob| -> Done<()> {
            joined(&call, "blob", "bytes", blob.len(), more.len(), MOST)?;
            blob.extend(more);
            Ok(())
        });
    }
}

/// Fails if what two values make together is longer than any use.
fn joined(
    call: &NativeCallContext,
    what: &str,
    parts: &str,
    length: usize,
    more: usize,
    most: i64,
) -> Done<()> {
    match too_long(what, parts, length.saturating_add(more), most) {
        Some(error) => Err(raise_in(error, "", At::of(call))),
        None => Ok(()),
    }
}

fn too_long(what: &str, parts: &str, length: usize, most: i64) -> Option<Error> {
    let kind = if what == "array" { "an" } else { "a" };
    (length as u64 > most as u64).then(|| {
        Error::argument(format!("expected {kind} {what} of at most {most} {parts}, found {length}"))
            .hint("a value that is added to itself in a loop doubles each time")
    })
}

/// Registers `replace` of texts: what is put in may be longer than what it replaces.
fn replace(engine: &mut Engine) {
    type Text = ImmutableString;
    engine.register_fn("replace", |call: NativeCallContext, text: &mut Text, old: Text, new: Text| {
        replaced(&call, text, &old, &new)
    });
    engine.register_fn("replace", |call: NativeCallContext, text: &mut Text, old: char, new: Text| {
        replaced(&call, text, old.encode_utf8(&mut [0; 4]), &new)
    });
}

fn replaced(call: &NativeCallContext, text: &mut ImmutableString, old: &str, new: &str) -> Done<()> {
    if text.is_empty() {
        return Ok(());
    }
    if new.len() > old.len() {
        let more = text.matches(old).count().saturating_mul(new.len() - old.len());
        joined(call, "text", "bytes", text.len(), more, MOST)?;
    }
    *text = text.replace(old, new).into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
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
            let c = "ab" + "c"; c += "d"; c.append("e"); assert_eq(c, "abcde"); assert_eq("" + c, c); c += 'f';
            c.replace("ab", "xyz"); c.replace('f', "12"); assert_eq(c + 3, "xyzcde123"); c.replace("", "-");
            assert_eq(c, "-x-y-z-c-d-e-1-2-"); assert_eq([1] + [2], [1, 2]); let d = [1]; d += [2]; d.append([3]);
            assert_eq(d, [1, 2, 3]); let e = blob(1, 7); e += blob(1, 8); e.append(blob(1, 9));
            assert_eq((e + blob(2)).len(), 5); assert_eq(e[2], 9);
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
            "let b = blob(1); b.pad(1099511627776, 0)",
        ] {
            assert!(
                message(call).contains("expected a length of at most 268435456, found "),
                "{call}: {}",
                message(call)
            );
        }
        let array = message("let a = [1]; a.pad(1099511627776, 0)");
        assert!(array.contains("expected a length of at most 67108864, found "), "{array}");
    }

    #[test]
    fn values_that_double_are_refused_at_a_limit() {
        let text = "expected a text of at most 268435456 bytes, found 536870912";
        for step in ["s += s", "s = s + s", "s.append(s)"] {
            assert_eq!(message(&format!("let s = \"x\"; loop {{ {step}; }}")), text, "{step}");
        }
        for step in ["s.replace(\"x\", long)", "s.replace('x', long)"] {
            let cell = format!("let s = \"x\"; let long = \"{}\"; loop {{ {step}; }}", "x".repeat(64));
            assert_eq!(message(&cell), text.replace("536870912", "1073741824"), "{step}");
        }
        let blob = message("let b = blob(1); loop { b += b; }");
        assert_eq!(blob, "expected a blob of at most 268435456 bytes, found 536870912");
        let most = ENTRIES as usize;
        assert!(too_long("array", "entries", most, ENTRIES).is_none());
        assert_eq!(
            too_long("array", "entries", most + 1, ENTRIES).map(|error| error.message()).as_deref(),
            Some("expected an array of at most 67108864 entries, found 67108865")
        );
    }
}
