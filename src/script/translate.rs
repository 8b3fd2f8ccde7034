//! rhai's errors in plain words: what was expected, what was found, what to try.

use rhai::{Engine, EvalAltResult, Position};

use super::engine::CALLS;
use super::failure::Failure;
use super::names::{self, Names, Near, word};
use super::source::Sources;
use super::stops::Stop;
use super::syntax;
use crate::declare::{Declaration, Form, singular};
use crate::error::{Error, Kind, Problem, candidates, list, nearest};

/// Context of an error, from which names are suggested.
pub struct Surroundings<'a> {
    engine: &'a Engine,
    sources: Option<&'a Sources>,
    /// Variables that the user may have meant, nearest scope first.
    pub variables: Vec<String>,
    /// Whether the error happened inside a function, which does not see variables outside it.
    pub in_function: bool,
}

impl<'a> Surroundings<'a> {
    /// Uses only what the engine knows.
    pub fn of(engine: &'a Engine) -> Self {
        Self { engine, sources: None, variables: Vec::new(), in_function: false }
    }

    /// Uses the functions of the user's scripts too.
    pub fn with_sources(engine: &'a Engine, sources: &'a Sources) -> Self {
        Self { sources: Some(sources), ..Self::of(engine) }
    }

    fn names(&self) -> Names {
        Names::of(self.engine, self.sources)
    }
}

/// Returns the error in plain words, and the kind of error that scripts see.
pub fn translate(error: &EvalAltResult, around: &Surroundings) -> (Error, &'static str) {
    use EvalAltResult as E;
    let plain = |message: String| Error::argument(message);
    match error {
        E::ErrorRuntime(value, _) if value.is::<Failure>() => {
            let failure = value.clone_cast::<Failure>();
            (failure.error, failure.kind)
        }
        E::ErrorRuntime(value, _) => (plain(value.to_string()), "thrown"),
        E::ErrorParsing(kind, _) => (syntax::explain(kind), "syntax"),
        E::ErrorFunctionNotFound(signature, _) => {
            let (path, types) = call_parts(signature);
            (function_not_found(&path, &types, &around.names()), "name")
        }
        E::ErrorVariableNotFound(name, _) => (variable_not_found(name, around), "name"),
        E::ErrorModuleNotFound(name, _) => (space_not_found(name, &around.names()), "name"),
        E::ErrorDotExpr(text, _) => (property(text, &around.names()), "name"),
        E::ErrorPropertyNotFound(name, _) => (plain(format!("the map has no entry `{name}`")), "name"),
        E::ErrorIndexingType(text, _) => (indexing(text), "type"),
        E::ErrorIndexNotFound(index, _) => (plain(format!("there is no index {index}")), "index"),
        E::ErrorArrayBounds(length, index, _) => (bounds("array", "entries", *length, *index), "index"),
        E::ErrorStringBounds(length, index, _) => (bounds("string", "characters", *length, *index), "index"),
        E::ErrorBitFieldBounds(length, index, _) => (bounds("integer", "bits", *length, *index), "index"),
        E::ErrorMismatchDataType(expected, found, _) | E::ErrorMismatchOutputType(expected, found, _) => {
            (mismatch(expected, found), "type")
        }
        E::ErrorFor(_) => {
            (plain("`for` needs an array, a range or a string".to_string()).hint(syntax::LOOPS), "type")
        }
        E::ErrorArithmetic(text, _) => (arithmetic(text), "arithmetic"),
        E::ErrorAssignmentToConstant(name, _) => (
            plain(format!("`{name}` is a constant and cannot be changed"))
                .hint(format!("declare it with `let {name} = ..`")),
            "constant",
        ),
        E::ErrorNonPureMethodCallOnConstant(name, _) => {
            let name = match name.as_str() {
                "index$set$" => "[..] = ..",
                name => name.split('$').next_back().unwrap_or(name),
            };
            (
                plain(format!("`{name}` would change a constant"))
                    .hint("declare the value with `let`, or work on a copy"),
                "constant",
            )
        }
        E::ErrorStackOverflow(_) => (
            plain(format!("recursion is more than {CALLS} calls deep"))
                .hint("a recursive function needs a base case; deeper recursion is written as a loop"),
            "depth",
        ),
        E::ErrorTerminated(token, _) => match Stop::of(token) {
            Some(stop) => stop.error(),
            None => (Error::interrupted(), "interrupted"),
        },
        E::ErrorUnboundThis(_) => (
            plain("`this` is only there in a function called as a method".to_string())
                .hint("call it as `value.name(..)`, or pass the value as a parameter"),
            "name",
        ),
        E::ErrorVariableExists(name, _) => (plain(format!("`{name}` is already defined")), "name"),
        E::ErrorForbiddenVariable(name, _) => {
            (plain(format!("`{name}` cannot be a variable's name")), "name")
        }
        E::ErrorDataRace(name, _) => (
            plain(match name.is_empty() {
                true => "a value is used and changed at the same time".to_string(),
                false => format!("`{name}` is used and changed at the same time"),
            })
            .hint("keep the value in a variable of its own before the call"),
            "value",
        ),
        E::ErrorTooManyOperations(_) => (plain("the script took too many steps".to_string()), "limit"),
        E::ErrorTooManyVariables(_) => (plain("there are too many variables".to_string()), "limit"),
        E::ErrorTooManyModules(_) => (plain("too many scripts are imported".to_string()), "limit"),
        E::ErrorDataTooLarge(what, _) => (plain(format!("{} is too large", what.to_lowercase())), "limit"),
        E::ErrorSystem(text, cause) if text.is_empty() => (plain(lower(&cause.to_string())), "internal"),
        E::ErrorSystem(text, cause) => (plain(format!("{}: {cause}", lower(text))), "internal"),
        E::ErrorInFunctionCall(_, _, inner, _) | E::ErrorInModule(_, inner, _) => translate(inner, around),
        other => (plain(lower(&other.to_string())), "internal"),
    }
}

