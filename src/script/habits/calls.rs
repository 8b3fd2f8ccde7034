//! Calls as written in Python: of missing modules, of objects, with other arguments.

use super::line::{Line, ours};
use super::{Around, Instead, grammar, write};
use crate::declare::{Declaration, Field, Form};
use crate::error::{Error, Problem, Subject};
use crate::script::names::Names;

/// Modules commonly imported in Python.
pub const MODULES: [&str; 22] = [
    "torch",
    "np",
    "numpy",
    "jnp",
    "jax",
    "F",
    "nn",
    "math",
    "plt",
    "matplotlib",
    "optim",
    "random",
    "os",
    "sys",
    "time",
    "pd",
    "pandas",
    "torchvision",
    "transforms",
    "T",
    "tqdm",
    "json",
];

/// Python functions and what replaces them.
const BUILTINS: [(&str, &str); 24] = [
    ("str", "write `x.to_string()`, or `${x}` in a text between backquotes"),
    ("repr", "write `x.to_debug()`"),
    ("int", "write `x.to_int()`"),
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
    ("open", "write `files::read_text(path)` or `files::write_text(path, text)`"),
    ("append", "write `xs.push(x)`, which adds one entry, or `xs.append(ys)`, which adds all"),
    ("cuda", "write `x.to(\"cuda\")`"),
    ("cpu", "write `x.to(\"cpu\")`"),
    ("numpy", "write `x.to_array()`"),
    ("items", "write `for k in m.keys() { let v = m[k]; .. }`"),
    ("state_dict", "write `model.parameters()`, or `model.save(path)` for a file"),
];

/// Returns what to write instead of the call at a column, whose error is known.
pub fn instead(error: &Error, line: &Line, column: usize, around: &Around) -> Instead {
    let at = line.parts.iter().position(|p| p.end >= column && p.start < column.max(1));
    if let Problem::NoVariable(name) = error.problem() {
        let name = name.as_str();
        if let Some(found) = grammar::imports(line) {
            return Some(found);
        }
        if MODULES.contains(&name) {
            return module(line, at?, around.names);
        }
        if ["pass", "elif", "del", "self", "raise", "yield"].contains(&name) {
            return grammar::instead(line, around.names);
        }
        return None;
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
        return (ours(&line.text(start, end)) != code)
            .then(|| (None, format!("write `{}`", line.with(start, end, &code))));
    }
    None
}

/// Explains a missing function.
fn missing(line: &Line, name: &str, at: usize, around: &Around) -> Instead {
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

/// Returns our name of a PyTorch dtype.
pub fn dtype(name: &str) -> Option<&'static str> {
    const SAME: [&str; 10] =
        ["float32", "float64", "bfloat16", "float16", "int64", "int32", "int8", "uint8", "bool", "complex64"];
    const SHORT: [(&str, &str); 5] = [
        ("float", "float32"),
        ("double", "float64"),
        ("half", "float16"),
        ("long", "int64"),
        ("int", "int32"),
    ];
    let short = || SHORT.iter().find(|s| s.0 == name).map(|s| s.1);
    SAME.iter().copied().find(|d| *d == name).or_else(short)
}

