//! Completion: candidates at the cursor with a description of each, for every front end, without running code.

mod closures;
mod infer;
mod topic;

use std::path::Path;

use super::commands;
use super::tokens::{self, Kind, Token, is_word};
use crate::script::catalog::Catalog;
use crate::script::entries::{Entry, OptionEntry};

pub use infer::Known;
pub use topic::{Question, Topic, of_name, question, topic};

/// A variable as seen by completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Name of the variable.
    pub name: String,
    /// Type, as named by `type_of`.
    pub kind: String,
    /// Description of type and shape: `tensor [2, 3] float32`.
    pub about: String,
    /// Keys of a map.
    pub keys: Vec<String>,
}

/// A function defined by the user, or a function of an imported script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defined {
    /// Name of the import; empty for functions of cells.
    pub space: String,
    /// Name of the function.
    pub name: String,
    /// Names of the parameters.
    pub params: Vec<String>,
    /// Its comment, as it stands in the text; empty if there is none.
    pub doc: String,
}

impl Defined {
    /// Returns the name with that of its import.
    pub fn path(&self) -> String {
        crate::script::names::path(&self.space, &self.name)
    }

    /// Returns its signature and its documentation.
    pub fn about(&self) -> String {
        let line =
            |line: &str| line.trim().trim_start_matches(['/', '*', ' ']).trim_end_matches("*/").to_string();
        let doc: Vec<String> = self.doc.lines().map(line).collect();
        let origin = if self.space.is_empty() { "defined here" } else { "from an imported script" };
        let text = format!("{}({}), {origin}\n\n{}", self.path(), self.params.join(", "), doc.join("\n"));
        text.trim_end().to_string()
    }
}

/// State of a session, as far as completion uses it.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Variables.
    pub variables: Vec<Variable>,
    /// Functions of cells and imports.
    pub functions: Vec<Defined>,
    /// Base folder of paths in strings.
    pub folder: std::path::PathBuf,
}

/// Type of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A variable.
    Variable,
    /// A function or method.
    Function,
    /// A property of a value, or a key of a map.
    Property,
    /// A namespace.
    Namespace,
    /// A key of an option map.
    Option,
    /// A permitted value.
    Value,
    /// A keyword.
    Keyword,
    /// A file or folder.
    Path,
    /// A command of the REPL.
    Command,
}

/// A completion candidate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Text that replaces the text from [`Completion::start`] to the cursor.
    pub text: String,
    /// Name in a list.
    pub label: String,
    /// Type of the candidate.
    pub sort: Sort,
    /// One sentence, or the type of a variable.
    pub about: String,
}

/// Candidates, and the start in bytes of the text that they replace.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Start of the text that a candidate replaces.
    pub start: usize,
    /// Candidates, best first.
    pub candidates: Vec<Candidate>,
}

/// Returns the candidates at a byte position of the text.
pub fn complete(text: &str, cursor: usize, catalog: &Catalog, around: &Surroundings) -> Completion {
    let before = text.get(..cursor).unwrap_or(text);
    let word =
        before.rfind(|c| !is_word(c)).map_or(0, |i| i + before[i..].chars().next().map_or(1, char::len_utf8));
    let given = &before[word..];
    let done = |start: usize, candidates: Vec<Candidate>| Completion { start, candidates };

    if let Some(line) = before.trim_start().strip_prefix(':') {
        return command(before, line, given, word, catalog, around);
    }
    if before.trim_start().starts_with('?') {
        return topics(before, catalog);
    }
    let found = tokens::tokens(before);
    if let Some(last) = found.last() {
        match last.kind {
            Kind::Comment if last.end() == cursor => return Completion::default(),
            Kind::Text(false) => return text_value(&found, before, catalog, around),
            _ => {}
        }
    }
    // Tokens before the word being typed.
    let left: Vec<Token> = found.into_iter().filter(|t| t.end() <= word).collect();
    match left.last().map(|t| t.text) {
        Some("::") => {
            let space = left.get(left.len().wrapping_sub(2)).map_or("", |t| t.text);
            let mut list: Vec<Candidate> = catalog.functions(space).map(function).collect();
            let imported = around.functions.iter().filter(|f| f.space == space && !space.is_empty());
            list.extend(imported.map(defined));
            done(word, starting(list, given))
        }
        Some("." | "?.") => done(word, starting(members(&left[..left.len() - 1], catalog, around), given)),
        // A name after these words is a new name.
        Some("let" | "const" | "fn" | "as") => Completion::default(),
        _ => match option_map(&left, catalog, around) {
            Some(Place::Key(options)) => done(word, starting(options.iter().map(option).collect(), given)),
            Some(Place::Value(option)) => {
                let mut list: Vec<Candidate> = values(&option, true);
                list.extend(words(&left, given, catalog, around));
                done(word, starting(list, given))
            }
            None if given.is_empty() && left.last().is_some_and(|t| matches!(t.kind, Kind::Number)) => {
                Completion::default()
            }
            None => done(word, starting(words(&left, given, catalog, around), given)),
        },
    }
}

