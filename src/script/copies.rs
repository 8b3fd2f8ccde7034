//! Assignments into what a property returns, as in `x.shape[0] = 5`.
//!
//! A property of a handle returns a new array or map. An assignment into it changes that copy alone, without a word. It is
//! found where the type of the variable is certain: it comes from a declared function, and nothing else is assigned to it.

use std::collections::BTreeMap;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::names::{self, Names};
use crate::declare::Form;
use crate::error::Error;

/// Returns the assignments into copies, with their places.
pub fn lost(ast: &AST, names: &Names) -> Vec<(Error, Position)> {
    let types = types(ast, names);
    let mut found = Vec::new();
    ast.walk(&mut |path: &[ASTNode]| {
        if let Some(ASTNode::Stmt(Stmt::Assignment(assigned))) = path.last()
            && let Expr::Dot(both, ..) = &assigned.1.lhs
            && let (Expr::Variable(variable, ..), Expr::Index(entry, ..)) = (&both.lhs, &both.rhs)
            && let Expr::Property(property, at) = &entry.lhs
            && let Some(Some(kind)) = types.get(variable.1.as_str())
            && is_copy(kind, &property.2)
        {
            let (name, property) = (&variable.1, &property.2);
            let error = Error::argument(format!(
                "`{name}.{property}` is a copy, so this changes nothing of `{name}`"
            ));
            let hint = match property.as_str() {
                "shape" => format!("`{name}.reshape([..])` returns a tensor of another shape"),
                _ => format!("keep the copy first: `let {property} = {name}.{property};`"),
            };
            found.push((error.hint(hint), *at));
        }
        true
    });
    found
}

/// Returns the type of each variable that has a certain one, and `None` for others.
fn types(ast: &AST, names: &Names) -> BTreeMap<String, Option<String>> {
    let mut types: BTreeMap<String, Option<String>> = BTreeMap::new();
    // A parameter may hide a variable of its name.
    for function in ast.iter_functions() {
        types.extend(function.params.iter().map(|param| (param.to_string(), None)));
    }
    ast.walk(&mut |path: &[ASTNode]| {
        match path.last() {
            Some(ASTNode::Stmt(Stmt::Var(declared, ..))) => {
                let kind = made(&declared.1, names);
                let known = types.entry(declared.0.name.to_string()).or_insert_with(|| kind.clone());
                if *known != kind {
                    *known = None;
                }
            }
            Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => {
                if let Expr::Variable(variable, ..) = &assigned.1.lhs {
                    types.insert(variable.1.to_string(), None);
                }
            }
            Some(ASTNode::Stmt(Stmt::For(each, _))) => {
                types.insert(each.0.name.to_string(), None);
            }
            _ => {}
        }
        true
    });
    types
}

/// Returns the type of the result of a call if all functions that may be meant agree.
fn made(value: &Expr, names: &Names) -> Option<String> {
    let Expr::FnCall(call, _) = value else { return None };
    let known = names.get(&names::path(&call.namespace.to_string(), &call.name));
    let mut kinds = known.iter().map(|known| known.declaration.map(|declaration| (declaration.returns)()));
    let first = kinds.next()??;
    kinds.all(|kind| kind.as_ref() == Some(&first)).then_some(first)
}

/// Returns whether a property of the type returns an array or a map.
fn is_copy(kind: &str, property: &str) -> bool {
    let own = super::declarations().into_iter().find(|declaration| {
        declaration.form == Form::Property
            && declaration.name == property
            && declaration.receiver() == Some(kind)
    });
    own.is_some_and(|declaration| {
        let label = (declaration.returns)();
        label == "map" || label.starts_with("array") || label.starts_with('[')
    })
}

#[cfg(test)]
mod tests {
    use crate::script::check::check;
    use crate::script::engine::{EngineOptions, language};

    fn found(text: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s.rhai");
        std::fs::write(&file, text).unwrap();
        let language = language(EngineOptions::default());
        check(&language, &file).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_assignment_into_a_property_of_a_handle_has_no_effect() {
        for line in ["x.shape[0] = 5;", "x.shape[0] += 1;", "if true { x.shape[1] = 2; }"] {
            let found = found(&format!("let x = tensor::zeros([2, 3]);\n{line}\n"));
            assert!(
                matches!(found.as_slice(), [only] if only.starts_with("`x.shape` is a copy")),
                "{line}: {found:?}"
            );
        }
        for text in [
            "let x = #{ shape: [1] }; x.shape[0] = 5;",
            "let x = tensor::zeros([2]); x = #{ shape: [1] }; x.shape[0] = 5;",
            "let f = |x| { x.shape[0] = 5; x }; let x = tensor::zeros([2]); f.call(#{ shape: [1] });",
            "let x = tensor::zeros([2]); let s = x.shape; s[0] = 5;",
        ] {
            assert!(found(text).is_empty(), "{text}: {:?}", found(text));
        }
    }
}
