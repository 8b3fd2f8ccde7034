//! Arguments as Python passes them, brought to the order and form in which a function takes them here.

use super::line::{Line, ours};
use super::torch::{self, Given};
use crate::declare::{Allowed, Declaration, Field, Form, Param, Value, singular};
use crate::script::names::Names;

/// Returns the call whose bracket opens at a part, in our syntax: from, to, code.
pub fn rewritten(line: &Line, open: usize, names: &Names) -> Option<(usize, usize, String)> {
    let close = line.closing(open)?;
    let name = line.part(open - 1);
    let (start, path) = match open >= 3 && line.is(open - 2, "::") {
        true => (open - 3, format!("{}::{name}", line.part(open - 3))),
        false => (open - 1, name.clone()),
    };
    let method = start > 0 && line.is(start - 1, ".");
    let given = arguments(line, open)?;
    let declarations: Vec<_> = names.get(&path).iter().filter_map(|k| k.declaration).collect();
    let code = match declarations.is_empty() {
        true => with_options(given),
        false => declarations.iter().find_map(|declaration| {
            // A method may be called as a function of its receiver.
            match given.split_first() {
                Some(((None, first), rest)) if !method && declaration.form == Form::Method => {
                    let rest = bound(declaration, 1, rest.to_vec())?;
                    Some([vec![first.clone()], rest].concat())
                }
                _ => {
                    bound(declaration, usize::from(method && declaration.form == Form::Method), given.clone())
                }
            }
        })?,
    };
    Some((start, close + 1, format!("{path}({})", code.join(", "))))
}

/// Returns the signatures of the function that is called at a bracket, and the name that none of them has.
pub fn signatures(line: &Line, open: usize, names: &Names) -> Option<(String, Option<String>)> {
    let name = line.part(open - 1);
    let path = match open >= 3 && line.is(open - 2, "::") {
        true => format!("{}::{name}", line.part(open - 3)),
        false => name,
    };
    let known: Vec<_> = names.get(&path).iter().filter_map(|k| k.declaration).collect();
    let has = |name: &str| {
        let given = vec![(Some(name.to_string()), "..".to_string())];
        known.iter().any(|d| {
            let given =
                if d.receiver() == Some("tensor") { torch::named(d.name, given.clone()) } else { None };
            let ours = given.and_then(|g| g.into_iter().next()).and_then(|g| g.0);
            let ours = ours.as_deref().unwrap_or(name);
            field(d, ours).is_some() || parameter(d, ours).is_some()
        })
    };
    let unknown = arguments(line, open)?.into_iter().filter_map(|g| g.0).find(|name| !has(name));
    let signatures: Vec<String> = known.iter().take(3).map(|d| format!("`{}`", d.signature())).collect();
    (!signatures.is_empty()).then(|| (signatures.join(" or "), unknown))
}

/// Returns the arguments in brackets, in our syntax, with their names.
pub fn arguments(line: &Line, open: usize) -> Option<Vec<Given>> {
    let given = line.arguments(open)?.into_iter().map(|(from, to)| {
        match line.is_word(from) && line.is(from + 1, "=") {
            true => (Some(line.part(from)), ours(&line.text(from + 2, to))),
            false => (None, ours(&line.text(from, to))),
        }
    });
    Some(given.collect())
}

/// Returns the arguments in the order and form in which the function takes them, the first `before` left out;
/// `None` if one has no certain place.
pub fn bound(declaration: &Declaration, before: usize, given: Vec<Given>) -> Option<Vec<String>> {
    let tensors = declaration.receiver() == Some("tensor")
        || matches!(declaration.form, Form::Namespace("tensor") | Form::Global);
    let fields = declaration.fields();
    let params = declaration.params.get(before..)?;
    let params = &params[..params.len() - usize::from(!fields.is_empty())];
    let given = match tensors {
        true => torch::named(declaration.name, together(declaration, params, given))?,
        false => together(declaration, params, given),
    };
    let mut places: Vec<Option<String>> = vec![None; params.len()];
    let mut options: Vec<String> = Vec::new();
    // Arguments with a name come last.
    for (next, (name, value)) in given.into_iter().enumerate() {
        let Some(name) = name else {
            let inside = value.strip_prefix("#{").and_then(|v| v.strip_suffix('}'));
            match (inside, places.get_mut(next)) {
                (Some(inside), None) if !fields.is_empty() => options.push(inside.trim().to_string()),
                // Functions of PyTorch have an order of their own.
                (None, None) if !tensors => {
                    let option = option_for(fields, &options, &value)?;
                    options.push(format!("{option}: {value}"));
                }
                (_, place) => *place? = Some(value),
            }
            continue;
        };
        let place = params.iter().position(|p| torch::same(p.name, &name));
        match (fields.iter().find(|f| torch::same(f.name, &name)), place) {
            // Nothing stands for the default.
            (Some(_), _) | (None, None) if value == "()" => {}
            (Some(field), _) if fits(&(field.label)(), (field.allowed)(), field.name, &value) => {
                options.push(format!("{}: {value}", field.name));
            }
            (None, Some(place)) if places[place].is_none() => places[place] = Some(value),
            _ => return None,
        }
    }
    let last = places.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    let required = params.iter().take_while(|p| !(p.optional)()).count();
    // Options come after all other arguments.
    let count = if options.is_empty() { last.max(required) } else { params.len() };
    let mut code = Vec::new();
    for (param, value) in params.iter().zip(places).take(count) {
        match value {
            Some(value) if value == "()" && !(param.optional)() && (param.label)() != "any" => return None,
            Some(value) if fits(&(param.label)(), (param.allowed)(), param.name, &value) => code.push(value),
            None if (param.optional)() => code.push("()".to_string()),
            _ => return None,
        }
    }
    if !options.is_empty() {
        code.push(format!("#{{ {} }}", options.join(", ")));
    }
    Some(code)
}

