//! `help()` and the pages of `spectral docs`, all made from the declarations.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::entries::{self, Entry, OptionEntry};
use super::names;
use crate::declare::Display;
use crate::error::{Error, Result, nearest};
use crate::functions;
use crate::scripted;

/// A page of documentation; a prompt shows it if it is a result.
#[derive(Debug, Clone)]
pub struct Help(pub String);

scripted!(Help, "help", |h| Display::text(h.0.trim_end()));

functions! { global;
    /// Explains a function, a namespace or a type, or lists the namespaces.
    ///
    /// The name may be a path such as `filter::gaussian`, a method with or without its type (`tensor.sum`, `sum`),
    /// a namespace or a type. Without a name it lists the namespaces. The result is shown at a prompt; in a script,
    /// print it.
    ///
    /// ```rhai
    /// assert(help("tensor::zeros").to_string().contains("zeros(shape"), "a signature");
    /// ```
    fn help(name: Option<String>) -> Help {
        let page = match name {
            None => overview(80, false),
            Some(name) => page(&name, 80, false)?,
        };
        Ok(Help(page))
    }
}

/// Lists the functions whose documentation contains all the words, one per line.
pub fn search(words: &str, width: usize, colour: bool) -> Result<String> {
    let catalog = super::catalog::Catalog::new();
    let found: Vec<Entry> = catalog.search(words).into_iter().take(30).cloned().collect();
    if found.is_empty() {
        return Err(
            Error::argument(format!("no documentation has the words `{words}`")).hint("try fewer words")
        );
    }
    Ok(format!("{}\n{}", bold(&format!("about {words}"), colour), lines(&found, width)))
}

/// Returns the source of a std-lib function with its documentation; native code is an error.
pub fn source(name: &str) -> Result<String> {
    let wanted = name.trim().trim_end_matches("()");
    let (space, function) = wanted.rsplit_once("::").unwrap_or(("", wanted));
    let library = super::std_lib::LIBRARIES.iter().find(|l| l.name == space);
    let start = library.and_then(|l| l.text.find(&format!("\nfn {function}(")).map(|i| (l, i + 1)));
    let Some((library, start)) = start else {
        // The name must exist in any case.
        page(wanted, 80, false)?;
        return Err(Error::argument(format!("`{wanted}` is native code, so there is no script to show"))
            .hint(format!("`?{wanted}` explains it")));
    };
    let documented = library.text[..start].rfind("\n\n").map_or(0, |i| i + 2);
    let end = library.text[start..].find("\n}").map_or(library.text.len(), |i| start + i + 2);
    Ok(format!("// {}\n{}", library.file, &library.text[documented..end]))
}

/// Returns the page of a function in Markdown, or `None` if it is not one of our functions.
pub fn markdown(name: &str) -> Option<String> {
    let found = find(name.trim().trim_end_matches("()"));
    let pages: Vec<String> = found.iter().map(super::reference::entry).collect();
    // Notebook viewers do not know the language `rhai`, and would print the word.
    (!pages.is_empty()).then(|| pages.join("\n").replace("```rhai", "```rust").replace("```text", "```"))
}

/// Returns the example of a page.
pub fn example(name: &str) -> Option<String> {
    find(name.trim().trim_end_matches("()")).into_iter().find_map(|e| e.example)
}

fn groups() -> BTreeMap<String, Vec<Entry>> {
    let mut groups: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for entry in entries::all() {
        groups.entry(entry.group.clone()).or_default().push(entry);
    }
    let rank =
        |entry: &Entry| ["function", "property", "method"].iter().position(|f| *f == entry.form).unwrap_or(3);
    groups.values_mut().for_each(|members: &mut Vec<Entry>| members.sort_by_key(rank));
    groups
}

/// Lists all functions by namespace, one per line.
pub fn list(width: usize, colour: bool) -> String {
    let mut out = String::new();
    for (name, members) in groups() {
        let _ = writeln!(out, "{}\n{}", bold(&name, colour), lines(&members, width));
    }
    let _ = writeln!(out, "`spectral docs NAME` explains one of them, such as `spectral docs tensor::zeros`");
    out
}

/// Lists the namespaces and types, one per line.
pub fn overview(width: usize, colour: bool) -> String {
    let mut out = String::from("help(\"name\") explains a function, a type or a namespace:\n\n");
    let groups = groups();
    let widest = groups.keys().map(String::len).max().unwrap_or(0);
    for (name, members) in &groups {
        let mut names: Vec<&str> = members.iter().map(Entry::label).collect();
        names.dedup();
        let start = format!("  {}{}  ", bold(name, colour), " ".repeat(widest - name.len()));
        let room = width.saturating_sub(widest + 4);
        let _ = writeln!(out, "{start}{}", cut(&names.join(", "), room));
    }
    out
}

/// Returns the page of a function, or the list of a namespace or type.
pub fn page(name: &str, width: usize, colour: bool) -> Result<String> {
    let wanted = name.trim().trim_end_matches("()");
    if wanted == "places" {
        return Ok(crate::model::parts::place::page());
    }
    let groups = groups();
    if let Some(members) = groups.get(wanted) {
        return Ok(format!("{}\n{}", bold(wanted, colour), lines(members, width)));
    }
    let mut pages: Vec<String> = find(wanted).iter().map(|e| entry(e, width, colour)).collect();
    pages.extend(built_in(wanted, width, colour));
    if !pages.is_empty() {
        return Ok(pages.join("\n"));
    }
    let known: Vec<String> = entries::all().into_iter().map(|e| e.path).collect();
    let last = |path: &str| path.rsplit([':', '.']).next().unwrap_or(path).to_string();
    let names: Vec<String> = known.iter().map(|k| last(k)).collect();
    let near = nearest(wanted, known.iter().map(String::as_str).chain(groups.keys().map(String::as_str)))
        .map(str::to_string)
        .or_else(|| {
            let near = nearest(&last(wanted), names.iter().map(String::as_str))?;
            names.iter().position(|n| n == near).map(|i| known[i].clone())
        });
    let error = Error::argument(format!("unknown name `{wanted}`"));
    Err(match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`spectral docs` lists all functions"),
    })
}

