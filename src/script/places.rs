//! Assignments into a part of what an index selects, as in `x[mask][0] = 7`.
//!
//! A mask and arrays or tensors of indices select a copy, as in NumPy and PyTorch. There the assignment would change the copy
//! alone, without a word; rhai would write the copy back. Neither is what the line says in the other language, so it is an
//! error: `x[__place(mask)][0] = 7`.

use rhai::Token;

use super::rewrite::{Addition, At, closing};

/// Function that returns an index, or an error if it selects a copy.
pub const PLACE: &str = "__place";

/// Returns the additions that check the first indices of such an assignment: those before the index, and those after it.
pub fn places(tokens: &[At]) -> (Vec<Addition>, Vec<Addition>) {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for open in 0..tokens.len() {
        let (optional, plain) = (Token::QuestionBracket, Token::LeftBracket);
        let index = (tokens[open].token == plain || tokens[open].token == optional)
            && open.checked_sub(1).is_some_and(|i| tokens[i].ends_value());
        let close = closing(tokens, open);
        if index
            && matches!(tokens[close].token, Token::RightBracket)
            && !is_plain(&tokens[open + 1..close])
            && is_written(tokens, close + 1)
        {
            let length = if tokens[open].token == optional { 2 } else { 1 };
            before.push(tokens[open].after(length, format!("{PLACE}(")));
            after.push(tokens[close].before(")"));
        }
    }
    (before, after)
}

/// Returns whether an index is a number or a text, which select no copy.
fn is_plain(index: &[At]) -> bool {
    let constant = |at: &At| matches!(at.token, Token::IntegerConstant(_) | Token::StringConstant(_));
    match index {
        [] => true,
        [one] => constant(one),
        [sign, one] if matches!(sign.token, Token::UnaryMinus | Token::Minus) => constant(one),
        _ => false,
    }
}

/// Returns whether further indices follow, and then an assignment or a method that works in place.
fn is_written(tokens: &[At], mut i: usize) -> bool {
    let begun = i;
    while matches!(tokens.get(i).map(|at| &at.token), Some(Token::LeftBracket | Token::QuestionBracket)) {
        i = closing(tokens, i) + 1;
    }
    match tokens.get(i).map(|at| &at.token) {
        Some(
            Token::Equals
            | Token::PlusAssign
            | Token::MinusAssign
            | Token::MultiplyAssign
            | Token::DivideAssign
            | Token::ModuloAssign
            | Token::PowerOfAssign,
        ) => i > begun,
        Some(Token::Period) => match (tokens.get(i + 1), tokens.get(i + 2)) {
            (Some(At { token: Token::Identifier(name), .. }), Some(At { token, .. })) => {
                name.ends_with('_') && matches!(token, Token::LeftParen | Token::Unit)
            }
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rhai::Engine;

    use super::super::rewrite::compiled_form;

    #[test]
    fn only_an_index_that_may_select_a_copy_is_checked() {
        let form = |text: &str| compiled_form(&Engine::new(), text);
        assert_eq!(form("x[mask][0] = 7"), "x[__place(mask)][0] = 7");
        assert_eq!(form("x?[mask]?[0] = 7"), "x?[__place(mask)]?[0] = 7");
        assert_eq!(form("x[0][rows][1] += y[a][b]"), "x[0][__place(rows)][1] += y[a][b]");
        assert_eq!(form("x[rows, 1].zero_()"), "x[__place(__several([rows, 1]))].zero_()");
        assert_eq!(form("a.b[x > 0][c].add_(1)"), "a.b[__place(x > 0)][__place(c)].add_(1)");
        for text in [
            "x[0][1] = 7",
            "x[mask] = 7",
            "m[\"a\"][mask] = 1",
            "x[mask][0] == 7",
            "x[mask].sum()",
            "x[-1][0] = 7",
            "x[i].name = 7",
        ] {
            assert_eq!(form(text), text);
        }
    }
}
