//! Changes of values that nothing keeps, as in `xs.map(f).sort()` and `files::read_text(path).trim()`.
//!
//! A function that makes an array, a map or a string returns a new one. What changes only that value runs, and has no
//! effect; a handle, such as a tensor, may share what changes, so that it counts only if the type is certain.

use std::ptr;

use rhai::{ASTFlags, ASTNode, Expr, FnCallExpr, Position};

use super::names::{self, Names};
use crate::error::Error;

/// A value without identity: only a variable, an entry or a property keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Array,
    Map,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Map => "map",
            Self::Text => "string",
        }
    }

    fn article(self) -> &'static str {
        if self == Self::Array { "an" } else { "a" }
    }

    /// Returns the kind of a type label of declared functions.
    fn of_label(label: &str) -> Option<Self> {
        match label {
            "string" => Some(Self::Text),
            "map" => Some(Self::Map),
            "array" => Some(Self::Array),
            label if label.starts_with("array of ") && !label.contains(" or ") => Some(Self::Array),
            _ => None,
        }
    }

    /// Methods of rhai that change the value and return nothing.
    fn changing(self) -> &'static [&'static str] {
        match self {
            Self::Array => &[
                "push",
                "append",
                "insert",
                "set",
                "pad",
                "clear",
                "truncate",
                "chop",
                "reverse",
                "dedup",
                "sort",
                "sort_by",
                "sort_desc",
            ],
            Self::Map => &["set", "clear", "mixin", "fill_with"],
            Self::Text => &[
                "trim",
                "make_upper",
                "make_lower",
                "replace",
                "crop",
                "pad",
                "append",
                "clear",
                "truncate",
                "set",
            ],
        }
    }
}

/// Methods of rhai's own values that make a new value, which their names tell.
const MAKING: [(&str, Kind); 10] = [
    ("keys", Kind::Array),
    ("values", Kind::Array),
    ("to_chars", Kind::Array),
    ("split", Kind::Array),
    ("split_rev", Kind::Array),
    ("order", Kind::Array),
    ("to_upper", Kind::Text),
    ("to_lower", Kind::Text),
    ("sub_string", Kind::Text),
    ("to_string", Kind::Text),
];

/// Methods that make a new array of an array, and something else of other values.
const PERHAPS: [&str; 6] = ["map", "filter", "extract", "zip", "drain", "retain"];

/// Methods of rhai's arrays that no map or string has.
const OF_ARRAYS: [&str; 7] = ["push", "insert", "reverse", "dedup", "sort", "sort_by", "sort_desc"];

/// A step of a chain such as `a.b(c)[d]`, after its first value.
enum Step<'a> {
    Call(&'a FnCallExpr, Position),
    Other,
}

/// What is known of the script around a chain.
pub struct Around<'a> {
    pub names: &'a Names,
    /// Returns whether a closure in a map may be called by this name.
    pub is_key: &'a dyn Fn(&str) -> bool,
}

/// Returns what is wrong with the last node of a path, and where, if it changes a value that nothing keeps. An assignment to
/// such a value does not parse.
pub fn lost(path: &[ASTNode], around: &Around) -> Option<(Error, Position)> {
    let ASTNode::Expr(whole) = path.last()? else { return None };
    let (first, steps) = whole_chain(path, whole)?;
    steps.iter().enumerate().find_map(|(i, step)| {
        let Step::Call(call, at) = step else { return None };
        let kind = match i.checked_sub(1).map(|before| &steps[before]) {
            Some(Step::Call(before, _)) => {
                around.made(before, true).or_else(|| around.perhaps(before, &call.name))?
            }
            Some(Step::Other) => return None,
            None => around.value(first)?,
        };
        if !kind.changing().contains(&call.name.as_str()) || around.is_own(&call.name) {
            return None;
        }
        let (name, kind_name) = (&call.name, kind.name());
        let error = Error::argument(format!(
            "`{name}` changes {} {kind_name} that nothing keeps, and returns nothing",
            kind.article()
        ));
        let hint = match name.as_str() {
            "sort" | "sort_by" => "`.order(..)` takes the same and returns a sorted array".to_string(),
            "sort_desc" => "`.order_desc()` returns a sorted array".to_string(),
            "make_upper" => "`.to_upper()` returns a new string".to_string(),
            "make_lower" => "`.to_lower()` returns a new string".to_string(),
            _ => format!("keep the {kind_name} first: `let made = ..; made.{name}(..);`"),
        };
        Some((error.hint(hint), *at))
    })
}

/// Splits the chain at the end of a path; `None` if it is the end of another one, whose first value is further to
/// the left.
fn whole_chain<'a>(path: &[ASTNode], whole: &'a Expr) -> Option<(&'a Expr, Vec<Step<'a>>)> {
    if let Some(ASTNode::Expr(Expr::Index(outer, flags, _) | Expr::Dot(outer, flags, _))) =
        path.iter().rev().nth(1)
        && !flags.intersects(ASTFlags::BREAK)
        && ptr::eq(&raw const outer.rhs, whole)
    {
        return None;
    }
    chain(whole)
}

