//! Calls as written in Python: of missing functions, of objects, with other arguments.

use super::arguments::rewritten;
use super::line::{Line, ours};
use super::modules::{self, MODULES, of_tensors};
use super::{Around, Instead, grammar, write};
use crate::error::{Error, Problem, Subject};

/// Python functions and what replaces them.
const BUILTINS: [(&str, &str); 34] = [
    ("str", "write `x.to_string()`, or `${x}` in a text between backquotes"),
    ("repr", "write `x.to_debug()`"),
    ("int", "write `x.to_int()` for a number, `x.parse_int()` for a text"),
    ("float", "write `x.to_float()`"),
    ("list", "write `[..]`; a tensor becomes an array with `x.to_array()`"),
    ("tuple", "write `[..]`"),
    ("dict", "write `#{ a: 1 }`"),
    ("set", "write a map, `#{ a: true }`, and ask `\"a\" in m`"),
    ("enumerate", "write `for (x, i) in xs { .. }`"),
    ("zip", "write `for (x, i) in xs { let y = ys[i]; .. }`"),
    ("sorted", "write `xs.sort()`, which sorts the array itself"),
    ("reversed", "write `xs.reverse()`, which turns the array itself"),
    ("isinstance", "write `type_of(x) == \"tensor\"`"),
    ("type", "write `type_of(x)`"),
    ("getattr", "write `m[name]`"),
    ("hasattr", "write `name in m`"),
    ("any", "write `xs.some(|x| ..)`"),
    ("env", "write `cli::env(\"NAME\")`, or `cli::env(\"NAME\", default)`"),
    ("getenv", "write `cli::env(\"NAME\")`, or `cli::env(\"NAME\", default)`"),
    ("open", "write `files::read_text(path)` or `files::write_text(path, text)`"),
    ("append", "write `xs.push(x)`, which adds one entry, or `xs.append(ys)`, which adds all"),
    ("cuda", "write `x.to(\"cuda\")`"),
    ("cpu", "write `x.to(\"cpu\")`"),
    ("numpy", "write `x.to_array()`"),
    ("format", "write a text between backquotes with `${x}`"),
    ("items", "write `for k in m.keys() { let v = m[k]; .. }`"),
    ("state_dict", "write `model.parameters()`, or `model.save(path)` for a file"),
    ("load_state_dict", "write `model.load(path)`"),
    ("named_parameters", "write `model.parameters()`, a map from names to tensors"),
    ("DataLoader", "write `dataset.loader(#{ batch: 32 })`"),
    ("tqdm", "loop over the values themselves; `train::fit` and `flow::sample` show their progress"),
    ("map", "write `xs.map(|x| ..)`"),
    ("filter", "write `xs.filter(|x| ..)`"),
    ("println", "write `print(..)`"),
];

/// Returns what to write instead of the call at a column, whose error is known.
pub fn instead(error: &Error, line: &Line, column: usize, around: &Around) -> Instead {
    let at = line.parts.iter().position(|p| p.end >= column && p.start < column.max(1));
    if let Problem::NoVariable(name) = error.problem() {
        let name = name.as_str();
        if let Some(found) = grammar::imports(line).or_else(|| grammar::magics(line)) {
            return Some(found);
        }
        if MODULES.contains(&name) {
            return modules::module(line, at?, around.names);
        }
        if matches!(name, "None" | "True" | "False") {
            // A call of a module evaluates its arguments first, and is wrong itself.
            let call = |i: &usize| MODULES.contains(&line.part(*i).as_str()) && line.is(i + 1, ".");
            return match grammar::new_dimension(line).filter(|_| name == "None") {
                Some(found) => Some(found),
                None => modules::module(line, (0..at?).find(call)?, around.names),
            };
        }
        if name == "self" {
            return Some((None, "a closure in a map reads the map as `this`".to_string()));
        }
        if ["pass", "elif", "del", "self", "raise", "yield"].contains(&name) {
            return grammar::instead(line, around.names);
        }
        return None;
    }
    if let Problem::NoSpace(path) = error.problem() {
        let root = path.split("::").next().unwrap_or(path);
        let start = line.find(0, root).filter(|_| MODULES.contains(&root))?;
        return modules::module(line, start, around.names);
    }
    if let Problem::WrongReceiver { name, found, .. } = error.problem()
        && found == "array"
        && ["sum", "mean", "std", "max", "min"].contains(&name.as_str())
    {
        return Some((None, format!("write `tensor(xs).{name}().item()` for an array `xs` of numbers")));
    }
    if let Problem::NoFunction(name) | Problem::WrongReceiver { name, .. } = error.problem() {
        return missing(line, name, at?, around);
    }
    let (miscounted, mistyped) = match error.problem() {
        Problem::WrongCount { path, .. } => (Some(path.as_str()), None),
        Problem::WrongTypes { path, .. } => (None, Some(path.as_str())),
        _ => (None, None),
    };
    if miscounted.or(mistyped) == Some("range") {
        let open = line.find(at?, "(")?;
        let call = ours(&line.text(open - 1, line.closing(open)? + 1));
        return match (line.is(0, "for"), call.contains("..")) {
            (true, true) => write(
                "a loop over numbers goes over a range",
                format!("for {} in {call} {{ .. }}", line.part(1)),
            ),
            (false, true) => write("a range of numbers is written with dots", call),
            _ => None,
        };
    }
    if miscounted == Some("print") {
        let open = line.find(at?, "(")?;
        let values: Vec<String> = line
            .arguments(open)?
            .into_iter()
            .map(|(a, b)| {
                let text = line.text(a, b);
                match b == a + 1 && !line.is_word(a) {
                    true => text.trim_matches(['"', '\'']).to_string(),
                    false => format!("${{{}}}", ours(&text)),
                }
            })
            .collect();
        return write(
            "`print` takes one value",
            line.with(open - 1, line.closing(open)? + 1, &format!("print(`{}`)", values.join(" "))),
        );
    }
    let options = match (error.problem(), error.path()) {
        (Problem::NotOptions { .. }, [Subject::Function(path)]) => Some(path.as_str()),
        _ => None,
    };
    if let Some(path) = options.or(miscounted) {
        let name = path.rsplit("::").next().unwrap_or(path);
        let open = (0..line.parts.len())
            .filter(|i| line.is(*i, name) && line.is(i + 1, "("))
            .min_by_key(|i| line.parts[*i].start.abs_diff(column))?
            + 1;
        let (start, end, code) = rewritten(line, open, around.names)?;
        // A call that already had the right form has another problem.
        let same = |a: &str, b: &str| a.split_whitespace().eq(b.split_whitespace());
        let spaced = |text: &str| text.replace(',', ", ");
        return (!same(&spaced(&ours(&line.text(start, end))), &spaced(&code)))
            .then(|| (None, format!("write `{}`", line.with(start, end, &code))));
    }
    None
}