/// Returns the page of a function built into rhai, such as `push` or `split`.
fn built_in(name: &str, width: usize, colour: bool) -> Option<String> {
    let engine = rhai::Engine::new();
    let found = |info: rhai::FuncInfo| {
        let data = info.metadata;
        let params: Vec<String> = data.params_info.iter().map(|p| names::clean(p)).collect();
        let doc: Vec<&str> = data.comments.iter().flat_map(|c| c.lines()).map(entries::uncomment).collect();
        (data.name == name).then(|| (format!("{name}({})", params.join(", ")), doc.join("\n")))
    };
    let mut forms = engine.collect_fn_metadata(None, found, true);
    forms.sort();
    forms.dedup();
    // One explanation is enough for all forms: the longest.
    let doc = forms.iter().map(|(_, doc)| doc.as_str()).max_by_key(|doc| doc.len())?;
    let mut out = String::new();
    for (signature, _) in &forms {
        let _ = writeln!(out, "{}", bold(signature, colour));
    }
    let _ = writeln!(out, "\n{}", wrap("A function of the language itself.", width));
    let (text, code) = doc.split_once("# Example").unwrap_or((doc, ""));
    for paragraph in text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let _ = writeln!(out, "\n{}", wrap(paragraph, width));
    }
    let code: Vec<&str> = code.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("```")).collect();
    if !code.is_empty() {
        let _ = writeln!(out, "\n{}\n  {}", bold("example", colour), code.join("\n  "));
    }
    Some(out)
}

/// Returns the entries with that path, or with that name in any namespace or type.
pub fn find(name: &str) -> Vec<Entry> {
    let all = entries::all();
    let exact: Vec<Entry> = all.iter().filter(|e| e.path == name).cloned().collect();
    match exact.is_empty() {
        true => all.into_iter().filter(|e| e.name == name || e.label() == name).collect(),
        false => exact,
    }
}

fn lines(members: &[Entry], width: usize) -> String {
    // A namespace and a type may share a name, so a list shows how each function is called.
    let label = |entry: &Entry| match entry.form {
        "method" => format!(".{}()", entry.label()),
        "property" => format!(".{}", entry.label()),
        "operator" => entry.label().to_string(),
        _ if entry.group == "global" => format!("{}()", entry.label()),
        _ => format!("{}()", entry.path),
    };
    let widest = members.iter().map(|e| label(e).chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for entry in members {
        let room = width.saturating_sub(widest + 4);
        let _ = writeln!(out, "  {:widest$}  {}", label(entry), cut(&entry.summary, room));
    }
    out
}

fn entry(entry: &Entry, width: usize, colour: bool) -> String {
    let mut out = format!("{}\n\n", bold(&entry.signature, colour));
    for paragraph in entry.text.split("\n\n").filter(|p| !p.trim().is_empty()) {
        let _ = writeln!(out, "{}\n", wrap(paragraph, width));
    }
    if !entry.options.is_empty() {
        let _ = writeln!(out, "{}\n{}", bold("options", colour), options(&entry.options, width));
    }
    if let Some(example) = &entry.example {
        let _ = writeln!(out, "{}", bold("example", colour));
        for line in example.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

fn options(options: &[OptionEntry], width: usize) -> String {
    let mut out = String::new();
    let widest = options.iter().map(|o| o.name.len()).max().unwrap_or(0);
    for OptionEntry { name, label, default, allowed, text, .. } in options {
        let comma = if allowed.is_empty() { "" } else { ", " };
        let _ = writeln!(out, "  {name:widest$}  {label} = {default}{comma}{allowed}");
        let indent = " ".repeat(widest + 4);
        for line in wrap(text, width.saturating_sub(indent.len()).max(30)).lines() {
            let _ = writeln!(out, "{indent}{line}");
        }
    }
    out
}

/// Wraps a paragraph to lines of at most `width` characters; lists and tables keep their lines.
fn wrap(paragraph: &str, width: usize) -> String {
    if paragraph.lines().any(|l| l.trim_start().starts_with(['-', '|', '*'])) {
        return paragraph.to_string();
    }
    let (mut out, mut length) = (String::new(), 0);
    for word in paragraph.split_whitespace() {
        let size = word.chars().count();
        if length > 0 && length + 1 + size > width {
            out.push('\n');
            length = 0;
        } else if length > 0 {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += size;
    }
    out
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width.max(10) {
        true => text.chars().take(width.max(10) - 2).collect::<String>() + "..",
        false => text.to_string(),
    }
}

fn bold(text: &str, colour: bool) -> String {
    if colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_leads_to_the_nearest() {
        let error = page("tensor::zeors", 80, false).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `tensor::zeros`?"));
    }

    #[test]
    fn a_method_is_found_without_its_type() {
        assert!(find("sum").iter().any(|e| e.path == "tensor.sum"));
    }

    #[test]
    fn functions_of_the_language_are_explained() {
        let page = page("push", 80, false).unwrap();
        assert!(page.contains("push(array: array, item)\n") && page.contains("end of the array"), "{page}");
    }

    #[test]
    fn paragraphs_are_wrapped() {
        assert_eq!(wrap("one two three", 8), "one two\nthree");
    }
}
