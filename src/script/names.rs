//! All names that a script can call: for "did you mean", for signatures in messages, and for `check`.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};

use rhai::{Dynamic, Engine};

use super::source::{Defined, Sources};
use crate::declare::{Declaration, Form, singular};
use crate::error::{Error, candidates, did_you_mean, nearest};

/// A function that a script can call.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its namespace, empty when it has none.
    pub space: String,
    /// Its name.
    pub name: String,
    /// Type of its receiver or first parameter, as users see it; `any` if every type is accepted.
    pub first: String,
    /// The smallest and largest number of arguments, receiver included. In a script's function the receiver is
    /// `this` and does not count.
    pub arity: (usize, usize),
    /// Call signature.
    pub signature: String,
    /// Its declaration, if it is declared here and not by rhai or a script.
    pub declaration: Option<&'static Declaration>,
    /// Whether a user's script defines it.
    pub scripted: bool,
}

impl Known {
    /// Returns whether a call with this many arguments fits; the receiver of a method counts.
    pub fn takes(&self, count: usize, method: bool) -> bool {
        let count = count - usize::from(method && self.scripted);
        (self.arity.0..=self.arity.1).contains(&count)
    }

    /// Returns whether an argument, the receiver being the first, may have a type; true for functions not declared
    /// here.
    pub fn may_take(&self, argument: usize, kind: &str) -> bool {
        let Some(param) = self.declaration.and_then(|d| d.params.get(argument)) else { return true };
        let label = (param.label)();
        !(param.fields)().is_empty() && kind == "map"
            || label == "any"
            || label.contains(kind)
            || !is_list(&label)
    }
}

/// Returns whether a type label names only tensors, numbers and the like; our other types convert whatever they
/// accept.
fn is_list(label: &str) -> bool {
    const PLAIN: [&str; 8] = ["int", "float", "bool", "tensor", "range", "array", "or", "of"];
    label.split([' ', ',']).filter(|w| !w.is_empty()).all(|w| PLAIN.contains(&singular(w)))
}

/// All names that an engine and its sources know.
#[derive(Default)]
pub struct Names {
    functions: BTreeMap<String, Vec<Known>>,
    properties: Vec<(String, String)>,
    spaces: BTreeSet<String>,
    /// Numbers of arguments of rhai's own functions that have the name of one declared here.
    others: BTreeMap<String, BTreeSet<usize>>,
    /// Names of private functions of scripts.
    private: BTreeSet<String>,
}

/// rhai's functions behind operators and syntax, which no call can name.
const SYNTAX: &[&str] = &["get$", "set$", "index$", "anon$", "__"];

/// Keywords that are called like functions.
const KEYWORDS: &[(&str, usize, usize, &str)] = &[
    ("print", 1, 1, "print(value)"),
    ("debug", 1, 1, "debug(value)"),
    ("type_of", 1, 1, "type_of(value) -> string"),
    ("eval", 1, 1, "eval(script: string)"),
    ("Fn", 1, 1, "Fn(name: string) -> function"),
    ("call", 1, 32, "function.call(..)"),
    ("curry", 2, 32, "function.curry(..) -> function"),
    ("is_def_var", 1, 1, "is_def_var(name: string) -> bool"),
    ("is_def_fn", 2, 3, "is_def_fn(name: string, parameters: int) -> bool"),
    ("is_shared", 1, 1, "is_shared(value) -> bool"),
    ("exit", 0, 1, "exit(code?: int)"),
    ("to_string", 1, 1, "value.to_string() -> string"),
    ("to_debug", 1, 1, "value.to_debug() -> string"),
];