/// Returns the option that a literal without a name most likely stands for: the preset, or the first that takes it.
fn option_for(fields: &'static [Field], given: &[String], value: &str) -> Option<&'static str> {
    let literal = value.starts_with('"') || matches!(value, "true" | "false") || value.parse::<f64>().is_ok();
    let free = |f: &&Field| !given.iter().any(|g| g.split(':').next() == Some(f.name));
    let mut fitting = fields.iter().filter(free).filter(|f| fits(&(f.label)(), (f.allowed)(), f.name, value));
    let first = fitting.clone().next();
    let preset = fitting.find(|f| f.name == "preset");
    preset.or(first).filter(|_| literal).map(|f| f.name)
}

/// Makes sizes that are passed one by one, as in `view(2, -1)`, one array.
fn together(declaration: &Declaration, params: &[Param], mut given: Vec<Given>) -> Vec<Given> {
    let first = params.first().is_some_and(|p| matches!(p.name, "shape" | "dims" | "times"));
    let created =
        declaration.form == Form::Namespace("tensor") && params.first().is_some_and(|p| p.name == "shape");
    if !first || !(created || torch::spreads(declaration.name)) {
        return given;
    }
    let count = given.iter().take_while(|(name, v)| name.is_none() && !v.starts_with("#{")).count();
    // What follows the sizes has a parameter of its own.
    let sizes = count.saturating_sub(params.len() - 1);
    let number = |(_, text): &Given| !text.starts_with(['[', '"']) && text != "true" && text != "false";
    if sizes > 1 && given[..sizes].iter().all(number) {
        let rest = given.split_off(sizes);
        let sizes: Vec<String> = given.into_iter().map(|(_, text)| text).collect();
        given = vec![(None, format!("[{}]", sizes.join(", ")))];
        given.extend(rest);
    }
    given
}

/// Returns the arguments of an unknown function, those with a name as options.
fn with_options(given: Vec<Given>) -> Vec<String> {
    let (options, mut code): (Vec<Given>, Vec<Given>) = given.into_iter().partition(|g| g.0.is_some());
    let entries: Vec<String> =
        options.into_iter().filter_map(|(name, value)| Some(format!("{}: {value}", name?))).collect();
    if !entries.is_empty() {
        code.push((None, format!("#{{ {} }}", entries.join(", "))));
    }
    code.into_iter().map(|g| g.1).collect()
}

fn field(declaration: &Declaration, name: &str) -> Option<&'static Field> {
    declaration.fields().iter().find(|f| torch::same(f.name, name))
}

fn parameter(declaration: &Declaration, name: &str) -> Option<usize> {
    declaration.params.iter().position(|p| (p.fields)().is_empty() && torch::same(p.name, name))
}

/// Returns whether a parameter or option may have the value that is written so; only literals are known.
fn fits(label: &str, allowed: Allowed, name: &str, value: &str) -> bool {
    const PLAIN: [&str; 10] =
        ["int", "float", "number", "bool", "string", "tensor", "array", "range", "dtype", "device"];
    let words = label.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
    let words: Vec<&str> = words.map(singular).collect();
    // Other types say themselves what they accept.
    if words.iter().any(|w| !PLAIN.contains(w) && !["or", "of"].contains(w)) {
        return true;
    }
    let has = |kinds: &[&str]| kinds.iter().any(|k| words.contains(k));
    let number = value.trim_start_matches('-');
    match value.chars().next() {
        _ if value == "true" || value == "false" => has(&["bool"]),
        Some('"') => {
            let word = Value::Str(value.trim_matches('"').to_string());
            has(&["string", "dtype", "device"]) && allowed.check(name, &word).is_ok()
        }
        Some('[') if Line::new(value).closing(0) == Some(Line::new(value).parts.len() - 1) => {
            label.contains("array") || label.contains('[')
        }
        Some('(') if value == "()" => true,
        Some(_) if number.parse::<f64>().is_ok() => {
            has(&["float", "number"]) || has(&["int"]) && number.parse::<u64>().is_ok()
        }
        // A variable may hold anything.
        _ => true,
    }
}
