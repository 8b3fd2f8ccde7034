//! The type of what stands before a dot, found by reading and never by running.

use super::{Surroundings, closures};
use crate::script::catalog::{self, Catalog};
use crate::script::entries::Entry;
use crate::session::tokens::{Kind, Token};

/// What is known of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its type, as `type_of` names it.
    pub kind: String,
    /// Its keys, when it is a map in a variable or one that a function is given.
    pub keys: Vec<String>,
    /// The types of keys, as far as they are known.
    kinds: &'static [(&'static str, &'static str)],
}

impl Known {
    /// A value of a type.
    pub fn of(kind: &str) -> Option<Self> {
        Some(Self { kind: kind.to_string(), keys: Vec::new(), kinds: &[] })
    }

    /// A map with these keys, each with its type.
    pub fn map(kinds: &'static [(&'static str, &'static str)]) -> Self {
        let keys = kinds.iter().map(|(key, _)| key.to_string()).collect();
        Self { kind: "map".to_string(), keys, kinds }
    }
}

/// The type of the expression that ends with the last of the tokens.
pub fn before(tokens: &[Token<'_>], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let (last, rest) = tokens.split_last()?;
    match (last.kind, last.text) {
        (Kind::Text(_), text) if text.starts_with('\'') => Known::of("char"),
        (Kind::Text(_), _) => Known::of("string"),
        (Kind::Number, n) if n.contains('.') || n.contains('e') => Known::of("float"),
        (Kind::Number, _) => Known::of("int"),
        (Kind::Keyword, "true" | "false") => Known::of("bool"),
        (Kind::Symbol, ")") => call(&tokens[..opening(tokens)?], catalog, around)
            // `(a + b)`: brackets alone.
            .or_else(|| before(rest, catalog, around)),
        (Kind::Symbol, "]") => {
            let open = opening(tokens)?;
            let indexed = tokens[..open].last().is_some_and(ends_value);
            match indexed {
                true => before(&tokens[..open], catalog, around).filter(|k| k.kind == "tensor"),
                false => Known::of("array"),
            }
        }
        (Kind::Symbol, "}") => (tokens[opening(tokens)?].text == "#{").then(|| Known::of("map"))?,
        (Kind::Name, name) => match rest.last().map(|t| t.text) {
            Some("." | "?.") => {
                let owner = before(&rest[..rest.len() - 1], catalog, around)?;
                if let Some((_, kind)) = owner.kinds.iter().find(|(key, _)| *key == name) {
                    return Known::of(kind);
                }
                let entry =
                    catalog.members(Some(&owner.kind)).find(|e| e.name == name && e.form == "property");
                Known::of(catalog::returns(entry?)?)
            }
            Some("::") => None,
            _ => variable(name, rest, catalog, around),
        },
        _ => None,
    }
}

/// Whether an index can follow this token.
fn ends_value(token: &Token) -> bool {
    matches!(token.kind, Kind::Name | Kind::Text(_)) || matches!(token.text, ")" | "]" | "}")
}

/// A variable of the session, one that the text before declares, or a parameter of a closure around.
fn variable(name: &str, before_it: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let declared = before_it
        .windows(3)
        .rposition(|w| matches!(w[0].text, "let" | "const") && w[1].text == name && w[2].text == "=");
    if let Some((at, known)) = closures::parameter(name, before_it)
        && declared.is_none_or(|declared| declared < at)
    {
        return known;
    }
    if let Some(at) = declared {
        let end = before_it[at + 3..].iter().position(|t| t.text == ";")?;
        return before(&before_it[..at + 3 + end], catalog, around);
    }
    let found = around.variables.iter().find(|v| v.name == name)?;
    Some(Known { kind: found.kind.clone(), keys: found.keys.clone(), kinds: &[] })
}

/// The result of the call whose arguments were taken off: the tokens end with its name.
fn call(tokens: &[Token<'_>], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let entry = callee(tokens, catalog, around)?;
    Known::of(catalog::returns(entry)?)
}

/// The function that is called where the tokens end with its name.
pub fn callee<'a>(tokens: &[Token<'a>], catalog: &'a Catalog, around: &Surroundings) -> Option<&'a Entry> {
    let (name, rest) = tokens.split_last()?;
    if name.kind != Kind::Name {
        return None;
    }
    match rest.split_last().map(|(t, before)| (t.text, before)) {
        Some(("::", before)) => catalog.find(&format!("{}::{}", before.last()?.text, name.text)),
        Some(("." | "?.", owner)) => match before(owner, catalog, around) {
            Some(known) => {
                let fits = |e: &&Entry| (e.group == known.kind || e.group == "any") && e.name == name.text;
                catalog.members(None).find(fits)
            }
            // An unknown receiver, and a name that only one type has.
            None => {
                let mut found = catalog.methods_called(name.text);
                found.next().filter(|_| found.next().is_none())
            }
        },
        _ => catalog.functions("global").find(|e| e.name == name.text),
    }
}

/// Where the bracket opens that the last token closes.
fn opening(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().rev().filter(|(_, t)| t.kind == Kind::Symbol) {
        match token.text {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" | "#{" | "?[" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(i);
        }
    }
    None
}
