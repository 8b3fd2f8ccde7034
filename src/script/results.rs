//! Results of functions, as far as they are known without running them.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Position, ScriptFuncDef, Stmt};

use super::check::constant;
use super::replaced;
use crate::declare::{Declaration, Form, Value};
use crate::error::Error;

/// The functions and closures of a script by name.
pub struct Functions<'a>(pub(super) BTreeMap<&'a str, &'a ScriptFuncDef>);

/// What is known of a value.
#[derive(Clone)]
enum Known {
    Tensor,
    /// A tensor of shape `[]`.
    Scalar,
    Call,
    /// A closure, and the number of its first parameters that are captured variables.
    Closure(String, usize),
    Other(String),
}

/// What is known of variables.
type Scope = BTreeMap<String, Option<Known>>;

/// What a part at most places returns.
const SHAPED: &str = "a tensor of the shape of the part's input";

/// Methods of tensors that reduce all dimensions if they have no argument.
const REDUCTIONS: [&str; 8] = ["sum", "mean", "std", "var", "max", "min", "prod", "norm"];

impl<'a> Functions<'a> {
    /// Collects the functions of a script.
    pub fn of(ast: &'a AST) -> Self {
        let all = ast.shared_lib().iter_script_fn_info();
        Self(all.map(|(.., function)| (function.name.as_str(), &**function)).collect())
    }

    /// Checks the function that is given to `nn::part`: in every run it must return a function, and that a tensor of the
    /// shape of its input, a map at the places `qk` and `modulation`, or a tensor made of a map at `attend`. Returns what is
    /// wrong and where.
    pub fn of_part(&self, call: &FnCallExpr, place: Option<&str>) -> Option<(Error, Position)> {
        let make = self.value(call.args.first()?, &Scope::new())?;
        let (run, at) = self.call(&make, &[None])?;
        if !matches!(run, Known::Closure(..)) {
            let expected = "the function that is called in every forward";
            return Some((wrong(expected, run), at));
        }
        let own = |run: &Known| match run {
            Known::Closure(name, captured) => Some(self.0.get(name.as_str())?.params.len() - captured),
            _ => None,
        };
        if let Some(count) = own(&run).filter(|count| place == Some("weight") && *count != 1) {
            return Some((crate::model::parts::weight::takes_one(count), at));
        }
        let pair = place.is_none_or(|place| place == "qk");
        let (input, expected) = match place {
            _ if pair => (None, SHAPED),
            Some("attend") => (
                Some(Known::Other(MAP.to_string())),
                "the mixed values, a tensor of [B, heads, N, D / heads]",
            ),
            Some("modulation") => {
                let input = match replaced::replaces(call) {
                    Some(true) => Some(Known::Tensor),
                    Some(false) => Some(Known::Other(MAP.to_string())),
                    None => None,
                };
                let (result, at) = self.call(&run, &[input, Some(Known::Call)])?;
                let fits = matches!(&result, Known::Other(found) if found == MAP);
                return (!fits).then(|| (wrong("a map of the six coefficients", result), at));
            }
            _ => (Some(Known::Tensor), SHAPED),
        };
        let (result, at) = self.call(&run, &[input, Some(Known::Call)])?;
        match result {
            Known::Tensor => None,
            Known::Other(found) if pair && found == MAP => None,
            result => Some((wrong(expected, result), at)),
        }
    }

    /// Returns the name of the call in the function that a part runs in every forward; nothing if it takes none. `None` if
    /// the function is not known.
    pub(super) fn call_of_part(&self, make: &Expr) -> Option<Option<&str>> {
        let make = self.value(make, &Scope::new())?;
        let (Known::Closure(name, captured), _) = self.call(&make, &[None])? else { return None };
        Some(self.0.get(name.as_str())?.params.get(captured + 1).map(|name| name.as_str()))
    }

    /// Returns the properties that the function of `nn::part` reads from its builder and its call, with their type.
    pub fn read_by_part(&self, call: &FnCallExpr) -> Vec<(&'static str, String, Position)> {
        let make = call.args.first().and_then(|make| self.value(make, &Scope::new()));
        let run = make.as_ref().and_then(|make| self.call(make, &[None])).map(|(run, _)| run);
        let mut found = self.read_from(make.as_ref(), 0, "builder");
        found.extend(self.read_from(run.as_ref(), 1, "call"));
        found
    }

    /// Returns the number of arguments that a closure takes.
    pub fn taken_by(&self, closure: &Expr) -> Option<usize> {
        let Some(Known::Closure(name, captured)) = self.value(closure, &Scope::new()) else { return None };
        Some(self.0.get(name.as_str())?.params.len() - captured)
    }

    /// Returns the entries that a closure reads from the map in its first parameter and that it does not add itself.
    pub fn read_by(&self, closure: &Expr) -> Vec<(String, Position)> {
        let closure = self.value(closure, &Scope::new());
        let Some(added) = self.added_by(closure.as_ref()) else { return Vec::new() };
        let read = self.read_from(closure.as_ref(), 0, MAP).into_iter().map(|(_, key, at)| (key, at));
        read.filter(|(key, _)| !added.contains(key)).collect()
    }