/// Parses rhai's error, and its location, from the text that rhai passes to a `catch`.
///
/// The text is the innermost message, ` @ 'source'` and ` (line l, position p)`, then one line per call.
pub fn from_text(text: &str) -> (EvalAltResult, Option<String>, Position) {
    use EvalAltResult as E;
    let line = text.split("\nin ").next().unwrap_or(text);
    let (line, position) = match line.rsplit_once(" (line ").filter(|(_, rest)| rest.ends_with(')')) {
        Some((start, rest)) => (start, position(rest.trim_end_matches(')'))),
        None => (line, Position::NONE),
    };
    let (line, source) = match line.rsplit_once(" @ '").filter(|(_, rest)| rest.ends_with('\'')) {
        Some((start, rest)) => (start, Some(rest.trim_end_matches('\'').to_string())),
        None => (line, None),
    };
    let after = |start: &str| line.strip_prefix(start).map(str::to_string);
    let numbers: Vec<i64> = line
        .split(|c: char| !(c.is_ascii_digit() || c == '-'))
        .filter_map(|word| word.parse().ok())
        .collect();
    // `.. index I out of bounds: only N elements`, or `.. is empty`.
    let outside =
        || (numbers.get(1).map_or(0, |n| usize::try_from(*n).unwrap_or(0)), numbers.first().copied());
    let types = |rest: &str| match rest.strip_prefix(", expecting ") {
        Some(expected) => (expected.to_string(), String::new()),
        None => {
            let (found, expected) =
                rest.trim_start_matches(": ").split_once(" (expecting ").unwrap_or((rest, ""));
            (expected.trim_end_matches(')').to_string(), found.to_string())
        }
    };
    let at = position;
    type Make = fn(String, Position) -> EvalAltResult;
    let simple: [(&str, Make); 9] = [
        ("Function not found: ", E::ErrorFunctionNotFound),
        ("Variable not found: ", E::ErrorVariableNotFound),
        ("Property not found: ", E::ErrorPropertyNotFound),
        ("Module not found: ", E::ErrorModuleNotFound),
        ("Indexer unavailable: ", E::ErrorIndexingType),
        ("Cannot modify constant ", E::ErrorAssignmentToConstant),
        ("Variable already defined: ", E::ErrorVariableExists),
        ("Forbidden variable name: ", E::ErrorForbiddenVariable),
        ("Non-pure method ", E::ErrorNonPureMethodCallOnConstant),
    ];
    let named = simple.iter().find_map(|(start, make)| after(start).map(|rest| make(rest, at)));
    let error = if let Some(error) = named {
        error
    } else if let Some(name) = after("Data race detected") {
        E::ErrorDataRace(name.trim_start_matches(" on variable").trim_matches([' ', '\'']).to_string(), at)
    } else if line.starts_with("Array index") {
        E::ErrorArrayBounds(outside().0, outside().1.unwrap_or(0), at)
    } else if line.starts_with("String index") {
        E::ErrorStringBounds(outside().0, outside().1.unwrap_or(0), at)
    } else if let Some(rest) = after("Data type incorrect").or_else(|| after("Output type incorrect")) {
        let (expected, found) = types(&rest);
        E::ErrorMismatchDataType(expected, found, at)
    } else if line.starts_with("Unknown property") || line.starts_with("No writable property") {
        E::ErrorDotExpr(line.to_string(), at)
    } else if line.starts_with("For loop expects") {
        E::ErrorFor(at)
    } else if line == "'this' not bound" {
        E::ErrorUnboundThis(at)
    } else {
        // What remains are errors of arithmetic.
        E::ErrorArithmetic(line.to_string(), at)
    };
    (error, source, position)
}

