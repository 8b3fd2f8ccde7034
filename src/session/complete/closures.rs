//! Parameters of the closures around the cursor: builders, calls and the maps that functions in options receive,
//! inferred from where the closures stand.

use super::Surroundings;
use super::infer::Known;
use crate::script::catalog::Catalog;
use crate::session::tokens::{Kind, Token};

/// A closure whose body has not ended.
struct Closure<'a> {
    /// Index of the token at which its parameters begin.
    start: usize,
    /// Index of the token at which its body begins.
    body: usize,
    /// Number of open brackets around it.
    depth: usize,
    parameters: Vec<&'a str>,
}

/// Places that take a closure over a builder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    Part,
    Network,
    Gate,
}

/// Keys of the map that the function of a custom gate receives, with their types.
const CONDITION: &[(&str, &str)] =
    &[("t", "tensor"), ("time", "tensor"), ("label", "tensor"), ("both", "tensor")];

/// Returns the parameter `name` of the innermost closure that has one: the token at which the closure starts, and
/// what is known of the parameter.
pub fn parameter(
    name: &str,
    tokens: &[Token<'_>],
    catalog: &Catalog,
    around: &Surroundings,
) -> Option<(usize, Option<Known>)> {
    // Positions count comments, patterns of code do not.
    let (places, code): (Vec<usize>, Vec<&Token>) =
        tokens.iter().enumerate().filter(|(_, t)| t.kind != Kind::Comment).unzip();
    let open = open_closures(&code);
    let (at, closure) =
        open.iter().enumerate().rev().find(|(_, closure)| closure.parameters.contains(&name))?;
    let index = closure.parameters.iter().position(|p| *p == name)?;
    let start = places[closure.start];
    let received =
        (closure.parameters.len() == 1).then(|| received(&tokens[..start], catalog, around)).flatten();
    let step = || Known::of(step_kind(&tokens[..start], closure, index, catalog, around)?);
    Some((start, received.or_else(step).or_else(|| kind(&code, &open[..at], closure, index))))
}

/// Options whose functions receive the step of a path.
const OF_PATHS: [&str; 4] = ["mix", "noise", "times", "timesteps"];

/// Returns the type of the step `c` that a closure, which is the value of an option, receives at an index, if it is one.
fn step_kind(
    before: &[Token],
    closure: &Closure,
    index: usize,
    catalog: &Catalog,
    around: &Surroundings,
) -> Option<&'static str> {
    let left: Vec<Token> = before.iter().filter(|t| t.kind != Kind::Comment).cloned().collect();
    let [.., key, sign] = left.as_slice() else { return None };
    if index == 0 || sign.text != ":" {
        return None;
    }
    let open = super::innermost(&left)?;
    let option = super::options_of(&left, open, catalog, around)?.into_iter().find(|o| o.name == key.text)?;
    let is_step = option.takes.iter().any(|list| {
        let words: Vec<&str> = list.split(", ").collect();
        words.len() == closure.parameters.len() && words.get(index) == Some(&"c")
    });
    is_step.then(|| if OF_PATHS.contains(&key.text) { "path_step" } else { "sampling_step" })
}

