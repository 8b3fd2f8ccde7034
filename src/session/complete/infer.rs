//! Type inference for the expression before a dot, from the text alone, without running code.

use super::{Surroundings, closures};
use crate::script::catalog::{self, Catalog};
use crate::script::entries::Entry;
use crate::session::tokens::{Kind, Token};

/// Type of an expression, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Type, as named by `type_of`.
    pub kind: String,
    /// Keys of a map that is in a variable or that a function receives.
    pub keys: Vec<String>,
    /// Types of keys, as far as they are known.
    kinds: &'static [(&'static str, &'static str)],
}

impl Known {
    /// Creates a value of a type.
    pub fn of(kind: &str) -> Option<Self> {
        Some(Self { kind: kind.to_string(), keys: Vec::new(), kinds: &[] })
    }

    /// Creates a map with these keys and types.
    pub fn map(kinds: &'static [(&'static str, &'static str)]) -> Self {
        let keys = kinds.iter().map(|(key, _)| key.to_string()).collect();
        Self { kind: "map".to_string(), keys, kinds }
    }
}

/// Returns the type of the expression that ends with the last token.
pub fn before(tokens: &[Token<'_>], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let (last, rest) = tokens.split_last()?;
    match (last.kind, last.text) {
        (Kind::Text(_), text) if text.starts_with('\'') => Known::of("char"),
        (Kind::Text(_), _) => Known::of("string"),
        (Kind::Number, n) if n.contains('.') || n.contains('e') => Known::of("float"),
        (Kind::Number, _) => Known::of("int"),
        (Kind::Keyword, "true" | "false") => Known::of("bool"),
        (Kind::Symbol, ")") => call(&tokens[..opening(tokens)?], catalog, around)
            // `(a + b)`: parentheses without a call.
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

/// Returns whether a name is declared in the text before: by `let`, `const` or `for`, or as a parameter.
pub fn is_local(name: &str, before_it: &[Token]) -> bool {
    locals(before_it).contains(&name)
}

/// Returns the names that a text declares: variables, functions, and parameters of functions and closures.
pub fn locals<'a>(tokens: &[Token<'a>]) -> Vec<&'a str> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate().filter(|(_, t)| t.kind == Kind::Name) {
        let before = i.checked_sub(1).map(|i| &tokens[i]);
        let declared = match before.map(|t| t.text) {
            Some("let" | "const" | "for" | "fn") => true,
            Some("(" | ",") => {
                // The parameters of a function, or the two names of a loop.
                let open = tokens[..i].iter().rposition(|t| t.text == "(");
                let listed = |open: usize| {
                    let names = &tokens[open + 1..i];
                    names.iter().all(|t| t.kind == Kind::Name || t.text == ",")
                };
                let owner = |open: usize| match &tokens[..open] {
                    [.., last] if last.text == "for" => true,
                    [.., keyword, name] => keyword.text == "fn" && name.kind == Kind::Name,
                    _ => false,
                };
                open.is_some_and(|open| listed(open) && owner(open)) || closures::declares(tokens, i)
            }
            _ => closures::declares(tokens, i),
        };
        if declared && !found.contains(&token.text) {
            found.push(token.text);
        }
    }
    found
}

/// Returns whether an index can follow this token.
fn ends_value(token: &Token) -> bool {
    matches!(token.kind, Kind::Name | Kind::Text(_)) || matches!(token.text, ")" | "]" | "}")
}

/// Returns the type of a variable of the session, a variable declared in the text before, or a parameter of an
/// enclosing closure.
fn variable(name: &str, before_it: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let declared = before_it
        .windows(3)
        .rposition(|w| matches!(w[0].text, "let" | "const") && w[1].text == name && w[2].text == "=");
    if let Some((at, known)) = closures::parameter(name, before_it, catalog, around)
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

/// Returns the result type of a call; the tokens end with the name of the function, without its arguments.
fn call(tokens: &[Token<'_>], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let entry = callee(tokens, catalog, around)?;
    Known::of(catalog::returns(entry)?)
}

/// Returns the function that is called if the tokens end with its name.
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
            // Unknown receiver: use the name if only one type has it.
            None => {
                let mut found = catalog.methods_called(name.text);
                found.next().filter(|_| found.next().is_none())
            }
        },
        _ => catalog.functions("global").find(|e| e.name == name.text),
    }
}

/// Returns the index of the bracket that matches the last token.
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
