//! `import "file"`: scripts next to the importing one, below the working directory, or in the same project.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use rhai::{
    AST, Engine, EvalAltResult, GlobalRuntimeState, Module, ModuleResolver, NativeCallContext, Position,
    Scope, Shared,
};

use super::failure;
use super::source::{SESSION, Sources};
use super::stored::{Entries, StoredFiles};
use crate::error::{Error, Result};

/// Finds, compiles and caches imported scripts; clones share the cache.
#[derive(Clone)]
pub struct Resolver {
    sources: Sources,
    loaded: Arc<Mutex<Loaded>>,
    stored: StoredFiles,
}

/// A resolver that lives no longer than the engine that has it.
#[derive(Clone)]
pub struct WeakResolver(Sources, Weak<Mutex<Loaded>>, Weak<Entries>);

impl WeakResolver {
    /// Returns the resolver while it lives.
    pub fn upgrade(&self) -> Option<Resolver> {
        let Self(sources, loaded, stored) = self;
        let stored = StoredFiles::upgrade(stored)?;
        Some(Resolver { sources: sources.clone(), loaded: loaded.upgrade()?, stored })
    }
}

/// Function called at the end of an imported file, after which its constants are known.
const CONSTANTS: &str = "__constants";

type Loaded = BTreeMap<PathBuf, Entry>;

#[derive(Clone)]
enum Entry {
    /// Being evaluated, with the number of those under way before it and its import: importing it again would never end.
    Loading(usize, Link),
    Done(SharedModule, Stamp),
}

/// An import: the script that contains it, and its line.
#[derive(Debug, Clone)]
pub struct Link {
    script: String,
    line: Option<usize>,
}

impl Link {
    /// Returns the import at a position of a script.
    pub fn of(script: &str, position: Position) -> Self {
        Self { script: script.to_string(), line: position.line() }
    }
}

/// Returns the error of a script that is imported by way of the given imports, the first of which it contains itself.
pub fn circle(file: &Path, imports: &[Link]) -> Error {
    let way = match imports {
        [] | [_] => String::new(),
        several => {
            let at = |link: &Link| match link.line {
                Some(line) => format!("line {line} of {} imports ", link.script),
                None => format!("{} imports ", link.script),
            };
            let links: Vec<String> = several
                .iter()
                .zip(several.iter().skip(1).map(|next| next.script.as_str()).chain([""]))
                .map(|(link, next)| if next.is_empty() { at(link) + "it" } else { at(link) + next })
                .collect();
            format!(": {}", links.join(", "))
        }
    };
    Error::file(file, format!("the script imports itself{way}"))
        .hint("remove an import, or move shared code into another script")
}

/// Modification time and length, which tell whether a file is still the one that was read.
type Stamp = Option<(SystemTime, u64)>;

fn stamp(file: &Path) -> Stamp {
    let about = std::fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}

impl Entry {
    fn under_way(&self) -> Option<(usize, Link)> {
        match self {
            Entry::Loading(number, link) => Some((*number, link.clone())),
            Entry::Done(..) => None,
        }
    }
}

/// A module that several imports may hold.
pub type SharedModule = Shared<Module>;
type Resolved = std::result::Result<SharedModule, Box<EvalAltResult>>;

impl Resolver {
    /// Makes a resolver that keeps the texts it reads in `sources`.
    pub fn new(sources: Sources) -> Self {
        Self { sources, loaded: Arc::default(), stored: StoredFiles::default() }
    }

    /// Returns a resolver for values that the engine holds.
    pub fn downgrade(&self) -> WeakResolver {
        WeakResolver(self.sources.clone(), Arc::downgrade(&self.loaded), self.stored.downgrade())
    }

    /// Adds what imported files call.
    pub fn register(&self, engine: &mut Engine) {
        let sources = self.sources.clone();
        engine.register_fn(CONSTANTS, move |context: NativeCallContext| {
            if let (Some(file), Some(constants)) =
                (context.call_source(), &context.global_runtime_state().constants)
            {
                sources.set_constants(file, constants);
            }
        });
    }

    /// Returns the texts of the scripts.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the files that were stored with code.
    pub fn stored(&self) -> &StoredFiles {
        &self.stored
    }