/// Returns the candidates that start with the typed text; if there are none, those that contain it.
fn starting(list: Vec<Candidate>, given: &str) -> Vec<Candidate> {
    let lower = given.to_lowercase();
    let starts = |c: &Candidate| c.label.to_lowercase().starts_with(&lower);
    let (mut found, rest): (Vec<_>, Vec<_>) = list.into_iter().partition(starts);
    if found.is_empty() && given.chars().count() >= 3 {
        found = rest.into_iter().filter(|c| c.label.to_lowercase().contains(&lower)).collect();
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|c| seen.insert(c.text.clone()));
    found
}

fn variable(variable: &Variable) -> Candidate {
    let Variable { name, about, .. } = variable;
    Candidate { text: name.clone(), label: name.clone(), sort: Sort::Variable, about: about.clone() }
}

fn function(entry: &Entry) -> Candidate {
    let bare = entry.params.is_empty();
    let text = match entry.form {
        "property" => entry.name.clone(),
        _ if bare => format!("{}()", entry.name),
        _ => format!("{}(", entry.name),
    };
    let sort = if entry.form == "property" { Sort::Property } else { Sort::Function };
    Candidate { text, label: entry.name.clone(), sort, about: entry.summary.clone() }
}

fn defined(function: &Defined) -> Candidate {
    let open = if function.params.is_empty() { "()" } else { "(" };
    Candidate {
        text: format!("{}{open}", function.name),
        label: function.name.clone(),
        sort: Sort::Function,
        about: function.about().lines().take(3).collect::<Vec<_>>().join(" ").trim_end().to_string(),
    }
}

fn option(option: &OptionEntry) -> Candidate {
    let OptionEntry { name, label, default, text, .. } = option;
    Candidate {
        text: format!("{name}: "),
        label: name.clone(),
        sort: Sort::Option,
        about: format!("{label} = {default}: {text}"),
    }
}

/// Returns the values named in the declaration of an option.
fn values(option: &OptionEntry, quoted: bool) -> Vec<Candidate> {
    let value = |text: String, label: String| Candidate {
        text,
        label,
        sort: Sort::Value,
        about: format!("{}: {}", option.name, option.text),
    };
    let mut words = option.words.clone();
    if option.label.contains("bool") {
        return ["true", "false"].map(|w| value(w.to_string(), w.to_string())).to_vec();
    }
    if option.name == "preset" && words.is_empty() {
        words = <crate::model::presets::Size as crate::declare::Choice>::NAMES
            .iter()
            .map(ToString::to_string)
            .collect();
    }
    if option.name == "device" && words.is_empty() {
        words = vec!["cpu".to_string(), "cuda".to_string()];
    }
    let quote = |w: String| if quoted { value(format!("\"{w}\""), w) } else { value(w.clone(), w) };
    words.into_iter().map(quote).collect()
}

