//! Calls that begin with a module of Python, such as `torch.randn(2, 3)`.

use super::arguments::{arguments, bound};
use super::line::Line;
use super::torch::{self, Given};
use super::{Instead, write};
use crate::declare::{Declaration, Form};
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

/// Functions of Python's `math`, and ours for floats.
const MATH: [(&str, &str); 14] = [
    ("sqrt", "sqrt"),
    ("exp", "exp"),
    ("log", "ln"),
    ("log10", "log"),
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("asin", "asin"),
    ("acos", "acos"),
    ("atan", "atan"),
    ("tanh", "tanh"),
    ("floor", "floor"),
    ("ceil", "ceiling"),
    ("fabs", "abs"),
];

/// What replaces the classes of `torch.nn`.
pub const LAYERS: &str = "layers are made by a builder: `spectral docs builder` lists them";

/// Functions about devices and modes, and what replaces them.
const ELSEWHERE: [(&str, &str); 9] = [
    (
        "is_available",
        "no question is needed: `tensor::set_default_device(\"auto\")` takes a GPU if there is one",
    ),
    ("device", "a device is a text: `x.to(\"cuda\")`, `#{ device: \"auto\" }`"),
    ("device_count", "`spectral info` lists the devices"),
    ("empty_cache", "leave the line out: the memory is used again"),
    ("synchronize", "leave the line out: results are complete when they are read"),
    ("compile", "leave the line out: the blocks of models have fused kernels already"),
    ("set_grad_enabled", "write `no_grad(|| { .. })` around what needs no gradients"),
    ("save_image", "write `eval::save_images(..)`, see `spectral docs eval`"),
    ("DataLoader", "write `dataset.loader(#{ batch: 32 })`"),
];

/// Explains `torch.randn(2, 3)` and other calls that begin with a module, also as `torch::randn(2, 3)`.
pub fn module(line: &Line, at: usize, names: &Names) -> Instead {
    let root = line.part(at);
    let mut last = at;
    while (line.is(last + 1, ".") || line.is(last + 1, "::")) && line.is_word(last + 2) {
        last += 2;
    }
    let name = line.part(last);
    let inner = if last >= at + 4 { line.part(last - 2) } else { String::new() };
    let message = format!("there is no `{root}`: functions stand in namespaces");
    let general = |hint: &str| Some((Some(message.clone()), hint.to_string()));
    let spaces = "`spectral docs` lists the namespaces; tensors are made by `tensor::`";
    if last == at {
        return general(spaces);
    }
    let open = last + 1;
    if !line.is(open, "(") {
        let value = match name.as_str() {
            name if dtype(name).is_some() => {
                let dtype = dtype(name).unwrap_or_default();
                return write("a dtype is written as a text", line.with(at, open, &format!("\"{dtype}\"")));
            }
            "pi" | "e" => format!("{}()", name.to_uppercase()),
            "inf" => "(1.0 / 0.0)".to_string(),
            "nan" => "(0.0 / 0.0)".to_string(),
            _ => return general(spaces),
        };
        return write(message, line.with(at, open, &value));
    }
    if matches!(name.as_str(), "no_grad" | "inference_mode") {
        return write(message, "no_grad(|| { .. })");
    }
    if let Some((_, hint)) = ELSEWHERE.iter().find(|(theirs, _)| *theirs == name) {
        return general(hint);
    }
    let Some(close) = line.closing(open) else { return general(spaces) };
    if matches!(name.as_str(), "manual_seed" | "seed") {
        let seed = line.text(open + 1, close);
        return write(message, line.with(at, close + 1, &format!("tensor::seed({seed})")));
    }
    let given = arguments(line, open).unwrap_or_default();
    let translated = match root.as_str() {
        "math" => of_math(&name, &given),
        "time" if matches!(name.as_str(), "time" | "perf_counter" | "monotonic") => {
            Some("time::now()".to_string())
        }
        _ => called(&root, &inner, &name, given.clone(), names),
    };
    if let Some(code) = translated {
        return write(message, line.with(at, close + 1, &code));
    }
    if matches!((root.as_str(), name.as_str()), ("torch", "max" | "min")) {
        return general(&format!(
            "`x.{name}imum(y)` compares two tensors, and `x.{name}(dim)` goes along a dimension"
        ));
    }
    if name.starts_with(char::is_uppercase) && (root == "nn" || inner == "nn") {
        return general(LAYERS);
    }
    let tensors = matches!(root.as_str(), "torch" | "F");
    let ours = torch::name_of(&root, &inner, &name).filter(|_| tensors).unwrap_or_default();
    let found = of_tensors(&ours, names);
    match found.first() {
        Some(declaration) => general(&format!("ours is `{}`", declaration.signature())),
        None => general(spaces),
    }
}

/// Returns the functions of tensors with this name.
pub fn of_tensors(name: &str, names: &Names) -> Vec<&'static Declaration> {
    let paths = [format!("tensor::{name}"), name.to_string()];
    let all = paths.iter().flat_map(|path| names.get(path)).filter_map(|k| k.declaration);
    all.filter(|d| d.receiver().is_none_or(|r| r == "tensor")).collect()
}

fn of_math(name: &str, given: &[Given]) -> Option<String> {
    let [(None, value)] = given else { return None };
    let ours = MATH.iter().find(|(theirs, _)| *theirs == name)?.1;
    let whole = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
    Some(format!("{ours}({value}{})", if whole { ".0" } else { "" }))
}

