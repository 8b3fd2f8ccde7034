//! Rules of the code base, checked by reading the source.
//!
//! The table of rooms is the one in `docs/architecture.md`; a test fails if they differ.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Rooms, which are the top-level modules of `src/`, and the rooms that each may import. A room may also import
/// what those may import.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("document", &[]),
    ("context", &["error", "document"]),
    ("notebook", &["context"]),
    ("declare", &["notebook"]),
    ("text", &["declare"]),
    ("files", &["text"]),
    ("table", &["torch"]),
    ("torch", &["files"]),
    ("report", &["table", "torch"]),
    ("plot", &["torch"]),
    ("ranks", &["torch"]),
    ("nn", &["torch"]),
    ("data", &["torch", "table"]),
    ("spectral", &["nn"]),
    ("model", &["spectral"]),
    ("flow", &["model", "ranks"]),
    ("train", &["flow", "data"]),
    ("eval", &["flow", "data", "table"]),
    ("vae", &["nn", "data", "ranks"]),
    ("registry", &["train", "eval", "vae", "plot", "report"]),
    ("script", &["registry"]),
    ("session", &["script"]),
    ("front", &["session"]),
    ("bin", &["front"]),
];

/// Macros, which live at the crate root, and the room that each belongs to.
const MACROS: &[(&str, &str)] = &[
    ("functions", "declare"),
    ("options", "declare"),
    ("api", "declare"),
    ("scripted", "declare"),
    ("ensure", "error"),
];

/// Maximum number of lines of a file. Longer files have more than one purpose.
const LINES: usize = 700;

/// Files that may hold state outside of values: for the panic hook, for signals, for the end of a thread's stack and of memory,
/// for what a call's options were named until the call returns, and for the default device.
const PROCESS_WIDE: &[&str] = &[
    "src/script/bridge.rs",
    "src/script/stack.rs",
    "src/script/memory.rs",
    "src/front/ending.rs",
    "src/declare/renamed.rs",
    "src/torch/placement.rs",
];

/// Source file without comments and tests.
struct Source {
    path: PathBuf,
    room: String,
    /// Line numbers, from 1, and the code of each line.
    code: Vec<(usize, String)>,
    lines: usize,
}

impl Source {
    fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a readable file");
        let lines: Vec<&str> = text.lines().collect();
        // Tests are at the end of a file, or in a separate file.
        let tests = |i: &usize| {
            lines[*i].trim() == "#[cfg(test)]"
                && !lines.get(i + 1).is_some_and(|next| next.trim().ends_with(';'))
        };
        let end = if only_tests(path) { 0 } else { lines.len() };
        let end = (0..end).find(tests).unwrap_or(end);
        let code = lines[..end]
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
            .map(|(i, line)| (i + 1, line.split(" // ").next().unwrap_or(line).to_string()))
            .collect();
        let path = path.strip_prefix(root).expect("a file of the project").to_path_buf();
        let room = path.components().nth(1).map(|c| c.as_os_str().to_string_lossy().into_owned());
        let room = room.unwrap_or_default().trim_end_matches(".rs").to_string();
        Self { path, room, code, lines: text.lines().count() }
    }

    /// Returns the places in the code where one of the patterns occurs.
    fn find<'a>(&'a self, patterns: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.code.iter().flat_map(move |(number, line)| {
            patterns
                .iter()
                .filter(|p| line.contains(**p))
                .map(move |p| format!("{}:{number}: {}", self.path.display(), p.trim()))
        })
    }

    /// Returns the places in the code where a crate is named.
    fn names_crate<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> + 'a {
        self.code.iter().filter_map(move |(number, line)| {
            let used = line.match_indices(name).any(|(i, _)| {
                let before = line[..i].chars().next_back();
                let whole = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '"'));
                whole && line[i + name.len()..].starts_with("::")
            });
            used.then(|| format!("{}:{number}: {name}", self.path.display()))
        })
    }

    /// Returns the rooms that the code names by a path from the crate root, with a line number each.
    fn imports(&self) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        let text: String = self.code.iter().map(|(n, line)| format!("{line}\u{1}{n}\n")).collect();
        let root = if self.room == "bin" { "spectral::" } else { "crate::" };
        for (at, _) in text.match_indices(root) {
            let line = text[at..].split('\u{1}').nth(1).and_then(|rest| rest.lines().next());
            let line = line.and_then(|n| n.parse().ok()).unwrap_or(0);
            // A macro that builds paths names a room only where it is used.
            for name in heads(&text[at + root.len()..]).into_iter().filter(|name| !name.is_empty()) {
                found.entry(name).or_insert(line);
            }
        }
        found
    }
}

/// Returns whether the module in a file is declared for tests only.
fn only_tests(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_stem()) else { return false };
    let module = format!("#[cfg(test)]\nmod {};", name.to_string_lossy());
    let declares = |file: &str| std::fs::read_to_string(folder.join(file)).is_ok_and(|t| t.contains(&module));
    declares("mod.rs") || declares("lib.rs")
}

