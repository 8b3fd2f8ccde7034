//! `help()` and the pages of `spectral docs`, all made from the declarations.

use std::collections::BTreeMap;

use rhai::NativeCallContext;

use super::entries::{self, Entry, OptionEntry};
use super::failure::{At, raise_in};
use super::names;
use crate::declare::{Declaration, Display};
use crate::document::{Block, Cell, Column, Document, Line, Look, Role, Table};
use crate::error::{Error, Result, nearest};
use crate::functions;
use crate::scripted;

/// A page of documentation; a prompt shows it if it is a result.
#[derive(Debug, Clone)]
pub struct Help(pub Document);

scripted!(Help, "help", |h| Display::of(&h.0), document = |h, _| h.0.clone());

functions! { script global;
    /// Explains a function, a namespace or a type, or lists the namespaces.
    ///
    /// The name may be a path such as `filter::gaussian`, a method with or without its type (`tensor.sum`, `sum`),
    /// a namespace or a type. For words that are no name it lists the functions whose documentation has all of them.
    /// Without a name it lists the namespaces. The result is shown at a prompt; in a script, print it.
    ///
    /// ```rhai
    /// assert(help("tensor::zeros").to_string().contains("zeros(shape"), "a signature");
    /// assert(help("nearest neighbor").to_string().contains("eval::precision_recall()"), "a search");
    /// ```
    fn help(name: Option<String>) -> Help {
        let page = match name {
            None => overview(80),
            Some(name) => page(&name, 80)?,
        };
        Ok(Help(page))
    }
}

/// Makes `help` of an engine explain functions of a Rust program too.
pub fn add(engine: &mut rhai::Engine, functions: &[&'static Declaration]) {
    let own: Vec<Entry> = functions.iter().map(|declaration| Entry::declared(declaration)).collect();
    if own.is_empty() {
        return;
    }
    engine.register_fn("help", move |call: NativeCallContext, name: &str| {
        let wanted = name.trim().trim_end_matches("()");
        let of_group: Vec<Entry> = own.iter().filter(|e| e.group == wanted).cloned().collect();
        let found = match own.iter().find(|e| e.path == wanted) {
            Some(found) => Ok(entry(found, 80)),
            None if of_group.is_empty() => page(name, 80),
            None => Ok(group(wanted, &of_group, 80)),
        };
        found.map(Help).map_err(|error| raise_in(error, "help", At::of(&call)))
    });
}

/// Number of functions that a search shows.
const FOUND: usize = 30;

/// Number of functions that the page of a word shows which is no name.
const BEST: usize = 10;

/// Lists the functions whose documentation contains all the words, one per line.
pub fn search(words: &str, width: usize) -> Result<Document> {
    let title = format!("about {words}");
    found(words, &title, FOUND, width).ok_or_else(|| {
        Error::argument(format!("no documentation has the words `{words}`")).hint("try fewer words")
    })
}

/// Returns the functions whose documentation contains all the words, best match first.
pub fn about(words: &str) -> Vec<Entry> {
    super::catalog::Catalog::new().search(words).into_iter().cloned().collect()
}

/// Lists the best functions about the words, or returns `None` if there are none.
fn found(words: &str, title: &str, most: usize, width: usize) -> Option<Document> {
    let all = about(words);
    let best = &all[..all.len().min(most)];
    if best.is_empty() {
        return None;
    }
    let list = listed(title, best, width, |entry| match entry.form {
        "operator" | "property" => entry.path.clone(),
        _ => format!("{}()", entry.path),
    });
    Some(match all.len() - best.len() {
        0 => list,
        more => {
            list.with(Block::Lines(vec![format!("and {more} more; another word narrows the search").into()]))
        }
    })
}

/// Returns a hint in which commands of the shell that explain something are what a prompt or a notebook answers.
pub fn at_prompt(hint: &str) -> String {
    const SHELL: &str = "`spectral docs";
    let mut parts = hint.split(SHELL);
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.split_once('`') {
            Some(("", rest)) => text += &format!("`help()`{rest}"),
            Some((name, rest)) => text += &format!("`help(\"{}\")`{rest}", name.trim()),
            None => text += &format!("{SHELL}{part}"),
        }
    }
    text.replace("`spectral info`", "`:device`")
}

/// Returns the source of a std-lib function with its documentation; native code is an error.
pub fn source(name: &str) -> Result<String> {
    let wanted = name.trim().trim_end_matches("()");
    let (space, function) = wanted.rsplit_once("::").unwrap_or(("", wanted));
    let library = super::std_lib::LIBRARIES.iter().find(|l| l.name == space);
    let start = library.and_then(|l| l.text.find(&format!("\nfn {function}(")).map(|i| (l, i + 1)));
    let Some((library, start)) = start else {
        // The name must exist in any case.
        page(wanted, 80)?;
        return Err(Error::argument(format!("`{wanted}` is native code, so there is no script to show"))
            .hint(format!("`?{wanted}` explains it")));
    };
    let documented = library.text[..start].rfind("\n\n").map_or(0, |i| i + 2);
    let end = library.text[start..].find("\n}").map_or(library.text.len(), |i| start + i + 2);
    Ok(format!("// {}\n{}", library.file, &library.text[documented..end]))
}

