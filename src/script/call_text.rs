//! Location of an argument or option in the text of a call, so that a message can point at it.

use rhai::{Engine, Token};

use super::code::pieces::{closes, opens};
use super::rewrite::{At, tokens_of_code};

/// A part of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The argument with this index, from 0.
    Argument(usize),
    /// The key of an option map; with an index, that of the map which is this entry of an array.
    Option(&'a str, Option<usize>),
}

/// Returns line and column, from 1, of a part of the call whose name starts at a location.
pub fn find(text: &str, line: usize, column: usize, part: Part) -> Option<(usize, usize)> {
    let start = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
    let rest = text.get(start..)?;
    let start = rest.char_indices().nth(column - 1)?.0;
    let tokens = tokens_of_code(&Engine::new_raw(), &rest[start..]);
    let place = |at: &At| (line + at.line - 1, if at.line == 1 { column + at.column - 1 } else { at.column });
    let (mut depth, mut argument, mut i) = (0usize, 0, 0);
    // For each open bracket, the number of the entry in it if it is an array.
    let mut entries: Vec<Option<usize>> = Vec::new();
    // The next token starts this argument.
    let mut pending = false;
    while let Some(at) = tokens.get(i) {
        if std::mem::take(&mut pending)
            && part == Part::Argument(argument)
            && !matches!(at.token, Token::RightParen)
        {
            return Some(place(at));
        }
        match &at.token {
            token if opens(token) => {
                pending = depth == 0;
                depth += 1;
                let array = matches!(token, Token::LeftBracket) && i > 0 && !tokens[i - 1].ends_value();
                entries.push(array.then_some(0));
            }
            token if closes(token) && depth <= 1 => return None,
            token if closes(token) => {
                depth -= 1;
                entries.pop();
            }
            Token::Comma if depth == 1 => (argument, pending) = (argument + 1, true),
            Token::Comma => {
                if let Some(Some(entry)) = entries.last_mut() {
                    *entry += 1;
                }
            }
            // The parameters of a closure have commas of their own.
            Token::Pipe if i > 0 && !tokens[i - 1].ends_value() => {
                i += tokens[i + 1..].iter().position(|at| matches!(at.token, Token::Pipe))? + 1;
            }
            // The call has no arguments, or it ends without brackets: it was a property or an operator.
            Token::Unit | Token::SemiColon if depth == 0 => return None,
            Token::Identifier(name) if depth > 0 => {
                let key = matches!(tokens.get(i + 1).map(|next| &next.token), Some(Token::Colon));
                let within = entries.len().checked_sub(2).and_then(|i| entries[i]);
                let wanted = |entry: Option<usize>| entry.is_none() || entry == within;
                if key && matches!(part, Part::Option(own, entry) if own == name.as_str() && wanted(entry)) {
                    return Some(place(at));
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "x.f(1, \"b: )\", #{ a: g(2, 3),\n  b: 3 }); h(#{ c: 1 })";

    #[test]
    fn an_option_is_found_in_its_own_call_only() {
        assert_eq!(find(TEXT, 1, 3, Part::Option("b", None)), Some((2, 3)));
        assert_eq!(find(TEXT, 1, 3, Part::Option("c", None)), None);
    }

    #[test]
    fn an_option_of_an_entry_is_that_of_its_map() {
        let text = "f([#{ a: [1, 2], b: 1 }, #{ b: x[0, 1] }, #{ b: 3 }], #{ c: 1 })";
        let column = |n: usize| text.match_indices("b:").nth(n).map(|(at, _)| (1, at + 1));
        for n in 0..3 {
            assert_eq!(find(text, 1, 1, Part::Option("b", Some(n))), column(n));
        }
        assert_eq!(find(text, 1, 1, Part::Option("b", Some(3))), None);
        assert_eq!(find(text, 1, 1, Part::Option("b", None)), column(0));
    }

    #[test]
    fn arguments_are_counted_outside_brackets_and_strings() {
        assert_eq!(find(TEXT, 1, 3, Part::Argument(0)), Some((1, 5)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(1)), Some((1, 8)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(2)), Some((1, 16)));
        assert_eq!(find(TEXT, 1, 3, Part::Argument(3)), None);
        for none in ["f()", "f( )", "f() + g(1)", "f(); g(1)"] {
            assert_eq!(find(none, 1, 1, Part::Argument(0)), None);
        }
        let text =
            "x; f(1, // one, two\n  \"a\\\", b\", /* , */ |a, b| a + b, [|| 1, 2], `${g(1, 2)}, \\`, _3, 7)";
        let found = |i| find(text, 1, 4, Part::Argument(i));
        let at = |needle: &str| Some((2, text.lines().nth(1).unwrap().find(needle).unwrap() + 1));
        assert_eq!(found(1), at("\"a"));
        assert_eq!(found(2), at("|a, b|"));
        assert_eq!(found(3), at("[||"));
        assert_eq!(found(4), at("`$"));
        assert_eq!((found(5), found(6), found(7)), (at("_3"), at("7"), None));
    }
}
