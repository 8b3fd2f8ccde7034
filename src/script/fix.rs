//! Correction of a mistake as a change to the text of a cell, if there is exactly one.

use super::source::Place;
use crate::error::{Meant, Problem};

/// A replacement in a cell. Lines and columns count from 1; columns and lengths are in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fix {
    /// Line in the cell.
    pub line: usize,
    /// Column of the first replaced character.
    pub column: usize,
    /// Number of replaced characters.
    pub length: usize,
    /// Replacement text.
    pub text: String,
}

impl Fix {
    /// Returns the cell with the mistake corrected.
    pub fn apply(&self, cell: &str) -> String {
        let mut lines: Vec<String> = cell.split('\n').map(str::to_string).collect();
        if let Some(line) = lines.get_mut(self.line.saturating_sub(1)) {
            let chars: Vec<char> = line.chars().collect();
            let start = self.column.saturating_sub(1).min(chars.len());
            let end = (start + self.length).min(chars.len());
            let kept = |part: &[char]| part.iter().collect::<String>();
            *line = format!("{}{}{}", kept(&chars[..start]), self.text, kept(&chars[end..]));
        }
        lines.join("\n")
    }
}

/// Words of other languages, which rhai takes for variables, so that it reports a missing `;` after or before them.
const FOREIGN: [(&str, &str); 11] = [
    ("var", "let"),
    ("val", "let"),
    ("auto", "let"),
    ("def", "fn"),
    ("func", "fn"),
    ("function", "fn"),
    ("elif", "else if"),
    ("match", "switch"),
    ("and", "&&"),
    ("or", "||"),
    ("not", "!"),
];

/// Returns the correction of a word at a location, or of a quoted string passed to the call there. `before` is the
/// number of lines counted before the first line of the cell.
pub fn of_word(cell: &str, before: usize, place: &Place, meant: &Meant) -> Option<Fix> {
    let line = place.line.checked_sub(before)?;
    let chars: Vec<char> = cell.lines().nth(line.checked_sub(1)?)?.chars().collect();
    let start = place.column.checked_sub(1)?;
    let Meant { wrong, right } = meant;
    let replace = |line: usize, start: usize| Fix {
        line,
        column: start + 1,
        length: wrong.chars().count(),
        text: right.clone(),
    };
    // A path is reported at its last name or at its first.
    let space = wrong.rsplit_once("::").map_or(0, |(space, _)| space.chars().count() + 2);
    for start in [Some(start), start.checked_sub(space)].into_iter().flatten() {
        // A function of a namespace cannot replace a method.
        let method = start > 0 && chars.get(start - 1) == Some(&'.');
        if stands_at(&chars, start, wrong) && !(method && right.contains("::")) {
            return Some(replace(line, start));
        }
    }
    // A quoted string must be the only one with this text.
    let quoted = format!("\"{wrong}\"");
    let mut found = cell.match_indices(&quoted);
    let (Some((at, _)), None) = (found.next(), found.next()) else { return None };
    let head = &cell[..at];
    let column = head.rsplit('\n').next().map_or(0, |l| l.chars().count());
    Some(replace(head.matches('\n').count() + 1, column + 1))
}

/// Returns the correction of a word of another language at a location or right before it, where rhai expected
/// something else, and the hint for the user.
pub fn of_foreign(cell: &str, before: usize, place: &Place, problem: &Problem) -> Option<(Fix, String)> {
    if !matches!(problem, Problem::MissingToken { .. }) {
        return None;
    }
    let line = place.line.checked_sub(before)?;
    let chars: Vec<char> = cell.lines().nth(line.checked_sub(1)?)?.chars().collect();
    let at = place.column.checked_sub(1)?.min(chars.len());
    let end = chars[..at].iter().rposition(|c| !c.is_whitespace()).map_or(0, |i| i + 1);
    let start = chars[..end].iter().rposition(|c| !is_word(*c)).map_or(0, |i| i + 1);
    for (start, places) in [(at, true), (start, false)] {
        let word: String = chars[start..].iter().take_while(|c| is_word(**c)).collect();
        // Operators are at the location, declarations before it.
        let known = FOREIGN.iter().find(|(theirs, _)| *theirs == word);
        let Some((_, ours)) = known.filter(|(_, ours)| places == matches!(*ours, "&&" | "||")) else {
            continue;
        };
        let fix = Fix { line, column: start + 1, length: word.chars().count(), text: (*ours).to_string() };
        return Some((fix, format!("`{word}` is written `{ours}`")));
    }
    None
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether the text is there and does not continue as a longer word or operator.
fn stands_at(chars: &[char], start: usize, text: &str) -> bool {
    let wanted: Vec<char> = text.chars().collect();
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return false };
    let symbol = |c: char| "+-*/%=<>!&|^:".contains(c);
    let joins = |a: char, b: char| is_word(a) && is_word(b) || symbol(a) && symbol(b);
    chars[start.min(chars.len())..].starts_with(&wanted)
        && !start.checked_sub(1).and_then(|i| chars.get(i)).is_some_and(|c| joins(*c, *first))
        && !chars.get(start + wanted.len()).is_some_and(|c| joins(*last, *c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, column: usize) -> Place {
        Place { file: "cell".to_string(), line, column, text: String::new(), length: 1 }
    }

    fn meant(wrong: &str, right: &str) -> Meant {
        Meant { wrong: wrong.to_string(), right: right.to_string() }
    }

    #[test]
    fn a_word_is_replaced_as_a_whole_or_not_at_all() {
        let cell = "let ä = 1;\nlet b = aa + aab;";
        let fix = of_word(cell, 0, &place(2, 9), &meant("aa", "ä")).unwrap();
        assert_eq!(fix, Fix { line: 2, column: 9, length: 2, text: "ä".to_string() });
        assert_eq!(fix.apply(cell), "let ä = 1;\nlet b = ä + aab;");
        assert_eq!(of_word(cell, 0, &place(2, 14), &meant("aa", "ä")), None);
        assert_eq!(of_word(cell, 0, &place(7, 1), &meant("aa", "ä")), None);
        // Lines before the cell are subtracted.
        assert_eq!(of_word(cell, 10, &place(12, 9), &meant("aa", "ä")), Some(fix));
    }

    #[test]
    fn a_path_is_found_from_its_last_name_and_a_text_by_its_quotes() {
        let fix = of_word("x + model::dti()", 0, &place(1, 12), &meant("model::dti", "model::dit")).unwrap();
        assert_eq!((fix.column, fix.length), (5, 10));
        let cell = "f(\n  \"flot\"\n)";
        let fix = of_word(cell, 0, &place(1, 1), &meant("flot", "float")).unwrap();
        assert_eq!(fix.apply(cell), "f(\n  \"float\"\n)");
        assert_eq!(of_word("f(\"a\", \"a\")", 0, &place(1, 1), &meant("a", "b")), None);
    }

    #[test]
    fn a_function_does_not_take_the_place_of_a_method() {
        assert_eq!(of_word("x.zeros()", 0, &place(1, 3), &meant("zeros", "tensor::zeros")), None);
    }
}
