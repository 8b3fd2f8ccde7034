//! Everything that can be typed, with its documentation, for completion and help.

use std::collections::{BTreeMap, BTreeSet};

use super::entries::{self, Entry};
use super::names;
use crate::declare::function;

/// All functions, methods and properties: native, from std-lib, and of rhai itself.
pub struct Catalog {
    entries: Vec<Entry>,
}

impl Catalog {
    /// Collects all entries; this takes some milliseconds, so front ends keep the catalog.
    pub fn new() -> Self {
        let mut entries = entries::all();
        let known: BTreeSet<String> = entries.iter().map(|e| e.path.clone()).collect();
        entries.extend(of_the_language().into_iter().filter(|e| !known.contains(&e.path)));
        Self { entries }
    }

    /// Returns all entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the namespaces, each with its number of functions.
    pub fn spaces(&self) -> BTreeMap<&str, usize> {
        let mut spaces = BTreeMap::new();
        for entry in self.entries.iter().filter(|e| e.form == "function" && e.group != "global") {
            *spaces.entry(entry.group.as_str()).or_default() += 1;
        }
        spaces
    }

    /// Returns the functions of a namespace; for `global`, those without one.
    pub fn functions<'a>(&'a self, space: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |e| e.form == "function" && e.group == space)
    }

    /// Returns the methods and properties of a type, or of every type if `kind` is unknown.
    pub fn members<'a>(&'a self, kind: Option<&'a str>) -> impl Iterator<Item = &'a Entry> {
        let fits = move |e: &&Entry| match kind {
            _ if !matches!(e.form, "method" | "property") => false,
            // Members that every value has are included; lists show them last.
            Some(kind) => e.group == kind || e.group == "any",
            None => true,
        };
        self.entries.iter().filter(fits)
    }

    /// Returns the entry of a path such as `filter::gaussian`, `tensor.sum` or `print`.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.path == path)
    }

    /// Returns the methods with this name, of any type.
    pub fn methods_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |e| e.form == "method" && e.name == name)
    }

    /// Returns the entries that contain all words in name, summary, text or options, best match first.
    pub fn search(&self, words: &str) -> Vec<&Entry> {
        let words = words.to_lowercase();
        let words: Vec<&str> =
            words.split(|c: char| c.is_whitespace() || c == '-').filter(|w| !w.is_empty()).collect();
        if words.is_empty() {
            return Vec::new();
        }
        // The start of a word is enough, but its middle is not: `low` is no part of `flow`.
        let holds = |text: &str, word: &str| {
            text.match_indices(word).any(|(at, _)| !text[..at].ends_with(char::is_alphanumeric))
        };
        let weight = |entry: &Entry| -> Option<usize> {
            let options: Vec<&str> =
                entry.options.iter().flat_map(|o| [o.name.as_str(), o.text.as_str()]).collect();
            let places = [
                (8, entry.path.to_lowercase()),
                (4, entry.summary.to_lowercase()),
                (2, entry.text.to_lowercase()),
                (1, options.join(" ").to_lowercase()),
            ];
            words.iter().map(|word| places.iter().find(|(_, t)| holds(t, word)).map(|(w, _)| *w)).sum()
        };
        let mut found: Vec<(usize, &Entry)> =
            self.entries.iter().filter_map(|e| Some((weight(e)?, e))).collect();
        // A stable sort keeps equal matches in the order of the reference.
        found.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the type of an entry's result, the first one of several, or `None` if it is not known.
pub fn returns(entry: &Entry) -> Option<&str> {
    let word = entry.returns.as_deref()?.split([' ', '|', '[', '<']).next()?;
    (!word.is_empty() && word != "any").then_some(word)
}

/// Returns rhai's own functions and properties, as methods of their first parameter's type.
fn of_the_language() -> Vec<Entry> {
    let engine = rhai::Engine::new();
    let mut found: BTreeMap<String, Entry> = BTreeMap::new();
    let each = |info: rhai::FuncInfo| {
        let data = info.metadata;
        let first = data.param_types.first().map_or("any", names::type_word).to_string();
        let params: Vec<String> = data.params_info.iter().map(|p| names::clean(p)).collect();
        let lines = data.comments.iter().flat_map(|c| c.lines()).map(entries::uncomment);
        Some((data.name.to_string(), first, params, lines.collect::<Vec<_>>().join("\n")))
    };
    for (name, first, params, doc) in engine.collect_fn_metadata(None, each, true) {
        let (form, name) = match name.strip_prefix("get$") {
            Some("tag") => continue,
            Some(property) => ("property", property.to_string()),
            None => ("method", name),
        };
        let word = name.starts_with(|c: char| c.is_alphabetic()) && !name.contains('$');
        if !word || first == "other" {
            continue;
        }
        let (text, example) = doc.split_once("# Example").unwrap_or((&doc, ""));
        let example: Vec<&str> =
            example.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("```")).collect();
        let path = format!("{first}.{name}");
        let entry = Entry {
            name: name.clone(),
            group: first,
            form,
            signature: match form {
                "property" => path.clone(),
                _ => format!("{name}({})", params.join(", ")),
            },
            params: params.into_iter().skip(1).collect(),
            returns: None,
            summary: function::summary(text),
            text: text.trim().to_string(),
            options: Vec::new(),
            options_at: None,
            words: Vec::new(),
            example: (!example.is_empty()).then(|| example.join("\n")),
            source: None,
            path: path.clone(),
        };
        // Of several forms, the one with the longest explanation is kept.
        let better = found.get(&path).is_none_or(|old| old.text.len() < entry.text.len());
        if better {
            found.insert(path, entry);
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_scripted_and_built_in_functions_are_there() {
        let catalog = Catalog::new();
        for path in ["filter::gaussian", "sweep::run", "array.push", "tensor.matmul", "string.len"] {
            let entry = catalog.find(path).unwrap_or_else(|| panic!("{path} is missing"));
            assert!(!entry.summary.is_empty(), "{path} has no summary");
        }
        assert!(catalog.spaces().contains_key("tensor"));
    }

    #[test]
    fn entries_know_the_type_of_their_result() {
        let catalog = Catalog::new();
        let of = |path: &str| catalog.find(path).and_then(returns).map(str::to_string);
        assert_eq!(of("filter::gaussian").as_deref(), Some("filter"));
        assert_eq!(of("tensor::zeros").as_deref(), Some("tensor"));
    }

    #[test]
    fn a_search_finds_words_anywhere_and_names_first() {
        let catalog = Catalog::new();
        let found = catalog.search("gaussian");
        assert_eq!(found[0].path, "filter::gaussian");
        let low: Vec<&str> = catalog.search("low-pass").iter().map(|e| e.path.as_str()).collect();
        assert!(low.contains(&"filter::butterworth") && !low.contains(&"flow::sample"), "{low:?}");
        assert!(catalog.search("no such words here").is_empty());
    }
}