fn members(left: &[Token], catalog: &Catalog, around: &Surroundings) -> Vec<Candidate> {
    let known = infer::before(left, catalog, around);
    let mut list = Vec::new();
    if let Some(known) = &known {
        let key = |k: &String| Candidate {
            text: k.clone(),
            label: k.clone(),
            sort: Sort::Property,
            about: "a key of this map".to_string(),
        };
        list.extend(known.keys.iter().map(key));
    }
    let kind = known.as_ref().map(|k| k.kind.as_str());
    let (mut own, any): (Vec<&Entry>, Vec<&Entry>) = catalog.members(kind).partition(|e| e.group != "any");
    own.sort_by_key(|e| e.form != "property");
    list.extend(own.into_iter().chain(any).map(function));
    list
}

/// Returns variables, functions, namespaces and, once a letter is typed, keywords.
fn words(left: &[Token], given: &str, catalog: &Catalog, around: &Surroundings) -> Vec<Candidate> {
    let local = |name: &str| Candidate {
        text: name.to_string(),
        label: name.to_string(),
        sort: Sort::Variable,
        about: "declared in this text".to_string(),
    };
    let mut list: Vec<Candidate> = infer::locals(left).into_iter().rev().map(local).collect();
    list.extend(around.variables.iter().rev().map(variable));
    list.extend(around.functions.iter().filter(|f| f.space.is_empty()).map(defined));
    let space = |name: &str, about: String| Candidate {
        text: format!("{name}::"),
        label: name.to_string(),
        sort: Sort::Namespace,
        about,
    };
    let mut imports: Vec<&str> =
        around.functions.iter().map(|f| f.space.as_str()).filter(|s| !s.is_empty()).collect();
    imports.dedup();
    list.extend(imports.into_iter().map(|name| space(name, "an imported script".to_string())));
    list.extend(catalog.spaces().into_iter().filter(|(name, _)| *name != "any").map(|(name, count)| {
        let first: Vec<&str> = catalog.functions(name).take(6).map(|e| e.name.as_str()).collect();
        let more = if count > first.len() { ", .." } else { "" };
        space(name, format!("{} functions: {}{more}", count, first.join(", ")))
    }));
    list.extend(catalog.functions("global").map(function));
    let keyword = |w: &&str| Candidate {
        text: w.to_string(),
        label: w.to_string(),
        sort: Sort::Keyword,
        about: "a word of the language".to_string(),
    };
    list.extend(tokens::KEYWORDS.iter().filter(|_| !given.is_empty()).map(keyword));
    list
}

enum Place {
    /// A key is expected: the options that are not set yet.
    Key(Vec<OptionEntry>),
    /// The value of this option is expected.
    Value(OptionEntry),
}

/// Returns the place in an option map at which the tokens end, if they end in one.
fn option_map(left: &[Token], catalog: &Catalog, around: &Surroundings) -> Option<Place> {
    let open = innermost(left)?;
    if left[open].text != "#{" {
        return None;
    }
    let options = options_of(left, open, catalog, around)?;
    let inside = &left[open + 1..];
    // Only keys at the depth of the map itself count.
    let (mut depth, mut keys, mut key) = (0usize, Vec::new(), None);
    for (i, token) in inside.iter().enumerate() {
        match token.text {
            _ if token.kind == Kind::Comment => {}
            "(" | "[" | "{" | "#{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," if depth == 0 => key = None,
            ":" if depth == 0 && i > 0 => {
                key = Some(inside[i - 1].text);
                keys.push(inside[i - 1].text);
            }
            _ => {}
        }
    }
    match key {
        Some(key) => {
            let fresh = inside.last().is_some_and(|t| t.text == ":");
            let option = options.iter().find(|o| o.name == key)?;
            fresh.then(|| Place::Value(option.clone()))
        }
        None => {
            let free = options.iter().filter(|o| !keys.contains(&o.name.as_str()));
            Some(Place::Key(free.cloned().collect()))
        }
    }
}

/// Returns the options of the map that opens at a token: an argument, the value of an option, or an entry of an
/// array there.
fn options_of(
    left: &[Token],
    open: usize,
    catalog: &Catalog,
    around: &Surroundings,
) -> Option<Vec<OptionEntry>> {
    let outer = innermost(&left[..open])?;
    let (outer, value) = match left[outer].text {
        "(" => return Some(infer::callee(&left[..outer], catalog, around)?.options.clone()),
        "[" => (innermost(&left[..outer])?, outer),
        _ => (outer, open),
    };
    let (colon, before) = left[..value].split_last()?;
    if left[outer].text != "#{" || colon.text != ":" {
        return None;
    }
    let mut options = options_of(left, outer, catalog, around)?.into_iter();
    let inner = options.find(|o| before.last().is_some_and(|key| key.text == o.name))?.options;
    (!inner.is_empty()).then_some(inner)
}