    /// Returns the entries that a closure adds to the map in its first parameter; `None` if they are not known.
    fn added_by(&self, closure: Option<&Known>) -> Option<BTreeSet<String>> {
        let Known::Closure(name, captured) = closure? else { return None };
        let function = self.0.get(name.as_str())?;
        let param = function.params.get(*captured)?;
        let is_param = |e: &Expr| matches!(e, Expr::Variable(data, ..) if data.1 == *param);
        let (mut added, mut known) = (BTreeSet::new(), true);
        for statement in function.body.iter() {
            statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
                match path.last() {
                    Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => match &assigned.1.lhs {
                        Expr::Dot(both, ..) if is_param(&both.lhs) && !assigned.0.is_op_assignment() => {
                            if let Expr::Property(property, _) = &both.rhs {
                                added.insert(property.2.to_string());
                            }
                        }
                        Expr::Index(both, ..) if is_param(&both.lhs) => known = false,
                        _ => {}
                    },
                    // A method may change the map, and so may a closure that captures it.
                    Some(ASTNode::Expr(Expr::Dot(both, ..))) if is_param(&both.lhs) => {
                        let first = match &both.rhs {
                            Expr::Dot(rest, ..) | Expr::Index(rest, ..) => &rest.lhs,
                            other => other,
                        };
                        known &= !matches!(first, Expr::MethodCall(..));
                    }
                    Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                        known &= captured.iter().all(|(name, _)| name.name != *param);
                    }
                    _ => {}
                }
                true
            });
        }
        known.then_some(added)
    }

    /// Returns the properties that a closure reads from one of its parameters, if the name stands for nothing else.
    fn read_from(
        &self,
        closure: Option<&Known>,
        index: usize,
        kind: &'static str,
    ) -> Vec<(&'static str, String, Position)> {
        let Some(Known::Closure(name, captured)) = closure else { return Vec::new() };
        let Some(function) = self.0.get(name.as_str()) else { return Vec::new() };
        let Some(param) = function.params.get(captured + index) else { return Vec::new() };
        let (mut found, mut hidden) = (Vec::new(), false);
        let is_param = |e: &Expr| matches!(e, Expr::Variable(data, ..) if data.1 == *param);
        for statement in function.body.iter() {
            statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
                match path.last() {
                    Some(ASTNode::Stmt(Stmt::Var(declared, ..))) => hidden |= declared.0.name == *param,
                    Some(ASTNode::Stmt(Stmt::For(..))) => hidden = true,
                    Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => hidden |= is_param(&assigned.1.lhs),
                    Some(ASTNode::Expr(Expr::Dot(both, ..))) if is_param(&both.lhs) => {
                        let first = match &both.rhs {
                            Expr::Dot(rest, ..) | Expr::Index(rest, ..) => &rest.lhs,
                            other => other,
                        };
                        if let Expr::Property(property, at) = first {
                            found.push((kind, property.2.to_string(), *at));
                        }
                    }
                    _ => {}
                }
                true
            });
        }
        if hidden { Vec::new() } else { found }
    }

    /// Returns the result of a closure, given what is known of its arguments.
    fn call(&self, function: &Known, arguments: &[Option<Known>]) -> Option<(Known, Position)> {
        let Known::Closure(name, captured) = function else { return None };
        let function = self.0.get(name.as_str())?;
        let own = function.params.iter().skip(*captured).map(ToString::to_string);
        let scope = own.zip(arguments.iter().cloned()).collect();
        self.block(function.body.statements(), scope)
    }

    /// Returns the value of a block, which is that of its last statement.
    fn block(&self, statements: &[Stmt], mut scope: Scope) -> Option<(Known, Position)> {
        let (last, before) = statements.split_last()?;
        for statement in before {
            self.declare(statement, &mut scope)?;
        }
        let nothing = |at: Position| Some((Known::Other(Value::Unit.describe()), at));
        match last {
            Stmt::Expr(value) => Some((self.value(value, &scope)?, value.position())),
            Stmt::Return(Some(value), flags, _) if !flags.intersects(ASTFlags::BREAK) => {
                Some((self.value(value, &scope)?, value.position()))
            }
            Stmt::FnCall(call, at) => Some((self.called(call, &scope)?, *at)),
            Stmt::Block(block) => self.block(block.statements(), scope),
            Stmt::If(flow, at) => {
                let first = self.block(flow.body.statements(), scope.clone())?;
                let second = match flow.branch.statements() {
                    [] => nothing(*at)?,
                    statements => self.block(statements, scope)?,
                };
                // The result is only wrong in every run if both are.
                let may_fit = match &first.0 {
                    Known::Tensor | Known::Closure(..) => true,
                    Known::Other(found) => found == MAP,
                    Known::Scalar | Known::Call => false,
                };
                Some(if may_fit { first } else { second })
            }
            Stmt::Var(_, _, at) | Stmt::Return(None, _, at) => nothing(*at),
            Stmt::Assignment(assigned) => nothing(assigned.0.position()),
            _ => None,
        }
    }

    /// Adds the variable of a statement, and forgets those that it changes; `None` if it may return early.
    fn declare(&self, statement: &Stmt, scope: &mut Scope) -> Option<()> {
        if let Stmt::Var(declared, ..) = statement {
            let value = self.value(&declared.1, scope);
            scope.insert(declared.0.name.to_string(), value);
        }
        let mut returns = false;
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Return(..))) => returns = true,
                Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => {
                    if let Expr::Variable(data, ..) = &assigned.1.lhs {
                        scope.insert(data.1.to_string(), None);
                    }
                }
                // A closure may change what it captures.
                Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                    scope.extend(captured.iter().map(|(name, _)| (name.name.to_string(), None)));
                }
                _ => {}
            }
            true
        });
        (!returns).then_some(())
    }

    fn value(&self, expression: &Expr, scope: &Scope) -> Option<Known> {
        if let Some(value) = constant(expression) {
            return Some(Known::Other(value.describe()));
        }
        match expression {
            Expr::Unit(_) => Some(Known::Other(Value::Unit.describe())),
            Expr::InterpolatedString(..) => Some(Known::Other("a string".to_string())),
            Expr::Array(..) => Some(Known::Other("an array".to_string())),
            Expr::Map(..) => Some(Known::Other(MAP.to_string())),
            Expr::And(..) | Expr::Or(..) => Some(Known::Other("a bool".to_string())),
            Expr::DynamicConstant(value, _) => {
                let pointer = value.read_lock::<rhai::FnPtr>()?;
                pointer.is_anonymous().then(|| Known::Closure(pointer.fn_name().to_string(), 0))
            }
            Expr::Variable(data, ..) if data.2.is_empty() => scope.get(data.1.as_str())?.clone(),
            Expr::Stmt(block) => Some(self.block(block.statements(), scope.clone())?.0),
            Expr::FnCall(call, _) => self.called(call, scope),
            Expr::Dot(both, ..) => self.member(&self.value(&both.lhs, scope)?, &both.rhs),
            _ => None,
        }
    }

    fn called(&self, call: &FnCallExpr, scope: &Scope) -> Option<Known> {
        if call.name == "curry" {
            let Known::Closure(name, captured) = self.value(call.args.first()?, scope)? else { return None };
            return Some(Known::Closure(name, captured + call.args.len() - 1));
        }
        if !call.is_operator_call() || !["+", "-", "*", "/", "**"].contains(&call.name.as_str()) {
            return None;
        }
        let tensor = |a: &Expr| matches!(self.value(a, scope), Some(Known::Tensor));
        call.args.iter().any(tensor).then_some(Known::Tensor)
    }

    /// Returns what a property or method of a value returns, if all declarations that fit agree.
    fn member(&self, of: &Known, member: &Expr) -> Option<Known> {
        let receiver = match of {
            Known::Tensor | Known::Scalar => "tensor",
            Known::Call => "call",
            _ => return None,
        };
        match member {
            Expr::Dot(both, ..) => self.member(&self.member(of, &both.lhs)?, &both.rhs),
            Expr::Property(property, _) => {
                returned(receiver, property.2.as_str(), |d| matches!(d.form, Form::Property))
            }
            // The script may define a method of that name.
            Expr::MethodCall(call, _) if self.0.contains_key(call.name.as_str()) => None,
            Expr::MethodCall(call, _) if call.args.is_empty() && REDUCTIONS.contains(&call.name.as_str()) => {
                (receiver == "tensor").then_some(Known::Scalar)
            }
            Expr::MethodCall(call, _) => {
                let count = call.args.len() + 1;
                let fits = |d: &Declaration| (d.arity().0..=d.arity().1).contains(&count);
                returned(receiver, call.name.as_str(), |d| matches!(d.form, Form::Method) && fits(d))
            }
            _ => None,
        }
    }
}

