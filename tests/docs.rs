//! The generated reference is up to date, and links between pages lead to files.
#![cfg(test)]

use std::path::Path;

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

/// Checks the links in all pages and the README.
#[test]
fn links_between_pages_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut broken = Vec::new();
    let mut folders = vec![root.join("docs")];
    let mut pages = vec![root.join("README.md")];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|x| x == "md") => pages.push(path),
                false => {}
            }
        }
    }
    for page in pages.into_iter().filter(|p| p.exists()) {
        let text = std::fs::read_to_string(&page).expect("a readable page");
        for part in text.split("](").skip(1) {
            let Some((target, _)) = part.split_once(')') else { continue };
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.contains([' ', '\n', '|']) {
                continue;
            }
            if !page.parent().expect("a folder").join(target).exists() {
                broken.push(format!("{}: {target}", page.strip_prefix(root).unwrap_or(&page).display()));
            }
        }
    }
    assert!(broken.is_empty(), "links to nowhere:\n{}", broken.join("\n"));
}
