//! Closures that call the old version of a function that a cell defines again.

use rhai::{AST, ASTNode, Expr, FnPtr, Scope, Stmt};

use crate::error::list;

/// Returns a note for each function of the new code that replaces an older one, if variables hold closures that call
/// the older one: a closure keeps the functions as they were when it was created.
pub fn notes(scope: &Scope, old: &AST, new: &AST) -> Vec<String> {
    let (old, new) = (old.shared_lib(), new.shared_lib());
    let known = |name: &str, count: usize| old.get_script_fn(name, count).is_some();
    let mut notes = Vec::new();
    for (.., function) in new.iter_script_fn_info() {
        let (name, count) = (function.name.as_str(), function.params.len());
        if name.starts_with("anon$") || !known(name, count) {
            continue;
        }
        let mut holders: Vec<&str> = Vec::new();
        for (variable, _, value) in scope.iter_raw() {
            let Some(pointer) = value.read_lock::<FnPtr>() else { continue };
            let mut bodies =
                old.iter_script_fn_info().map(|(.., f)| f).filter(|f| f.name == pointer.fn_name());
            let calls = pointer.is_anonymous()
                && bodies.any(|f| f.body.iter().any(|statement| calls(statement, name, count)));
            if calls && !holders.contains(&variable) {
                holders.push(variable);
            }
        }
        if !holders.is_empty() {
            let holders = list(&holders);
            notes.push(format!("{holders} still calls the old `{name}`; create it again to use the new one"));
        }
    }
    notes
}

/// Returns whether a statement calls a function by name.
fn calls(statement: &Stmt, name: &str, count: usize) -> bool {
    let mut found = false;
    statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) = path.last()
        {
            found |= call.name == name && call.args.len() == count;
        }
        !found
    });
    found
}