/// Splits a chain into its first value and its steps; `None` if the expression is no chain.
fn chain(expression: &Expr) -> Option<(&Expr, Vec<Step<'_>>)> {
    let (Expr::Index(both, flags, _) | Expr::Dot(both, flags, _)) = expression else { return None };
    let mut steps = Vec::new();
    let (mut rest, mut flags) = (&both.rhs, *flags);
    loop {
        match rest {
            Expr::Index(next, inner, _) | Expr::Dot(next, inner, _) if !flags.intersects(ASTFlags::BREAK) => {
                steps.push(step(&next.lhs));
                (rest, flags) = (&next.rhs, *inner);
            }
            last => {
                steps.push(step(last));
                return Some((&both.lhs, steps));
            }
        }
    }
}

/// An index that is a call is a [`Expr::FnCall`], and no step of its own.
fn step(expression: &Expr) -> Step<'_> {
    match expression {
        Expr::MethodCall(call, at) => Step::Call(call, *at),
        _ => Step::Other,
    }
}

impl Around<'_> {
    /// Returns whether a script function or a closure in a map may have the name.
    fn is_own(&self, name: &str) -> bool {
        (self.is_key)(name) || self.names.get(name).iter().any(|known| known.scripted)
    }

    /// Returns the kind of the first value of a chain, if it is new and its type is certain.
    fn value(&self, first: &Expr) -> Option<Kind> {
        match first {
            Expr::FnCall(call, _) if !call.is_operator_call() => self.made(call, false),
            Expr::Array(..) => Some(Kind::Array),
            Expr::Map(..) => Some(Kind::Map),
            Expr::StringConstant(..) | Expr::InterpolatedString(..) => Some(Kind::Text),
            _ => None,
        }
    }

    /// Returns that a call makes an array, if no handle that a function of its name makes has the method that follows it.
    fn perhaps(&self, call: &FnCallExpr, next: &str) -> Option<Kind> {
        let declared = |name: &str| self.names.get(name).iter().filter_map(|k| k.declaration);
        let made: Vec<String> = declared(&call.name).map(|d| (d.returns)()).collect();
        let handle = |kind: &str| made.iter().any(|made| made == kind || made == "any");
        let alone = OF_ARRAYS.contains(&next) && !declared(next).any(|d| d.receiver().is_none_or(handle));
        (alone && PERHAPS.contains(&call.name.as_str()) && !self.is_own(&call.name)).then_some(Kind::Array)
    }

    /// Returns the kind of value that a call makes, if all functions that may be meant agree.
    fn made(&self, call: &FnCallExpr, method: bool) -> Option<Kind> {
        let name = call.name.as_str();
        let path = names::path(&call.namespace.to_string(), name);
        if self.is_own(&path) || name.starts_with("anon$") {
            return None;
        }
        let count = call.args.len() + usize::from(method);
        let known = self.names.get(&path).iter().filter(|known| known.takes(count, method));
        let own = MAKING.iter().find(|(making, _)| method && *making == name).map(|(_, kind)| *kind);
        let mut kinds = own.into_iter().map(Some).collect::<Vec<_>>();
        for known in known {
            match known.declaration {
                Some(declaration) => kinds.push(Kind::of_label(&(declaration.returns)())),
                // Of rhai's own functions only the table says what they make.
                None if own.is_none() => return None,
                None => {}
            }
        }
        let first = (*kinds.first()?)?;
        let others = self.names.others_take(&path, count) && own.is_none();
        (!others && kinds.iter().all(|kind| *kind == Some(first))).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use crate::script::check::check;
    use crate::script::engine::{EngineOptions, language};

    fn found(line: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.rhai");
        std::fs::write(&file, format!("let m = #{{ a: [1] }}; let xs = [2, 1]; let f = |x| x;\n{line}\n"))
            .unwrap();
        let language = language(EngineOptions::default());
        check(&language, &file).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_method_that_changes_what_a_function_made_has_no_effect() {
        for line in ["xs.map(f).sort();", "let y = xs.map(|x| x + 1).reverse();", "m.a.map(f).dedup();"] {
            let found = found(line);
            assert!(
                matches!(found.as_slice(), [only] if only.contains("an array that nothing keeps")),
                "{line}: {found:?}"
            );
        }
        // A table has both methods, and returns a table from either.
        for line in [
            "xs.filter(f).sort();",
            "m.a.sort();",
            "xs.map(f).len();",
            "m.keys()[0].len();",
            "m[\"a\"].push(1);",
        ] {
            assert!(found(line).is_empty(), "{line}: {:?}", found(line));
        }
    }
}
