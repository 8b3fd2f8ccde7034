//! Copies of values whose methods call a function that reads them, as in `xs.map(|x| x / xs[0])`.
//!
//! A closure shares its variables, and rhai locks a shared variable while one of its methods runs. Methods that leave
//! the value as it is therefore run on a copy: `__own(xs).map(|x| x / xs[0])`.

use rhai::Token;

use super::rewrite::{Addition, At, closing};
use crate::declare::{Declaration, Form};

/// Function that returns its argument, which rhai copies.
pub const OWN: &str = "__own";

/// Methods of arrays, maps and ranges that call a function and leave the value as it is.
const READING: [&str; 10] =
    ["map", "filter", "some", "all", "find", "find_map", "index_of", "reduce", "reduce_rev", "for_each"];

/// Methods of arrays and maps that change the value; other types may have methods of these names.
const CHANGING: [&str; 8] = ["retain", "drain", "dedup", "sort", "sort_by", "push", "insert", "set"];

/// Returns the additions that make the copies.
pub fn copies(tokens: &[At]) -> Vec<Addition> {
    let mut found = Vec::new();
    for (start, at) in tokens.iter().enumerate() {
        let first = start == 0
            || !matches!(tokens[start - 1].token, Token::Period | Token::Elvis | Token::DoubleColon);
        if let (Token::Identifier(root), true) = (&at.token, first)
            && let Some(dot) = reading(tokens, start, root)
        {
            found.push(at.before(format!("{OWN}(")));
            found.push(tokens[dot].before(")"));
        }
    }
    found
}

/// Returns the dot before the first method in the chain from a variable whose function may read the variable.
fn reading(tokens: &[At], start: usize, root: &str) -> Option<usize> {
    let mut i = start + 1;
    loop {
        match &tokens.get(i)?.token {
            Token::LeftBracket | Token::QuestionBracket => i = closing(tokens, i) + 1,
            Token::Period | Token::Elvis => {
                let Token::Identifier(name) = &tokens.get(i + 1)?.token else { return None };
                match tokens.get(i + 2)?.token {
                    Token::LeftParen => {}
                    // `()` is one token.
                    Token::Unit => {
                        i += 3;
                        continue;
                    }
                    _ => {
                        i += 2;
                        continue;
                    }
                }
                let close = closing(tokens, i + 2);
                // A bracket that is the last token of an unfinished text has nothing in it.
                if reads(tokens.get(i + 3..close)?, root, name) && leaves_alone(name) {
                    return Some(i);
                }
                i = close + 1;
            }
            _ => return None,
        }
    }
}

/// Returns whether the arguments are a closure that names the variable, or a function that may have captured it.
fn reads(arguments: &[At], root: &str, method: &str) -> bool {
    let is = |at: &At, word: &str| matches!(&at.token, Token::Identifier(name) if name.as_str() == word);
    let this = |at: &At| matches!(&at.token, Token::Reserved(word) if word.as_str() == "this");
    let closure = arguments.iter().any(|at| matches!(at.token, Token::Pipe | Token::Or));
    match (closure, method) {
        // What a function does with `this` changes the entries.
        (true, "for_each") => arguments.iter().any(|at| is(at, root)) && !arguments.iter().any(this),
        (true, _) => arguments.iter().any(|at| is(at, root)),
        (false, "for_each") => false,
        (false, _) => {
            READING.contains(&method) && matches!(arguments, [At { token: Token::Identifier(_), .. }])
        }
    }
}

/// Returns whether no value changes by a method: declared functions change none.
fn leaves_alone(name: &str) -> bool {
    let calls = |d: &&Declaration| {
        d.form == Form::Method && d.name == name && d.params.iter().any(|p| (p.label)().contains("function"))
    };
    READING.contains(&name) || !CHANGING.contains(&name) && super::declarations().iter().any(calls)
}

#[cfg(test)]
mod tests {
    use rhai::Engine;

    use super::super::rewrite::compiled_form;

    #[test]
    fn a_value_that_a_closure_reads_is_copied() {
        let form = |text: &str| compiled_form(&Engine::new(), text);
        assert_eq!(form("xs.map(|x| x / xs[0])"), "__own(xs).map(|x| x / xs[0])");
        assert_eq!(form("m.keys().filter(|k| m[k] > 1).len"), "__own(m.keys()).filter(|k| m[k] > 1).len");
        assert_eq!(form("a.b[0].all(f)"), "__own(a.b[0]).all(f)");
        for text in [
            "xs.map(|x| x + 1)",
            "xs.retain(|x| x > xs[0])",
            "xs.for_each(|| this += xs[0])",
            "xs.len() | xs[0]",
            "\"xs.map(|x| xs)\"",
            "xs.push(",
            "xs.map(|x|",
            "xs[",
            "xs.map",
            "xs.",
        ] {
            assert_eq!(form(text), text);
        }
    }
}