/// Returns whether the token is a parameter of a closure.
pub fn declares(tokens: &[Token<'_>], at: usize) -> bool {
    let code: Vec<&Token> = tokens.iter().collect();
    let inside = |t: &Token| t.kind == Kind::Name || t.text == ",";
    let first = tokens[..at].iter().rposition(|t| !inside(t)).map_or(0, |i| i + 1);
    let bar = first.checked_sub(1).filter(|bar| tokens[*bar].text == "|");
    bar.is_some_and(|bar| {
        (bar == 0 || may_precede(code[bar - 1]))
            && parameters(&code, first).is_some_and(|(.., body)| at < body)
    })
}

/// Returns the map that a closure receives which is the value of an option, or of a variable with the name of one.
fn received(before: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Known> {
    let left: Vec<Token> = before.iter().filter(|t| t.kind != Kind::Comment).cloned().collect();
    let [.., key, sign] = left.as_slice() else { return None };
    let receives = match sign.text {
        ":" => {
            let open = super::innermost(&left)?;
            super::options_of(&left, open, catalog, around)?
                .into_iter()
                .find(|o| o.name == key.text)?
                .receives
        }
        "=" => catalog.find("train::fit")?.options.iter().find(|o| o.name == key.text)?.receives,
        _ => &[],
    };
    (!receives.is_empty()).then(|| Known::map(receives))
}

/// Returns the closures in whose bodies the tokens end, outermost first.
fn open_closures<'a>(code: &[&Token<'a>]) -> Vec<Closure<'a>> {
    let (mut open, mut depth, mut at) = (Vec::<Closure>::new(), 0_usize, 0);
    while let Some(token) = code.get(at) {
        at += 1;
        if token.kind != Kind::Symbol {
            continue;
        }
        match token.text {
            "(" | "[" | "{" | "#{" | "?[" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                open.retain(|closure| closure.depth <= depth);
            }
            "," | ";" => open.retain(|closure| closure.depth < depth),
            "|" if at == 1 || may_precede(code[at - 2]) => {
                if let Some((parameters, body)) = parameters(code, at) {
                    open.push(Closure { start: at - 1, body, depth, parameters });
                    at = body;
                }
            }
            _ => {}
        }
    }
    open
}

/// Returns whether a closure may begin after this token; otherwise `|` is an operator.
fn may_precede(token: &Token) -> bool {
    match token.kind {
        Kind::Keyword => !matches!(token.text, "true" | "false" | "this"),
        Kind::Symbol => !matches!(token.text, ")" | "]"),
        _ => false,
    }
}

/// Returns the names between the bars, and where the body begins.
fn parameters<'a>(code: &[&Token<'a>], mut at: usize) -> Option<(Vec<&'a str>, usize)> {
    let mut names = Vec::new();
    loop {
        let (name, next) = (code.get(at)?, code.get(at + 1)?);
        if name.kind != Kind::Name {
            return None;
        }
        names.push(name.text);
        at += 2;
        match next.text {
            "," => {}
            "|" => return Some((names, at)),
            _ => return None,
        }
    }
}

/// Returns what is known of a closure's parameter; `outer` are the closures around it.
fn kind(code: &[&Token], outer: &[Closure], closure: &Closure, index: usize) -> Option<Known> {
    let before = &code[..closure.start];
    let count = closure.parameters.len();
    if count == 1 && maker(before).is_some() {
        return Known::of("builder");
    }
    let around = outer.last().filter(|around| around.parameters.len() == 1)?;
    let made_by = maker(&code[..around.start]).filter(|_| is_result(&code[around.body..closure.start]))?;
    match (made_by, count) {
        (Maker::Gate, 1) => Some(Known::map(CONDITION)),
        (Maker::Part, 2) | (Maker::Network, 4) if index + 1 == count => Known::of("call"),
        (Maker::Network, 3 | 4) => Known::of("tensor"),
        _ => None,
    }
}

/// Returns the place that takes a closure after these tokens.
fn maker(before: &[&Token]) -> Option<Maker> {
    match () {
        () if ends_with(before, &["nn", "::", "part", "("]) => Some(Maker::Part),
        () if ends_with(before, &["gate", "::", "custom", "("]) => Some(Maker::Gate),
        () if ends_with(before, &["make", ":"]) => Some(Maker::Network),
        () => None,
    }
}