impl Names {
    /// Collects the names that the engine and the declarations know and the sources define.
    pub fn of(engine: &Engine, sources: Option<&Sources>) -> Self {
        let mut names = Self::default();
        for declaration in super::declarations() {
            names.declared(declaration);
        }
        for (name, least, most, signature) in KEYWORDS {
            names.add(Known {
                space: String::new(),
                name: name.to_string(),
                first: "any".to_string(),
                arity: (*least, *most),
                signature: signature.to_string(),
                declaration: None,
                scripted: false,
            });
        }
        let registered = |info: rhai::FuncInfo| {
            let data = info.metadata;
            let name = data.name.to_string();
            let native = info.script.is_none();
            let first = data.param_types.first().filter(|_| native).map_or("any", type_word).to_string();
            let params: Vec<String> = match info.script {
                Some(script) => script.params.iter().map(ToString::to_string).collect(),
                None => data.params_info.iter().map(|p| clean(p)).collect(),
            };
            Some((info.namespace.to_string(), name, first, data.num_params, params))
        };
        // rhai keeps them in no certain order, which would show in hints.
        let mut all = engine.collect_fn_metadata(None, registered, true);
        all.sort_unstable();
        for (space, name, first, count, params) in all {
            names.registered(space, name, first, count, &params);
        }
        for Defined { name, params, private } in sources.map(Sources::functions).unwrap_or_default() {
            names.define(&name, &params);
            if private {
                names.private.insert(name);
            }
        }
        names
    }

    fn add(&mut self, known: Known) {
        if !known.space.is_empty() {
            self.spaces.insert(known.space.clone());
        }
        self.functions.entry(path(&known.space, &known.name)).or_default().push(known);
    }

    fn declared(&mut self, declaration: &'static Declaration) {
        let receiver = declaration.receiver().unwrap_or("any").to_string();
        let (space, name) = match declaration.form {
            Form::Namespace(space) => (space, declaration.name),
            Form::Operator(symbol) => ("", symbol),
            Form::Property => return self.properties.push((receiver, declaration.name.to_string())),
            _ => ("", declaration.name),
        };
        let first = match declaration.form {
            Form::Operator(_) => declaration.params.first().map_or("any".to_string(), |p| (p.label)()),
            _ => receiver,
        };
        self.add(Known {
            space: space.to_string(),
            name: name.to_string(),
            first,
            arity: declaration.arity(),
            signature: declaration.signature(),
            declaration: Some(declaration),
            scripted: false,
        });
    }

    fn registered(&mut self, space: String, name: String, first: String, count: usize, params: &[String]) {
        if let Some(property) = name.strip_prefix("get$") {
            // Every rhai value has a `tag`, which is of no use here.
            if property != "tag" {
                self.properties.push((first, property.to_string()));
            }
            return;
        }
        if SYNTAX.iter().any(|s| name.starts_with(s)) || KEYWORDS.iter().any(|k| k.0 == name) {
            return;
        }
        let known = self.functions.get(&path(&space, &name));
        // Functions declared here are already known, with more to say; rhai may have others of that name, for its own types.
        if known.is_some_and(|all| all.iter().any(|k| k.declaration.is_some())) {
            // Those declared here are registered for values of any type.
            if !matches!(first.as_str(), "any" | "other") {
                self.others.entry(path(&space, &name)).or_default().insert(count);
            }
            return;
        }
        let signature = format!("{}({})", path(&space, &name), params.join(", "));
        self.add(Known {
            space,
            name,
            first,
            arity: (count, count),
            signature,
            declaration: None,
            scripted: false,
        });
    }

    /// Adds a function that a script defines.
    pub fn define(&mut self, name: &str, params: &[impl AsRef<str>]) {
        let words: Vec<&str> = params.iter().map(AsRef::as_ref).collect();
        self.add(Known {
            space: String::new(),
            name: name.to_string(),
            first: "any".to_string(),
            arity: (words.len(), words.len()),
            signature: format!("{name}({})", words.join(", ")),
            declaration: None,
            scripted: true,
        });
    }

    /// Returns the functions under a path such as `tensor::zeros` or `sum`.
    pub fn get(&self, path: &str) -> &[Known] {
        self.functions.get(path).map_or(&[], Vec::as_slice)
    }