/// Parses `L, position P`, or `L` alone.
fn position(text: &str) -> Position {
    let mut numbers = text.split(", position ").map(|n| n.trim().parse::<u16>().ok());
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(line), column) if line > 0 => Position::new(line, column.unwrap_or(1)),
        _ => Position::NONE,
    }
}

/// Splits `name (type, type)`, as rhai writes it, into path and type names.
fn call_parts(signature: &str) -> (String, Vec<String>) {
    let (path, rest) = signature.split_once(" (").unwrap_or((signature, ")"));
    let inside = rest.strip_suffix(')').unwrap_or(rest);
    let types = inside.split(", ").filter(|t| !t.is_empty()).map(|t| word(t).to_string()).collect();
    (path.to_string(), types)
}

fn found(types: &[String]) -> String {
    match types {
        [] => "nothing".to_string(),
        types => types.join(", "),
    }
}

/// Explains a call that matches no function: a misspelt name, a wrong receiver, or a wrong number of arguments.
/// `types` are those of the arguments.
pub fn function_not_found(path: &str, types: &[String], names: &Names) -> Error {
    let problem = |problem: Problem| Error::of(Kind::Argument, problem);
    let (space, name) = path.rsplit_once("::").unwrap_or(("", path));
    let known = names.get(path);
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return operator(name, types, names);
    }
    // rhai reports other errors of `sort` as functions.
    if name.contains(' ') {
        return Error::argument(name).hint("say how they compare: `.sort(|a, b| a.loss < b.loss)`");
    }
    // rhai's name of a closure, which is looked up if the number of values is not the closure's.
    if path.starts_with("anon$") {
        return Error::argument("the closure was called with the wrong number of values").hint(
            "a closure `|a, b| ..` takes two values; the help of a function says what it passes to a closure",
        );
    }
    if known.is_empty() {
        let error = problem(Problem::NoFunction(path.to_string()));
        let receiver = types.first().map(String::as_str);
        // With parentheses it is used like a method.
        if types.len() == 1 && receiver.is_some_and(|kind| names.properties(kind).any(|p| p == name)) {
            let wrong = format!("{name}()");
            return error
                .hint(format!("`{name}` is a property: write it without brackets"))
                .meant(wrong, name);
        }
        if !space.is_empty() && !names.has_space(space) && names.is_private(name) {
            return is_private(error, name);
        }
        return match names.nearest(space, name, receiver) {
            Some(near) => near.suggest(error, path),
            None if names.has_property(name) => {
                error.hint(format!("`{name}` is a property: write it without brackets"))
            }
            None if !space.is_empty() && !names.has_space(space) => imported(error, space, name, names),
            None if !space.is_empty() => {
                error.hint(format!("`spectral docs {space}` lists the functions of `{space}`"))
            }
            None => match receiver.filter(|r| names.declares(r)) {
                Some(kind) => error.hint(format!("`spectral docs {kind}` lists the methods of {kind}")),
                None => error.hint("`spectral docs` lists all functions"),
            },
        };
    }
    // A script's own function of that name is meant, unless the value has such a method.
    let own: Vec<names::Known> = known.iter().filter(|k| k.scripted).cloned().collect();
    let method = types.first().is_some_and(|t| known.iter().any(|k| k.first == *t));
    let known = if own.is_empty() || method { known } else { own.as_slice() };
    let mut signatures: Vec<&str> = known.iter().map(|k| k.signature.as_str()).collect();
    signatures.dedup();
    let more = signatures.len().saturating_sub(6);
    let mut usage = signatures.iter().take(6).copied().collect::<Vec<_>>().join("\n");
    if more > 0 {
        usage += &format!("\nand {more} more");
    }
    // The number of arguments is right, so the first one, which selects the function, has a wrong type.
    let fits = |k: &&names::Known| (k.arity.0..=k.arity.1).contains(&types.len());
    let fitting: Vec<&names::Known> = known.iter().filter(fits).collect();
    let mut owners: Vec<&str> = fitting.iter().map(|k| k.first.as_str()).filter(|f| *f != "any").collect();
    owners.sort_unstable();
    owners.dedup();
    let receivers = !owners.is_empty() && !types.first().is_some_and(|t| owners.contains(&t.as_str()));
    match (types.first(), receivers) {
        (Some(first), true) if space.is_empty() => {
            let (name, owners, found) = (name.to_string(), or(&owners), first.clone());
            problem(Problem::WrongReceiver { name, owners, found }).hint(usage)
        }
        _ if !fitting.is_empty() => {
            problem(Problem::WrongTypes { path: path.to_string(), found: found(types) }).hint(usage)
        }
        _ => {
            // Users do not count the receiver of a method as an argument.
            let declared = known.iter().all(|k| k.declaration.is_some_and(|d| d.receiver().is_some()));
            let less = usize::from(declared);
            let counts = known.iter().flat_map(|k| [k.arity.0, k.arity.1]);
            let (low, high) = counts.fold((usize::MAX, 0), |(l, h), n| (l.min(n), h.max(n)));
            let count = match (low.saturating_sub(less), high - less) {
                (low, high) if low == high => plural(low),
                (0, high) => format!("at most {}", plural(high)),
                (low, high) => format!("{low} to {}", plural(high)),
            };
            let (path, found) = (path.to_string(), types.len().saturating_sub(less));
            problem(Problem::WrongCount { path, takes: count, found }).hint(usage)
        }
    }
}