/// Returns whether there is a page about all members of a namespace or a type.
pub fn lists(name: &str) -> bool {
    groups().contains_key(name)
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
pub fn list(width: usize) -> Document {
    let mut document = Document::new();
    for (name, members) in groups() {
        document.extend(group(&name, &members, width));
        document.push(Block::Gap);
    }
    let line = "`spectral docs NAME` explains one of them, such as `spectral docs tensor::zeros`";
    document.with(Block::Lines(vec![Line::quoted(line)]))
}

/// Lists the namespaces and types, one per line.
pub fn overview(width: usize) -> Document {
    let first = Line::from("help(\"name\") explains a function, a type or a namespace:");
    let mut table = columns();
    let groups = groups();
    let widest = groups.keys().map(String::len).max().unwrap_or(0);
    for (name, members) in &groups {
        let mut names: Vec<&str> = members.iter().map(Entry::label).collect();
        names.dedup();
        let room = width.saturating_sub(widest + 4);
        table.push([Cell::of(Role::Head, name), cut(&names.join(", "), room).into()]);
    }
    Document::of(Block::Lines(vec![first])).with(Block::Gap).with(Block::Table(table))
}

/// Returns the page of a function, the list of a namespace or type, or that of the functions about the words.
pub fn page(name: &str, width: usize) -> Result<Document> {
    let wanted = name.trim().trim_end_matches("()");
    if wanted == "places" {
        return Ok(crate::model::parts::place::page());
    }
    let groups = groups();
    if let Some(members) = groups.get(wanted) {
        return Ok(group(wanted, members, width));
    }
    let mut pages: Vec<Document> = find(wanted).iter().map(|e| entry(e, width)).collect();
    pages.extend(built_in(wanted));
    if !pages.is_empty() {
        let mut document = Document::new();
        for (i, page) in pages.into_iter().enumerate() {
            if i > 0 {
                document.push(Block::Gap);
            }
            document.extend(page);
        }
        return Ok(document);
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
    let words = !wanted.contains("::") && !wanted.contains('.');
    let title = format!("nothing is called {wanted}; these functions are about it");
    if let Some(list) = words.then(|| found(wanted, &title, BEST, width)).flatten() {
        return Ok(match near {
            Some(near) => list.with(Block::Lines(vec![Line::quoted(&format!("did you mean `{near}`?"))])),
            None => list,
        });
    }
    let error = Error::argument(format!("unknown name `{wanted}`"));
    Err(match near {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("`spectral docs` lists all functions"),
    })
}

/// As [`page`], with hints for a prompt or a notebook.
pub fn answer(name: &str, width: usize) -> Result<Document> {
    page(name, width).map_err(|error| match error.hint_text().map(at_prompt) {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// Returns the page of a function built into rhai, such as `push` or `split`.
fn built_in(name: &str) -> Option<Document> {
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
    let heads = forms.iter().map(|(signature, _)| Line::of(Role::Head, signature.as_str())).collect();
    let mut document = Document::of(Block::Lines(heads)).with(Block::Gap);
    document.push(Block::Paragraph("A function of the language itself.".into()));
    let (text, code) = doc.split_once("# Example").unwrap_or((doc, ""));
    for block in paragraphs(text) {
        document.push(Block::Gap);
        document.push(block);
    }
    let code: Vec<&str> = code.lines().filter(|l| !l.trim().is_empty() && !l.starts_with("```")).collect();
    if !code.is_empty() {
        document.push(Block::Gap);
        document.extend(example_block(&code.join("\n")));
    }
    Some(document)
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

/// Returns two columns, the first of names.
pub fn columns() -> Table {
    Table::new(Look::Open, vec![Column::left().after(2), Column::left().after(2)])
}

/// Returns the list of a group below its name.
fn group(title: &str, members: &[Entry], width: usize) -> Document {
    // A namespace and a type may share a name, so a list shows how each function is called.
    listed(title, members, width, |entry| match entry.form {
        "method" => format!(".{}()", entry.label()),
        "property" => format!(".{}", entry.label()),
        "operator" => entry.label().to_string(),
        _ if entry.group == "global" => format!("{}()", entry.label()),
        _ => format!("{}()", entry.path),
    })
}

/// Lists functions with their first sentences below a title.
fn listed(title: &str, members: &[Entry], width: usize, label: impl Fn(&Entry) -> String) -> Document {
    let widest = members.iter().map(|e| label(e).chars().count()).max().unwrap_or(0);
    let room = width.saturating_sub(widest + 4);
    let mut table = columns();
    for entry in members {
        table.push([Line::from(label(entry)), Line::quoted(&cut(&entry.summary, room))]);
    }
    Document::of(Block::Lines(vec![Line::of(Role::Head, title)])).with(Block::Table(table))
}

fn entry(entry: &Entry, width: usize) -> Document {
    let head = Line::of(Role::Head, entry.signature.as_str());
    let mut document = Document::of(Block::Lines(vec![head]));
    for block in paragraphs(&entry.text) {
        document.push(Block::Gap);
        document.push(block);
    }
    if !entry.options.is_empty() {
        document.push(Block::Gap);
        document.push(Block::Lines(vec![Line::of(Role::Head, "options")]));
        document.push(Block::Table(options(&entry.options, width)));
    }
    if let Some(example) = &entry.example {
        document.push(Block::Gap);
        document.extend(example_block(example));
    }
    document
}

fn example_block(code: &str) -> Document {
    let lines = code.lines().map(Line::from).collect();
    Document::of(Block::Lines(vec![Line::of(Role::Head, "example")])).with(Block::Code { lines, indent: 2 })
}

/// Returns the paragraphs of a text; lists and tables keep their lines.
fn paragraphs(text: &str) -> impl Iterator<Item = Block> {
    text.split("\n\n").filter(|p| !p.trim().is_empty()).map(|paragraph| {
        match paragraph.lines().any(|l| l.trim_start().starts_with(['-', '|', '*'])) {
            true => Block::Lines(paragraph.lines().map(Line::quoted).collect()),
            false => {
                let words: Vec<&str> = paragraph.split_whitespace().collect();
                Block::Paragraph(Line::quoted(&words.join(" ")))
            }
        }
    })
}

fn options(options: &[OptionEntry], width: usize) -> Table {
    let widest = options.iter().map(|o| o.name.len()).max().unwrap_or(0);
    let room = width.saturating_sub(widest + 4).max(30);
    let mut table = columns();
    for OptionEntry { name, label, default, allowed, text, .. } in options {
        let comma = if allowed.is_empty() { "" } else { ", " };
        let mut lines = vec![Line::from(format!("{label} = {default}{comma}{allowed}"))];
        for block in paragraphs(text) {
            match block {
                Block::Lines(kept) => lines.extend(kept),
                Block::Paragraph(line) => lines.extend(line.flowed(room)),
                _ => {}
            }
        }
        table.push([Cell::from(name.as_str()), Cell(lines)]);
    }
    table
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width.max(10) {
        true => text.chars().take(width.max(10) - 2).collect::<String>() + "..",
        false => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_leads_to_the_nearest() {
        let error = page("tensor::zeors", 80).unwrap_err();
        assert_eq!(error.hint_text(), Some("did you mean `tensor::zeros`?"));
    }

    #[test]
    fn words_that_are_no_name_lead_to_what_is_about_them() {
        let page = |words: &str| page(words, 100).unwrap().to_text(Some(100));
        let momentum = page("momentum");
        assert!(momentum.starts_with("nothing is called momentum"), "{momentum}");
        assert!(momentum.contains("optim::muon()"), "{momentum}");
        let many = page("dimension");
        assert!(many.lines().count() <= BEST + 3 && many.contains(" more; "), "{many}");
        // A method is shown with its type.
        assert!(many.lines().skip(1).all(|line| !line.starts_with("  .")), "{many}");
        assert!(super::page("nosuchword", 80).is_err());
        // A path is a name, never words.
        assert!(super::page("filter::low", 80).is_err());
    }

    #[test]
    fn hints_name_what_a_prompt_answers() {
        let hint = "see `spectral docs eval`; `spectral docs` lists all, and `spectral info` the devices";
        let expected = "see `help(\"eval\")`; `help()` lists all, and `:device` the devices";
        assert_eq!(at_prompt(hint), expected);
        assert_eq!(at_prompt("`x`"), "`x`");
    }

    #[test]
    fn a_method_is_found_without_its_type() {
        assert!(find("sum").iter().any(|e| e.path == "tensor.sum"));
    }

    #[test]
    fn functions_of_the_language_are_explained() {
        let page = page("push", 80).unwrap().to_text(None);
        assert!(page.contains("push(array: array, item)\n") && page.contains("end of the array"), "{page}");
    }

    #[test]
    fn a_page_has_headings_code_and_an_example() {
        let page = page("tensor::zeros", 80).unwrap();
        let ansi = page.shown(Some(80), true);
        assert!(ansi.starts_with("\x1b[1mtensor::zeros(shape"), "{ansi}");
        assert!(ansi.contains("\n\x1b[1moptions\x1b[0m\n  dtype "), "{ansi}");
        let codes: Vec<&Block> =
            page.blocks().iter().filter(|block| matches!(block, Block::Code { .. })).collect();
        assert_eq!(codes.len(), 1, "{ansi}");
        for width in [60, 80, 100] {
            let text = super::page("train::fit", width).unwrap().to_text(Some(width));
            assert!(
                text.lines().filter(|l| !l.starts_with("  ")).all(|l| l.chars().count() <= width),
                "{text}"
            );
        }
    }
}
