//! Selection of parameter names by patterns: `*` matches any characters, dots included, and `?` matches one.

use crate::error::{Error, Result, list, nearest};

/// Returns whether a name matches a pattern.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Positions of the last star and of the end of its match.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    (p, n) = (at + 1, reach + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Returns whether a name matches any of the patterns.
pub fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Returns the names that match any of the patterns, in order; a pattern without a match is an error.
pub fn pick<'a>(patterns: &[String], names: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<&'a str>> {
    pick_of("parameter", patterns, names)
}

/// As [`pick`], for names of `what`, such as `parameter`.
pub fn pick_of<'a>(
    what: &str,
    patterns: &[String],
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<Vec<&'a str>> {
    for pattern in patterns {
        if !names.clone().any(|name| matches(pattern, name)) {
            return Err(nothing_matches(what, pattern, &names.collect::<Vec<_>>()));
        }
    }
    Ok(names.filter(|name| patterns.iter().any(|pattern| matches(pattern, name))).collect())
}

/// Returns the error for a pattern without a match, with similar names.
fn nothing_matches(what: &str, pattern: &str, names: &[&str]) -> Error {
    const SHOWN: usize = 3;
    let error = Error::argument(format!("no {what} matches `{pattern}`"));
    let words =
        |text: &str| text.split(['.', '*', '?']).filter(|w| !w.is_empty()).map(str::to_string).collect();
    let wanted: Vec<String> = words(pattern);
    let near = |name: &&&str| {
        let own: Vec<String> = words(name);
        wanted.iter().filter(|w| nearest(w, own.iter().map(String::as_str)).is_some()).count()
    };
    let most = names.iter().map(|name| near(&name)).max().unwrap_or(0);
    let best: Vec<&str> = names.iter().filter(|name| near(name) == most).take(SHOWN).copied().collect();
    match most {
        _ if names.is_empty() => error.hint("there are no names to match"),
        0 => error.hint(format!("names are {}; `*` matches any characters", list(&best))),
        _ => error.hint(format!("similar names: {}; `*` matches any characters", list(&best))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters_and_question_marks_for_one() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "a.b", true),
            ("*.freq_gate*", "blocks.3.freq_gate.0.weight", true),
            ("*.freq_gate*", "freq_gate.0.weight", false),
            ("blocks.?.attn.*", "blocks.3.attn.qkv.weight", true),
            ("blocks.?.attn.*", "blocks.13.attn.qkv.weight", false),
            ("*weight", "weight.weight", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxcyyb", false),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_for_nothing_is_an_error() {
        let names = ["blocks.0.attn.qkv.weight", "blocks.0.freq_gate.weight", "final.bias"];
        let pick = |pattern: &str| pick(&[pattern.to_string()], names.iter().copied());
        assert_eq!(pick("*gate*").unwrap(), [names[1]]);
        let hint = |pattern| pick(pattern).unwrap_err().hint_text().unwrap().to_string();
        assert!(hint("*.freq_gat.*").starts_with("similar names: `blocks.0.freq_gate.weight`;"));
        assert!(hint("*.bais").starts_with("similar names: `final.bias`;"));
        assert!(hint("zzz").starts_with("names are `blocks.0.attn.qkv.weight`, "));
    }
}
