//! Help topic of the text at the cursor.

use super::{Defined, Surroundings, infer, innermost, options_of};
use crate::script::catalog::Catalog;
use crate::script::entries::OptionEntry;
use crate::script::help;
use crate::session::tokens::{self, Kind, Token};

/// What help can say of a text: a line of its own, and a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topic {
    /// Name under which help lists the page, such as `tensor.sum`; empty if the lead says everything.
    pub name: String,
    /// Description of a variable, a function of the session or an option.
    pub lead: Option<String>,
}

impl Topic {
    fn page(name: String) -> Self {
        Self { name, lead: None }
    }

    /// Describes a value, followed by the page of its type if there is one.
    fn value(kind: &str, lead: String) -> Self {
        let name = if help::lists(kind) { kind.to_string() } else { String::new() };
        Self { name, lead: Some(lead) }
    }
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
        if let Some(key) = key(&all, at, catalog, around) {
            return Some(key);
        }
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

/// Returns the option whose key is the token, if it is one.
fn key(all: &[Token], at: usize, catalog: &Catalog, around: &Surroundings) -> Option<Topic> {
    let left = &all[..at];
    let open = innermost(left).filter(|open| left[*open].text == "#{")?;
    if !matches!(left.last()?.text, "#{" | ",") || all.get(at + 1).is_some_and(|t| t.text != ":") {
        return None;
    }
    let name = all[at].text;
    let option = options_of(left, open, catalog, around)?.into_iter().find(|o| o.name == name);
    let lead = match option {
        Some(OptionEntry { label, default, allowed, text, .. }) => {
            let allowed = if allowed.is_empty() { String::new() } else { format!(", {allowed}") };
            format!("option `{name}`: {label} = {default}{allowed}\n\n{text}")
        }
        None => format!("there is no option `{name}` here"),
    };
    Some(Topic { name: String::new(), lead: Some(lead) })
}

/// Returns the topic of the name with which the tokens end.
fn named_at(tokens: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Topic> {
    let (name, rest) = tokens.split_last()?;
    if let Some(entry) = infer::callee(tokens, catalog, around) {
        return Some(Topic::page(entry.path.clone()));
    }
    match rest.last().map(|t| t.text) {
        Some("::") => {
            let path = format!("{}::{}", rest.get(rest.len().wrapping_sub(2))?.text, name.text);
            Some(of_name(&path, around))
        }
        Some("." | "?.") => {
            let owner = infer::before(&rest[..rest.len() - 1], catalog, around)?;
            Some(Topic::page(format!("{}.{}", owner.kind, name.text)))
        }
        // A name that is being declared.
        Some("let" | "const" | "for" | "fn") => None,
        _ if infer::is_local(name.text, rest) => {
            let kind = infer::before(tokens, catalog, around).map(|known| known.kind);
            let lead = match &kind {
                Some(kind) => format!("`{}` is declared in this text: {kind}", name.text),
                None => format!("`{}` is declared in this text", name.text),
            };
            Some(Topic::value(kind.as_deref().unwrap_or_default(), lead))
        }
        _ => Some(of_name(name.text, around)),
    }
}

/// Returns the topic of a name typed after `?`. A variable stands for its type, and functions of the session come with
/// their documentation.
pub fn of_name(name: &str, around: &Surroundings) -> Topic {
    let own: Vec<String> = around.functions.iter().filter(|f| f.path() == name).map(Defined::about).collect();
    let (first, rest) = name.split_once('.').unwrap_or((name, ""));
    match around.variables.iter().find(|v| v.name == first) {
        Some(variable) if rest.is_empty() => {
            Topic::value(&variable.kind, format!("{name} is a variable: {}", variable.about))
        }
        Some(variable) => Topic::page(format!("{}.{rest}", variable.kind)),
        None if !own.is_empty() => Topic { name: String::new(), lead: Some(own.join("\n\n")) },
        None => Topic::page(name.to_string()),
    }
}

/// What a line asks help for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// The page of a name, `?name` or `name?`; that of the prompt if it is empty.
    Page(&'a str),
    /// The source of a function, `??name` or `name??`.
    Source(&'a str),
}

/// Returns what a line asks, if it is a question.
pub fn question(line: &str) -> Option<Question<'_>> {
    let line = line.trim();
    if let Some(name) = line.strip_prefix('?') {
        return Some(match name.strip_prefix('?').map(str::trim) {
            Some(name) if !name.is_empty() => Question::Source(name),
            _ => Question::Page(name.trim_matches('?').trim()),
        });
    }
    let name = line.trim_end_matches('?');
    let fits = |c: char| tokens::is_word(c) || matches!(c, ':' | '.');
    let (marks, name) = (line.len() - name.len(), name.trim());
    match marks {
        _ if name.is_empty() || !name.chars().all(fits) => None,
        1 => Some(Question::Page(name)),
        2 => Some(Question::Source(name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::complete::Variable;

    fn at(text: &str) -> Option<Topic> {
        let cursor = text.find('|').unwrap();
        let variable = |name: &str, kind: &str, about: &str| Variable {
            name: name.to_string(),
            kind: kind.to_string(),
            about: about.to_string(),
            keys: Vec::new(),
        };
        let around = Surroundings {
            variables: vec![
                variable("x", "tensor", "tensor [2] float32"),
                variable("words", "string", "the string \"a\""),
            ],
            functions: vec![Defined {
                space: String::new(),
                name: "mine".to_string(),
                params: vec!["a".to_string(), "b".to_string()],
                doc: "/// Adds.\n/// Twice.".to_string(),
            }],
            ..Surroundings::default()
        };
        topic(&text.replacen('|', "", 1), cursor, &Catalog::new(), &around)
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
            ("let step = tensor::zeros([2]); ste|p", "tensor"),
            ("print|", "print"),
        ] {
            assert_eq!(at(text).map(|t| t.name).as_deref(), Some(name), "{text}");
        }
        assert_eq!(at("x|").unwrap().lead.as_deref(), Some("x is a variable: tensor [2] float32"));
        assert_eq!(at("1 + | 2"), None);
        assert_eq!(at("let t|"), None);
    }

    #[test]
    fn questions_stand_before_or_behind_a_name() {
        for line in ["?print", "print?", " ? print ", "print ?"] {
            assert_eq!(question(line), Some(Question::Page("print")), "{line}");
        }
        for line in ["??sweep::run", "sweep::run??", "?? sweep::run"] {
            assert_eq!(question(line), Some(Question::Source("sweep::run")), "{line}");
        }
        assert_eq!((question("?"), question("??")), (Some(Question::Page("")), Some(Question::Page(""))));
        for line in ["a + b?", "a ? b : c", "m?.x", "print???", "f(x)?", ""] {
            assert_eq!(question(line), None, "{line}");
        }
    }

    #[test]
    fn values_functions_and_options_without_a_page_are_described() {
        for (text, lead) in [
            ("wor|ds", "words is a variable: the string \"a\""),
            ("min|e(1, 2)", "mine(a, b), defined here\n\nAdds.\nTwice."),
            ("filter::gaussian(#{ si|gma: 1.0 })", "option `sigma`: float = 1.0"),
            ("train::fit(m, d, #{ steps: 3, l|r: 1e-3 })", "option `lr`: float = 0.0001"),
            ("train::fit(m, d, #{ ema: #{ dec|ay: 0.9 } })", "option `decay`: float = (), from 0 to 1"),
            ("filter::gaussian(#{ sig|: 1.0 })", "there is no option `sig` here"),
            ("for step in 0..3 { st|ep }", "`step` is declared in this text"),
        ] {
            let found = at(text);
            let Some(Topic { name, lead: Some(found) }) = found else { panic!("{text}: {found:?}") };
            assert!(name.is_empty() && found.starts_with(lead), "{text}: {name} {found}");
        }
    }
}
