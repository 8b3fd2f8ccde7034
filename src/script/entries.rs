//! Everything a script can call, native or from std-lib, in one form for help, completion and the reference.

use serde::Serialize;

use crate::declare::{Allowed, Declaration, Field, Form, function};

/// A function, method, property or operator with its documentation.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Path that users look for: `filter::gaussian`, `tensor.sum`, `print`.
    pub path: String,
    /// Last part of the path; a word for operators too.
    pub name: String,
    /// Page it belongs to: its namespace, the type it is a method of, or `global`.
    pub group: String,
    /// How it is called: `function`, `method`, `property` or `operator`.
    pub form: &'static str,
    /// Call signature, with types.
    pub signature: String,
    /// Parameters with their types, without the receiver.
    #[serde(skip)]
    pub params: Vec<String>,
    /// Type of the result, if it is known.
    #[serde(skip)]
    pub returns: Option<String>,
    /// First sentence of the documentation.
    pub summary: String,
    /// Documentation without the example, in Markdown.
    pub text: String,
    /// Keys of its option map.
    pub options: Vec<OptionEntry>,
    /// Index of the option map among the arguments, from 0 without the receiver.
    #[serde(skip)]
    pub options_at: Option<usize>,
    /// Permitted words of arguments that take only certain ones, by index, from 0 without the receiver.
    #[serde(skip)]
    pub words: Vec<(usize, Vec<String>)>,
    /// Runnable example.
    pub example: Option<String>,
    /// File of std-lib in which it is written; `None` for native code.
    pub source: Option<&'static str>,
}

/// One key of an option map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OptionEntry {
    /// Name of the key.
    pub name: String,
    /// Type name shown to users.
    pub label: String,
    /// Default value, as a script writes it.
    pub default: String,
    /// Permitted values in words, empty if the type says everything.
    pub allowed: String,
    /// Permitted words, if it takes only certain ones.
    pub words: Vec<String>,
    /// Meaning of the option.
    pub text: String,
    /// Options of the maps that it takes; those of their maps are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<OptionEntry>,
    /// Keys and types of the map that a function in this option receives.
    #[serde(skip)]
    pub receives: &'static [(&'static str, &'static str)],
    /// Arguments of a function in this option, one entry for each number of them.
    #[serde(skip)]
    pub takes: &'static [&'static str],
}

/// Returns every entry, native ones first, in the order of the declarations.
pub fn all() -> Vec<Entry> {
    let native = super::declarations().into_iter().map(Entry::declared);
    native.chain(super::std_lib::entries()).collect()
}

impl Entry {
    /// Makes the entry of a declaration.
    pub fn declared(declaration: &Declaration) -> Self {
        let group = match declaration.form {
            Form::Namespace(space) => space,
            Form::Global => "global",
            _ => declaration.receiver().or_else(|| operand(declaration)).unwrap_or("any"),
        };
        Self {
            path: declaration.path(),
            name: declaration.name.to_string(),
            group: group.to_string(),
            form: match declaration.form {
                Form::Global | Form::Namespace(_) => "function",
                Form::Method => "method",
                Form::Property => "property",
                Form::Operator(_) => "operator",
            },
            signature: declaration.signature(),
            params: declaration.parameters(),
            returns: Some((declaration.returns)()),
            summary: declaration.summary(),
            text: declaration.text(),
            options: declaration.fields().iter().map(OptionEntry::declared).collect(),
            options_at: match declaration.form {
                _ if declaration.fields().is_empty() => None,
                Form::Method => declaration.params.len().checked_sub(2),
                _ => declaration.params.len().checked_sub(1),
            },
            words: {
                let behind = usize::from(declaration.form == Form::Method);
                let words = |(i, p): (usize, &crate::declare::Param)| match (p.allowed)() {
                    Allowed::OneOf(words) => Some((i, words.iter().map(ToString::to_string).collect())),
                    _ => None,
                };
                declaration.params.iter().skip(behind).enumerate().filter_map(words).collect()
            },
            example: declaration.example(),
            source: None,
        }
    }

    /// Returns the label in lists: the symbol of an operator, else the name.
    pub fn label(&self) -> &str {
        match self.form {
            "operator" => self.path.split('`').nth(1).unwrap_or(&self.name),
            _ => &self.name,
        }
    }