    /// Returns the module of a file, which is imported unless it was before; `None` if that fails.
    pub fn module(&self, engine: &Engine, file: &Path) -> Option<SharedModule> {
        if let Some(module) = self.known(file, None).ok()? {
            return Some(module);
        }
        let (link, at) = (Link::of("", Position::NONE), At { source: "", position: Position::NONE });
        self.load_once(engine, &mut engine.new_global_runtime_state(), file, link, at).ok()
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the imported files that have changed since they were read.
    pub fn changed(&self) -> Vec<PathBuf> {
        let other = |(file, entry): (&PathBuf, &Entry)| match entry {
            Entry::Done(_, read) if stamp(file) != *read => Some(file.clone()),
            _ => None,
        };
        self.loaded().iter().filter_map(other).collect()
    }

    /// Reads all imported files again and returns the imports with them; if one fails, all stay as they were.
    pub fn renew(
        &self,
        engine: &Engine,
        imports: Vec<(String, SharedModule)>,
    ) -> std::result::Result<Vec<(String, SharedModule)>, Box<EvalAltResult>> {
        let old = std::mem::take(&mut *self.loaded());
        let file_of = |module: &SharedModule| {
            let same = |e: &Entry| matches!(e, Entry::Done(m, _) if Shared::ptr_eq(m, module));
            old.iter().find(|(_, e)| same(e)).map(|(file, _)| file.clone())
        };
        let renewed = imports.iter().map(|(name, module)| {
            let Some(file) = file_of(module) else { return Ok((name.clone(), module.clone())) };
            if let Some(module) = self.known(&file, None).ok().flatten() {
                return Ok((name.clone(), module));
            }
            let at = At { source: "", position: Position::NONE };
            let module = self.load(engine, &mut engine.new_global_runtime_state(), &file, at)?;
            self.set(&file, Some(Entry::Done(module.clone(), stamp(&file))));
            Ok((name.clone(), module))
        });
        let renewed: std::result::Result<Vec<_>, _> = renewed.collect();
        if renewed.is_err() {
            // A file that fails is not tried again before it changes.
            let entries = old.into_iter().map(|(file, entry)| match entry {
                Entry::Done(module, _) => (file.clone(), Entry::Done(module, stamp(&file))),
                entry => (file, entry),
            });
            *self.loaded() = entries.collect();
        }
        renewed
    }

    fn set(&self, file: &Path, entry: Option<Entry>) {
        let mut loaded = self.loaded();
        match entry {
            Some(entry) => loaded.insert(file.to_path_buf(), entry),
            None => loaded.remove(file),
        };
    }

    /// Returns the module if it is already loaded, or an error if it imports itself.
    fn known(&self, file: &Path, import: Option<Link>) -> Result<Option<SharedModule>> {
        let loaded = self.loaded();
        match loaded.get(file) {
            Some(Entry::Done(module, _)) => Ok(Some(module.clone())),
            Some(Entry::Loading(first, _)) => {
                let mut under_way: Vec<(usize, Link)> =
                    loaded.values().filter_map(Entry::under_way).collect();
                under_way.retain(|(number, _)| number > first);
                under_way.sort_by_key(|(number, _)| *number);
                let links: Vec<Link> = under_way.into_iter().map(|(_, link)| link).chain(import).collect();
                Err(circle(file, &links))
            }
            None => Ok(None),
        }
    }

    /// Imports a file that is not loaded.
    fn load_once(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        file: &Path,
        link: Link,
        at: At,
    ) -> Resolved {
        let read = stamp(file);
        let number = self.loaded().values().filter_map(Entry::under_way).count();
        self.set(file, Some(Entry::Loading(number, link)));
        let module = self.load(engine, global, file, at);
        self.set(file, module.as_ref().ok().map(|m| Entry::Done(m.clone(), read)));
        module
    }

    fn load(&self, engine: &Engine, global: &mut GlobalRuntimeState, file: &Path, at: At) -> Resolved {
        let text = read_script(file).map_err(|e| failure::raise(e, at.place()))?;
        let name = self.sources.name_of(file);
        let wrap = |error: Box<EvalAltResult>| EvalAltResult::ErrorInModule(name.clone(), error, at.position);
        let mut ast =
            self.sources.compile_file(engine, &name, &text).map_err(|e| wrap(Box::new(e.into())))?;
        if text.contains("global") {
            ast.combine(engine.compile(format!("{CONSTANTS}();")).map_err(|e| wrap(Box::new(e.into())))?);
        }
        Ok(evaluated(engine, global, &mut Scope::new(), &ast).map_err(wrap)?.into())
    }
}

/// Makes a module of a file. rhai keeps the constants of a text only outside of blocks, and an import may be in one.
pub fn evaluated(
    engine: &Engine,
    global: &mut GlobalRuntimeState,
    scope: &mut Scope,
    ast: &AST,
) -> std::result::Result<Module, Box<EvalAltResult>> {
    let level = std::mem::take(&mut global.scope_level);
    let module = Module::eval_ast_as_new_raw(engine, scope, global, ast);
    global.scope_level = level;
    module
}

#[derive(Clone, Copy)]
struct At<'a> {
    source: &'a str,
    position: Position,
}

impl At<'_> {
    fn place(&self) -> failure::At {
        failure::At { source: self.source.to_string(), position: self.position }
    }
}

impl ModuleResolver for Resolver {
    fn resolve_raw(
        &self,
        engine: &Engine,
        global: &mut GlobalRuntimeState,
        _: &mut Scope,
        path: &str,
        position: Position,
    ) -> Resolved {
        // Of a closure that native code calls, only the library says where it was written.
        let source = match global.lib.last() {
            Some(library) => library.id().unwrap_or(SESSION).to_string(),
            None => global.source().unwrap_or_default().to_string(),
        };
        let at = At { source: &source, position };
        if let Some(module) = self.stored.import(engine, global, path, &at.place()) {
            return module;
        }
        let file = find(&self.sources.folder(&source), path).map_err(|e| failure::raise(e, at.place()))?;
        let link = Link::of(&source, position);
        if let Some(module) =
            self.known(&file, Some(link.clone())).map_err(|e| failure::raise(e, at.place()))?
        {
            return Ok(module);
        }
        self.load_once(engine, global, &file, link, at)
    }