    /// Returns whether rhai's own functions under a path that is also declared here take that many arguments.
    pub fn others_take(&self, path: &str, count: usize) -> bool {
        self.others.get(path).is_some_and(|counts| counts.contains(&count))
    }

    /// Returns all namespaces.
    pub fn spaces(&self) -> impl Iterator<Item = &str> {
        self.spaces.iter().map(String::as_str)
    }

    /// Returns whether the namespace exists.
    pub fn has_space(&self, space: &str) -> bool {
        self.spaces.contains(space)
    }

    /// Returns whether a script has a private function of that name.
    pub fn is_private(&self, name: &str) -> bool {
        self.private.contains(name)
    }

    /// Returns whether any type has the property.
    pub fn has_property(&self, name: &str) -> bool {
        self.properties.iter().any(|(_, p)| p == name)
    }

    /// Returns the properties of a type.
    pub fn properties(&self, receiver: &str) -> impl Iterator<Item = &str> {
        let of = move |r: &str| r == receiver || r == "any";
        self.properties.iter().filter(move |(r, _)| of(r)).map(|(_, p)| p.as_str())
    }

    /// Returns the types that have the property.
    pub fn owners(&self, property: &str) -> Vec<&str> {
        let mut owners: Vec<&str> =
            self.properties.iter().filter(|(_, p)| p == property).map(|(r, _)| r.as_str()).collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    /// Returns the functions whose first parameter takes the type, which are its methods.
    pub fn methods(&self, receiver: &str) -> impl Iterator<Item = &str> {
        let takes = move |k: &Known| k.space.is_empty() && (k.first == receiver || k.first == "any");
        self.functions.values().flatten().filter(move |k| takes(k)).map(|k| k.name.as_str())
    }

    /// Returns the methods of exactly this type, without operators.
    pub fn own_methods(&self, receiver: &str) -> impl Iterator<Item = &str> {
        let takes = move |k: &Known| k.space.is_empty() && k.first == receiver && is_word(&k.name);
        self.functions.values().flatten().filter(move |k| takes(k)).map(|k| k.name.as_str())
    }

    /// Returns whether methods of this type are declared here.
    pub fn declares(&self, receiver: &str) -> bool {
        if receiver == "any" {
            return false;
        }
        self.functions.values().flatten().any(|k| k.first == receiver && k.declaration.is_some())
    }

    /// Returns the functions that the user's scripts define.
    pub fn scripted(&self) -> impl Iterator<Item = &str> {
        self.functions.values().flatten().filter(|k| k.scripted).map(|k| k.name.as_str())
    }

    /// Returns the path nearest to `name`: in its namespace, as a method of the receiver, then anywhere.
    pub fn nearest(&self, space: &str, name: &str, receiver: Option<&str>) -> Option<Near> {
        let near = |found: Vec<&str>, space: &str| Near::of(found.iter().map(|n| path(space, n)));
        let inside = || {
            let members = self.functions.values().flatten().filter(|k| !space.is_empty() && k.space == space);
            near(candidates(name, members.map(|k| k.name.as_str())), space)
        };
        let method = || near(candidates(name, self.own_methods(receiver?)), "");
        let global = || {
            // A method of another type would not help.
            let fits = |k: &&Known| k.first == "any" || receiver.is_none_or(|r| r == "any" || k.first == r);
            let words = self.functions.values().flatten().filter(|k| k.space.is_empty() && is_word(&k.name));
            let words = words.filter(fits);
            if space.is_empty() { near(candidates(name, words.map(|k| k.name.as_str())), "") } else { None }
        };
        let exact = || {
            let free = |k: &&Known| !k.space.is_empty() || k.first == "any";
            let same = self.functions.values().flatten().filter(|k| k.name == name && free(k));
            let mut same: Vec<String> = same.map(|k| path(&k.space, &k.name)).collect();
            same.dedup();
            Near::of(same)
        };
        let anywhere = || {
            let spaced = self.functions.values().flatten().filter(|k| !k.space.is_empty());
            let found = nearest(name, spaced.clone().map(|k| k.name.as_str()))?;
            let first = spaced.into_iter().find(|k| k.name == found)?;
            // A name that is both misspelt and in another namespace is not certain.
            Some(Near { path: path(&first.space, &first.name), others: Vec::new(), certain: false })
        };
        let found = inside().or_else(exact).or_else(method).or_else(global);
        // For a value of our own types, only one of its methods can be meant.
        found.or_else(|| if receiver.is_some_and(|r| self.declares(r)) { None } else { anywhere() })
    }
}

/// A path that was probably meant, with those that are as near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// The path: `tensor::zeros`, `sum`.
    pub path: String,
    /// Others that are as near.
    others: Vec<String>,
    /// Whether a single candidate is certainly meant.
    certain: bool,
}

