//! Parts that run a module of a block, or replace it, as far as their text shows which.

use rhai::{ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::check::{constant, map};
use super::results::Functions;
use crate::declare::Value;
use crate::error::Error;
use crate::model::parts::call::inner_of_replaced;
use crate::model::parts::{PartOptions, Place};

/// What is wrong with a part.
pub enum Finding {
    Error(Error),
    /// The part works, but not as its author may think.
    Warning(Error),
}

/// Returns whether a call of `nn::part` makes a part that replaces a module; `None` if that is not known.
pub fn replaces(call: &FnCallExpr) -> Option<bool> {
    let usual = Some(PartOptions::default().replaces);
    let Some(options) = call.args.get(1) else { return usual };
    match map(options)?.iter().find(|(key, _)| key.name == "replaces") {
        None => usual,
        Some((_, value)) => match constant(value)? {
            Value::Bool(given) => Some(given),
            _ => None,
        },
    }
}

/// Checks whether a part at a place replaces a module that is there, and runs it only if it does not.
pub fn check(functions: &Functions, call: &FnCallExpr, place: Option<&str>) -> Option<(Finding, Position)> {
    let replaces = replaces(call)?;
    let place = place.and_then(|place| Place::named(place).ok());
    if replaces && let Some(error) = place.and_then(|place| place.check_replaced().err()) {
        return Some((Finding::Error(error), call.args.get(1)?.position()));
    }
    let runs = functions.runs_inner(call)?;
    match (replaces, runs, place) {
        (true, Some(at), _) => Some((Finding::Error(inner_of_replaced()), at)),
        (false, None, Some(place @ (Place::Attention | Place::FeedForward))) => {
            let error = Error::argument(format!(
                "the part at `{place}` never runs the usual module, whose weights stay in the model without a use"
            ))
            .hint("`nn::part(.., #{ replaces: true })` builds the model without them");
            Some((Finding::Warning(error), call.args.first()?.position()))
        }
        _ => None,
    }
}

/// Returns the parts of a call of `nn::model` whose place a custom network does not have, as far as they are written there.
pub fn of_network(call: &FnCallExpr) -> Vec<(Error, Position)> {
    let options = call.args.last().and_then(map).unwrap_or_default();
    let parts = options.iter().filter(|(key, _)| key.name == "parts").flat_map(|(_, value)| match value {
        Expr::Array(entries, _) => entries.as_slice(),
        one => std::slice::from_ref(one),
    });
    let wrong = |part: &Expr| {
        let Expr::Dot(both, ..) = part else { return None };
        let (Expr::FnCall(made, _), Expr::MethodCall(at, _)) = (&both.lhs, &both.rhs) else { return None };
        let (true, Some(Expr::StringConstant(name, position))) =
            (made.name == "part" && at.name == "at", at.args.first())
        else {
            return None;
        };
        let error = Place::named(name).ok()?.check_of_network(format_args!("part at `{name}`")).err()?;
        Some((error, *position))
    };
    parts.filter_map(wrong).collect()
}

impl Functions<'_> {
    /// Returns where the function of a part calls `c.inner`, or `Some(None)` if it certainly does not; `None` if that is not
    /// known.
    fn runs_inner(&self, call: &FnCallExpr) -> Option<Option<Position>> {
        let make = call.args.first()?;
        let name = self.call_of_part(make)?;
        let (mut next, mut all) = (
            0,
            closures(|walk: &mut dyn FnMut(&[ASTNode]) -> bool| {
                make.walk(&mut Vec::new(), walk);
            }),
        );
        let (mut inner, mut passed) = (None, false);
        while let Some(function) = all.get(next).map(|closure| self.0.get(closure.as_str())) {
            let body = &function?.body;
            let mut each = |walk: &mut dyn FnMut(&[ASTNode]) -> bool| {
                for statement in body.iter() {
                    statement.walk(&mut Vec::new(), walk);
                }
            };
            all.extend(closures(&mut each).into_iter().filter(|new| !all.contains(new)).collect::<Vec<_>>());
            each(&mut |path| {
                let arguments =
                    match path.last() {
                        Some(ASTNode::Expr(Expr::MethodCall(method, at))) => {
                            if method.name == "inner" {
                                inner = inner.or(Some(*at));
                            }
                            &method.args
                        }
                        Some(
                            ASTNode::Expr(Expr::FnCall(other, _)) | ASTNode::Stmt(Stmt::FnCall(other, _)),
                        ) if other.name != "curry" => &other.args,
                        _ => return true,
                    };
                // A function that gets the call may run what is inside.
                let is_call =
                    |a: &Expr| matches!(a, Expr::Variable(data, ..) if Some(data.1.as_str()) == name);
                passed |= arguments.iter().any(is_call);
                true
            });
            next += 1;
        }
        match inner {
            Some(at) => Some(Some(at)),
            None if passed => None,
            None => Some(None),
        }
    }
}

/// Returns the names of the closures that a walk comes across.
fn closures(mut each: impl FnMut(&mut dyn FnMut(&[ASTNode]) -> bool)) -> Vec<String> {
    let mut found = Vec::new();
    each(&mut |path| {
        if let Some(ASTNode::Expr(Expr::DynamicConstant(value, _))) = path.last()
            && let Some(pointer) = value.read_lock::<rhai::FnPtr>()
            && pointer.is_anonymous()
        {
            found.push(pointer.fn_name().to_string());
        }
        true
    });
    found
}
