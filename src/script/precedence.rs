//! A sign before a power: `-x ** 2` is `(-x) ** 2` here, but `-(x ** 2)` in mathematics and in Python.

use rhai::{Expr, FnCallExpr, Position};

use crate::error::Error;

/// Returns whether a call is a power whose base has a sign.
pub(super) fn has_signed_base(call: &FnCallExpr) -> bool {
    let ("**", [base, _]) = (call.name.as_str(), call.args.as_slice()) else { return false };
    match base {
        Expr::FnCall(inner, _) => inner.name == "-" && inner.args.len() == 1,
        Expr::IntegerConstant(i, _) => *i < 0,
        Expr::FloatConstant(x, _) => **x < 0.0,
        _ => false,
    }
}

/// Returns a warning if the base of a power has a sign that no brackets hold to it. `at` is the place of `**` in the line.
pub(super) fn signed_base(call: &FnCallExpr, at: Position, line: &str) -> Option<Error> {
    let before: String = line.chars().take(at.position()?.checked_sub(1)?).collect();
    // Brackets around the sign end right before the operator.
    let kept = before.trim_end().ends_with(')') && opens_with_sign(before.trim_end());
    (has_signed_base(call) && !kept).then(|| {
        Error::argument("the sign belongs to the base of `**`: `-x ** 2` is `(-x) ** 2`")
            .hint("write `-(x ** 2)`, or `(-x) ** 2` if that is meant")
    })
}

/// Returns whether the bracket that ends a text opens before a sign.
fn opens_with_sign(text: &str) -> bool {
    let mut depth = 0usize;
    for (at, c) in text.char_indices().rev() {
        match c {
            ')' => depth += 1,
            '(' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return text[at..].trim_start_matches(['(', ' ']).starts_with('-');
        }
    }
    // It opens on an earlier line.
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use rhai::{ASTNode, Stmt};

    fn warns(code: &str) -> bool {
        let mut engine = rhai::Engine::new();
        engine.set_optimization_level(rhai::OptimizationLevel::None);
        let ast = engine.compile(code).unwrap();
        let mut found = false;
        ast.walk(&mut |path: &[ASTNode]| {
            if let Some(ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at))) =
                path.last()
            {
                found |= signed_base(call, *at, code).is_some();
            }
            true
        });
        found
    }

    #[test]
    fn signs_without_brackets_are_doubtful() {
        for code in
            ["-x ** 2", "let y = 1 + f(-x ** 2);", "-f(x) ** 2", "- 2 ** 2", "-2.5 ** 2.0", "a * -x ** 2"]
        {
            assert!(warns(code), "{code}");
        }
        for code in
            ["(-x) ** 2", "-(x ** 2)", "x ** -2", "f((-x) ** 2)", "(-(f(x))) ** 2", "1 - x ** 2", "(-2) ** 2"]
        {
            assert!(!warns(code), "{code}");
        }
    }
}