/// How a map is described whose entries are not known.
const MAP: &str = "a map";

fn returned(receiver: &str, name: &str, fits: impl Fn(&Declaration) -> bool) -> Option<Known> {
    let all = super::declarations().into_iter();
    let mut labels: Vec<String> = all
        .filter(|d| d.name == name && d.receiver() == Some(receiver) && fits(d))
        .map(|d| (d.returns)())
        .collect();
    labels.dedup();
    match labels.as_slice() {
        [label] if label == "tensor" => Some(Known::Tensor),
        [label] if label == "any" || label.contains("tensor") => None,
        [label] if label == "()" => Some(Known::Other(Value::Unit.describe())),
        [label] if label.starts_with(['a', 'e', 'i', 'o']) => Some(Known::Other(format!("an {label}"))),
        [label] => Some(Known::Other(format!("a {label}"))),
        _ => None,
    }
}

/// Returns the error of a wrong result.
fn wrong(expected: &str, found: Known) -> Error {
    let found = match found {
        Known::Tensor => "a tensor".to_string(),
        Known::Scalar => "a tensor of shape []".to_string(),
        Known::Call => "the call".to_string(),
        Known::Closure(..) => "a function".to_string(),
        Known::Other(found) => found,
    };
    Error::argument(format!("expected {expected}, found {found}")).context("the function's result")
}
