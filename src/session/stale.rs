//! Closures that call the old version of a function that a cell defines again.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTNode, Expr, FnPtr, Scope, Stmt};

use crate::error::list;

/// Number of closures that a note names.
const NAMED: usize = 3;

/// Name and number of parameters of a function.
type Signature = (String, usize);

/// The closures that cells have written so far.
#[derive(Default)]
pub struct Closures {
    /// What the code of each calls, by the name that rhai gives it.
    calls: BTreeMap<String, BTreeSet<Signature>>,
    /// Those of which a note has said that they call an old function.
    noted: BTreeSet<(String, Signature)>,
}

impl Closures {
    /// Adds the closures of new code, and returns a note for each function of it that replaces an older one, if
    /// variables hold closures that call the older one: a closure keeps the functions as they were when it was
    /// created. A closure is noted once.
    pub fn notes(&mut self, scope: &Scope, old: &AST, new: &AST) -> Vec<String> {
        let again: BTreeSet<Signature> = new
            .iter_functions()
            .filter(|f| !f.name.starts_with("anon$"))
            .filter(|f| old.shared_lib().get_script_fn(f.name, f.params.len()).is_some())
            .map(|f| (f.name.to_string(), f.params.len()))
            .collect();
        let notes = if again.is_empty() { Vec::new() } else { self.stale(scope, &again) };
        for function in new.iter_fn_def().filter(|f| f.name.starts_with("anon$")) {
            let name = function.name.to_string();
            let mut calls = BTreeSet::new();
            function.body.iter().for_each(|statement| collect(statement, &mut calls));
            // Written again, it is a closure of the new functions.
            for signature in &calls {
                self.noted.remove(&(name.clone(), signature.clone()));
            }
            self.calls.insert(name, calls);
        }
        notes
    }

    fn stale(&mut self, scope: &Scope, again: &BTreeSet<Signature>) -> Vec<String> {
        let mut holders: BTreeMap<&Signature, Vec<&str>> = BTreeMap::new();
        let mut noted = Vec::new();
        for (variable, _, value) in scope.iter_raw() {
            let Some(pointer) = value.read_lock::<FnPtr>() else { continue };
            let Some(calls) = self.calls.get(pointer.fn_name()) else { continue };
            for signature in again.intersection(calls) {
                let entry = (pointer.fn_name().to_string(), signature.clone());
                if !self.noted.contains(&entry) {
                    holders.entry(signature).or_default().push(variable);
                    noted.push(entry);
                }
            }
        }
        let note = |((name, _), holders): (&Signature, Vec<&str>)| match holders.as_slice() {
            [one] => format!("`{one}` still calls the old `{name}`; create it again to use the new one"),
            all => {
                let more = match all.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let named = list(&all[..all.len().min(NAMED)]);
                format!("{named}{more} still call the old `{name}`; create them again to use the new one")
            }
        };
        let notes = holders.into_iter().map(note).collect();
        self.noted.extend(noted);
        notes
    }
}

/// Adds the functions that a statement calls by name.
fn collect(statement: &Stmt, calls: &mut BTreeSet<Signature>) {
    statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
        if let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) = path.last()
            && !call.is_operator_call()
        {
            calls.insert((call.name.to_string(), call.args.len()));
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use crate::context::Context;
    use crate::script::engine::EngineOptions;
    use crate::session::{Options, Session};

    #[test]
    fn of_many_closures_three_are_named_and_each_once() {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&notes);
        let note = Arc::new(move |text: &str| heard.lock().unwrap().push(text.to_string()));
        let context = Context { note, ..Context::default() };
        let engine = EngineOptions { context, ..EngineOptions::default() };
        let mut session = Session::new(Options { engine, ..Options::default() });
        let mut run = |cell: &str| {
            session.run_cell(cell, "cell").unwrap_or_else(|e| panic!("{cell}: {}", e.message));
            std::mem::take(&mut *notes.lock().unwrap())
        };
        run("fn v(x) { x }");
        for i in 0..5 {
            assert!(run(&format!("let c{i} = |x| v(x) + {i};")).is_empty());
        }
        let all = "`c4`, `c3`, `c2` and 2 more still call the old `v`; create them again to use the new one";
        assert_eq!(run("fn v(x) { 2 * x }"), [all]);
        assert!(run("fn v(x) { 3 * x }").is_empty());
        run("c0 = |x| v(x) + 0;");
        let one = "`c0` still calls the old `v`; create it again to use the new one";
        assert_eq!(run("fn v(x) { 4 * x }"), [one]);
        assert!(run("c0.call(1); let d = || v(1, 2);").is_empty());
    }
}