impl Near {
    /// Makes the answer of candidates that are equally near.
    pub fn of(candidates: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut all = candidates.into_iter();
        Some(Self { path: all.next()?, others: all.collect(), certain: true })
    }

    /// Returns whether nothing else can be meant.
    pub fn is_only(&self) -> bool {
        self.certain && self.others.is_empty()
    }

    /// Adds the hint that `wrong` may mean this path.
    pub fn suggest(self, error: Error, wrong: &str) -> Error {
        let only = self.is_only();
        let all: Vec<&String> = [&self.path].into_iter().chain(&self.others).collect();
        let error = error.hint(did_you_mean(&all));
        if only { error.meant(wrong, self.path) } else { error }
    }
}

/// Returns `space::name`, or the name alone.
pub fn path(space: &str, name: &str) -> String {
    if space.is_empty() { name.to_string() } else { format!("{space}::{name}") }
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Formats a parameter of rhai with our type names.
pub fn clean(parameter: &str) -> String {
    match parameter.split_once(':') {
        Some((name, kind)) => {
            let kind = kind.trim().trim_start_matches("&mut ").trim_start_matches('&');
            match word(kind) {
                "any" => name.trim().to_string(),
                kind => format!("{}: {kind}", name.trim()),
            }
        }
        None => parameter.to_string(),
    }
}

/// Converts the name that rhai uses for a type to ours.
pub fn word(rhai: &str) -> &str {
    let last = rhai.rsplit("::").next().unwrap_or(rhai);
    match last {
        "i64" | "INT" => "int",
        "f64" | "FLOAT" => "float",
        "&str | ImmutableString | String" | "ImmutableString" | "String" | "&str" | "str" | "string" => {
            "string"
        }
        "Fn" | "FnPtr" => "function",
        "Tensor" => "tensor",
        "Array" => "array",
        "Map" => "map",
        "Blob" => "blob",
        "Dynamic" | "T" | "?" => "any",
        "range=" => "range",
        "Several" => "indices",
        _ if rhai.contains("Range") => "range",
        _ => last,
    }
}

/// Returns the name of a type that rhai knows, or `other`.
pub fn type_word(id: &TypeId) -> &'static str {
    let known: [(TypeId, &'static str); 9] = [
        (TypeId::of::<i64>(), "int"),
        (TypeId::of::<f64>(), "float"),
        (TypeId::of::<bool>(), "bool"),
        (TypeId::of::<char>(), "char"),
        (TypeId::of::<rhai::ImmutableString>(), "string"),
        (TypeId::of::<rhai::Array>(), "array"),
        (TypeId::of::<rhai::Map>(), "map"),
        (TypeId::of::<rhai::FnPtr>(), "function"),
        (TypeId::of::<Dynamic>(), "any"),
    ];
    known.iter().find(|(k, _)| k == id).map_or("other", |(_, word)| word)
}
