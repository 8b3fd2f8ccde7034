//! Widths of text in a terminal, shortening and wrapping.

use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns the number of terminal columns that a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Shortens a text to at most this many columns; `…` marks the cut.
///
/// ```
/// assert_eq!(spectral::text::shortened("cutoff", 6), "cutoff");
/// assert_eq!(spectral::text::shortened("cutoffs", 6), "cutof…");
/// ```
pub fn shortened(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    let (mut out, mut taken) = (String::new(), 0);
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken + 1 > columns {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out + "…"
}

/// Wraps lines longer than this many columns between words; continuation lines are indented by two more columns.
///
/// ```
/// assert_eq!(spectral::text::wrapped("note: few images", 12), "note: few\n  images");
/// ```
pub fn wrapped(text: &str, columns: usize) -> String {
    let lines = text.split('\n').flat_map(|line| {
        let cut = |(indent, range): (usize, Range<usize>)| format!("{}{}", " ".repeat(indent), &line[range]);
        pieces(line, columns, None).into_iter().map(cut).collect::<Vec<_>>()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the pieces of a line that fit into this many columns, each with its indent: that of the line and two more,
/// or the given one.
pub(super) fn pieces(line: &str, columns: usize, indent: Option<usize>) -> Vec<(usize, Range<usize>)> {
    if width(line) <= columns {
        return vec![(0, 0..line.len())];
    }
    let start = line.chars().take_while(|c| *c == ' ').count();
    let indent = indent.unwrap_or((start + 2).min(columns / 2));
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let (here, rest) = (if out.is_empty() { 0 } else { indent }, &line[at..]);
        let room = columns.saturating_sub(here).max(1);
        if width(rest) <= room {
            out.push((here, at..line.len()));
            return out;
        }
        // The end of the text that fits, and the last space in it after the first word.
        let (mut end, mut taken, mut blank) = (rest.len(), 0, None);
        for (i, c) in rest.char_indices() {
            if c == ' ' && !rest[..i].trim().is_empty() {
                blank = Some(i);
            }
            taken += c.width().unwrap_or(0);
            if taken > room {
                end = i;
                break;
            }
        }
        let end = blank.unwrap_or(end.max(rest.chars().next().map_or(1, char::len_utf8)));
        out.push((here, at..at + rest[..end].trim_end().len()));
        at += end + rest[end..].len() - rest[end..].trim_start().len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words_and_long_words_anywhere() {
        let text = "  loss   0.9712, mean of the last tenth\nshort";
        assert_eq!(wrapped(text, 24), "  loss   0.9712, mean of\n    the last tenth\nshort");
        assert_eq!(wrapped("abcdefgh", 4), "abcd\n  ef\n  gh");
        assert_eq!(wrapped("", 4), "");
        assert_eq!(wrapped("a b", 1), "a\nb");
        // Characters that take two columns.
        assert_eq!(wrapped("日本語", 4), "日本\n  語");
        assert_eq!((shortened("日本語", 5), width("日本…")), ("日本…".to_string(), 5));
    }
}