    /// Makes the entry of a std-lib function.
    ///
    /// Its documentation may hold two elements that rhai has no place for: a line ``Signature: `..` ``
    /// with types, and a list under `Options:` with lines ``- `name` (type, default): meaning``.
    pub fn scripted(space: &str, name: &str, params: &[&str], doc: &str, source: &'static str) -> Self {
        let (text, example) = function::split(doc);
        let mut signature = format!("{space}::{name}({})", params.join(", "));
        let mut typed: Vec<String> = params.iter().map(ToString::to_string).collect();
        let mut returns = None;
        let (mut kept, mut options) = (Vec::new(), Vec::new());
        let mut in_options = false;
        for line in text.lines() {
            if let Some(given) = line.strip_prefix("Signature: ") {
                signature = given.trim_matches('`').to_string();
                (typed, returns) = typed_parts(&signature).unwrap_or((typed, returns));
            } else if line.trim() == "Options:" {
                in_options = true;
            } else if let Some(option) = in_options.then(|| OptionEntry::parse(line)).flatten() {
                options.push(option);
            } else if let (true, Some(last)) = (in_options && line.starts_with(' '), options.last_mut()) {
                last.text = format!("{} {}", last.text, line.trim());
            } else {
                in_options = in_options && line.trim().is_empty();
                // Lines that were taken out leave no gap.
                if !line.is_empty() || kept.last().is_some_and(|last: &&str| !last.is_empty()) {
                    kept.push(line);
                }
            }
        }
        Self {
            path: format!("{space}::{name}"),
            name: name.to_string(),
            group: space.to_string(),
            form: "function",
            signature,
            params: typed,
            returns,
            summary: function::summary(doc),
            text: kept.join("\n").trim().to_string(),
            options_at: params.iter().position(|p| *p == "options").filter(|_| !options.is_empty()),
            options,
            words: Vec::new(),
            example,
            source: Some(source),
        }
    }
}

impl OptionEntry {
    fn declared(field: &Field) -> Self {
        let inner = (field.fields)().iter();
        Self { options: inner.map(Self::alone).collect(), ..Self::alone(field) }
    }

    /// Makes the entry without the options of its maps, which may be those of the whole again.
    fn alone(field: &Field) -> Self {
        Self {
            name: field.name.to_string(),
            label: (field.label)(),
            default: format!("{:?}", (field.default)()),
            allowed: (field.allowed)().describe(),
            words: match (field.allowed)() {
                Allowed::OneOf(words) => words.iter().map(ToString::to_string).collect(),
                _ => Vec::new(),
            },
            text: field.doc.split_whitespace().collect::<Vec<_>>().join(" "),
            options: Vec::new(),
            receives: field.receives,
            takes: field.takes,
        }
    }

    /// Reads ``- `name` (type, default): meaning``.
    fn parse(line: &str) -> Option<Self> {
        let (name, rest) = line.strip_prefix("- `")?.split_once("` (")?;
        let (inside, text) = rest.split_once("): ")?;
        let (label, default) = inside.split_once(", ")?;
        let owned = |s: &str| s.trim().trim_matches('`').to_string();
        Some(Self {
            name: owned(name),
            label: owned(label),
            default: owned(default),
            allowed: String::new(),
            words: Vec::new(),
            text: text.trim().to_string(),
            options: Vec::new(),
            receives: &[],
            takes: &[],
        })
    }
}

/// Splits a signature that is written in a comment, `sweep::run(points: array) -> table`, into parameters and result.
fn typed_parts(signature: &str) -> Option<(Vec<String>, Option<String>)> {
    let (call, returns) = match signature.rsplit_once(" -> ") {
        Some((call, returns)) => (call, Some(returns.to_string())),
        None => (signature, None),
    };
    let inside = call.split_once('(')?.1.strip_suffix(')')?;
    let params = inside.split(", ").filter(|param| !param.is_empty()).map(str::to_string);
    Some((params.collect(), returns))
}

/// Returns a line of a `///` comment without its slashes.
pub fn uncomment(line: &str) -> &str {
    let line = line.trim_start().trim_start_matches("///");
    line.strip_prefix(' ').unwrap_or(line)
}

/// Returns the type of an operator's first operand that is declared here: `2 * x` belongs to tensors.
fn operand(declaration: &Declaration) -> Option<&'static str> {
    declaration.params.iter().find_map(|p| (p.receiver)())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_of_a_script_function_becomes_an_entry() {
        let doc = "Runs it. Then more.\n\nSignature: `sweep::run(points: array) -> table`\n\nOptions:\n\
                   - `out` (string, `\"runs\"`): folder for\n  everything\n\nLast words.\n\n```rhai\nlet a = 1;\n```";
        let entry = Entry::scripted("sweep", "run", &["points"], doc, "std-lib/sweep.rhai");
        assert_eq!(entry.summary, "Runs it.");
        assert_eq!(entry.signature, "sweep::run(points: array) -> table");
        assert_eq!(
            (entry.params.join("; "), entry.returns.as_deref()),
            ("points: array".to_string(), Some("table"))
        );
        assert_eq!(entry.text, "Runs it. Then more.\n\nLast words.");
        assert_eq!(entry.example.as_deref(), Some("let a = 1;"));
        let expected = OptionEntry {
            name: "out".into(),
            label: "string".into(),
            default: "\"runs\"".into(),
            allowed: String::new(),
            words: Vec::new(),
            text: "folder for everything".into(),
            options: Vec::new(),
            receives: &[],
            takes: &[],
        };
        assert_eq!(entry.options, [expected]);
    }
}
