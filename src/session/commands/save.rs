//! `:save`: writes the session as a script that can be run.

use std::collections::BTreeSet;

use crate::script::source::is_result;
use crate::session::tokens::{Kind, Token, tokens};
use crate::session::{Cell, Ended};

/// Returns a script that does what the cells did: failed cells become comments, and results that later cells use
/// get names.
pub fn script(cells: &[Cell]) -> String {
    let used = used_results(cells);
    let mut out = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let latest = cells[..i].iter().rev().find(|c| c.has_result).map_or(0, |c| c.number);
        let text = renamed(cell.text.trim_end(), latest);
        match &cell.ended {
            Ended::Well => {
                let later = &cells[i + 1..];
                let text = without_redefined(&text, later);
                out += &statement(&text, used.contains(&cell.number).then_some(cell.number));
            }
            Ended::Badly(why) => {
                out +=
                    &format!("// cell {} failed: {}\n", cell.number, why.lines().next().unwrap_or_default());
                for line in text.lines() {
                    out += &format!("// {line}\n");
                }
            }
        }
        out += "\n";
    }
    out
}

/// Returns the numbers of the results that later cells use.
fn used_results(cells: &[Cell]) -> BTreeSet<usize> {
    let mut used = BTreeSet::new();
    for (i, cell) in cells.iter().enumerate() {
        let latest = cells[..i].iter().rev().find(|c| c.has_result).map(|c| c.number);
        for token in names(&cell.text) {
            match token.text {
                "_" => used.extend(latest),
                name if is_result(name) => used.extend(name[1..].parse::<usize>().ok()),
                _ => {}
            }
        }
    }
    used
}

fn names(text: &str) -> Vec<Token<'_>> {
    let all = tokens(text);
    let case = |i: usize| all.get(i + 1).is_some_and(|next| next.text == "=>");
    (0..all.len()).filter(|i| all[*i].kind == Kind::Name && !case(*i)).map(|i| all[i].clone()).collect()
}

/// Replaces `_` and `_3` in a text by the names that the script gives to results.
fn renamed(text: &str, latest: usize) -> String {
    let mut out = text.to_string();
    for token in names(text).into_iter().rev() {
        let name = match token.text {
            "_" => format!("result_{latest}"),
            name if is_result(name) => format!("result{name}"),
            _ => continue,
        };
        out.replace_range(token.range(), &name);
    }
    out
}

/// Returns the cell as statements, with its last expression bound to a name if later cells need it.
fn statement(text: &str, number: Option<usize>) -> String {
    let mut out = text.to_string();
    if let Some(number) = number {
        out.insert_str(last_statement(text), &format!("let result_{number} = "));
    }
    let last = tokens(&out).into_iter().rfind(|t| t.kind != Kind::Comment);
    // The semicolon must stand before a comment at the end.
    if let Some(end) = last.filter(|t| t.text != ";" && (t.text != "}" || number.is_some())).map(|t| t.end())
    {
        out.insert(end, ';');
    }
    out + "\n"
}

/// Returns the start of the last statement of a cell.
fn last_statement(text: &str) -> usize {
    let all: Vec<Token> = tokens(text).into_iter().filter(|t| t.kind != Kind::Comment).collect();
    let (mut blocks, mut start) = (Vec::new(), 0);
    for (i, token) in all.iter().enumerate() {
        let next = all.get(i + 1);
        let ends = match token.text {
            _ if token.kind != Kind::Symbol => false,
            "(" | "[" | "{" | "#{" | "?[" => {
                blocks.push(token.text);
                false
            }
            ")" | "]" => {
                blocks.pop();
                false
            }
            // A block ends its statement unless the next word continues it.
            "}" => {
                let block = blocks.pop() == Some("{");
                let on = |t: &Token| {
                    matches!(t.text, "else" | "catch" | "while" | "until")
                        || t.kind == Kind::Symbol && t.text != "#{" && t.text != "["
                };
                block && blocks.is_empty() && !next.is_some_and(on)
            }
            ";" => blocks.is_empty(),
            _ => false,
        };
        if let (true, Some(next)) = (ends, next) {
            start = next.start;
        }
    }
    if start == 0 { all.first().map_or(0, |t| t.start) } else { start }
}

/// Removes functions that a later cell redefines, since a script may define a function only once.
fn without_redefined(text: &str, later: &[Cell]) -> String {
    let mut out = text.to_string();
    let all = tokens(text);
    for at in (0..all.len()).rev().filter(|i| all[*i].text == "fn" && all[*i].kind == Kind::Keyword) {
        let Some((name, count, end)) = function(&all[at..]) else { continue };
        let again = later.iter().filter(|c| matches!(c.ended, Ended::Well)).any(|cell| {
            let other = tokens(&cell.text);
            let starts = (0..other.len()).filter(|i| other[*i].text == "fn");
            starts.filter_map(|i| function(&other[i..])).any(|(n, c, _)| (n, c) == (name, count))
        });
        if again {
            out.replace_range(
                all[at].start..all[at + end].end(),
                &format!("// `{name}` is redefined below\n"),
            );
        }
    }
    out
}

/// Returns the name and number of parameters of the function at the start of the tokens, and the index of its last
/// token.
fn function<'a>(tokens: &[Token<'a>]) -> Option<(&'a str, usize, usize)> {
    let [_, name, open, ..] = tokens else { return None };
    if open.text != "(" {
        return None;
    }
    let close = tokens.iter().position(|t| t.text == ")")?;
    let count = tokens[3..close].iter().filter(|t| t.kind == Kind::Name).count();
    let (mut depth, mut end) = (0usize, None);
    for (i, token) in tokens.iter().enumerate().skip(close) {
        match token.text {
            "{" | "#{" => depth += 1,
            "}" if depth == 1 => {
                end = Some(i);
                break;
            }
            "}" => depth -= 1,
            _ => {}
        }
    }
    Some((name.text, count, end?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(number: usize, text: &str, has_result: bool) -> Cell {
        Cell { number, text: text.to_string(), ended: Ended::Well, has_result }
    }

    #[test]
    fn the_script_names_results_and_leaves_failures_out() {
        let failed = Cell { ended: Ended::Badly("no".to_string()), ..cell(3, "bad(", false) };
        let cells = [
            cell(1, "fn f(a) { a + 1 }\nlet x = 20;", false),
            cell(2, "if x > 0 { let y = 1; }\nf(x)", true),
            failed,
            cell(4, "_2 * 2 // twice", true),
            cell(5, "fn f(b) { b }", false),
            cell(6, "print(_)", false),
        ];
        let expected = "// `f` is redefined below\n\nlet x = 20;\n\nif x > 0 { let y = 1; }\nlet result_2 = f(x);\n\n\
                        // cell 3 failed: no\n// bad(\n\nlet result_4 = result_2 * 2; // twice\n\n\
                        fn f(b) { b }\n\nprint(result_4);\n\n";
        assert_eq!(script(&cells), expected);
    }
}