/// Explains a call into an imported script, whose functions are known without the name it was imported under.
fn imported(error: Error, space: &str, name: &str, names: &Names) -> Error {
    let own: Vec<&str> = names.scripted().collect();
    let near = candidates(name, own.iter().copied());
    match Near::of(near.into_iter().map(|near| names::path(space, near))) {
        Some(near) => near.suggest(error, &names::path(space, name)),
        None if own.is_empty() => error,
        None => error.hint(format!("your scripts define {}", list(&own))),
    }
}

/// Adds the hint that other scripts cannot call the function.
pub fn is_private(error: Error, name: &str) -> Error {
    error.hint(format!("`{name}` is private to its script: remove `private` before its `fn`"))
}

/// Formats a number of arguments in words.
pub fn plural(count: usize) -> String {
    match count {
        0 => "no arguments".to_string(),
        1 => "1 argument".to_string(),
        n => format!("{n} arguments"),
    }
}

fn or(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => one.to_string(),
        [start @ .., last] => format!("{} or {last}", start.join(", ")),
    }
}

fn operator(symbol: &str, types: &[String], names: &Names) -> Error {
    let message = match types {
        [left, right] => format!("`{symbol}` does not work between {left} and {right}"),
        [one] => format!("`{symbol}` does not work on {one}"),
        _ => format!("`{symbol}` does not work here"),
    };
    let known = names.get(symbol);
    let fitting: Vec<&str> = known
        .iter()
        .filter(|k| k.declaration.is_some() && types.iter().any(|t| k.signature.contains(t.as_str())))
        .map(|k| k.signature.as_str())
        .take(4)
        .collect();
    let error = Error::argument(message);
    let is = |t: &str| types.iter().any(|x| x == t);
    match fitting {
        _ if is("()") => {
            error.hint("one side is `()`: a function without a result, or a missing entry of a map")
        }
        _ if symbol == "*" && is("array") && is("int") => {
            error.hint("an array of equal entries: `let xs = []; xs.pad(10, 0);`")
        }
        _ if symbol == "*" && is("string") && is("int") => {
            error.hint("a repeated text: `let line = \"\"; line.pad(10, \"-\");`")
        }
        _ if symbol == "%" && types.first().is_some_and(|t| t == "string") => {
            error.hint("a value stands in a text between backquotes: `loss: ${x}`")
        }
        fitting if fitting.is_empty() => error,
        _ if types.iter().all(|t| t == "function") => error.hint("compare what the functions return"),
        _ if symbol == "^" => error.hint("a power is written `**`"),
        fitting => error.hint(format!("there is {}", fitting.join("\nthere is "))),
    }
}

