//! The examples of the documentation: those of native functions and of std-lib, and every fenced `rhai` block of the guides and
//! the README.
//!
//! `SPECTRAL_EXAMPLES=tensor` runs only the examples whose paths contain the word. A block marked `rhai,no_run` is too slow, or
//! needs something that tests lack; it is only compiled.

use std::path::{Path, PathBuf};

use spectral::script::entries;
use spectral::session::{Options, Session};
use spectral::torch::Device;

struct Example {
    name: String,
    code: String,
    run: bool,
}

fn wanted(example: &Example) -> bool {
    std::env::var("SPECTRAL_EXAMPLES").map_or(true, |word| example.name.contains(&word))
}

fn of_functions() -> impl Iterator<Item = Example> {
    entries::all()
        .into_iter()
        .filter_map(|e| Some(Example { name: e.path.clone(), code: e.example?, run: true }))
}

/// Returns the fenced `rhai` blocks of a Markdown file. Blocks of one page share no state.
fn of_page(page: &Path) -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(page)).expect("a readable page");
    let (mut examples, mut open): (Vec<Example>, Option<Example>) = (Vec::new(), None);
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim()) {
            (None, "```rhai" | "```rhai,no_run") => {
                let name = format!("{}:{}", page.display(), number + 1);
                open = Some(Example { name, code: String::new(), run: !line.contains("no_run") });
            }
            (Some(_), "```") => examples.extend(open.take()),
            (Some(example), _) => {
                example.code.push_str(line);
                example.code.push('\n');
            }
            (None, _) => {}
        }
    }
    examples
}

/// Returns the handwritten pages. The generated reference is left out, since it repeats the examples of the
/// functions.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (vec![PathBuf::from("README.md")], vec![PathBuf::from("docs")]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).expect("a folder").flatten() {
            let path = folder.join(entry.file_name());
            match () {
                () if path == Path::new("docs/reference") => {}
                () if root.join(&path).is_dir() => folders.push(path),
                () if path.extension().is_some_and(|x| x == "md") => found.push(path),
                () => {}
            }
        }
    }
    found.retain(|p| root.join(p).exists());
    found.sort();
    found
}

/// Runs all examples, each in a session and a folder of its own, with a default device.
pub fn run_all(device: Device) {
    let examples = of_functions().chain(pages().into_iter().flat_map(|p| of_page(&p))).filter(wanted);
    let home = std::env::current_dir().expect("a working directory");
    let mut failures = Vec::new();
    for example in examples.collect::<Vec<_>>() {
        // Examples may write files, which must not stay behind or be visible to other examples.
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::env::set_current_dir(&folder).expect("a working directory");
        let mut session = Session::new(Options::default());
        // An example may have chosen another.
        device.set_default();
        let code = if example.run { example.code } else { format!("if false {{\n{}\n}}", example.code) };
        if let Err(report) = session.run_cell(&code, &example.name) {
            failures.push(format!("{}\n{}", example.name, report.render(false)));
        }
        std::env::set_current_dir(&home).expect("the working directory");
    }
    // A session silences panics, but the message below must be visible.
    drop(std::panic::take_hook());
    assert!(failures.is_empty(), "{} examples fail:\n\n{}", failures.len(), failures.join("\n"));
}
