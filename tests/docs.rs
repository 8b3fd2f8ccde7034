//! The generated reference is up to date, the book is complete, and links lead to files and headings.
#![cfg(test)]

use std::path::{Path, PathBuf};

use spectral::script::reference;

#[test]
fn the_reference_is_what_the_code_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let pages = reference::pages();
    let mut stale: Vec<String> = pages
        .iter()
        .filter(|(name, text)| std::fs::read_to_string(folder.join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| format!("{name} differs"))
        .collect();
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !pages.contains_key(&name) {
            stale.push(format!("{name} is about something that is gone"));
        }
    }
    let command = "cargo run -- docs --write docs/reference";
    assert!(stale.is_empty(), "run `{command}` and commit the result:\n{}", stale.join("\n"));
}

/// Folders outside `docs` that pages may link to. The book contains copies of them, see `xtask/src/book.rs`.
const LINKED: [&str; 2] = ["examples/notebooks", "std-lib"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the pages of a folder and of the folders in it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut found = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => found.extend(pages(&path)),
            false if path.extension().is_some_and(|x| x == "md") => found.push(path),
            false => {}
        }
    }
    found
}

/// Returns the targets of the links and images of a page.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let all = text.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0));
    all.filter(|target| !target.is_empty() && !target.contains("://") && !target.contains([' ', '\n', '|']))
}

/// Returns the anchors of the headings of a page.
fn anchors(text: &str) -> Vec<String> {
    let mut code = false;
    let headings = text.lines().filter(move |line| {
        code ^= line.starts_with("```");
        !code && line.starts_with('#')
    });
    let anchor = |line: &str| -> String {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// Checks the links in all pages, the README and the page for contributors.
#[test]
fn links_lead_to_files_and_headings() {
    let mut broken = Vec::new();
    let mut all = pages(&root().join("docs"));
    assert!(all.len() > 50, "the pages were not found");
    all.extend(["README.md", "CONTRIBUTING.md"].map(|page| root().join(page)));
    for page in all {
        let text = std::fs::read_to_string(&page).expect("a readable page");
        for link in targets(&text) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().expect("a folder").join(file),
            };
            let there = match heading {
                "" => target.exists(),
                heading => std::fs::read_to_string(&target)
                    .is_ok_and(|text| anchors(&text).iter().any(|anchor| anchor == heading)),
            };
            if !there {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).unwrap_or(&page).display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_book_contains_every_page_once() {
    let docs = root().join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md")).expect("docs/SUMMARY.md");
    let mut listed: Vec<&str> = targets(&summary).collect();
    let mut missing = Vec::new();
    for page in pages(&docs).into_iter().filter(|page| !page.ends_with("SUMMARY.md")) {
        let page = page.strip_prefix(&docs).expect("a page of docs").display().to_string();
        match listed.iter().position(|listed| *listed == page) {
            Some(at) => drop(listed.swap_remove(at)),
            None => missing.push(page),
        }
    }
    assert!(missing.is_empty(), "list these pages in docs/SUMMARY.md: {missing:?}");
    assert!(listed.is_empty(), "docs/SUMMARY.md lists these twice, or they are gone: {listed:?}");
}

#[test]
fn the_book_contains_what_its_pages_link_to() {
    let docs = root().join("docs").canonicalize().expect("docs");
    let linked = LINKED.map(|folder| root().join(folder).canonicalize().expect("a folder"));
    let inside: Vec<&PathBuf> = linked.iter().chain([&docs]).collect();
    let mut outside = Vec::new();
    for page in pages(&docs) {
        let text = std::fs::read_to_string(&page).expect("a readable page");
        for link in targets(&text) {
            let target = page.parent().expect("a folder").join(link.split('#').next().unwrap_or_default());
            let Ok(target) = target.canonicalize() else { continue };
            if !inside.iter().any(|folder| target.starts_with(folder)) {
                outside.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(outside.is_empty(), "links that lead out of the book:\n{}", outside.join("\n"));
}

#[test]
fn anchors_are_read_as_the_book_writes_them() {
    let text = "# A title\n\n```sh\n# a comment\n```\n\n## `tests/tidy.rs`, and: more_so\n";
    assert_eq!(anchors(text), ["a-title", "teststidyrs-and-more_so"]);
}