/// Explains an unknown variable: misspelt, outside the function, or a function or namespace.
pub fn variable_not_found(name: &str, around: &Surroundings) -> Error {
    if let Some(shown) = super::source::shown_result(name) {
        return Error::argument(format!("there is no result `{shown}`"))
            .hint("`_` is the latest result of a prompt and `_3` that of cell 3; old ones are let go");
    }
    if let Some((space, name)) = name.rsplit_once("::") {
        let names = around.names();
        let error = Error::argument(format!("there is no `{name}` in `{space}`"));
        if !names.get(&names::path(space, name)).is_empty() {
            return error.hint(format!("`{space}::{name}` is a function: call it with brackets"));
        }
        return match names.nearest(space, name, None) {
            Some(near) => error.hint(format!("did you mean `{}(..)`?", near.path)),
            None => error,
        };
    }
    let error = Error::of(Kind::Argument, Problem::NoVariable(name.to_string()));
    if around.in_function && around.variables.iter().any(|v| v == name) {
        return error.hint(format!(
            "a function does not see variables outside it: pass `{name}` as a parameter, or write a closure `|..| ..`"
        ));
    }
    // Words of other languages.
    const WORDS: [(&str, &str); 8] = [
        ("True", "true"),
        ("False", "false"),
        ("None", "()"),
        ("undefined", "()"),
        ("inf", "(1.0 / 0.0)"),
        ("Infinity", "(1.0 / 0.0)"),
        ("nan", "(0.0 / 0.0)"),
        ("NaN", "(0.0 / 0.0)"),
    ];
    if let Some((_, ours)) = WORDS.iter().find(|w| w.0 == name) {
        return error.hint(format!("write `{ours}`")).meant(name, *ours);
    }
    let variables = around.variables.iter().map(String::as_str);
    let near = candidates(name, variables.filter(|v| *v != name));
    if let Some(near) = Near::of(near.into_iter().map(str::to_string)) {
        return near.suggest(error, name);
    }
    let names = around.names();
    if !names.get(name).is_empty() {
        return error.hint(format!("`{name}` is a function: call it with brackets, `{name}(..)`"));
    }
    if names.has_space(name) {
        return error.hint(format!("`{name}` is a namespace: write `{name}::` and a function of it"));
    }
    match nearest(name, names.spaces()) {
        Some(near) => error.hint(format!("did you mean the namespace `{near}`?")),
        None => error.hint(format!("declare it with `let {name} = ..` before this line")),
    }
}

/// Explains an unknown namespace.
pub fn space_not_found(name: &str, names: &Names) -> Error {
    let error = Error::of(Kind::Argument, Problem::NoSpace(name.to_string()));
    match Near::of(candidates(name, names.spaces()).into_iter().map(str::to_string)) {
        Some(near) => near.suggest(error, name),
        None => {
            let spaces: Vec<&str> = names.spaces().collect();
            error.hint(format!(
                "there are {}; a script is imported with `import \"file\" as {name};`",
                list(&spaces)
            ))
        }
    }
}