/// Returns the first name of a path, or of each path in braces.
fn heads(text: &str) -> Vec<String> {
    let word = |t: &str| t.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(inner) = text.strip_prefix('{') else { return vec![word(text)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, true);
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            // Each line ends with its line number, which is not a name.
            c if start
                && (c.is_alphabetic() || c == '_')
                && !inner[..i].ends_with(|b: char| b == '\u{1}' || b.is_ascii_digit()) =>
            {
                names.push(word(&inner[i..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let root = root();
    let (mut found, mut folders) = (Vec::new(), vec![root.join("src")]);
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path()) {
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|x| x == "rs") => {
                    found.push(Source::read(&root, &path));
                }
                false => {}
            }
        }
    }
    assert!(found.len() > 50, "the source was not found");
    found
}

fn refuse(rule: &str, places: impl IntoIterator<Item = String>) {
    let places: Vec<String> = places.into_iter().collect();
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

/// Returns all rooms that a room may import, directly or indirectly.
fn below(room: &str) -> BTreeSet<&'static str> {
    let mut all = BTreeSet::new();
    let direct = ROOMS.iter().find(|(name, _)| *name == room).map_or(&[][..], |(_, below)| below);
    for name in direct {
        all.insert(*name);
        all.extend(below(name));
    }
    all
}

#[test]
fn rooms_import_only_what_they_sit_on() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.room != "lib") {
        let Some((room, _)) = ROOMS.iter().find(|(name, _)| *name == source.room) else {
            wrong.push(format!("{}: `{}` is no room of the table", source.path.display(), source.room));
            continue;
        };
        let allowed = below(room);
        for (name, line) in source.imports() {
            let owner = MACROS.iter().find(|(m, _)| *m == name).map_or(name.as_str(), |(_, room)| room);
            if owner != *room && !allowed.contains(owner) {
                wrong.push(format!("{}:{line}: `{room}` imports `{owner}`", source.path.display()));
            }
        }
    }
    refuse("imports against the table of rooms", wrong);
}

