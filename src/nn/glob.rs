//! Names of parameters picked by patterns: `*` stands for any characters, dots included, and `?` for one.

use crate::error::{Error, Result, nearest};

/// Whether a name is what a pattern stands for.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how far its characters reach.
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

/// The names that any of the patterns stands for, in order; a pattern for none of them is an error.
pub fn pick<'a>(patterns: &[String], names: impl Iterator<Item = &'a str> + Clone) -> Result<Vec<&'a str>> {
    for pattern in patterns {
        if names.clone().any(|name| matches(pattern, name)) {
            continue;
        }
        let error = Error::argument(format!("no parameter is called `{pattern}`"));
        let plain = pattern.replace('*', "");
        return Err(match nearest(&plain, names.clone()) {
            Some(near) => error.hint(format!("is `{near}` meant? `*` stands for any characters")),
            None => error.hint("`*` stands for any characters: \"*.freq_gate*\""),
        });
    }
    Ok(names.filter(|name| patterns.iter().any(|pattern| matches(pattern, name))).collect())
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
        let names = ["blocks.0.freq_gate.0.weight", "blocks.0.attn.qkv.weight"];
        let pick = |pattern: &str| pick(&[pattern.to_string()], names.iter().copied());
        assert_eq!(pick("*gate*").unwrap(), [names[0]]);
        let error = pick("blocks.0.freq_gates.0.weight").unwrap_err();
        assert!(error.hint_text().unwrap().contains(names[0]), "{error}");
    }
}