/// Explains an unknown property. rhai's texts are `Unknown property 'x' - a getter is not registered for type 't'`
/// and, for assignments, `No writable property 'x' - a setter is not registered for type 't' to handle 'u'`.
fn property(text: &str, names: &Names) -> Error {
    let quoted: Vec<&str> = text.split('\'').skip(1).step_by(2).collect();
    let (name, kind) = match quoted.as_slice() {
        [name, kind, ..] => (*name, word(kind)),
        _ => return Error::argument(lower(text)),
    };
    if text.starts_with("No writable") {
        let own = |method: &String| names.get(method).iter().any(|k| k.first == kind);
        if let Some(method) = [format!("{name}_"), format!("set_{name}")].into_iter().find(own) {
            let error = Error::argument(format!("`{name}` of {kind} cannot be assigned"));
            return error.hint(format!("write `.{method}(..)`"));
        }
        return match names.properties(kind).any(|p| p == name) {
            true => Error::argument(format!("`{name}` of {kind} cannot be assigned")),
            false => Error::argument(format!("{kind} has no property `{name}` to assign"))
                .hint("only maps take new entries"),
        };
    }
    property_not_found(name, kind, names)
}

/// Explains a property that a type does not have.
pub fn property_not_found(name: &str, kind: &str, names: &Names) -> Error {
    if kind == "()" {
        return Error::argument(format!("`()` has no property `{name}`"))
            .hint("the value before the dot is a missing entry of a map, or of a function without a result");
    }
    let error = Error::argument(format!("{kind} has no property `{name}`"));
    let known: Vec<&str> = names.properties(kind).collect();
    if let Some(method) = names.get(name).iter().find(|k| k.first == kind) {
        let error = error.hint(format!("`{name}` is a method: call it with brackets, `.{name}(..)`"));
        let alone = method.arity.0 == 1;
        return if alone { error.meant(name, format!("{name}()")) } else { error };
    }
    if let Some(near) = Near::of(candidates(name, known.iter().copied()).into_iter().map(str::to_string)) {
        return near.suggest(error, name);
    }
    if let Some(near) = nearest(name, names.own_methods(kind)) {
        return error.hint(format!("did you mean `{near}(..)`?"));
    }
    match (known.is_empty(), names.owners(name).as_slice()) {
        (_, owners) if !owners.is_empty() => error.hint(format!("`{name}` is a property of {}", or(owners))),
        (true, _) => error,
        (false, _) => error.hint(format!("it has {}", list(&known))),
    }
}

/// Explains an invalid index. rhai's text is `type [index type]`, followed by ` = type` for assignments; ours may be
/// followed by the message of the index.
fn indexing(text: &str) -> Error {
    let (target, rest) = text.split_once(" [").unwrap_or((text, ""));
    let (index, assigned) = rest.split_once(']').unwrap_or((rest, ""));
    let (target, index) = (word(target), word(index));
    if let Some(message) = assigned.strip_prefix(": ") {
        let (message, hint) = message.split_once("\nhint: ").unwrap_or((message, ""));
        let error = Error::argument(message);
        return if hint.is_empty() { error } else { error.hint(hint) };
    }
    let error = match assigned.strip_prefix(" = ") {
        Some(value) => Error::argument(format!("cannot set {target}[{index}] to {}", word(value))),
        None if target == "()" => Error::argument("`()` cannot be indexed"),
        None => Error::argument(format!("{target} cannot be indexed by {index}")),
    };
    match target {
        "()" => error.hint("a function without a result, or a missing entry of a map"),
        "array" => error.hint("an index is an integer; a part of an array is `x.extract(1..3)`"),
        _ => error,
    }
}

fn bounds(what: &str, parts: &str, length: usize, index: i64) -> Error {
    let error = match length {
        0 => return Error::argument(format!("index {index} is out of range: the {what} is empty")),
        _ => Error::argument(format!("index {index} is out of range: the {what} has {length} {parts}")),
    };
    error.hint(format!("indices go from 0 to {}, or from -1 back to -{length}", length - 1))
}

/// Number of functions that a hint names.
const NAMED: usize = 4;

/// Types that are written rather than created, and tensors, which nearly every function returns.
const LITERAL: &[&str] = &["int", "float", "bool", "string", "array", "map", "range", "function", "tensor"];