fn ends_with(tokens: &[&Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len()
        && tokens.iter().rev().zip(texts.iter().rev()).all(|(t, text)| t.text == *text)
}

/// Returns whether a closure after these tokens of a body is the result of the body: a statement of its own, not in
/// a call or a `let`.
fn is_result(body: &[&Token]) -> bool {
    let Some(last) = body.last() else { return true };
    if !matches!(last.text, "{" | "}" | ";" | "return") {
        return false;
    }
    let mut open = Vec::new();
    for token in body.iter().filter(|t| t.kind == Kind::Symbol) {
        match token.text {
            "(" | "[" | "{" | "#{" | "?[" => open.push(token.text),
            ")" | "]" | "}" => drop(open.pop()),
            _ => {}
        }
    }
    !open.is_empty() && open.iter().all(|bracket| *bracket == "{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tokens::tokens;

    /// Returns the type of a parameter at the end of a text; `-` if the closure is known and its parameter is not.
    fn kind_of(name: &str, text: &str) -> Option<String> {
        let (catalog, around) = (Catalog::new(), Surroundings::default());
        parameter(name, &tokens(text), &catalog, &around)
            .map(|(_, known)| known.map_or_else(|| "-".to_string(), |k| k.kind))
    }

    #[test]
    fn parameters_are_known_from_where_a_closure_stands() {
        for (name, text, kind) in [
            ("b", "nn::part(|b| ", "builder"),
            ("b", "let p = nn::part(|b| { let gate = b.linear(\"g\", 2, 2); let w = ", "builder"),
            ("b", "gate::custom(|b| { ", "builder"),
            ("b", "nn::model(#{ image_shape: [1, 8, 8], make: |b| { ", "builder"),
            ("b", "nn::part(|b| { |x, c| x + ", "builder"),
            ("c", "nn::part(|b| |x, c| ", "call"),
            (
                "c",
                "nn::part(|b| { let low = filter::box(); // a comment, | and {\n |x, c| { low.apply(x, ",
                "call",
            ),
            ("c", "nn::part(|b| { if b.block == 0 { |x, c| x } else { |x, c| ", "call"),
            ("c", "nn::part(|b| |x, c| { [1].map(|i| ", "call"),
            ("x", "nn::part(|b| |x, c| ", "-"),
            ("c", "nn::model(#{ make: |b| { let a = 1; |x, t, y, c| ", "call"),
            ("t", "nn::model(#{ make: |b| |x, t, y| ", "tensor"),
            ("c", "gate::custom(|b| { let out = 1; |c| ", "map"),
            ("s", "train::fit(net, images, #{ steps: 3, loss: |s| ", "map"),
            ("s", "let loss = |s| (", "map"),
            ("s", "train::fit(net, images, #{ on_step: |s| ", "map"),
            ("s", "train::fit(net, images, #{ score: |s| ", "map"),
            ("c", "flow::sample(net, #{ steps: 3, keep: |x, t, c| ", "sampling_step"),
            ("t", "flow::sample(net, #{ steps: 3, keep: |x, t, c| ", "-"),
            ("c", "flow::sample(net, #{ sampler: |v, x, t, next, c| { ", "sampling_step"),
            ("c", "flow::path(#{ mix: |x1, noise, t, c| ", "path_step"),
            ("c", "train::fit(net, images, #{ timesteps: |n, g, c| ", "path_step"),
            // A function of two arguments in the body of a part is not the function of the part itself.
            ("c", "nn::part(|b| { let swap = |x, c| ", "-"),
            ("c", "nn::part(|b| { [2, 1].sort(|x, c| ", "-"),
            ("s", "numbers.map(|s| ", "-"),
        ] {
            assert_eq!(kind_of(name, text).as_deref(), Some(kind), "{name} in {text}");
        }
    }

    #[test]
    fn a_closure_that_has_ended_has_no_parameters() {
        for text in [
            "nn::part(|b| |x, c| x, #{ name: ",
            "let p = nn::part(|b| { |x, c| x });\n",
            "let f = |b| 1; ",
            "a | b | ",
            "|b",
            "|| ",
        ] {
            assert_eq!(kind_of("b", text), None, "{text}");
        }
    }
}