#[test]
fn the_architecture_page_shows_the_same_rooms() {
    let page = std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md");
    let mut shown = BTreeMap::new();
    let table = page.lines().skip_while(|l| !l.starts_with("| room |")).take_while(|l| l.starts_with('|'));
    for line in table.filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(|n| n.trim_end_matches('/').to_string()).collect()
        };
        if let [_, room, sits_on, ..] = cells.as_slice() {
            shown.extend(names(room).into_iter().map(|room| (room, names(sits_on))));
        }
    }
    let expected: BTreeMap<String, BTreeSet<String>> = ROOMS
        .iter()
        .map(|(room, below)| (room.to_string(), below.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(shown, expected, "the table in docs/architecture.md and that in tests/tidy.rs differ");
}

#[test]
fn libtorch_is_named_in_one_room() {
    let all = sources();
    let outside = all.iter().filter(|s| s.room != "torch");
    refuse(
        "only src/torch may name tch or torch_sys",
        outside.flat_map(|s| s.names_crate("tch").chain(s.names_crate("torch_sys"))),
    );
}

#[test]
fn rhai_is_named_in_script_and_above() {
    let all = sources();
    let outside = all.iter().filter(|s| !["script", "session", "front", "bin"].contains(&s.room.as_str()));
    refuse("only src/script and what sits on it may name rhai", outside.flat_map(|s| s.names_crate("rhai")));
}

#[test]
fn no_state_is_global() {
    // Each cell of a notebook links the library again, so every cell would have its own copy of a static.
    let patterns = ["thread_local!", "static mut "];
    let mut all = sources();
    all.retain(|s| !PROCESS_WIDE.iter().any(|p| s.path == Path::new(p)));
    let held = all.iter().flat_map(|s| {
        let holding = |line: &str| {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
            line.starts_with("static ")
                && ["Mutex", "RwLock", "Atomic", "Once", "Lazy", "Cell"].iter().any(|t| line.contains(t))
        };
        s.code.iter().filter(move |(_, line)| holding(line)).map(|(n, _)| format!("{}:{n}", s.path.display()))
    });
    refuse("no statics that hold state", held.chain(all.iter().flat_map(|s| s.find(&patterns))));
}

/// Returns the name of a C++ variable that a line declares outside of any value, unless it is constant.
fn native_state(line: &str) -> Option<String> {
    let outside = line.starts_with(|c: char| c.is_alphabetic()) && line.ends_with(';');
    let line = line.trim_start();
    let first = line.split([' ', '<', ':', '(']).next()?;
    let stored = ["static", "thread_local"].contains(&first);
    let other = ["using", "typedef", "return", "struct", "class", "enum", "namespace", "template", "extern"];
    if !stored && (!outside || other.contains(&first)) {
        return None;
    }
    let mut depth = 0;
    let plain = |c: &char| {
        depth += i32::from(*c == '<') - i32::from(*c == '>');
        depth == 0 && *c != '>'
    };
    let head: String = line.split(['=', ';', '{']).next()?.trim().chars().filter(plain).collect();
    // Functions have parameters; a pointer to something constant is itself a variable.
    let constant = head.contains("constexpr ") || (head.contains("const ") && !head.contains('*'));
    if head.contains('(') || constant {
        return None;
    }
    let name = head.split([' ', '&', '*']).rfind(|word| !word.is_empty())?.split('[').next()?;
    (head.len() > name.len()).then(|| name.to_string())
}

#[test]
fn the_state_of_the_cpp_code_is_listed_with_a_reason() {
    let mut found = BTreeSet::new();
    let mut folders = vec![root().join("src/torch/shim")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let file = path.file_name().expect("a name").to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).expect("a readable file");
            found.extend(text.lines().filter_map(native_state).map(|name| (file.clone(), name)));
        }
    }
    let page = std::fs::read_to_string(root().join("docs/decisions/native-state.md")).expect("the page");
    let mut listed = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cells = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`'));
        let cells: Vec<&str> = cells.collect();
        let [file, name, what, copies] = cells[..] else { panic!("four cells: {row}") };
        assert!(!what.is_empty() && !copies.is_empty(), "{row}");
        listed.insert((file.to_string(), name.to_string()));
    }
    let differ = |a: &BTreeSet<(String, String)>, b: &BTreeSet<(String, String)>, what: &str| {
        a.difference(b).map(|(file, name)| format!("{file}: {name} {what}")).collect::<Vec<_>>()
    };
    let mut wrong = differ(&found, &listed, "is not listed");
    wrong.extend(differ(&listed, &found, "is listed and does not exist"));
    refuse("docs/decisions/native-state.md lists the state of the C++ code", wrong);
}

#[test]
fn the_reader_of_cpp_tells_state_from_functions_and_constants() {
    for (line, name) in [
        ("static std::mutex mutex;", Some("mutex")),
        ("  static auto& known = *new std::map<int, Handle>();", Some("known")),
        ("static std::atomic<const Launcher*> installed{nullptr};", Some("installed")),
        ("thread_local const Recorder* emulated = nullptr;", Some("emulated")),
        ("  static Interruptible* installed = [] {", Some("installed")),
        ("std::vector<int> numbers;", Some("numbers")),
        ("int counts[4] = {};", Some("counts")),
        ("  int local = 0;", None),
        ("static const bool wide = probe();", None),
        ("static const std::pair<const char*, int> names[] = {{nullptr, 1},", None),
        ("static constexpr int64_t SIZE = 4;", None),
        ("static const Library& found = *new Library();", None),
        ("static Tensor list(Tensor** from, int64_t count) {", None),
        ("Tensor forward(const Tensor& x);", None),
        ("using at::Tensor;", None),
        ("}  // namespace sp", None),
    ] {
        assert_eq!(native_state(line).as_deref(), name, "{line}");
    }
}

/// Files that open files for writing themselves, and why.
const WRITERS: &[(&str, &str)] = &[
    ("src/files.rs", "writes a temporary name, syncs and renames it"),
    ("src/files/claim.rs", "a claim is a file that only one process can create"),
    ("src/train/log.rs", "appends whole rows, which a reader may see at any time"),
    ("src/train/tensorboard/mod.rs", "appends whole records, which a reader may see at any time"),
    ("src/front/fetch.rs", "continues a download under a name of its own, then checks and renames it"),
    ("src/torch/memory.rs", "writes into the kernel's file system, which has no temporary names"),
    ("src/eval/samples.rs", "writes thousands of images into a new folder, too many to sync each"),
    ("src/plot/api/figure.rs", "reserves a free name, which is then replaced"),
];

#[test]
fn files_are_written_at_once_or_not_at_all() {
    let patterns = [
        "fs::write(",
        "fs::copy(",
        "fs::OpenOptions",
        "fs::{File, OpenOptions}",
        "File::create",
        "File::options",
    ];
    let all = sources();
    let writes = |source: &&Source| source.find(&patterns).next().is_some();
    let listed = |source: &&Source| WRITERS.iter().any(|(path, _)| source.path == Path::new(path));
    refuse(
        "files are written with `files::write`, unless WRITERS says why not",
        all.iter().filter(|s| !listed(s)).flat_map(|s| s.find(&patterns)),
    );
    assert_eq!(
        all.iter().filter(writes).filter(listed).count(),
        WRITERS.len(),
        "a file of WRITERS writes nothing"
    );
}

#[test]
fn files_have_one_purpose() {
    let long = |s: &Source| {
        (s.lines > LINES).then(|| format!("{} has {} lines of at most {LINES}", s.path.display(), s.lines))
    };
    refuse("split what is too long", sources().iter().filter_map(long));
}

#[test]
fn the_reader_of_imports_sees_braces() {
    assert_eq!(heads("torch::Tensor;"), ["torch"]);
    assert_eq!(heads("{a, b::{c, d}, e};\u{1}3\nuse x"), ["a", "b", "e"]);
    assert_eq!(heads("{\u{1}12\n    a::x,\u{1}13\n    b,\u{1}14\n}"), ["a", "b"]);
}