/// Adds the functions that create what was expected, if the error has no hint of its own.
pub fn with_makers(error: Error) -> Error {
    let (None, Problem::Mismatch { expected, found }) = (error.hint_text(), error.problem()) else {
        return error;
    };
    let kinds = expected.split(" or ").map(|kind| kind.strip_prefix("array of ").map_or(kind, singular));
    let kinds = kinds.filter(|kind| !LITERAL.contains(kind)).map(|kind| (kind.to_string(), makers(kind)));
    let Some((kind, makers)) = kinds.into_iter().find(|(_, makers)| !makers.is_empty()) else {
        return error;
    };
    let given = found.split_whitespace().nth(1).unwrap_or_default().to_string();
    let of_given = converters(&kind, &given);
    if !of_given.is_empty() {
        return error.hint(format!("{} makes a {kind} of a {given}", list(&of_given)));
    }
    let named: Vec<String> = makers.iter().take(NAMED).map(|path| format!("{path}(..)")).collect();
    let more = match makers[0].split_once("::") {
        Some((space, _)) if makers.len() > NAMED => format!(" and others, see `spectral docs {space}`"),
        _ => String::new(),
    };
    error.hint(format!("a {kind} comes from {}{more}", list(&named)))
}

/// Returns calls of the functions that create values of a type from a tensor, or another of our types, that was given.
fn converters(kind: &str, given: &str) -> Vec<String> {
    if LITERAL.contains(&given) && given != "tensor" {
        return Vec::new();
    }
    let takes = |d: &&Declaration| {
        matches!(d.form, Form::Global | Form::Namespace(_))
            && (d.returns)() == kind
            && d.params.first().is_some_and(|param| (param.label)() == given)
    };
    let call = |d: &'static Declaration| {
        let needed = d.params.iter().take(d.arity().0).map(|param| param.name).collect::<Vec<_>>();
        format!("{}({})", d.path(), needed.join(", "))
    };
    super::declarations().into_iter().filter(takes).take(NAMED).map(call).collect()
}

/// Returns the functions that create values of a type from others, those of its own namespace first and methods last.
fn makers(kind: &str) -> Vec<String> {
    let creates = |d: &Declaration| match d.form {
        Form::Global | Form::Namespace(_) => true,
        Form::Method => d.receiver() != Some(kind),
        Form::Property | Form::Operator(_) => false,
    };
    let mut own: Vec<_> =
        super::declarations().into_iter().filter(|d| creates(d) && (d.returns)() == kind).collect();
    own.sort_by_key(|d| match d.form {
        Form::Namespace(space) if space == kind => 0,
        Form::Method => 2,
        _ => 1,
    });
    own.into_iter().map(|d| d.path()).collect()
}

/// Returns whether rhai's name of a type is that of the cell in which a closure shares a variable.
pub fn is_cell(name: &str) -> bool {
    name.contains("Lock<") || name.contains("RefCell<")
}

fn mismatch(expected: &str, found: &str) -> Error {
    let expected: Vec<&str> = expected.split(" or ").map(word).collect();
    let error = match found {
        "" => Error::argument(format!("expected {}", or(&expected))),
        found => {
            let cell = "a variable of another type, which a closure has captured".to_string();
            let found = if is_cell(found) { cell } else { word(found).to_string() };
            let expected = or(&expected);
            Error::of(Kind::Argument, Problem::Mismatch { expected, found })
        }
    };
    match (expected.as_slice(), word(found)) {
        (["int" | "string"], "indices") => {
            error.hint("only tensors have an index for each dimension; arrays in arrays are read `x[0][1]`")
        }
        (["int"], "range") => error.hint("a part of an array is `x.extract(1..3)`"),
        (["bool"], "tensor" | "Tensor") => {
            error.hint("a mask becomes one bool with `.all().item()` or `.any().item()`")
        }
        (["bool"], _) if is_cell(found) => error.hint(
            "a mask becomes one bool with `.all().item()` or `.any().item()`, a number with a comparison",
        ),
        (["bool"], _) => error.hint("write a comparison, such as `x > 0`"),
        _ => error,
    }
}

fn arithmetic(text: &str) -> Error {
    let error = Error::argument(lower(text));
    match text {
        t if t.contains("ivision by zero") || t.contains("Modulo") => {
            error.hint("integers cannot be divided by 0; floats can, and give inf or NaN")
        }
        t if t.contains("overflow") => error.hint("integers have 64 bits; floats such as 1.0 reach further"),
        _ => error,
    }
}

/// Returns the text with a lower-case first letter and without a full stop, as in all our messages.
pub fn lower(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|c| c.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
