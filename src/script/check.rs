//! Mistakes that can be found without running a script.
//!
//! A finding is wrong in every run: names that exist nowhere, calls with a wrong number of arguments, options that
//! a function does not have, parts whose function returns no tensor. Other types are known only when a script runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rhai::{AST, ASTNode, Expr, FnAccess, FnCallExpr, Ident, Position, Stmt};

use super::copies;
use super::engine::Language;
use super::failure::{Diagnosis, End};
use super::habits;
use super::kinds;
use super::names::{Known, Names};
use super::places::PLACE;
use super::precedence;
use super::receivers::OWN;
use super::replaced::{self, Finding};
use super::resolver::{self, Link};
use super::results::Functions;
use super::rewrite::SEVERAL;
use super::source::CAUGHT;
use super::temporaries;
use super::translate::{self, Surroundings};
use crate::declare::{Field, Value};
use crate::error::{Error, Kind, Problem, Subject, nearest};

/// Returns all findings in a script and its imports, in order.
pub fn check(language: &Language, file: &Path) -> Vec<Diagnosis> {
    let mut checker = Checker { language, done: BTreeSet::new(), way: Vec::new(), findings: Vec::new() };
    checker.file(file, None, false);
    checker.findings
}

struct Checker<'a> {
    language: &'a Language,
    done: BTreeSet<PathBuf>,
    /// Scripts that are being checked, each with the import that led to it and whether every run executes that.
    way: Vec<(PathBuf, Option<Link>, bool)>,
    findings: Vec<Diagnosis>,
}

/// A script that is being checked.
struct Script<'a> {
    name: &'a str,
    names: Names,
    /// Imported scripts by alias: the functions each defines, if it could be read.
    imports: BTreeMap<String, Option<BTreeMap<String, Vec<usize>>>>,
    /// Keys of maps, whose values may be called like methods.
    keys: BTreeSet<String>,
    /// Variables that are declared once, with this integer; `None` for all others.
    integers: BTreeMap<String, Option<i64>>,
    /// Whether `eval` makes names that cannot be known.
    dynamic: bool,
}

/// Context of a statement.
struct Body<'a> {
    /// Parameters of the function or closure, captured variables included.
    params: &'a [&'a str],
    /// Whether it is a function, which sees no variables outside it.
    function: bool,
    /// All functions of the script.
    functions: &'a Functions<'a>,
}

/// Returns whether the variable at the end of the path is captured for a closure; the statement before names it
/// too.
fn captures(path: &[ASTNode]) -> bool {
    let Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) =
        path.iter().rev().nth(1)
    else {
        return false;
    };
    let closure = |v: &rhai::Dynamic| v.read_lock::<rhai::FnPtr>().is_some_and(|f| f.is_anonymous());
    call.name == "curry" && matches!(call.args.first(), Some(Expr::DynamicConstant(v, _)) if closure(v))
}