/// Returns our call of a function of a module, if it is certain what computes the same.
fn called(root: &str, inner: &str, name: &str, mut given: Vec<Given>, names: &Names) -> Option<String> {
    let values: Vec<String> = given.iter().map(|g| g.1.clone()).collect();
    let unnamed = given.iter().all(|(name, _)| name.is_none());
    let int = |text: &str| text.trim_start_matches('-').parse::<u32>().is_ok();
    let has = |wanted: &[&str]| given.iter().any(|(n, _)| n.as_deref().is_some_and(|n| wanted.contains(&n)));
    let name = torch::name_of(root, inner, name)?;
    match (name.as_str(), values.as_slice()) {
        ("Tensor" | "FloatTensor", [list]) if list.starts_with('[') => {
            return Some(format!("tensor({list})"));
        }
        ("embedding", [indices, weight]) if unnamed => {
            return Some(format!("{}.embedding({indices})", receiver(weight)?));
        }
        ("save", [value, path]) if unnamed && !path.starts_with('"') => {
            return Some(format!("tensor::save({path}, {value})"));
        }
        ("save", [value, path]) if unnamed => {
            // Python's format is read here, but not written.
            let path = path.replace(".pth", ".safetensors").replace(".pt", ".safetensors");
            return Some(match value.strip_suffix(".state_dict()") {
                Some(model) => format!("{model}.save({path})"),
                None if value.starts_with("#{") => format!("tensor::save({path}, {value})"),
                None => format!("tensor::save({path}, #{{ x: {value} }})"),
            });
        }
        ("einsum", [equation, tensors @ ..]) if unnamed && !tensors.is_empty() => {
            return Some(match tensors {
                [list] if list.starts_with('[') => format!("tensor::einsum({equation}, {list})"),
                _ => format!("tensor::einsum({equation}, [{}])", tensors.join(", ")),
            });
        }
        ("meshgrid" | "cartesian_prod", [first, ..]) if !first.starts_with('[') => {
            let count = given.iter().take_while(|(name, _)| name.is_none()).count();
            let rest = given.split_off(count);
            given = vec![(None, format!("[{}]", values[..count].join(", ")))];
            given.extend(rest);
        }
        ("randint", [_, _]) if !has(&["low", "high"]) => given.insert(0, (None, "0".to_string())),
        ("max" | "min", [_, second]) if !int(second) && !has(&["dim", "axis", "keepdim"]) => return None,
        // With an order but no dimension, the norm of a matrix is meant, which is another one.
        ("norm", [_, order, ..]) if inner == "linalg" => {
            let (vector, dims) = match values.get(2) {
                Some(dim) if unnamed => (true, dim.clone()),
                _ => (has(&["dim", "axis"]), order.clone()),
            };
            if !vector || dims.starts_with('[') {
                return None;
            }
        }
        ("tensordot", [_, _, dims]) => {
            let line = Line::new(dims);
            let pair = line.arguments(0).filter(|p| p.len() == 2 && line.is(0, "["))?;
            let ours: Vec<String> = pair.iter().map(|(a, b)| line.text(*a, *b)).collect();
            given.truncate(2);
            given.extend(ours.into_iter().map(|dims| (None, dims)));
        }
        _ => {}
    }
    let lower = match root == "optim" || inner == "optim" {
        true => name.to_lowercase(),
        false => name,
    };
    let spaces: &[&str] = match (root, inner) {
        ("optim", _) | (_, "optim") => &["optim"],
        ("plt" | "matplotlib", _) => &["plot"],
        ("torch" | "F" | "np" | "numpy" | "jnp" | "jax", _) | (_, "functional") => &["tensor"],
        _ => return None,
    };
    let mut paths: Vec<String> = spaces.iter().map(|s| format!("{s}::{lower}")).collect();
    if spaces[0] == "tensor" {
        paths.push(lower.clone());
    }
    let all = paths.iter().flat_map(|path| names.get(path)).filter_map(|k| k.declaration);
    for declaration in all.filter(|d| d.receiver().is_none_or(|r| r == "tensor")) {
        let method = declaration.form == Form::Method;
        let mut rest = given.clone();
        let input = match method {
            true if rest.is_empty() => continue,
            true => {
                let at = rest.iter().position(|(n, _)| matches!(n.as_deref(), Some("input" | "self" | "a")));
                let (_, value) = rest.remove(at.unwrap_or(0));
                let Some(value) = receiver(&value) else { continue };
                format!("{value}.")
            }
            false => String::new(),
        };
        if let Some(code) = bound(declaration, usize::from(method), rest) {
            let path = if method { declaration.name.to_string() } else { declaration.path() };
            return Some(format!("{input}{path}({})", code.join(", ")));
        }
    }
    None
}

/// Returns a value as it is written before the dot of a method; `None` for a number, which has other methods.
fn receiver(value: &str) -> Option<String> {
    let line = Line::new(value);
    if value.starts_with('[') {
        return Some(format!("tensor({value})"));
    }
    let mut i = 0;
    while i < line.parts.len() {
        let next = match line.part(i).as_str() {
            "(" | "[" => line.closing(i)?,
            "." | "::" => i,
            _ if line.is_word(i) => i,
            _ if line.parts.len() == 1 => return None,
            _ => return Some(format!("({value})")),
        };
        i = next + 1;
    }
    Some(value.to_string())
}