/// Explains a missing function.
fn missing(line: &Line, name: &str, at: usize, around: &Around) -> Instead {
    if name.strip_prefix("nn::").is_some_and(|layer| layer.starts_with(char::is_uppercase)) {
        return Some((None, modules::LAYERS.to_string()));
    }
    let method = at > 0 && line.is(at - 1, ".");
    if !method && let Some(kind) = (around.variables)(name) {
        let open = line.find(at, "(")?;
        let arguments = line.text(open + 1, line.closing(open)?);
        let message = format!("`{name}` is a variable, not a function");
        return match kind.as_deref() {
            Some("model") => write(format!("`{name}` is a model, not a function"), format!("{name}.forward({arguments})")),
            Some("function") => write(format!("`{name}` holds a closure, which is called with `call`"), format!("{name}.call({arguments})")),
            Some("tensor" | "array") => write(message, format!("{name}[{arguments}]")),
            Some(kind) => Some((
                Some(format!("`{name}` is a variable of type {kind}, not a function")),
                "a function of the same name is called before the variable is declared, or under another name".to_string(),
            )),
            None => Some((Some(message), format!("a closure is called `{name}.call({arguments})`, a model `{name}.forward({arguments})`"))),
        };
    }
    if method && matches!(name, "eval" | "train") && line.is(at + 1, "(") {
        return modes(name);
    }
    if name == "float" && line.is_text(at + 2) {
        let infinite = [("inf", "1.0 / 0.0"), ("-inf", "-1.0 / 0.0"), ("nan", "0.0 / 0.0")];
        let text = line.part(at + 2);
        let (_, code) = infinite.iter().find(|(word, _)| text.trim_matches(['"', '\'']) == *word)?;
        let close = line.closing(at + 1)?;
        return write("a text does not become a number", line.with(at, close + 1, &format!("({code})")));
    }
    let close = || line.closing(at + 1).filter(|_| line.is(at + 1, "("));
    if method && name == "type" {
        return write("a dtype is set with `to`", line.with(at, at + 1, "to"));
    }
    if method && name == "float16" {
        return write("float16 has the short name `half`", line.with(at, at + 1, "half"));
    }
    let pure = name.strip_suffix('_').filter(|pure| method && !of_tensors(pure, around.names).is_empty());
    if let Some((pure, close)) = pure.zip(close()) {
        let value = line.part(at - 2);
        let call = format!("{pure}({})", ours(&line.text(at + 2, close)));
        let simple = line.is_word(at - 2) && !(at >= 3 && (line.is(at - 3, ".") || line.is(at - 3, "::")));
        let code = match simple {
            true => format!("{value} = {value}.{call};"),
            false => format!("x = x.{call};"),
        };
        return write(format!("`{pure}` has no form that works in place"), code);
    }
    if method && matches!(name, "map" | "filter") {
        return None;
    }
    let (_, hint) = BUILTINS.iter().find(|(theirs, _)| *theirs == name)?;
    Some((None, hint.to_string()))
}

/// Explains `eval()` and `train()` of a model.
pub fn modes(name: &str) -> Instead {
    Some((
        Some(format!("there is no `{name}()`: a model computes the same in training and evaluation")),
        "leave the line out; `no_grad(|| ..)` keeps gradients from being recorded".to_string(),
    ))
}