impl Checker<'_> {
    /// Checks a file and returns the functions it defines with their numbers of parameters.
    fn file(
        &mut self,
        file: &Path,
        from: Option<(&str, Position)>,
        always: bool,
    ) -> Option<BTreeMap<String, Vec<usize>>> {
        let link = from.map(|(script, position)| Link::of(script, position));
        if let Some(first) = self.way.iter().position(|(open, ..)| open == file) {
            let inside = &self.way[first + 1..];
            if always && inside.iter().all(|(.., always)| *always) {
                let links = inside.iter().filter_map(|(_, link, _)| link.clone()).chain(link.clone());
                let error = resolver::circle(file, &links.collect::<Vec<_>>());
                self.report(from, error);
            }
        }
        let name = self.language.sources.name_of(file);
        let text = match resolver::read_script(file) {
            Ok(text) => text,
            Err(error) => {
                self.report(from, error);
                return None;
            }
        };
        let ast = match self.language.sources.compile_file(&self.language.engine, &name, &text) {
            Ok(ast) => ast,
            Err(error) => {
                let at = error.position();
                let error = super::syntax::explain(error.err_type());
                self.found(Some((&name, at)), error, true);
                return None;
            }
        };
        let mut functions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for f in ast.iter_functions() {
            let counts = functions.entry(f.name.to_string()).or_default();
            // Of a private function no call from another script is right.
            if f.access == FnAccess::Public {
                counts.push(f.params.len());
            }
        }
        if self.done.insert(file.to_path_buf()) {
            let first = self.findings.len();
            self.way.push((file.to_path_buf(), link, always));
            self.script(&name, &ast);
            self.way.pop();
            self.divisions(&name, &text);
            self.findings[first..]
                .sort_by_key(|r| r.place.as_ref().map(|p| (p.file.clone(), p.line, p.column)));
            self.findings.dedup();
        }
        Some(functions)
    }

    /// Warns about comments that were meant as divisions.
    fn divisions(&mut self, name: &str, text: &str) {
        for division in habits::division::all(&self.language.engine, text) {
            let (Ok(line), Ok(column)) = (u16::try_from(division.line), u16::try_from(division.column))
            else {
                return;
            };
            let error = Error::argument(format!("`{}` is a comment, not a division", division.comment))
                .hint(habits::division::HINT);
            let place = self.language.sources.locate(name, Position::new(line, column)).map(Box::new);
            self.findings.push(Diagnosis {
                place,
                end: End::Failed,
                warning: true,
                ..Diagnosis::from(error)
            });
        }
    }

    fn script(&mut self, name: &str, ast: &AST) {
        let mut script = Script {
            name,
            names: Names::of(&self.language.engine, Some(&self.language.sources)),
            imports: BTreeMap::new(),
            keys: BTreeSet::new(),
            integers: BTreeMap::new(),
            dynamic: false,
        };
        let folder = self.language.sources.folder(name);
        let place = |import: &(Expr, Ident), at: &Position| import.0.position().or_else(*at);
        // Imports in functions and branches may never be executed.
        let always: Vec<Position> = ast
            .statements()
            .iter()
            .filter_map(|s| if let Stmt::Import(import, at) = s { Some(place(import, at)) } else { None })
            .collect();
        let mut imports: Vec<(String, Option<String>, Position)> = Vec::new();
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Import(import, position))) => {
                    let path = match &import.0 {
                        Expr::StringConstant(path, _) => Some(path.to_string()),
                        _ => None,
                    };
                    imports.push((import.1.name.to_string(), path, place(import, position)));
                }
                Some(ASTNode::Stmt(Stmt::Var(declared, ..))) => {
                    let value = match &declared.1 {
                        Expr::IntegerConstant(i, _) => Some(*i),
                        _ => None,
                    };
                    let known = script.integers.entry(declared.0.name.to_string()).or_insert(value);
                    if *known != value {
                        *known = None;
                    }
                }
                Some(ASTNode::Stmt(Stmt::Assignment(assigned))) => {
                    if let Expr::Variable(data, ..) = &assigned.1.lhs {
                        script.integers.insert(data.1.to_string(), None);
                    }
                }
                Some(ASTNode::Stmt(Stmt::For(each, _))) => {
                    let counter = each.1.as_ref().map(|counter| counter.name.to_string());
                    script.integers.insert(each.0.name.to_string(), None);
                    script.integers.extend(counter.map(|counter| (counter, None)));
                }
                Some(ASTNode::Expr(Expr::Map(map, _))) => {
                    script.keys.extend(map.0.iter().map(|(key, _)| key.name.to_string()));
                }
                Some(ASTNode::Expr(Expr::Property(property, _))) => {
                    script.keys.insert(property.2.to_string());
                }
                Some(ASTNode::Expr(Expr::FnCall(call, _)) | ASTNode::Stmt(Stmt::FnCall(call, _))) => {
                    script.dynamic |= call.name == "eval";
                }
                _ => {}
            }
            true
        });
        for (alias, path, position) in imports {
            let functions = path.and_then(|path| match resolver::find(&folder, &path) {
                Ok(file) => self.file(&file, Some((name, position)), always.contains(&position)),
                Err(error) => {
                    self.report(Some((name, position)), error);
                    None
                }
            });
            // An alias may stand for one file here and for another there.
            match (script.imports.get_mut(&alias), functions) {
                (None, functions) => _ = script.imports.insert(alias, functions),
                (Some(Some(all)), Some(functions)) => {
                    functions
                        .into_iter()
                        .for_each(|(name, counts)| all.entry(name).or_default().extend(counts));
                }
                (Some(unknown), _) => *unknown = None,
            }
        }
        // Imported scripts define functions too, but only under their alias.
        script.names = Names::of(&self.language.engine, None);
        for function in ast.iter_functions() {
            script.names.define(function.name, &function.params);
        }
        self.statements(&script, ast);
        for (error, at) in copies::lost(ast, &script.names) {
            self.warn(&script, at, error);
        }
    }

    fn statements(&mut self, script: &Script, ast: &AST) {
        let functions = &Functions::of(ast);
        for statement in ast.statements() {
            self.statement(script, statement, &Body { params: &[], function: false, functions });
        }
        for (.., function) in ast.shared_lib().iter_script_fn_info() {
            let params: Vec<&str> = function.params.iter().map(|p| p.as_str()).collect();
            let body = Body { params: &params, function: !function.name.starts_with("anon$"), functions };
            for statement in function.body.iter() {
                self.statement(script, statement, &body);
            }
        }
    }

    fn statement(&mut self, script: &Script, statement: &Stmt, body: &Body) {
        statement.walk(&mut Vec::new(), &mut |path: &[ASTNode]| {
            let is_key = |name: &str| script.keys.contains(name);
            let around = temporaries::Around { names: &script.names, is_key: &is_key };
            if let Some((error, at)) = temporaries::lost(path, &around) {
                self.warn(script, at, error);
            }
            match path.last() {
                Some(ASTNode::Expr(Expr::FnCall(call, at)) | ASTNode::Stmt(Stmt::FnCall(call, at))) => {
                    self.call(script, call, *at, false, body);
                    self.part(script, call, path, body);
                }
                Some(ASTNode::Expr(Expr::MethodCall(call, at))) => self.call(script, call, *at, true, body),
                Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                    for (name, _) in captured.iter().filter(|(_, index)| index.is_none()) {
                        self.variable(script, name.name.as_str(), name.pos, body);
                    }
                }
                Some(ASTNode::Expr(Expr::Variable(data, short, at))) => {
                    let (index, name, space, _) = &**data;
                    if !space.is_empty() {
                        self.member(script, &space.to_string(), name, space.position());
                    } else if index.is_none() && short.is_none() && !captures(path) {
                        self.variable(script, name, *at, body);
                    }
                }
                _ => {}
            }
            true
        });
    }

    fn call(&mut self, script: &Script, call: &FnCallExpr, at: Position, method: bool, body: &Body) {
        let name = call.name.as_str();
        if call.is_operator_call() {
            return self.doubtful(script, call, at, body);
        }
        if [CAUGHT, SEVERAL, OWN, PLACE].contains(&name) || name.starts_with("anon$") {
            return;
        }
        let count = call.args.len() + usize::from(method);
        let space = call.namespace.to_string();
        let root = call.namespace.path.first().map(|p| p.name.as_str());
        if let Some(functions) = root.and_then(|root| script.imports.get(root)) {
            return self.imported(script, functions.as_ref(), &space, name, count, at);
        }
        if !space.is_empty() && !script.names.has_space(&space) {
            let at = call.namespace.position();
            return self.report(Some((script.name, at)), translate::space_not_found(&space, &script.names));
        }
        let path = super::names::path(&space, name);
        let known = script.names.get(&path);
        // A closure in a map can be called through its key, and no type is known here.
        if method && (script.keys.contains(name) || script.names.has_property(name)) {
            return;
        }
        let fits = |k: &&Known| k.takes(count, method);
        if !known.iter().any(|k| fits(&k)) {
            if script.names.others_take(&path, count) {
                return;
            }
            let types = vec!["any".to_string(); count];
            let error = translate::function_not_found(&path, &types, &script.names);
            return self.report(Some((script.name, at)), error);
        }
        self.words(script, call, known, &path, method);
        self.kinds(script, call, known, &path, method);
        if let Some(entries) = call.args.last().and_then(map) {
            // Options come last, so a map that is not the last parameter is data.
            let last = |k: &&Known| fits(k) && k.arity.1 == count;
            let takes_map = |k: &&Known| k.may_take(count - 1, "map");
            let fitting: Vec<&Known> = known.iter().filter(last).filter(takes_map).collect();
            if fitting.len() < known.iter().filter(fits).filter(takes_map).count() {
                return;
            }
            let fields: Vec<&Field> =
                fitting.iter().filter_map(|k| k.declaration).flat_map(|d| d.fields()).collect();
            for (key, value) in entries {
                self.option(script, &fitting, &path, key.name.as_str(), value, key.pos);
                self.received(script, &fields, &path, key.name.as_str(), value, body);
            }
        }
        self.library(script, call, &path);
        if path == "nn::model" {
            for (error, at) in replaced::of_network(call) {
                self.report(Some((script.name, at)), error.in_function(&path, false));
            }
        }
    }

    /// Checks the function of a part.
    fn part(&mut self, script: &Script, call: &FnCallExpr, path: &[ASTNode], body: &Body) {
        if call.name != "part" || call.namespace.to_string() != "nn" {
            return;
        }
        for (kind, property, at) in body.functions.read_by_part(call) {
            if !script.names.properties(kind).any(|known| known == property) {
                let error = translate::property_not_found(&property, kind, &script.names);
                self.report(Some((script.name, at)), error);
            }
        }
        // The place is known if it is set at once.
        let around = path.iter().rev().nth(1);
        let place = around.and_then(|around| match around {
            ASTNode::Expr(Expr::Dot(both, ..)) => match &both.rhs {
                Expr::MethodCall(at, _) if at.name == "at" => at.args.first(),
                _ => None,
            },
            _ => None,
        });
        let place = match place {
            Some(Expr::StringConstant(place, _)) => Some(place.as_str()),
            _ => None,
        };
        if let Some((error, at)) = body.functions.of_part(call, place) {
            self.report(Some((script.name, at)), error.in_function("nn::part", false));
        }
        match replaced::check(body.functions, call, place) {
            Some((Finding::Error(error), at)) => {
                self.report(Some((script.name, at)), error.in_function("nn::part", false));
            }
            Some((Finding::Warning(error), at)) => self.warn(script, at, error),
            None => {}
        }
    }

    /// Checks arguments that take only certain words, if every function of that name says so.
    fn words(&mut self, script: &Script, call: &FnCallExpr, known: &[Known], path: &str, method: bool) {
        let behind = usize::from(method);
        for (i, argument) in call.args.iter().enumerate() {
            let (Some(value @ Value::Str(_)), at) = (constant(argument), argument.position()) else {
                continue;
            };
            let of = |k: &Known| {
                let param = k.declaration?.params.get(i + behind)?;
                let error = (param.allowed)().check(param.name, &value).err()?;
                Some(if error.subject().is_some() {
                    error
                } else {
                    error.within(Subject::argument(param.name, i))
                })
            };
            let candidates = known.iter().filter(|k| k.may_take(i + behind, "string"));
            let errors: Option<Vec<Error>> = candidates.map(of).collect();
            if let Some(error) = errors.and_then(|errors| errors.into_iter().next()) {
                self.report(Some((script.name, at)), error.in_function(path, false));
            }
        }
    }

    /// Checks arguments whose type is certain, if all functions of that name refuse it.
    fn kinds(&mut self, script: &Script, call: &FnCallExpr, known: &[Known], path: &str, method: bool) {
        let (behind, count) = (usize::from(method), call.args.len() + usize::from(method));
        // rhai's own function of that name may be meant.
        if script.names.others_take(path, count) {
            return;
        }
        for (i, argument) in call.args.iter().enumerate() {
            let of = |k: &Known| {
                let param = k.declaration?.params.get(i + behind)?;
                let error = kinds::mismatch(&(param.label)(), argument, &script.names)?;
                Some(error.within(Subject::argument(param.name, i)))
            };
            let fitting = known.iter().filter(|k| k.takes(count, method));
            let errors: Option<Vec<Error>> = fitting.map(of).collect();
            if let Some(error) = errors.and_then(|errors| errors.into_iter().next()) {
                let error = translate::with_makers(error.in_function(path, false));
                self.report(Some((script.name, argument.position())), error);
            }
        }
    }

    /// Checks the option keys of a std-lib function, whose map need not come last.
    fn library(&mut self, script: &Script, call: &FnCallExpr, path: &str) {
        let maps = || call.args.iter().any(|a| map(a).is_some());
        if !super::std_lib::LIBRARIES.iter().any(|l| path.starts_with(&format!("{}::", l.name))) || !maps() {
            return;
        }
        let Some(entry) = super::std_lib::entries().into_iter().find(|e| e.path == path) else { return };
        let Some(entries) = entry.options_at.and_then(|i| call.args.get(i)).and_then(map) else { return };
        for (key, _) in entries {
            if !entry.options.iter().any(|o| o.name == key.name.as_str()) {
                let known = entry.options.iter().map(|o| o.name.as_str());
                let error = Error::unknown_option(&key.name, known).in_function(path, false);
                self.report(Some((script.name, key.pos)), error);
            }
        }
    }

    fn imported(
        &mut self,
        script: &Script,
        functions: Option<&BTreeMap<String, Vec<usize>>>,
        space: &str,
        name: &str,
        count: usize,
        at: Position,
    ) {
        let Some(functions) = functions.filter(|_| !space.contains("::")) else { return };
        let error = match functions.get(name) {
            Some(counts) if counts.contains(&count) => return,
            Some(counts) if counts.is_empty() => {
                let path = super::names::path(space, name);
                translate::is_private(Error::of(Kind::Argument, Problem::NoFunction(path)), name)
            }
            Some(counts) => {
                let takes = counts.iter().map(|n| translate::plural(*n)).collect::<Vec<_>>().join(" or ");
                let path = super::names::path(space, name);
                Error::of(Kind::Argument, Problem::WrongCount { path, takes, found: count })
            }
            None => {
                let path = super::names::path(space, name);
                let error = Error::of(Kind::Argument, Problem::NoFunction(path));
                let public = functions.iter().filter(|(_, counts)| !counts.is_empty());
                match nearest(name, public.map(|(name, _)| name.as_str())) {
                    Some(near) => error.hint(format!("did you mean `{space}::{near}`?")),
                    None => error,
                }
            }
        };
        self.report(Some((script.name, at)), error);
    }

    /// Checks a key of an option map, if every function that it may belong to declares its options.
    fn option(
        &mut self,
        script: &Script,
        fitting: &[&Known],
        path: &str,
        key: &str,
        value: &Expr,
        at: Position,
    ) {
        let fields: Vec<&Field> =
            fitting.iter().filter_map(|k| k.declaration).flat_map(|d| d.fields()).collect();
        let declared = |k: &&&Known| k.declaration.is_some_and(|d| !d.fields().is_empty());
        if fitting.is_empty() || !fitting.iter().all(|k| declared(&k)) {
            return;
        }
        self.field(script, &fields, path, key, value, at);
    }

    /// Checks the arguments of the function in an option, and the keys that it reads from the map that it receives; in an
    /// option that is a map, those of the functions in it.
    fn received(
        &mut self,
        script: &Script,
        fields: &[&Field],
        path: &str,
        key: &str,
        value: &Expr,
        body: &Body,
    ) {
        let mut called = fields.iter().filter(|f| f.is_called(key));
        if let Some(entries) = map(value) {
            let inner: Vec<&Field> = called.flat_map(|f| (f.fields)()).collect();
            for (key, value) in entries {
                self.received(script, &inner, path, key.name.as_str(), value, body);
            }
            return;
        }
        let Some(field) = called.find(|f| !f.takes.is_empty()) else { return };
        let count = body.functions.taken_by(value);
        if let Some(Err(error)) = count.map(|count| field.check_count(count, "")) {
            return self.report(Some((script.name, value.position())), error.in_function(path, false));
        }
        if field.receives.is_empty() {
            return;
        }
        for (name, at) in body.functions.read_by(value) {
            let known = field.receives.iter().map(|(known, _)| *known);
            if !known.clone().any(|known| known == name) {
                let message = format!("the map that the function in `{key}` receives has no entry `{name}`");
                self.report(Some((script.name, at)), Error::argument(message).did_you_mean(&name, known));
            }
        }
    }

    /// Checks a key of a map and its value against the options that the map may have.
    fn field(
        &mut self,
        script: &Script,
        fields: &[&Field],
        path: &str,
        key: &str,
        value: &Expr,
        at: Position,
    ) {
        let same: Vec<&&Field> = fields.iter().filter(|f| f.is_called(key)).collect();
        if same.is_empty() {
            let error = Error::unknown_option(key, fields.iter().map(|f| f.name));
            return self.report(Some((script.name, at)), error.in_function(path, false));
        }
        let kinds: Option<Vec<Error>> =
            same.iter().map(|f| kinds::mismatch(&(f.label)(), value, &script.names)).collect();
        if let Some(error) = kinds.and_then(|errors| errors.into_iter().next()) {
            let error = error.within(Subject::Option(key.to_string())).in_function(path, false);
            return self.report(Some((script.name, at)), translate::with_makers(error));
        }
        let inner: Vec<&Field> = same.iter().flat_map(|f| (f.fields)()).collect();
        let maps = match value {
            Expr::Array(entries, _) => entries.as_slice(),
            one => std::slice::from_ref(one),
        };
        for (key, value) in maps.iter().filter_map(map).filter(|_| !inner.is_empty()).flatten() {
            self.field(script, &inner, path, key.name.as_str(), value, key.pos);
        }
        let Some(value) = constant(value) else { return };
        let checks: Vec<_> = same.iter().map(|f| (f.allowed)().check(key, &value)).collect();
        if let Some(Err(error)) = checks.into_iter().reduce(|a, b| a.or(b)) {
            let option = || Subject::Option(key.to_string());
            let error = if error.subject().is_some() { error } else { error.within(option()) };
            self.report(Some((script.name, at)), error.in_function(path, false));
        }
    }

    /// Checks a variable that the parser did not find declared before.
    fn variable(&mut self, script: &Script, name: &str, at: Position, body: &Body) {
        // A closure has its captured variables as parameters; a function's name alone is a pointer to it.
        let known = body.params.contains(&name) || script.names.get(name).iter().any(|k| k.scripted);
        if known || script.dynamic {
            return;
        }
        let mut around = Surroundings::with_sources(&self.language.engine, &self.language.sources);
        around.variables = self.language.sources.variables(script.name);
        around.in_function = body.function;
        self.report(Some((script.name, at)), translate::variable_not_found(name, &around));
    }

    /// Checks a value in a namespace, `space::name` without parentheses.
    fn member(&mut self, script: &Script, space: &str, name: &str, at: Position) {
        let root = space.split("::").next().unwrap_or(space);
        if script.imports.contains_key(root) || root == "global" {
            return;
        }
        let error = match script.names.has_space(space) {
            true => {
                let around = Surroundings::with_sources(&self.language.engine, &self.language.sources);
                translate::variable_not_found(&format!("{space}::{name}"), &around)
            }
            false => translate::space_not_found(space, &script.names),
        };
        self.report(Some((script.name, at)), error);
    }

    fn report(&mut self, from: Option<(&str, Position)>, error: Error) {
        self.found(from, error, false);
    }

    /// Adds a finding; `syntax` says whether the script could not be parsed.
    fn found(&mut self, from: Option<(&str, Position)>, error: Error, syntax: bool) {
        let sources = &self.language.sources;
        let place = from.and_then(|(name, position)| Some((name, sources.locate(name, position)?)));
        let known = place.as_ref().and_then(|(name, p)| sources.text_at(name, p));
        let (error, place) = match place.zip(known) {
            Some(((name, place), (text, line))) => {
                let names = Names::of(&self.language.engine, Some(sources));
                let declared = sources.variables(name);
                let variables = |name: &str| declared.iter().any(|v| v == name).then_some(None);
                let spot = habits::Spot { text: &text, line, column: place.column };
                let around = habits::Around { names: &names, variables: &variables };
                let (error, earlier) = habits::explained(error, syntax, &spot, &around);
                let place = match earlier {
                    Some(earlier) => place.on_line(&text, line, earlier),
                    None => place,
                };
                (error, Some(Box::new(place)))
            }
            None => (error, None),
        };
        self.findings.push(Diagnosis { place, end: End::Failed, ..Diagnosis::from(error) });
    }

    /// Warns about code that runs but is hardly intended: an integer truncated by a division of integers, a comparison
    /// of a comparison, and a sign before a power.
    fn doubtful(&mut self, script: &Script, call: &FnCallExpr, at: Position, body: &Body) {
        let integer = |e: &Expr| match e {
            Expr::IntegerConstant(i, _) => Some((*i, i.to_string())),
            Expr::Variable(data, ..) if data.2.is_empty() && !body.params.contains(&data.1.as_str()) => {
                script.integers.get(data.1.as_str()).copied().flatten().map(|i| (i, data.1.to_string()))
            }
            _ => None,
        };
        const ORDER: [&str; 4] = ["<", "<=", ">", ">="];
        let compares = |e: &Expr| matches!(e, Expr::FnCall(c, _) if ORDER.contains(&c.name.as_str()) && c.is_operator_call());
        let error = match (call.name.as_str(), call.args.as_slice()) {
            ("/", [a @ Expr::IntegerConstant(..), b]) => {
                let (Some((n, left)), Some((d, right))) = (integer(a), integer(b)) else { return };
                // There is no quotient if the divisor is 0, or if the smallest integer is divided by -1.
                let (Some(quotient), Some(1..)) = (n.checked_div(d), n.checked_rem(d).map(i64::abs)) else {
                    return;
                };
                Error::argument(format!("`{left}/{right}` is {quotient}: integers divide to an integer"))
                    .hint(format!("write `{left}.0/{right}` for {}", n as f64 / d as f64))
            }
            (symbol, [first, _]) if ORDER.contains(&symbol) && compares(first) => {
                Error::argument(format!("`{symbol}` compares the bool of another comparison"))
                    .hint("write `a < b && b < c`")
            }
            // A place is looked for in the whole text, which would take long for each operator.
            _ if precedence::has_signed_base(call) => {
                let place = self.language.sources.locate(script.name, at);
                match place.and_then(|place| precedence::signed_base(call, at, &place.text)) {
                    Some(error) => error,
                    None => return,
                }
            }
            _ => return,
        };
        self.warn(script, at, error);
    }

    fn warn(&mut self, script: &Script, at: Position, error: Error) {
        let place = self.language.sources.locate(script.name, at).map(Box::new);
        self.findings.push(Diagnosis { place, end: End::Failed, warning: true, ..Diagnosis::from(error) });
    }
}

/// Returns the entries of a map written as a literal.
pub(super) fn map(expression: &Expr) -> Option<&[(Ident, Expr)]> {
    match expression {
        Expr::Map(map, _) => Some(&map.0),
        _ => None,
    }
}

/// Returns the value of a number or text written as a literal.
pub(super) fn constant(expression: &Expr) -> Option<Value> {
    match expression {
        Expr::IntegerConstant(i, _) => Some(Value::Int(*i)),
        Expr::FloatConstant(x, _) => Some(Value::Float(**x)),
        Expr::BoolConstant(b, _) => Some(Value::Bool(*b)),
        Expr::StringConstant(s, _) => Some(Value::Str(s.to_string())),
        Expr::Array(entries, _) => entries.iter().map(constant).collect::<Option<_>>().map(Value::List),
        _ => None,
    }
}