/// Explains `torch.randn(2, 3)` and other calls that begin with a module.
pub fn module(line: &Line, at: usize, names: &Names) -> Instead {
    let root = line.part(at);
    let mut last = at;
    while line.is(last + 1, ".") && line.is_word(last + 2) {
        last += 2;
    }
    let name = line.part(last);
    let message = format!("there is no `{root}`: functions stand in namespaces");
    let general = || {
        Some((
            Some(message.clone()),
            "`spectral docs` lists the namespaces; tensors are made by `tensor::`".to_string(),
        ))
    };
    if last == at {
        return general();
    }
    if let Some(dtype) = dtype(&name).filter(|_| !line.is(last + 1, "(")) {
        return write("a dtype is written as a text", line.with(at, last + 1, &format!("\"{dtype}\"")));
    }
    if matches!(name.as_str(), "pi" | "e") && !line.is(last + 1, "(") {
        return write(message, line.with(at, last + 1, &format!("{}()", name.to_uppercase())));
    }
    if matches!(name.as_str(), "no_grad" | "inference_mode") {
        return write(message, "no_grad(|| { .. })");
    }
    if matches!(name.as_str(), "manual_seed" | "seed") {
        let open = last + 1;
        let seed = line.closing(open).map(|c| line.text(open + 1, c)).unwrap_or_default();
        return write(message, format!("tensor::seed({seed})"));
    }
    let open = last + 1;
    let Some(close) = line.closing(open).filter(|_| line.is(open, "(")) else { return general() };
    let lower = name.to_lowercase();
    let spaces = ["tensor", "optim", "plot", "data", "files", "model"];
    let renamed = [
        ("plot", "line"),
        ("imshow", "images"),
        ("array", "tensor"),
        ("as_tensor", "tensor"),
        ("from_numpy", "tensor"),
    ];
    let wanted = renamed.iter().find(|r| r.0 == lower).map_or(lower.as_str(), |r| r.1);
    let mut paths: Vec<String> = spaces.iter().map(|s| format!("{s}::{wanted}")).collect();
    if wanted == "tensor" {
        paths.insert(0, wanted.to_string());
    }
    paths.push(wanted.to_string());
    let path = paths.into_iter().find(|p| !names.get(p).is_empty());
    let Some(path) = path else { return general() };
    let method = names.get(&path).iter().any(|k| k.declaration.is_some_and(|d| d.form == Form::Method));
    let code = arguments(line, open, names.get(&path).iter().filter_map(|k| k.declaration).collect())?;
    let code = match (method, code.split_first()) {
        (_, Some((number, []))) if root == "math" => {
            let whole = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
            format!("{path}({number}{})", if whole { ".0" } else { "" })
        }
        (true, Some((array, rest))) if array.starts_with('[') => {
            format!("tensor({array}).{path}({})", rest.join(", "))
        }
        (true, Some((receiver, rest))) => format!("{receiver}.{path}({})", rest.join(", ")),
        _ => format!("{path}({})", code.join(", ")),
    };
    write(message, line.with(at, close + 1, &code))
}

/// Returns the call whose bracket opens at a part, in our syntax: from, to, code.
pub fn rewritten(line: &Line, open: usize, names: &Names) -> Option<(usize, usize, String)> {
    let close = line.closing(open)?;
    let name = line.part(open - 1);
    let (start, path) = match open >= 3 && line.is(open - 2, "::") {
        true => (open - 3, format!("{}::{name}", line.part(open - 3))),
        false => (open - 1, name.clone()),
    };
    let declarations = names.get(&path).iter().filter_map(|k| k.declaration).collect();
    let method = start > 0 && line.is(start - 1, ".");
    let code = match method {
        true => given(line, open, declarations, 1)?,
        false => arguments(line, open, declarations)?,
    };
    Some((start, close + 1, format!("{path}({})", code.join(", "))))
}

fn arguments(line: &Line, open: usize, declarations: Vec<&'static Declaration>) -> Option<Vec<String>> {
    given(line, open, declarations, 0)
}