    fn resolve(&self, engine: &Engine, source: Option<&str>, path: &str, position: Position) -> Resolved {
        let mut global = engine.new_global_runtime_state();
        global.source = source.map(Into::into);
        self.resolve_raw(engine, &mut global, &mut Scope::new(), path, position)
    }
}

/// Returns the file that `import "path"` means in a script of `folder`.
pub fn find(folder: &Path, path: &str) -> Result<PathBuf> {
    let mut wanted = folder.join(path);
    if wanted.extension().is_none() {
        wanted.set_extension("rhai");
    }
    let shown = wanted.strip_prefix(".").unwrap_or(&wanted);
    let Ok(full) = wanted.canonicalize() else {
        let error = Error::file(shown, "no such script to import");
        return Err(match neighbors(&wanted) {
            names if names.is_empty() => error.hint("a path is relative to the script that imports"),
            names => {
                let stem = wanted.file_stem().map(|s| s.to_string_lossy().to_string()).unwrap_or_default();
                let near = crate::error::nearest(&stem, names.iter().map(String::as_str));
                error.hint(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "a path is relative to the script that imports".to_string(),
                })
            }
        });
    };
    let bases = [Path::new("."), folder].map(|f| if f.as_os_str().is_empty() { Path::new(".") } else { f });
    let bases: Vec<PathBuf> = bases.iter().filter_map(|f| f.canonicalize().ok()).collect();
    let projects = bases.iter().filter_map(|base| project(base));
    let named = named(folder, path);
    let below = |root: &Path| full.starts_with(root) || named.as_ref().is_some_and(|n| n.starts_with(root));
    match bases.iter().map(PathBuf::as_path).chain(projects).any(below) {
        true => Ok(shortest(shown, &full)),
        false => Err(Error::file(
            shown,
            "scripts are imported only from below the working directory, the importing script's folder or its project",
        )
        .hint(format!(
            "a project is the nearest folder above with `.git` or an empty file `{PROJECT}`: make one, or copy the script here"
        ))),
    }
}

/// File that marks the folder of a project without a repository.
const PROJECT: &str = ".spectral";

/// Returns the project of a folder: the nearest one from it upwards that is a repository or is marked.
fn project(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|above| above.join(".git").exists() || above.join(PROJECT).exists())
}

/// Returns where a path from `folder` leads by its names, without following links: a link below a permitted folder is
/// the user's own, so that what it leads to may be imported. There is no such place if `..` follows a link.
fn named(folder: &Path, path: &str) -> Option<PathBuf> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (mut place, mut linked) = (folder.canonicalize().ok()?, false);
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if linked => return None,
            Component::ParentDir => _ = place.pop(),
            // An absolute path replaces the place.
            other => {
                place.push(other);
                linked |= place.is_symlink();
            }
        }
    }
    Some(place)
}

/// Returns the path without `a/..`, so that a file has one name however its importers reach it. Where a folder is a
/// link, `..` leads elsewhere, and the path stays.
fn shortest(path: &Path, full: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        match (part, short.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => _ = short.pop(),
            _ => short.push(part),
        }
    }
    match short.canonicalize() {
        Ok(same) if same == full => short,
        _ => path.to_path_buf(),
    }
}

fn neighbors(file: &Path) -> Vec<String> {
    let folder = file.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let scripts = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == "rhai"));
    scripts.filter_map(|p| Some(p.file_stem()?.to_string_lossy().to_string())).collect()
}

/// Reads the text of a script.
pub fn read_script(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::file(file, "no such file"),
        std::io::ErrorKind::PermissionDenied => Error::file(file, "permission denied"),
        _ if file.is_dir() => Error::file(file, "is a folder, expected a script"),
        _ => Error::file(file, error),
    })?;
    text_of(file, bytes)
}

/// Reads the text of a script from standard input.
pub fn read_input() -> Result<String> {
    let (name, mut bytes) = (Path::new("standard input"), Vec::new());
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| Error::file(name, error))?;
    text_of(name, bytes)
}

/// Decodes a script. An editor may have put a byte order mark before it, and a first line `#!..` is a comment.
fn text_of(file: &Path, bytes: Vec<u8>) -> Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Error::file(file, format!("not a text file: line {} is not valid UTF-8", line + 1))
            .hint("scripts are text in UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let notebook = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("ipynb"));
    if notebook && text.trim_start().starts_with('{') {
        return Err(Error::file(file, "is a notebook, expected a script").hint(
            "open it in Jupyter, or convert it: `python nbconvert_rhai.py NOTEBOOK`, which `spectral examples` writes",
        ));
    }
    Ok(match text.strip_prefix("#!") {
        // Without the space `#!/bin` would be a comment of the documentation, `///bin`.
        Some(rest) => format!("// {rest}"),
        None => text.to_string(),
    })
}
