//! Help topic of the text at the cursor.

use super::{Surroundings, infer, innermost};
use crate::script::catalog::Catalog;
use crate::session::tokens::{self, Kind, Token};

/// A topic that help can explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Name under which help lists it, such as `tensor.sum`.
    pub name: String,
    /// Description of the variable at the cursor, with its type and shape.
    pub variable: Option<String>,
}

/// Returns the topic at a byte position of the text; inside the parentheses of a call without a name at the cursor,
/// the function.
pub fn topic(text: &str, cursor: usize, catalog: &Catalog, around: &Surroundings) -> Option<Topic> {
    let all: Vec<Token> = tokens::tokens(text).into_iter().filter(|t| t.kind != Kind::Comment).collect();
    let named = |t: &Token| t.kind == Kind::Name && t.start <= cursor && cursor <= t.end();
    if let Some(at) = all.iter().position(named) {
        // The cursor on `filter` in `filter::gaussian` means the whole path.
        let inner = all.get(at + 1).is_some_and(|t| t.text == "::");
        let at = if inner && all.get(at + 2).is_some_and(|t| t.kind == Kind::Name) { at + 2 } else { at };
        return named_at(&all[..=at], catalog, around);
    }
    let before: Vec<Token> = all.into_iter().filter(|t| t.end() <= cursor).collect();
    let mut left = &before[..];
    while let Some(open) = innermost(left) {
        left = &left[..open];
        if before[open].text == "(" && left.last().is_some_and(|t| t.kind == Kind::Name) {
            return named_at(left, catalog, around);
        }
    }
    None
}

/// Returns the topic of the name with which the tokens end.
fn named_at(tokens: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Topic> {
    let (name, rest) = tokens.split_last()?;
    let plain = |name: String| Topic { name, variable: None };
    if let Some(entry) = infer::callee(tokens, catalog, around) {
        return Some(plain(entry.path.clone()));
    }
    match rest.last().map(|t| t.text) {
        Some("::") => Some(plain(format!("{}::{}", rest.get(rest.len().wrapping_sub(2))?.text, name.text))),
        Some("." | "?.") => {
            let owner = infer::before(&rest[..rest.len() - 1], catalog, around)?;
            Some(plain(format!("{}.{}", owner.kind, name.text)))
        }
        _ => Some(of_name(name.text, around)),
    }
}

/// Returns the topic of a name typed after `?`; a variable stands for its type.
pub fn of_name(name: &str, around: &Surroundings) -> Topic {
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    match around.variables.iter().find(|v| v.name == first) {
        Some(variable) if rest.is_empty() => Topic {
            name: variable.kind.clone(),
            variable: Some(format!("{name} is a variable: {}", variable.about)),
        },
        Some(variable) => Topic { name: format!("{}.{rest}", variable.kind), variable: None },
        None => Topic { name: name.to_string(), variable: None },
    }
}

/// Returns the name that a line such as `model.forward?` asks about.
pub fn asks(line: &str) -> Option<&str> {
    let name = line.strip_suffix('?')?.trim();
    let fits = |c: char| tokens::is_word(c) || matches!(c, ':' | '.');
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::complete::Variable;

    fn at(text: &str) -> Option<Topic> {
        let cursor = text.find('|').unwrap();
        let around = Surroundings {
            variables: vec![Variable {
                name: "x".to_string(),
                kind: "tensor".to_string(),
                about: "tensor [2] float32".to_string(),
                keys: Vec::new(),
            }],
            ..Surroundings::default()
        };
        topic(&text.replace('|', ""), cursor, &Catalog::new(), &around)
    }

    #[test]
    fn names_at_the_cursor_lead_to_their_pages() {
        for (text, name) in [
            ("filter::gau|ssian(#{ sigma: 1.0 })", "filter::gaussian"),
            ("fil|ter::gaussian()", "filter::gaussian"),
            ("let y = filter::gaussian(#{ sigma: |", "filter::gaussian"),
            ("x.su|m()", "tensor.sum"),
            ("x.matmul(|", "tensor.matmul"),
            ("|x + 1", "tensor"),
            ("print|", "print"),
        ] {
            assert_eq!(at(text).map(|t| t.name).as_deref(), Some(name), "{text}");
        }
        assert_eq!(at("x|").unwrap().variable.as_deref(), Some("x is a variable: tensor [2] float32"));
        assert_eq!(at("1 + | 2"), None);
    }
}