/// Returns the index of the innermost bracket that is still open at the end of the tokens.
fn innermost(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().rev().filter(|(_, t)| t.kind == Kind::Symbol) {
        match token.text {
            ")" | "]" | "}" => depth += 1,
            "(" | "[" | "{" | "#{" | "?[" if depth == 0 => return Some(i),
            "(" | "[" | "{" | "#{" | "?[" => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Completes inside a string: permitted values of an option, help topics, or paths.
fn text_value(found: &[Token], before: &str, catalog: &Catalog, around: &Surroundings) -> Completion {
    let Some((open, left)) = found.split_last() else { return Completion::default() };
    let (start, given) = (open.start + 1, &before[open.start + 1..]);
    if let Some(Place::Value(option)) = option_map(left, catalog, around) {
        let list = values(&option, false);
        if !list.is_empty() {
            return Completion { start, candidates: starting(list, given) };
        }
    }
    if let [.., name, bracket] = left
        && bracket.text == "("
    {
        let of = |e: &&Entry| e.name == name.text;
        let first = |e: &Entry| e.words.iter().find(|(i, _)| *i == 0).map(|(_, words)| words.clone());
        let words = catalog.entries().iter().filter(of).find_map(first).unwrap_or_default();
        if !words.is_empty() {
            let value =
                |w: String| Candidate { text: w.clone(), label: w, sort: Sort::Value, about: String::new() };
            return Completion { start, candidates: starting(words.into_iter().map(value).collect(), given) };
        }
    }
    if let [.., name, bracket] = left
        && (name.text, bracket.text) == ("help", "(")
    {
        return Completion { start, candidates: topic_list(given, catalog) };
    }
    paths(given, start, &around.folder, "")
}

/// Completes paths; folders end with a slash and come first.
fn paths(given: &str, start: usize, folder: &Path, extension: &str) -> Completion {
    let cut = given.rfind('/').map_or(0, |i| i + 1);
    let (parent, name) = given.split_at(cut);
    let home = || etcetera::home_dir().ok();
    let parent = match parent.strip_prefix("~/") {
        Some(rest) => home().map(|h| h.join(rest)).unwrap_or_default(),
        None => folder.join(parent),
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".").to_path_buf() } else { parent };
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut list: Vec<Candidate> = entries
        .filter_map(|entry| {
            let file = entry.file_name().to_string_lossy().to_string();
            let is_folder = entry.path().is_dir();
            let hidden = file.starts_with('.') && !name.starts_with('.');
            let fits = is_folder || file.ends_with(extension);
            (!hidden && fits && file.starts_with(name)).then(|| Candidate {
                text: if is_folder { format!("{file}/") } else { file.clone() },
                label: file,
                sort: Sort::Path,
                about: if is_folder { "a folder".to_string() } else { String::new() },
            })
        })
        .collect();
    list.sort_by(|a, b| a.text.cmp(&b.text));
    Completion { start: start + cut, candidates: list }
}

/// Completes help topics, for `?na` and `:doc na`.
fn topics(before: &str, catalog: &Catalog) -> Completion {
    let given = before.trim_start().trim_start_matches('?').trim_start();
    Completion { start: before.len() - given.len(), candidates: topic_list(given, catalog) }
}

fn topic_list(given: &str, catalog: &Catalog) -> Vec<Candidate> {
    let topic = |text: &str, about: &str, sort| Candidate {
        text: text.to_string(),
        label: text.to_string(),
        sort,
        about: about.to_string(),
    };
    let entries = catalog.entries().iter().filter(|e| e.form != "operator");
    let mut list: Vec<Candidate> = entries.map(|e| topic(&e.path, &e.summary, Sort::Function)).collect();
    // First the namespaces, then their content.
    if !given.contains([':', '.']) {
        let spaces = catalog.spaces().into_iter();
        let about = |n: usize| format!("a namespace of {n} functions");
        let spaces = spaces.map(|(name, n)| topic(name, &about(n), Sort::Namespace)).collect();
        let close = starting(spaces, given);
        let global = |c: &Candidate| !c.label.contains([':', '.']);
        let rest = starting(list.iter().filter(|c| global(c)).cloned().collect(), given);
        let short: Vec<Candidate> = close.into_iter().chain(rest).collect();
        if !short.is_empty() {
            return short;
        }
    }
    list = starting(list, given);
    list
}

fn command(
    before: &str,
    line: &str,
    given: &str,
    word: usize,
    catalog: &Catalog,
    around: &Surroundings,
) -> Completion {
    let Some((name, rest)) = line.split_once(char::is_whitespace) else {
        let candidate = |c: &commands::Command| Candidate {
            text: if c.argument.is_empty() { c.name.to_string() } else { format!("{} ", c.name) },
            label: c.name.to_string(),
            sort: Sort::Command,
            about: c.summary.to_string(),
        };
        let list = commands::COMMANDS.iter().map(candidate).collect();
        return Completion { start: word, candidates: starting(list, given) };
    };
    let start = before.len() - rest.trim_start().len();
    let rest = rest.trim_start();
    match commands::find(name).map(|c| c.takes) {
        Ok(commands::Takes::Code) => {
            let inner = complete(rest, rest.len(), catalog, around);
            Completion { start: start + inner.start, ..inner }
        }
        Ok(commands::Takes::Topic) => Completion { start, candidates: topic_list(rest, catalog) },
        Ok(commands::Takes::Names) => {
            let list = around.variables.iter().rev().map(variable).collect();
            Completion { start: word, candidates: starting(list, given) }
        }
        Ok(commands::Takes::Script) => paths(rest, start, &around.folder, ".rhai"),
        Ok(commands::Takes::File) => paths(rest, start, &around.folder, ""),
        _ => Completion::default(),
    }
}

/// Returns the parameters of the call whose parenthesis was just opened, such as `options: map)`.
pub fn signature(text: &str, cursor: usize, catalog: &Catalog, around: &Surroundings) -> Option<String> {
    let before = text.get(..cursor)?;
    let name = before.strip_suffix('(')?;
    let entry = infer::callee(&tokens::tokens(name), catalog, around)?;
    let returns = entry.returns.as_ref().map(|word| format!(" -> {word}")).unwrap_or_default();
    Some(format!("{}){returns}", entry.params.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let variable = |name: &str, kind: &str, keys: &[&str]| Variable {
            name: name.to_string(),
            kind: kind.to_string(),
            about: format!("{kind} of the test"),
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        let around = Surroundings {
            variables: vec![
                variable("net", "model", &[]),
                variable("noise", "tensor", &[]),
                variable("made", "map", &["images", "labels"]),
            ],
            functions: vec![Defined {
                space: String::new(),
                name: "mine".to_string(),
                params: vec!["a".to_string()],
                doc: String::new(),
            }],
            folder: "src".into(),
        };
        let found = complete(text, text.len(), &Catalog::new(), &around);
        assert!(found.start <= text.len());
        found.candidates.into_iter().map(|c| c.label).collect()
    }

    fn has(text: &str, label: &str) -> bool {
        labels(text).iter().any(|l| l == label)
    }

    #[test]
    fn every_place_has_its_own_candidates() {
        assert_eq!(labels("filter::gau"), ["gaussian"]);
        assert!(has("n", "net") && has("let x = mi", "mine") && has("fil", "filter"));
        assert!(has("net.for", "forward") && !has("net.mat", "matmul"));
        assert!(has("(noise + 1).", "shape") || has("noise.", "shape"));
        assert!(has("made.", "images"));
        assert!(has("tensor::zeros([2]).", "matmul"), "the type of a call's result");
        assert!(has("let a = tensor::rand([2]);\na.", "matmul"), "a variable of the same cell");
        assert!(has("net.forward(noise, noise, noise).", "matmul"));
        assert_eq!(labels("let local_noise = 1;\nlocal_n"), ["local_noise"]);
        assert_eq!(labels("fn f(alpha_one, beta) { alpha_"), ["alpha_one"]);
        assert_eq!(labels("for (entry_a, i) in [1] { entry_"), ["entry_a"]);
        assert_eq!(labels("[1].map(|entry_b, i| entry_"), ["entry_b"]);
        assert_eq!(labels("let ne"), Vec::<String>::new());
        assert_eq!(labels("1 + 1 // fil"), Vec::<String>::new());
    }

    #[test]
    fn options_and_their_values_are_known_inside_a_map() {
        assert_eq!(labels("filter::gaussian(#{ "), ["sigma"]);
        assert!(!has("train::fit(net, x, #{ steps: 3, ", "steps"), "a key that is there is not offered");
        assert!(has("train::fit(net, x, #{ steps: 3, ", "lr"));
        assert!(has("model::dit(#{ preset: ", "fashion_tiny"));
        assert!(has("model::dit(#{ preset: \"fash", "fashion_tiny"));
        assert!(has("model::dit(#{ corrections: [correction(fil", "filter"));
        assert_eq!(labels("train::fit(net, x, #{ ema: #{ de"), ["decay"]);
        assert_eq!(labels("train::fit(net, x, #{ lr: 1e-3, ema: [0.9, #{ decay: 0.5, wa"), ["warmup"]);
        assert_eq!(labels("train::fit(net, x, #{ groups: [#{ match: \"*\", weight"), ["weight_decay"]);
        assert!(!has("train::fit(net, x, #{ ema: [#{ decay: ", "lr"), "a value is no key");
    }

    #[test]
    fn builders_calls_and_the_maps_of_a_loss_are_known_in_closures() {
        let part = "let own = nn::part(|b| { let gate = b.linear(\"gate\", b.width, 2);\n |x, c| ";
        assert!(has("nn::part(|b| b.lin", "linear") && has("nn::part(|b| b.", "width"));
        assert!(!has("nn::part(|b| b.", "matmul"), "a builder has the methods of builders alone");
        assert!(has(&format!("{part}c."), "stream") && has(&format!("{part}c.ke"), "keep"));
        assert!(has(&format!("{part}c.time."), "matmul"), "the type of a fact");
        assert!(has(&format!("{part}gate.for"), "forward") && has(&format!("{part}gate."), "parameters"));
        assert!(has(&format!("{part}{{ let g = gate.forward(c.time);\ng."), "matmul"));
        assert!(has("nn::model(#{ make: |b| { |x, t, y, c| c.k", "keep"));
        assert_eq!(labels("gate::custom(|b| |c| c.bo"), ["both"]);
        assert!(has("train::fit(net, x, #{ loss: |s| (s.", "also") && has("let loss = |s| s.tar", "target"));
        assert!(has("train::fit(net, x, #{ loss: |s| (s.v - s.target).squ", "square"));
        assert!(has("train::fit(net, x, #{ loss: |s| s.model.for", "forward"));
        assert_eq!(labels("train::fit(net, x, #{ on_step: |s| s.grad"), ["grad_norm"]);
        assert_eq!(labels("train::fit(net, x, #{ score: |s| s.avera"), ["averages"]);
    }

    #[test]
    fn strings_help_and_commands_complete() {
        assert!(has("tensor::load(\"ses", "session"));
        assert!(has("?filter::g", "filter::gaussian") && has(":doc filter::g", "filter::gaussian"));
        assert!(has(":forget ne", "net") && !has(":forget ne", "noise"));
        assert!(has(":ti", "time") && has(":time filter::gau", "gaussian"));
        assert_eq!(labels("?filter::gauss"), ["filter::gaussian"]);
    }

    #[test]
    fn an_open_call_shows_its_parameters() {
        let catalog = Catalog::new();
        let text = "filter::gaussian(";
        let shown = signature(text, text.len(), &catalog, &Surroundings::default());
        assert!(shown.is_some_and(|s| s.contains("options")));
    }
}