/// Returns the arguments in the order and form in which one of the functions takes them; `before` are already
/// given.
fn given(
    line: &Line,
    open: usize,
    declarations: Vec<&'static Declaration>,
    before: usize,
) -> Option<Vec<String>> {
    let mut positional = Vec::new();
    let mut named: Vec<(String, String)> = Vec::new();
    for (from, to) in line.arguments(open)? {
        match line.is_word(from) && line.is(from + 1, "=") {
            true => named.push((line.part(from), ours(&line.text(from + 2, to)))),
            false => positional.push(ours(&line.text(from, to))),
        }
    }
    let declaration = declarations.iter().copied().max_by_key(|d| {
        named.iter().filter(|(name, _)| field(d, name).is_some() || parameter(d, name).is_some()).count()
    });
    let Some(declaration) = declaration else {
        return Some(with_options(positional, named));
    };
    let fields = declaration.fields();
    let own = declaration.params.len() - usize::from(!fields.is_empty());
    // Sizes passed one by one become one array.
    let shape = declaration.params.get(before).filter(|p| p.name == "shape" || p.name == "size");
    let number = |text: &String| !text.starts_with(['[', '#', '"']) && text != "true" && text != "false";
    // What follows the sizes has a parameter of its own, unless it is a map.
    let behind = own.saturating_sub(before + 1);
    let maps = positional.iter().filter(|p| p.starts_with("#{")).count();
    let sizes = positional.len().saturating_sub(behind + maps);
    if shape.is_some() && sizes > 1 && positional[..sizes].iter().all(number) {
        let rest = positional.split_off(sizes);
        positional = vec![format!("[{}]", positional.join(", "))];
        positional.extend(rest);
    }
    let mut options = Vec::new();
    // Arguments beyond the parameters are options, in their order.
    let extra = positional.split_off(own.saturating_sub(before).min(positional.len()));
    for value in extra {
        match value.strip_prefix("#{").and_then(|v| v.strip_suffix('}')) {
            Some(inside) => options
                .extend(inside.split_once(':').map(|(k, v)| (k.trim().to_string(), v.trim().to_string()))),
            None => {
                let taken = |f: &&Field| options.iter().all(|(k, _): &(String, String)| k != f.name);
                let fitting = fields.iter().filter(taken).filter(|f| fits(f, &value)).collect::<Vec<_>>();
                let best = fitting
                    .iter()
                    .find(|f| matches!(f.name, "preset" | "keepdim"))
                    .or_else(|| fitting.first())?;
                options.push((best.name.to_string(), value));
            }
        }
    }
    for (name, value) in named {
        match (parameter(declaration, &name), field(declaration, &name)) {
            (_, Some(field)) => options.push((field.name.to_string(), value)),
            (Some(place), None) => {
                while positional.len() + before < place {
                    positional.push("()".to_string());
                }
                positional.push(value);
            }
            (None, None) => options.push((name, value)),
        }
    }
    Some(with_options(positional, options))
}

fn with_options(mut positional: Vec<String>, options: Vec<(String, String)>) -> Vec<String> {
    if !options.is_empty() {
        let entries: Vec<String> = options.iter().map(|(k, v)| format!("{k}: {v}")).collect();
        positional.push(format!("#{{ {} }}", entries.join(", ")));
    }
    positional
}

/// Returns whether two names mean the same in PyTorch and NumPy.
fn same(ours: &str, theirs: &str) -> bool {
    let plain = |name: &str| match name {
        "axis" | "dims" => "dim".to_string(),
        "keepdims" => "keepdim".to_string(),
        "lr" | "learning_rate" => "lr".to_string(),
        name => name.to_string(),
    };
    plain(ours) == plain(theirs)
}

fn field(declaration: &Declaration, name: &str) -> Option<&'static Field> {
    declaration.fields().iter().find(|f| same(f.name, name))
}

fn parameter(declaration: &Declaration, name: &str) -> Option<usize> {
    declaration.params.iter().position(|p| (p.fields)().is_empty() && same(p.name, name))
}

/// Returns whether an option may have the value that is written so.
fn fits(field: &Field, value: &str) -> bool {
    let label = (field.label)();
    match value.chars().next() {
        _ if value == "true" || value == "false" => label.contains("bool"),
        Some('"') => label.contains("string") || label.contains("dtype") || label.contains("device"),
        Some('[') => label.contains("array"),
        Some(c) if c.is_ascii_digit() || c == '-' => {
            label.contains("float") || label.contains("int") && !value.contains('.')
        }
        // A variable may hold anything.
        _ => true,
    }
}
