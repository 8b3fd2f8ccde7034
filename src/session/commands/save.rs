//! `:save`: writes the session as a script that can be run.

use std::collections::BTreeSet;

use crate::script::source::is_result;
use crate::session::tokens::{Kind, Token, tokens};
use crate::session::{Cell, Ended};

/// Returns a script that does what the cells did: failed statements and those after them become comments, and results that
/// later cells use get names.
pub fn script(cells: &[Cell]) -> String {
    let used = used_results(cells);
    let mut out = String::new();
    for (i, cell) in cells.iter().enumerate() {
        let latest = cells[..i].iter().rev().find(|c| c.has_result).map_or(0, |c| c.number);
        let runs = |text: &str| with_old_functions(cells, i, &renamed(text.trim_end(), latest));
        match &cell.ended {
            Ended::Well => {
                let number = used.contains(&cell.number).then_some(cell.number);
                out += &statement(&runs(&cell.text), number);
            }
            Ended::Badly(why, at) => {
                let start = at.and_then(|at| starts(&cell.text).into_iter().rfind(|start| *start <= at));
                let (ran, text) = cell.text.split_at(start.unwrap_or(0));
                if !ran.trim().is_empty() {
                    out += &statement(&runs(ran), None);
                }
                out +=
                    &format!("// cell {} failed: {}\n", cell.number, why.lines().next().unwrap_or_default());
                for line in text.trim_end().lines() {
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

/// First words of statements that end with their block.
const BLOCKS: [&str; 10] = ["if", "for", "while", "loop", "do", "switch", "try", "fn", "private", "{"];

/// Returns the cell as statements, with its last expression bound to a name if later cells need it.
fn statement(text: &str, number: Option<usize>) -> String {
    let mut out = text.to_string();
    if let Some(number) = number {
        out.insert_str(last_statement(text), &format!("let result_{number} = "));
    }
    let last = tokens(&out).into_iter().rfind(|t| t.kind != Kind::Comment);
    // A block needs no semicolon; a map and the body of a closure end with the same bracket.
    let first = tokens(&out[last_statement(&out)..]).into_iter().find(|t| t.kind != Kind::Comment);
    let block = number.is_none() && first.is_some_and(|t| BLOCKS.contains(&t.text));
    // The semicolon must stand before a comment at the end.
    if let Some(end) = last.filter(|t| t.text != ";" && (t.text != "}" || !block)).map(|t| t.end()) {
        out.insert(end, ';');
    }
    out + "\n"
}

/// Returns the start of the last statement of a cell.
fn last_statement(text: &str) -> usize {
    starts(text).pop().unwrap_or(0)
}

/// Returns the starts of the statements of a cell.
fn starts(text: &str) -> Vec<usize> {
    let all: Vec<Token> = tokens(text).into_iter().filter(|t| t.kind != Kind::Comment).collect();
    let mut blocks = Vec::new();
    let mut starts: Vec<usize> = all.first().map(|t| t.start).into_iter().collect();
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
            starts.push(next.start);
        }
    }
    starts
}

/// A function in a cell: its name, number of parameters, and place.
struct Defined<'a> {
    name: &'a str,
    count: usize,
    range: std::ops::Range<usize>,
}

/// Returns the functions that a cell defines.
fn defined(text: &str) -> Vec<Defined<'_>> {
    let all = tokens(text);
    let starts = (0..all.len()).filter(|i| all[*i].text == "fn" && all[*i].kind == Kind::Keyword);
    let found = starts.filter_map(|at| {
        let (name, count, end) = function(&all[at..])?;
        Some(Defined { name, count, range: all[at].start..all[at + end].end() })
    });
    found.collect()
}

/// Returns the text of a cell with other names for functions that a later cell defines again, since a script may
/// define a function only once. One that nothing calls before that is removed.
///
/// Functions always call the latest version, so only calls outside of functions are renamed.
fn with_old_functions(cells: &[Cell], at: usize, text: &str) -> String {
    let well = |cell: &&Cell| matches!(cell.ended, Ended::Well);
    let again = |later: &[Cell], name: &str, count: usize| {
        later
            .iter()
            .position(|c| well(&c) && defined(&c.text).iter().any(|d| (d.name, d.count) == (name, count)))
    };
    let mut edits: Vec<(std::ops::Range<usize>, String)> = Vec::new();
    // Its own functions.
    let own = defined(text);
    for function in &own {
        let Some(next) = again(&cells[at + 1..], function.name, function.count) else { continue };
        let until = &cells[at..=at + next];
        if until.iter().filter(well).any(|cell| !calls(&cell.text, function.name, function.count).is_empty())
        {
            let name =
                tokens(text).into_iter().find(|t| t.start > function.range.start && t.text == function.name);
            edits.extend(name.map(|name| (name.range(), old_name(function.name, cells[at].number))));
        } else {
            edits.push((function.range.clone(), format!("// `{}` is redefined below\n", function.name)));
        }
    }
    // Calls of functions of this cell or of an earlier one.
    for start in 0..=at {
        for function in defined(&cells[start].text) {
            let next = again(&cells[start + 1..], function.name, function.count);
            // In the cell that defines it again, a call means the new function.
            let old = well(&&cells[start]) && next.is_some_and(|next| start + 1 + next > at);
            if old {
                let name = old_name(function.name, cells[start].number);
                edits.extend(
                    calls(text, function.name, function.count).into_iter().map(|range| (range, name.clone())),
                );
            }
        }
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    edits.dedup_by_key(|(range, _)| range.start);
    let mut out = text.to_string();
    for (range, new) in edits {
        out.replace_range(range, &new);
    }
    out
}

fn old_name(name: &str, cell: usize) -> String {
    format!("{name}_of_cell_{cell}")
}

/// Returns where a text calls a function of a name and number of parameters, outside of functions.
fn calls(text: &str, name: &str, count: usize) -> Vec<std::ops::Range<usize>> {
    let (all, functions) = (tokens(text), defined(text));
    let inside = |at: usize| functions.iter().any(|f| f.range.contains(&at));
    let called = |i: &usize| {
        all[*i].text == name
            && all[*i].kind == Kind::Name
            && all.get(i + 1).is_some_and(|next| next.text == "(")
            && (*i == 0 || !matches!(all[i - 1].text, "." | "::" | "?."))
            && arguments(&all[i + 2..]) == count
    };
    (0..all.len()).filter(called).filter(|i| !inside(all[*i].start)).map(|i| all[i].range()).collect()
}

/// Returns the number of arguments in the tokens after the bracket of a call.
fn arguments(tokens: &[Token]) -> usize {
    let (mut depth, mut commas, mut some, mut bars) = (0_usize, 0, false, false);
    for (i, token) in tokens.iter().enumerate().filter(|(_, t)| t.kind != Kind::Comment) {
        match token.text {
            ")" if depth == 0 => break,
            "(" | "[" | "{" | "#{" | "?[" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            // The commas between the parameters of a closure.
            "|" if bars => bars = false,
            "|" if depth == 0 => bars = i == 0 || tokens[i - 1].text == ",",
            "," if depth == 0 && !bars => {
                commas += 1;
                some = false;
                continue;
            }
            _ => {}
        }
        some = true;
    }
    // A comma may follow the last argument.
    commas + usize::from(some)
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
        let failed = Cell { ended: Ended::Badly("no".to_string(), None), ..cell(3, "bad(", false) };
        let cells = [
            cell(1, "fn f(a) { a + 1 }\nfn h() { 1 }\nlet x = 20;", false),
            cell(2, "if x > 0 { let y = 1; }\nf(x)", true),
            failed,
            cell(4, "_2 * 2 // twice", true),
            cell(5, "fn f(b) { b }\nfn h() { 2 }", false),
            cell(6, "print(_)", false),
        ];
        let expected = "fn f_of_cell_1(a) { a + 1 }\n// `h` is redefined below\n\nlet x = 20;\n\n\
                        if x > 0 { let y = 1; }\nlet result_2 = f_of_cell_1(x);\n\n\
                        // cell 3 failed: no\n// bad(\n\nlet result_4 = result_2 * 2; // twice\n\n\
                        fn f(b) { b }\nfn h() { 2 }\n\nprint(result_4);\n\n";
        assert_eq!(script(&cells), expected);
    }

    #[test]
    fn a_value_that_ends_with_a_brace_ends_its_statement() {
        let cells = [
            cell(1, "let m = #{ a: 1 }", false),
            cell(2, "let f = |x| { x } // same", false),
            cell(3, "m.a = if true { 1 } else { 2 }", false),
            cell(4, "// once\nif m.a > 0 { print(m) }", false),
            cell(5, "print(m)", false),
        ];
        let expected = "let m = #{ a: 1 };\n\nlet f = |x| { x }; // same\n\nm.a = if true { 1 } else { 2 };\n\n\
                        // once\nif m.a > 0 { print(m) }\n\nprint(m);\n\n";
        assert_eq!(script(&cells), expected);
    }

    #[test]
    fn statements_before_an_error_have_run() {
        let text = "let a = 3; let b = a + nosuch; let c = 1;";
        let failed = Cell { ended: Ended::Badly("no".to_string(), Some(23)), ..cell(1, text, false) };
        let expected = "let a = 3;\n// cell 1 failed: no\n// let b = a + nosuch; let c = 1;\n\nprint(a);\n\n";
        assert_eq!(script(&[failed, cell(2, "print(a)", false)]), expected);
    }

    #[test]
    fn old_versions_of_functions_keep_what_they_were_called_for() {
        let cells = [
            cell(1, "fn f(a) { a + 1 }\nfn g(a) { f(a) }", false),
            cell(2, "let w = f(1); let l = |x| f(x);", false),
            cell(3, "fn f(a) { a + 100 }\nlet v = f(1);", false),
            cell(4, "let u = g(1) + f(2);", false),
        ];
        let expected = "fn f_of_cell_1(a) { a + 1 }\nfn g(a) { f(a) }\n\n\
                        let w = f_of_cell_1(1); let l = |x| f_of_cell_1(x);\n\n\
                        fn f(a) { a + 100 }\nlet v = f(1);\n\nlet u = g(1) + f(2);\n\n";
        assert_eq!(script(&cells), expected);
    }

    #[test]
    fn functions_of_one_name_are_told_apart_by_their_parameters() {
        let cells = [
            cell(1, "fn f(a, b) { a * b }", false),
            cell(2, "fn f(a) { a }", false),
            cell(3, "print(f(3)); print(f(|x, y| x, [1, 2])); f()", false),
            cell(4, "fn f(a, b) { 1000 }", false),
        ];
        let expected = "fn f_of_cell_1(a, b) { a * b }\n\nfn f(a) { a }\n\n\
                        print(f(3)); print(f_of_cell_1(|x, y| x, [1, 2])); f();\n\nfn f(a, b) { 1000 }\n\n";
        assert_eq!(script(&cells), expected);
    }
}
